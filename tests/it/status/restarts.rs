//! May a member be restarted, and whose turn is it? Judged from recordings of real clusters and from healthy views spoilt in
//! every way.

use std::sync::{Arc, LazyLock};

use insta::assert_snapshot;
use proptest::prelude::*;
use xnat_provision::cluster::safety::may_lose;
use xnat_provision::cluster::safety::restart::{
    self, Obstacle, candidate, etcd_obstacles, etcd_turn, postgres_obstacles, postgres_turn, successor,
};
use xnat_provision::cluster::{Answer, ClusterView, assess, patroni};
use xnat_provision::inventory::{Inventory, Scalar};
use xnat_provision::names::HostName;

use super::played::{Hosts, inventory, recording};

pub(super) async fn view(name: &str) -> ClusterView {
    let recording = Arc::new(recording(name));
    Hosts::new(&recording).look(&recording).await.0
}

fn told(obstacles: &[Obstacle]) -> String {
    let line = |obstacle: &Obstacle| format!("{:?}: {}", obstacle.kind, obstacle.text);
    if obstacles.is_empty() { "safe".to_owned() } else { obstacles.iter().map(line).collect::<Vec<_>>().join("; ") }
}

const RECORDINGS: [&str; 15] = [
    "bookworm-healthy",
    "bookworm-sync",
    "bookworm-etcd-one-down",
    "bookworm-etcd-no-quorum",
    "bookworm-failed-over",
    "bookworm-leader-killed",
    "bookworm-replica-stopped",
    "trixie-healthy",
    "trixie-quorum",
    "trixie-etcd-one-down",
    "trixie-etcd-no-quorum",
    "trixie-haproxy-down",
    "trixie-paused",
    "trixie-pending-restart",
    "trixie-postgres-hangs",
];

#[tokio::test]
async fn real_clusters_are_judged() {
    let mut text = String::new();
    for name in RECORDINGS {
        let view = view(name).await;
        let etcd = told(&etcd_obstacles(&view, &inventory(), None));
        let postgres = told(&postgres_obstacles(&view, &inventory()));
        text.push_str(&format!("{name}\n  etcd: {etcd}\n  PostgreSQL: {postgres}\n"));
    }
    assert_snapshot!(text, @r"
    bookworm-healthy
      etcd: safe
      PostgreSQL: safe
    bookworm-sync
      etcd: safe
      PostgreSQL: safe
    bookworm-etcd-one-down
      etcd: Silent: nothing listens on port 2379 of db1
      PostgreSQL: safe
    bookworm-etcd-no-quorum
      etcd: Silent: nothing listens on port 2379 of db1; Silent: nothing listens on port 2379 of db2; Silent: etcd on db3 has no leader
      PostgreSQL: Silent: etcd has no quorum: 0 of 3 members are healthy
    bookworm-failed-over
      etcd: safe
      PostgreSQL: Passing: db1 does not stream yet; Silent: Patroni on db3: nothing listens on port 8008 of db3
    bookworm-leader-killed
      etcd: safe
      PostgreSQL: Passing: db1 does not stream yet; Passing: db2 does not stream yet; Silent: Patroni on db3: nothing listens on port 8008 of db3
    bookworm-replica-stopped
      etcd: safe
      PostgreSQL: Silent: Patroni on db1: nothing listens on port 8008 of db1
    trixie-healthy
      etcd: safe
      PostgreSQL: safe
    trixie-quorum
      etcd: safe
      PostgreSQL: safe
    trixie-etcd-one-down
      etcd: Silent: nothing listens on port 2379 of db1
      PostgreSQL: safe
    trixie-etcd-no-quorum
      etcd: Silent: nothing listens on port 2379 of db1; Silent: nothing listens on port 2379 of db2; Silent: etcd on db3 has no leader
      PostgreSQL: Silent: etcd has no quorum: 0 of 3 members are healthy
    trixie-haproxy-down
      etcd: safe
      PostgreSQL: Silent: Patroni on db3: nothing listens on port 8008 of db3
    trixie-paused
      etcd: safe
      PostgreSQL: Lasting: the cluster is in maintenance mode: end it with `xnat-provision resume`
    trixie-pending-restart
      etcd: safe
      PostgreSQL: safe
    trixie-postgres-hangs
      etcd: safe
      PostgreSQL: Passing: PostgreSQL on db2: PostgreSQL on db2 (port 5432) does not answer in time
    ");
}

fn all() -> Vec<HostName> {
    ["db1", "db2", "db3"].map(HostName::new).to_vec()
}

#[tokio::test]
async fn leaders_come_last_and_what_is_broken_comes_first() {
    let mut view = view("bookworm-healthy").await;
    assert_eq!(etcd_turn(&view, &all()), Some("db1".into()));
    assert_eq!(etcd_turn(&view, &["db3".into(), "db2".into()]), Some("db2".into()));
    assert_eq!(etcd_turn(&view, &["db3".into()]), Some("db3".into()));
    assert_eq!(etcd_turn(&view, &[]), None);
    view.etcd[1].answer = Answer::Down("refused".into());
    assert_eq!(etcd_turn(&view, &all()), Some("db2".into()));
    // restarting the broken one harms nobody, restarting another one would
    assert_eq!(told(&etcd_obstacles(&view, &inventory(), Some(&"db2".into()))), "safe");
    assert_eq!(told(&etcd_obstacles(&view, &inventory(), Some(&"db1".into()))), "Silent: refused");
    assert_eq!(postgres_turn(&view, &["db3".into(), "db1".into()]), Some("db1".into()));
    assert_eq!(postgres_turn(&view, &["db3".into()]), Some("db3".into()));
}

#[tokio::test]
async fn the_successor_is_synchronous_and_near_and_may_lead() {
    let healthy = view("trixie-healthy").await;
    let mut inventory = inventory();
    let lag = |view: &mut ClusterView, name: &str, bytes| {
        let Answer::Known(leader) = &mut view.members[1].server else { panic!("recorded") };
        leader.standbys.iter_mut().find(|standby| standby.name == name).expect("it streams").lag = Some(bytes);
    };
    let mut behind = healthy.clone();
    lag(&mut behind, "db1", 4096);
    assert_eq!(successor(&behind, &inventory), Ok("db3".into()));
    let mut synchronous = behind.clone();
    synchronous.members[0].listed.as_mut().expect("listed").role = patroni::Role::SyncStandby;
    assert_eq!(successor(&synchronous, &inventory), Ok("db1".into()));
    inventory.hosts.iter_mut().find(|host| host.name.as_str() == "db3").expect("it is there").tags =
        [("nofailover".to_owned(), Scalar::Bool(true))].into_iter().collect();
    assert_eq!(successor(&behind, &inventory), Ok("db1".into()));
    let mut nobody = behind.clone();
    nobody.members[0].listed.as_mut().expect("listed").tags.insert("failover_priority".into(), 0.into());
    assert!(successor(&nobody, &inventory).is_err());
    assert!(restart::no_successor(&nobody, &inventory).is_some());
    assert_eq!(restart::no_successor(&behind, &inventory), None);
}

/// It would take the lock only when that is over.
#[tokio::test]
async fn whoever_waits_for_etcd_does_not_take_over() {
    let (healthy, inventory) = (view("trixie-healthy").await, inventory());
    let late = |index: usize, seconds: i64| {
        let mut view = healthy.clone();
        let Answer::Known(about) = &mut view.members[index].patroni else { panic!("recorded") };
        about.dcs_last_seen = about.dcs_last_seen.map(|at| at - seconds);
        view
    };
    let told_of = |view: &ClusterView| assess(view, &inventory).problems.first().map(|problem| problem.text.clone());
    let patience = i64::from(inventory.patroni.loop_wait + inventory.patroni.retry_timeout);
    assert_eq!(successor(&late(0, patience), &inventory), Ok("db1".into()));
    assert_eq!(told_of(&late(0, patience)), None, "Patroni itself puts up with it");
    let (replica, leader) = (late(0, patience + 4), late(1, patience + 4));
    assert_eq!(successor(&replica, &inventory), Ok("db3".into()));
    let said = format!("Passing: Patroni on db1 has not heard from etcd for {} s", patience + 4);
    assert_eq!(told(&postgres_obstacles(&replica, &inventory)), said);
    assert!(candidate(&replica, &inventory, Some(&"db1".into())).is_err());
    assert!(told_of(&replica).is_some_and(|text| text.ends_with("it could not take over")));
    assert!(told_of(&leader).is_some_and(|text| text.contains("it leads on only while")));
    let mut failsafe = healthy.clone();
    for member in &mut failsafe.members {
        let Answer::Known(about) = &mut member.patroni else { panic!("recorded") };
        about.failsafe_mode_is_active = true;
    }
    assert!(successor(&failsafe, &inventory).is_err(), "nobody would take the lock");
    let told = candidate(&failsafe, &inventory, Some(&"db1".into())).expect_err("it would not");
    assert_eq!(told, "db1 still takes the old leader for one in failsafe mode, for 28 s after etcd is back at most");
    assert!(told_of(&late(0, patience + 4)).is_some_and(|text| text.ends_with("it could not take over")));
    assert!(told_of(&late(1, patience + 4)).is_some_and(|text| text.contains("it leads on only while")));
}

#[tokio::test]
async fn whoever_is_named_takes_over_only_when_nothing_is_lost() {
    let view = view("trixie-healthy").await;
    let mut inventory = inventory();
    let ask = |view: &ClusterView, inventory: &Inventory, name: &str| {
        candidate(view, inventory, Some(&name.into())).map_or_else(|reason| reason, |host| host.to_string())
    };
    assert_eq!(ask(&view, &inventory, "db1"), "db1");
    assert_eq!(ask(&view, &inventory, "db2"), "db2 leads already");
    assert_eq!(ask(&view, &inventory, "lb1"), "lb1 is no PostgreSQL host of the inventory");
    let mut synchronous = view.clone();
    synchronous.members[2].listed.as_mut().expect("listed").role = patroni::Role::SyncStandby;
    assert_eq!(ask(&synchronous, &inventory, "db3"), "db3");
    assert!(ask(&synchronous, &inventory, "db1").starts_with("db1 is no synchronous standby"));
    let mut behind = view.clone();
    let Answer::Known(leader) = &mut behind.members[1].server else { panic!("recorded") };
    leader.standbys.iter_mut().for_each(|standby| standby.lag = Some(5_000_000));
    assert_eq!(ask(&behind, &inventory, "db1"), "db1 is 5000000 bytes behind");
    streams_end(&mut behind);
    assert_eq!(ask(&behind, &inventory, "db1"), "db1 does not stream from the leader");
    inventory.hosts.iter_mut().for_each(|host| host.tags.extend([("nofailover".to_owned(), Scalar::Bool(true))]));
    assert!(ask(&view, &inventory, "db1").starts_with("db1 is not to lead"));
}

/// Nobody streams from anybody.
fn streams_end(view: &mut ClusterView) {
    for member in &mut view.members {
        if let Answer::Known(server) = &mut member.server {
            server.standbys.clear();
            server.receiver = None;
        }
        if let Answer::Known(about) = &mut member.patroni {
            about.replication.clear();
        }
        if let Some(listed) = &mut member.listed {
            listed.state = "stopped".to_owned();
        }
    }
}

static HEALTHY: LazyLock<ClusterView> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(view("trixie-healthy"))
});

/// Ways in which one member can be unwell.
fn spoil(view: &mut ClusterView, member: usize, way: usize) {
    let etcd = &mut view.etcd[member].answer;
    let patroni = &mut view.members[member];
    match (way, etcd) {
        (0, etcd) => *etcd = Answer::Down("refused".into()),
        (1, etcd) => *etcd = Answer::Unknown("no connection".into()),
        (2, Answer::Known(etcd)) => etcd.healthy = false,
        (3, Answer::Known(etcd)) => etcd.leader = None,
        (4, Answer::Known(etcd)) => etcd.raft_index = etcd.raft_index.saturating_sub(10_000),
        (5, Answer::Known(etcd)) => etcd.alarms.push("memberID:1 alarm:NOSPACE ".into()),
        (6, _) => patroni.patroni = Answer::Down("refused".into()),
        (7, _) => patroni.server = Answer::Down("refused".into()),
        (8, _) => patroni.listed = None,
        (9, _) => {
            if let Answer::Known(server) = &mut patroni.server {
                server.receiver = None;
                server.in_recovery = !server.in_recovery;
            }
        }
        _ => {}
    }
}

proptest! {
    /// However members are unwell: when a restart is allowed, those left are a quorum, and PostgreSQL has one leader and
    /// nobody else who takes writes.
    #[test]
    fn what_is_allowed_is_safe(wrong in proptest::collection::vec((0usize..3, 0usize..12), 0..5), restarted in 0usize..3) {
        let mut view = HEALTHY.clone();
        for (member, way) in &wrong {
            spoil(&mut view, *member, *way);
        }
        let host = all()[restarted].clone();
        let up = |seen: &&xnat_provision::cluster::Seen<_>| {
            let seen: &xnat_provision::cluster::Seen<xnat_provision::cluster::etcd::Member> = seen;
            seen.host != host && seen.answer.known().is_some_and(|member| member.healthy && member.leader.is_some())
        };
        if etcd_obstacles(&view, &inventory(), Some(&host)).is_empty() {
            let left = view.etcd.iter().filter(up).count();
            prop_assert!(may_lose(3, left).is_some(), "{left} are left");
        }
        if postgres_obstacles(&view, &inventory()).is_empty() {
            let takes_writes = |member: &&xnat_provision::cluster::Member| {
                member.server.known().is_none_or(|server| !server.in_recovery)
            };
            let leaders: Vec<_> = view.members.iter().filter(takes_writes).map(|member| &member.host).collect();
            prop_assert_eq!(leaders, vec![&view.leader().expect("a leader").host]);
            prop_assert!(view.members.iter().filter(|member| member.follows()).all(|member| view.streams(member)));
        }
    }
}
