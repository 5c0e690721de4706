//! The inventory of stand-ins: a host for each container, by the name the others know it by. Everything but hosts is as
//! the administrator wrote it.

use std::collections::BTreeMap;

use super::{RenderError, Shape};
use crate::facts::Facts;
use crate::inventory::{Component, Host, Inventory, PackageSource, Scalar};
use crate::names::HostName;

/// Members of etcd and of Patroni in Kubernetes: as many as survive the loss of one.
pub const REPLICAS: usize = 3;

/// As few members of Patroni as make a cluster.
pub const FEWEST: usize = 2;

/// Whoever is a container of that shape.
pub fn members(shape: Shape, inventory: &Inventory) -> Result<Inventory, RenderError> {
    if inventory.tls.enabled && inventory.tls.signing.is_elsewhere() {
        return Err(RenderError::SignedElsewhere);
    }
    let mut members = inventory.clone();
    members.leaving = Vec::new();
    members.etcd.data_dir = etcd_data_dir(&inventory.cluster);
    to_standard_error(&mut members.postgresql.parameters);
    members.hosts = match shape {
        Shape::Compose => compose(inventory),
        Shape::Kubernetes => {
            let services = ["primary", "replicas"].map(|name| format!("{}-{name}", inventory.cluster));
            members.tls.names.extend(services);
            kubernetes(inventory)
        }
    };
    match members.hosts.iter().find(|member| inventory.hosts.iter().any(|host| host.name == member.name)) {
        Some(member) => Err(RenderError::NameTaken { name: member.name.clone() }),
        None => Ok(members),
    }
}

/// In the volume, which is mounted above it.
pub fn etcd_data_dir(cluster: &str) -> String {
    format!("/var/lib/etcd/{cluster}")
}

/// A container's log is what it prints, and nobody rotates files in it.
fn to_standard_error(parameters: &mut BTreeMap<String, Scalar>) {
    // its files would be where nothing can be written
    parameters.retain(|name, _| !name.eq_ignore_ascii_case("logging_collector"));
    parameters.insert("logging_collector".to_owned(), Scalar::Bool(false));
}

/// One for each host and component, but for HAProxy: on one machine a second one is no use.
fn compose(inventory: &Inventory) -> Vec<Host> {
    let mut hosts = Vec::new();
    for host in inventory.with(Component::Etcd) {
        let name = format!("etcd-{}", host.name);
        hosts.push(Host { tags: BTreeMap::new(), ..stand_in(host, &name, &name, Component::Etcd) });
    }
    let servers: Vec<&Host> = inventory.with(Component::Postgres).collect();
    for host in &servers {
        let name = format!("postgres-{}", host.name);
        hosts.push(stand_in(host, &name, &name, Component::Postgres));
    }
    for number in servers.len()..FEWEST {
        hosts.extend(servers.first().map(|host| {
            let name = format!("postgres-{}-{}", host.name, number + 1);
            stand_in(host, &name, &name, Component::Postgres)
        }));
    }
    hosts.extend(
        inventory
            .with(Component::Haproxy)
            .next()
            .map(|host| Host { tags: BTreeMap::new(), ..stand_in(host, "haproxy", "haproxy", Component::Haproxy) }),
    );
    hosts
}

/// Pods of two StatefulSets, each with the name its set and its headless service give it. All HAProxys are alike.
fn kubernetes(inventory: &Inventory) -> Vec<Host> {
    let Some(pattern) = inventory.hosts.first() else { return Vec::new() };
    let cluster = &inventory.cluster;
    let mut hosts = Vec::new();
    for (set, component) in [("etcd", Component::Etcd), ("patroni", Component::Postgres)] {
        for number in 0..REPLICAS {
            let pod = format!("{cluster}-{set}-{number}");
            hosts.push(stand_in(pattern, &pod, &format!("{pod}.{cluster}-{set}"), component));
        }
    }
    let haproxy = format!("{cluster}-haproxy");
    hosts.push(stand_in(pattern, &haproxy, &haproxy, Component::Haproxy));
    for host in &mut hosts {
        host.tags = BTreeMap::new();
    }
    hosts
}

fn stand_in(host: &Host, name: &str, address: &str, component: Component) -> Host {
    Host {
        name: HostName::new(name),
        address: address.to_owned(),
        components: [component].into(),
        own_roles: Vec::new(),
        ssh: host.ssh.clone(),
        tags: host.tags.clone(),
        leaving: false,
    }
}

/// A release of Debian that images are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    pub codename: &'static str,
    pub number: &'static str,
    /// Fixed, so that the same is built everywhere; packages are the newest of the release all the same.
    pub base: &'static str,
}

const BOOKWORM: Release = Release { codename: "bookworm", number: "12", base: "debian:12.12-slim" };
const TRIXIE: Release = Release { codename: "trixie", number: "13", base: "debian:13.1-slim" };

impl Release {
    /// The newest that has the PostgreSQL asked for; with repositories of the site's, the newest.
    pub fn of(inventory: &Inventory) -> Result<Self, RenderError> {
        let version = inventory.postgresql.version;
        let has = |release: &Release| version.is_none() || own(release) == version;
        if let Some(release) = [TRIXIE, BOOKWORM].into_iter().find(has) {
            return Ok(release);
        }
        match (&inventory.packages.source, version) {
            (PackageSource::Distribution | PackageSource::Bundle(_), Some(version)) => {
                Err(RenderError::NoVersion { version })
            }
            _ => Ok(TRIXIE),
        }
    }

    /// What such a container is.
    pub fn facts(self) -> Facts {
        Facts {
            os: "debian".to_owned(),
            release: self.number.to_owned(),
            codename: self.codename.to_owned(),
            ..Facts::default()
        }
    }
}

fn own(release: &Release) -> Option<u32> {
    crate::inventory::distribution_postgresql(release.codename)
}
