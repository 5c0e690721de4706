//! etcd: quorum, members, alarms, size and speed.

use super::finding::{Finding, Limits, State};
use super::{Case, Check, on};
use crate::cluster::assess::size;
use crate::cluster::etcd::{Member, etcdctl};
use crate::cluster::safety::majority;
use crate::cluster::safety::membership::{voters, working};
use crate::cluster::{Answer, Seen};
use crate::names::HostName;

pub const CHECKS: [Check; 6] = [
    Check { id: "etcd-quorum", title: "etcd has a quorum", rules: &["etcd-quorum"], look: quorum },
    Check {
        id: "etcd-members",
        title: "every member of etcd works, and there is no other",
        rules: &["etcd-members", "etcd-membership"],
        look: members,
    },
    Check { id: "etcd-alarms", title: "etcd has raised no alarm", rules: &[], look: alarms },
    Check {
        id: "etcd-size",
        title: "etcd's database has less than half of its quota of 2 GiB; 85 %: critical",
        rules: &[],
        look: sizes,
    },
    Check {
        id: "etcd-fragmentation",
        title: "of etcd's database less than half is room of what was deleted (from 100 MiB on)",
        rules: &[],
        look: fragmentation,
    },
    Check {
        id: "etcd-latency",
        title: "etcd's members agree on a read within 0.25 s; 1 s: critical",
        rules: &[],
        look: latency,
    },
];

/// etcd's own, which our settings leave as it is.
const QUOTA: u64 = 2 << 30;
/// Of the quota; when it is used up etcd takes no writes.
const SIZE: Limits = Limits { warning: 0.5, critical: 0.85 };
/// Smaller ones are not worth a defragmentation, which stops a member meanwhile.
const LARGE: u64 = 100 << 20;
/// In seconds. Patroni gives up after `retry_timeout`, some seconds.
pub const AGREEMENT: Limits = Limits { warning: 0.25, critical: 1.0 };

fn quorum(case: &Case<'_>) -> Vec<Finding> {
    let (voters, up) = (voters(case.view), working(case.view));
    let text = format!("{up} of {voters} members work");
    match up >= majority(voters) {
        true => vec![Finding::ok(text)],
        false => vec![Finding::unknown(format!("{text}, as far as they could be asked"))],
    }
}

fn members(case: &Case<'_>) -> Vec<Finding> {
    each(case, |_, member| {
        let role = if member.is_leader() { "leads" } else { "follows" };
        Finding::ok(format!("{role}, {}", member.version))
    })
}

fn alarms(case: &Case<'_>) -> Vec<Finding> {
    each(case, |host, member| match member.raises_alarm() {
        false => Finding::ok("none"),
        true => {
            let said = member.alarms.join("; ");
            Finding::critical(format!("etcd on {host} has raised an alarm: {}", said.trim()))
                .fix(format!("see what to do about it: {}", case.ours("doctor")))
        }
    })
}

fn sizes(case: &Case<'_>) -> Vec<Finding> {
    each(case, |host, member| {
        let state = SIZE.judge(member.db_size as f64 / QUOTA as f64);
        let text = match state {
            State::Ok => size(member.db_size),
            _ => format!("etcd's database on {host} has {} of {}", size(member.db_size), size(QUOTA)),
        };
        Finding::new(state, text).fix(defragment(case, host))
    })
}

fn fragmentation(case: &Case<'_>) -> Vec<Finding> {
    each(case, |host, member| {
        let Some(used) = member.db_size_in_use else {
            return Finding::unknown(format!("etcd on {host} does not say how much of its database is in use"));
        };
        let empty = member.db_size.saturating_sub(used);
        if member.db_size < LARGE || empty * 2 < member.db_size {
            return Finding::ok(format!("{} unused", size(empty)));
        }
        let text = format!("of etcd's database on {host} {} of {} are unused", size(empty), size(member.db_size));
        Finding::notice(text).fix(defragment(case, host))
    })
}

/// It stops the member meanwhile.
fn defragment(case: &Case<'_>, host: &HostName) -> String {
    let what = "give the unused room back, one member after the other, the leader last";
    match case.inventory.host(host) {
        Some(at) => format!("{what}: {}", on(host, &format!("{} defrag", etcdctl(case.inventory, at)))),
        None => what.to_owned(),
    }
}

fn latency(case: &Case<'_>) -> Vec<Finding> {
    let judge = |seen: &Seen<Member>| {
        let host = &seen.host;
        let finding = match case.measured.agreement.get(host) {
            Some(Answer::Known(seconds)) => agreed(host, *seconds),
            Some(Answer::Down(why) | Answer::Unknown(why)) => Finding::unknown(why),
            None => Finding::unknown(format!("etcd on {host} was not asked")),
        };
        finding.on(host)
    };
    case.view.etcd.iter().map(judge).collect()
}

fn agreed(host: &HostName, seconds: f64) -> Finding {
    let (state, millis) = (AGREEMENT.judge(seconds), seconds * 1000.0);
    let text = match state {
        State::Ok => format!("{millis:.0} ms"),
        _ => format!("etcd on {host} takes {millis:.0} ms to have the others agree on a read"),
    };
    let look = on(host, "journalctl -u etcd -n 50 --grep 'took too long'");
    Finding::new(state, text).fix(format!("see whether its disk, its processor or the network is slow: {look}"))
}

fn each(case: &Case<'_>, judge: impl Fn(&HostName, &Member) -> Finding) -> Vec<Finding> {
    let judge = |seen: &Seen<Member>| {
        let finding = match &seen.answer {
            Answer::Known(member) => judge(&seen.host, member),
            Answer::Down(why) | Answer::Unknown(why) => Finding::unknown(why),
        };
        finding.on(&seen.host)
    };
    case.view.etcd.iter().map(judge).collect()
}
