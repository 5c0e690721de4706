//! What only shows when the hosts are seen together.

mod versions;

use std::collections::BTreeMap;

use super::catalogue::{self, Check};
use super::machine::seconds;
use super::{Finding, Severity};
use crate::facts::reach::{self, Target};
use crate::facts::{Examination, Facts, Reach};
use crate::inventory::{Component, Inventory};
use crate::names::HostName;

/// Everything about the hosts together. Hosts without facts are passed over.
pub fn check(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>) -> Vec<Finding> {
    let mut all = same_machine(inventory, facts);
    all.extend(different(inventory, facts, &|facts| inventory.postgresql_major(&facts.codename).map(|v| v.to_string()), &Difference {
        check: &catalogue::MIXED_POSTGRESQL,
        what: "PostgreSQL",
        why: "replicas need the leader's major version",
        help: "use the same release on all hosts with the role \"postgres\", or set [postgresql] version and a [[packages.repository]] that has it",
    }));
    all.extend(different(
        inventory,
        facts,
        &|facts| Some(facts.arch.clone()),
        &Difference {
            check: &catalogue::MIXED_ARCHITECTURE,
            what: "architecture",
            why: "a replica is a byte-for-byte copy of the leader",
            help: "use the same architecture on all hosts with the role \"postgres\"",
        },
    ));
    all.extend(libraries(inventory, facts));
    all.extend(reachability(inventory, facts));
    all.extend(names(inventory, facts));
    all.extend(clocks(inventory, facts));
    all.extend(versions::check(inventory, facts));
    all
}

/// One machine under two names, or a copied machine: systemd, DHCP and more take them for one.
fn same_machine(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>) -> Vec<Finding> {
    let mut seen: BTreeMap<&str, &HostName> = BTreeMap::new();
    let mut found = Vec::new();
    for host in &inventory.hosts {
        let Some(facts) = facts.get(&host.name).filter(|facts| !facts.machine_id.is_empty()) else { continue };
        let Some(first) = seen.get(facts.machine_id.as_str()) else {
            seen.insert(&facts.machine_id, &host.name);
            continue;
        };
        found.push(Finding {
            host: host.name.clone(),
            severity: Severity::Refuse,
            check: &catalogue::SAME_MACHINE,
            message: format!("it has the same machine id as {first}: one machine under two names, or a copy"),
            help: "mend the addresses in the inventory; on a copied machine make a new id and reboot: `rm -f /etc/machine-id /var/lib/dbus/machine-id && systemd-machine-id-setup`".into(),
        });
    }
    found
}

/// How a difference between database hosts is told.
struct Difference {
    check: &'static Check,
    what: &'static str,
    why: &'static str,
    help: &'static str,
}

fn different(
    inventory: &Inventory,
    facts: &BTreeMap<HostName, Facts>,
    value: &dyn Fn(&Facts) -> Option<String>,
    text: &Difference,
) -> Vec<Finding> {
    let members = inventory.with(Component::Postgres);
    let mut known = members.filter_map(|host| Some((&host.name, value(facts.get(&host.name)?)?)));
    let Some((first, reference)) = known.next() else { return Vec::new() };
    let odd = known.filter(|(_, value)| *value != reference);
    odd.map(|(host, value)| Finding {
        host: host.clone(),
        severity: Severity::Refuse,
        check: text.check,
        message: format!("{} is {value} here and {reference} on {first}: {}", text.what, text.why),
        help: text.help.to_owned(),
    })
    .collect()
}

/// Debian's version of the C library up to its own revision: `2.41`.
fn library(facts: &Facts) -> Option<String> {
    let version = facts.examination.as_ref()?.installed.get("libc6")?;
    Some(version.split('-').next().unwrap_or(version).to_owned())
}

/// The C locales sort by numbers of characters, whatever the library.
fn libraries(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>) -> Vec<Finding> {
    if ["C", "POSIX", "C.UTF-8", "C.utf8"].contains(&inventory.database.locale.as_str()) {
        return Vec::new();
    }
    different(
        inventory,
        facts,
        &library,
        &Difference {
            check: &catalogue::MIXED_COLLATION,
            what: "the C library",
            why: "text may be sorted differently, and indexes miss rows after a failover",
            help: "use the same release on all hosts with the role \"postgres\", or the locale \"C.UTF-8\"",
        },
    )
}

/// Ports of hosts that this machine can reach, from where they are needed. A host that is away itself says enough.
fn reachability(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>) -> Vec<Finding> {
    let mut found = Vec::new();
    for host in &inventory.hosts {
        let Some(seen) = facts.get(&host.name).and_then(|facts| facts.examination.as_ref()) else { continue };
        let targets: Vec<Target> =
            reach::targets(inventory, host).into_iter().filter(|target| facts.contains_key(&target.host)).collect();
        for other in inventory.hosts.iter().filter(|other| other.name != host.name) {
            let of_other: Vec<&Target> = targets.iter().filter(|target| target.host == other.name).collect();
            found.extend(closed(&host.name, &of_other, seen));
        }
    }
    found
}

/// The ports of one host that cannot be reached from another, by what came of it.
fn closed(from: &HostName, targets: &[&Target], seen: &Examination) -> Vec<Finding> {
    let mut found = Vec::new();
    for (is, check, what) in [
        ((|reach| *reach == Reach::Silent) as fn(&Reach) -> bool, &catalogue::BLOCKED_PORT, "get no answer"),
        (|reach| *reach == Reach::Forbidden, &catalogue::BLOCKED_PORT, "are forbidden by its own firewall"),
        (|reach| *reach == Reach::NoRoute, &catalogue::NO_ROUTE, "have no way there"),
        (|reach| matches!(reach, Reach::Failed(_)), &catalogue::NO_ROUTE, "fail"),
    ] {
        let hit = targets.iter().filter(|target| seen.reached.get(&target.key()).is_some_and(is));
        let hit: Vec<&&Target> = hit.collect();
        let Some(Target { host: to, address, port, .. }) = hit.first() else { continue };
        let ports: Vec<String> = hit.iter().map(|target| format!("{} ({})", target.port, target.service)).collect();
        let message = format!("connections to {to} {what}: {}", ports.join(", "));
        let help = format!(
            "open these ports of {to} ({address}) to {from}; try it on {from}: `timeout 2 bash -c '</dev/tcp/{address}/{port}'` (\"refused\" is good enough), and see `nft list ruleset` on both"
        );
        found.push(Finding { host: from.clone(), severity: Severity::Refuse, check, message, help });
    }
    found
}

/// A name that is an address in the inventory must be the same one everywhere.
fn names(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>) -> Vec<Finding> {
    let mut found = Vec::new();
    for host in &inventory.hosts {
        let look = |name: &HostName| facts.get(name)?.examination.as_ref()?.resolved.get(&host.address);
        let mut known = inventory.hosts.iter().filter_map(|at| Some((&at.name, look(&at.name)?)));
        let Some((first, reference)) = known.next() else { continue };
        let odd = known.filter(|(_, addresses)| *addresses != reference && !addresses.is_empty());
        found.extend(odd.map(|(at, addresses)| Finding {
            host: at.clone(),
            severity: Severity::Warn,
            check: &catalogue::RESOLVED_DIFFERENTLY,
            message: format!(
                "{} is {} here and {} on {first}",
                host.address,
                addresses.join(", "),
                if reference.is_empty() { "nothing".to_owned() } else { reference.join(", ") }
            ),
            help: format!("use the IP address of {} in the inventory, or mend DNS or /etc/hosts", host.name),
        }));
    }
    found
}

/// How far clocks may be apart; what the way to a host takes is in the figures.
const APART: f64 = 2.0;

fn clocks(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>) -> Vec<Finding> {
    let skews = inventory.hosts.iter().filter_map(|host| Some((&host.name, facts.get(&host.name)?.skew()?)));
    let mut skews: Vec<(&HostName, f64)> = skews.collect();
    skews.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let (Some((slow, least)), Some((fast, most))) = (skews.first(), skews.last()) else { return Vec::new() };
    if most - least <= APART {
        return Vec::new();
    }
    vec![Finding {
        host: (*fast).clone(),
        severity: Severity::Warn,
        check: &catalogue::CLOCKS_APART,
        message: format!("its clock is {} ahead of that of {slow}", seconds(most - least)),
        help: "keep the time on all hosts from the same servers: `timedatectl timesync-status` shows from which"
            .to_owned(),
    }]
}
