//! `health` on lab hosts: all is well; then several troubles at once, each named by its check; and what monitoring gets.

use std::collections::BTreeSet;
use std::process::Child;
use std::time::Instant;

use serde_json::Value;

use crate::harness::Ran;
use crate::site::Site;

/// What is written there hardly grows.
const ETCD: &str = "/var/lib/etcd";

/// What is worth knowing of any new cluster.
const OF_NEW_ONES: [&str; 3] = ["disk-forecast", "backup", "drill"];

#[test]
fn checks_say_what_is_wrong_to_people_and_to_monitoring() {
    let site = Site::new("health", (&["--hosts", "3", "--suite", "trixie"], "root"));
    site.separate(ETCD);
    site.run(&["apply", "--yes"]).expect(0);
    let leader = site.leader();
    let steps: [(&str, &dyn Fn()); 5] = [
        ("well", &|| all_is_well(&site, &leader)),
        ("side by side", &|| nobody_is_in_the_way(&site)),
        ("a drill", &|| a_drill_that_failed_is_a_warning(&site)),
        ("troubles", &|| troubles_are_named(&site, &leader)),
        ("out of reach", &|| nobody_can_be_reached(&site)),
    ];
    for (name, step) in steps {
        let begun = Instant::now();
        step();
        println!("{name}: {} s", begun.elapsed().as_secs());
    }
}

fn said(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// `critical haproxy-write db1` for everything that is not ok.
fn found(said: &Value) -> BTreeSet<String> {
    let checks = said["checks"].as_array().expect("a list").iter();
    let findings = checks.flat_map(|check| {
        let findings = check["findings"].as_array().expect("a list").iter();
        findings.filter(|finding| finding["state"] != "ok").map(|finding| {
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", word(&finding["state"]), word(&check["id"]), word(&finding["host"]))
        })
    });
    findings.collect()
}

fn all_is_well(site: &Site, leader: &str) {
    let ran = site.run(&["health", "--json"]);
    let said = said(&ran.expect(0));
    let expected = [format!("notice backup {leader}"), "notice disk-forecast ".into(), "notice drill ".into()];
    assert_eq!(found(&said), BTreeSet::from(expected));
    let file = site.file("xnat.prom");
    let ran = site.run(&["health", "--format", "nagios", "--textfile", &file.to_string_lossy()]).expect(0);
    assert!(ran.stdout.starts_with("XNAT OK - healthy ("), "{}", ran.stdout);
    let perfdata = ran.stdout.lines().next().and_then(|line| line.split_once(" | ")).expect("figures").1;
    assert!(perfdata.contains(&format!("'{leader} write'=")), "{perfdata}");
    let metrics = std::fs::read_to_string(&file).expect("written");
    for check in said["checks"].as_array().expect("a list").iter().map(|check| check["id"].as_str().expect("a text")) {
        assert!(metrics.contains(&format!("xnat_health_check{{check=\"{check}\",")), "{check} is not in {metrics}");
    }
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    assert!(samples.clone().count() > 50, "{metrics}");
    for line in samples {
        assert!(line.rsplit_once("\"} ").is_some_and(|(_, value)| value.parse::<f64>().is_ok()), "{line}");
    }
    let mode = std::fs::metadata(&file).map(|meta| std::os::unix::fs::PermissionsExt::mode(&meta.permissions()));
    assert_eq!(mode.expect("it is there") & 0o777, 0o644);
}

/// Several at once, beside an apply; the table of one that was killed goes, a fresh one stays, and none is left behind.
fn nobody_is_in_the_way(site: &Site) {
    let port = site.number("/inventory/haproxy/primary_port");
    let fresh = "xnat_health_99999999999_1";
    site.psql(port, &format!("CREATE TABLE xnat_health_1000_1 (); CREATE TABLE {fresh} ();")).expect(0);
    let beside = site.spawn(&["apply", "--yes"]);
    let several: Vec<Child> = (0..3).map(|_| site.spawn(&["health"])).collect();
    for one in several {
        Ran::of(one.wait_with_output().expect("it ends")).expect(0);
    }
    Ran::of(beside.wait_with_output().expect("it ends")).expect(0);
    let tables = "SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(site.psql(port, tables).expect(0).stdout.trim(), fresh);
    site.psql(port, &format!("DROP TABLE {fresh}")).expect(0);
    let ran = site.run(&["health", "--read-only"]).expect(0);
    assert!(ran.stdout.contains("and wrote nothing"), "{}", ran.stdout);
}

fn a_drill_that_failed_is_a_warning(site: &Site) {
    let cluster = site.check()["inventory"]["cluster"].as_str().expect("a name").to_owned();
    let drills = site.state().join("xnat-provision").join(cluster).join("drills");
    std::fs::create_dir_all(&drills).expect("made");
    let kept =
        |passed: bool| format!(r#"{{"drill":"a","finished":"2026-01-01T00:00:00Z","passed":{passed},"more":1}}"#);
    std::fs::write(drills.join("1.json"), kept(false)).expect("written");
    let ran = site.run(&["health", "--format", "nagios"]).expect(1);
    assert!(ran.stdout.starts_with("XNAT WARNING - drill: degraded ("), "{}", ran.stdout);
    std::fs::write(drills.join("1.json"), "{").expect("written");
    let ran = site.run(&["health"]).expect(0);
    assert!(ran.stdout.contains("no failure was ever rehearsed"), "{}", ran.stdout);
}

/// So many sessions that few are left.
const CROWD: &str = r#"systemd-run -q --unit=crowd -p User=postgres perl -MSocket -e 'my @all; for (1..170) {
socket(my $one, PF_UNIX, SOCK_STREAM, 0); connect($one, pack_sockaddr_un("/var/run/postgresql/.s.PGSQL.5432")) or die;
my $hello = pack("N", 196608) . "user\0postgres\0\0"; syswrite($one, pack("N", 4 + length $hello) . $hello); push @all, $one }
sleep 600'"#;

fn troubles_are_named(site: &Site, leader: &str) {
    let on = |host: &str, command: &str| site.lab.ssh(host, command).expect(0);
    let replicas: Vec<String> = site.hosts("postgres").into_iter().filter(|host| host != leader).collect();
    let [stopped, full] = [&replicas[0], &replicas[1]];
    let segments = "-c \"SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal()\" ".repeat(5);
    let slot = "-c \"SELECT pg_create_physical_replication_slot('forgotten', true)\"";
    on(leader, &format!("cd / && runuser -u postgres -- psql -XAtq {slot} {segments}"));
    on(leader, CROWD);
    on(stopped, "systemctl stop patroni haproxy");
    let little = "$(( $(df -Pk . | tail -n 1 | tr -s ' ' | cut -d' ' -f3) * 100 / 88 ))k";
    on(full, &format!("cd {ETCD} && mount -o remount,size={little} {ETCD}"));
    let expected = [
        format!("warning replication-slots {leader}"),
        format!("warning postgres-connections {leader}"),
        format!("warning patroni-members {stopped}"),
        format!("warning replication-streaming {stopped}"),
        format!("unknown postgres-checksums {stopped}"),
        format!("critical haproxy-servers {stopped}"),
        format!("critical haproxy-write {stopped}"),
        format!("warning haproxy-read {stopped}"),
        format!("warning disk-space {full}"),
    ];
    let said = said(&site.run(&["health", "--json"]).expect(4));
    let found = found(&said);
    let missing: Vec<&String> = expected.iter().filter(|one| !found.contains(*one)).collect();
    assert!(missing.is_empty(), "{missing:?} are not in {found:#?}");
    // and of the others nothing is said that is not theirs
    let ids = found.iter().filter(|one| !one.starts_with("unknown")).filter_map(|one| one.split(' ').nth(1));
    let known: Vec<&str> = expected.iter().filter_map(|one| one.split(' ').nth(1)).chain(OF_NEW_ONES).collect();
    let other: Vec<&str> = ids.filter(|id| !known.contains(id)).collect();
    assert_eq!(other, Vec::<&str>::new());
    let ran = site.run(&["health", "--format", "nagios"]).expect(2);
    assert!(ran.stdout.starts_with("XNAT CRITICAL - haproxy-servers, haproxy-write: NOT HEALTHY"), "{}", ran.stdout);
    let text = site.run(&["health"]).expect(4).stdout;
    assert!(text.contains("the slot forgotten on"), "{text}");
    assert!(text.contains("is 88 % full"), "{text}");
}

/// Nothing listens there.
fn nobody_can_be_reached(site: &Site) {
    site.write(&site.read().replacen("[ssh]\n", "[ssh]\nport = 1\n", 1));
    let ran = site.run(&["health"]).expect(3);
    assert!(ran.stdout.starts_with("unknown: nothing could be asked\n"), "{}", ran.stdout);
    let ran = site.run(&["health", "--format", "nagios"]).expect(3);
    assert!(ran.stdout.starts_with("XNAT UNKNOWN - unknown: nothing could be asked"), "{}", ran.stdout);
    site.write("not an inventory");
    let ran = site.run(&["health", "--format", "nagios"]).expect(3);
    assert!(ran.stdout.starts_with("XNAT UNKNOWN - "), "{}", ran.stdout);
}
