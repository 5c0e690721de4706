//! The end of a cluster, with its database and without, and what begins after it.

use std::time::Duration;

use serde_json::Value;

use crate::site::Site;

#[test]
fn a_cluster_ends_and_begins_again_with_its_data_and_without() {
    let site = Site::new("reset", (&["--hosts", "2", "--suite", "trixie"], "admin"));
    let text = site.read();
    let (first, second) = text.rsplit_once("roles = [\"etcd\", \"postgres\"]").expect("two hosts");
    let haproxy = "[haproxy]\nprimary_port = 5000\nreplica_port = 5001";
    site.write(&format!("{first}roles = [\"postgres\", \"haproxy\"]{second}\n{haproxy}\n"));
    // the package's own file, where HAProxy is not wanted
    site.lab.ssh("db1", "rm /etc/haproxy/haproxy.cfg").expect(0);
    site.run(&["apply", "--yes"]).expect(0);
    // not where a new cluster would begin
    site.run(&["switchover", "--yes"]).expect(0);
    assert_eq!(site.leader(), "db2");
    site.psql(5000, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n").expect(0);
    only_by_its_name(&site);
    the_database_outlives_its_cluster(&site);
    nothing_is_left(&site);
}

fn name(site: &Site) -> String {
    site.check()["inventory"]["cluster"].as_str().map(str::to_owned).expect("a name")
}

fn reset(site: &Site, words: &[&str]) -> crate::harness::Ran {
    site.run(&[&["reset", "--confirm", &name(site)], words].concat())
}

fn only_by_its_name(site: &Site) {
    let nobody = site.run(&["reset"]).expect(2);
    assert!(nobody.stderr.contains("nobody can type the name of the cluster"), "{}", nobody.stderr);
    let other = site.run(&["reset", "--confirm", "other"]).expect(2);
    assert!(other.stderr.contains("is not called \"other\""), "{}", other.stderr);
    let (mine, own) = (site.read(), name(site));
    site.write(&mine.replacen(&format!("name = \"{own}\""), "name = \"beta\"", 1));
    let foreign = reset(site, &[]).expect(1);
    assert!(foreign.stderr.contains(&format!("belongs to the cluster {own}")), "{}", foreign.stderr);
    site.write(&mine);
    site.run(&["plan"]).expect(0);
    assert_eq!(site.leader(), "db2");
}

/// The same passwords, the same data, the same leader.
fn the_database_outlives_its_cluster(site: &Site) {
    let kept = reset(site, &["--keep-data"]).expect(0);
    assert!(kept.stdout.contains("The database stays on db1, db2"), "{}", kept.stdout);
    is_clean(site);
    let again = reset(site, &["--keep-data"]).expect(0);
    assert!(again.stdout.contains("Nothing to reset"), "{}", again.stdout);
    let planned = site.run(&["plan"]).expect(5);
    assert!(planned.stdout.contains("db2, which led, starts first"), "{}", planned.stdout);
    site.run(&["apply", "--yes"]).expect(0);
    assert_eq!(site.leader(), "db2");
    assert_eq!(site.psql(5000, "SELECT count(*) FROM kept").expect(0).stdout, "1000\n");
    site.run(&["plan"]).expect(0);
}

/// Also when the first try was killed in the middle.
fn nothing_is_left(site: &Site) {
    let mut killed = site.spawn(&["reset", "--confirm", &name(site)]);
    let stopped = (0..400).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        site.lab.ssh("db1", "systemctl is-active -q patroni").status != 0
    });
    assert!(stopped, "PostgreSQL stops");
    killed.kill().expect("it runs");
    killed.wait().expect("it ends");
    let finished = reset(site, &[]).expect(0);
    assert!(finished.stdout.contains("REMOVE THE DATABASE"), "{}", finished.stdout);
    is_clean(site);
    for host in ["db1", "db2"] {
        site.lab.ssh(host, "test -z \"$(ls -d /var/lib/postgresql/*/* 2>/dev/null)\"").expect(0);
    }
    site.run(&["apply", "--yes"]).expect(0);
    assert_eq!(site.leader(), "db1");
    assert_ne!(site.psql(5000, "SELECT count(*) FROM kept").status, 0, "the database is a new one");
}

/// No service, no port, no file.
fn is_clean(site: &Site) {
    let seen: Value = serde_json::from_str(&site.exec(&["--json"], &[LOOK]).expect(0).stdout).expect("JSON");
    for host in seen.as_array().expect("hosts") {
        assert_eq!(host["stdout"], "", "{}", host["host"]);
    }
}

const LOOK: &str = "systemctl is-active etcd patroni haproxy xnat-firewall | grep '^active\\|^activating'
systemctl is-enabled etcd patroni haproxy 2>/dev/null | grep '^enabled'
ss -Hltn | grep -E ':(2379|2380|5000|5001|5432|7000|8008) '
ls -d /etc/etcd /etc/patroni/xnat /etc/patroni/tls /etc/haproxy/tls /etc/haproxy/*.cfg /usr/local/lib/xnat-provision \
    /etc/systemd/system/etcd.service /etc/systemd/system/*.service.d/xnat.conf /etc/apt/apt.conf.d/*xnat* \
    /etc/sysctl.d/*xnat* /etc/xnat-provision /var/lib/etcd/*/member /root/.config/patroni/patronictl.yaml 2>/dev/null
nft list table inet xnat 2>/dev/null
true";
