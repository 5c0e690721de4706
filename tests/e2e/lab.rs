//! The lab itself: what everything else in here stands on.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Lab, run};

#[test]
fn a_host_boots_lets_everybody_in_and_leaves_nothing_behind() {
    let lab = Lab::up("one", &["--hosts", "1", "--suite", "trixie"]);
    lab.ssh("db1", "true").expect(0);
    assert_eq!(lab.ssh("admin@db1", "sudo -n id -u").expect(0).stdout, "0\n");
    lab.ssh("operator@db1", "sudo -n true").expect(1);
    let sudo = format!("echo {} | sudo -S -p '' id -u", lab.operator_password());
    assert_eq!(lab.ssh("operator@db1", &sudo).expect(0).stdout, "0\n");
    assert_eq!(lab.ssh("db1", "systemctl is-system-running").expect(0).stdout, "running\n");

    let (name, directory) = (lab.name().to_owned(), lab.directory());
    drop(lab);
    assert!(!directory.exists());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("Linux has it");
    assert!(!mounts.contains(&directory.display().to_string()), "{mounts}");
    run(&["lab", "down", "--name", &name]).expect(0);
    run(&["lab", "status", "--name", &name]).expect(2);
}

#[test]
fn power_network_and_air_gap_do_what_they_say() {
    let lab = Lab::up("faults", &["--hosts", "2", "--suite", "bookworm"]);
    let open = |from: &str, to: &str| lab.ssh(from, &format!("timeout 2 bash -c '</dev/tcp/{to}/22'")).status == 0;
    let address = lab.ssh("db2", "hostname -I").expect(0).stdout.trim().to_owned();

    lab.ssh("db1", "echo kept >/root/note; sync").expect(0);
    for (off, on) in [("kill", "start"), ("stop", "start")] {
        lab.command(&["fault", "db1", off]).expect(0);
        assert_ne!(lab.ssh("db1", "true").status, 0, "{off}");
        lab.command(&["fault", "db1", on]).expect(0);
        assert_eq!(lab.ssh("db1", "cat /root/note").expect(0).stdout, "kept\n");
    }

    assert!(open("db1", &address));
    lab.command(&["fault", "db2", "partition"]).expect(0);
    assert!(!open("db1", &address));
    lab.command(&["fault", "db2", "heal"]).expect(0);
    assert!(open("db1", &address));

    lab.command(&["air-gap", "on"]).expect(0);
    // Nothing answers, not even a name server: it would go on trying for a minute.
    lab.ssh("db1", "timeout 3 apt-get -qq --error-on=any update").expect(124);
    assert!(open("db1", &address), "hosts still reach each other");
    lab.command(&["air-gap", "off"]).expect(0);
    lab.ssh("db1", "apt-get -qq --error-on=any update").expect(0);
}

/// Two hosts with a control group in common would be one host to systemd: what one stops dies on both.
#[test]
fn stopping_a_service_on_one_host_leaves_the_other_hosts_alone() {
    let lab = Lab::up("groups", &["--hosts", "2"]);
    let pid = "systemctl show --property MainPID ssh.service";
    let before = lab.ssh("db2", pid).expect(0).stdout;
    lab.ssh("db1", "systemctl restart ssh.service && systemctl kill --signal=KILL --kill-whom=all dbus.service")
        .expect(0);
    assert_eq!(lab.ssh("db2", pid).expect(0).stdout, before);
    lab.ssh("db2", "systemctl is-active dbus.service").expect(0);
}

#[test]
fn what_a_killed_lab_up_left_is_removed_by_the_next() {
    let name = format!("e2e-killed-{}", std::process::id());
    let mut child = Command::new(env!("CARGO_BIN_EXE_xnat-provision"))
        .args(["lab", "up", "--hosts", "2", "--name", &name])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    // Killed as soon as it says that it is booting hosts: the network stands then, and hosts are half made.
    let mut said = std::io::BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    while !line.starts_with("booting") {
        line.clear();
        let read = std::io::BufRead::read_line(&mut said, &mut line).expect("it is text");
        assert_ne!(read, 0, "lab up ended by itself");
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");

    let again = run(&["lab", "up", "--hosts", "1", "--name", &name]).expect(0);
    assert!(again.stderr.contains("removing what an earlier lab up left"), "{}", again.stderr);
    let inventory = std::fs::read_to_string(again.stdout.trim()).expect("it was written");
    assert_eq!(inventory.matches("[[host]]").count(), 1, "{inventory}");
    run(&["lab", "down", "--name", &name]).expect(0);
}

#[test]
fn an_inventory_is_taken_over_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let site = directory.path().join("site.toml");
    let text = include_str!("../fixtures/lab/site.toml");
    let mut file = std::fs::File::create(&site).expect("made");
    file.write_all(text.as_bytes()).expect("written");
    let lab = Lab::up("site", &["--inventory", &site.display().to_string()]);
    let written = std::fs::read_to_string(lab.inventory()).expect("written");
    assert!(written.contains("preset = \"fast\"") && !written.contains("deploy"), "{written}");
    assert_eq!(std::fs::read_to_string(&site).expect("there"), text);
    assert_eq!(lab.ssh("lb-a", "hostname").expect(0).stdout, "lb-a\n");
    let over = run(&["lab", "up", "--name", "e2e-over", "--write", &site.display().to_string()]).expect(2);
    assert!(over.stderr.contains("no lab has written"), "{}", over.stderr);
    assert!(!Path::new(&lab.directory().with_file_name("e2e-over")).exists());
}
