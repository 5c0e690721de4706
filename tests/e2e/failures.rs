//! What can go wrong, one after the other on the same hosts: each its own clear error, and nothing else harmed.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use crate::site::Site;

/// Before anything is installed: whatever is wrong with one host, no host is touched.
#[test]
fn a_broken_host_among_good_ones_is_named_and_nothing_is_touched() {
    let site = Site::bare("broken", (&["--hosts", "4", "--suite", "trixie"], "operator"));
    let good = site.read();
    let fresh: Vec<String> = ["db1", "db2"].iter().map(|host| packages(&site, host)).collect();

    let wrong_key = good.replace(&fingerprint(&good, "db2"), "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    site.write(&wrong_key);
    refused(&site, 3, &["db2", "is not the one pinned in the inventory"]);

    site.write(&good);
    let wrong_password = site.run_with(("XNAT_SUDO_PASSWORD", "not the password"), &["apply", "--yes"]).expect(3);
    says(&wrong_password.stderr, &["sudo", "password"]);
    assert!(!wrong_password.stderr.contains("not the password"), "{}", wrong_password.stderr);

    through_a_jump_host(&site);

    site.lab.command(&["fault", "db3", "kill"]).expect(0);
    // silence or "no route to host", whichever the kernel says first
    refused(&site, 3, &["db3 failed: ", "operator@", "1 host cannot be used; nothing was changed"]);
    let limited = site.run(&["apply", "--yes", "--limit", "db1"]).expect(2);
    says(&limited.stderr, &["first start of etcd needs all of db1, db2, db3", "--limit leaves out db2, db3"]);
    let unknown = site.run(&["plan", "--limit", "bd1"]).expect(2);
    says(&unknown.stderr, &["no host bd1", "did you mean db1?"]);
    site.lab.command(&["fault", "db3", "start"]).expect(0);

    site.lab.ssh("db1", "mkdir -p /var/lib/postgresql && mount -t tmpfs -o size=1M none /var/lib/postgresql").expect(0);
    refused(&site, 1, &["db1", "free", "/var/lib/postgresql"]);
    site.lab.ssh("db1", "umount /var/lib/postgresql && rmdir /var/lib/postgresql").expect(0);

    let after: Vec<String> = ["db1", "db2"].iter().map(|host| packages(&site, host)).collect();
    assert_eq!(fresh, after, "a refused run installs nothing");
    killed_while_installing(&site);
}

/// The last host is the way to all others; its key is looked up in known_hosts, as for any host.
fn through_a_jump_host(site: &Site) {
    let good = site.read();
    let jump = format!("[ssh]\njump = \"admin@{}\"", site.address("lb1"));
    let known_hosts = site.file("known_hosts");
    let with_jump = format!("{jump}\nknown_hosts = \"{}\"", known_hosts.display());
    site.write(&good.replace("[ssh]", &with_jump));
    std::fs::write(&known_hosts, "").expect("written");
    let unknown = site.run(&["plan"]).expect(3);
    says(&unknown.stderr, &["the host key of", "is not known", "--accept-new-host-keys"]);
    std::fs::copy(site.lab.directory().join("known_hosts"), &known_hosts).expect("copied");
    site.run(&["plan"]).expect(5);
    site.write(&good);
}

/// While it runs: an error, a Ctrl-C, a kill, two at once. The next run goes on and ends well.
#[test]
fn whatever_stops_a_run_the_next_one_goes_on() {
    let site = Site::bare("resume", (&["--hosts", "1", "--suite", "trixie"], "root"));
    let good = site.read();

    site.append("[packages]\npins = { patroni = \"9.9.*\" }");
    let missing = site.run(&["apply", "--yes"]).expect(1);
    says(&missing.stderr, &["db1", "Version '9.9.*' for 'patroni' was not found", "change the pin"]);
    site.lab.ssh("db1", "test ! -e /usr/sbin/policy-rc.d && test ! -e /etc/etcd").expect(0);
    site.write(&good);

    two_at_once_and_an_interrupt(&site);

    let full = "mkdir -p /etc/patroni/xnat && mount -t tmpfs -o size=4k none /etc/patroni/xnat";
    site.lab.ssh("db1", full).expect(0);
    let failed = site.run(&["apply", "--yes"]).expect(1);
    says(&failed.stderr, &["No space left on device", "free some disk space", "Start PostgreSQL under Patroni"]);
    site.lab.ssh("db1", "umount /etc/patroni/xnat").expect(0);

    killed_at_once(&site);
    site.run(&["apply", "--yes"]).expect(0);
    site.run(&["plan"]).expect(0);
    a_lost_secrets_file_is_not_replaced(&site);
}

/// A second run is told of the first; the first, interrupted, finishes what it is at and says how far it got.
fn two_at_once_and_an_interrupt(site: &Site) {
    let mut first = site.spawn(&["apply", "--yes"]);
    // the guard stands while packages are installed; apt-get alone might be the distribution's own timer
    let installing = "test -e /usr/sbin/policy-rc.d";
    wait_until("the first run installs packages", || site.lab.ssh("db1", installing).status == 0);
    let second = site.run(&["apply", "--yes"]).expect(1);
    says(&second.stderr, &["another run is changing the cluster"]);
    signal(&first, "INT");
    let mut said = String::new();
    first.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert_eq!(first.wait().expect("it ends").code(), Some(130), "{said}");
    says(&said, &["interrupted", "done: ", "still to do: ", "Start etcd"]);
    // what was under way is finished: the packages are whole
    site.lab.ssh("db1", "test -z \"$(dpkg --audit)\" && dpkg -s patroni && test ! -e /usr/sbin/policy-rc.d").expect(0);
}

/// A controller that dies while its apt runs: apt goes on, and the next run waits for it.
fn killed_while_installing(site: &Site) {
    let mut run = site.spawn(&["apply", "--yes"]);
    // dpkg alone might be one of the program's own questions
    let installing = "pgrep -x apt-get && test -e /usr/sbin/policy-rc.d";
    let unpacking = format!("{installing} && pgrep -x dpkg");
    wait_until("dpkg unpacks packages", || site.lab.ssh("db1", &unpacking).status == 0);
    run.kill().expect("it still runs");
    run.wait().expect("it ends");
    site.lab.ssh("db1", installing).expect(0);
    site.run(&["apply", "--yes"]).expect(0);
    site.lab.ssh("db1", "test ! -e /usr/sbin/policy-rc.d && test -z \"$(dpkg --audit)\"").expect(0);
}

/// A dead controller, in the middle of starting PostgreSQL.
fn killed_at_once(site: &Site) {
    let mut run = site.spawn(&["apply", "--yes"]);
    wait_until("Patroni is started", || site.lab.ssh("db1", "systemctl is-active patroni").status == 0);
    run.kill().expect("it still runs");
    assert_eq!(run.wait().expect("it ends").signal(), Some(9));
}

fn a_lost_secrets_file_is_not_replaced(site: &Site) {
    let aside = site.file("aside");
    std::fs::rename(site.secrets(), &aside).expect("renamed");
    let refused = site.run(&["apply", "--yes"]).expect(1);
    says(&refused.stderr, &["its passwords are not in", "inventory.vault", "nothing was changed"]);
    assert!(!site.secrets().exists(), "no new passwords are made");
    std::fs::rename(&aside, site.secrets()).expect("renamed");
    let good = std::fs::read(site.secrets()).expect("it is there");
    site.set_secret("superuser", "AnotherPassword");
    let refused = site.run(&["apply", "--yes"]).expect(1);
    says(&refused.stderr, &["is not the one of the cluster", "nothing was changed"]);
    std::fs::write(site.secrets(), good).expect("written");
}

fn refused(site: &Site, status: i32, words: &[&str]) {
    let run = site.run(&["apply", "--yes"]).expect(status);
    says(&run.stderr, words);
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "does not say {word:?}:\n{text}");
    }
}

fn packages(site: &Site, host: &str) -> String {
    site.lab.ssh(host, "dpkg-query -W; ls /etc").expect(0).stdout
}

fn fingerprint(inventory: &str, host: &str) -> String {
    let section =
        inventory.split("[[host]]").find(|part| part.contains(&format!("name = \"{host}\""))).expect("a host");
    let after = section.split("SHA256:").nth(1).expect("a fingerprint");
    format!("SHA256:{}", after.split('"').next().expect("it ends"))
}

fn signal(child: &std::process::Child, name: &str) {
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(120), "waited in vain: {what}");
    }
}
