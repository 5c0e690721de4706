//! The rules, from the foundations upwards: hosts, etcd, Patroni, PostgreSQL, HAProxy.

mod certificates;
mod etcd;
mod haproxy;
mod patroni;
mod roles;

use std::collections::BTreeSet;

use super::{Problem, Severity};
use crate::cluster::view::ClusterView;
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::quote;

type Rule = fn(&ClusterView, &Inventory) -> Vec<Problem>;

/// With names, by which `doctor` says what explains what.
const RULES: [(&str, Rule); 23] = [
    ("unreachable", unreachable),
    ("unasked", unasked),
    ("etcd-quorum", etcd::quorum),
    ("etcd-members", etcd::members),
    ("etcd-membership", etcd::membership),
    ("leader", patroni::leader),
    ("several-leaders", patroni::several_leaders),
    ("missing-members", patroni::missing_members),
    ("silent-patroni", patroni::silent_patroni),
    ("patroni-waits", patroni::waits),
    ("replicas", patroni::replicas),
    ("lag", patroni::lag),
    ("timelines", patroni::timelines),
    ("synchronous", patroni::synchronous),
    ("paused", patroni::paused),
    ("maintained", patroni::maintained),
    ("pending-restart", patroni::pending_restart),
    ("altered", patroni::altered),
    ("database", patroni::database),
    ("excess", roles::excess),
    ("haproxy", haproxy::balancers),
    ("expiry", certificates::expiry),
    ("authorities", certificates::authorities),
];

/// All of them, be it that they find something.
pub fn all_names() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(name, _)| *name)
}

/// Each problem with the name of the rule that found it.
pub fn named(view: &ClusterView, inventory: &Inventory) -> Vec<(&'static str, Problem)> {
    let apply = |(name, rule): &(&'static str, Rule)| {
        let name = *name;
        rule(view, inventory).into_iter().map(move |problem| (name, problem))
    };
    RULES.iter().flat_map(apply).collect()
}

fn critical(text: impl Into<String>, help: impl Into<String>) -> Problem {
    Problem::new(Severity::Critical, text, help)
}
fn warning(text: impl Into<String>, help: impl Into<String>) -> Problem {
    Problem::new(Severity::Warning, text, help)
}
fn notice(text: impl Into<String>, help: impl Into<String>) -> Problem {
    Problem::new(Severity::Notice, text, help)
}

fn log(host: &HostName, unit: &str) -> String {
    format!("read its log: `ssh {host} journalctl -u {unit} -n 50`")
}
fn apply(inventory: &Inventory) -> String {
    format!("run `xnat-provision apply {}`", quote::path(&inventory.path))
}
fn patronictl(command: &str, host: &HostName) -> String {
    format!("`ssh {host} sudo -u postgres patronictl -c /etc/patroni/xnat {command}`")
}
fn leaves(inventory: &Inventory, name: &str) -> bool {
    inventory.leaving.iter().any(|host| host.name.as_str() == name)
}
fn names<'a>(hosts: impl IntoIterator<Item = &'a HostName>) -> String {
    hosts.into_iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}

/// One that leaves may be switched off when it has left.
fn unreachable(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let unasked = |(host, reason): (&HostName, &String)| {
        warning(
            format!("{host} cannot be reached, so nothing is known of what runs there: {reason}"),
            format!("try it by hand: `ssh {host} true`"),
        )
    };
    view.unreachable.iter().filter(|(host, _)| !leaves(inventory, host.as_str())).map(unasked).collect()
}

/// On a host we are connected to there is a service that could not be asked: no password, or it refused ours.
fn unasked(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let members = view.members.iter().filter(|m| m.in_inventory);
    let reasons: BTreeSet<&str> = (view.etcd.iter().map(|s| (&s.host, s.answer.unknown())))
        .chain(members.flat_map(|m| [(&m.host, m.patroni.unknown()), (&m.host, m.server.unknown())]))
        .chain(view.haproxy.iter().map(|s| (&s.host, s.answer.unknown())))
        .filter(|(host, _)| !view.unreachable.contains_key(host))
        .filter_map(|(_, reason)| reason)
        .collect();
    let help = format!(
        "check that the secrets beside {} are this cluster's, and that sshd has `AllowTcpForwarding yes`",
        inventory.path.display()
    );
    reasons.into_iter().map(|reason| warning(format!("could not ask: {reason}"), help.clone())).collect()
}
