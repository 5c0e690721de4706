//! Whether the hosts are those of the cluster that is to be destroyed. Pure: everything they show of themselves is
//! compared with the inventory, and a single thing of another cluster stops the run.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::ClusterView;
use crate::cluster::safety::departure;
use crate::engine::Remembered;
use crate::error::{Exit, Fails};
use crate::facts::Facts;
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::workflow::half_made::{self, HalfMade};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Foreign {
    #[error("{host} belongs to the cluster {theirs}, as {how} says; the inventory is of {ours}; nothing was changed")]
    #[diagnostic(
        code(xnat::reset::other_cluster),
        help("is the address of {host} in the inventory right? Otherwise use the inventory of {theirs}")
    )]
    Cluster { host: HostName, theirs: String, ours: String, how: String },
    #[error("{} of the cluster, and in no [[host]] of the inventory; nothing was changed", members(hosts))]
    #[diagnostic(
        code(xnat::reset::stranger),
        help(
            "put its [[host]] into the inventory, to have it reset too or, with `leaving = true` and `apply`, to have it leave before: without the others it would be cut off"
        )
    )]
    Strangers { hosts: Vec<String> },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Data(#[from] Box<HalfMade>),
}

impl Fails for Foreign {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

fn members(hosts: &[String]) -> String {
    let are = if hosts.len() == 1 { "is a member" } else { "are members" };
    format!("{} {are}", hosts.join(", "))
}

/// What hosts show of themselves.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    pub facts: &'a BTreeMap<HostName, Facts>,
    pub view: &'a ClusterView,
    /// The runs they remember, where they could tell.
    pub remembered: &'a BTreeMap<HostName, Remembered>,
}

/// The first sign of another cluster. (A service that shows another authority's certificate is found before.)
pub fn check(inventory: &Inventory, shown: Shown<'_>) -> Result<(), Foreign> {
    if let Some(foreign) = other_scope(inventory, shown.facts).or_else(|| other_run(inventory, shown.remembered)) {
        return Err(foreign);
    }
    half_made::of_others(inventory, shown.facts, shown.view)?;
    let reached: Vec<HostName> = shown.facts.keys().cloned().collect();
    let patroni = departure::strangers(shown.view, inventory, &reached).map(ToString::to_string);
    let etcd = departure::departures(shown.view, inventory, &reached);
    let etcd = etcd.into_iter().filter(|one| !one.reached).map(|one| one.host.to_string());
    let hosts: BTreeSet<String> = patroni.chain(etcd).collect();
    if hosts.is_empty() { Ok(()) } else { Err(Foreign::Strangers { hosts: hosts.into_iter().collect() }) }
}

fn other_scope(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>) -> Option<Foreign> {
    facts.iter().find_map(|(host, facts)| {
        let (file, theirs) = facts.patroni.iter().find(|(_, scope)| **scope != inventory.cluster)?;
        let (host, theirs, how) = (host.clone(), theirs.clone(), format!("its {file}"));
        Some(Foreign::Cluster { host, theirs, ours: inventory.cluster.clone(), how })
    })
}

/// Whose run was the last to change it: the only sign on a host whose services are down and that has no Patroni.
fn other_run(inventory: &Inventory, remembered: &BTreeMap<HostName, Remembered>) -> Option<Foreign> {
    remembered.iter().find_map(|(host, remembered)| {
        let last = remembered.records.last().filter(|last| last.cluster != inventory.cluster)?;
        let how = format!("its history (run {}, {} by {})", last.run, last.command, last.who);
        let (host, theirs) = (host.clone(), last.cluster.clone());
        Some(Foreign::Cluster { host, theirs, ours: inventory.cluster.clone(), how })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Record;

    fn inventory() -> Inventory {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/inventory/single.toml");
        Inventory::load(path.as_ref(), None).expect("a good inventory").inventory
    }

    #[test]
    fn a_host_of_another_cluster_says_so() {
        let inventory = inventory();
        let host: HostName = "dev".into();
        let with = |scope: &str| {
            let patroni = BTreeMap::from([("/etc/patroni/xnat/20-member.yml".to_owned(), scope.to_owned())]);
            BTreeMap::from([(host.clone(), Facts { patroni, ..Facts::default() })])
        };
        assert!(other_scope(&inventory, &with(&inventory.cluster)).is_none());
        let foreign = other_scope(&inventory, &with("beta")).expect("found");
        assert!(foreign.to_string().starts_with("dev belongs to the cluster beta, as its /etc/patroni"), "{foreign}");
    }

    #[test]
    fn the_last_run_counts_and_not_those_before() {
        let inventory = inventory();
        let run = |cluster: &str| {
            let line = r#"{"run":"20260412T101530Z-3f9c","at":"2026-04-12T10:15:30Z","who":"anna@laptop","from":null,"command":"apply","cluster":"NAME","planned":1,"end":null}"#;
            Record::read(&line.replace("NAME", cluster)).expect("a record")
        };
        let with = |clusters: &[&str]| {
            let records = clusters.iter().map(|cluster| run(cluster)).collect();
            BTreeMap::from([(HostName::from("dev"), Remembered { records, ..Remembered::default() })])
        };
        assert!(other_run(&inventory, &with(&["beta", &inventory.cluster])).is_none());
        let foreign = other_run(&inventory, &with(&[&inventory.cluster, "beta"])).expect("found");
        assert!(foreign.to_string().contains("its history (run 20260412T101530Z-3f9c, apply by anna@laptop)"));
    }
}
