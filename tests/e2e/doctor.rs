//! Troubles made on lab hosts, one after the other: the doctor names the cause and its hosts, and nothing that only follows
//! from it. (Clocks, the name of a host, an alarm of etcd and a claim nobody works at are cases of `tests/it/status/doctor.rs`:
//! lab hosts share a clock and have addresses for names, and etcd's quota is 2 GiB.)

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::site::Site;

const DATA: &str = "/var/lib/postgresql";

#[test]
fn the_doctor_names_causes_and_not_what_follows_from_them() {
    let site = Site::new("doctor", (&["--hosts", "3", "--suite", "trixie"], "root"));
    site.separate(DATA);
    site.run(&["apply", "--yes"]).expect(0);
    finds(&site, &[]);
    let cases: [(&str, Trouble); 10] = [
        ("etcd is stopped", etcd_is_stopped),
        ("PostgreSQL is frozen", the_leader_is_frozen),
        ("pg_hba.conf", replicas_are_not_let_in),
        ("a password", a_password_is_wrong),
        ("WAL is gone", wal_is_gone),
        ("REST is blocked", patroni_cannot_be_reached),
        ("a certificate", a_certificate_is_not_ours),
        ("a wrong address", an_address_is_wrong),
        ("a disk is full", a_disk_is_full),
        ("two writers", two_accept_writes),
    ];
    for (name, case) in cases {
        let begun = Instant::now();
        case(&Case::of(&site));
        println!("{name}: {} s", begun.elapsed().as_secs());
    }
    site.leader();
    finds(&site, &[]);
}

/// Makes one, has it found, and takes it back.
type Trouble = fn(&Case<'_>);

/// A cluster that is well, as it is when a case begins.
struct Case<'a> {
    site: &'a Site,
    leader: String,
    /// The first of them and all.
    replica: String,
    replicas: Vec<String>,
}

impl<'a> Case<'a> {
    fn of(site: &'a Site) -> Self {
        let leader = site.leader();
        let replicas: Vec<String> = site.hosts("postgres").into_iter().filter(|host| *host != leader).collect();
        Self { site, leader, replica: replicas[0].clone(), replicas }
    }

    fn on(&self, host: &str, command: &str) -> String {
        self.site.lab.ssh(host, command).expect(0).stdout
    }

    /// On the leader, each statement for itself.
    fn sql(&self, statements: &[&str]) {
        let all: Vec<String> = statements.iter().map(|one| format!("-c \"{one}\"")).collect();
        self.on(&self.leader, &format!("cd / && runuser -u postgres -- psql -XAtq {}", all.join(" ")));
    }

    fn finds(&self, expected: &[(&str, &[&str])]) -> Value {
        finds(self.site, expected)
    }
}

/// Until the trouble is felt and nothing else is any more: these are the findings, on these hosts.
fn finds(site: &Site, expected: &[(&str, &[&str])]) -> Value {
    let expected: Vec<(String, Vec<String>)> = expected
        .iter()
        .map(|(id, hosts)| {
            let mut hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
            hosts.sort();
            ((*id).to_owned(), hosts)
        })
        .collect();
    let mut last = String::new();
    for _ in 0..40 {
        let ran = site.run(&["doctor", "--json"]);
        let said: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        if found(&said) == expected {
            assert_eq!(ran.status, if expected.is_empty() { 0 } else { 4 });
            return said;
        }
        last = ran.stdout;
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("expected {expected:?}, and at last:\n{last}");
}

fn found(said: &Value) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let of = |finding: &Value| {
        let mut hosts: Vec<String> = finding["hosts"].as_array().expect("a list").iter().map(text).collect();
        hosts.sort();
        (text(&finding["id"]), hosts)
    };
    said["findings"].as_array().expect("a list").iter().map(of).collect()
}

fn etcd_is_stopped(case: &Case<'_>) {
    let [first, second] = [&case.replicas[0], &case.replicas[1]];
    case.on(first, "systemctl stop etcd");
    case.finds(&[("etcd-member-down", &[first])]);
    case.on(second, "systemctl stop etcd");
    let said = case.finds(&[("etcd-no-quorum", &[first, second])]);
    assert!(said["findings"][0]["consequences"].to_string().contains("etcd on"), "{said}");
    for host in [first, second] {
        case.on(host, "systemctl start --no-block etcd");
    }
}

/// Whoever else takes over meanwhile.
fn the_leader_is_frozen(case: &Case<'_>) {
    let signal = |name: &str| {
        format!(
            "for file in /proc/[0-9]*/comm; do if grep -qsx postgres $file; then kill -{name} $(echo $file | cut -d/ -f3); fi; done"
        )
    };
    // which would kill it before anybody could look
    case.on(&case.leader, "systemctl stop xnat-liveness");
    case.on(&case.leader, &signal("STOP"));
    let said = case.finds(&[("postgresql-frozen", &[&case.leader])]);
    // What it says is to be done is done.
    let command = said["findings"][0]["steps"][0]["command"].as_str().expect("a command");
    let command = command.strip_prefix(&format!("ssh {} ", case.leader)).expect("on that host");
    case.on(&case.leader, command);
    case.on(&case.leader, "systemctl start xnat-liveness");
}

const DISCONNECT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_replication";

fn replicas_are_not_let_in(case: &Case<'_>) {
    let file = format!("$(ls {DATA}/*/*/pg_hba.conf)");
    case.on(&case.leader, &format!("sed -i '1i hostssl replication all all reject' {file}"));
    case.sql(&["SELECT pg_reload_conf()", DISCONNECT]);
    case.finds(&[("replication-hba", &[&case.replicas[0], &case.replicas[1]])]);
    case.on(&case.leader, &format!("sed -i 1d {file}"));
    case.sql(&["SELECT pg_reload_conf()"]);
}

fn a_password_is_wrong(case: &Case<'_>) {
    case.sql(&["ALTER ROLE replicator PASSWORD 'x'", DISCONNECT]);
    case.finds(&[("replication-login", &[&case.replicas[0], &case.replicas[1]])]);
    case.site.run(&["apply", "--yes"]).expect(0);
}

fn wal_is_gone(case: &Case<'_>) {
    let replica = &case.replica;
    case.on(replica, "systemctl stop patroni");
    let on = "SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal()";
    let drop =
        format!("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{replica}'");
    case.sql(&["ALTER SYSTEM SET wal_keep_size = 0", "SELECT pg_reload_conf()"]);
    let needed = "pg_controldata -D $(ls -d DATA/*/*/) | sed -n 's/^Latest checkpoint.s REDO WAL file: *//p'";
    let needed = case.on(replica, &format!("/usr/lib/postgresql/17/bin/{}", needed.replace("DATA", DATA)));
    let gone = format!("! ls {DATA}/*/*/pg_wal/{}", needed.trim());
    let begun = Instant::now();
    // the leader's Patroni makes the slot again whenever it looks
    while case.site.lab.ssh(&case.leader, &gone).status != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{needed} is still there");
        case.sql(&[&drop, on, on, on, "CHECKPOINT", &drop, on, on, on, "CHECKPOINT"]);
    }
    case.on(replica, "systemctl start patroni");
    case.finds(&[("replication-wal-gone", &[replica])]);
    case.sql(&["ALTER SYSTEM RESET wal_keep_size", "SELECT pg_reload_conf()"]);
    case.site.run(&["reinit", "--yes", replica]).expect(0);
}

/// The leader's answers to one HAProxy's host get lost.
fn patroni_cannot_be_reached(case: &Case<'_>) {
    let rule =
        |verb: &str| format!("ip rule {verb} to {} ipproto tcp sport 8008 blackhole", case.site.address(&case.replica));
    case.on(&case.leader, &rule("add"));
    // HAProxy itself needs some checks to see it
    let follows = |said: &Value| said["findings"][0]["consequences"].to_string().contains("no server for writes");
    let found = || case.finds(&[("rest-unreachable", &[&case.leader, &case.replica])]);
    assert!((0..20).any(|_| follows(&found())), "{}", found());
    case.on(&case.leader, &rule("del"));
}

fn a_certificate_is_not_ours(case: &Case<'_>) {
    let replica = &case.replica;
    let make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 300 -subj /CN=stranger -keyout server-key.pem -out server.pem";
    let keep = "cp -p server.pem kept.pem && cp -p server-key.pem kept-key.pem";
    case.on(replica, &format!("cd /etc/etcd/tls && {keep} && {make}"));
    case.finds(&[("certificate-foreign", &[replica])]);
    case.on(replica, "cd /etc/etcd/tls && mv kept.pem server.pem && mv kept-key.pem server-key.pem");
}

fn an_address_is_wrong(case: &Case<'_>) {
    let (replica, file) = (&case.replica, "/etc/patroni/xnat/20-member.yml");
    let change = |from: &str, to: &str| {
        case.on(replica, &format!("sed -i 's/\"{from}:8008\"/\"{to}:8008\"/' {file} && systemctl reload patroni"));
    };
    let (right, wrong) = (case.site.address(replica), "10.255.255.1");
    change(&right, wrong);
    case.finds(&[("patroni-wrong-address", &[replica])]);
    change(wrong, &right);
}

fn a_disk_is_full(case: &Case<'_>) {
    let replica = &case.replica;
    let full = "$(( $(df -Pk . | tail -n 1 | tr -s ' ' | cut -d' ' -f3) + 64 ))k";
    case.on(replica, &format!("cd {DATA} && mount -o remount,size={full} {DATA}"));
    case.sql(&[
        "CREATE TABLE filler AS SELECT repeat(md5(g::text), 20) FROM generate_series(1, 60000) g",
        "SELECT pg_switch_wal()",
    ]);
    let said = case.finds(&[("disk-full", &[replica])]);
    let evidence = said["findings"][0]["evidence"].to_string();
    assert!(evidence.contains("are free"), "{evidence}");
    case.on(replica, &format!("mount -o remount,size=4G {DATA}"));
    case.sql(&["DROP TABLE filler"]);
}

/// In maintenance mode nobody demotes whoever was promoted by hand.
fn two_accept_writes(case: &Case<'_>) {
    let replica = &case.replica;
    let control = |what: &str| {
        format!("cd / && runuser -u postgres -- $(ls /usr/lib/postgresql/*/bin/pg_ctl) {what} -D $(ls -d {DATA}/*/*)")
    };
    case.site.run(&["pause", "--yes", "--reason", "a test"]).expect(0);
    case.on(replica, &control("promote"));
    let said = case.finds(&[("two-writers", &[&case.leader, replica]), ("paused", &[])]);
    let last = said["findings"][0]["steps"].as_array().and_then(|steps| steps.last()).expect("steps").to_string();
    assert!(last.contains(&format!("ssh {replica} ")), "the one without the lock is to be stopped: {last}");
    case.on(replica, &format!("systemctl stop patroni && {}", control("stop -m fast")));
    case.site.run(&["resume", "--yes"]);
    case.on(replica, "systemctl start patroni");
}
