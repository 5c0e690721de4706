//! What will happen to the cluster as a whole: pure, from facts and the view. Told in the plan beside the hosts' changes.

use std::collections::BTreeMap;

use super::stage::Stage;
use crate::cluster::ClusterView;
use crate::cluster::postgres::{self, Inside};
use crate::facts::Facts;
use crate::inventory::{Component, Host, Inventory, Scalar};
use crate::names::HostName;
use crate::plan::ClusterChange;
use crate::resource::Effect;
use crate::role;

/// What has been started before, ever: a cluster that is switched off is not a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    pub etcd: bool,
    pub postgres: bool,
}

impl Started {
    pub fn of(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>, view: &ClusterView) -> Self {
        let etcd = facts.values().any(|facts| facts.etcd_data.contains(&inventory.etcd.data_dir));
        let postgres = facts.values().any(|facts| has_data(inventory, facts));
        let answers = view.etcd.iter().any(|seen| seen.answer.known().is_some());
        let initialized = view.initialized.known().is_some_and(|initialized| *initialized);
        Self { etcd: etcd || answers, postgres: postgres || initialized || view.leader().is_some() }
    }
}

fn has_data(inventory: &Inventory, facts: &Facts) -> bool {
    let major = inventory.postgresql_major(&facts.codename);
    major.is_some_and(|major| facts.postgres_data.contains_key(&inventory.postgresql_data_dir(major)))
}

/// Where a new cluster begins: the first PostgreSQL host of the inventory that may become leader.
pub fn bootstrap_host(inventory: &Inventory) -> Option<&Host> {
    let may_lead = |host: &&Host| host.tags.get("nofailover") != Some(&Scalar::Bool(true));
    inventory.with(Component::Postgres).find(may_lead)
}

/// By stage, in the order in which they will happen.
pub fn changes(
    inventory: &Inventory,
    facts: &BTreeMap<HostName, Facts>,
    (view, inside): (&ClusterView, Option<&Inside>),
) -> BTreeMap<Stage, Vec<ClusterChange>> {
    let started = Started::of(inventory, facts, view);
    let mut changes = BTreeMap::new();
    if !started.etcd {
        changes.insert(Stage::Etcd, vec![new_etcd(inventory)]);
    }
    let postgres = if started.postgres {
        existing_postgres(inventory, facts, (view, inside))
    } else {
        new_postgres(inventory, facts)
    };
    changes.insert(Stage::Postgres, postgres);
    changes.insert(Stage::Database, database(inside));
    changes
}

fn database(inside: Option<&Inside>) -> Vec<ClusterChange> {
    let changes = inside.map(|inside| inside.difference.changes.as_slice()).unwrap_or_default();
    changes.iter().map(|change| quiet(change.to_string())).collect()
}

fn quiet(title: String) -> ClusterChange {
    ClusterChange { title, detail: Vec::new(), effect: Effect::Quiet }
}

fn names<'a>(hosts: impl Iterator<Item = &'a Host>) -> String {
    hosts.map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn new_etcd(inventory: &Inventory) -> ClusterChange {
    quiet(format!("form a new etcd cluster of {}", names(inventory.with(Component::Etcd))))
}

fn new_postgres(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>) -> Vec<ClusterChange> {
    let Some(first) = bootstrap_host(inventory) else { return Vec::new() };
    let version = facts.get(&first.name).and_then(|facts| inventory.postgresql_major(&facts.codename));
    let version = version.map(|major| format!(" {major}")).unwrap_or_default();
    let mut changes = vec![quiet(format!("initialise PostgreSQL{version} on {}, with data checksums", first.name))];
    let others = names(inventory.with(Component::Postgres).filter(|host| host.name != first.name));
    if !others.is_empty() {
        changes.push(quiet(format!("copy it to {others} as replicas")));
    }
    changes
}

fn existing_postgres(
    inventory: &Inventory,
    facts: &BTreeMap<HostName, Facts>,
    (view, inside): (&ClusterView, Option<&Inside>),
) -> Vec<ClusterChange> {
    let is_new = |host: &&Host| facts.get(&host.name).is_some_and(|facts| !has_data(inventory, facts));
    let new = names(inventory.with(Component::Postgres).filter(is_new));
    let mut changes = Vec::new();
    if !new.is_empty() {
        changes.push(quiet(format!("copy PostgreSQL from the leader to {new}")));
    }
    changes.extend(shared_configuration(inventory, view, inside));
    changes
}

/// Without a look inside PostgreSQL nobody can tell which parameters need a restart: then all of them might.
fn shared_configuration(inventory: &Inventory, view: &ClusterView, inside: Option<&Inside>) -> Option<ClusterChange> {
    let actual = view.config.known()?;
    let differing = postgres::config_diff(&role::dynamic_config(inventory), actual);
    if differing.is_empty() {
        return None;
    }
    let restarts = inside.is_none_or(|inside| !postgres::needs_restart(&differing, &inside.settings).is_empty());
    let effect = if restarts { Effect::RollingRestart } else { Effect::Reload };
    let detail = differing.iter().map(ToString::to_string).collect();
    Some(ClusterChange { title: "change the configuration all members share".to_owned(), detail, effect })
}
