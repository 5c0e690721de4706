//! Hosts: can they be asked, and do their clocks agree?

use super::finding::{Finding, Limits, State};
use super::host::Clock;
use super::{Case, Check, on};
use crate::names::HostName;

pub const CHECKS: [Check; 3] = [
    Check {
        id: "hosts-reachable",
        title: "every host and service can be asked",
        rules: &["unreachable", "unasked"],
        look: reachable,
    },
    Check {
        id: "clock-offset",
        title: "clocks are within 1 s of each other (60 s: critical), and 5 s of this machine's",
        rules: &[],
        look: offsets,
    },
    Check { id: "clock-synchronised", title: "something keeps every clock right", rules: &[], look: synchronised },
];

/// Between two hosts, in seconds: logs are read side by side, and certificates begin at some time.
const APART: Limits = Limits { warning: 1.0, critical: 60.0 };
/// From this machine, which may be the one that is wrong.
const OFFSET: Limits = Limits { warning: 5.0, critical: f64::INFINITY };

fn reachable(case: &Case<'_>) -> Vec<Finding> {
    match case.inventory.hosts.len() {
        1 => vec![Finding::ok("1 host")],
        hosts => vec![Finding::ok(format!("{hosts} hosts"))],
    }
}

fn offsets(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = case.each_host(|host, look| {
        let Clock { offset, error } = look.clock;
        let state = OFFSET.judge(offset.abs() - error);
        let text = match state {
            State::Ok => format!("{offset:+.3} s"),
            _ => format!("the clock of {host} is {:.1} s {} this machine's", offset.abs(), direction(offset)),
        };
        vec![Finding::new(state, text).on(host).fix(format!("see which of them is right: {}", on(host, "timedatectl")))]
    });
    findings.extend(apart(case));
    findings
}

fn direction(offset: f64) -> &'static str {
    if offset > 0.0 { "ahead of" } else { "behind" }
}

fn apart(case: &Case<'_>) -> Option<Finding> {
    let clocks = case.measured.hosts.iter().filter_map(|(host, look)| Some((host, look.known()?.clock)));
    let mut clocks: Vec<(&HostName, Clock)> = clocks.collect();
    clocks.sort_by(|(_, a), (_, b)| a.offset.total_cmp(&b.offset));
    let ((slow, least), (fast, most)) = (clocks.first()?, clocks.last()?);
    let state = APART.judge(most.offset - least.offset - most.error - least.error);
    let text = format!("the clock of {fast} is {:.1} s ahead of that of {slow}", most.offset - least.offset);
    let fix = format!("keep both from the same servers: {}", on(fast, "timedatectl timesync-status"));
    (state != State::Ok).then(|| Finding::new(state, text).fix(fix))
}

fn synchronised(case: &Case<'_>) -> Vec<Finding> {
    case.each_host(|host, look| {
        let finding = match look.synchronised {
            _ if look.container => Finding::ok("its machine's"),
            Some(true) => Finding::ok("yes"),
            Some(false) => Finding::warning(format!("nothing keeps the clock of {host} right")),
            None => Finding::unknown(format!("{host} does not say whether its clock is kept right")),
        };
        vec![finding.on(host).fix(format!("see why: {}", on(host, "timedatectl")))]
    })
}
