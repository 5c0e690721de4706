//! Least privilege: what services can do on their hosts, who may read and write our files, what each role of the database
//! can do, and what the firewall lets in; and that no rule set locks the administrator out.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::site::Site;

#[test]
fn nobody_has_more_than_needed_on_debian_12() {
    least("least12", "bookworm");
}

#[test]
fn nobody_has_more_than_needed_on_debian_13() {
    least("least13", "trixie");
}

fn least(test: &str, suite: &str) {
    let site = Site::new(test, (&["--hosts", "4", "--suite", suite], "root"));
    site.append("[firewall]\nenabled = true");
    site.run(&["apply", "--yes"]).expect(0);
    site.run(&["plan"]).expect(0);
    services_are_behind_walls(&site);
    files_are_root_s_and_secrets_are_not_for_all(&site);
    roles_of_the_database_can_do_their_job_and_no_more(&site);
    the_firewall_lets_in_what_is_needed(&site);
    a_reboot_loads_the_rules_before_there_is_a_network(&site);
    rules_that_forget_ssh_are_taken_back(&site);
    rules_of_a_killed_run_are_taken_back(&site);
    the_lines_for_sudoers_are_enough(&site);
    rules_outlive_the_distributions_own(&site);
    without_a_firewall_in_the_inventory_the_rules_are_gone(&site);
}

fn services_are_behind_walls(site: &Site) {
    for (host, unit, most) in
        [("db1", "etcd", 2.0), ("db1", "patroni", 3.0), ("db1", "xnat-liveness", 2.0), ("lb1", "haproxy", 4.0)]
    {
        let said = site.lab.ssh(host, &format!("systemd-analyze security --no-pager {unit}")).expect(0).stdout;
        let line = said.lines().find(|line| line.contains("Overall exposure level")).expect("a verdict");
        let figure = line.split(": ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a figure");
        let exposure: f64 = figure.parse().expect("a number");
        assert!(exposure <= most, "{unit} is at {exposure}, and was to be at {most} at most");
    }
}

/// `kind owner:group mode path`, of everything below the directories that are ours alone.
const MEMBER_FILES: &str = "\
d root:etcd 750 /etc/etcd/tls
d root:postgres 750 /etc/patroni/tls
d root:postgres 750 /etc/patroni/xnat
d root:root 755 /etc/etcd
d root:root 755 /etc/systemd/system/patroni.service.d
d root:root 755 /etc/xnat-provision
d root:root 755 /usr/local/lib/xnat-provision
f root:etcd 640 /etc/etcd/tls/ca.pem
f root:etcd 640 /etc/etcd/tls/server-key.pem
f root:etcd 640 /etc/etcd/tls/server.pem
f root:postgres 640 /etc/patroni/tls/ca.pem
f root:postgres 640 /etc/patroni/tls/patroni-key.pem
f root:postgres 640 /etc/patroni/tls/patroni.pem
f root:postgres 640 /etc/patroni/tls/postgres-key.pem
f root:postgres 640 /etc/patroni/tls/postgres.pem
f root:postgres 640 /etc/patroni/xnat/10-bootstrap.yml
f root:postgres 640 /etc/patroni/xnat/20-member.yml
f root:postgres 640 /etc/patroni/xnat/30-settings.yml
f root:postgres 640 /etc/patroni/xnat/40-secrets.yml
f root:root 644 /etc/etcd/bootstrap.env
f root:root 644 /etc/etcd/etcd.env
f root:root 644 /etc/systemd/system/etcd.service
f root:root 644 /etc/systemd/system/patroni.service.d/xnat.conf
f root:root 644 /etc/systemd/system/xnat-firewall.service
f root:root 644 /etc/systemd/system/xnat-liveness.service
f root:root 644 /etc/xnat-provision/firewall.nft
f root:root 755 /usr/local/lib/xnat-provision/check-patroni-config
f root:root 755 /usr/local/lib/xnat-provision/firewall
f root:root 755 /usr/local/lib/xnat-provision/liveness
f root:root 755 /usr/local/lib/xnat-provision/same-postmaster
f root:root 755 /usr/local/lib/xnat-provision/set-aside-unfinished
";

const BALANCER_FILES: &str = "\
d root:haproxy 750 /etc/haproxy/tls
d root:root 755 /etc/systemd/system/haproxy.service.d
d root:root 755 /etc/xnat-provision
d root:root 755 /usr/local/lib/xnat-provision
f root:haproxy 640 /etc/haproxy/stats.cfg
f root:haproxy 640 /etc/haproxy/tls/ca.pem
f root:haproxy 640 /etc/haproxy/tls/statistics.pem
f root:root 644 /etc/haproxy/haproxy.cfg
f root:root 644 /etc/systemd/system/haproxy.service.d/xnat.conf
f root:root 644 /etc/systemd/system/xnat-firewall.service
f root:root 644 /etc/xnat-provision/firewall.nft
f root:root 755 /usr/local/lib/xnat-provision/firewall
f root:root 755 /usr/local/lib/xnat-provision/keep-server-states
";

fn files_are_root_s_and_secrets_are_not_for_all(site: &Site) {
    let ours = "/etc/etcd /etc/patroni/xnat /etc/patroni/tls /etc/haproxy/tls /etc/haproxy/stats.cfg /etc/xnat-provision /usr/local/lib/xnat-provision \
                /etc/systemd/system/etcd.service /etc/systemd/system/patroni.service.d \
                /etc/systemd/system/haproxy.service.d /etc/systemd/system/xnat-firewall.service \
                /etc/systemd/system/xnat-liveness.service";
    // the package has one of its own, also where it is not used
    let configuration = "/etc/haproxy/haproxy.cfg";
    let list = |ours: &str| format!("find {ours} -printf '%y %u:%g %m %p\\n' 2>/dev/null | LC_ALL=C sort");
    assert_eq!(site.lab.ssh("db1", &list(ours)).stdout, MEMBER_FILES);
    assert_eq!(site.lab.ssh("lb1", &list(&format!("{ours} {configuration}"))).stdout, BALANCER_FILES);
    // What a run leaves for the next one: the services have no say in it.
    let state = "find /run/xnat-provision /var/lib/xnat-provision \\( ! -user root -o -perm /022 \\) 2>/dev/null";
    for host in ["db1", "lb1"] {
        assert_eq!(site.lab.ssh(host, state).stdout, "", "{host}");
    }
    let keys = "grep -rlI 'PRIVATE KEY' /etc/etcd /etc/patroni /etc/haproxy /var/lib/postgresql 2>/dev/null";
    let readable = format!("{keys} | while read -r file; do find \"$file\" -perm /o=r; done");
    assert!(!site.lab.ssh("db1", keys).stdout.is_empty(), "no key was found, so nothing was looked at");
    assert_eq!(site.lab.ssh("db1", &readable).stdout, "");
}

/// What each statement is refused with, as the application's role; PostgreSQL 15 says it in other words than 17.
const NOT_FOR_THE_APPLICATION: [(&str, &str); 8] = [
    ("select * from pg_authid", "permission denied"),
    ("create role intruder", "permission denied"),
    ("create database intruder", "permission denied"),
    ("select pg_read_file('/etc/passwd')", "permission denied"),
    ("copy (select 1) to program 'id'", "pg_execute_server_program"),
    ("copy (select 1) to '/tmp/x'", "pg_write_server_files"),
    ("alter system set work_mem = '1GB'", "permission denied"),
    ("set session authorization postgres", "permission denied"),
];

fn roles_of_the_database_can_do_their_job_and_no_more(site: &Site) {
    let port = site.number("/inventory/haproxy/primary_port");
    assert_eq!(site.psql(port, "select 1").expect(0).stdout.trim(), "1");
    for (sql, refusal) in NOT_FOR_THE_APPLICATION {
        let ran = site.psql(port, sql);
        assert!(ran.status != 0 && ran.stderr.contains(refusal), "{sql}: {} {}", ran.stdout, ran.stderr);
    }
    let leader = "patronictl list -f json | python3 -c \
                  'import json,sys; print([m[\"Member\"] for m in json.load(sys.stdin) if m[\"Role\"] == \"Leader\"][0])'";
    let before = site.lab.ssh("db1", leader).expect(0).stdout.trim().to_owned();
    helpers_read_no_tables(site, &before);
    let next = if before == "db2" { "db3" } else { "db2" };
    site.lab.ssh("db1", &format!("patronictl switchover --candidate {next} --force")).expect(0);
    helpers_read_no_tables(site, next);
}

fn helpers_read_no_tables(site: &Site, leader: &str) {
    let within = |database: &str, role: &str, sql: &str| {
        let sql = format!("set role {role}; {sql}");
        site.lab.ssh(leader, &format!("cd / && runuser -u postgres -- psql -XAtq -d {database} -c \"{sql}\""))
    };
    let as_role = |role: &str, sql: &str| within("xnat", role, sql);
    // The lock is handed over a moment before the new leader may write.
    let writes = || as_role("xnat", "create table if not exists private (v int)").status == 0;
    assert!(eventually(60, writes), "{leader} takes no writes");
    for role in ["rewind", "replicator"] {
        for sql in ["table private", "create table theirs (v int)", "table pg_authid"] {
            let ran = as_role(role, sql);
            assert!(ran.stderr.contains("permission denied"), "{role}, {sql}: {} {}", ran.stdout, ran.stderr);
        }
    }
    // pg_rewind logs in to this one, and grants on functions are each database's own.
    within("postgres", "rewind", "select count(*) from pg_ls_dir('.', true, false)").expect(0);
    within("postgres", "rewind", "select length(pg_read_binary_file('PG_VERSION'))").expect(0);
    let ran = within("postgres", "replicator", "select count(*) from pg_ls_dir('.', true, false)");
    assert!(ran.stderr.contains("permission denied"), "{}", ran.stderr);
}

/// This machine is a stranger in the lab's network.
fn reaches(site: &Site, host: &str, port: u16) -> bool {
    let address: SocketAddr = format!("{}:{port}", site.address(host)).parse().expect("an address");
    TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok()
}

fn the_firewall_lets_in_what_is_needed(site: &Site) {
    for port in [2379, 2380, 8008, 5432] {
        assert!(!reaches(site, "db1", port), "a stranger reaches port {port} of db1");
    }
    for (host, port) in [("db1", 22), ("lb1", 22), ("lb1", 5432), ("lb1", 5433), ("lb1", 7000)] {
        assert!(reaches(site, host, port), "port {port} of {host} is closed");
    }
    let reach = |port: u16| format!("timeout 2 bash -c '</dev/tcp/{}/{port}'", site.address("db1"));
    for (host, port, open) in [("db2", 2379, true), ("db2", 2380, true), ("lb1", 8008, true), ("lb1", 2379, false)] {
        let ran = site.lab.ssh(host, &reach(port));
        assert_eq!(ran.status == 0, open, "{host} to port {port} of db1: {}", ran.stderr);
    }
}

fn a_reboot_loads_the_rules_before_there_is_a_network(site: &Site) {
    site.lab.command(&["fault", "db2", "kill"]).expect(0);
    site.lab.command(&["fault", "db2", "start"]).expect(0);
    site.lab.ssh("db2", "/usr/local/lib/xnat-provision/firewall loaded").expect(0);
    let began = |unit: &str| format!("$(systemctl show --value -p ActiveEnterTimestampMonotonic {unit})");
    let order = format!("[ {} -lt {} ]", began("xnat-firewall"), began("systemd-networkd"));
    site.lab.ssh("db2", &order).expect(0);
    assert!(eventually(60, || site.run(&["plan"]).status == 0), "something is to be done after a reboot");
}

/// Our rules without SSH, laid over the built-in ones.
fn forget_ssh(site: &Site) -> String {
    let directory = site.file("mistaken");
    let rules = include_str!("../../templates/firewall/rules.nft.j2");
    let start = rules.find("        # SSH\n").expect("the rules have a part for SSH");
    let end = start + rules[start..].find("{% if host.is_etcd %}").expect("and one for etcd");
    std::fs::create_dir_all(directory.join("templates/firewall")).expect("made");
    let mistaken = format!("{}\n{}", &rules[..start], &rules[end..]);
    std::fs::write(directory.join("templates/firewall/rules.nft.j2"), mistaken).expect("written");
    directory.display().to_string()
}

fn rules_that_forget_ssh_are_taken_back(site: &Site) {
    let assets = forget_ssh(site);
    let applied = site.run(&["apply", "--yes", "--assets", &assets]).expect(1);
    assert!(applied.stderr.contains("the new firewall rules were taken back"), "{}", applied.stderr);
    assert!(reaches(site, "db1", 22));
    site.run(&["plan"]).expect(0);
}

fn rules_of_a_killed_run_are_taken_back(site: &Site) {
    let assets = forget_ssh(site);
    let mut child = site.spawn(&["apply", "--yes", "--assets", &assets]);
    assert!(eventually(60, || !reaches(site, "db1", 22)), "the rules were never loaded");
    child.kill().expect("it was still running");
    child.wait().expect("it ended");
    assert!(eventually(60, || reaches(site, "db1", 22)), "the host did not take the rules back");
    assert!(eventually(60, || site.run(&["plan"]).status == 0), "the old rules are not loaded again");
}

/// Part of SECURITY.md, for another login.
fn documented(start: &str, end: &str, login: &str) -> String {
    let (_, rest) = include_str!("../../SECURITY.md").split_once(start).expect("SECURITY.md has the lines for sudoers");
    rest.split_once(end).expect("and they end").0.replace("provision", login)
}

/// A login with nothing else in its sudoers file. As the first one the rest of the test goes on.
fn the_lines_for_sudoers_are_enough(site: &Site) {
    let lines = |login: &str| documented("for sudoers:\n\n```text\n", "```", login);
    let with_password = documented("the second line is `", "`", "operator");
    let defaults = lines("operator").lines().next().expect("defaults come first").to_owned();
    for host in ["db1", "db2", "db3", "lb1"] {
        allow(site, (host, "admin"), &lines("admin"));
        allow(site, (host, "operator"), &format!("{defaults}\n{with_password}\n"));
    }
    let password = site.lab.operator_password();
    let as_root = site.read();
    site.log_in_as("operator");
    site.run_with(("XNAT_SUDO_PASSWORD", &password), &["plan"]).expect(0);
    site.write(&as_root);
    site.log_in_as("admin");
    for words in ["check", "certs rotate --yes", "secrets rotate --yes", "status", "plan"] {
        site.run(&words.split(' ').collect::<Vec<_>>()).expect(0);
    }
}

fn allow(site: &Site, (host, login): (&str, &str), lines: &str) {
    let command =
        format!("umask 337; rm -f /etc/sudoers.d/{login}; printf %s '{lines}' >/etc/sudoers.d/{login}; visudo -cq");
    site.lab.ssh(host, &command).expect(0);
    // The lab has given some logins more; none is in the group after this.
    site.lab.ssh(host, &format!("gpasswd -d {login} sudo"));
    site.lab.ssh(host, &format!("runuser -u {login} -- sudo -n id")).expect(1);
}

/// Debian's /etc/nftables.conf begins with `flush ruleset`.
fn rules_outlive_the_distributions_own(site: &Site) {
    site.lab.ssh("db1", "systemctl start nftables && systemctl reload nftables && systemctl stop nftables").expect(0);
    site.run(&["plan"]).expect(5);
    site.run(&["apply", "--yes"]).expect(0);
    site.lab.ssh("db1", "systemctl start nftables; systemctl restart xnat-firewall").expect(0);
    site.lab.ssh("db1", "systemctl reload nftables").expect(0);
    assert!(eventually(20, || !reaches(site, "db1", 2379)), "a reload of nftables has opened db1");
}

fn without_a_firewall_in_the_inventory_the_rules_are_gone(site: &Site) {
    site.write(&site.read().replace("[firewall]\nenabled = true", ""));
    let planned = site.run(&["plan"]).expect(5).stdout;
    assert!(planned.contains("take the firewall away"), "{planned}");
    site.run(&["apply", "--yes"]).expect(0);
    site.run(&["plan"]).expect(0);
    assert!(reaches(site, "db1", 2379) && reaches(site, "db1", 5432), "something is still closed");
    let left = "nft list tables | grep xnat; ls -A /etc/xnat-provision; systemctl cat xnat-firewall 2>/dev/null";
    assert_eq!(site.lab.ssh("db1", left).stdout, "");
}

/// Look again every half second, so many times at most.
fn eventually(tries: u32, condition: impl Fn() -> bool) -> bool {
    (0..tries).any(|_| {
        let holds = condition();
        if !holds {
            std::thread::sleep(Duration::from_millis(500));
        }
        holds
    })
}
