//! HAProxy: does it agree with Patroni, and do new connections get where they should?

use super::finding::{Finding, Limits, State};
use super::{Case, Check};
use crate::cluster::verify::passage::{Passage, Trip};
use crate::inventory::Component;
use crate::names::HostName;

pub const CHECKS: [Check; 3] = [
    Check {
        id: "haproxy-servers",
        title: "every HAProxy runs and agrees with Patroni",
        rules: &["haproxy"],
        look: servers,
    },
    Check {
        id: "haproxy-write",
        title: "a new connection through every HAProxy writes, within 3 s",
        rules: &[],
        look: write,
    },
    Check { id: "haproxy-read", title: "another one reads that from a replica, within 3 s", rules: &[], look: read },
];

/// In seconds, with all that lies between this machine and the database. XNAT itself gives up after 4.
pub const PASSAGE: Limits = Limits { warning: 3.0, critical: f64::INFINITY };

fn servers(case: &Case<'_>) -> Vec<Finding> {
    let seen = case.view.haproxy.iter();
    seen.filter_map(|seen| match (seen.answer.known(), seen.answer.unknown()) {
        (Some(servers), _) => {
            let up = servers.iter().filter(|server| server.up).count();
            Some(Finding::ok(format!("{up} of {} up", servers.len())).on(&seen.host))
        }
        (None, Some(why)) => Some(Finding::unknown(why).on(&seen.host)),
        // `status` says so
        (None, None) => None,
    })
    .collect()
}

fn write(case: &Case<'_>) -> Vec<Finding> {
    each(case, |host, passage| {
        let mut finding = passed(case, host, (&passage.write, ["for writes", "to"], State::Critical));
        if finding.state == State::Ok && !passage.wrote {
            finding.evidence.push_str(", and wrote nothing");
        }
        Some(finding)
    })
}

fn read(case: &Case<'_>) -> Vec<Finding> {
    each(case, |host, passage| {
        Some(passed(case, host, (passage.read.as_ref()?, ["for reads", "from"], State::Warning)))
    })
}

fn each(case: &Case<'_>, judge: impl Fn(&HostName, &Passage) -> Option<Finding>) -> Vec<Finding> {
    let hosts = case.inventory.with(Component::Haproxy).map(|host| &host.name);
    let findings = hosts.filter_map(|host| match case.measured.passages.get(host) {
        Some(passage) => judge(host, passage).map(|finding| finding.on(host)),
        None => Some(Finding::unknown(untried(case, host)).on(host)),
    });
    findings.collect()
}

fn untried(case: &Case<'_>, host: &HostName) -> String {
    match case.view.unreachable.get(host) {
        Some(why) => format!("{host} cannot be reached: {why}"),
        None => format!("HAProxy on {host} was not tried"),
    }
}

fn passed(
    case: &Case<'_>,
    host: &HostName,
    (tried, [what, way], worst): (&Result<Trip, String>, [&str; 2], State),
) -> Finding {
    let trip = match tried {
        Ok(trip) => trip,
        Err(why) => {
            return Finding::new(worst, format!("a new connection {what} through HAProxy on {host} failed: {why}"))
                .fix(format!("see why: {}", case.ours("doctor")));
        }
    };
    let state = PASSAGE.judge(trip.seconds);
    let text = match state {
        State::Ok => format!("{way} {} in {:.0} ms", trip.server, trip.seconds * 1000.0),
        _ => format!("a new connection {what} through HAProxy on {host} took {:.1} s", trip.seconds),
    };
    Finding::new(state, text).fix(format!("see what {} is busy with: {}", trip.server, case.ours("status")))
}
