//! Who may reach which port of a host, for the firewall's template: by role, and as the inventory says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::expand::Input;
use crate::inventory::{Component, Inventory};

#[derive(Serialize)]
pub struct FirewallContext<'a> {
    enabled: bool,
    /// The ports on which this host's SSH server listens, and the one that we use.
    ssh_ports: BTreeSet<u16>,
    admins: Sources,
    /// Hosts with etcd.
    etcd: Sources,
    /// Hosts that ask etcd: its members, and Patroni's.
    members: Sources,
    /// Hosts that ask Patroni: its members, and HAProxy's checks.
    servers: Sources,
    /// The same, and the networks that may use the database.
    database: Sources,
    clients: Sources,
    statistics: Sources,
    rules: &'a [String],
}

/// Where packets may come from. Without overlaps, which a set of nftables does not take.
#[derive(Serialize)]
struct Sources {
    anybody: bool,
    ipv4: Vec<String>,
    ipv6: Vec<String>,
}

impl<'a> FirewallContext<'a> {
    pub fn new(input: &Input<'a>) -> Self {
        let inventory = input.inventory;
        let firewall = &inventory.firewall;
        let with = |components: &[Component]| addresses(inventory, components);
        let servers = with(&[Component::Postgres, Component::Haproxy]);
        Self {
            enabled: firewall.enabled,
            ssh_ports: ssh_ports(input),
            admins: Sources::listed(inventory, &firewall.admins),
            etcd: Sources::of(with(&[Component::Etcd])),
            members: Sources::of(with(&[Component::Etcd, Component::Postgres])),
            servers: Sources::of(servers.clone()),
            database: Sources::of(servers.into_iter().chain(networks(&inventory.postgresql.allow))),
            clients: Sources::listed(inventory, &firewall.clients),
            statistics: Sources::listed(inventory, &firewall.admins),
            rules: &firewall.rules,
        }
    }
}

/// Where sshd listens, as the host says; X11 forwarding listens on the loopback, and is none of ours.
fn ssh_ports(input: &Input<'_>) -> BTreeSet<u16> {
    let is_remote = |address: &str| address.parse::<IpAddr>().is_ok_and(|address| !address.is_loopback());
    let sshd = input.facts.listening.iter().filter(|one| one.process.as_deref() == Some("sshd"));
    let found = sshd.filter(|one| is_remote(&one.address)).map(|one| one.port);
    found.chain([input.host.ssh.port.unwrap_or(22)]).collect()
}

fn addresses(inventory: &Inventory, components: &[Component]) -> Vec<IpNet> {
    let has = |component: &Component| components.contains(component);
    let hosts = inventory.hosts.iter().filter(|host| host.components.iter().any(has));
    hosts.filter_map(|host| host.address.parse::<IpAddr>().ok()).map(IpNet::from).collect()
}

/// The inventory's checks have seen them.
fn networks(texts: &[String]) -> impl Iterator<Item = IpNet> {
    texts.iter().filter_map(|text| text.parse().ok())
}

impl Sources {
    fn of(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let all = IpNet::aggregate(&networks.into_iter().collect());
        let (ipv4, ipv6): (Vec<IpNet>, Vec<IpNet>) = all.into_iter().partition(|net| net.addr().is_ipv4());
        let written = |nets: Vec<IpNet>| nets.iter().map(ToString::to_string).collect();
        Self { anybody: false, ipv4: written(ipv4), ipv6: written(ipv6) }
    }

    /// What the inventory lists and all hosts; everybody where it lists nothing.
    fn listed(inventory: &Inventory, texts: &[String]) -> Self {
        if texts.is_empty() {
            return Self { anybody: true, ipv4: Vec::new(), ipv6: Vec::new() };
        }
        let hosts = inventory.hosts.iter().filter_map(|host| host.address.parse::<IpAddr>().ok());
        Self::of(networks(texts).chain(hosts.map(IpNet::from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_do_not_overlap() {
        let texts = ["10.0.0.0/24", "10.0.0.7/32", "10.0.1.0/24", "fd00::/8", "fd00::1/128"].map(str::to_owned);
        let sources = Sources::of(networks(&texts));
        assert_eq!((sources.ipv4, sources.ipv6), (vec!["10.0.0.0/23".to_owned()], vec!["fd00::/8".to_owned()]));
    }
}
