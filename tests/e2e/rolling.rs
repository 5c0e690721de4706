//! Changes that restart etcd and PostgreSQL while a client writes: nothing that was acknowledged is lost, and nobody waits
//! longer than a hand-over takes.

use std::time::Duration;

use crate::site::{Site, leader_of};
use crate::verbs;
use crate::writer::Writer;

/// A planned hand-over, seen by a client: some seconds, also on a slow machine.
const HANDOVER: Duration = Duration::from_secs(10);

#[test]
fn members_are_restarted_in_turn_on_debian_13() {
    let site = Site::new("roll13", (&["--hosts", "4", "--suite", "trixie"], "root"));
    site.run(&["apply", "--yes"]).expect(0);
    etcd_is_restarted_under_a_running_database(&site);
    postgresql_is_restarted_with_one_hand_over(&site);
    killed_between_two_members_the_next_run_goes_on(&site);
    raised_limits_begin_with_the_replicas_and_lowered_ones_with_the_leader(&site);
    waiting_parameters_are_put_into_effect(&site);
    refused_while_it_is_not_safe(&site);
}

#[test]
fn members_are_restarted_in_turn_on_debian_12() {
    let site = Site::new("roll12", (&["--hosts", "3", "--suite", "bookworm"], "admin"));
    site.run(&["apply", "--yes"]).expect(0);
    etcd_is_restarted_under_a_running_database(&site);
    postgresql_is_restarted_with_one_hand_over(&site);
    raised_limits_begin_with_the_replicas_and_lowered_ones_with_the_leader(&site);
}

#[test]
fn a_cluster_does_what_it_is_asked_to_on_debian_13() {
    does_what_it_is_asked_to(&Site::new("verbs13", (&["--hosts", "4", "--suite", "trixie"], "root")));
}

#[test]
fn a_cluster_does_what_it_is_asked_to_on_debian_12() {
    does_what_it_is_asked_to(&Site::new("verbs12", (&["--hosts", "3", "--suite", "bookworm"], "admin")));
}

fn does_what_it_is_asked_to(site: &Site) {
    site.run(&["apply", "--yes"]).expect(0);
    the_leader_hands_over_when_asked(site);
    verbs::all(site);
}

#[test]
fn a_single_member_is_restarted_and_the_plan_says_what_that_means() {
    let site = Site::new("roll1", (&["--hosts", "1", "--suite", "trixie"], "root"));
    site.run(&["apply", "--yes"]).expect(0);
    another_heartbeat(&site, "150ms");
    patroni_drop_in(&site);
    let planned = site.run(&["plan"]).expect(5);
    for word in ["restart etcd on db1: there is no other member", "nobody can read or write until it is back"] {
        assert!(planned.stdout.contains(word), "the plan does not say {word:?}:\n{}", planned.stdout);
    }
    let before = (started(&site, "db1", "etcd"), started(&site, "db1", "patroni"));
    site.run(&["apply", "--yes"]).expect(0);
    let after = (started(&site, "db1", "etcd"), started(&site, "db1", "patroni"));
    assert!(before.0 != after.0 && before.1 != after.1, "both were restarted: {before:?}, {after:?}");
    site.run(&["plan"]).expect(0);
}

/// When a unit was started last, in microseconds since the host booted.
fn started(site: &Site, host: &str, unit: &str) -> String {
    let show = format!("systemctl show -P ExecMainStartTimestampMonotonic {unit}");
    site.lab.ssh(host, &show).expect(0).stdout.trim().to_owned()
}

fn all_started(site: &Site, unit: &str) -> Vec<String> {
    site.hosts("postgres").iter().map(|host| started(site, host, unit)).collect()
}

fn another_heartbeat(site: &Site, interval: &str) {
    site.append(&format!("[etcd]\nheartbeat_interval = \"{interval}\""));
}

/// The site's own version of the drop-in, which only a restart takes up.
fn patroni_drop_in(site: &Site) {
    let directory = site.file("assets/templates/patroni");
    std::fs::create_dir_all(&directory).expect("made");
    let built_in = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/patroni/xnat.conf.j2");
    let text = std::fs::read_to_string(built_in).expect("readable");
    std::fs::write(directory.join("xnat.conf.j2"), format!("{text}Environment=SITE=ours\n")).expect("written");
    if !site.read().contains("assets = ") {
        site.write(&format!("assets = \"assets\"\n{}", site.read()));
    }
}

fn timeline(site: &Site) -> u64 {
    let port = site.number("/inventory/haproxy/primary_port");
    let sql = "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int";
    let shown = site.psql(port, sql).expect(0).stdout;
    shown.trim().parse().expect("a number")
}

fn etcd_is_restarted_under_a_running_database(site: &Site) {
    another_heartbeat(site, "150ms");
    let planned = site.run(&["plan"]).expect(5);
    assert!(planned.stdout.contains("one at a time, each when the others are healthy"), "{}", planned.stdout);
    let (before, databases) = (all_started(site, "etcd"), all_started(site, "patroni"));
    let writer = Writer::start(site, "db1");
    site.run(&["apply", "--yes"]).expect(0);
    let ledger = writer.stop();
    let after = all_started(site, "etcd");
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{before:?}, {after:?}");
    assert_eq!(databases, all_started(site, "patroni"), "the database was left alone");
    assert_eq!(ledger.lost(site), Vec::<u64>::new());
    assert!(ledger.longest_pause() < Duration::from_secs(3), "nobody wrote for {:?}", ledger.longest_pause());
    site.run(&["plan"]).expect(0);
}

fn postgresql_is_restarted_with_one_hand_over(site: &Site) {
    patroni_drop_in(site);
    let planned = site.run(&["plan"]).expect(5);
    assert!(planned.stdout.contains("hand over from the leader"), "{}", planned.stdout);
    let (before, timeline_before) = (all_started(site, "patroni"), timeline(site));
    let refused = site.run(&["apply", "--yes", "--max-write-pause", "2s"]).expect(4);
    assert!(refused.stderr.contains("writes would pause for longer than 2 s"), "{}", refused.stderr);
    let writer = Writer::start(site, "db1");
    let applied = site.run(&["apply", "--yes"]).expect(0);
    let ledger = writer.stop();
    let after = all_started(site, "patroni");
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{before:?}, {after:?}");
    assert_eq!(ledger.lost(site), Vec::<u64>::new());
    assert!(ledger.longest_pause() < HANDOVER, "nobody wrote for {:?}", ledger.longest_pause());
    assert_eq!(timeline(site), timeline_before + 1, "one hand-over");
    assert!(applied.stdout.contains("nobody could write for"), "{}", applied.stdout);
    site.run(&["plan"]).expect(0);
    println!("{} rows, longest pause {:?}; {}", ledger.count(), ledger.longest_pause(), applied.stdout);
}

/// What was restarted before the kill is not restarted again.
fn killed_between_two_members_the_next_run_goes_on(site: &Site) {
    site.write(&site.read().replace("150ms", "120ms"));
    let before = all_started(site, "etcd");
    let mut run = site.spawn(&["apply", "--yes"]);
    let changed = |now: &[String]| before.iter().zip(now).filter(|(before, now)| before != now).count();
    // until the first one has been restarted
    let restarted = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        changed(&all_started(site, "etcd")) > 0
    });
    assert!(restarted, "no member was restarted");
    run.kill().expect("it runs");
    run.wait().expect("it was started here");
    let then = all_started(site, "etcd");
    assert!(changed(&then) < 3, "it was killed in the middle: {before:?}, {then:?}");
    site.run(&["apply", "--yes"]).expect(0);
    let after = all_started(site, "etcd");
    assert_eq!(changed(&after), 3);
    let again = before.iter().zip(&then).zip(&after).filter(|((before, then), after)| before != then && then != after);
    assert_eq!(again.count(), 0, "restarted twice: {before:?}, {then:?}, {after:?}");
    site.run(&["plan"]).expect(0);
}

/// What every member's PostgreSQL runs with.
fn limits(site: &Site) -> Vec<String> {
    let show = "cd / && runuser -u postgres -- psql -XAtc 'SHOW max_connections'";
    site.hosts("postgres").iter().map(|host| site.lab.ssh(host, show).expect(0).stdout.trim().to_owned()).collect()
}

fn nothing_waits(site: &Site) {
    let status = site.run(&["status"]).expect(0).stdout;
    assert!(!status.contains("restart pending"), "{status}");
    site.run(&["plan"]).expect(0);
}

fn raised_limits_begin_with_the_replicas_and_lowered_ones_with_the_leader(site: &Site) {
    let given = site.read();
    for (limit, hand_overs, said) in [("250", 1, "hand over from the leader"), ("150", 0, "first, since a lower limit")]
    {
        site.write(&format!("{given}\n[postgresql]\nparameters = {{ max_connections = {limit} }}\n"));
        let planned = site.run(&["plan"]).expect(5);
        assert!(planned.stdout.contains(said), "{}", planned.stdout);
        let (before, writer) = (timeline(site), Writer::start(site, "db1"));
        let applied = site.run(&["apply", "--yes"]).expect(0);
        let ledger = writer.stop();
        assert_eq!(limits(site), [limit; 3]);
        assert_eq!(timeline(site), before + hand_overs);
        assert_eq!(ledger.lost(site), Vec::<u64>::new());
        assert!(ledger.longest_pause() < HANDOVER, "nobody wrote for {:?}", ledger.longest_pause());
        assert!(applied.stdout.contains("nobody could write for"), "{}", applied.stdout);
        println!("max_connections {limit}: longest pause {:?}", ledger.longest_pause());
        nothing_waits(site);
    }
    let lowered = site.read();
    site.write(&lowered.replace("max_connections = 150", "max_connections = 160, max_wal_senders = 8"));
    let refused = site.run(&["apply", "--yes"]).expect(1);
    assert!(refused.stderr.contains("first apply those that are raised"), "{}", refused.stderr);
    site.write(&lowered);
    site.run(&["plan"]).expect(0);
}

/// As a run that was cut off leaves them, or somebody with patronictl.
fn waiting_parameters_are_put_into_effect(site: &Site) {
    site.write(&site.read().replace("max_connections = 150", "max_connections = 180"));
    let mut run = site.spawn(&["apply", "--yes"]);
    let changed = "patronictl show-config | grep -q 'max_connections: 180'";
    let came = (0..600).any(|_| site.lab.ssh("db1", changed).status == 0);
    run.kill().expect("it runs");
    run.wait().expect("it was started here");
    assert!(came, "the shared configuration was not changed");
    let planned = || site.run(&["plan"]).stdout;
    assert!((0..60).any(|_| planned().contains("have changed parameters take effect on")), "{}", planned());
    site.run(&["apply", "--yes"]).expect(0);
    assert_eq!(limits(site), ["180"; 3]);
    nothing_waits(site);
}

fn leader(site: &Site) -> String {
    leader_of(&site.run(&["status"]).expect(0))
}

fn the_leader_hands_over_when_asked(site: &Site) {
    for named in [false, true] {
        let old = leader(site);
        let to = site.hosts("postgres").into_iter().rev().find(|host| *host != old).expect("there are three");
        let (before, writer) = (timeline(site), Writer::start(site, "db1"));
        let words = ["switchover", "--yes", "--to", &to];
        let switched = site.run(&words[..if named { 4 } else { 2 }]).expect(0);
        let ledger = writer.stop();
        assert!(switched.stdout.contains(&format!("Verified: handed over from {old} to ")), "{}", switched.stdout);
        assert_eq!(timeline(site), before + 1);
        assert_eq!(ledger.lost(site), Vec::<u64>::new());
        assert!(ledger.longest_pause() < HANDOVER, "nobody wrote for {:?}", ledger.longest_pause());
        println!("switchover: longest pause {:?}", ledger.longest_pause());
        assert!(leader(site) != old && (!named || leader(site) == to), "{}", switched.stdout);
    }
    let leads = leader(site);
    let refused = site.run(&["switchover", "--yes", "--to", &leads]).expect(4);
    assert!(refused.stderr.contains("leads already"), "{}", refused.stderr);
    let refused = site.run(&["switchover", "--yes", "--to", "db9"]).expect(4);
    assert!(refused.stderr.contains("db9 is no PostgreSQL host"), "{}", refused.stderr);
    site.run(&["plan"]).expect(0);
}

fn refused_while_it_is_not_safe(site: &Site) {
    site.write(&site.read().replace("120ms", "130ms"));
    site.lab.ssh("db2", "systemctl mask --runtime --now etcd").expect(0);
    let before = all_started(site, "etcd");
    // a member this run would start is no obstacle, one it leaves out is
    let refused = site.run(&["apply", "--yes", "--limit", "db1"]).expect(4);
    assert!(refused.stderr.contains("nothing listens on port 2379 of db2"), "{}", refused.stderr);
    assert_eq!(all_started(site, "etcd"), before);
    site.lab.ssh("db2", "systemctl unmask --runtime etcd").expect(0);
    site.run(&["apply", "--yes"]).expect(0);
    let pause = "sudo -u postgres patronictl -c /etc/patroni/xnat pause --wait";
    site.lab.ssh("db1", pause).expect(0);
    let own = site.file("assets/templates/patroni/xnat.conf.j2");
    let text = std::fs::read_to_string(&own).expect("readable").replace("SITE=ours", "SITE=mine");
    std::fs::write(own, text).expect("written");
    for command in ["apply", "switchover"] {
        let refused = site.run(&[command, "--yes"]).expect(4);
        assert!(refused.stderr.contains("maintenance mode"), "{}", refused.stderr);
    }
    site.lab.ssh("db1", &pause.replace("pause", "resume")).expect(0);
    site.run(&["apply", "--yes", "--limit", "db1,db2"]).expect(0);
    let rest = site.run(&["plan"]).expect(5);
    assert!(rest.stdout.contains("db3") && !rest.stdout.contains("db1,"), "{}", rest.stdout);
    site.run(&["apply", "--yes"]).expect(0);
}
