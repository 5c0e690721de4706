//! etcd's and HAProxy's own rules.

use std::time::Duration;

use super::super::problem::Problem;
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
    let mut problems = Vec::new();
    let intervals = [
        ("inter", check.inter),
        ("fastinter", check.fastinter),
        ("downinter", check.downinter),
        ("timeout", check.timeout),
    ];
    for (key, _) in intervals.into_iter().filter(|(_, period)| period.0.is_zero()) {
        let problem = Problem::error("xnat::inventory::check_timing", format!("`haproxy.check.{key}` cannot be 0"));
        problems.push(
            problem
                .at(context.places.value(&format!("haproxy.check.{key}")), "")
                .help("use a second or less, such as \"500ms\""),
        );
    }
    let mut warn = |key: &str, message: String, help: &str| {
        let problem = Problem::warning("xnat::inventory::check_timing", message);
        problems.push(problem.at(context.places.value(&format!("haproxy.check.{key}")), "").help(help));
    };
    if check.fastinter.0 > check.inter.0 {
        let message = format!("fastinter {} is slower than inter {}", check.fastinter, check.inter);
        warn(
            "fastinter",
            message,
            "make it shorter than `inter`: it is used while a server changes state, when speed matters",
        );
    }
    if check.fall == 1 {
        let message = "one lost health check ends all connections to the leader".to_owned();
        warn("fall", message, "use fall = 2; with fastinter = \"500ms\" that costs half a second");
    }
    if check.rise > 1 {
        let message = format!("rise {} only delays the new leader", check.rise);
        warn(
            "rise",
            message,
            "use rise = 1: Patroni answers the check with 200 only on the host that holds the leader's lock",
        );
    }
    if check.timeout.0 > Duration::from_secs(5) {
        let message = format!("a vanished host is noticed only after {} per check", check.timeout);
        warn("timeout", message, "use timeout = \"1s\"");
    }
    problems
}
