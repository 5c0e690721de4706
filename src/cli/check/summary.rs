//! What the cluster would be, as the inventory has it.

use crate::inventory::{Component, Host, Inventory, PackageSource, Synchronous};

/// What the cluster would be, in a few lines.
pub(super) fn summary(inventory: &Inventory) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(["host", "address", "roles", "ssh"]);
    for host in &inventory.hosts {
        table.add_row([host.name.to_string(), host.address.clone(), roles(host), ssh(host)]);
    }
    let table = table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n");
    let facts = [
        ("postgresql", postgresql(inventory)),
        ("failover", failover(inventory)),
        ("clients", clients(inventory)),
        (
            "database",
            format!("{} owned by {}, {}", inventory.database.name, inventory.database.owner, inventory.database.locale),
        ),
        ("packages", packages(inventory)),
    ];
    let facts: Vec<String> = facts.iter().map(|(name, fact)| format!(" {name:<11} {fact}")).collect();
    format!("{} is good: cluster {}\n\n{table}\n\n{}\n", inventory.path.display(), inventory.cluster, facts.join("\n"))
}

fn roles(host: &Host) -> String {
    let components = host.components.iter().map(|component| match component {
        Component::Etcd => "etcd",
        Component::Postgres => "postgres",
        Component::Haproxy => "haproxy",
    });
    components.chain(host.own_roles.iter().map(|role| role.as_str())).collect::<Vec<_>>().join(", ")
}

fn ssh(host: &Host) -> String {
    let user = host.ssh.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let port = host.ssh.port.map(|port| format!(":{port}")).unwrap_or_default();
    let jump = if host.ssh.jump.is_empty() { String::new() } else { format!(" through {}", host.ssh.jump.join(", ")) };
    let pinned = if host.ssh.fingerprints.is_empty() { "" } else { ", host key pinned" };
    format!("{user}{}{port}{jump}{pinned}", host.ssh.host)
}

fn postgresql(inventory: &Inventory) -> String {
    let version = match inventory.postgresql.version {
        Some(version) => format!("version {version}"),
        None => "the distribution's version".to_owned(),
    };
    let synchronous = match inventory.patroni.synchronous {
        Synchronous::Off => "asynchronous replication",
        Synchronous::On => "synchronous replication",
        Synchronous::Quorum => "quorum replication",
    };
    format!("{version}, port {}, {synchronous}", inventory.postgresql.port)
}

/// The bounds of a failover: the lease runs out, the others wake up, race (2 s when a peer is silent), HAProxy notices.
fn failover(inventory: &Inventory) -> String {
    let (patroni, check) = (&inventory.patroni, &inventory.haproxy.check);
    if inventory.with(Component::Postgres).count() < 2 {
        return "none: there is one server".to_owned();
    }
    let haproxy = (check.inter_ms + check.rise.saturating_sub(1) * check.fastinter_ms).div_ceil(1000);
    let tail = 2 + haproxy;
    let restart = match patroni.primary_start_timeout {
        0 => patroni.loop_wait,
        wait => patroni.loop_wait + wait + patroni.loop_wait,
    };
    format!(
        "by design {} to {} s after the leader's host dies, at most {} s after its PostgreSQL crashes",
        patroni.ttl.saturating_sub(patroni.loop_wait),
        patroni.ttl + patroni.loop_wait + tail,
        restart + tail
    )
}

fn clients(inventory: &Inventory) -> String {
    let haproxy = &inventory.haproxy;
    let entrances: Vec<&str> = inventory.with(Component::Haproxy).map(|host| host.address.as_str()).collect();
    if entrances.is_empty() {
        return format!("connect to the servers themselves, port {}", inventory.postgresql.port);
    }
    format!(
        "{}: port {} writes, port {} reads, port {} statistics",
        entrances.join(", "),
        haproxy.primary_port,
        haproxy.replica_port,
        haproxy.stats_port
    )
}

fn packages(inventory: &Inventory) -> String {
    let source = match &inventory.packages.source {
        PackageSource::Distribution => "as the hosts are configured".to_owned(),
        PackageSource::Repositories(all) => {
            let names: Vec<&str> = all.iter().map(|repository| repository.name.as_str()).collect();
            format!("as the hosts are configured, and {}", names.join(", "))
        }
        PackageSource::Bundle(bundle) => {
            let names: Vec<String> = bundle.files.iter().map(|file| file.display().to_string()).collect();
            format!("from {}, and from nowhere else", names.join(", "))
        }
    };
    match inventory.packages.pins.len() {
        0 => source,
        pins => format!("{source}; {pins} pinned"),
    }
}
