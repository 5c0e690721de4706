//! From what is written to what is meant: every default filled in, global and per-host settings merged. Judges nothing.

use std::collections::BTreeSet;
use std::path::Path;

use super::model::{
    BundleSource, Check, Component, Database, Escalate, Etcd, Firewall, Haproxy, Host, Inventory, PackageSource,
    Packages, Patroni, Postgresql, Reference, Repository, Signing, Source, Ssh, Tls, Vault, Xnat,
};
use super::raw;
use super::surroundings::Surroundings;
use super::values::Strings;
use crate::names::{HostName, RoleName};

pub(super) fn inventory(raw: &raw::Inventory, path: &Path, around: &Surroundings) -> Inventory {
    let cluster = raw.cluster.name.clone();
    Inventory {
        path: path.to_owned(),
        hosts: raw.host.iter().map(|one| host(one, &raw.ssh, around)).collect(),
        leaving: Vec::new(),
        etcd: etcd(&raw.etcd, &cluster),
        postgresql: Postgresql {
            version: raw.postgresql.version,
            port: raw.postgresql.port,
            parameters: raw.postgresql.parameters.clone(),
            allow: raw.postgresql.allow.0.clone(),
            hba: raw.postgresql.hba.0.clone(),
        },
        patroni: patroni(&raw.patroni),
        haproxy: haproxy(&raw.haproxy),
        database: Database {
            name: raw.database.name.clone(),
            owner: raw.database.owner.clone(),
            encoding: raw.database.encoding.clone(),
            locale: raw.database.locale.clone(),
            extensions: raw.database.extensions.0.clone(),
        },
        packages: packages(&raw.packages, around),
        tls: tls(&raw.tls, around),
        firewall: Firewall {
            enabled: raw.firewall.enabled,
            admins: raw.firewall.admins.0.clone(),
            clients: raw.firewall.clients.0.clone(),
            rules: raw.firewall.rules.0.clone(),
        },
        vault: vault(&raw.vault, around),
        secrets: raw
            .secrets
            .each()
            .filter_map(|(name, one)| Some((name.to_owned(), reference(one, around)?)))
            .collect(),
        assets: around.assets.clone(),
        source: raw.migrate.source.as_ref().map(|one| source((SOURCE, one), raw, around)),
        single: raw.migrate.single.as_ref().map(|one| source((SINGLE, one), raw, around)),
        xnat: xnat(raw, around),
        cluster,
    }
}

fn host(raw: &raw::Host, common: &raw::Ssh, around: &Surroundings) -> Host {
    let mut components = BTreeSet::new();
    let mut own_roles = Vec::new();
    for name in &raw.roles {
        match component(name) {
            Some(component) => drop(components.insert(component)),
            None => own_roles.push(RoleName::new(name)),
        }
    }
    Host {
        name: HostName::new(&raw.name),
        address: raw.address.clone(),
        components,
        own_roles,
        ssh: ssh(raw, common, around),
        tags: raw.tags.clone(),
        leaving: raw.leaving,
    }
}

/// The names that the machines of the source and of the single server have in what is printed, and those of XNAT begin with.
const SOURCE: &str = "source";
const SINGLE: &str = "single";
const XNAT: &str = "xnat";

fn xnat(whole: &raw::Inventory, around: &Surroundings) -> Xnat {
    let raw::Xnat { host: hosts, unit, properties, port, page } = &whole.xnat;
    let machine = |(index, one): (usize, &raw::XnatHost)| {
        let name = if hosts.len() == 1 { XNAT.to_owned() } else { format!("{XNAT}{}", index + 1) };
        let (address, fingerprint, ssh) = (one.address.clone(), one.fingerprint.clone(), one.ssh.clone());
        host(&raw::Host { name, address, fingerprint, ssh, ..raw::Host::default() }, &whole.ssh, around)
    };
    Xnat {
        hosts: hosts.iter().enumerate().map(machine).collect(),
        unit: unit.clone(),
        properties: properties.clone(),
        port: *port,
        page: page.clone(),
    }
}

fn source((name, raw): (&str, &raw::Source), whole: &raw::Inventory, around: &Surroundings) -> Source {
    let machine = raw::Host {
        name: name.to_owned(),
        address: raw.address.clone(),
        fingerprint: raw.fingerprint.clone(),
        ssh: raw.ssh.clone(),
        ..raw::Host::default()
    };
    Source {
        machine: host(&machine, &whole.ssh, around),
        reach: raw.reach,
        port: raw.port,
        socket: raw.socket.clone(),
        container: raw.container.clone(),
        engine: raw.engine,
        sudo_as: raw.sudo_as.clone(),
        database: raw.database.clone().unwrap_or_else(|| whole.database.name.clone()),
        user: raw.user.clone(),
        password: raw.password.as_ref().and_then(|one| reference(one, around)),
    }
}

/// The built-in roles by the names they have in an inventory.
pub(super) const COMPONENTS: [(&str, Component); 3] =
    [("etcd", Component::Etcd), ("postgres", Component::Postgres), ("haproxy", Component::Haproxy)];

fn component(name: &str) -> Option<Component> {
    COMPONENTS.into_iter().find(|(known, _)| *known == name).map(|(_, component)| component)
}

fn ssh(host: &raw::Host, common: &raw::Ssh, around: &Surroundings) -> Ssh {
    let own = &host.ssh;
    let user = own.user.clone().or_else(|| common.user.clone());
    let natural = if user.as_deref() == Some("root") { Escalate::None } else { Escalate::Sudo };
    let identity = own.identity.as_ref().unwrap_or(&common.identity);
    // A host with a user of its own does not inherit how another user becomes root.
    let inherited = if own.user.is_none() { common.escalate } else { None };
    Ssh {
        host: own.host.clone().unwrap_or_else(|| host.address.clone()),
        port: own.port.or(common.port),
        user,
        identity: identity.0.iter().map(|file| around.resolve(file)).collect(),
        jump: own.jump.as_ref().unwrap_or(&common.jump).0.clone(),
        escalate: own.escalate.or(inherited).unwrap_or(natural),
        fingerprints: host.fingerprint.0.clone(),
        known_hosts: common.known_hosts.as_ref().map(|file| around.resolve(file)),
        connect_timeout: common.connect_timeout.0,
    }
}

fn etcd(raw: &raw::Etcd, cluster: &str) -> Etcd {
    Etcd {
        client_port: raw.client_port,
        peer_port: raw.peer_port,
        data_dir: raw.data_dir.clone().unwrap_or_else(|| format!("/var/lib/etcd/{cluster}")),
        heartbeat_interval_ms: raw.heartbeat_interval.as_millis(),
        election_timeout_ms: raw.election_timeout.as_millis(),
    }
}

fn patroni(raw: &raw::Patroni) -> Patroni {
    // ttl, loop_wait, retry_timeout, primary_start_timeout. Patroni's own 30/10/10/300 makes a crashed leader wait five
    // minutes; these two bound that to seconds. Both keep loop_wait + 2 * retry_timeout <= ttl. When a lost machine takes
    // etcd's leader with it, all leases begin anew with the next one: 28 makes up for that. The other's 20 is Patroni's
    // least.
    let (ttl, loop_wait, retry_timeout, primary_start_timeout) = match raw.preset {
        raw::Preset::Default => (28, 5, 10, 10),
        raw::Preset::Fast => (20, 5, 5, 0),
    };
    Patroni {
        rest_port: raw.rest_port,
        ttl: raw.ttl.unwrap_or(ttl),
        loop_wait: raw.loop_wait.unwrap_or(loop_wait),
        retry_timeout: raw.retry_timeout.unwrap_or(retry_timeout),
        primary_start_timeout: raw.primary_start_timeout.unwrap_or(primary_start_timeout),
        liveness_failures: raw.liveness_failures,
        maximum_lag_on_failover: raw.maximum_lag_on_failover.0,
        failsafe_mode: raw.failsafe_mode,
        synchronous: raw.synchronous,
        synchronous_node_count: raw.synchronous_node_count,
        synchronous_strict: raw.synchronous_strict,
    }
}

fn haproxy(raw: &raw::Haproxy) -> Haproxy {
    Haproxy {
        primary_port: raw.primary_port,
        replica_port: raw.replica_port,
        stats_port: raw.stats_port,
        maxconn: raw.maxconn,
        check: Check {
            inter_ms: raw.check.inter.as_millis(),
            fastinter_ms: raw.check.fastinter.as_millis(),
            downinter_ms: raw.check.downinter.as_millis(),
            timeout_ms: raw.check.timeout.as_millis(),
            rise: raw.check.rise,
            fall: raw.check.fall,
        },
        replica_max_lag: raw.replica_max_lag.to_string(),
    }
}

fn packages(raw: &raw::Packages, around: &Surroundings) -> Packages {
    let repositories: Vec<Repository> =
        raw.repository.iter().enumerate().map(|(index, one)| repository(one, around.keys.get(&index))).collect();
    Packages {
        source: match (raw.bundle.0.is_empty(), repositories.is_empty()) {
            (true, true) => PackageSource::Distribution,
            (true, false) => PackageSource::Repositories(repositories),
            (false, _) => PackageSource::Bundle(BundleSource {
                files: raw.bundle.0.iter().map(|file| around.resolve(file)).collect(),
                repositories,
            }),
        },
        bundle_key: raw.bundle_key.as_ref().map(|file| around.resolve(file)),
        keep_bundle: raw.keep_bundle,
        pins: raw.pins.clone(),
        proxy: raw.proxy.clone(),
    }
}

fn tls(raw: &raw::Tls, around: &Surroundings) -> Tls {
    let path = |file: &str| around.resolve(file);
    let signing = match (&raw.ca_certificate, &raw.ca_key, &raw.certificates) {
        (Some(certificate), Some(key), _) => Signing::Authority { certificate: path(certificate), key: path(key) },
        (Some(trusted), None, Some(directory)) => {
            Signing::Elsewhere { trusted: path(trusted), certificates: path(directory) }
        }
        _ => Signing::Ours,
    };
    Tls { enabled: raw.enabled, names: raw.names.0.clone(), days: raw.days, signing }
}

fn repository(raw: &raw::Repository, key: Option<&String>) -> Repository {
    let Strings(components) = raw.components.clone();
    Repository {
        name: raw.name.clone(),
        url: raw.url.clone(),
        suite: raw.suite.clone(),
        components,
        key: key.cloned().unwrap_or_default(),
    }
}

fn vault(raw: &raw::Vault, around: &Surroundings) -> Vault {
    Vault {
        encryption: raw.encryption,
        identity: raw.identity.0.iter().map(|file| around.resolve(file)).collect(),
        recipients: raw.recipients.0.clone(),
        passphrase_command: raw.passphrase_command.clone(),
    }
}

/// None when it says nothing, which a rule complains of.
fn reference(raw: &raw::Reference, around: &Surroundings) -> Option<Reference> {
    let env = raw.env.clone().map(Reference::Env);
    let file = || raw.file.as_ref().map(|file| Reference::File(around.resolve(file)));
    env.or_else(file).or_else(|| raw.command.clone().map(Reference::Command))
}
