//! The commands that work on a running cluster, while a client writes.

use std::time::Duration;

use crate::harness::Ran;
use crate::site::Site;
use crate::writer::Writer;

/// A planned hand-over, seen by a client: some seconds, also on a slow machine.
const HANDOVER: Duration = Duration::from_secs(10);

/// All of them, one after the other.
pub fn all(site: &Site) {
    reloaded_and_restarted_in_turn(site);
    a_replica_is_copied_anew(site);
    paused_for_a_reason_and_failed_over(site);
    a_leader_is_spared_and_comes_back(site);
    all_of_it_stops_and_the_same_member_leads_again(site);
    what_was_logged_is_shown_in_order(site);
    a_command_is_run_everywhere(site);
}

/// When each member's PostgreSQL was started.
fn started(site: &Site) -> Vec<String> {
    let ask = "cd / && runuser -u postgres -- psql -XAtc 'SELECT pg_postmaster_start_time()'";
    site.hosts("postgres").iter().map(|host| site.lab.ssh(host, ask).expect(0).stdout).collect()
}

fn says(ran: &Ran, words: &[&str]) {
    for word in words {
        let said = ran.stdout.contains(word) || ran.stderr.contains(word);
        assert!(said, "does not say {word:?}:\n{}\n{}", ran.stdout, ran.stderr);
    }
}

fn reloaded_and_restarted_in_turn(site: &Site) {
    let replica = site.hosts("postgres").into_iter().find(|host| *host != site.leader()).expect("a replica");
    let (before, writer) = (started(site), Writer::start(site, "db1"));
    says(&site.run(&["reload", "--yes"]).expect(0), &["reads its configuration again"]);
    assert_eq!(started(site), before);
    site.run(&["restart", "--yes", "--limit", &replica]).expect(0);
    let one = started(site);
    assert_eq!(before.iter().zip(&one).filter(|(before, now)| before != now).count(), 1);
    let leader = site.leader();
    let restarted = site.run(&["restart", "--yes"]).expect(0);
    let ledger = writer.stop();
    says(&restarted, &[&format!("handed over from {leader} to "), &format!("; {leader} was restarted as a replica")]);
    assert!(one.iter().zip(started(site)).all(|(before, now)| *before != now), "all were restarted");
    assert_eq!(ledger.lost(site), Vec::<u64>::new());
    assert!(ledger.longest_pause() < HANDOVER, "nobody wrote for {:?}", ledger.longest_pause());
    println!("restart of all: longest pause {:?}", ledger.longest_pause());
    says(&site.run(&["restart", "--yes", "--limit", "db9"]).expect(4), &["db9 is no PostgreSQL host"]);
}

fn a_replica_is_copied_anew(site: &Site) {
    let leader = site.leader();
    says(&site.run(&["reinit", "--yes", &leader]).expect(4), &[&format!("{leader} is the leader")]);
    let replica = site.hosts("postgres").into_iter().find(|host| *host != leader).expect("a replica");
    let marker = "$(runuser -u postgres -- psql -XAtc 'SHOW data_directory')/marker";
    site.lab.ssh(&replica, &format!("cd / && touch {marker}")).expect(0);
    site.run(&["reinit", "--yes", &replica]).expect(0);
    site.lab.ssh(&replica, &format!("cd / && test ! -e {marker}")).expect(0);
}

/// Nothing fails over by itself then, so that a person can be seen to do it.
fn paused_for_a_reason_and_failed_over(site: &Site) {
    says(&site.run(&["resume", "--yes"]).expect(4), &["not in maintenance mode"]);
    let leader = site.leader();
    site.run(&["pause", "--yes", "--reason", "new memory"]).expect(0);
    says(&site.run(&["status"]).expect(4), &["maintenance mode since", ": new memory; nothing fails over"]);
    says(&site.run(&["pause", "--yes", "--reason", "again"]).expect(4), &["already", "new memory"]);
    says(&site.run(&["switchover", "--yes"]).expect(4), &["maintenance mode"]);
    let to = site.hosts("postgres").into_iter().rev().find(|host| *host != leader).expect("a replica");
    // PostgreSQL is gone and nobody starts it again: the leader keeps its lock
    let kill = "kill -9 $(head -n1 $(runuser -u postgres -- psql -XAtc 'SHOW data_directory')/postmaster.pid)";
    site.lab.ssh(&leader, kill).expect(0);
    let failed_over = site.run(&["failover", "--yes", "--to", &to]);
    says(&failed_over, &["is lost", &format!("Verified: {to} leads")]);
    says(&site.run(&["resume", "--yes"]), &["maintenance mode is off"]);
    let well = (0..120).any(|_| {
        std::thread::sleep(Duration::from_millis(500));
        site.run(&["status"]).status == 0
    });
    assert!(well, "{}", site.run(&["status"]).stdout);
    assert_eq!(site.leader(), to);
    says(&site.run(&["failover", "--yes", "--to", &leader]).expect(4), &["can hand over", "switchover --to"]);
    site.run(&["plan"]).expect(0);
}

fn a_leader_is_spared_and_comes_back(site: &Site) {
    let leader = site.leader();
    let (writer, reader) = (Writer::start(site, "db1"), Writer::start_reading(site, "db1"));
    let begun = site.run(&["maintenance", "--yes", &leader, "on", "--reason", "new disk"]).expect(0);
    let (writes, reads) = (writer.stop(), reader.stop());
    says(&begun, &[&format!("handed over from {leader} to "), &format!("{leader} is in maintenance")]);
    assert_eq!(writes.lost(site), Vec::<u64>::new());
    assert!(writes.longest_pause() < HANDOVER, "nobody wrote for {:?}", writes.longest_pause());
    assert!(reads.longest_pause() < HANDOVER, "nobody read for {:?}", reads.longest_pause());
    println!("maintenance: longest pause {:?}, of reads {:?}", writes.longest_pause(), reads.longest_pause());
    says(&site.run(&["status"]).expect(4), &[&format!("{leader} is in maintenance since"), ": new disk; no reader"]);
    says(&site.run(&["switchover", "--yes", "--to", &leader]).expect(4), &["is not to lead"]);
    site.run(&["plan"]).expect(0);
    says(&site.run(&["maintenance", "--yes", &leader, "off"]).expect(0), &["may lead again"]);
    says(&site.run(&["maintenance", "--yes", &leader, "off"]).expect(4), &["is not in maintenance"]);
}

fn all_of_it_stops_and_the_same_member_leads_again(site: &Site) {
    let (leader, writer) = (site.leader(), Writer::start(site, "db1"));
    let stopped = site.run(&["stop", "--yes"]).expect(0);
    let ledger = writer.stop();
    says(&stopped, &[&format!("PostgreSQL on {leader} was shut down (control file: shut down, timeline")]);
    site.run(&["status"]).expect(4);
    let started = site.run(&["start", "--yes"]).expect(0);
    says(&started, &[&format!("{leader} led last"), "started haproxy.service on"]);
    assert_eq!(site.leader(), leader);
    assert_eq!(ledger.lost(site), Vec::<u64>::new());
    says(&site.run(&["start", "--yes"]).expect(4), &["all of it runs"]);
    site.run(&["plan"]).expect(0);
}

fn what_was_logged_is_shown_in_order(site: &Site) {
    let logged = site.run(&["logs", "--since", "10m"]).expect(0).stdout;
    for word in [" etcd: ", " patroni: ", " postgresql: "] {
        assert!(logged.contains(word), "nothing of {word:?}:\n{logged}");
    }
    let times: Vec<&str> = logged.lines().filter(|line| !line.starts_with(' ')).map(|line| &line[..24]).collect();
    assert!(times.is_sorted(), "{logged}");
    let one = site.run(&["logs", "--since", "10m", "--limit", "db1"]).expect(0).stdout;
    assert!(one.contains("Z db1 ") && !one.contains("Z db2 "), "{one}");
}

/// With another user than root it goes through sudo.
fn a_command_is_run_everywhere(site: &Site) {
    let all = site.exec(&[], &["echo \"$(id -un) on $(hostname)\"; echo aside >&2"]).expect(0);
    let lines: Vec<&str> = all.stdout.lines().collect();
    let wanted: Vec<String> = site.hosts("etcd").iter().map(|host| format!("{host} | root on {host}")).collect();
    assert!(wanted.iter().all(|line| lines.contains(&line.as_str())), "{}", all.stdout);
    says(&all, &["db1 | aside"]);
    let failed = site.exec(&["--limit", "db1,db2"], &["test \"$(hostname)\" = db1 || exit 7"]).expect(1);
    says(&failed, &["failed on db2 (status 7)"]);
    let json = site.exec(&["--json", "--limit", "db1", "--role", "postgres"], &["echo", "a  b", "it's"]).expect(0);
    let told: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(told, serde_json::json!([{"host": "db1", "status": 0, "stdout": "a  b it's\n", "stderr": ""}]));
}
