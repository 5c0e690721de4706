//! Rules about etcd.

use super::{apply, critical, leaves, log, warning};
use crate::cluster::answer::Answer;
use crate::cluster::assess::Problem;
use crate::cluster::etcd::Member;
use crate::cluster::safety;
use crate::cluster::safety::membership::{self, Progress};
use crate::cluster::view::ClusterView;
use crate::inventory::Inventory;
use crate::names::HostName;

pub fn quorum(view: &ClusterView, _: &Inventory) -> Vec<Problem> {
    let (voters, up) = (membership::voters(view), membership::working(view));
    let unknown = view.etcd.iter().filter(|s| s.answer.is_unknown()).count();
    // Those that could not be asked may well be up.
    if voters == 0 || safety::may_lose(voters, up + unknown).is_some() {
        return Vec::new();
    }
    let down: Vec<String> = (view.etcd.iter().filter(|s| matches!(s.answer, Answer::Down(_))))
        .map(|s| format!("`ssh {} systemctl restart etcd`", s.host))
        .collect();
    let help = if down.is_empty() {
        "see why they do not find each other".to_owned()
    } else {
        format!("start what is down: {}", down.join(", "))
    };
    vec![critical(
        format!("etcd has no quorum: {up} of {voters} members work and {} are needed", safety::majority(voters)),
        help,
    )]
}

pub fn members(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let joining = membership::joining(view, inventory);
    let voters = membership::voters(view);
    let up = view.etcd.iter().filter(|s| s.answer.known().is_some_and(|m| m.healthy && !m.learner)).count();
    let spare = match safety::may_lose(voters, up) {
        Some(0) => "; one more failure and nothing fails over any more",
        _ => "",
    };
    let mut problems = Vec::new();
    for seen in &view.etcd {
        let host = &seen.host;
        if let Some(one) = joining.iter().find(|one| &one.host == host) {
            let what =
                if one.progress == Progress::New { "is not a member of etcd yet" } else { "does not vote in etcd yet" };
            problems.push(warning(format!("{host} {what}"), apply(inventory)));
            continue;
        }
        match &seen.answer {
            Answer::Down(reason) => {
                problems.push(warning(format!("etcd on {host} is down{spare}: {reason}"), log(host, "etcd")));
            }
            Answer::Known(member) if !member.healthy || member.leader.is_none() => {
                problems.push(warning(format!("etcd on {host} runs and has no leader"), log(host, "etcd")));
            }
            Answer::Known(member) if !member.alarms.is_empty() => problems.push(warning(
                format!("etcd on {host} complains: {}", member.alarms.join("; ")),
                format!("see `ssh {host} etcdctl alarm list`"),
            )),
            Answer::Known(_) | Answer::Unknown(_) => {}
        }
    }
    problems
}

/// All members must be of one cluster, and that of the inventory.
pub fn membership(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let known: Vec<(&HostName, &Member)> =
        view.etcd.iter().filter_map(|s| s.answer.known().map(|m| (&s.host, m))).collect();
    let Some((first, reference)) = known.first() else { return Vec::new() };
    let apart = known.iter().filter(|(_, m)| m.cluster_id != reference.cluster_id).map(|(host, member)| {
        critical(
            format!(
                "etcd on {host} is in another cluster ({}) than on {first} ({})",
                member.cluster_id, reference.cluster_id
            ),
            format!("compare `ssh {host} etcdctl member list` with the other members before touching its data"),
        )
    });
    // The newest membership is the one of the member that is furthest.
    let newest = known.iter().max_by_key(|(_, m)| m.raft_index).map_or(*reference, |(_, m)| *m);
    let strangers =
        newest.membership.iter().filter(|l| !l.name.is_empty() && view.etcd.iter().all(|s| s.host.as_str() != l.name));
    let strangers = strangers.map(|listed| match leaves(inventory, &listed.name) {
        true => warning(format!("{} is to leave, and is still a member of etcd", listed.name), apply(inventory)),
        false => warning(
            format!("etcd has a member {} that is not in the inventory", listed.name),
            format!(
                "if its machine is dead, {}; otherwise put its [[host]] back, with `leaving = true` if it is to go",
                apply(inventory)
            ),
        ),
    });
    apart.chain(strangers).collect()
}
