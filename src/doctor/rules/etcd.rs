//! etcd: its quorum, its members, its alarms.

use super::super::Case;
use super::super::finding::Finding;
use super::list;
use crate::cluster::etcd::{Member, etcdctl};
use crate::cluster::safety::majority;
use crate::cluster::safety::membership::{self, working};
use crate::cluster::{Answer, Seen};
use crate::names::HostName;

/// What etcd says when it says why.
const COMPLAINTS: [&str; 4] = ["\"level\":\"fatal\"", "\"level\":\"error\"", "\"level\":\"warn\"", "Failed"];

pub fn alarms(case: &Case<'_>) -> Vec<Finding> {
    let members = case.view.etcd.iter().filter_map(|seen| Some((&seen.host, seen.answer.known()?)));
    let members: Vec<(&HostName, &Member)> = members.filter(|(_, member)| member.raises_alarm()).collect();
    let Some((host, _)) = members.first().copied() else { return Vec::new() };
    let full = members.iter().any(|(_, member)| member.alarms.iter().any(|alarm| alarm.contains("NOSPACE")));
    let what = if full {
        "etcd takes no writes any more: its database is as large as it may be"
    } else {
        "etcd has raised an alarm"
    };
    let mut finding = Finding::critical("etcd-alarm", what).on(members.iter().map(|(host, _)| *host));
    for (host, member) in &members {
        let size = crate::cluster::assess::size(member.db_size);
        finding = finding.seen(host, format!("{}; its database has {size}", member.alarms.join("; ").trim()));
    }
    vec![if full { compacted(case, finding, host) } else { corrupt(case, finding, host) }]
}

fn compacted(case: &Case<'_>, finding: Finding, host: &HostName) -> Finding {
    let finding = finding.because(
        "the quota (ETCD_QUOTA_BACKEND_BYTES) is used up; the alarm stays until it is taken back, also when there is room again",
    );
    let Some(at) = case.host(host) else { return finding };
    let etcdctl = etcdctl(case.inventory, at);
    let compact =
        format!("{etcdctl} compact $({etcdctl} endpoint status -w json | grep -o '\"revision\":[0-9]*' | cut -d: -f2)");
    finding
        .run_on(host, "drop the history", &compact)
        .run_on(host, "give its room back; on each member, one after the other", &format!("{etcdctl} defrag"))
        .run_on(host, "then take the alarm back", &format!("{etcdctl} alarm disarm"))
}

fn corrupt(case: &Case<'_>, finding: Finding, host: &HostName) -> Finding {
    let finding = finding.because("a member whose data differs from the others' must be taken out before it spreads");
    match case.host(host) {
        Some(at) => {
            finding.run_on(host, "see which member it is about", &format!("{} alarm list", etcdctl(case.inventory, at)))
        }
        None => finding,
    }
}

/// The address others reach a member at is in the membership, whatever its host's files say.
pub fn addresses(case: &Case<'_>) -> Vec<Finding> {
    let listed = membership::listed(case.view);
    let wrong = case.view.etcd.iter().filter_map(|seen| {
        let host = case.host(&seen.host)?;
        let line = listed.iter().find(|line| line.name == seen.host.as_str())?;
        membership::line(listed, case.inventory, host).is_none().then_some((host, line))
    });
    wrong
        .map(|(host, line)| {
            Finding::warning(
                "etcd-wrong-address",
                format!("the members of etcd reach {} at another address than the inventory has", host.name),
            )
            .on([&host.name])
            .because("it joined with another address or port; after that only etcd itself can change it")
            .seen(
                &host.name,
                format!(
                    "peer URLs {}; in the inventory {}:{}",
                    line.peer_urls.join(", "),
                    host.address,
                    case.inventory.etcd.peer_port
                ),
            )
            .run_on(
                &host.name,
                "if the inventory is right, tell etcd",
                &format!(
                    "{} member update {} --peer-urls={}://{}:{}",
                    etcdctl(case.inventory, host),
                    line.id,
                    case.inventory.scheme(),
                    host.address,
                    case.inventory.etcd.peer_port
                ),
            )
        })
        .collect()
}

pub fn quorum(case: &Case<'_>) -> Vec<Finding> {
    let (voters, up) = (membership::voters(case.view), working(case.view));
    let unknown = case.view.etcd.iter().filter(|seen| seen.answer.is_unknown()).count();
    if voters == 0 || up + unknown >= majority(voters) {
        return Vec::new();
    }
    let down: Vec<&Seen<Member>> = case.view.etcd.iter().filter(|seen| is_down(seen)).collect();
    let mut finding = Finding::critical(
        "etcd-no-quorum",
        format!("etcd has no quorum: {up} of {voters} members work and {} are needed", majority(voters)),
    )
    .on(down.iter().map(|seen| &seen.host));
    finding = match down.len() {
        0 => finding
            .because("all members run and find no leader: they do not hear each other, or their disks are too slow"),
        _ => finding.because(format!("etcd does not run on {}", list(down.iter().map(|seen| &seen.host)))),
    };
    for seen in &down {
        finding = told(case, finding, seen);
    }
    for seen in &down {
        finding = finding.run_on(&seen.host, format!("start it on {}", seen.host), "systemctl start etcd --no-block");
    }
    if down.is_empty() {
        finding = finding.run("see whether they can reach each other", super::ours("check", case.inventory));
    }
    vec![finding.advise("until then leave PostgreSQL and Patroni alone: they come back by themselves")]
}

fn is_down(seen: &Seen<Member>) -> bool {
    matches!(seen.answer, Answer::Down(_))
}

fn told(case: &Case<'_>, finding: Finding, seen: &Seen<Member>) -> Finding {
    let host = &seen.host;
    let unit = case.unit(host, "etcd").map(|active| format!("etcd.service is {active}"));
    let finding = match unit {
        Some(unit) => finding.seen(host, unit),
        None => finding.seen_if(host, seen.answer.reason()),
    };
    // One that was stopped has nothing to complain of.
    let complains = case.unit(host, "etcd") != Some("inactive");
    let line = case.seen.get(host).filter(|_| complains).and_then(|seen| seen.said("etcd", &COMPLAINTS));
    finding.seen_if(host, line.map(|line| plain(&line.text)))
}

/// etcd logs JSON: what it says, and why.
fn plain(text: &str) -> String {
    let Ok(line) = serde_json::from_str::<serde_json::Value>(text) else { return text.to_owned() };
    let of = |key: &str| line.get(key).and_then(serde_json::Value::as_str);
    match (of("msg"), of("error")) {
        (Some(message), Some(error)) => format!("{message}: {error}"),
        (Some(message), None) => message.to_owned(),
        _ => text.to_owned(),
    }
}

/// Where the others are enough.
pub fn members(case: &Case<'_>) -> Vec<Finding> {
    if !quorum(case).is_empty() {
        return Vec::new();
    }
    let joining = membership::joining(case.view, case.inventory);
    let joins = |host: &HostName| joining.iter().any(|one| one.host == *host);
    let down = case.view.etcd.iter().filter(|seen| is_down(seen) && !joins(&seen.host));
    down.map(|seen| member(case, seen)).collect()
}

fn member(case: &Case<'_>, seen: &Seen<Member>) -> Finding {
    let host = &seen.host;
    let finding = Finding::warning("etcd-member-down", format!("etcd on {host} does not answer")).on([host]);
    let finding = match case.unit(host, "etcd") {
        Some("inactive") => finding.because("it was stopped").run_on(host, "start it", "systemctl start etcd"),
        Some("failed" | "activating") => finding
            .because("it does not stay up; its log says why")
            .run_on(host, "read the rest", "journalctl -u etcd -n 50")
            .run_on(host, "and start it again", "systemctl restart etcd"),
        _ => finding
            .because("it runs and does not serve; its log says why")
            .run_on(host, "read the rest", "journalctl -u etcd -n 50")
            .run("if files of it are missing or changed", super::ours("apply", case.inventory)),
    };
    told(case, finding, seen)
}
