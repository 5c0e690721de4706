//! Passwords with every printable character, chosen before the first apply. Each is written into SQL, YAML, haproxy.cfg, a
//! pgpass file, a .properties file or a URL on its way, and must come out as it was chosen.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use xnat_provision::quote::sh;

use crate::harness::Ran;
use crate::site::Site;

/// What several characters together mean to SQL, Python, templates, shells, Spring, HAProxy and the format of C.
const SYNTAX: &str = r##"$$ ${x} #{x} {{ x }} {% x %} $(x) %s %% '' "" \\ \n \u0041 -- /* &amp; =%41+"##;

/// All of them, in an order that ends with one.
fn ending_in(last: char) -> String {
    let all: String = (' '..='~').collect();
    let (head, tail) = all.split_at(all.find(last).expect("it is printable") + 1);
    format!("{tail}{SYNTAX}{head}")
}

/// Without what `vault set` refuses, because Patroni or XNAT stumble over it.
fn passwords() -> [(&'static str, String); 6] {
    [
        ("superuser", format!(" {} ", ending_in('~').replace("$$", ""))),
        ("replication", ending_in('\\').replace("$$", "")),
        ("rewind", format!(" {}", ending_in('~').replace("$$", "").trim_start().chars().rev().collect::<String>())),
        ("rest_api", ending_in(':')),
        ("application", format!(" {}", ending_in('\\').replace("${x}", ""))),
        ("statistics", format!(" {} ", ending_in('\''))),
    ]
}

#[test]
fn every_printable_character_works_on_debian_13() {
    every_character("chars13", (&["--hosts", "3", "--suite", "trixie"], "root"));
}

#[test]
fn every_printable_character_works_on_debian_12() {
    every_character("chars12", (&["--hosts", "4", "--suite", "bookworm"], "admin"));
}

fn every_character(test: &str, lab: (&[&str], &'static str)) {
    let site = Site::new(test, lab);
    for (name, value) in passwords() {
        site.set_secret(name, &value);
        assert_eq!(site.run(&["vault", "show", name]).expect(0).stdout, format!("{value}\n"));
    }
    let applied = site.run(&["apply", "--yes"]).expect(0).stdout;
    assert!(applied.contains("healthy: leader "), "{applied}");
    site.run(&["plan"]).expect(0);
    assert_eq!(site.psql(primary(&site), "SELECT current_user").expect(0).stdout, "xnat\n");
    the_replicas_stream(&site);
    the_statistics_page_answers(&site);
    java_connects(&site, &applied);
    a_switchover_with_the_rest_api(&site);
    a_former_leader_rewinds(&site);
    the_replicas_stream(&site);
    site.run(&["plan"]).expect(0);
}

fn primary(site: &Site) -> u64 {
    site.number("/inventory/haproxy/primary_port")
}

fn as_postgres(site: &Site, host: &str, sql: &str) -> Ran {
    site.lab.ssh(host, &format!("cd / && runuser -u postgres -- psql -XAtqc {}", sh(sql)))
}

fn the_replicas_stream(site: &Site) {
    let shown = as_postgres(site, &site.leader(), "SELECT usename, state FROM pg_stat_replication");
    assert_eq!(shown.expect(0).stdout, "replicator|streaming\n".repeat(2));
}

fn the_statistics_page_answers(site: &Site) {
    let (host, authorities) = (site.address(&site.hosts("haproxy")[0]), site.file("inventory.ca.pem"));
    let url = format!("https://{host}:{}/stats", site.number("/inventory/haproxy/stats_port"));
    let status = |password: &str| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "10", "--output", "/dev/null", "--write-out", "%{http_code}"]);
        curl.arg("--cacert").arg(&authorities).args(["--user", &format!("stats:{password}"), &url]);
        Ran::of(curl.output().expect("curl is installed")).expect(0).stdout
    };
    let right = site.run(&["vault", "show", "statistics"]).expect(0).stdout;
    assert_eq!(status(right.strip_suffix('\n').expect("a line")), "200");
    assert_eq!(status(right.trim()), "401", "the blanks around it belong to it");
}

/// The lines as they were printed, with the password as the comment above it says.
fn java_connects(site: &Site, applied: &str) {
    let printed = applied.lines().skip_while(|line| !line.contains("xnat-conf.properties")).skip(1);
    let lines: Vec<&str> = printed.map_while(|line| line.strip_prefix("  ")).collect();
    assert!(lines.iter().any(|line| line.starts_with("# ") && line.contains(r"`\ `")), "{lines:#?}");
    let authorities = site.file("inventory.ca.pem").display().to_string();
    let remote = format!("/etc/ssl/certs/{}-ca.pem", site.lab.name());
    let escaped = site.application_password().replace('\\', r"\\").replacen(' ', r"\ ", 1);
    let fill = |line: &&str| match line.split_once('=') {
        Some(("datasource.password", _)) => format!("datasource.password={escaped}\n"),
        _ => format!("{}\n", line.replace(&remote, &authorities)),
    };
    let text: String = lines.iter().map(fill).collect();
    assert!(text.contains("sslmode=verify-full") && text.contains(&authorities), "{text}");
    let file = site.file("xnat-conf.properties");
    std::fs::write(&file, text).expect("written");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/Connect.java");
    let mut java = Command::new("java");
    java.args(["-cp", "/usr/share/java/postgresql.jar", program]).arg(&file).stdin(Stdio::null());
    let ran = Ran::of(java.output().expect("java is installed")).expect(0);
    assert_eq!(ran.stdout, "with the password from the properties\nwith the password from the url\n");
}

/// Patroni's own tool tells the leader's REST API, which wants the password.
fn a_switchover_with_the_rest_api(site: &Site) {
    let old = site.leader();
    let said = site.lab.ssh(&old, &format!("patronictl switchover --force --leader {old}")).expect(0);
    assert!(said.stdout.contains("Successfully switched over"), "{}{}", said.stdout, said.stderr);
    assert_ne!(site.leader(), old);
}

/// A leader that had written what nobody else has cannot just follow: its way back is pg_rewind, with its login and pgpass.
fn a_former_leader_rewinds(site: &Site) {
    let old = site.leader();
    site.lab.ssh(&old, "pkill -STOP -f '^postgres: .*walsender'").expect(0);
    as_postgres(site, &old, "CREATE TABLE nobody_else_has_it (v int)").expect(0);
    site.lab.command(&["fault", &old, "kill"]).expect(0);
    let led = || {
        std::thread::sleep(Duration::from_millis(500));
        let status: Value = serde_json::from_str(&site.run(&["status", "--json"]).stdout).expect("JSON");
        let members = status["view"]["members"].as_array().cloned().unwrap_or_default();
        members.iter().any(|member| member["listed"]["role"] == "leader" && member["host"] != old.as_str())
    };
    assert!((0..200).any(|_| led()), "nobody took over");
    site.lab.command(&["fault", &old, "start"]).expect(0);
    assert_ne!(site.leader(), old);
    let log = site.lab.ssh(&old, "journalctl -u patroni -b --no-pager | grep -i rewind").stdout;
    assert!(log.contains("running pg_rewind") && !log.contains("Failed to rewind"), "{log}");
    let left = as_postgres(site, &old, "SELECT to_regclass('nobody_else_has_it') IS NULL").expect(0);
    assert_eq!(left.stdout, "t\n");
}
