//! Every fault, and those one fears most several times: what the README says was measured. `make drills` does it, no
//! other run: it takes the better part of an hour, and wants this machine for itself.

use serde_json::Value;

use super::disk::own_disk;
use super::{dangerous, drills, with_switch};
use crate::site::Site;

const MAIN: [&str; 4] = ["switchover", "kill-both", "stop-postgres", "power-off"];
const RUNS: &str = "5";

#[test]
fn every_fault_in_asynchronous_mode_with_default_timings_on_debian_13() {
    every_fault("drillasync", "[patroni]\nsynchronous = \"off\"");
}

#[test]
fn every_fault_in_synchronous_mode_with_fast_timings_on_debian_13() {
    every_fault("drillsync", "[patroni]\npreset = \"fast\"\nsynchronous = \"on\"");
}

#[test]
fn without_failsafe_mode_a_lost_quorum_stops_writes_until_it_is_back_on_debian_13() {
    let site = made("drillquorum", "[patroni]\nfailsafe_mode = false");
    let done = drills(&site.run(&[&dangerous(&site, "etcd-quorum")[..], &["--json"]].concat()).expect(0));
    told(&done, "failsafe off");
    assert!(done[0]["runs"][0]["figures"]["write_gap"].as_u64() > Some(5000), "nobody leads without a lock");
}

fn made(name: &str, setting: &str) -> Site {
    let site = Site::new(name, (&["--hosts", "4", "--suite", "trixie"], "root"));
    site.append(setting);
    site.run(&["apply", "--yes"]).expect(0);
    site
}

fn every_fault(name: &str, setting: &str) {
    let site = made(name, setting);
    let document = |words: &[&str]| drills(&with_switch(&site, &[words, &["--json"]].concat()).expect(0));
    told(&document(&dangerous(&site, "all")), name);
    for fault in MAIN {
        told(&document(&[&dangerous(&site, fault)[..], &["--runs", RUNS]].concat()), name);
    }
    for host in site.hosts("postgres") {
        own_disk(&site, &host);
        site.leader();
    }
    told(&document(&dangerous(&site, "disk-full")), name);
    site.run(&["plan"]).expect(0);
}

/// A line of the README's table for each, and what has to hold of all.
fn told(done: &[Value], name: &str) {
    for drill in done {
        let runs = drill["runs"].as_array().expect("runs");
        let all = |figure: &str| {
            let each = runs.iter().map(|run| run["figures"][figure].to_string());
            each.collect::<Vec<_>>().join(" ")
        };
        let figures =
            ["write_gap", "connect_gap", "read_gap", "detected", "promoted", "switched", "rejoined", "healed", "lost"];
        let line: Vec<String> = figures.iter().map(|figure| format!("{figure} {}", all(figure))).collect();
        println!("{name} | {} | {}", drill["drill"].as_str().unwrap_or_default(), line.join(" | "));
        let sum = |figure: &str| runs.iter().filter_map(|run| run["figures"][figure].as_u64()).sum::<u64>();
        assert_eq!(sum("two_writable"), 0, "{drill}");
        let safe = drill["setting"]["synchronous"].as_bool() == Some(true);
        assert!(!safe || sum("lost") == 0, "{drill}");
    }
}
