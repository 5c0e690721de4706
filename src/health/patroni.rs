//! Patroni: leader, members, maintenance; and does PostgreSQL itself say the same?

use super::finding::Finding;
use super::{Case, Check};
use crate::cluster::Member;
use crate::cluster::patroni::Role;
use crate::names::HostName;

pub const CHECKS: [Check; 4] = [
    Check { id: "patroni-leader", title: "there is one leader", rules: &["leader", "several-leaders"], look: leader },
    Check {
        id: "patroni-members",
        title: "every Patroni runs and is a member",
        rules: &["missing-members", "silent-patroni", "patroni-waits"],
        look: members,
    },
    Check {
        id: "patroni-maintenance",
        title: "nothing is kept from failing over",
        rules: &["paused", "maintained"],
        look: maintenance,
    },
    Check { id: "patroni-agrees", title: "PostgreSQL is what Patroni says it is", rules: &[], look: agreement },
];

/// Without a list of members nobody can say anything of them.
fn known(case: &Case<'_>, well: impl FnOnce() -> String) -> Vec<Finding> {
    match case.view.paused.reason() {
        None => vec![Finding::ok(well())],
        Some(why) => vec![Finding::unknown(why)],
    }
}

fn leader(case: &Case<'_>) -> Vec<Finding> {
    known(case, || case.view.leader().map_or_else(|| "none".to_owned(), |leader| leader.host.to_string()))
}

fn members(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = known(case, || format!("{} members", case.view.members.len()));
    let silent = case.view.members.iter().filter(|member| member.in_inventory);
    findings.extend(silent.filter_map(|member| Some(Finding::unknown(member.patroni.unknown()?).on(&member.host))));
    findings
}

fn maintenance(case: &Case<'_>) -> Vec<Finding> {
    known(case, || "no maintenance".to_owned())
}

fn agreement(case: &Case<'_>) -> Vec<Finding> {
    let members = case.view.members.iter().filter(|member| member.in_inventory);
    members.map(|member| agrees(case, member).on(&member.host)).collect()
}

fn agrees(case: &Case<'_>, member: &Member) -> Finding {
    let host = &member.host;
    let (server, listed) = match (member.server.known(), &member.listed) {
        (Some(server), Some(listed)) => (server, listed),
        (None, _) => return Finding::unknown(member.server.reason().unwrap_or_default()),
        (_, None) => return Finding::unknown(format!("Patroni does not say what {host} is")),
    };
    let fix = format!("see what is wrong with it: {}", case.ours("doctor"));
    if listed.role == Role::Leader && server.in_recovery {
        let text = format!("Patroni calls {host} the leader, and its PostgreSQL is in recovery");
        return Finding::critical(text).fix(fix);
    }
    if !listed.role.leads() && !server.in_recovery {
        let text = format!("Patroni calls {host} a {}, and its PostgreSQL takes writes", listed.role);
        return Finding::critical(text).fix(fix);
    }
    if listed.state == "streaming" && !is_streamed_to(case, host) {
        let text = format!("Patroni says that {host} streams, and no PostgreSQL has it in pg_stat_replication");
        return Finding::warning(text).fix(fix);
    }
    Finding::ok(listed.role.to_string())
}

/// From the leader, or from another replica; whoever could not be asked may do it.
fn is_streamed_to(case: &Case<'_>, host: &HostName) -> bool {
    let all_told = case.view.members.iter().all(|member| member.server.known().is_some());
    let mut standbys = case.view.members.iter().filter_map(|member| member.server.known()).flat_map(|s| &s.standbys);
    !all_told || standbys.any(|standby| standby.name == host.as_str())
}
