//! What is left half made, and only a person can decide: a healthy cluster's view, spoilt in one way.

use std::collections::BTreeMap;
use std::sync::Arc;

use insta::assert_snapshot;
use miette::Diagnostic;
use xnat_provision::cluster::initialize::{self, Initialize};
use xnat_provision::cluster::{Answer, ClusterView};
use xnat_provision::facts::Facts;
use xnat_provision::inventory::Inventory;
use xnat_provision::names::HostName;
use xnat_provision::workflow::half_made;

use super::played::{Hosts, recording};

const SYSTEM: &str = "7000000000000000001";

/// Every host has the data of this cluster.
fn facts(inventory: &Inventory) -> BTreeMap<HostName, Facts> {
    let directory = inventory.postgresql_data_dir(17);
    let facts = Facts {
        codename: "trixie".into(),
        postgres_data: BTreeMap::from([(directory.clone(), "17".into())]),
        postgres_system: BTreeMap::from([(directory, SYSTEM.into())]),
        etcd_data: vec![inventory.etcd.data_dir.clone()],
        ..Facts::default()
    };
    inventory.hosts.iter().map(|host| (host.name.clone(), facts.clone())).collect()
}

type Spoil = fn(&mut ClusterView, &mut BTreeMap<HostName, Facts>);

async fn said(spoil: Spoil) -> String {
    let recording = Arc::new(recording("trixie-healthy"));
    let hosts = Hosts::new(&recording);
    let (mut view, _) = hosts.look(&recording).await;
    view.initialized = Answer::Known(Initialize::Done { system: SYSTEM.into() });
    let mut facts = facts(&hosts.inventory);
    spoil(&mut view, &mut facts);
    match half_made::check(&hosts.inventory, &facts, &view) {
        Ok(()) => "nothing".to_owned(),
        Err(error) => format!("{error}\n{}", error.help().expect("there is help")),
    }
}

fn db3(facts: &mut BTreeMap<HostName, Facts>) -> &mut Facts {
    facts.get_mut(&HostName::from("db3")).expect("it is one of them")
}

fn nobody_leads(view: &mut ClusterView) {
    for member in &mut view.members {
        member.listed = None;
    }
}

#[tokio::test]
async fn a_whole_cluster_is_not_half_made() {
    assert_snapshot!(said(|_, _| {}).await, @"nothing");
}

#[tokio::test]
async fn a_database_that_nobody_has_any_more() {
    let gone: Spoil = |view, facts| {
        nobody_leads(view);
        for facts in facts.values_mut() {
            facts.postgres_data.clear();
        }
    };
    assert_snapshot!(said(gone).await, @r"
    etcd says that the cluster xnat has a database (system identifier 7000000000000000001), and none of db1, db2, db3 has it in /var/lib/postgresql/17/xnat; nothing was changed
    is a volume not mounted? `findmnt -T /var/lib/postgresql/17/xnat` on these hosts. If the data is gone for good and the cluster is to begin anew, empty: `ssh db1 'ETCDCTL_API=3 etcdctl --endpoints http://10.99.0.1:2379 del --prefix /service/xnat/'`, then run apply again
    ");
}

#[tokio::test]
async fn data_of_another_database() {
    let other: Spoil = |_, facts| db3(facts).postgres_system.values_mut().for_each(|system| *system = "42".into());
    assert_snapshot!(said(other).await, @r"
    db3 has data of another database in /var/lib/postgresql/17/xnat (system identifier 42; the cluster's is 7000000000000000001); nothing was changed
    see whose it is before anything else. To keep it, use another host. To have the cluster's copied instead: `ssh db3 'systemctl stop patroni && mv /var/lib/postgresql/17/xnat /var/lib/postgresql/17/xnat.old'`, then run apply again
    ");
}

#[tokio::test]
async fn an_etcd_of_another_cluster() {
    let other: Spoil = |view, _| {
        if let Answer::Known(member) = &mut view.etcd[2].answer {
            member.cluster_id = "cafe".into();
        }
    };
    assert_snapshot!(said(other).await, @r"
    etcd on db3 is a member of another cluster (id cafe; the one with a leader has c7d628c02fe83064); nothing was changed
    see what is in it before anything else. If nobody needs it: `ssh db3 'systemctl stop etcd && mv /var/lib/etcd/xnat /var/lib/etcd/xnat.old'`, then run apply again
    ");
}

#[tokio::test]
async fn an_etcd_member_without_its_data() {
    let lost: Spoil = |view, facts| {
        db3(facts).etcd_data.clear();
        view.etcd[2].answer = Answer::Down("nothing listens on port 2379 of db3".into());
    };
    assert_snapshot!(said(lost).await, @r"
    the etcd data of db3 is gone from /var/lib/etcd/xnat, and the other members still count on it; nothing was changed
    is a volume not mounted? `ssh db3 findmnt -T /var/lib/etcd/xnat`. If the data is gone for good, remove the member: `ssh db1 'ETCDCTL_API=3 etcdctl --endpoints http://10.99.0.1:2379 member remove 3b38f050ea5073ea'`, then run apply again: it joins anew
    ");
}

#[tokio::test]
async fn etcd_data_on_a_host_that_is_to_join() {
    let removed: Spoil = |view, _| {
        for seen in &mut view.etcd {
            let Answer::Known(member) = &mut seen.answer else { panic!("healthy") };
            member.membership.retain(|listed| listed.name != "db3");
        }
        view.etcd[2].answer = Answer::Down("nothing listens on port 2379 of db3".into());
    };
    assert_snapshot!(said(removed).await, @r"
    db3 is to join etcd, and has etcd data in /var/lib/etcd/xnat that is not of a member; nothing was changed
    it may be of a member that was removed. If nobody needs it: `ssh db3 'systemctl stop etcd; mv /var/lib/etcd/xnat /var/lib/etcd/xnat.old'`, then run apply again
    ");
}

#[tokio::test]
async fn a_host_without_etcd_data_while_no_etcd_answers() {
    let silent: Spoil = |view, facts| {
        db3(facts).etcd_data.clear();
        for seen in &mut view.etcd {
            seen.answer = Answer::Down("nothing listens".into());
        }
    };
    assert_snapshot!(said(silent).await, @r"
    db3 has no etcd data, and no etcd answers to say whether it is a member of the cluster; nothing was changed
    start the members that have data first: `ssh db1 systemctl start etcd`; then run apply again
    ");
}

/// What initdb left when its power went is no data.
#[tokio::test]
async fn a_claim_is_stale_only_while_nobody_is_at_work() {
    let recording = Arc::new(recording("trixie-healthy"));
    let (mut view, _) = Hosts::new(&recording).look(&recording).await;
    view.initialized = Answer::Known(Initialize::Claimed { revision: "7".into() });
    assert_eq!(initialize::stale(&view), None, "there is a leader");
    nobody_leads(&mut view);
    assert_eq!(initialize::stale(&view), None, "a member runs PostgreSQL");
    for member in &mut view.members {
        if let Answer::Known(about) = &mut member.patroni {
            about.state = "stopped".into();
        }
    }
    assert_eq!(initialize::stale(&view), Some("7"));
    view.initialized = Answer::Known(Initialize::Done { system: SYSTEM.into() });
    assert_eq!(initialize::stale(&view), None, "it was finished");
}
