//! A running cluster that speaks plainly is brought to TLS in three passes, each an ordinary apply with forms of its own
//! for the files: first everybody learns TLS, then Patroni and PostgreSQL move to it, then the plain doors are closed. Which
//! pass is next follows from what the services themselves do, so an interrupted conversion goes on from where it is.

use super::cluster_plan::Started;
use crate::cluster::{Answer, ClusterView, etcd};
use crate::inventory::{Component, Inventory};
use crate::names::HostName;
use crate::role::Transition;

/// The pass a cluster needs next; none when its files are to be as they stay.
pub fn next(inventory: &Inventory, started: Started, view: &ClusterView) -> Option<Transition> {
    let speaks_plainly = view.etcd.iter().any(|seen| seen.answer.known().is_some_and(|member| !member.tls))
        || patronis(view).any(|tls| !tls);
    if !inventory.tls.enabled || !(started.etcd || started.postgres) || !speaks_plainly {
        return None;
    }
    // Once one has moved, all of them knew TLS: a member that is away now does not turn anybody back.
    let moving = patronis(view).any(|tls| tls) || everybody_knows_tls(view);
    Some(if moving { Transition::Moving } else { Transition::Opening })
}

/// Of every Patroni that answers: with TLS?
fn patronis(view: &ClusterView) -> impl Iterator<Item = bool> {
    view.members.iter().filter_map(|member| member.patroni.known()).map(|about| about.tls)
}

/// Who cannot be asked does not know it.
fn everybody_knows_tls(view: &ClusterView) -> bool {
    let etcd = view.etcd.iter().all(|seen| matches!(&seen.answer, Answer::Known(member) if member.tls && member.plain));
    let ours = view.members.iter().filter(|member| member.in_inventory);
    let postgres =
        ours.map(|member| &member.server).all(|server| matches!(server, Answer::Known(server) if server.tls));
    let haproxy = view.haproxy.iter().all(|seen| match &seen.answer {
        Answer::Known(servers) => servers.iter().all(|server| server.either_way),
        Answer::Down(_) | Answer::Unknown(_) => false,
    });
    etcd && postgres && haproxy
}

/// Members that are to hear clients both ways and only hear those with TLS: etcd's own mistake, see `apply/etcd.rs`.
pub fn deaf(view: &ClusterView, transition: Option<Transition>) -> impl Iterator<Item = &HostName> {
    let deaf = move |member: &etcd::Member| transition.is_some() && member.tls && !member.plain;
    view.etcd.iter().filter(move |seen| seen.answer.known().is_some_and(deaf)).map(|seen| &seen.host)
}

/// What the plan says of it, and of hosts that this run leaves out.
pub fn told(transition: Option<Transition>, left_out: &[&str]) -> Option<String> {
    let mut text = match transition? {
        Transition::Opening => "Conversion to TLS, pass 1 of 3: everybody learns TLS and is still heard without. The same run goes on with pass 2 (Patroni and PostgreSQL refuse what is not encrypted; each member restarts once, with one hand-over) and pass 3 (etcd and HAProxy too; each etcd member restarts once more).".to_owned(),
        Transition::Moving => "Conversion to TLS, pass 2 of 3: Patroni and PostgreSQL refuse what is not encrypted. The same run goes on with pass 3 (etcd and HAProxy too; each etcd member restarts once more).".to_owned(),
    };
    if !left_out.is_empty() {
        text.push_str(&format!(
            " But not in this run: --limit leaves out {}, and a pass begins only when every host has had the one before.",
            left_out.join(", ")
        ));
    }
    Some(text)
}

/// Whoever speaks TLS although the inventory says no.
pub fn speaks_tls(view: &ClusterView) -> Vec<&HostName> {
    let etcd =
        view.etcd.iter().filter(|seen| seen.answer.known().is_some_and(|member| member.tls)).map(|seen| &seen.host);
    let patroni = view.members.iter().filter(|member| member.patroni.known().is_some_and(|about| about.tls));
    let mut hosts: Vec<&HostName> = etcd.chain(patroni.map(|member| &member.host)).collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

/// Members that the others still reach plainly although everything else is encrypted: which host's, and its line in the
/// membership.
pub fn plain_peers<'a>(view: &'a ClusterView, inventory: &'a Inventory) -> Vec<(&'a HostName, &'a etcd::Listed)> {
    let newest = view.etcd.iter().filter_map(|seen| seen.answer.known()).max_by_key(|member| member.raft_index);
    let listed = newest.map(|member| member.membership.as_slice()).unwrap_or_default();
    let line = |name: &HostName| listed.iter().find(|listed| listed.name == name.as_str());
    let plain = |listed: &&etcd::Listed| listed.peer_urls.iter().any(|url| url.starts_with("http://"));
    let hosts = inventory.with(Component::Etcd);
    hosts.filter_map(|host| Some((&host.name, line(&host.name).filter(plain)?))).collect()
}
