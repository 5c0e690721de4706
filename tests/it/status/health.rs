//! Every check, of recordings of real clusters and of measurements made up to fit or to spoil them. Each case says which
//! checks are not ok and that there are no others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use xnat_provision::cluster::assess::{rule_names, symptoms};
use xnat_provision::cluster::initialize::Initialize;
use xnat_provision::cluster::patroni::Role;
use xnat_provision::cluster::postgres::vitals::{Archiver, Checksums, Connections, Hold, Holding, Slot, Vitals};
use xnat_provision::cluster::shown::{Certificate, Shown};
use xnat_provision::cluster::table::{Look as Drawn, Paint};
use xnat_provision::cluster::verify::passage::{Passage, Trip};
use xnat_provision::cluster::{Answer, ClusterView};
use xnat_provision::health::forecast::Samples;
use xnat_provision::health::host::{Clock, Disk, Inodes, Look};
use xnat_provision::health::{
    Case, Drill, Measured, Report, State, catalogue, judge, nagios, nagios_unknown, prometheus, render,
};
use xnat_provision::inventory::{Component, Inventory, Synchronous};
use xnat_provision::names::HostName;
use xnat_provision::pki::Purpose;

use super::cases::{about, known, listed};
use super::played::{Hosts, inventory, recording};

const RECORDINGS: [&str; 16] = [
    "bookworm-etcd-no-quorum",
    "bookworm-etcd-one-down",
    "bookworm-failed-over",
    "bookworm-healthy",
    "bookworm-leader-killed",
    "bookworm-pending-restart",
    "bookworm-replica-stopped",
    "bookworm-sync",
    "trixie-etcd-no-quorum",
    "trixie-etcd-one-down",
    "trixie-haproxy-down",
    "trixie-healthy",
    "trixie-paused",
    "trixie-pending-restart",
    "trixie-postgres-hangs",
    "trixie-quorum",
];

/// What is known of a cluster, to be spoilt.
struct World {
    view: ClusterView,
    inventory: Inventory,
    measured: Measured,
}

impl World {
    fn report(&self) -> Report {
        judge(&Case { inventory: &self.inventory, view: &self.view, measured: &self.measured })
    }
    fn look(&mut self, host: &str) -> &mut Look {
        known(self.measured.hosts.get_mut(&HostName::new(host)).expect("it was looked at"))
    }
    fn vitals(&mut self, host: &str) -> &mut Vitals {
        known(self.measured.vitals.get_mut(&HostName::new(host)).expect("it was asked"))
    }
    fn disk(&mut self, host: &str, used: u64) -> &mut Disk {
        let disk = &mut self.look(host).disks[0];
        (disk.used, disk.free) = (used, disk.size - used);
        disk
    }
    fn slot(&mut self, host: &str, (name, active): (&str, bool), (wal, kept): (&str, i64)) {
        let slot = Slot { name: name.into(), active, wal: Some(wal.into()), kept };
        self.vitals(host).slots.push(slot);
    }
    fn hold(&mut self, kind: Hold, hours: f64) {
        let one = Holding { kind, name: "4711".into(), user: "xnat".into(), seconds: hours * 3600.0 };
        self.vitals("db2").holding.push(one);
    }
}

const NOW: &str = "2026-11-24T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().expect("a time")
}

fn well(used: u64) -> Look {
    let inodes = Some(Inodes { total: 1_000_000, used: 50_000 });
    let paths = vec!["/".to_owned(), "/var/lib/postgresql/17/xnat/pg_wal".to_owned()];
    let disk = Disk { mount: "/".into(), paths, size: 100 << 30, used, free: (100 << 30) - used, inodes };
    Look { clock: Clock { offset: 0.01, error: 0.005 }, container: false, synchronised: Some(true), disks: vec![disk] }
}

fn vitals(in_recovery: bool) -> Vitals {
    Vitals {
        in_recovery,
        system: "7711617483973967156".into(),
        timeline: Some(1),
        connections: Connections { used: 12, limit: 97 },
        checksums: Checksums { enabled: true, failures: 0 },
        archiver: Archiver { enabled: true, archived: Some(120.0), failed: None, wal: None },
        ..Vitals::default()
    }
}

/// As well as can be, of whoever could be reached.
fn measured(view: &ClusterView, inventory: &Inventory) -> Measured {
    let leads = |host: &HostName| view.leader().is_some_and(|leader| leader.host == *host);
    let reached = |component| {
        let hosts = inventory.with(component).map(|host| host.name.clone());
        hosts.filter(|host| !view.unreachable.contains_key(host))
    };
    let trip = |server: &str| Ok(Trip { server: server.into(), seconds: 0.05 });
    let passage = Passage { wrote: true, write: trip("db2"), read: Some(trip("db1")) };
    let (mut samples, hosts) = (Samples::default(), inventory.hosts.iter().map(|host| host.name.clone()));
    let hosts: Vec<HostName> = hosts.filter(|host| !view.unreachable.contains_key(host)).collect();
    for minutes in [120, 80, 40] {
        let look = well(40 << 30);
        let seen = hosts.iter().map(|host| (host, &look));
        samples = samples.clone().with(now() - SignedDuration::from_mins(minutes), seen).unwrap_or(samples);
    }
    Measured {
        now: now(),
        hosts: hosts.into_iter().map(|host| (host, Answer::Known(well(40 << 30)))).collect(),
        vitals: reached(Component::Postgres).map(|host| (host.clone(), Answer::Known(vitals(!leads(&host))))).collect(),
        agreement: reached(Component::Etcd).map(|host| (host, Answer::Known(0.002))).collect(),
        passages: reached(Component::Haproxy).map(|host| (host, passage.clone())).collect(),
        samples: Ok(samples),
        drill: Ok(Some(Drill {
            drill: "leader-dies".into(),
            finished: now() - SignedDuration::from_hours(72),
            passed: true,
            failed: None,
            findings: Vec::new(),
        })),
    }
}

async fn world(name: &str, without: &[&str]) -> World {
    let recording = Arc::new(recording(name));
    let (mut view, _) = Hosts::new(&recording).without(without).look(&recording).await;
    // older recordings do not say how much of the database is in use
    for seen in &mut view.etcd {
        if let Answer::Known(member) = &mut seen.answer {
            member.db_size_in_use = Some(member.db_size);
        }
    }
    let inventory = inventory();
    World { measured: measured(&view, &inventory), view, inventory }
}

/// `critical disk-space db1` for everything that is not ok.
fn findings(report: &Report) -> Vec<String> {
    let mut told = Vec::new();
    for check in &report.checks {
        for finding in check.findings.iter().filter(|finding| finding.state != State::Ok) {
            let host = finding.host.as_ref().map_or("", |host| host.as_str());
            told.push(format!("{} {} {host}", finding.state.word(), check.id).trim().to_owned());
        }
    }
    told
}

type Spoil = fn(&mut World);

/// In the healthy cluster db2 leads.
const CASES: &[(Spoil, &[&str])] = &[
    (|_| {}, &[]),
    (|world| _ = world.disk("db1", 86 << 30), &["warning disk-space db1", "critical disk-forecast db1"]),
    (|world| _ = world.disk("db1", 96 << 30), &["critical disk-space db1", "critical disk-forecast db1"]),
    // 1.2 GB in 40 minutes fill 58 GB in two days
    (|world| _ = world.disk("db3", 42 << 30), &["warning disk-forecast db3"]),
    (|world| world.look("lb1").disks[0].inodes = Some(Inodes { total: 100, used: 90 }), &["warning disk-inodes lb1"]),
    (|world| world.look("lb1").disks.clear(), &["unknown disk-space lb1", "unknown disk-inodes lb1"]),
    (|world| world.measured.samples = Ok(Samples::default()), &["notice disk-forecast"]),
    (|world| world.measured.samples = Err("no space".into()), &["unknown disk-forecast"]),
    (|world| world.look("db3").clock = Clock { offset: 3.0, error: 0.1 }, &["warning clock-offset"]),
    // the way there is as long
    (|world| world.look("db3").clock = Clock { offset: 3.0, error: 2.5 }, &[]),
    (|world| world.look("db3").clock.offset = -300.0, &["critical clock-offset", "warning clock-offset db3"]),
    (|world| world.look("db1").synchronised = Some(false), &["warning clock-synchronised db1"]),
    (|world| world.look("db1").synchronised = None, &["unknown clock-synchronised db1"]),
    (
        |world| known(&mut world.view.etcd[0].answer).alarms = vec!["memberID:1 alarm:NOSPACE ".into()],
        &["warning etcd-members db1", "critical etcd-alarms db1"],
    ),
    (
        |world| {
            let member = known(&mut world.view.etcd[1].answer);
            (member.db_size, member.db_size_in_use) = (1200 << 20, Some(100 << 20));
        },
        &["warning etcd-size db2", "notice etcd-fragmentation db2"],
    ),
    (|world| _ = world.measured.agreement.insert("db1".into(), Answer::Known(0.5)), &["warning etcd-latency db1"]),
    (
        |world| _ = world.measured.agreement.insert("db1".into(), Answer::Down("no quorum".into())),
        &["unknown etcd-latency db1"],
    ),
    (
        |world| known(&mut world.view.members[1].server).in_recovery = true,
        // nobody takes writes then, which the proof would show
        &["critical patroni-agrees db2"],
    ),
    (
        |world| {
            listed(&mut world.view, 0).role = Role::SyncStandby;
            known(&mut world.view.members[1].server).standbys.retain(|standby| standby.name != "db1");
        },
        &["warning patroni-agrees db1"],
    ),
    (|world| world.vitals("db3").system = "1".into(), &["critical postgres-system db3"]),
    (
        |world| world.view.initialized = Answer::Known(Initialize::Done { system: "1".into() }),
        &["critical postgres-system db1", "critical postgres-system db2", "critical postgres-system db3"],
    ),
    (|world| world.vitals("db3").timeline = Some(2), &["warning replication-timelines db3"]),
    (|world| world.vitals("db3").timeline = None, &[]),
    (|world| world.vitals("db1").connections.used = 80, &["warning postgres-connections db1"]),
    (|world| world.vitals("db2").connections.used = 97, &["critical postgres-connections db2"]),
    (
        |world| {
            world.vitals("db2").transactions.age = 600_000_000;
            world.vitals("db2").multixacts.age = 1_600_000_000;
        },
        &["critical postgres-transaction-age db2", "warning postgres-transaction-age db2"],
    ),
    (|world| world.hold(Hold::Session, 0.5), &[]),
    (|world| world.hold(Hold::Session, 2.0), &["notice postgres-long-transactions db2"]),
    (|world| world.hold(Hold::Session, 13.0), &["warning postgres-long-transactions db2"]),
    (|world| world.hold(Hold::Prepared, 2.0), &["warning postgres-long-transactions db2"]),
    (|world| world.vitals("db1").checksums.failures = 3, &["critical postgres-checksums db1"]),
    (|world| world.vitals("db1").checksums.enabled = false, &["notice postgres-checksums db1"]),
    // a replica that restarts
    (|world| world.slot("db2", ("db1", false), ("reserved", 1 << 20)), &[]),
    (|world| world.slot("db2", ("gone", false), ("extended", 1 << 30)), &["warning replication-slots db2"]),
    // more than is free
    (|world| world.slot("db2", ("gone", false), ("extended", 90 << 30)), &["critical replication-slots db2"]),
    (|world| world.slot("db2", ("db1", true), ("unreserved", 5 << 30)), &["warning replication-slots db2"]),
    (|world| world.slot("db2", ("db1", false), ("lost", 0)), &["warning replication-slots db2"]),
    // Patroni keeps it there for the day this one leads
    (|world| world.slot("db1", ("db3", false), ("extended", 1 << 30)), &[]),
    (
        |world| {
            world.vitals("db2").archiver.failed = Some(60.0);
            world.vitals("db2").archiver.wal = Some("000000010000000000000004".into());
        },
        &["critical archiving db2"],
    ),
    // it has failed, and works again
    (|world| world.vitals("db2").archiver.failed = Some(600.0), &[]),
    (|world| world.vitals("db2").archiver = Archiver::default(), &["notice backup db2"]),
    (|world| world.vitals("db2").archiver.archived = Some(200_000.0), &["notice backup db2"]),
    (|world| world.measured.drill = Ok(None), &["notice drill"]),
    (|world| world.measured.drill = Err("unreadable".into()), &["unknown drill"]),
    (
        |world| {
            world.measured.passages.insert(
                "lb1".into(),
                Passage { wrote: false, write: Err("refused".into()), read: Some(Err("refused".into())) },
            );
        },
        &["critical haproxy-write lb1", "warning haproxy-read lb1"],
    ),
    (|world| world.measured.passages.clear(), &["unknown haproxy-write lb1", "unknown haproxy-read lb1"]),
    (
        |world| world.view.haproxy[0].answer = Answer::Unknown("no passwords".into()),
        &["warning hosts-reachable", "unknown haproxy-servers lb1"],
    ),
    (
        |world| {
            world.inventory.patroni.synchronous = Synchronous::On;
            world.view.config = Answer::Known(serde_json::json!({ "synchronous_mode": true }));
        },
        &["warning replication-synchronous"],
    ),
    (
        |world| {
            world.inventory.patroni.synchronous = Synchronous::On;
            world.view.config = Answer::Known(serde_json::json!({ "synchronous_mode": true }));
            listed(&mut world.view, 0).role = Role::SyncStandby;
        },
        &["warning replication-synchronous db2"],
    ),
    (
        |world| {
            world.inventory.tls.enabled = true;
            let certificate =
                Certificate { subject: "CN=etcd of db1".into(), digest: "0".into(), ends: now(), days_left: 5 };
            for (host, answer) in [("db1", Answer::Known(certificate)), ("db2", Answer::Down("no".into()))] {
                world.view.certificates.push(Shown { host: host.into(), purpose: Purpose::Etcd, answer });
            }
        },
        &["warning certificates db1", "unknown certificates"],
    ),
    (
        |world| {
            let down = Answer::Down("nothing listens on port 5432 of db3".into());
            world.measured.vitals.insert("db3".into(), down);
        },
        &[
            "unknown postgres-system db3",
            "unknown postgres-connections db3",
            "unknown postgres-long-transactions db3",
            "unknown postgres-checksums db3",
            "unknown postgres-restart db3",
            "unknown postgres-settings db3",
            "unknown replication-timelines db3",
            "unknown replication-slots db3",
        ],
    ),
    (|world| about(&mut world.view, 0).pending_restart = true, &[]),
];

#[tokio::test]
async fn each_trouble_is_found_by_its_check_and_by_no_other() {
    let (mut provoked, mut wrong) = (BTreeSet::new(), Vec::new());
    for (index, (spoil, expected)) in CASES.iter().enumerate() {
        let mut world = world("trixie-healthy", &[]).await;
        spoil(&mut world);
        let found = findings(&world.report());
        if found != *expected {
            wrong.push(format!("case {index}: expected {expected:#?} and found {found:#?}"));
        }
        provoked.extend(expected.iter().filter_map(|line| line.split(' ').nth(1)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // what only `status` judges is provoked by its own tests
    let own = catalogue::all().filter(|check| check.rules.is_empty()).map(|check| check.id);
    let never: Vec<&str> = own.filter(|id| !provoked.contains(id)).collect();
    assert_eq!(never, Vec::<&str>::new());
}

#[test]
fn names_are_fixed_and_every_rule_of_status_belongs_to_one_check() {
    let ids: Vec<&str> = catalogue::all().map(|check| check.id).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "twice in {ids:?}");
    let plain = |id: &&str| id.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    assert!(ids.iter().all(plain), "{ids:?}");
    let mut claimed: BTreeMap<&str, usize> = rule_names().map(|rule| (rule, 0)).collect();
    for rule in catalogue::all().flat_map(|check| check.rules) {
        *claimed.get_mut(rule).unwrap_or_else(|| panic!("status has no rule {rule}")) += 1;
    }
    assert!(claimed.values().all(|times| *times == 1), "{claimed:?}");
}

#[tokio::test]
async fn it_never_says_less_than_status() {
    for name in RECORDINGS {
        for without in [&[][..], &["db1"], &["db2", "lb1"], &["db1", "db2", "db3", "lb1"]] {
            let world = world(name, without).await;
            let report = world.report();
            for (rule, problem) in symptoms(&world.view, &world.inventory) {
                let check = catalogue::all().find(|check| check.rules.contains(&rule)).expect("claimed").id;
                let checked = report.checks.iter().find(|checked| checked.id == check).expect("made");
                let says = checked
                    .findings
                    .iter()
                    .any(|finding| finding.evidence == problem.text && finding.state == State::from(problem.severity));
                assert!(says, "{name} without {without:?}: {check} does not say: {}", problem.text);
                assert!(checked.state <= State::from(problem.severity));
            }
            let healthy = xnat_provision::cluster::assess(&world.view, &world.inventory).healthy;
            assert!(healthy || !report.state.is_well(), "{name} without {without:?}");
        }
    }
}

/// What needs nobody's answer: there is no TLS, and no standby is wanted.
#[tokio::test]
async fn without_answers_nothing_is_ok() {
    let mut world = world("trixie-healthy", &["db1", "db2", "db3", "lb1"]).await;
    world.measured.samples = Err("unreadable".into());
    world.measured.drill = Err("unreadable".into());
    let report = world.report();
    let well = report.checks.iter().filter(|check| check.state.is_well()).map(|check| check.id);
    assert_eq!(well.collect::<Vec<_>>(), ["certificates", "replication-synchronous"]);
    assert!(report.blind);
    assert_eq!((report.state, report.verdict.as_str()), (State::Unknown, "unknown: nothing could be asked"));
    assert!(nagios(&report).starts_with("XNAT UNKNOWN - unknown: nothing could be asked\n"));
}

/// Compared with what is kept in `tests/fixtures/health`.
fn kept(name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "../../fixtures/health", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

#[tokio::test]
async fn what_people_see() {
    let plain = |report: &Report| render(report, Drawn { width: Some(80), paint: Paint::Plain });
    kept("healthy-text", &plain(&world("trixie-healthy", &[]).await.report()));
    let broken = broken().await.report();
    kept("broken-text", &plain(&broken));
    // commands have lines of their own, set in further than texts
    let commands = |line: &&str| line.starts_with("             ");
    let long = plain(&broken);
    let long: Vec<&str> = long.lines().filter(|line| line.chars().count() > 80 && !commands(line)).collect();
    assert_eq!(long, Vec::<&str>::new());
    let coloured = render(&broken, Drawn { width: Some(80), paint: Paint::Colour });
    assert!(coloured.contains("\u{1b}[31m"), "{coloured:?}");
    assert_eq!(console::strip_ansi_codes(&coloured), plain(&broken));
}

/// A replica is stopped, HAProxy is down, and a slot keeps WAL.
async fn broken() -> World {
    let mut world = world("trixie-haproxy-down", &[]).await;
    let refused = || Err("nothing listens on port 5000 of lb1".to_owned());
    let passage = Passage { wrote: true, write: refused(), read: Some(refused()) };
    world.measured.passages.insert("lb1".into(), passage);
    world.measured.vitals.insert("db3".into(), Answer::Down("nothing listens on port 5432 of db3".into()));
    world.slot("db2", ("gone|1", false), ("extended", 3 << 30));
    world.measured.drill = Ok(None);
    world
}

#[tokio::test]
async fn what_monitoring_sees() {
    let (healthy, broken) = (world("trixie-healthy", &[]).await.report(), broken().await.report());
    kept("healthy-nagios", &nagios(&healthy));
    kept("broken-nagios", &nagios(&broken));
    assert_eq!(nagios_unknown("no |\nway"), "XNAT UNKNOWN - no ¦ way\n");
    let text = prometheus(&broken, now()).expect("written");
    is_exposition(&text);
    kept("broken-prometheus", &text);
}

/// Each family is announced once and before its samples, which have a name, labels and a number.
fn is_exposition(text: &str) {
    assert!(text.ends_with('\n'));
    let (mut announced, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(rest.ends_with(" gauge") && announced.insert(rest.split(' ').next()), "{line}");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        assert!(value.parse::<f64>().is_ok() && seen.insert(series), "{line}");
        let name = series.split('{').next();
        assert!(announced.contains(&name) && series.ends_with('}'), "{line}");
    }
}
