//! What only shows when the hosts are seen together.

use std::collections::BTreeMap;

use super::{Refusal, Severity};
use crate::facts::Facts;
use crate::inventory::{Component, Inventory};
use crate::names::HostName;

/// Everything about the hosts together. Hosts without facts are passed over.
pub fn check(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>) -> Vec<Refusal> {
    let mut all = same_machine(inventory, facts);
    all.extend(different(inventory, facts, &|facts| inventory.postgresql_major(&facts.codename).map(|v| v.to_string()), &Difference {
        code: "xnat::preflight::mixed_postgresql",
        what: "PostgreSQL",
        why: "replicas need the leader's major version",
        help: "use the same release on all hosts with the role \"postgres\", or set [postgresql] version and a [[packages.repository]] that has it",
    }));
    all.extend(different(
        inventory,
        facts,
        &|facts| Some(facts.arch.clone()),
        &Difference {
            code: "xnat::preflight::mixed_architecture",
            what: "architecture",
            why: "a replica is a byte-for-byte copy of the leader",
            help: "use the same architecture on all hosts with the role \"postgres\"",
        },
    ));
    all
}

/// One machine under two names, or a copied machine: systemd, DHCP and more take them for one.
fn same_machine(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>) -> Vec<Refusal> {
    let mut seen: BTreeMap<&str, &HostName> = BTreeMap::new();
    let mut found = Vec::new();
    for host in &inventory.hosts {
        let Some(facts) = facts.get(&host.name).filter(|facts| !facts.machine_id.is_empty()) else { continue };
        let Some(first) = seen.get(facts.machine_id.as_str()) else {
            seen.insert(&facts.machine_id, &host.name);
            continue;
        };
        found.push(Refusal {
            host: host.name.clone(),
            severity: Severity::Refuse,
            code: "xnat::preflight::same_machine",
            message: format!("it has the same machine id as {first}: one machine under two names, or a copy"),
            help: "mend the addresses in the inventory; on a copied machine make a new id and reboot: `rm -f /etc/machine-id /var/lib/dbus/machine-id && systemd-machine-id-setup`".into(),
        });
    }
    found
}

/// How a difference between database hosts is told.
struct Difference {
    code: &'static str,
    what: &'static str,
    why: &'static str,
    help: &'static str,
}

fn different(
    inventory: &Inventory,
    facts: &BTreeMap<HostName, Facts>,
    value: &dyn Fn(&Facts) -> Option<String>,
    text: &Difference,
) -> Vec<Refusal> {
    let members = inventory.with(Component::Postgres);
    let mut known = members.filter_map(|host| Some((&host.name, value(facts.get(&host.name)?)?)));
    let Some((first, reference)) = known.next() else { return Vec::new() };
    let odd = known.filter(|(_, value)| *value != reference);
    odd.map(|(host, value)| Refusal {
        host: host.clone(),
        severity: Severity::Refuse,
        code: text.code,
        message: format!("{} is {value} here and {reference} on {first}: {}", text.what, text.why),
        help: text.help.to_owned(),
    })
    .collect()
}
