//! The rules. Each is a pure function from a [`Context`] to what it finds; [`all`] runs every one of them.
//! A rule says nothing about a value that `shape` has already found unusable.

mod components;
mod database;
mod firewall;
mod hosts;
mod migrate;
mod network;
mod packages;
mod patroni;
mod ports;
mod postgresql;
mod ssh;
mod tls;
mod topology;
mod vault;

use super::document::Places;
use super::model::{Component, Inventory};
use super::problem::Problem;
use super::raw;
use super::surroundings::Surroundings;

/// What a rule may look at: the inventory as written and as meant, and where things stand.
pub(super) struct Context<'a> {
    pub raw: &'a raw::Inventory,
    /// Defaults filled in; its hosts are in the order of `raw`'s.
    pub inventory: &'a Inventory,
    pub places: &'a Places,
    pub around: &'a Surroundings,
}

type Rule = fn(&Context<'_>) -> Vec<Problem>;

const RULES: &[Rule] = &[
    hosts::cluster_name,
    hosts::names,
    hosts::duplicate_names,
    hosts::addresses,
    hosts::duplicate_addresses,
    hosts::roles,
    topology::etcd_members,
    topology::postgres_members,
    topology::haproxy_hosts,
    ports::clashes,
    ports::privileged,
    ssh::fingerprints,
    ssh::jumps,
    ssh::files,
    ssh::becoming_root,
    components::etcd_timing,
    components::etcd_data_dir,
    components::haproxy_checks,
    patroni::timing,
    patroni::synchronous,
    patroni::tags,
    patroni::nobody_to_promote,
    postgresql::version,
    postgresql::parameters,
    network::allowed,
    network::hba,
    firewall::networks,
    firewall::addresses,
    firewall::rules,
    database::names,
    database::encoding_and_locale,
    database::extensions,
    packages::pins,
    packages::proxy,
    packages::repositories,
    packages::assets,
    migrate::servers,
    migrate::xnat,
    vault::recipients,
    vault::passphrase,
    vault::references,
    tls::files,
    tls::signing,
    tls::names,
];

pub(super) fn all(context: &Context<'_>) -> Vec<Problem> {
    RULES.iter().flat_map(|rule| rule(context)).collect()
}

impl Context<'_> {
    /// Indices of the hosts that have a component, and stay.
    fn with(&self, component: Component) -> Vec<usize> {
        let hosts = self.inventory.hosts.iter().enumerate();
        hosts
            .filter(|(_, host)| host.components.contains(&component) && !host.leaving)
            .map(|(index, _)| index)
            .collect()
    }
    /// The place of one role of a host.
    fn role_path(&self, host: usize, role: &str) -> String {
        let index = self.raw.host[host].roles.iter().position(|name| name == role);
        index.map_or_else(|| format!("host[{host}].roles"), |index| format!("host[{host}].roles[{index}]"))
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}
