//! Who talks to whom: every port of another host that a host needs by its roles.

use crate::inventory::{Component, Host, Inventory};
use crate::names::HostName;

/// A port of another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub host: HostName,
    pub address: String,
    pub port: u16,
    pub service: &'static str,
}

impl Target {
    /// As it is asked for and answered.
    pub fn key(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }
}

/// A line of the table of ports: who needs what of whom.
pub struct Need {
    pub from: Component,
    pub to: Component,
    pub service: &'static str,
    /// Where the inventory says the port.
    pub key: &'static str,
    pub why: &'static str,
    port: fn(&Inventory) -> u16,
}

impl Need {
    pub fn port(&self, inventory: &Inventory) -> u16 {
        (self.port)(inventory)
    }
}

/// All of them. A host is never its own neighbour.
pub const NEEDS: [Need; 6] = [
    Need {
        from: Component::Etcd,
        to: Component::Etcd,
        service: "etcd (peer)",
        key: "etcd.peer_port",
        why: "the members agree on the leader's lease",
        port: |inventory| inventory.etcd.peer_port,
    },
    Need {
        from: Component::Postgres,
        to: Component::Etcd,
        service: "etcd (client)",
        key: "etcd.client_port",
        why: "Patroni holds and watches the lease",
        port: |inventory| inventory.etcd.client_port,
    },
    Need {
        from: Component::Postgres,
        to: Component::Postgres,
        service: "PostgreSQL",
        key: "postgresql.port",
        why: "replicas follow the leader, whoever it is",
        port: |inventory| inventory.postgresql.port,
    },
    Need {
        from: Component::Postgres,
        to: Component::Postgres,
        service: "Patroni",
        key: "patroni.rest_port",
        why: "the members ask each other before one is promoted",
        port: |inventory| inventory.patroni.rest_port,
    },
    Need {
        from: Component::Haproxy,
        to: Component::Postgres,
        service: "PostgreSQL",
        key: "postgresql.port",
        why: "clients' sessions",
        port: |inventory| inventory.postgresql.port,
    },
    Need {
        from: Component::Haproxy,
        to: Component::Postgres,
        service: "Patroni",
        key: "patroni.rest_port",
        why: "health checks: who is the leader",
        port: |inventory| inventory.patroni.rest_port,
    },
];

/// What `from` needs to reach.
pub fn targets(inventory: &Inventory, from: &Host) -> Vec<Target> {
    let mut all: Vec<Target> = Vec::new();
    for need in NEEDS.iter().filter(|need| from.components.contains(&need.from)) {
        for to in inventory.with(need.to).filter(|to| to.name != from.name) {
            let (host, address) = (to.name.clone(), to.address.clone());
            let target = Target { host, address, port: need.port(inventory), service: need.service };
            if !all.contains(&target) {
                all.push(target);
            }
        }
    }
    all
}
