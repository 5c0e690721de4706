//! Which certificates a cluster needs, and for which names. Pure.

use std::net::IpAddr;

use super::Purpose;
use crate::inventory::{Component, Host, Inventory};
use crate::names::HostName;

/// One certificate of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub host: HostName,
    pub purpose: Purpose,
    /// DNS names and addresses clients may know it by; sorted, without repetitions.
    pub names: Vec<String>,
}

impl Wanted {
    /// The names that matter between hosts: an authority that is not ours will not sign for `localhost`.
    pub fn public_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str).filter(|name| !LOCAL.contains(name))
    }
}

/// Every host's names of itself.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What an inventory asks for; nothing without TLS.
pub fn wanted(inventory: &Inventory) -> Vec<Wanted> {
    if !inventory.tls.enabled {
        return Vec::new();
    }
    let of_host = |host: &'_ Host| {
        let purposes = host.components.iter().flat_map(|component| purposes(*component));
        purposes.map(|purpose| of(inventory, host, *purpose)).collect::<Vec<_>>()
    };
    inventory.hosts.iter().flat_map(of_host).collect()
}

fn purposes(component: Component) -> &'static [Purpose] {
    match component {
        Component::Etcd => &[Purpose::Etcd],
        Component::Postgres => &[Purpose::Patroni, Purpose::Postgres],
        Component::Haproxy => &[Purpose::Haproxy],
    }
}

fn of(inventory: &Inventory, host: &Host, purpose: Purpose) -> Wanted {
    let [localhost, loopback, loopback6] = LOCAL.map(str::to_owned);
    let mut names = vec![host.name.to_string(), host.address.clone(), localhost, loopback];
    if host.address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) {
        names.push(loopback6);
    }
    // A client that comes through HAProxy knows the database by HAProxy's name.
    if purpose == Purpose::Postgres {
        for balancer in inventory.with(Component::Haproxy) {
            names.extend([balancer.name.to_string(), balancer.address.clone()]);
        }
    }
    if matches!(purpose, Purpose::Postgres | Purpose::Haproxy) {
        names.extend(inventory.tls.names.iter().cloned());
    }
    // As certificates give them back: an address has many spellings.
    let mut names: Vec<String> =
        names.into_iter().map(|name| name.parse::<IpAddr>().map_or(name, |address| address.to_string())).collect();
    names.sort();
    names.dedup();
    Wanted { host: host.name.clone(), purpose, names }
}
