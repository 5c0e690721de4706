//! What a failover may lose, and what everybody is told of maintenance mode.

use xnat_provision::cluster::maintenance::{self, Note};
use xnat_provision::cluster::safety::failover::{is_needless, risk};
use xnat_provision::cluster::{Answer, ClusterView, assess, patroni};

use super::played::inventory;
use super::restarts::view;

fn told(view: &ClusterView, host: &str) -> String {
    risk(view, &inventory(), &host.into()).unwrap_or_else(|refused| format!("refused: {refused}"))
}

#[tokio::test]
async fn a_failover_says_what_it_may_lose() {
    let healthy = view("trixie-healthy").await;
    assert!(is_needless(&healthy, &inventory(), &"db1".into()), "the leader can hand over");
    assert_eq!(told(&healthy, "db2"), "refused: db2 leads already");
    assert_eq!(told(&healthy, "lb1"), "refused: lb1 is no PostgreSQL host of the inventory");
    let mut behind = healthy.clone();
    let Answer::Known(leader) = &mut behind.members[1].server else { panic!("recorded") };
    leader.standbys.iter_mut().for_each(|standby| standby.lag = Some(5_000_000));
    assert!(!is_needless(&behind, &inventory(), &"db1".into()), "too far behind for a hand-over");
    let lost = "db1 is 5000000 bytes behind the leader db2: that, and what it writes until then, is lost.";
    assert_eq!(told(&behind, "db1"), lost);
    behind.members[0].listed.as_mut().expect("listed").role = patroni::Role::SyncStandby;
    assert_eq!(told(&behind, "db1"), "db1 is a synchronous standby: what was acknowledged is there.");
    behind.members[0].server = Answer::Down("refused".to_owned());
    assert_eq!(told(&behind, "db1"), "refused: PostgreSQL on db1 does not answer");
}

#[tokio::test]
async fn without_a_leader_the_replica_that_has_more_is_named() {
    let mut gone = view("trixie-healthy").await;
    gone.members[1].server = Answer::Unknown("no connection".to_owned());
    for (member, position) in [(0, 1000), (2, 1500)] {
        let Answer::Known(server) = &mut gone.members[member].server else { panic!("recorded") };
        server.position = Some(position);
    }
    let seen = "was not behind when the leader was last seen: what was written after that is lost.";
    assert_eq!(told(&gone, "db1"), format!("db1 {seen} db3 has received 500 bytes more than db1."));
    assert_eq!(told(&gone, "db3"), format!("db3 {seen}"));
}

#[tokio::test]
async fn everybody_is_reminded_why_the_cluster_is_in_maintenance_mode() {
    let mut paused = view("trixie-paused").await;
    let since = "2026-11-24T17:30:00Z".parse().expect("a time");
    let note = Note { reason: "new memory".to_owned(), who: "anna@desk".to_owned(), since };
    let Answer::Known(config) = &mut paused.config else { panic!("recorded") };
    let begun = note.begun();
    for (key, value) in begun.as_object().expect("an object") {
        config[key] = value.clone();
    }
    assert_eq!(Note::of(&paused), Some(note));
    let said: Vec<String> = assess(&paused, &inventory()).problems.into_iter().map(|problem| problem.text).collect();
    let reminder = "maintenance mode since 2026-11-24 17:30Z by anna@desk: new memory; nothing fails over";
    assert!(said.iter().any(|text| text == reminder), "{said:?}");
    paused.paused = Answer::Known(false);
    assert_eq!(Note::of(&paused), None, "left behind by patronictl resume");
}

/// Whoever sees `(problem, help)` of the cluster.
fn said(view: &ClusterView) -> Vec<(String, String)> {
    assess(view, &inventory()).problems.into_iter().map(|problem| (problem.text, problem.help)).collect()
}

#[tokio::test]
async fn everybody_is_reminded_of_a_member_in_maintenance() {
    let mut spared = view("trixie-healthy").await;
    let since = "2026-11-24T17:30:00Z".parse().expect("a time");
    let note = Note { reason: "new \"disk\"".to_owned(), who: "anna@desk".to_owned(), since };
    let file = maintenance::member_file(&note);
    let written: serde_json::Value = serde_json::from_str(file.lines().nth(1).expect("two lines")).expect("JSON");
    for (key, value) in written["tags"].as_object().expect("tags") {
        spared.members[0].listed.as_mut().expect("listed").tags.insert(key.clone(), value.clone());
    }
    let text = "db1 is in maintenance since 2026-11-24 17:30Z by anna@desk: new \"disk\"; no reader is sent to it and nobody fails over to it";
    let help = "when the work is done: `xnat-provision maintenance db1 off inventory.toml`";
    assert_eq!(said(&spared), [(text.to_owned(), help.to_owned())]);
    assert_eq!(told(&spared, "db1"), "refused: db1 is not to lead: see its tags nofailover and failover_priority");
}

#[tokio::test]
async fn a_server_that_haproxy_was_told_to_hold_back_is_seen() {
    let mut drained = view("trixie-healthy").await;
    let Answer::Known(servers) = &mut drained.haproxy[0].answer else { panic!("recorded") };
    let server = servers.iter_mut().find(|server| server.section == "replicas" && server.name == "db1");
    let server = server.expect("a replica");
    (server.status, server.up) = ("DRAIN".to_owned(), false);
    let text = "HAProxy on lb1 sends no clients to db1 (replicas): it was told so (DRAIN)";
    assert_eq!(said(&drained), [(text.to_owned(), "run `xnat-provision apply inventory.toml`".to_owned())]);
}
