//! Another major version of PostgreSQL: rehearsed, failing on purpose, killed, and done under a client that writes.
//! Debian 12's PostgreSQL runs on Debian 13 beside that release's own.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::harness::Ran;
use crate::site::Site;
use crate::writer::Writer;

/// Nobody can write while `pg_upgrade` is at work; on an idle machine it is about ten seconds in all.
const PAUSE: Duration = Duration::from_secs(60);

/// What a first `apply` installs, but for the server itself.
const PACKAGES: &str = "etcd-server,etcd-client,patroni,python3-etcd,haproxy,postgresql-client-17";

/// A cluster of PostgreSQL 15, with something in it.
fn older(test: &str) -> Site {
    let site = Site::bare(test, (&["--hosts", "3", "--suite", "trixie", "--packages", PACKAGES], "root"));
    let said = |command: &str| site.lab.ssh("db1", command).expect(0).stdout;
    let keys = said(
        "cat /etc/apt/trusted.gpg.d/debian-archive-bookworm-stable.asc /etc/apt/trusted.gpg.d/debian-archive-bookworm-automatic.asc",
    );
    std::fs::write(site.file("bookworm.asc"), keys).expect("written");
    let archive = said("sed -n 's/^URIs: //p' /etc/apt/sources.list.d/debian.sources | head -n 1");
    site.append(&format!(
        "[postgresql]\nversion = 15\n[[packages.repository]]\nname = \"bookworm\"\nurl = \"{}\"\nsuite = \"bookworm\"\nkey_file = \"bookworm.asc\"",
        archive.trim()
    ));
    site.run(&["apply", "--yes"]).expect(0);
    let fill = "CREATE TABLE kept AS SELECT n, md5(n::text) AS word FROM generate_series(1, 20000) n; CREATE INDEX ON kept (word)";
    site.psql(port(&site), fill).expect(0);
    site
}

fn port(site: &Site) -> u64 {
    site.number("/inventory/haproxy/primary_port")
}

/// The version that runs, and what was kept.
fn runs(site: &Site) -> (String, String) {
    let ask = |sql: &str| site.psql(port(site), sql).expect(0).stdout.trim().to_owned();
    let version = ask("SELECT current_setting('server_version_num')::int / 10000");
    (version, ask("SELECT count(*) FROM kept WHERE word = md5(n::text)"))
}

fn as_before() -> (String, String) {
    ("15".to_owned(), "20000".to_owned())
}

fn as_wanted() -> (String, String) {
    ("17".to_owned(), "20000".to_owned())
}

fn upgrade(site: &Site) -> Ran {
    site.run(&["upgrade", "--major", "17", "--confirm", site.lab.name()])
}

#[test]
fn a_major_version_is_rehearsed_fails_without_harm_and_comes_under_a_writer() {
    let site = older("major");
    what_cannot_be_is_refused(&site);
    a_rehearsal_leaves_nothing(&site);
    a_failure_brings_the_old_version_back(&site);
    so_does_an_interrupt(&site);
    it_comes_under_a_writer(&site);
}

fn what_cannot_be_is_refused(site: &Site) {
    let older = site.run(&["upgrade", "--major", "14", "--confirm", site.lab.name()]).expect(4);
    assert!(older.stderr.contains("no way to an older version"), "{}", older.stderr);
    site.run(&["upgrade", "--major", "17", "--yes"]).expect(2);
    site.run(&["upgrade", "--major", "17", "--confirm", "another"]).expect(2);
    let plan = site.run(&["upgrade", "--major", "17", "--plan"]).expect(5).stdout;
    assert!(plan.contains("from PostgreSQL 15 to 17") && plan.contains("POINT OF NO RETURN"), "{plan}");
    assert_eq!(runs(site), as_before());
}

fn a_rehearsal_leaves_nothing(site: &Site) {
    let rehearsed = site.run(&["upgrade", "--major", "17", "--rehearse", "--yes"]).expect(0).stdout;
    assert!(rehearsed.contains("Expect a write pause of about"), "{rehearsed}");
    println!("{rehearsed}");
    for host in site.hosts("postgres") {
        let left = site.lab.ssh(&host, "ls -A /var/lib/postgresql/17; ls -A /var/lib/postgresql/15").expect(0).stdout;
        assert_eq!(left, format!("{}\n", site.lab.name()), "on {host}");
    }
    assert_eq!(runs(site), as_before());
    site.run(&["plan"]).expect(0);
}

/// It has linked the files, and then says that it failed.
const SPOILT: &str = "cd /usr/lib/postgresql/17/bin && mv pg_upgrade pg_upgrade.real && printf '%s\\n' '#!/bin/sh' \
    '/usr/lib/postgresql/17/bin/pg_upgrade.real \"$@\" || exit' \
    'case \" $* \" in *\" --check \"*) ;; *) echo spoilt on purpose; exit 3 ;; esac' >pg_upgrade && chmod 755 pg_upgrade";
const MENDED: &str = "cd /usr/lib/postgresql/17/bin && mv pg_upgrade.real pg_upgrade";

fn a_failure_brings_the_old_version_back(site: &Site) {
    let leader = site.leader();
    site.lab.ssh(&leader, SPOILT).expect(0);
    let failed = upgrade(site).expect(1);
    for text in ["the old version runs again", "spoilt on purpose"] {
        assert!(failed.stderr.contains(text), "{text:?} is not in:\n{}", failed.stderr);
    }
    site.lab.ssh(&leader, MENDED).expect(0);
    assert_eq!(site.leader(), leader);
    assert_eq!(runs(site), as_before());
    assert!(site.read().contains("version = 15"), "{}", site.read());
    site.run(&["plan"]).expect(0);
}

fn so_does_an_interrupt(site: &Site) {
    let sign = format!("test -e /var/lib/postgresql/15/{}/xnat-upgrade", site.lab.name());
    let run = begun(site, &sign);
    let sent = Command::new("kill").args(["-INT", &run.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let ended = Ran::of(run.wait_with_output().expect("it ends")).expect(130);
    assert!(ended.stderr.contains("the old version runs again"), "{}", ended.stderr);
    site.leader();
    assert_eq!(runs(site), as_before());
    site.run(&["plan"]).expect(0);
}

fn it_comes_under_a_writer(site: &Site) {
    let writer = Writer::start(site, "db1");
    let upgraded = upgrade(site).expect(0).stdout;
    let ledger = writer.stop();
    assert_eq!(ledger.lost(site), Vec::<u64>::new());
    assert!(ledger.longest_pause() < PAUSE, "nobody wrote for {:?}", ledger.longest_pause());
    assert_eq!(upgraded.matches("has the new version without a copy of the data").count(), 2, "{upgraded}");
    println!("{} rows, longest pause {:?}; {upgraded}", ledger.count(), ledger.longest_pause());
    new_everywhere(site);
    let again = upgrade(site).expect(0).stdout;
    assert!(again.contains("Nothing to upgrade"), "{again}");
}

fn new_everywhere(site: &Site) {
    site.leader();
    assert_eq!(runs(site), as_wanted());
    assert!(site.read().contains("version = 17"), "{}", site.read());
    site.run(&["plan"]).expect(0);
    // every index of the database has what its table has, also on members that made it of their old files
    let sound = "SELECT count(bt_index_check(c.oid, true)::text) > 100 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                 JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'btree' AND c.relpersistence = 'p' AND i.indisvalid";
    let psql = "cd / && runuser -u postgres -- psql -XAtq -d xnat -c";
    site.lab.ssh(&site.leader(), &format!("{psql} 'CREATE EXTENSION amcheck'")).expect(0);
    for host in site.hosts("postgres") {
        let told = || site.lab.ssh(&host, &format!("{psql} \"{sound}\"")).stdout;
        let begun = Instant::now();
        while told() != "t\n" {
            // the extension reaches a replica a moment later
            assert!(begun.elapsed() < Duration::from_secs(30), "{host}: {}", told());
            std::thread::sleep(Duration::from_millis(500));
        }
        let left = site.lab.ssh(&host, "ls -A /var/lib/postgresql/15 /usr/local/lib/xnat-provision").expect(0).stdout;
        assert!(!left.contains(site.lab.name()) && !left.contains("major-upgrade"), "on {host}: {left}");
    }
}

#[test]
fn a_major_upgrade_that_is_killed_is_taken_back_or_finished() {
    let site = older("majorcut");
    let cluster = site.lab.name();
    killed_when(&site, &format!("test -e /var/lib/postgresql/15/{cluster}/xnat-upgrade && pgrep -x pg_upgrade"));
    // whoever tries to start it is told why that must not be
    let started = site.run(&["start", "--yes"]);
    assert_ne!(started.status, 0, "{}", started.stdout);
    let told = site.lab.ssh("db1", "journalctl -q -u patroni -n 30").expect(0).stdout;
    assert!(told.contains("an upgrade to PostgreSQL 17 was cut off"), "{told}");
    let back = upgrade(&site).expect(0);
    assert!(back.stdout.contains("PostgreSQL 15 runs again"), "{}", back.stdout);
    site.leader();
    assert_eq!(runs(&site), as_before());
    site.run(&["plan"]).expect(0);

    killed_when(&site, &format!("test -e /var/lib/postgresql/17/{cluster}/PG_VERSION"));
    let finished = upgrade(&site).expect(0);
    assert!(finished.stdout.contains("the files of PostgreSQL 15 are removed"), "{}", finished.stdout);
    new_everywhere(&site);
}

fn killed_when(site: &Site, sign: &str) {
    let mut run = begun(site, sign);
    run.kill().expect("it runs");
    run.wait().expect("it was started here");
}

/// An upgrade that has come to where the leader shows this.
fn begun(site: &Site, sign: &str) -> Child {
    let leader = site.leader();
    let mut run = site.spawn(&["upgrade", "--major", "17", "--confirm", site.lab.name()]);
    let begun = Instant::now();
    while site.lab.ssh(&leader, sign).status != 0 {
        assert!(begun.elapsed() < Duration::from_secs(240), "not seen on {leader}: {sign}");
        assert!(run.try_wait().expect("it can be asked").is_none(), "it ended before {sign}");
    }
    run
}
