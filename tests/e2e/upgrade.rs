//! Newer packages under a client that writes and one that reads: nothing acknowledged is lost, nobody waits longer than a
//! hand-over takes, and what is upgraded is not touched again.

use std::time::{Duration, Instant};

use crate::newer;
use crate::site::Site;
use crate::writer::Writer;

/// A planned hand-over, or a restart of HAProxy, seen by a client: some seconds, also on a slow machine.
const PAUSE: Duration = Duration::from_secs(10);

const PACKAGES: [&str; 3] = ["etcd-server", "patroni", "postgresql-17"];

#[test]
fn packages_are_upgraded_under_clients_on_debian_13() {
    let site = Site::bare("upgrade13", (&["--hosts", "4", "--suite", "trixie"], "root"));
    let older = older_haproxy(&site);
    let given = site.read();
    site.append(&format!("[packages]\npins = {{ haproxy = \"{older}\" }}"));
    site.run(&["apply", "--yes"]).expect(0);
    let nothing = site.run(&["upgrade", "--yes"]).expect(0);
    assert!(nothing.stdout.contains("Nothing to upgrade"), "a pin holds: {}", nothing.stdout);
    site.write(&given);
    for host in site.hosts("postgres") {
        newer::offer(&site, &host, &PACKAGES);
    }
    the_plan_says_what_comes_and_changes_nothing(&site);
    killed_in_the_middle_another_run_finishes_it(&site);
    the_rest_is_upgraded_with_one_hand_over(&site);
    let before = all_started(&site);
    let nothing = site.run(&["upgrade", "--yes"]).expect(0);
    assert!(nothing.stdout.contains("Nothing to upgrade"), "{}", nothing.stdout);
    assert_eq!(all_started(&site), before, "what is upgraded is left alone");
    site.run(&["plan"]).expect(0);
}

/// A version of HAProxy that the archive still has beside the newest.
fn older_haproxy(site: &Site) -> String {
    let madison = "apt-get update -qq && apt-cache madison haproxy";
    let said = site.lab.ssh("lb1", madison).expect(0).stdout;
    let mut versions = said.lines().filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned()));
    versions.next_back().expect("the archive has HAProxy")
}

/// When each service of each host was started last.
fn all_started(site: &Site) -> Vec<String> {
    let started = |host: &String, unit: &str| {
        let show = format!("systemctl show -P ExecMainStartTimestampMonotonic {unit}");
        format!("{host} {unit} {}", site.lab.ssh(host, &show).expect(0).stdout.trim())
    };
    let members = site.hosts("postgres");
    let members = members.iter().flat_map(|host| [started(host, "etcd"), started(host, "patroni")]);
    members.chain([started(&"lb1".to_owned(), "haproxy")]).collect()
}

/// All that a host has of packages, the lists it knows them from, and what is left lying about.
fn packages(site: &Site) -> Vec<String> {
    // not how many names a file has, nor how many blocks: labs share them
    let look = "dpkg -l; cd /var && find lib/apt/lists cache/apt lib/apt/periodic -printf '%p %M %u %g %s %T+\\n' | sort; ls tmp | grep xnat";
    ["db1", "db2", "db3", "lb1"].map(|host| site.lab.ssh(host, look).stdout).to_vec()
}

fn the_plan_says_what_comes_and_changes_nothing(site: &Site) {
    let before = (packages(site), all_started(site));
    let planned = site.run(&["upgrade", "--plan"]).expect(5).stdout;
    for word in ["package etcd-server: upgrade 3", "+newer1", "save etcd's data", "hand over from the leader"] {
        assert!(planned.contains(word), "the plan does not say {word:?}:\n{planned}");
    }
    assert_eq!((packages(site), all_started(site)), before, "a plan changes nothing");
    let only = site.run(&["upgrade", "--plan", "--only", "haproxy"]).expect(5).stdout;
    assert!(only.contains("package haproxy") && !only.contains("etcd"), "{only}");
}

/// The first run ends when one member is done and the package of the next has been put in, before its restart.
fn killed_in_the_middle_another_run_finishes_it(site: &Site) {
    let hosts = site.hosts("etcd");
    let mut run = site.spawn(&["upgrade", "--yes", "--only", "etcd"]);
    let unpacked = |host: &&String| site.lab.ssh(host, "dpkg -s etcd-server | grep -q newer1").status == 0;
    let begun = Instant::now();
    while hosts.iter().filter(unpacked).count() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(120), "fewer than two members were upgraded");
    }
    run.kill().expect("it runs");
    run.wait().expect("it was started here");
    let before = all_started(site);
    let (done, left): (Vec<&String>, Vec<&String>) = hosts.iter().partition(|host| runs_newer_etcd(site, host));
    assert!(!done.is_empty() && !left.is_empty(), "it was killed in the middle: {done:?}, {left:?}");
    site.run(&["upgrade", "--yes", "--only", "etcd"]).expect(0);
    let after = all_started(site);
    for line in &before {
        let due = left.iter().any(|host| line.starts_with(&format!("{host} etcd ")));
        assert_eq!(after.contains(line), !due, "what is done is not restarted again: {line}");
    }
    assert!(hosts.iter().all(|host| runs_newer_etcd(site, host)));
    let saved = "test -s /var/backups/etcd-before-upgrade.db";
    assert!(hosts.iter().all(|host| site.lab.ssh(host, saved).status == 0), "etcd's data was saved on each host");
}

/// The program that runs is the one of the newer package.
fn runs_newer_etcd(site: &Site, host: &str) -> bool {
    let look = "dpkg -s etcd-server | grep -q newer1 && readlink /proc/$(pidof etcd)/exe";
    site.lab.ssh(host, look).stdout.trim() == "/usr/bin/etcd"
}

fn the_rest_is_upgraded_with_one_hand_over(site: &Site) {
    let before = all_started(site);
    let writer = Writer::start(site, "db1");
    let reader = Writer::start_reading(site, "db2");
    let upgraded = site.run(&["upgrade", "--yes"]).expect(0);
    let (read, ledger) = (reader.stop(), writer.stop());
    assert_eq!(ledger.lost(site), Vec::<u64>::new());
    assert!(ledger.longest_pause() < PAUSE, "nobody wrote for {:?}", ledger.longest_pause());
    assert!(read.longest_pause() < PAUSE, "nobody read for {:?}", read.longest_pause());
    assert_eq!(upgraded.stdout.matches("handed over from").count(), 1, "{}", upgraded.stdout);
    let after = all_started(site);
    for line in &before {
        assert_eq!(after.contains(line), line.contains(" etcd "), "only what is upgraded is restarted: {line}");
    }
    for host in site.hosts("postgres") {
        let runs = "readlink /proc/$(head -n 1 /var/lib/postgresql/17/*/postmaster.pid)/exe";
        assert_eq!(site.lab.ssh(&host, runs).expect(0).stdout.trim(), "/usr/lib/postgresql/17/bin/postgres");
    }
    println!(
        "{} rows, longest pause {:?} to write and {:?} to read; {}",
        ledger.count(),
        ledger.longest_pause(),
        read.longest_pause(),
        upgraded.stdout
    );
}
