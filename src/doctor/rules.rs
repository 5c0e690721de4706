//! The rules, from the foundations upwards, so that what comes first may explain what comes later.

mod certificates;
mod etcd;
mod haproxy;
mod host;
mod network;
mod patroni;
mod replication;
mod writers;

use super::Case;
use super::finding::Finding;
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::quote;

type Rule = fn(&Case<'_>) -> Vec<Finding>;

const RULES: [Rule; 24] = [
    writers::several,
    host::unreachable,
    host::silent,
    host::drill,
    host::clocks,
    host::frozen,
    host::disks,
    network::names,
    network::ports,
    certificates::expired,
    certificates::foreign,
    etcd::alarms,
    etcd::addresses,
    etcd::quorum,
    etcd::members,
    patroni::other_database,
    patroni::stale_initialize,
    patroni::down,
    replication::broken,
    patroni::postgresql,
    patroni::addresses,
    patroni::no_leader,
    haproxy::down,
    haproxy::leader,
];

pub fn all(case: &Case<'_>) -> Vec<Finding> {
    RULES.iter().flat_map(|rule| rule(case)).collect()
}

/// `xnat-provision VERB xnat.toml`
fn ours(verb: &str, inventory: &Inventory) -> String {
    format!("xnat-provision {verb} {}", quote::path(&inventory.path))
}

fn list<'a>(hosts: impl IntoIterator<Item = &'a HostName>) -> String {
    hosts.into_iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}
