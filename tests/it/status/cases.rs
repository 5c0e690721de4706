//! What no recording has, what a wait says meanwhile, and where clients are told to connect.

use std::path::Path;
use std::sync::Arc;

use insta::assert_snapshot;
use xnat_provision::cluster::endpoints::{Files, Notation, endpoints};
use xnat_provision::cluster::etcd::Listed;
use xnat_provision::cluster::initialize::Initialize;
use xnat_provision::cluster::postgres::altered::Altered;
use xnat_provision::cluster::postgres::excess::Excess;
use xnat_provision::cluster::safety::departure::{departures, needed, without};
use xnat_provision::cluster::safety::membership::{self, Progress, joining};
use xnat_provision::cluster::{Answer, ClusterView, Severity, assess, etcd, patroni};
use xnat_provision::inventory::{Component, Inventory, Synchronous};
use xnat_provision::names::HostName;
use xnat_provision::secret::Secret;

use super::played::{Hosts, inventory, recording};

#[tokio::test]
async fn waiting_tells_what_is_missing() {
    let waits = async |name: &str| {
        let hosts = Hosts::new(&Arc::new(recording(name)));
        let etcd = etcd::quorum(&hosts.gather()).await.map(|q| format!("{} of {}", q.healthy, q.voters));
        let names: Vec<HostName> = inventory().with(Component::Postgres).map(|host| host.name.clone()).collect();
        let patroni = match patroni::streaming(&hosts.gather(), &names).await {
            Ok(()) => patroni::leader(&hosts.gather()).await.map(|leader| leader.to_string()),
            Err(reason) => Err(reason),
        };
        format!("{name}: {etcd:?}, {patroni:?}\n")
    };
    let mut text = String::new();
    for name in
        ["bookworm-healthy", "trixie-healthy", "bookworm-leader-killed", "trixie-etcd-one-down", "bookworm-failed-over"]
    {
        text.push_str(&waits(name).await);
    }
    assert_snapshot!(text, @r#"
    bookworm-healthy: Ok("3 of 3"), Ok("db3")
    trixie-healthy: Ok("3 of 3"), Ok("db2")
    bookworm-leader-killed: Ok("3 of 3"), Err("db1 is running and does not stream yet")
    trixie-etcd-one-down: Err("nothing listens on port 2379 of db1"), Ok("db2")
    bookworm-failed-over: Ok("3 of 3"), Err("db1 is running and does not stream yet")
    "#);
}

type Change = fn(&mut ClusterView, &mut Inventory);

/// Changes to a healthy view that no recording has.
const CASES: [(&str, Change); 15] = [
    ("a second leader", |view, _| about(view, 0).role = patroni::Role::Leader),
    ("a replica far behind", |view, _| {
        let standby = known(&mut view.members[1].server).standbys.iter_mut().find(|standby| standby.name == "db3");
        standby.expect("it streams").lag = Some(3 << 30);
    }),
    ("far behind in etcd only, which is old news", |view, _| {
        listed(view, 2).lag = Some(patroni::Lag::Bytes(3 << 30));
    }),
    ("far behind, and the leader cannot be asked", |view, _| {
        view.members[1].server = Answer::Unknown("no passwords".into());
        listed(view, 2).lag = Some(patroni::Lag::Bytes(3 << 30));
    }),
    ("another timeline", |view, _| listed(view, 2).timeline = Some(7)),
    ("never initialised", |view, _| {
        leaderless(view);
        view.initialized = Answer::Known(Initialize::Absent);
    }),
    ("no leader any more", |view, _| leaderless(view)),
    ("HAProxy believes something else", |view, _| {
        for server in known(&mut view.haproxy[0].answer) {
            server.up = server.section == "primary" && server.name == "db3";
        }
    }),
    ("synchronous, and nobody is", |view, inventory| {
        inventory.patroni.synchronous = Synchronous::On;
        view.config = Answer::Known(serde_json::json!({ "synchronous_mode": true }));
    }),
    ("a member not in the inventory", |view, _| {
        view.members[2].in_inventory = false;
        view.members[2].server = Answer::Unknown("not in the inventory".into());
    }),
    ("two etcd clusters, an unknown member, an alarm", |view, _| {
        let member = known(&mut view.etcd[2].answer);
        member.cluster_id = "beef".into();
        member.alarms = vec!["NOSPACE".into()];
        member.raft_index += 100;
        member.membership[0].name = "db9".into();
    }),
    ("every Patroni down", |view, _| {
        view.paused = Answer::Down("refused".into());
        for member in &mut view.members {
            member.listed = None;
            member.patroni = Answer::Down("refused".into());
        }
    }),
    ("no database", |view, _| known(&mut view.members[1].server).database = false),
    ("parameters set by ALTER SYSTEM", |view, _| {
        let altered = |name: &str, value: Option<&str>| Altered {
            name: name.into(),
            value: value.map(str::to_owned),
            restarts: false,
        };
        known(&mut view.members[0].server).altered =
            vec![altered("archive_command", None), altered("work_mem", Some("64MB"))];
    }),
    ("roles that can do more than they need", |view, _| {
        let excess = |role: &str, attributes: &[&str], member_of: &[&str]| Excess {
            role: role.into(),
            attributes: attributes.iter().map(|&attribute| attribute.into()).collect(),
            member_of: member_of.iter().map(|&other| other.into()).collect(),
        };
        let found = vec![excess("replicator", &[], &["pg_read_all_data"]), excess("xnat", &["SUPERUSER"], &["staff"])];
        known(&mut view.members[1].server).excess = found;
    }),
];

pub(super) fn known<T>(answer: &mut Answer<T>) -> &mut T {
    match answer {
        Answer::Known(value) => value,
        Answer::Down(reason) | Answer::Unknown(reason) => panic!("{reason}"),
    }
}

pub(super) fn about(view: &mut ClusterView, index: usize) -> &mut patroni::About {
    known(&mut view.members[index].patroni)
}

pub(super) fn listed(view: &mut ClusterView, index: usize) -> &mut patroni::Listed {
    view.members[index].listed.as_mut().expect("listed")
}

pub(super) fn leaderless(view: &mut ClusterView) {
    for (index, member) in view.members.iter_mut().enumerate() {
        member.listed.as_mut().expect("listed").role = patroni::Role::Replica;
        member.server = Answer::Down(format!("db{} starts", index + 1));
        known(&mut member.patroni).role = patroni::Role::Replica;
        known(&mut member.patroni).state = "starting".into();
    }
}

#[tokio::test]
async fn rarer_cases() {
    let recording = Arc::new(recording("trixie-healthy"));
    let (healthy, _) = Hosts::new(&recording).look(&recording).await;
    let mut text = String::new();
    for (name, change) in CASES {
        let (mut view, mut inventory) = (healthy.clone(), inventory());
        change(&mut view, &mut inventory);
        text.push_str(&format!("{name}\n"));
        for problem in assess(&view, &inventory).problems {
            text.push_str(&format!("  {:?}: {}\n", problem.severity, problem.text));
        }
    }
    assert_snapshot!(text, @r"
    a second leader
      Critical: more than one member takes writes: db1, db2; db2 has the leader lock
    a replica far behind
      Warning: replica db3 is 3.0 GB behind, and takes no reads beyond 16.0 MB
    far behind in etcd only, which is old news
    far behind, and the leader cannot be asked
      Warning: could not ask: no passwords
      Warning: replica db3 is 3.0 GB behind, and takes no reads beyond 16.0 MB
    another timeline
      Warning: db3 is on timeline 7 and the leader db2 on 1
    never initialised
      Critical: there is no leader: the cluster has not been initialised yet
      Critical: HAProxy on lb1 sends writes to db2, and there is no leader
    no leader any more
      Critical: there is no leader: nobody can write
      Critical: HAProxy on lb1 sends writes to db2, and there is no leader
    HAProxy believes something else
      Critical: HAProxy on lb1 sends writes to db3, and the leader is db2
      Warning: HAProxy on lb1 has no server for reads, although 2 replicas are streaming
    synchronous, and nobody is
      Warning: synchronous mode is on and there is no synchronous standby: a failover now could lose the last writes
    a member not in the inventory
      Warning: db3 is a member of the cluster and not in the inventory
    two etcd clusters, an unknown member, an alarm
      Critical: etcd on db3 is in another cluster (beef) than on db1 (c7d628c02fe83064)
      Warning: etcd on db3 complains: NOSPACE
      Warning: etcd has a member db9 that is not in the inventory
    every Patroni down
      Critical: no Patroni answers: nobody can say who is leader, and nothing fails over
      Warning: Patroni on db1 is down: refused
      Warning: Patroni on db2 is down: refused
      Warning: Patroni on db3 is down: refused
    no database
      Critical: the database xnat does not exist on the leader db2
    parameters set by ALTER SYSTEM
      Notice: ALTER SYSTEM on db1 has set archive_command, work_mem = 64MB, which wins over the inventory
    roles that can do more than they need
      Warning: role xnat has SUPERUSER, which it does not need
      Warning: role replicator is a member of pg_read_all_data, which it does not need
      Notice: role xnat is a member of staff, which it does not need
    ");
}

#[tokio::test]
async fn a_host_that_is_no_etcd_member_yet_is_told_from_those_that_are() {
    let recording = Arc::new(recording("trixie-healthy"));
    let (view, _) = Hosts::new(&recording).look(&recording).await;
    let mut inventory = inventory();
    assert_eq!(joining(&view, &inventory), []);
    inventory.tls.enabled = false;
    let balancer = inventory.hosts.iter_mut().find(|host| host.name.as_str() == "lb1").expect("recorded");
    balancer.components.insert(Component::Etcd);
    let [new] = &joining(&view, &inventory)[..] else { panic!("lb1 is new") };
    assert_eq!((new.host.as_str(), new.progress), ("lb1", Progress::New));
    assert_snapshot!(
        new.initial_cluster,
        @"db1=http://10.99.0.1:2380,db2=http://10.99.0.2:2380,db3=http://10.99.0.3:2380,lb1=http://10.99.0.4:2380"
    );
    // it was added, and has not come up: it has no name, and is told by its address
    let mut view = view;
    let added = |name: &str, learner| Listed {
        id: "1".into(),
        name: name.into(),
        peer_urls: vec!["http://10.99.0.4:2380".into()],
        learner,
        started: false,
    };
    for (name, progress) in [("", Progress::Added), ("lb1", Progress::Learner)] {
        for seen in &mut view.etcd {
            let Answer::Known(member) = &mut seen.answer else { panic!("healthy") };
            member.membership.truncate(3);
            member.membership.push(added(name, true));
        }
        let [same] = &joining(&view, &inventory)[..] else { panic!("lb1 joins") };
        assert_eq!((same.progress, &same.initial_cluster), (progress, &new.initial_cluster));
    }
    // nobody answers, as before the first start: nobody is new
    let silent = ClusterView { etcd: Vec::new(), ..view };
    assert_eq!(joining(&silent, &inventory), []);
}

#[tokio::test]
async fn who_leaves_and_whether_etcd_can_do_without() {
    let recording = Arc::new(recording("trixie-healthy"));
    let (view, _) = Hosts::new(&recording).look(&recording).await;
    let mut inventory = inventory();
    let reached: Vec<HostName> = inventory.hosts.iter().map(|host| host.name.clone()).collect();
    assert_eq!(departures(&view, &inventory, &reached), []);
    inventory.leaving = inventory.hosts.extract_if(.., |host| host.name.as_str() == "db3").collect();
    // it says what it is to do itself, or it is gone; in the inventory or not
    for (reached, known) in [(&reached[..], true), (&[], true), (&[], false)] {
        let leaving = if known { inventory.leaving.clone() } else { Vec::new() };
        let inventory = Inventory { leaving, ..inventory.clone() };
        let [one] = &departures(&view, &inventory, reached)[..] else { panic!("one leaves") };
        assert_eq!((one.host.as_str(), one.reached, one.etcd.is_some()), ("db3", !reached.is_empty(), true));
        let without = membership::listed(&without(&view, std::slice::from_ref(one))).len();
        assert_eq!(without, 2);
    }
    let gone = departures(&view, &inventory, &[]).remove(0).etcd.expect("a member");
    assert_eq!(needed(&view, &gone), None);
    let mut alone = view.clone();
    alone.etcd[0].answer = Answer::Down("nothing listens".into());
    alone.etcd.truncate(2);
    assert_eq!(
        needed(&alone, &gone).as_deref(),
        Some("etcd cannot do without db3: of the 2 members that stay 1 work, and 2 are needed")
    );
    for seen in &mut alone.etcd {
        if let Answer::Known(member) = &mut seen.answer {
            member.membership.retain(|one| one.id == gone.id);
        }
    }
    assert_eq!(needed(&alone, &gone).as_deref(), Some("db3 is the only member of etcd"));
}

#[test]
fn severities_sort_worst_first() {
    assert!(Severity::Critical < Severity::Warning && Severity::Warning < Severity::Notice);
}

#[test]
fn where_to_connect() {
    let lines = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("inventory/{name}.toml"));
        let inventory = Inventory::load(&path, None).expect("a good inventory").inventory;
        let files = Files { inventory: Path::new("xnat.toml"), authorities: Path::new("xnat.ca.pem") };
        endpoints(&inventory, files, Notation::AsItIs).lines(files).join("\n")
    };
    assert_snapshot!(lines("split"), @r#"
    First copy xnat.ca.pem (it is public) to XNAT's host as /etc/ssl/certs/xnat-ca.pem.
    Connect with JDBC:
      jdbc:postgresql://10.0.0.31:5432,10.0.0.32:5432/xnat?targetServerType=primary&tcpKeepAlive=true&connectTimeout=4&socketTimeout=900&sslmode=verify-full&sslrootcert=/etc/ssl/certs/xnat-ca.pem
    Only reading, from the replicas:
      jdbc:postgresql://10.0.0.31:5433,10.0.0.32:5433/xnat?targetServerType=preferSecondary&tcpKeepAlive=true&connectTimeout=4&socketTimeout=900&sslmode=verify-full&sslrootcert=/etc/ssl/certs/xnat-ca.pem
    For XNAT, in xnat-conf.properties:
      datasource.driver=org.postgresql.Driver
      datasource.url=jdbc:postgresql://10.0.0.31:5432,10.0.0.32:5432/xnat?targetServerType=primary&tcpKeepAlive=true&connectTimeout=4&socketTimeout=900&sslmode=verify-full&sslrootcert=/etc/ssl/certs/xnat-ca.pem
      datasource.username=xnat
      datasource.password=<see: xnat-provision vault show application xnat.toml>
      datasource.validationQueryTimeout=5
    With psql:
      psql 'host=10.0.0.31,10.0.0.32 port=5432,5432 dbname=xnat user=xnat target_session_attrs=read-write sslmode=verify-full sslrootcert=xnat.ca.pem'
    HAProxy statistics: https://10.0.0.31:7000/stats (user stats, password: xnat-provision vault show statistics xnat.toml)
    HAProxy statistics: https://10.0.0.32:7000/stats (user stats, password: xnat-provision vault show statistics xnat.toml)
    "#);
    assert_snapshot!(lines("single"), @r#"
    First copy xnat.ca.pem (it is public) to XNAT's host as /etc/ssl/certs/xnat-dev-ca.pem.
    Connect with JDBC:
      jdbc:postgresql://10.0.0.11:5000/xnat?targetServerType=primary&tcpKeepAlive=true&connectTimeout=4&socketTimeout=900&sslmode=verify-full&sslrootcert=/etc/ssl/certs/xnat-dev-ca.pem
    For XNAT, in xnat-conf.properties:
      datasource.driver=org.postgresql.Driver
      datasource.url=jdbc:postgresql://10.0.0.11:5000/xnat?targetServerType=primary&tcpKeepAlive=true&connectTimeout=4&socketTimeout=900&sslmode=verify-full&sslrootcert=/etc/ssl/certs/xnat-dev-ca.pem
      datasource.username=xnat
      datasource.password=<see: xnat-provision vault show application xnat.toml>
      datasource.validationQueryTimeout=5
    With psql:
      psql 'host=10.0.0.11 port=5000 dbname=xnat user=xnat target_session_attrs=read-write sslmode=verify-full sslrootcert=xnat.ca.pem'
    HAProxy statistics: https://10.0.0.11:7000/stats (user stats, password: xnat-provision vault show statistics xnat.toml)
    "#);
}

/// What is pasted is the same path again, whatever the directory is called.
#[test]
fn where_to_connect_from_an_odd_directory() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventory/single.toml");
    let inventory = Inventory::load(&path, None).expect("a good inventory").inventory;
    let odd = Path::new(r"it's $(id) `id` \ odd");
    let (toml, pem) = (odd.join("xnat.toml"), odd.join("xnat.ca.pem"));
    let files = Files { inventory: &toml, authorities: &pem };
    let lines = endpoints(&inventory, files, Notation::Escaped).lines(files);
    let shown: Vec<&String> = lines.iter().filter(|line| line.contains("odd") || line.contains('#')).collect();
    assert_snapshot!(shown.iter().map(|line| line.as_str()).collect::<Vec<_>>().join("\n"), @r"
    First copy 'it'\''s $(id) `id` \ odd/xnat.ca.pem' (it is public) to XNAT's host as /etc/ssl/certs/xnat-dev-ca.pem.
      # Of this password, write each \ twice, a blank at its beginning as `\ `, and what is not ASCII as \uXXXX:
      datasource.password=<see: xnat-provision vault show application 'it'\''s $(id) `id` \ odd/xnat.toml'>
      psql 'host=10.0.0.11 port=5000 dbname=xnat user=xnat target_session_attrs=read-write sslmode=verify-full sslrootcert='\''it\'\''s $(id) `id` \\ odd/xnat.ca.pem'\'''
    HAProxy statistics: https://10.0.0.11:7000/stats (user stats, password: xnat-provision vault show statistics 'it'\''s $(id) `id` \ odd/xnat.toml')
    ");
}

#[test]
fn a_password_is_escaped_where_java_reads_it_otherwise() {
    let of = |text: &str| Notation::of(&Secret::new(text));
    for plain in ["simple", "a blank at the end ", "= : # ! { $ '"] {
        assert_eq!(of(plain), Notation::AsItIs, "{plain}");
    }
    for special in [" first", r"a\b", r"last\", "ü"] {
        assert_eq!(of(special), Notation::Escaped, "{special}");
    }
}
