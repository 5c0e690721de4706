//! What a cut-off run, a lost disk or a host's former life can leave, and what only a person can decide: told exactly,
//! before anything is changed. What can be repaired without removing anything is repaired by `apply` (`cluster_plan`,
//! `templates/patroni/set-aside-unfinished.sh.j2`). Pure.

use std::collections::BTreeMap;

use super::cluster_plan::{Started, data_directory, has_data, resuming};
use crate::cluster::ClusterView;
use crate::cluster::etcd::etcdctl;
use crate::cluster::initialize::Initialize;
use crate::cluster::safety::membership::{self, Progress};
use crate::cluster::safety::{self, LostMember};
use crate::facts::Facts;
use crate::inventory::{Component, Host, Inventory};
use crate::names::HostName;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HalfMade {
    /// A volume that is not mounted, most likely: a new database in its place would be the worst of all answers.
    #[error(
        "etcd says that the cluster {cluster} has a database (system identifier {system}), and none of {hosts} has it in {directory}; nothing was changed"
    )]
    #[diagnostic(
        code(xnat::survey::lost_data),
        help(
            "is a volume not mounted? `findmnt -T {directory}` on these hosts. If the data is gone for good and the cluster is to begin anew, empty: `ssh {first} '{etcdctl} del --prefix /service/{cluster}/'`, then run apply again"
        )
    )]
    Data { cluster: String, system: String, hosts: String, directory: String, first: HostName, etcdctl: String },
    /// Patroni refuses to start it, and says so in its log only.
    #[error(
        "{host} has data of another database in {directory} (system identifier {theirs}; the cluster's is {ours}); nothing was changed"
    )]
    #[diagnostic(
        code(xnat::survey::other_data),
        help(
            "see whose it is before anything else. To keep it, use another host. To have the cluster's copied instead: `ssh {host} 'systemctl stop patroni && mv {directory} {directory}.old'`, then run apply again"
        )
    )]
    OtherData { host: HostName, theirs: String, ours: String, directory: String },
    #[error(
        "etcd on {host} is a member of another cluster (id {theirs}; the one with a leader has {ours}); nothing was changed"
    )]
    #[diagnostic(
        code(xnat::survey::other_etcd),
        help(
            "see what is in it before anything else. If nobody needs it: `ssh {host} 'systemctl stop etcd && mv {directory} {directory}.old'`, then run apply again"
        )
    )]
    OtherEtcd { host: HostName, theirs: String, ours: String, directory: String },
    #[error(
        "the etcd data of {} is gone from {directory}, and the other members still count on it; nothing was changed",
        lost.host
    )]
    #[diagnostic(
        code(xnat::survey::lost_etcd),
        help(
            "is a volume not mounted? `ssh {} findmnt -T {directory}`. If the data is gone for good, remove the member: `ssh {} '{etcdctl} member remove {}'`, then run apply again: it joins anew",
            lost.host, lost.through, lost.id
        )
    )]
    LostEtcd { lost: LostMember, etcdctl: String, directory: String },
    /// Started with it, a joining member would be refused, or be a second store beside the cluster's.
    #[error("{host} is to join etcd, and has etcd data in {directory} that is not of a member; nothing was changed")]
    #[diagnostic(
        code(xnat::survey::foreign_etcd),
        help(
            "it may be of a member that was removed. If nobody needs it: `ssh {host} 'systemctl stop etcd; mv {directory} {directory}.old'`, then run apply again"
        )
    )]
    ForeignEtcd { host: HostName, directory: String },
    /// After a reset that kept the data, or the loss of all of etcd's.
    #[error(
        "etcd knows of no database, and which of {} led last cannot be told from their data; nothing was changed",
        hosts.join(", ")
    )]
    #[diagnostic(
        code(xnat::survey::two_leaders),
        help(
            "compare on each: `{controldata} {directory}`; the one with the higher TimeLineID, then the later checkpoint, led last. Set the others aside, to be copied from it: `mv {directory} {directory}.old`, then run apply again"
        )
    )]
    TwoLeaders { hosts: Vec<String>, controldata: String, directory: String },
    /// It may be a new member or one that has lost its data; started as one of a new cluster it could be a second store.
    #[error(
        "{host} has no etcd data, and no etcd answers to say whether it is a member of the cluster; nothing was changed"
    )]
    #[diagnostic(
        code(xnat::survey::silent_etcd),
        help("start the members that have data first: `ssh {with_data} systemctl start etcd`; then run apply again")
    )]
    SilentEtcd { host: HostName, with_data: HostName },
}

/// The first thing found that stands in the way.
pub fn check(
    inventory: &Inventory,
    facts: &BTreeMap<HostName, Facts>,
    view: &ClusterView,
) -> Result<(), Box<HalfMade>> {
    let found = other_etcd(inventory, view)
        .or_else(|| lost_etcd(inventory, facts, view))
        .or_else(|| foreign_etcd(inventory, facts, view))
        .or_else(|| silent_etcd(inventory, facts, view))
        .or_else(|| lost_data(inventory, facts, view))
        .or_else(|| other_data(inventory, facts, view))
        .or_else(|| two_leaders(inventory, facts, view));
    found.map_or(Ok(()), |found| Err(Box::new(found)))
}

fn other_etcd(inventory: &Inventory, view: &ClusterView) -> Option<HalfMade> {
    let (host, theirs, ours) = safety::etcd_strangers(view).into_iter().next()?;
    Some(HalfMade::OtherEtcd { host, theirs, ours, directory: inventory.etcd.data_dir.clone() })
}

fn lost_etcd(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>, view: &ClusterView) -> Option<HalfMade> {
    let empty: Vec<HostName> = with_etcd_data(inventory, facts, false).map(|host| host.name.clone()).collect();
    let lost = safety::lost_etcd_members(view, inventory, &empty).into_iter().next()?;
    let etcdctl = etcdctl(inventory, inventory.host(&lost.through)?);
    Some(HalfMade::LostEtcd { lost, etcdctl, directory: inventory.etcd.data_dir.clone() })
}

/// The hosts of etcd that were looked at and have its data, or have none.
fn with_etcd_data<'a>(
    inventory: &'a Inventory,
    facts: &'a BTreeMap<HostName, Facts>,
    wanted: bool,
) -> impl Iterator<Item = &'a Host> {
    let has = move |facts: &Facts| facts.etcd_data.contains(&inventory.etcd.data_dir) == wanted;
    inventory.with(Component::Etcd).filter(move |host| facts.get(&host.name).is_some_and(has))
}

/// One that was added and has data was cut off while it started for the first time.
fn foreign_etcd(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>, view: &ClusterView) -> Option<HalfMade> {
    let joining = membership::joining(view, inventory);
    let is_new = |host: &&Host| joining.iter().any(|one| one.host == host.name && one.progress == Progress::New);
    let host = with_etcd_data(inventory, facts, true).find(is_new)?;
    Some(HalfMade::ForeignEtcd { host: host.name.clone(), directory: inventory.etcd.data_dir.clone() })
}

/// Before there was a database, the first start of etcd itself may have been cut off.
fn silent_etcd(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>, view: &ClusterView) -> Option<HalfMade> {
    let started = facts.values().any(|facts| has_data(inventory, facts));
    if !started || !membership::listed(view).is_empty() {
        return None;
    }
    let host = with_etcd_data(inventory, facts, false).next()?;
    let with_data = with_etcd_data(inventory, facts, true).next()?;
    Some(HalfMade::SilentEtcd { host: host.name.clone(), with_data: with_data.name.clone() })
}

/// Every PostgreSQL host was looked at and none has data: then etcd's word that there is a database is the only trace.
fn lost_data(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>, view: &ClusterView) -> Option<HalfMade> {
    let Some(Initialize::Done { system }) = view.initialized.known() else { return None };
    let hosts: Vec<&Host> = inventory.with(Component::Postgres).collect();
    let empty = |host: &&Host| facts.get(&host.name).is_some_and(|facts| !has_data(inventory, facts));
    if view.leader().is_some() || !hosts.iter().all(empty) {
        return None;
    }
    let first = inventory.with(Component::Etcd).next()?;
    Some(HalfMade::Data {
        cluster: inventory.cluster.clone(),
        system: system.clone(),
        hosts: hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", "),
        directory: data_directory(inventory, facts.get(&hosts.first()?.name)?)?,
        first: first.name.clone(),
        etcdctl: etcdctl(inventory, first),
    })
}

fn other_data(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>, view: &ClusterView) -> Option<HalfMade> {
    let Some(Initialize::Done { system }) = view.initialized.known() else { return None };
    inventory.with(Component::Postgres).find_map(|host| {
        let facts = facts.get(&host.name).filter(|facts| has_data(inventory, facts))?;
        let directory = data_directory(inventory, facts)?;
        let theirs = facts.postgres_system.get(&directory).filter(|theirs| *theirs != system)?.clone();
        Some(HalfMade::OtherData { host: host.name.clone(), theirs, ours: system.clone(), directory })
    })
}

fn two_leaders(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>, view: &ClusterView) -> Option<HalfMade> {
    let resuming = resuming(inventory, facts, (view, Started::of(inventory, facts, view)));
    let [first, _, ..] = resuming.as_slice() else { return None };
    let codename = &facts.get(&first.name)?.codename;
    let major = inventory.postgresql_major(codename)?;
    Some(HalfMade::TwoLeaders {
        hosts: resuming.iter().map(|host| host.name.to_string()).collect(),
        controldata: format!("/usr/lib/postgresql/{major}/bin/pg_controldata"),
        directory: inventory.postgresql_data_dir(major),
    })
}

/// Data or etcd of another cluster.
pub fn of_others(
    inventory: &Inventory,
    facts: &BTreeMap<HostName, Facts>,
    view: &ClusterView,
) -> Result<(), Box<HalfMade>> {
    let found = other_etcd(inventory, view).or_else(|| other_data(inventory, facts, view));
    found.map_or(Ok(()), |found| Err(Box::new(found)))
}
