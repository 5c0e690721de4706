//! The clock is set, which takes a machine that has one of its own, and so has a real watchdog.

use std::time::SystemTime;

use super::{dangerous, drills};
use crate::site::Site;

/// Nothing fails over, nobody starts a second PostgreSQL over the first, and the machine's watchdog has no reason to bark.
#[test]
fn a_clock_that_is_set_costs_neither_the_leader_nor_a_row_on_debian_13() {
    let site = Site::new("drillclock", (&["--hosts", "4", "--suite", "trixie", "--machine", "db1"], "root"));
    // an emulated processor has enough to do, and takes its time: a Patroni that begins anew is not to lose its lease by that
    site.append("[tls]\nenabled = false\n[patroni]\nttl = 120");
    site.run(&["apply", "--yes"]).expect(0);
    assert_eq!(site.leader(), "db1");
    let first = site.lab.ssh("db1", "head -n 1 /var/lib/postgresql/17/*/postmaster.pid").expect(0).stdout;
    for fault in ["clock-back", "clock-ahead"] {
        let before = steps(&site);
        let done = drills(&site.run(&[&dangerous(&site, fault)[..], &["--json"]].concat()).expect(0));
        let figures = &done[0]["runs"][0]["figures"];
        assert_eq!((figures["lost"].as_u64(), figures["two_writable"].as_u64()), (Some(0), Some(0)), "{figures}");
        assert_eq!(figures["leader_after"].as_str(), Some("db1"), "{figures}");
        println!("{fault}: {figures}");
        assert_eq!(steps(&site), before + 2, "{fault}: when it was set, and when it was set right");
    }
    site.lab.ssh("db1", "journalctl -u patroni | grep 'timer activated' && ! ls /run/xnat-drill-clock").expect(0);
    site.lab.ssh("db1", "! journalctl -u patroni | grep 'is not postmaster'").expect(0);
    let earlier = now();
    let told = site.lab.ssh("db1", "head -n 1 /var/lib/postgresql/17/*/postmaster.pid; date +%s").expect(0).stdout;
    let (pid, clock) = told.split_once('\n').expect("two lines");
    assert_eq!(pid, first.trim(), "PostgreSQL was not restarted");
    let clock: u64 = clock.trim().parse().expect("a number");
    assert!((earlier - 3..=now() + 3).contains(&clock), "the clock is right again: {clock}, here {earlier}");
    the_machine_has_a_switch(&site);
}

/// How often the unit has seen the clock being set.
fn steps(site: &Site) -> u32 {
    let said =
        site.lab.ssh("db1", "journalctl -u xnat-liveness | grep -c 'the clock was set' || true").expect(0).stdout;
    said.trim().parse().expect("a number")
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("it is later").as_secs()
}

fn the_machine_has_a_switch(site: &Site) {
    site.lab.command(&["fault", "db1", "stop"]).expect(0);
    let status = site.run(&["status"]);
    assert_ne!(status.status, 0, "db1 is missed: {}", status.stdout);
    site.lab.command(&["fault", "db1", "start"]).expect(0);
    assert_ne!(site.leader(), "db1", "another member leads by now");
    site.run(&["plan"]).expect(0);
}
