//! Two administrators on two machines, one set of hosts: one works, the other is told, and whoever lost the lock changes
//! nothing more.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::Ran;
use crate::site::Site;

/// Says when it begins and when it ends; each step is a script of its own.
const SLOW_ROLE: &str = r#"title = "Steps that take their time"
[[resource]]
command = { run = "touch /root/step1; sleep 8", unless = "test -e /root/step1", why = "first" }
[[resource]]
command = { run = "touch /root/step2", unless = "test -e /root/step2", why = "second" }
"#;

#[test]
fn one_run_at_a_time_whatever_becomes_of_it_on_debian_12() {
    one_at_a_time("lock12", "bookworm");
}

#[test]
fn one_run_at_a_time_whatever_becomes_of_it_on_debian_13() {
    one_at_a_time("lock13", "trixie");
}

fn one_at_a_time(test: &str, suite: &str) {
    let site = Site::new(test, (&["--hosts", "1", "--suite", suite], "admin"));
    two_controllers(&site);
    each_sees_the_runs_of_the_other(&site);
    a_killed_run_gives_the_lock_away(&site);
    a_run_that_was_asleep_changes_nothing_more(&site);
}

fn until(site: &Site, command: &str, seconds: u64) {
    let begun = Instant::now();
    while site.lab.ssh("db1", command).status != 0 {
        assert!(begun.elapsed() < Duration::from_secs(seconds), "not within {seconds} s: {command}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn other(site: &Site, words: &[&str]) -> Ran {
    let state = site.file("other-state");
    site.run_with(("XDG_STATE_HOME", state.to_str().expect("a text")), words)
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

fn two_controllers(site: &Site) {
    let first = site.spawn(&["apply", "--yes"]);
    until(site, "test -e /run/xnat-provision/holder", 60);
    let refused = other(site, &["apply", "--yes"]).expect(1);
    for piece in
        ["db1: another run is at work: apply of cluster", "nothing was changed", "gives the lock away after 30 s"]
    {
        assert!(refused.stderr.contains(piece), "{piece:?} is not in:\n{}", refused.stderr);
    }
    assert!(!refused.stderr.contains("change the host"), "{}", refused.stderr);
    other(site, &["plan"]).expect(5);
    Ran::of(first.wait_with_output().expect("it ends")).expect(0);
    // orderly ended, so the lock is free at once
    other(site, &["apply", "--yes"]).expect(0);
}

/// The first has made the cluster; the second changes something on its own account.
fn each_sees_the_runs_of_the_other(site: &Site) {
    let good = slow(site);
    other(site, &["apply", "--yes"]).expect(0);
    site.lab.ssh("db1", "rm /root/step1 /root/step2").expect(0);
    site.write(&good);
    let hostile = "printf '%s\\n' 'not a record' >>/var/lib/xnat-provision/history";
    site.lab.ssh("db1", hostile).expect(0);
    let words = ["history", "--hosts", "--json"];
    let (ours, theirs) = (site.run(&words).expect(0), other(site, &words).expect(0));
    for seen in [&ours, &theirs] {
        assert!(seen.stderr.contains("db1: 1 line of"), "{}", seen.stderr);
        let runs: Vec<Value> = serde_json::from_str(&seen.stdout).expect("JSON");
        let told = |own: bool| {
            let run = runs.iter().find(|run| run["hosts"][0] == "db1" && run["journal"].is_null() != own);
            let run = run.unwrap_or_else(|| panic!("own: {own}, in:\n{}", seen.stdout));
            assert_eq!((run["result"].as_str(), run["command"].as_str()), (Some("ok"), Some("apply")), "{run}");
            assert!(run["changed"].as_u64() > Some(0) && run["millis"].as_u64() > Some(0), "{run}");
            run["run"].clone()
        };
        assert_ne!(told(true), told(false));
    }
    let shown = site.run(&["history"]).expect(0).stdout;
    assert!(shown.trim_start().starts_with("Run ") && !shown.contains("cut off"), "{shown}");
    let kept = site.lab.ssh("db1", "cat /var/lib/xnat-provision/history").expect(0).stdout;
    // begun and ended, of two runs: those with nothing to do leave nothing
    assert_eq!(kept.lines().count(), 5, "{kept}");
}

fn slow(site: &Site) -> String {
    let good = site.read();
    let assets = site.file("assets");
    std::fs::create_dir_all(assets.join("roles")).expect("made");
    std::fs::write(assets.join("roles/slow.toml"), SLOW_ROLE).expect("written");
    let slow = good.replacen("roles = [", "roles = [\"slow\", ", 1);
    assert_ne!(slow, good);
    site.write(&format!("assets = \"assets\"\n{slow}"));
    good
}

fn a_killed_run_gives_the_lock_away(site: &Site) {
    let good = slow(site);
    let mut first = site.spawn(&["apply", "--yes"]);
    until(site, "test -e /root/step1", 60);
    first.kill().expect("killed");
    first.wait().expect("ended");
    // the script that is under way is waited for, and the rest is done
    other(site, &["apply", "--yes"]).expect(0);
    site.lab.ssh("db1", "test -e /root/step2 && rm /root/step1 /root/step2").expect(0);
    site.write(&good);
}

/// Stopped in mid-run, for longer than the lease: another run takes over, and the first wakes up.
fn a_run_that_was_asleep_changes_nothing_more(site: &Site) {
    let good = slow(site);
    let sleeper = site.spawn(&["apply", "--yes"]);
    until(site, "test -e /root/step1", 60);
    signal(&sleeper, "STOP");
    site.write(&good);
    until(site, "flock -n /run/xnat-provision/lock true", 60);
    other(site, &["apply", "--yes"]).expect(0);
    signal(&sleeper, "CONT");
    let ran = Ran::of(sleeper.wait_with_output().expect("it ends")).expect(1);
    assert!(ran.stderr.contains("changes nothing more"), "{}", ran.stderr);
    site.lab.ssh("db1", "test -e /root/step1 && ! test -e /root/step2").expect(0);
}
