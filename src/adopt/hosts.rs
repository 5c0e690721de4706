//! Who belongs to the cluster: each host's name, address and roles, and in which order they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::Serialize;
use serde_json::Value;
use toml_edit::Array;

use super::address;
use super::draft::{Draft, Table};
use super::order::ordered;
use super::patroni::{Patroni, Server};
use super::seen::Seen;
use super::{AdoptError, Difference};
use crate::inventory::Component;
use crate::names::HostName;

/// How the hosts were logged in to, for `[ssh]`.
#[derive(Clone, Debug, Default)]
pub struct Login {
    pub user: Option<String>,
    pub port: Option<u16>,
    pub identity: Vec<String>,
    pub jump: Vec<String>,
}

/// A host, by what it was called on the command line.
#[derive(Clone, Debug)]
pub struct Looked {
    pub given: String,
    pub seen: Seen,
}

/// A host that the cluster names and that nobody has looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    pub name: String,
    pub address: String,
    /// Who names it.
    pub of: &'static str,
}

#[derive(Debug)]
pub(super) struct Member {
    pub name: HostName,
    pub address: String,
    given: String,
    pub roles: BTreeSet<Component>,
    pub seen: Seen,
}

#[derive(Debug)]
pub(super) struct Hosts {
    pub cluster: String,
    pub members: Vec<Member>,
}

impl Hosts {
    pub fn of(looked: Vec<Looked>, differences: &mut Vec<Difference>) -> Result<Self, AdoptError> {
        let cluster = cluster(&looked)?;
        let etcd = etcd_addresses(&looked);
        let hba: Vec<String> = patronis(&looked).flat_map(|patroni| patroni.hba.clone()).collect();
        let mut members: Vec<Member> = Vec::new();
        for one in looked {
            let (name, address) = (HostName::new(name(&one.seen)), address_of(&one, &hba));
            let mut roles = roles(&one, differences);
            if !roles.contains(&Component::Etcd) && etcd.contains(&address) {
                roles.insert(Component::Etcd);
                differences
                    .push(Difference::of(&name, "its etcd does not run; that it is a member is what the others say"));
            }
            if roles.is_empty() {
                differences
                    .push(Difference::of_all(format!("{} has no part in the cluster, and was left out", one.given)));
                continue;
            }
            members.push(Member { name, address, given: one.given, roles, seen: one.seen });
        }
        Ok(Self { cluster, members: ordered(members) })
    }

    pub fn patronis(&self) -> impl Iterator<Item = (&HostName, &Patroni)> {
        self.members.iter().filter_map(|member| Some((&member.name, member.seen.patroni.as_ref()?)))
    }

    /// The Patroni that leads, or else the first whose PostgreSQL told something.
    pub fn leading(&self) -> Option<&Patroni> {
        let leads = |patroni: &&Patroni| {
            patroni.members.iter().any(|one| {
                matches!(text(one, "role"), "leader" | "master" | "primary" | "standby_leader")
                    && Some(text(one, "name")) == patroni.name()
            })
        };
        let all = || self.patronis().map(|(_, patroni)| patroni);
        let leader = all().find(|patroni| leads(patroni) && patroni.server.is_some());
        leader.or_else(|| all().find(|patroni| patroni.server.is_some())).or_else(|| all().next())
    }

    pub fn server(&self) -> Option<&Server> {
        self.leading()?.server.as_ref()
    }

    /// What all members share.
    pub fn dynamic(&self) -> Option<&Value> {
        self.patronis().map(|(_, patroni)| &patroni.dynamic).find(|dynamic| dynamic.is_object())
    }

    /// PostgreSQL's parameters in force, as far as they were asked for.
    pub fn running_parameters(&self) -> BTreeMap<String, Value> {
        let all = self.server().map(|server| server.parameters.clone()).unwrap_or_default();
        all.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
    }

    /// This program has made it.
    pub fn is_ours(&self) -> bool {
        self.patronis().all(|(_, patroni)| patroni.is_ours())
    }

    /// The head of the inventory.
    pub fn write(&self, login: &Login, draft: &mut Draft) {
        let mut table = Table::default();
        table.set("name", self.cluster.as_str());
        draft.push("[cluster]", table);
        draft.push("[ssh]", ssh(login));
        for member in &self.members {
            draft.push("[[host]]", host(member));
        }
        draft.end_head();
    }

    /// Members that nobody has looked at.
    pub fn others(&self) -> Vec<Other> {
        let mut found: Vec<Other> = Vec::new();
        let mut add = |name: &str, address: &str, of: &'static str| {
            let is = |member: &Member| {
                let named = [member.name.as_str(), member.address.as_str(), member.given.as_str()];
                named.contains(&name)
                    || named.contains(&address)
                    || member.seen.facts.addresses.iter().any(|own| own == address)
            };
            if !self.members.iter().any(is) && !found.iter().any(|known| known.name == name || known.address == address)
            {
                found.push(Other { name: name.to_owned(), address: address.to_owned(), of });
            }
        };
        for (_, patroni) in self.patronis() {
            patroni.members.iter().for_each(|one| add(text(one, "name"), text(one, "host"), "Patroni"));
        }
        for etcd in self.members.iter().filter_map(|member| member.seen.etcd.as_ref()) {
            etcd.members().iter().for_each(|(name, address)| add(name, address, "etcd"));
        }
        for (_, patroni) in self.patronis() {
            let asked = patroni.etcd_hosts();
            asked
                .iter()
                .filter(|host| address::is_public(host))
                .for_each(|host| add(host, host, "Patroni, for its etcd"));
        }
        found
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn patronis(looked: &[Looked]) -> impl Iterator<Item = &Patroni> {
    looked.iter().filter_map(|one| one.seen.patroni.as_ref())
}

/// Where etcd's members are, as they themselves know; where none runs, as Patroni does.
fn etcd_addresses(looked: &[Looked]) -> BTreeSet<String> {
    let told = looked.iter().filter_map(|one| one.seen.etcd.as_ref()).flat_map(|etcd| etcd.members());
    let told: BTreeSet<String> = told.map(|(_, address)| address).collect();
    if told.is_empty() { patronis(looked).flat_map(Patroni::etcd_hosts).collect() } else { told }
}

/// The one cluster they are of.
fn cluster(looked: &[Looked]) -> Result<String, AdoptError> {
    let mut scopes: Vec<&str> = patronis(looked).map(Patroni::scope).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let problems =
        || looked.iter().flat_map(|one| one.seen.problems.iter().map(|why| format!("{}: {why}", one.given))).collect();
    let [scope] = scopes.as_slice() else {
        let hosts = looked.iter().map(|one| one.given.as_str()).collect::<Vec<_>>().join(", ");
        return Err(match scopes.is_empty() {
            true => AdoptError::NoPatroni { hosts, problems: problems() },
            false => AdoptError::Several { scopes: scopes.join(", ") },
        });
    };
    for one in looked {
        if let Some(store) = one.seen.patroni.as_ref().and_then(Patroni::other_store) {
            return Err(AdoptError::OtherStore { host: one.given.clone(), store: store.to_owned() });
        }
    }
    Ok(cluster_name(scope))
}

/// The nearest name that a cluster can have here.
fn cluster_name(scope: &str) -> String {
    let tidy = plain(scope, "");
    let tidy = tidy.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
    // Debian's name for what it makes by itself
    if tidy.is_empty() || tidy == "main" { "xnat".to_owned() } else { tidy.to_owned() }
}

fn plain(name: &str, besides: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || besides.contains(c) { c } else { '-' };
    let kept: String = name.to_lowercase().chars().map(keep).take(63).collect();
    kept.trim_matches(['-', '.']).to_owned()
}

/// Patroni's name, since that is what others know it by; etcd's, or its own.
fn name(seen: &Seen) -> String {
    let patroni = seen.patroni.as_ref().and_then(Patroni::name);
    let etcd = seen.etcd.as_ref().and_then(|etcd| etcd.name()).filter(|name| *name != "default");
    let own = seen.facts.hostname.split('.').next().unwrap_or_default();
    plain(patroni.or(etcd).unwrap_or(own), ".")
}

/// By which others reach it: as its own services say, or as we do.
fn address_of(one: &Looked, hba: &[String]) -> String {
    let patroni = one.seen.patroni.as_ref().and_then(Patroni::address);
    let etcd = one.seen.etcd.as_ref();
    let told = [patroni, etcd.and_then(|etcd| Some(etcd.client()?.0)), etcd.and_then(|etcd| Some(etcd.peer()?.0))];
    if let Some(told) = told.into_iter().flatten().find(|host| address::is_public(host)) {
        return told;
    }
    let own: Vec<&String> = one.seen.facts.addresses.iter().filter(|own| address::is_public(own)).collect();
    // where an alias was given, the members' rules may know a load balancer's address
    let known = own.iter().find(|own| hba.iter().any(|line| line.contains(&format!(" {own}/32 "))));
    match one.given.parse::<Ipv4Addr>() {
        Ok(_) => one.given.clone(),
        Err(_) => known.or(own.first()).map_or_else(|| one.given.clone(), |own| (*own).clone()),
    }
}

fn roles(one: &Looked, differences: &mut Vec<Difference>) -> BTreeSet<Component> {
    let mut roles = BTreeSet::new();
    if one.seen.etcd.is_some() {
        roles.insert(Component::Etcd);
    }
    if one.seen.patroni.is_some() {
        roles.insert(Component::Postgres);
    }
    if let Some(haproxy) = &one.seen.haproxy {
        if haproxy.primary().or(haproxy.replica()).is_some() {
            roles.insert(Component::Haproxy);
        } else if haproxy.running {
            let what = "its HAProxy has no port that leads where Patroni's checks are asked; it is not one of the cluster's here";
            differences.push(Difference::of_all(format!("{}: {what}", one.given)));
        }
    }
    roles
}

fn ssh(login: &Login) -> Table {
    let mut table = Table::default();
    if let Some(user) = &login.user {
        table.set("user", user.as_str());
    }
    if let Some(port) = login.port {
        table.set("port", i64::from(port));
    }
    for (key, values) in [("identity", &login.identity), ("jump", &login.jump)] {
        match values.as_slice() {
            [] => {}
            [one] => table.set(key, one.as_str()),
            several => table.set(key, several.iter().map(String::as_str).collect::<Array>()),
        }
    }
    table
}

fn host(member: &Member) -> Table {
    let mut table = Table::default();
    table.set("name", member.name.as_str());
    table.set("address", member.address.as_str());
    table.set("roles", member.roles.iter().map(|role| role.name()).collect::<Array>());
    if member.given != member.address {
        let ssh = toml_edit::InlineTable::from_iter([("host", member.given.as_str())]);
        table.set("ssh", ssh);
    }
    let tags = member.seen.patroni.as_ref().and_then(|patroni| patroni.at("/tags")).and_then(Value::as_object);
    let tags =
        tags.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), super::parameters::toml(value)?)));
    let tags = toml_edit::InlineTable::from_iter(tags);
    if !tags.is_empty() {
        table.set("tags", tags);
    }
    table
}
