//! From symptoms to causes: what no lab shows quickly (its hosts share a clock, etcd's quota is 2 GiB), made of recordings
//! and of what hosts would have said. Each case says which findings there are, and that there are no others.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use xnat_provision::cluster::initialize::Initialize;
use xnat_provision::cluster::postgres::server::Server;
use xnat_provision::cluster::shown::{Certificate, Shown};
use xnat_provision::cluster::table::{Look, Paint};
use xnat_provision::cluster::{Answer, ClusterView, patroni};
use xnat_provision::doctor::{Case, Diagnosis, FileSystem, Line, Process, Seen, Slot, diagnose, render};
use xnat_provision::facts::{Control, Examination, Reach};
use xnat_provision::inventory::Inventory;
use xnat_provision::names::HostName;
use xnat_provision::pki::Purpose;

use super::cases::{about, known, leaderless, listed};
use super::played::{Hosts, inventory, recording};

/// What is known of a cluster, to be spoilt.
struct World {
    view: ClusterView,
    inventory: Inventory,
    seen: BTreeMap<HostName, Seen>,
    /// What a replica's PostgreSQL says.
    server: Answer<Server>,
}

impl World {
    fn host(&mut self, name: &str) -> &mut Seen {
        self.seen.entry(name.into()).or_default()
    }

    fn says(&mut self, host: &str, text: &str) {
        let line = Line { at: Timestamp::UNIX_EPOCH, service: "postgresql".into(), text: text.into() };
        self.host(host).log.push(line);
    }

    fn reaches(&mut self, from: &str, target: &str, reach: Reach) {
        let examined = self.host(from).facts.examination.get_or_insert_with(Examination::default);
        examined.reached.insert(target.into(), reach);
    }

    fn resolves(&mut self, at: &str, name: &str, address: &str) {
        let examined = self.host(at).facts.examination.get_or_insert_with(Examination::default);
        examined.resolved.insert(name.into(), vec![address.into()]);
    }

    /// A replica that runs and receives nothing.
    fn silence(&mut self, index: usize) {
        let name = self.view.members[index].host.to_string();
        listed(&mut self.view, index).state = "running".into();
        known(&mut self.view.members[index].server).receiver = None;
        about(&mut self.view, 1).replication.retain(|sender| sender.application_name != name);
    }

    fn stop(&mut self, index: usize, state: &str) {
        self.silence(index);
        listed(&mut self.view, index).state = state.into();
        about(&mut self.view, index).state = state.into();
        self.view.members[index].server = Answer::Down("nothing listens".into());
    }

    fn diagnosis(&self) -> Diagnosis {
        let (silent, foreign) = (BTreeMap::new(), Vec::new());
        let Self { view, inventory, seen, .. } = self;
        diagnose(&Case { inventory, view, seen, silent: &silent, foreign: &foreign })
    }
}

async fn world(name: &str, without: &[&str]) -> World {
    let recording = Arc::new(recording(name));
    let (view, _) = Hosts::new(&recording).without(without).look(&recording).await;
    let server = view.members[0].server.clone();
    World { view, inventory: inventory(), seen: BTreeMap::new(), server }
}

/// `id host,host`
fn findings(world: &World) -> Vec<String> {
    let told = world.diagnosis().findings.into_iter().map(|finding| {
        let hosts: Vec<String> = finding.hosts.iter().map(ToString::to_string).collect();
        format!("{} {}", finding.id, hosts.join(",")).trim().to_owned()
    });
    told.collect()
}

type Spoil = fn(&mut World);

/// In the healthy cluster db2 leads.
const CASES: &[(Spoil, &[&str])] = &[
    (|_| {}, &[]),
    (
        |world| {
            for (host, epoch) in [("db1", 100.0), ("db2", 130.0), ("db3", 101.0)] {
                let facts = &mut world.host(host).facts;
                (facts.epoch, facts.asked) = (epoch, Some(100.0));
            }
        },
        &["clocks db2,db1"],
    ),
    (
        |world| {
            leaderless(&mut world.view);
            for index in 0..3 {
                about(&mut world.view, index).state = "stopped".into();
            }
            world.view.initialized = Answer::Known(Initialize::Claimed { revision: "17".into() });
        },
        &["stale-initialize db1,db2,db3"],
    ),
    // Nobody leads since all of them are still starting.
    (|world| leaderless(&mut world.view), &["postgresql-down db1", "postgresql-down db2", "postgresql-down db3"]),
    (
        |world| {
            leaderless(&mut world.view);
            for index in 0..3 {
                about(&mut world.view, index).state = "running".into();
                world.view.members[index].server = world.server.clone();
            }
        },
        &["no-leader db1,db2,db3"],
    ),
    (
        |world| {
            world.stop(2, "stopped");
            world.view.initialized = Answer::Known(Initialize::Done { system: "1".into() });
            world.host("db3").control = Some(Control { system: "2".into(), ..Control::default() });
        },
        &["other-database db3"],
    ),
    (
        |world| {
            for seen in &mut world.view.etcd {
                known(&mut seen.answer).alarms = vec!["memberID:9372538179322589801 alarm:NOSPACE ".into()];
            }
        },
        &["etcd-alarm db1,db2,db3"],
    ),
    (
        |world| {
            world.host("db1").stopped = vec![Process { pid: 7, name: "etcd".into() }];
            world.view.etcd[0].answer = Answer::Down("it does not answer".into());
        },
        &["etcd-frozen db1"],
    ),
    (
        |world| {
            world.silence(2);
            listed(&mut world.view, 1).timeline = Some(2);
            world.says("db3", "[7] FATAL:  could not receive data from WAL stream: ERROR:  requested starting point 0/5000000 on timeline 1 is not in this server's history");
        },
        // db1 does not stream on another timeline here, it is only late to say so
        &["replication-timeline-fork db3", "timelines"],
    ),
    (
        |world| {
            world.silence(0);
            world.says(
                "db1",
                "[7] FATAL:  could not start WAL streaming: ERROR:  replication slot \"db1\" does not exist",
            );
        },
        &["replication-slot-missing db1"],
    ),
    (
        |world| {
            for (index, host) in [(0, "db1"), (2, "db3")] {
                world.silence(index);
                world.says(
                    host,
                    "[7] FATAL:  could not connect to the primary server: SSL error: certificate verify failed",
                );
            }
        },
        // reads have nowhere to go, as HAProxy knows
        &["replication-tls db1,db3"],
    ),
    (
        |world| {
            world.silence(2);
            world.says("db3", "[7] FATAL:  no pg_hba.conf entry for replication connection from host \"10.99.0.3\"");
            world.says("db3", "[8] FATAL:  password authentication failed for user \"replicator\"");
        },
        &["replication-login db3"],
    ),
    (
        |world| {
            world.stop(0, "crashed");
            world.host("db1").file_systems = vec![FileSystem {
                path: "/var/lib/postgresql".into(),
                kib: 1 << 20,
                free_kib: 64,
                free_inodes: Some(1000),
            }];
            world.host("db1").slots =
                vec![Slot { name: "db9".into(), active: false, wal: "extended".into(), kept: 900 << 20 }];
        },
        &["disk-full db1"],
    ),
    (
        |world| {
            for (target, reach) in
                [("10.99.0.1:8008", Reach::Open), ("10.99.0.2:8008", Reach::Silent), ("10.99.0.2:5432", Reach::Open)]
            {
                world.reaches("lb1", target, reach);
            }
            let servers = known(&mut world.view.haproxy[0].answer);
            let leader = servers.iter_mut().find(|server| server.section == "primary" && server.name == "db2");
            let leader = leader.expect("it is there");
            (leader.up, leader.status, leader.check, leader.code) = (false, "DOWN".into(), "L4TOUT".into(), None);
        },
        &["rest-unreachable db2,lb1"],
    ),
    (
        |world| {
            let servers = known(&mut world.view.haproxy[0].answer);
            let leader = servers.iter_mut().find(|server| server.section == "primary" && server.name == "db2");
            let leader = leader.expect("it is there");
            (leader.up, leader.status, leader.check) = (false, "DOWN".into(), "L6RSP".into());
        },
        &["haproxy-no-leader lb1,db2"],
    ),
    (
        |world| {
            for target in ["10.99.0.1:2380", "10.99.0.2:2380", "10.99.0.1:5432", "10.99.0.2:5432"] {
                world.reaches("db3", target, Reach::Silent);
            }
            world.reaches("db1", "10.99.0.2:2380", Reach::Open);
            world.reaches("db1", "10.99.0.3:2380", Reach::Silent);
        },
        &["host-cut-off db3"],
    ),
    (
        |world| {
            world.inventory.hosts[3].address = "lb1.example".into();
            for (at, address) in [("db1", "10.99.0.4"), ("db2", "10.99.0.9"), ("db3", "10.99.0.4")] {
                world.resolves(at, "lb1.example", address);
            }
        },
        &["name-resolution db2"],
    ),
    (
        |world| listed(&mut world.view, 0).api_url = Some("http://10.99.0.77:8008/patroni".into()),
        &["patroni-wrong-address db1"],
    ),
    (
        |world| {
            for seen in &mut world.view.etcd {
                let member = known(&mut seen.answer);
                let line = member.membership.iter_mut().find(|line| line.name == "db1").expect("it is there");
                line.peer_urls = vec!["http://10.99.0.77:2380".into()];
            }
        },
        &["etcd-wrong-address db1"],
    ),
    (
        |world| {
            let ends = Timestamp::UNIX_EPOCH;
            let certificate = Certificate { subject: "CN=etcd of db1".into(), digest: "d".into(), ends, days_left: -3 };
            let answer = Answer::Known(certificate);
            world.view.certificates = vec![Shown { host: "db1".into(), purpose: Purpose::Etcd, answer }];
        },
        &["certificate-expired db1"],
    ),
    (|world| known(&mut world.view.members[0].server).in_recovery = false, &["two-writers db1,db2"]),
    (|world| about(&mut world.view, 0).role = patroni::Role::Leader, &["several-leaders"]),
    (|world| world.view.paused = Answer::Known(true), &["paused"]),
];

#[tokio::test]
async fn each_case_has_its_cause_and_no_other() {
    let mut wrong = Vec::new();
    for (number, (spoil, expected)) in CASES.iter().enumerate() {
        let mut world = world("trixie-healthy", &[]).await;
        spoil(&mut world);
        let found = findings(&world);
        if found != *expected {
            wrong.push(format!("{number}: expected {expected:?}, found {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn recorded_clusters_have_their_causes() {
    let cases: [(&str, &[&str], &[&str]); 5] = [
        ("trixie-healthy", &["db3"], &["host-unreachable db3"]),
        ("trixie-etcd-one-down", &[], &["etcd-member-down db1"]),
        ("trixie-etcd-no-quorum", &[], &["etcd-no-quorum db1,db2"]),
        ("trixie-haproxy-down", &[], &["haproxy-down lb1", "patroni-down db3"]),
        ("trixie-postgres-hangs", &[], &["postgresql-silent db2"]),
    ];
    for (name, without, expected) in cases {
        assert_eq!(findings(&world(name, without).await), expected, "{name}");
    }
}

#[tokio::test]
async fn a_person_reads_cause_evidence_and_what_to_do() {
    let mut world = world("trixie-healthy", &[]).await;
    world.silence(0);
    world.says("db1", "[7] FATAL:  requested WAL segment 000000010000000000000003 has already been removed");
    let look = Look { width: Some(72), paint: Paint::Plain };
    insta::assert_snapshot!(render(&world.diagnosis(), look), @r"
    1 finding, which explains what else is wrong (1)

    warning: replica db1 does not stream from db2 [replication-wal-gone]
      cause:    it was away for longer than the leader keeps WAL: what it
                needs next is gone
      seen:     db1: [7] FATAL:  requested WAL segment
                000000010000000000000003 has already been removed
      do:       throw the data of db1 away and copy the leader's:
                  xnat-provision reinit db1 inventory.toml
      hence:    replica db1 does not stream from the leader (its state is:
                running)
    ");
}
