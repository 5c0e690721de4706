//! etcd's and HAProxy's own rules.

use std::time::Duration;

use super::super::problem::Problem;
use super::super::raw;
use super::super::values::Period;
use super::Context;

/// etcd refuses to start when its election timeout is shorter than five heartbeats or longer than 50 s (op-guide/tuning).
pub(super) fn etcd_timing(context: &Context<'_>) -> Vec<Problem> {
    let (heartbeat, election) = (context.raw.etcd.heartbeat_interval, context.raw.etcd.election_timeout);
    let at = context.places.value("etcd.election_timeout");
    let bad = |message: String| Problem::error("xnat::inventory::etcd_timing", message).at(at.clone(), "");
    if heartbeat.0.is_zero() {
        let problem = Problem::error("xnat::inventory::etcd_timing", "etcd cannot beat every 0 ms");
        return vec![
            problem
                .at(context.places.value("etcd.heartbeat_interval"), "")
                .help("leave `heartbeat_interval` out: 100ms"),
        ];
    }
    if election.0 < heartbeat.0 * 5 {
        let problem = bad(format!("etcd's election timeout {election} is shorter than five heartbeats of {heartbeat}"));
        return vec![problem.help(format!("raise it to ten: election_timeout = \"{}\"", Period(heartbeat.0 * 10)))];
    }
    if election.0 > Duration::from_secs(50) {
        let problem = bad(format!("etcd's election timeout {election} is longer than the 50s it allows"));
        return vec![problem.help("use ten times the heartbeat, \"1s\" at one site")];
    }
    Vec::new()
}

pub(super) fn etcd_data_dir(context: &Context<'_>) -> Vec<Problem> {
    let Some(directory) = &context.raw.etcd.data_dir else { return Vec::new() };
    let depth = directory.split('/').filter(|part| !part.is_empty()).count();
    if directory.starts_with('/') && depth > 1 && !directory.split('/').any(|part| part == "..") {
        return Vec::new();
    }
    let problem =
        Problem::error("xnat::inventory::bad_path", format!("\"{directory}\" cannot be etcd's data directory"));
    vec![problem.at(context.places.value("etcd.data_dir"), "").help(format!(
        "give an absolute path below a directory: data_dir = \"/var/lib/etcd/{}\"",
        context.inventory.cluster
    ))]
}

pub(super) fn haproxy_checks(context: &Context<'_>) -> Vec<Problem> {
    let check = &context.raw.haproxy.check;
    let zero = [
        ("inter", check.inter),
        ("fastinter", check.fastinter),
        ("downinter", check.downinter),
        ("timeout", check.timeout),
    ];
    let zero = zero.into_iter().filter(|(_, period)| period.0.is_zero()).map(|(key, _)| {
        let problem = Problem::error("xnat::inventory::check_timing", format!("`haproxy.check.{key}` cannot be 0"));
        (key, problem.help("use a second or less, such as \"500ms\""))
    });
    let slow = slow_checks(check)
        .into_iter()
        .map(|(key, message, help)| (key, Problem::warning("xnat::inventory::check_timing", message).help(help)));
    let place = |key: &str| context.places.value(&format!("haproxy.check.{key}"));
    zero.chain(slow).map(|(key, problem)| problem.at(place(key), "")).collect()
}

/// Key, message and help of what works but costs time or stability.
fn slow_checks(check: &raw::Check) -> Vec<(&'static str, String, &'static str)> {
    let mut found = Vec::new();
    if check.fastinter.0 > check.inter.0 {
        let message = format!("fastinter {} is slower than inter {}", check.fastinter, check.inter);
        found.push((
            "fastinter",
            message,
            "make it shorter than `inter`: it is used while a server changes state, when speed matters",
        ));
    }
    if check.fall == 1 {
        let message = "one lost health check ends all connections to the leader".to_owned();
        found.push(("fall", message, "use fall = 2; with fastinter = \"500ms\" that costs half a second"));
    }
    if check.rise > 1 {
        let message = format!("rise {} only delays the new leader", check.rise);
        let help = "use rise = 1: Patroni answers the check with 200 only on the host that holds the leader's lock";
        found.push(("rise", message, help));
    }
    if check.timeout.0 > Duration::from_secs(5) {
        let message = format!("a vanished host is noticed only after {} per check", check.timeout);
        found.push(("timeout", message, "use timeout = \"1s\""));
    }
    found
}
