//! The cluster grows and shrinks under a client that writes: etcd's members join, a host leaves, a dead one is replaced.
//! Nothing that was acknowledged is lost.

use std::time::Duration;

use serde_json::Value;

use crate::site::{Site, leader_of};
use crate::writer::Writer;

/// A planned hand-over, seen by a client: some seconds, also on a slow machine.
const HANDOVER: Duration = Duration::from_secs(10);

#[test]
fn hosts_come_and_go_on_debian_13() {
    let site = Site::new("scale13", (&["--hosts", "5", "--suite", "trixie"], "root"));
    site.append("[firewall]\nenabled = true\n[patroni]\npreset = \"fast\"");
    for host in ["db2", "db3"] {
        change(&site, host, |entry| entry.replace("\"etcd\", ", ""));
    }
    site.run(&["apply", "--yes"]).expect(0);
    let writer = Writer::start(&site, "db1");
    cut_off_between_two_steps_a_member_joins_all_the_same(&site);
    one_that_runs_is_not_forgotten(&site);
    the_leader_leaves(&site);
    a_dead_host_is_replaced(&site);
    let ledger = writer.stop();
    assert_eq!(ledger.lost(&site), Vec::<u64>::new());
    assert!(ledger.longest_pause() < HANDOVER, "nobody wrote for {:?}", ledger.longest_pause());
    println!("{} rows, longest pause {:?}", ledger.count(), ledger.longest_pause());
}

/// Change the entry of one host in the inventory; to nothing, and it is gone.
fn change(site: &Site, host: &str, edit: impl Fn(&str) -> String) {
    let text = site.read();
    let is_its = |entry: &&str| entry.contains(&format!("name = \"{host}\"\n"));
    let mut entries: Vec<String> =
        text.split("[[host]]\n").map(|entry| if is_its(&entry) { edit(entry) } else { entry.to_owned() }).collect();
    entries.retain(|entry| !entry.is_empty());
    site.write(&entries.join("[[host]]\n"));
}

fn delete(site: &Site, host: &str) {
    change(site, host, |_| String::new());
}

/// Who votes in etcd, as a member that stays says.
fn voters(site: &Site) -> Vec<String> {
    let status: Value = serde_json::from_str(&site.run(&["status", "--json"]).stdout).expect("JSON");
    let membership = status.pointer("/view/etcd/0/answer/known/membership").and_then(Value::as_array);
    let listed = membership.unwrap_or_else(|| panic!("no membership in {status}"));
    let voting = listed.iter().filter(|one| one["learner"] == false);
    let mut names: Vec<String> = voting.map(|one| one["name"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    names
}

const HELD: &str = "/etc/systemd/system/etcd.service.d";

fn cut_off_between_two_steps_a_member_joins_all_the_same(site: &Site) {
    for host in ["db2", "db3"] {
        change(site, host, |entry| entry.replace("[\"postgres\"]", "[\"etcd\", \"postgres\"]"));
    }
    // the others expect it, and it does not come up
    let hold = format!("mkdir -p {HELD} && printf '[Service]\\nExecStartPre=/bin/sleep 600\\n' > {HELD}/held.conf");
    site.lab.ssh("db2", &hold).expect(0);
    let planned = site.run(&["plan"]).expect(5);
    assert!(planned.stdout.contains("db2 joins etcd as a learner"), "{}", planned.stdout);
    let refused = site.run(&["apply", "--yes", "--limit", "db2"]).expect(2);
    assert!(refused.stderr.contains("a new member of etcd needs all of db1, db2, db3"), "{}", refused.stderr);
    let mut run = site.spawn(&["apply", "--yes"]);
    let starts = || site.lab.ssh("db2", "systemctl is-active etcd").stdout.trim() == "activating";
    assert!((0..600).any(|_| starts()), "etcd on db2 was not started");
    run.kill().expect("it runs");
    run.wait().expect("it was started here");
    site.lab.ssh("db2", &format!("rm -r {HELD} && systemctl daemon-reload && systemctl stop etcd")).expect(0);
    let planned = site.run(&["plan"]).expect(5);
    assert!(planned.stdout.contains("db2, which the other etcd members expect, joins them"), "{}", planned.stdout);
    // three were to become of one; by now it is five
    site.write(&site.read().replace("[\"haproxy\"]", "[\"etcd\", \"haproxy\"]"));
    site.run(&["apply", "--yes"]).expect(0);
    assert_eq!(voters(site), ["db1", "db2", "db3", "lb1", "lb2"]);
    site.run(&["plan"]).expect(0);
}

/// A copy of the inventory that does not know it would have the others cut it off.
fn one_that_runs_is_not_forgotten(site: &Site) {
    let before = site.read();
    delete(site, "db3");
    for command in [&["plan"][..], &["apply", "--yes"]] {
        let told = site.run(command);
        assert!(told.status == if command.len() == 1 { 5 } else { 4 }, "{}", told.stderr);
        let text = "db3 runs as a member of the cluster and is not in the inventory";
        assert!(told.stderr.contains(text), "{}", told.stderr);
    }
    site.write(&before);
    site.run(&["plan"]).expect(0);
}

fn the_leader_leaves(site: &Site) {
    site.run(&["switchover", "--yes", "--to", "db3"]).expect(0);
    change(site, "db3", |entry| entry.replace("name = \"db3\"\n", "name = \"db3\"\nleaving = true\n"));
    let planned = site.run(&["plan"]).expect(5);
    for text in ["hand over from the leader db3, which leaves", "take db3, which leaves, out of etcd"] {
        assert!(planned.stdout.contains(text), "{}", planned.stdout);
    }
    let refused = site.run(&["apply", "--yes", "--limit", "db1"]).expect(2);
    assert!(refused.stderr.contains("leaving the cluster needs all of db3"), "{}", refused.stderr);
    let applied = site.run(&["apply", "--yes"]).expect(0);
    assert!(applied.stdout.contains("Verified: handed over from db3 to "), "{}", applied.stdout);
    assert_eq!(voters(site), ["db1", "db2", "lb1", "lb2"]);
    let running = site.lab.ssh("db3", "systemctl is-active etcd patroni; systemctl is-enabled etcd patroni");
    assert_eq!(running.stdout.split_whitespace().collect::<Vec<_>>(), ["inactive", "inactive", "disabled", "disabled"]);
    site.run(&["status"]).expect(0);
    site.run(&["plan"]).expect(0);
}

fn a_dead_host_is_replaced(site: &Site) {
    if leader_of(&site.run(&["status"]).expect(0)) == "db2" {
        site.run(&["switchover", "--yes", "--to", "db1"]).expect(0);
    }
    let (address, fingerprint) = (value(site, "db3", "address"), value(site, "db3", "fingerprint"));
    delete(site, "db3");
    let before = site.read();
    let new = ["--address", &address, "--fingerprint", &fingerprint];
    let replace = |old| site.run(&[&["replace", "--yes", old, "db3"][..], &new].concat());
    let refused = replace("db2").expect(4);
    assert!(refused.stderr.contains("db2 is not dead: it can be logged in to"), "{}", refused.stderr);
    site.lab.command(&["fault", "db2", "kill"]).expect(0);
    // Patroni forgets it when its lease has ended
    let forgotten = || {
        let status: Value = serde_json::from_str(&site.run(&["status", "--json"]).stdout).expect("JSON");
        let members = status.pointer("/view/members").and_then(Value::as_array).expect("members").clone();
        members.iter().any(|member| member["host"] == "db2" && member["listed"].is_null())
    };
    let refused = replace("db2").expect(1);
    assert!(refused.stderr.contains("db3 is to join etcd, and has etcd data"), "{}", refused.stderr);
    assert_eq!(site.read(), before, "the inventory is as it was");
    site.lab.ssh("db3", "rm -rf /var/lib/etcd/* /var/lib/postgresql/17/*").expect(0);
    assert!((0..60).any(|_| forgotten()), "Patroni does not forget db2");
    let replaced = replace("db2").expect(0);
    let told =
        ["-name = \"db2\"", "+name = \"db3\"", "take db2 out of etcd: it is not in", "db3 joins etcd as a learner"];
    for text in told {
        assert!(replaced.stdout.contains(text), "{text}: {}", replaced.stdout);
    }
    assert_eq!(entry(site, "db2"), "");
    assert_eq!(voters(site), ["db1", "db3", "lb1", "lb2"]);
    site.run(&["status"]).expect(0);
    site.run(&["plan"]).expect(0);
}

/// What the inventory says of a host.
fn entry(site: &Site, host: &str) -> String {
    let name = format!("name = \"{host}\"\n");
    site.read().split("[[host]]\n").find(|entry| entry.contains(&name)).unwrap_or_default().to_owned()
}

fn value(site: &Site, host: &str, key: &str) -> String {
    let entry = entry(site, host);
    let line = entry.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
    line.unwrap_or_else(|| panic!("no {key}: {entry}")).trim_end_matches('"').to_owned()
}
