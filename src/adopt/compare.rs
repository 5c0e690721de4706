//! The finished inventory held against what was found: whatever this program does in one way only and somebody else has
//! done in another, and what `apply` would change in the settings that all members share.

use serde_json::Value;

use super::difference::Difference;
use super::hosts::{Hosts, Member};
use super::parameters;
use super::patroni::{DIRECTORY, NAMESPACE, Patroni};
use super::shared;
use crate::cluster::postgres::{ConfigChange, config_diff, unasked_parameters, unasked_settings};
use crate::inventory::{Component, Inventory};
use crate::pki::Purpose;
use crate::role::dynamic_config;

pub(super) fn all(hosts: &Hosts, inventory: &Inventory) -> Vec<Difference> {
    let mut found: Vec<Difference> = hosts.members.iter().flat_map(|member| of_host(member, inventory)).collect();
    found.extend(of_shared(hosts, inventory));
    found
}

fn of_host(member: &Member, inventory: &Inventory) -> Vec<Difference> {
    let mut found = Vec::new();
    if let Some(patroni) = &member.seen.patroni {
        found.extend(names(member, patroni, inventory));
        found.extend(places(patroni, inventory));
        found.extend(security(patroni, inventory));
        found.extend(rest(patroni));
    }
    if member.roles.contains(&Component::Etcd) {
        found.extend(etcd(member, inventory));
    }
    found.into_iter().map(|what| Difference::of(&member.name, what)).collect()
}

const AUTHORITY: &str = "here an authority in the vault signs them, or one that [tls] names";

fn etcd(member: &Member, inventory: &Inventory) -> Vec<String> {
    let Some(etcd) = &member.seen.etcd else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(name) = etcd.name().filter(|name| *name != member.name.as_str()) {
        found.push(format!("its etcd calls itself {name}; here a host has one name for etcd and Patroni"));
    }
    let ours = &inventory.etcd.data_dir;
    if let Some(directory) = etcd.data_dir().filter(|directory| directory != ours) {
        found.push(format!("its etcd has its data in {directory}, and the inventory has one place for all: {ours}"));
    }
    match (etcd.has_tls(), inventory.tls.enabled) {
        (true, false) => found.push("its etcd speaks TLS, and the inventory asks for none".to_owned()),
        (false, true) => found.push("its etcd does not speak TLS, and the inventory asks for it".to_owned()),
        _ => {}
    }
    if etcd.certificate().is_some_and(|path| path != Purpose::Etcd.file()) {
        found.push(format!("its etcd has certificates of its own; {AUTHORITY}"));
    }
    if let Some(unit) = etcd.unit.as_deref().filter(|unit| *unit != "etcd.service") {
        found.push(format!("its etcd runs as {unit}; here it is etcd.service"));
    }
    found
}

fn names(member: &Member, patroni: &Patroni, inventory: &Inventory) -> Vec<String> {
    let mut found = Vec::new();
    if patroni.scope() != inventory.cluster {
        let scope = patroni.scope();
        found.push(format!("its cluster is called {scope}, which cannot be a name here; a cluster cannot be renamed"));
    }
    if let Some(name) = patroni.name().filter(|name| *name != member.name.as_str()) {
        found.push(format!("its Patroni calls itself {name}, which cannot be the name of a host here"));
    }
    let namespace = patroni.namespace();
    if namespace != NAMESPACE {
        found.push(format!("its Patroni has its keys in etcd under {namespace}; here they are under {NAMESPACE}"));
    }
    found
}

fn places(patroni: &Patroni, inventory: &Inventory) -> Vec<String> {
    let mut found = Vec::new();
    let major = patroni.server.as_ref().map(|server| server.version).or(inventory.postgresql.version);
    let ours = major.map(|major| inventory.postgresql_data_dir(major));
    if let (Some(theirs), Some(ours)) = (patroni.data_dir(), ours)
        && theirs != ours
    {
        found.push(format!("its database is in {theirs}; here it is in {ours}, and no other is taken over"));
    }
    if !patroni.is_ours() {
        found.push(format!("its Patroni reads {}; here its settings are in {DIRECTORY}", patroni.path));
    }
    if let Some(unit) = patroni.unit.as_deref().filter(|unit| *unit != "patroni.service") {
        found.push(format!("its Patroni runs as {unit}; here it is patroni.service"));
    }
    found
}

fn security(patroni: &Patroni, inventory: &Inventory) -> Vec<String> {
    let mut found = Vec::new();
    let asked = inventory.tls.enabled;
    for (what, speaks) in [("its Patroni's REST API", patroni.has_tls()), ("its Patroni, to etcd,", patroni.etcd_tls())]
    {
        match (speaks, asked) {
            (true, false) => found.push(format!("{what} speaks TLS, and the inventory asks for none")),
            (false, true) => found.push(format!("{what} does not speak TLS, and the inventory asks for it")),
            _ => {}
        }
    }
    if patroni.text("/restapi/certfile").is_some_and(|path| path != Purpose::Patroni.file()) {
        found.push(format!("its Patroni has certificates of its own; {AUTHORITY}"));
    }
    for (login, ours) in [("superuser", "postgres"), ("replication", "replicator"), ("rewind", "rewind")] {
        let user = patroni.text(&format!("/postgresql/authentication/{login}/username"));
        // while passwords change there are two of them
        let same = |user: &str| user == ours || user.strip_suffix("_next") == Some(ours);
        if let Some(user) = user.filter(|user| !same(user)) {
            found.push(format!("its Patroni logs in as {user} ({login}); here that is {ours}"));
        }
    }
    found
}

fn rest(patroni: &Patroni) -> Vec<String> {
    let mut found = Vec::new();
    if !patroni.running {
        found.push("its Patroni does not run, and could not be asked".to_owned());
    }
    let extras = extras(patroni);
    if !extras.is_empty() {
        found.push(format!("its Patroni has settings this program has no word for: {}", extras.join(", ")));
    }
    if !patroni.variables.is_empty() {
        let names = patroni.variables.join(", ");
        found.push(format!("its Patroni is set up by variables, too, which were not read: {names}"));
    }
    found.extend(patroni.problems.iter().map(|problem| format!("could not be read: {problem}")));
    found
}

/// What is in the templates, or is the same whatever it says: a pool of connections to etcd, logging.
const KNOWN: [&str; 12] = [
    "scope",
    "namespace",
    "name",
    "restapi",
    "etcd3",
    "ctl",
    "postgresql",
    "watchdog",
    "tags",
    "log",
    "bootstrap",
    "proxy_address",
];
const OF_POSTGRESQL: [&str; 15] = [
    "listen",
    "pgpass",
    "connect_address",
    "data_dir",
    "bin_dir",
    "config_dir",
    "use_unix_socket",
    "use_unix_socket_repl",
    "parameters",
    "authentication",
    "pg_hba",
    "create_replica_methods",
    "basebackup",
    "use_pg_rewind",
    "use_slots",
];

/// Settings that the templates do not have, by their names.
fn extras(patroni: &Patroni) -> Vec<String> {
    let keys = |place: &str, known: &[&str], prefix: &str| -> Vec<String> {
        let all = patroni.config.pointer(place).and_then(Value::as_object).into_iter().flatten();
        let strange = all.map(|(name, _)| name).filter(|name| !known.contains(&name.as_str()));
        strange.map(|name| format!("{prefix}{name}")).collect()
    };
    [keys("", &KNOWN, ""), keys("/postgresql", &OF_POSTGRESQL, "postgresql.")].concat()
}

/// What all members share.
fn of_shared(hosts: &Hosts, inventory: &Inventory) -> Vec<Difference> {
    let Some(actual) = hosts.dynamic() else { return Vec::new() };
    let desired = dynamic_config(inventory);
    let (kept, changed): (Vec<ConfigChange>, Vec<ConfigChange>) =
        config_diff(&desired, actual).into_iter().partition(|change| is_kept(hosts, change));
    let mut found: Vec<String> =
        changed.iter().map(|change| format!("what all members share would change: {change}")).collect();
    if !kept.is_empty() {
        let names =
            kept.iter().map(|change| change.path.last().map_or("", String::as_str)).collect::<Vec<_>>().join(", ");
        found.push(format!("what all members share would say, too, what is in force already: {names}"));
    }
    let left = unasked_parameters(&desired, actual).into_iter().chain(unasked_settings(&desired, actual));
    found.extend(left.map(|setting| format!("what all members share has {setting}, which is left as it is")));
    found.into_iter().map(Difference::of_all).collect()
}

/// It is not there yet, and what is to be there is in force already.
fn is_kept(hosts: &Hosts, change: &ConfigChange) -> bool {
    let (Some(new), None) = (&change.new, &change.old) else { return false };
    let path: Vec<&str> = change.path.iter().map(String::as_str).collect();
    let running = change.parameter().and_then(|name| hosts.running_parameters().remove(name));
    running.or_else(|| shared::default(&path)).is_some_and(|value| parameters::same(&value, new))
}
