use super::*;
use crate::cluster::haproxy::Server;
use crate::cluster::patroni::{Listed, Role};
use crate::cluster::view::Member;

fn member(host: &str, role: Role, state: &str, timeline: u64) -> Member {
    let listed = Listed {
        name: host.into(),
        role,
        state: state.to_owned(),
        api_url: None,
        timeline: Some(timeline),
        lag: None,
        pending_restart: false,
        pending_restart_reason: BTreeMap::new(),
        tags: BTreeMap::new(),
    };
    let unasked = || "not asked".to_owned();
    Member {
        host: host.into(),
        in_inventory: true,
        listed: Some(listed),
        patroni: Answer::Unknown(unasked()),
        server: Answer::Unknown(unasked()),
    }
}

fn etcd(host: &str, leader: &str, term: u64) -> Seen<etcd::Member> {
    let member = etcd::Member {
        id: host.to_owned(),
        cluster_id: String::new(),
        leader: Some(leader.to_owned()),
        tls: true,
        plain: false,
        healthy: true,
        learner: false,
        version: String::new(),
        db_size: 0,
        db_size_in_use: None,
        raft_index: 0,
        raft_term: term,
        alarms: Vec::new(),
        membership: Vec::new(),
    };
    Seen { host: host.into(), answer: Answer::Known(member) }
}

fn balancer(leader: &str) -> Seen<Vec<Server>> {
    let server = |name: &str| Server {
        section: PRIMARY.to_owned(),
        name: name.to_owned(),
        either_way: false,
        up: name == leader,
        status: String::new(),
        check: String::new(),
        code: None,
        sessions: 0,
        since: None,
    };
    Seen { host: "lb1".into(), answer: Answer::Known(["db1", "db2"].map(server).to_vec()) }
}

/// db1 leads everything, db2 follows.
fn calm() -> ClusterView {
    let unasked = || "not asked".to_owned();
    ClusterView {
        cluster: "xnat".to_owned(),
        unreachable: BTreeMap::new(),
        etcd: vec![etcd("db1", "db1", 4), etcd("db2", "db1", 4)],
        initialized: Answer::Unknown(unasked()),
        paused: Answer::Known(false),
        config: Answer::Unknown(unasked()),
        members: vec![member("db1", Role::Leader, "running", 4), member("db2", Role::Replica, "streaming", 4)],
        haproxy: vec![balancer("db1")],
        strangers: std::collections::BTreeSet::new(),
        certificates: Vec::new(),
        authorities: Vec::new(),
    }
}

fn listed<'a>(view: &'a mut ClusterView, host: &str) -> &'a mut Listed {
    let member = view.members.iter_mut().find(|member| member.host.as_str() == host);
    member.and_then(|member| member.listed.as_mut()).expect("it is listed")
}

/// What is told when the calm cluster becomes this one, and when it becomes calm again.
#[track_caller]
fn told(change: impl Fn(&mut ClusterView), there: &[&str], back: &[&str]) {
    let (before, mut after) = (calm(), calm());
    change(&mut after);
    let texts = |changes: Vec<Change>| changes.into_iter().map(|change| change.text).collect::<Vec<_>>();
    assert_eq!(texts(changes(&before, &after)), there);
    assert_eq!(texts(changes(&after, &before)), back);
}

#[test]
fn nothing_happened() {
    told(|_| {}, &[], &[]);
    // a replica's lag and etcd's index are no events
    told(|view| listed(view, "db2").lag = Some(crate::cluster::patroni::Lag::Bytes(4096)), &[], &[]);
}

#[test]
fn a_failover() {
    told(
        |view| {
            view.members = vec![member("db1", Role::Replica, "stopped", 4), member("db2", Role::Leader, "running", 5)];
            view.haproxy = vec![balancer("")];
        },
        &["db2 became leader (timeline 5)", "db1 is stopped", "HAProxy on lb1 sends writes nowhere"],
        &["db1 became leader (timeline 4)", "db1 is running", "db2 streams", "HAProxy on lb1 sends writes to db1"],
    );
    told(
        |view| listed(view, "db1").role = Role::Replica,
        &["db1 is not leader any more, and nobody is"],
        &["db1 became leader (timeline 4)"],
    );
}

#[test]
fn a_replica_stops_and_streams_again() {
    told(
        |view| listed(view, "db2").state = "in archive recovery".to_owned(),
        &["db2 stopped streaming: in archive recovery"],
        &["db2 streams"],
    );
    told(|view| view.members[1].listed = None, &["db2 is no member any more"], &["db2 is a member (replica)"]);
}

#[test]
fn hosts_and_services_come_and_go() {
    told(
        |view| _ = view.unreachable.insert("db2".into(), "no answer within 10 s".to_owned()),
        &["db2 cannot be reached: no answer within 10 s"],
        &["db2 is reached again"],
    );
    let refused = || "nothing listens on port 2379 of db2".to_owned();
    told(
        |view| view.etcd[1].answer = Answer::Down(refused()),
        &["etcd on db2 is down: nothing listens on port 2379 of db2"],
        &["etcd on db2 is up"],
    );
    // what is not known is no change
    told(|view| view.etcd[1].answer = Answer::Unknown(refused()), &[], &[]);
    told(|view| view.haproxy[0].answer = Answer::Unknown(refused()), &[], &[]);
    told(|view| view.paused = Answer::Unknown(refused()), &[], &[]);
}

#[test]
fn etcd_has_another_leader_or_an_alarm() {
    told(
        |view| view.etcd = vec![etcd("db1", "db1", 4), etcd("db2", "db2", 5)],
        &["db2 leads etcd (term 5)"],
        &["db1 leads etcd (term 4)"],
    );
    told(
        |view| view.etcd = vec![etcd("db1", "", 5), etcd("db2", "", 5)],
        &["db1 does not lead etcd any more, and nobody does"],
        &["db1 leads etcd (term 4)"],
    );
    told(
        |view| {
            let Answer::Known(member) = &mut view.etcd[0].answer else { unreachable!() };
            member.alarms.push("NOSPACE".to_owned());
            member.healthy = false;
        },
        &["etcd on db1 is not healthy", "etcd on db1 complains: NOSPACE"],
        &["etcd on db1 is healthy again", "etcd on db1 does not complain any more: NOSPACE"],
    );
}

#[test]
fn what_people_do() {
    told(
        |view| view.paused = Answer::Known(true),
        &["maintenance mode began: nothing fails over"],
        &["maintenance mode ended"],
    );
    told(
        |view| {
            let db2 = listed(view, "db2");
            db2.pending_restart = true;
            db2.tags.insert("nofailover".to_owned(), true.into());
        },
        &["PostgreSQL on db2 waits for a restart", "db2 has the tags nofailover=true"],
        &["PostgreSQL on db2 has no restart pending any more", "db2 has no tags any more"],
    );
}
