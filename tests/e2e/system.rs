//! Everything that is installed on the hosts, and their machines: what has loaded something newer is restarted in turn,
//! whoever has to start anew does, and clients hardly notice.

use std::time::{Duration, Instant};

use crate::newer;
use crate::site::Site;
use crate::writer::Writer;

/// A planned hand-over, or a restart of HAProxy, seen by a client: some seconds, also on a slow machine.
const PAUSE: Duration = Duration::from_secs(10);

/// HAProxy and Patroni have the library loaded, etcd has not; nobody has the time zones.
const PACKAGES: [&str; 2] = ["libssl3t64", "tzdata"];
const DUE: &str = "echo libssl3t64 >/run/reboot-required.pkgs; touch /run/reboot-required";

#[test]
fn whole_machines_are_upgraded_and_restarted_under_clients_on_debian_13() {
    let site = Site::new("system13", (&["--hosts", "4", "--suite", "trixie"], "root"));
    site.run(&["apply", "--yes"]).expect(0);
    for host in ["db1", "db2", "db3", "lb1"] {
        newer::offer(&site, host, &PACKAGES);
    }
    let leader = site.leader();
    let replicas: Vec<String> = site.hosts("postgres").into_iter().filter(|host| *host != leader).collect();
    for host in [&leader, &replicas[0]] {
        site.lab.ssh(host, DUE).expect(0);
    }
    the_plan_says_who_is_restarted(&site, &leader);
    machines_are_restarted_one_at_a_time(&site, (&leader, &replicas));
    nothing_is_left_to_do(&site);
    killed_while_a_machine_is_down_another_run_finishes_it(&site);
}

fn the_plan_says_who_is_restarted(site: &Site, leader: &str) {
    let planned = site.run(&["upgrade", "--system", "--reboot", "--plan"]).expect(5).stdout;
    for word in ["package tzdata: upgrade", "unit haproxy.service: restart: libssl3t64 upgraded", "hands over first"] {
        assert!(planned.contains(word), "the plan does not say {word:?}:\n{planned}");
    }
    assert!(planned.contains(&format!("{leader}: /run/reboot-required is there: libssl3t64")), "{planned}");
    assert!(!planned.contains("etcd.service"), "etcd has loaded nothing of it:\n{planned}");
    site.run(&["upgrade", "--system", "--reboot", "--yes", "--max-write-pause", "1s"]).expect(4);
}

/// Which of its starts a machine is in, and since when a service runs.
fn starts(site: &Site, host: &str, unit: &str) -> (String, String) {
    let look = format!(
        "cat /proc/sys/kernel/random/boot_id; systemctl show -P ExecMainStartTimestampMonotonic {unit}.service"
    );
    let said = site.lab.ssh(host, &look).expect(0).stdout;
    let (boot, since) = said.trim().split_once('\n').expect("two lines");
    (boot.to_owned(), since.to_owned())
}

fn machines_are_restarted_one_at_a_time(site: &Site, (leader, replicas): (&str, &[String])) {
    let [restarted, spared] = replicas else { panic!("two replicas") };
    let before = [leader, restarted, spared].map(|host| (starts(site, host, "patroni"), starts(site, host, "etcd")));
    let balancer = starts(site, "lb1", "haproxy");
    let (writer, reader) = (Writer::start(site, "lb1"), Writer::start_reading(site, "lb1"));
    let upgraded = site.run(&["upgrade", "--system", "--reboot", "--yes"]).expect(0);
    let (read, ledger) = (reader.stop(), writer.stop());
    println!(
        "{}\nlongest pauses: write {:?}, read {:?}",
        upgraded.stdout,
        ledger.longest_pause(),
        read.longest_pause()
    );
    assert_eq!(ledger.lost(site), Vec::<u64>::new());
    assert!(ledger.longest_pause() < PAUSE, "nobody wrote for {:?}", ledger.longest_pause());
    assert!(read.longest_pause() < PAUSE, "nobody read for {:?}", read.longest_pause());
    let after = [leader, restarted, spared].map(|host| (starts(site, host, "patroni"), starts(site, host, "etcd")));
    for (before, after) in before.iter().zip(&after).take(2) {
        assert_ne!(before.0.0, after.0.0, "the machine was restarted");
    }
    assert_eq!(before[2].1, after[2].1, "the third machine was not, nor its etcd");
    assert_ne!(before[2].0.1, after[2].0.1, "but its Patroni was, for the library");
    let balancer_after = starts(site, "lb1", "haproxy");
    assert!(balancer.0 == balancer_after.0 && balancer.1 != balancer_after.1, "only HAProxy was restarted");
}

fn nothing_is_left_to_do(site: &Site) {
    let nothing = site.run(&["upgrade", "--system", "--reboot", "--yes"]).expect(0).stdout;
    assert!(nothing.contains("Nothing to upgrade") && nothing.contains("No machine has to be restarted"), "{nothing}");
    site.run(&["plan"]).expect(0);
}

/// Readers are sent to the replica again, which the killed run has left undone.
fn killed_while_a_machine_is_down_another_run_finishes_it(site: &Site) {
    let leader = site.leader();
    let replica = site.hosts("postgres").into_iter().find(|host| *host != leader).expect("there are three");
    site.lab.ssh(&replica, DUE).expect(0);
    let (before, _) = starts(site, &replica, "patroni");
    let mut run = site.spawn(&["upgrade", "--reboot", "--yes"]);
    // nothing while it is down
    let boot = || site.lab.ssh(&replica, "cat /proc/sys/kernel/random/boot_id").stdout.trim().to_owned();
    wait_until("it goes down", || boot() != before);
    run.kill().expect("it runs");
    run.wait().expect("it was started here");
    wait_until("it comes back", || !boot().is_empty() && boot() != before);
    wait_until("its PostgreSQL is back", || site.run(&["status"]).stdout.contains("DRAIN"));
    let finished = site.run(&["upgrade", "--reboot", "--yes"]).expect(0).stdout;
    assert!(finished.contains("sends clients to"), "{finished}");
    site.run(&["plan"]).expect(0);
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what}: not within two minutes");
    }
}
