//! Faults on purpose: what is measured, what it says, and what is left when a drill is interrupted or killed.

mod clock;
mod disk;
mod every;
mod schedule;

use std::io::{BufRead, BufReader};
use std::process::Child;

use serde_json::Value;

use crate::browser;
use crate::harness::Ran;
use crate::site::Site;

const FAULT: [&str; 4] = ["--confirm", "NAME", "--reason", "end-to-end test"];
/// A test is no measurement: how long it takes here says more of this machine than of the cluster.
const AT_LEISURE: [&str; 2] = ["--budget-write-gap", "300s"];

/// A drill that is not for a cluster in use.
fn dangerous<'a>(site: &'a Site, name: &'a str) -> Vec<&'a str> {
    let words = FAULT.map(|word| if word == "NAME" { site.lab.name() } else { word });
    [&["drill", name][..], &words, &AT_LEISURE].concat()
}

#[test]
fn drills_measure_what_clients_notice_and_leave_nothing_behind_on_debian_13() {
    let site = Site::new("drill13", (&["--hosts", "4", "--suite", "trixie"], "root"));
    site.run(&["apply", "--yes"]).expect(0);
    what_is_not_safe_wants_a_reason_and_the_name(&site);
    safe_drills_pass_and_are_kept(&site);
    a_clock_of_a_container_is_left_alone(&site);
    etcd_is_led_from_another_machine(&site);
    a_lost_leader_is_replaced(&site);
    what_hangs_comes_back(&site);
    budgets_decide(&site);
    an_interrupted_drill_undoes_its_fault(&site);
    a_killed_drill_is_ended_by_the_next(&site);
    disk::a_full_disk_costs_nothing_that_was_acknowledged(&site);
    schedule::a_scheduled_drill_is_done_and_one_that_fails_is_seen(&site);
    let left = site.lab.ssh("db1", "sudo -u postgres psql -XAtc \"SELECT datname FROM pg_database\"").expect(0).stdout;
    assert!(!left.contains("drill"), "its database is gone: {left}");
    site.run(&["plan"]).expect(0);
}

fn what_is_not_safe_wants_a_reason_and_the_name(site: &Site) {
    let refused = site.run(&["drill", "power-off", "--yes"]).expect(2);
    assert!(refused.stderr.contains("wants a reason"), "{}", refused.stderr);
    let refused = site.run(&["drill", "power-off", "--reason", "x", "--confirm", "other"]).expect(2);
    assert!(refused.stderr.contains("is not called"), "{}", refused.stderr);
    site.run(&["drill", "all", "--reason", "x", "--yes"]).expect(2);
}

/// One document for all of them.
fn drills(ran: &Ran) -> Vec<Value> {
    serde_json::from_str(&ran.stdout).expect("drill --json prints JSON")
}

fn safe_drills_pass_and_are_kept(site: &Site) {
    let words = [&["drill", "all", "--safe", "--yes", "--json"][..], &AT_LEISURE].concat();
    let done = drills(&site.run(&words).expect(0));
    let names: Vec<&str> = done.iter().filter_map(|drill| drill["drill"].as_str()).collect();
    assert_eq!(names, ["switchover", "replica", "haproxy", "etcd-leader", "kill-patroni"]);
    for drill in &done {
        let figures = &drill["runs"][0]["figures"];
        assert!(figures["acknowledged"].as_u64() > Some(100), "clients wrote: {figures}");
        assert_eq!((figures["lost"].as_u64(), figures["two_writable"].as_u64()), (Some(0), Some(0)));
        println!("{}: {figures}", drill["drill"]);
    }
    let history = site.run(&["drill", "history"]).expect(0).stdout;
    assert_eq!(history.lines().count(), 6, "{history}");
    let kept = site.state().join("xnat-provision").join(site.lab.name()).join("drills");
    let pages = std::fs::read_dir(kept).expect("reports").flatten().map(|entry| entry.path());
    let pages: Vec<_> = pages.filter(|path| path.extension().is_some_and(|it| it == "html")).collect();
    assert_eq!(pages.len(), 5);
    browser::look_at(&pages[0], "drill");
}

/// Where the lab is known, whose hosts have a switch.
fn with_switch(site: &Site, words: &[&str]) -> Ran {
    let directory = site.lab.directory();
    let state = directory.ancestors().nth(3).expect("it is in a state directory");
    let ran = site.run_with(("XDG_STATE_HOME", &state.to_string_lossy()), words);
    let own = state.join("xnat-provision").join(site.lab.name());
    std::fs::remove_dir_all(own).expect("what the drill has kept there");
    ran
}

fn a_clock_of_a_container_is_left_alone(site: &Site) {
    let refused = site.run(&dangerous(site, "clock-back")).expect(4);
    assert!(refused.stderr.contains("whose clock is that of the machine it runs on"), "{}", refused.stderr);
}

/// The host that leads etcd gets to lead PostgreSQL, and hands the other one over.
fn etcd_is_led_from_another_machine(site: &Site) {
    let leads_etcd = || {
        let said = site.run(&["status"]).expect(0).stdout;
        let (_, members) = said.split_once("\netcd\n").expect("it tells of etcd");
        let leader = members.lines().find(|line| line.split_whitespace().nth(1) == Some("leader"));
        leader.and_then(|line| line.split_whitespace().next()).expect("somebody leads it").to_owned()
    };
    let both = leads_etcd();
    if site.leader() != both {
        site.run(&["switchover", "--to", &both, "--yes"]).expect(0);
    }
    let begun = std::time::Instant::now();
    while leads_etcd() == both {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{both} leads etcd and PostgreSQL");
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    assert_eq!(site.leader(), both, "nothing else has come of it");
}

fn a_lost_leader_is_replaced(site: &Site) {
    let before = site.leader();
    let refused = site.run(&dangerous(site, "power-off")).expect(4);
    assert!(refused.stderr.contains("have a switch"), "{}", refused.stderr);
    // as on real machines: this state directory knows of no lab
    let mut drill = site.spawn(&[&dangerous(site, "power-off")[..], &["--by-hand", "--json"]].concat());
    said(&mut drill, "ON NOW");
    site.lab.command(&["fault", &before, "start"]).expect(0);
    let rest = Ran::of(drill.wait_with_output().expect("it ends"));
    let done = drills(&rest.expect(0));
    let figures = &done[0]["runs"][0]["figures"];
    assert_eq!(figures["leader_before"].as_str(), Some(before.as_str()));
    assert_ne!(figures["leader_after"].as_str(), Some(before.as_str()));
    println!("power-off: {figures}");
}

/// Nobody fails over, and nobody takes writes but the leader.
fn what_hangs_comes_back(site: &Site) {
    for fault in ["stop-patroni", "stop-postgres"] {
        let done = drills(&site.run(&[&dangerous(site, fault)[..], &["--json"]].concat()).expect(0));
        let figures = &done[0]["runs"][0]["figures"];
        assert_eq!(figures["leader_after"], figures["leader_before"], "{fault}: {figures}");
        println!("{fault}: {figures}");
    }
}

fn budgets_decide(site: &Site) {
    let failed = site.run(&["drill", "switchover", "--yes", "--budget-write-gap", "10ms"]).expect(4).stdout;
    assert!(failed.starts_with("FAILED: switchover") && failed.contains("(the budget)"), "{failed}");
}

/// Until the drill says so.
fn said(drill: &mut Child, what: &str) {
    let talk = BufReader::new(drill.stderr.as_mut().expect("it is piped"));
    assert!(talk.lines().map_while(Result::ok).any(|line| line.contains(what)), "it ended without {what:?}");
}

fn an_interrupted_drill_undoes_its_fault(site: &Site) {
    let leader = site.leader();
    let mut drill = site.spawn(&dangerous(site, "cut-from-haproxy"));
    said(&mut drill, "sends writes to nobody");
    let pid = rustix::process::Pid::from_child(&drill);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    said(&mut drill, "is undone");
    assert_eq!(drill.wait().expect("it ends").code(), Some(130));
    site.lab.ssh(&leader, "! nft list table inet xnat_drill && ! systemctl is-active xnat-drill-undo.timer").expect(0);
    assert_eq!(site.leader(), leader, "all is well again");
}

fn a_killed_drill_is_ended_by_the_next(site: &Site) {
    let leader = site.leader();
    let mut drill = site.spawn(&dangerous(site, "cut-from-haproxy"));
    said(&mut drill, "sends writes to nobody");
    drill.kill().expect("it runs");
    drill.wait().expect("it was started here");
    site.lab.ssh(&leader, "nft list table inet xnat_drill && systemctl is-active xnat-drill-undo.timer").expect(0);
    let said = site.run(&["doctor", "--json"]).stdout;
    let causes: Value = serde_json::from_str(&said).expect("doctor --json prints JSON");
    let ids = causes["findings"].as_array().expect("findings").iter().filter_map(|finding| finding["id"].as_str());
    assert_eq!(ids.collect::<Vec<_>>(), ["drill"], "it is the cause of all there is: {said}");
    let next = site.run(&["drill", "haproxy", "--yes"]).expect(0);
    assert!(next.stderr.contains("which a drill that was cut off had left"), "{}", next.stderr);
    site.lab.ssh(&leader, "! nft list table inet xnat_drill && ! systemctl is-active xnat-drill-undo.timer").expect(0);
}
