//! Split brain: the one finding where doing the usual thing makes it worse.

use super::super::Case;
use super::super::finding::Finding;
use super::list;
use crate::cluster::Member;
use crate::names::HostName;

/// What each PostgreSQL says of itself, whatever etcd says.
pub fn several(case: &Case<'_>) -> Vec<Finding> {
    let writes = |member: &&Member| member.server.known().is_some_and(|server| !server.in_recovery);
    let writers: Vec<&Member> = case.view.members.iter().filter(writes).collect();
    if writers.len() < 2 {
        return Vec::new();
    }
    let hosts: Vec<&HostName> = writers.iter().map(|member| &member.host).collect();
    let mut finding =
        Finding::critical("two-writers", format!("{} accept writes at once", list(hosts.iter().copied())))
            .on(hosts)
            .because(cause(case));
    for member in &writers {
        finding = finding.seen(&member.host, standing(case, member));
    }
    finding = finding
        .advise("have XNAT and everybody else stop writing; restart, reinit and resume nothing until it is known whose writes are kept")
        .advise("compare the two: the higher timeline was promoted last, the higher position has more; what is only on the other is lost when that is copied anew");
    for member in writers.iter().filter(|member| !member.leads()) {
        let (host, stop) = (&member.host, stop(case, member));
        finding = finding.run_on(host, format!("stop the one without the leader lock: {host}"), &stop);
    }
    vec![finding]
}

fn cause(case: &Case<'_>) -> String {
    let lock = case
        .view
        .leader()
        .map_or("nobody has the leader lock".to_owned(), |leader| format!("{} has the leader lock", leader.host));
    match case.view.paused.known() {
        Some(true) => format!("{lock}; in maintenance mode Patroni does not demote whoever was promoted by hand"),
        _ => format!("{lock}; probably somebody promoted another one by hand, or its Patroni does not run"),
    }
}

fn standing(case: &Case<'_>, member: &Member) -> String {
    let control = case.seen.get(&member.host).and_then(|seen| seen.control.as_ref());
    let timeline = member.patroni.known().and_then(|about| about.timeline).map(|timeline| timeline.to_string());
    let timeline =
        timeline.or_else(|| control.map(|control| control.timeline.clone())).unwrap_or_else(|| "?".to_owned());
    let position = member.server.known().and_then(|server| server.position).unwrap_or(0);
    let lsn = format!("{:X}/{:X}", position >> 32, position & 0xFFFF_FFFF);
    format!("pg_is_in_recovery() is false; timeline {timeline}, position {lsn}")
}

/// In maintenance mode PostgreSQL goes on without its Patroni. A fast shutdown; there may be programs of two major versions.
fn stop(case: &Case<'_>, member: &Member) -> String {
    let server = format!("kill -INT $(head -qn 1 /var/lib/postgresql/*/{}/postmaster.pid)", case.inventory.cluster);
    match case.view.paused.known() {
        Some(true) => format!("systemctl stop patroni; {server}"),
        _ if member.patroni.known().is_none() => server,
        _ => "systemctl stop patroni".to_owned(),
    }
}
