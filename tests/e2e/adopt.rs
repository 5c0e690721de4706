//! The inventory of a cluster that runs: of one of our own, whose plan is empty then, and of one that somebody has made by
//! hand, which is said as far as it can be and never taken over silently.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use xnat_provision::inventory::Inventory;

use crate::harness::{BINARY, Ran};
use crate::site::Site;

const HOSTS: [&str; 3] = ["db1", "db2", "db3"];

#[test]
fn a_cluster_that_runs_gets_its_inventory() {
    let site = Site::new("adopt", (&["--hosts", "3", "--suite", "trixie"], "root"));
    let addresses: Vec<String> = HOSTS.iter().map(|host| site.address(host)).collect();
    our_own(&site, &addresses);
    let name = site.check()["inventory"]["cluster"].as_str().expect("a name").to_owned();
    site.run(&["reset", "--confirm", &name]).expect(0);
    let made = Made { namespace: "/db/", data: "/var/lib/postgresql/17/main", replication: "standby", etcd: "e" };
    by_hand(&site, &addresses, &made);
    of_others(&site, &addresses);
}

/// Where its data are where ours would be, and its keys too, nothing stands in the way: with its passwords it is taken
/// over, member by member.
#[test]
fn a_cluster_of_others_is_taken_over_on_debian_12() {
    let site = Site::new("takeover", (&["--hosts", "3", "--suite", "bookworm"], "admin"));
    let addresses: Vec<String> = HOSTS.iter().map(|host| site.address(host)).collect();
    let made =
        Made { namespace: "/service/", data: "/var/lib/postgresql/15/legacy", replication: "replicator", etcd: "pg" };
    by_hand(&site, &addresses, &made);
    let path = site.file("legacy.toml");
    let path = path.display().to_string();
    let adopted = adopt(&site, Path::new(&path), ("admin", &[]), &addresses).expect(0);
    assert!(adopted.stdout.contains("pg0, pg1, pg2: its Patroni reads /etc/patroni/config.yml"), "{}", adopted.stdout);
    let planned = program(&site, &["plan", &path]).expect(5);
    assert!(planned.stdout.contains("restart PostgreSQL on"), "{}", planned.stdout);
    let lost = program(&site, &["apply", "--yes", &path]).expect(1);
    assert!(lost.stderr.contains("its passwords are not in"), "{}", lost.stderr);
    is_there(&site);
    for (name, password) in
        [("superuser", "NotInTheInventory1"), ("replication", "NotInTheInventory2"), ("rewind", "NotInTheInventory4")]
    {
        set(&site, (name, password), &path);
    }
    program(&site, &["apply", "--yes", &path]).expect(0);
    program(&site, &["plan", &path]).expect(0);
    program(&site, &["status", &path]).expect(0);
    is_there(&site);
}

/// What was in the database before; a replica made a moment ago may not have all of it yet.
fn is_there(site: &Site) {
    for host in HOSTS {
        let look = || psql(site, host, ("shop", "SELECT count(*) FROM kept"));
        let begun = std::time::Instant::now();
        while look().stdout != "1000\n" && begun.elapsed() < std::time::Duration::from_secs(60) {
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        assert_eq!(look().expect(0).stdout, "1000\n", "{host}");
    }
}

fn set(site: &Site, (name, password): (&str, &str), inventory: &str) {
    let mut command = prepared(site, &["vault", "set", name, inventory]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("piped").write_all(password.as_bytes()).expect("it reads");
    Ran::of(child.wait_with_output().expect("it ends")).expect(0);
}

/// What is different from cluster to cluster that somebody makes by hand.
struct Made {
    namespace: &'static str,
    data: &'static str,
    replication: &'static str,
    /// What etcd's names begin with; Patroni's begin with `pg`.
    etcd: &'static str,
}

/// The program as somebody would run it who has a key and knows the hosts, and nothing else.
fn program(site: &Site, words: &[&str]) -> Ran {
    Ran::of(prepared(site, words).output().expect("the program runs"))
}

fn prepared(site: &Site, words: &[&str]) -> Command {
    let home = site.file("home");
    std::fs::create_dir_all(home.join(".ssh")).expect("made");
    std::fs::copy(site.lab.directory().join("known_hosts"), home.join(".ssh/known_hosts")).expect("copied");
    let mut command = Command::new(BINARY);
    command.args(words).env("HOME", home).env("XDG_STATE_HOME", site.state());
    command.env("XNAT_VAULT_IDENTITY", site.lab.directory().join("vault-identity.txt"));
    command
}

fn adopt(site: &Site, output: &Path, (user, words): (&str, &[&str]), hosts: &[String]) -> Ran {
    let identity = site.lab.directory().join("id_ed25519").display().to_string();
    let output = output.display().to_string();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    program(site, &[&["adopt", "--user", user, "--identity", &identity, "--output", &output], words, &hosts].concat())
}

fn inventory(path: &Path) -> Inventory {
    Inventory::load(path, None).expect("the reader takes it").inventory
}

/// The inventory is lost, the vault is not.
fn our_own(site: &Site, addresses: &[String]) {
    let text = site.read().replacen("roles = [", "tags = { clonefrom = true }\nroles = [", 1);
    site.write(&format!(
        "{text}\n[patroni]\npreset = \"fast\"\n\n[postgresql]\nallow = [\"10.9.0.0/16\"]\nhba = [\"hostssl all reporting 10.8.0.0/16 scram-sha-256\"]\n\n\
         [postgresql.parameters]\nwork_mem = \"8MB\"\n\n[database]\nextensions = [\"pg_trgm\"]\n\n[tls]\nnames = [\"db.example.org\"]\n\n\
         [firewall]\nenabled = true\nclients = [\"10.9.0.0/16\"]\n"
    ));
    site.run(&["apply", "--yes"]).expect(0);
    site.leader();
    std::fs::create_dir(site.file("again")).expect("made");
    let again = site.file("again/inventory.toml");
    // another order than the lost one's
    let named: Vec<String> = addresses.iter().rev().cloned().collect();
    let adopted = adopt(site, &again, ("root", &[]), &named).expect(0);
    assert!(!adopted.stdout.contains("What it cannot say"), "{}", adopted.stdout);
    std::fs::copy(site.secrets(), site.file("again/inventory.vault")).expect("copied");
    let path = again.display().to_string();
    program(site, &["plan", &path]).expect(0);
    program(site, &["check", "--offline", &path]).expect(0);
    let text = std::fs::read_to_string(&again).expect("readable");
    assert!(!text.contains(&site.application_password()), "{text}");
    let twice = adopt(site, &again, ("root", &[]), &named).expect(2);
    assert!(twice.stderr.contains("is there already"), "{}", twice.stderr);
    two_of_three(site, addresses);
}

/// Who was not named is told, and nothing can be applied without.
fn two_of_three(site: &Site, addresses: &[String]) {
    let part = site.file("part.toml");
    let told = adopt(site, &part, ("root", &["--json"]), &addresses[..2]).expect(0);
    let told: Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!(told["others"][0]["name"], "db3", "{told:#}");
    assert_eq!(told["inventory"]["hosts"].as_array().map(Vec::len), Some(2));
    let nobody = adopt(site, &site.file("nobody.toml"), ("root", &[]), &["192.0.2.1".to_owned()]).expect(3);
    assert!(nobody.stderr.contains("nothing was written"), "{}", nobody.stderr);
    assert!(!site.file("nobody.toml").exists());
}

/// With Debian's packages and their units, as somebody without this program would.
fn by_hand(site: &Site, addresses: &[String], made: &Made) {
    for (index, host) in HOSTS.iter().enumerate() {
        let others: Vec<String> =
            addresses.iter().enumerate().map(|(at, one)| format!("{}{at}=http://{one}:2380", made.etcd)).collect();
        let (own, clients) =
            (&addresses[index], addresses.iter().map(|one| format!("'{one}:2379'")).collect::<Vec<_>>());
        let script = MAKE
            .replace("@INDEX@", &index.to_string())
            .replace("@OWN@", own)
            .replace("@PEERS@", &others.join(","))
            .replace("@NAMESPACE@", made.namespace)
            .replace("@DATA@", made.data)
            .replace("@PARENT@", made.data.rsplit_once('/').map_or("/", |(parent, _)| parent))
            .replace("@REPLICATION@", made.replication)
            .replace("@ETCD@", made.etcd)
            .replace(
                "@BIN@",
                if made.data.contains("/15/") { "/usr/lib/postgresql/15/bin" } else { "/usr/lib/postgresql/17/bin" },
            )
            .replace("@CLIENTS@", &clients.join(", "))
            .replace("@SERVERS@", &servers(addresses));
        site.lab.ssh(host, &script).expect(0);
    }
    HOSTS.iter().for_each(|host| _ = site.lab.ssh(host, "systemctl start --no-block etcd").expect(0));
    HOSTS
        .iter()
        .for_each(|host| _ = site.lab.ssh(host, "systemctl start etcd && systemctl start patroni haproxy").expect(0));
    let settled = (0..120).any(|_| {
        std::thread::sleep(Duration::from_secs(1));
        let members = members(site);
        let all = members.as_array().cloned().unwrap_or_default();
        // before 3.1 a replica that streams is only called running
        let good = |one: &&Value| one["State"] == "streaming" || one["State"] == "running";
        all.len() == 3 && all.iter().all(|one| good(&one)) && all.iter().any(|one| one["Role"] == "Leader")
    });
    assert!(settled, "{}", members(site));
    let leader = members(site).as_array().and_then(|all| {
        let at = all.iter().find(|one| one["Role"] == "Leader")?["Host"].as_str()?.to_owned();
        HOSTS.into_iter().zip(addresses).find(|(_, address)| at.starts_with(address.as_str())).map(|(host, _)| host)
    });
    let leader = leader.expect("somebody leads");
    for (database, sql) in [
        ("postgres", "CREATE ROLE shop LOGIN"),
        ("postgres", "CREATE DATABASE shop OWNER shop"),
        ("shop", "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n"),
    ] {
        psql(site, leader, (database, sql)).expect(0);
    }
}

fn psql(site: &Site, host: &str, (database, sql): (&str, &str)) -> Ran {
    site.lab.ssh(host, &format!("cd / && runuser -u postgres -- psql -XAtq -p 5433 -d {database} -c \"{sql}\""))
}

fn members(site: &Site) -> Value {
    let listed = site.lab.ssh("db1", "patronictl -c /etc/patroni/config.yml list -f json");
    serde_json::from_str(&listed.stdout).unwrap_or(Value::Null)
}

fn servers(addresses: &[String]) -> String {
    let server = |(at, one): (usize, &String)| format!("    server p{at} {one}:5433 check port 8009\n");
    addresses.iter().enumerate().map(server).collect()
}

const MAKE: &str = r#"set -e
cat >/etc/default/etcd <<'END'
ETCD_NAME=@ETCD@@INDEX@
ETCD_DATA_DIR=/var/lib/etcd/default
ETCD_LISTEN_PEER_URLS=http://@OWN@:2380
ETCD_LISTEN_CLIENT_URLS=http://@OWN@:2379,http://127.0.0.1:2379
ETCD_ADVERTISE_CLIENT_URLS=http://@OWN@:2379
ETCD_INITIAL_ADVERTISE_PEER_URLS=http://@OWN@:2380
ETCD_INITIAL_CLUSTER=@PEERS@
ETCD_INITIAL_CLUSTER_TOKEN=legacy
END
cat >/etc/patroni/config.yml <<'END'
scope: legacy
namespace: @NAMESPACE@
name: pg@INDEX@
etcd3:
  hosts: [@CLIENTS@]
restapi:
  listen: 0.0.0.0:8009
  connect_address: @OWN@:8009
bootstrap:
  dcs:
    ttl: 40
    loop_wait: 10
    retry_timeout: 10
    postgresql:
      use_pg_rewind: true
      parameters: { max_connections: 150, work_mem: 7MB }
  initdb: [data-checksums, encoding: UTF8, locale: C.UTF-8]
postgresql:
  listen: 0.0.0.0:5433
  connect_address: @OWN@:5433
  data_dir: @DATA@
  bin_dir: @BIN@
  authentication:
    superuser: { username: postgres, password: NotInTheInventory1 }
    replication: { username: @REPLICATION@, password: NotInTheInventory2 }
    rewind: { username: rewind, password: NotInTheInventory4 }
  parameters: { unix_socket_directories: /var/run/postgresql }
  pg_hba:
    - local all postgres peer
    - host replication @REPLICATION@ 0.0.0.0/0 scram-sha-256
    - host all postgres 0.0.0.0/0 scram-sha-256
    - host postgres rewind 0.0.0.0/0 scram-sha-256
    - host shop shop 10.9.0.0/16 scram-sha-256
tags: { nofailover: false }
END
chown postgres:postgres /etc/patroni/config.yml
chmod 600 /etc/patroni/config.yml
install -d -o postgres -g postgres -m 0755 @PARENT@
install -d -o etcd -g etcd -m 0700 /var/lib/etcd /var/lib/etcd/default
cat >/etc/haproxy/haproxy.cfg <<'END'
defaults
    mode tcp
    timeout connect 4s
    timeout client 30m
    timeout server 30m
listen leader
    bind *:5000
    maxconn 321
    option httpchk OPTIONS /primary
    default-server inter 3s fall 3 rise 2
@SERVERS@listen readers
    bind *:5001
    option httpchk OPTIONS /replica?lag=2MB
@SERVERS@listen stats
    mode http
    bind *:7001
    stats enable
    stats auth admin:NotInTheInventory3
END
systemctl daemon-reload
"#;

fn of_others(site: &Site, addresses: &[String]) {
    let path = site.file("legacy.toml");
    let adopted = adopt(site, &path, ("root", &[]), addresses).expect(0);
    let found = inventory(&path);
    assert_eq!((found.cluster.as_str(), found.tls.enabled), ("legacy", false));
    let hosts: Vec<(String, &String, usize)> =
        found.hosts.iter().map(|host| (host.name.to_string(), &host.address, host.components.len())).collect();
    let expected: Vec<(String, &String, usize)> =
        addresses.iter().enumerate().map(|(at, address)| (format!("pg{at}"), address, 3)).collect();
    assert_eq!(hosts, expected);
    assert_eq!((found.postgresql.port, found.patroni.rest_port, found.postgresql.version), (5433, 8009, Some(17)));
    assert_eq!((found.patroni.ttl, found.patroni.loop_wait, found.patroni.failsafe_mode), (40, 10, false));
    let haproxy = &found.haproxy;
    assert_eq!(
        (haproxy.primary_port, haproxy.replica_port, haproxy.stats_port, haproxy.maxconn),
        (5000, 5001, 7001, 321)
    );
    assert_eq!((haproxy.replica_max_lag.as_str(), haproxy.check.inter_ms, haproxy.check.rise), ("2MB", 3000, 2));
    assert_eq!(found.etcd.data_dir, "/var/lib/etcd/default");
    assert_eq!((found.database.name.as_str(), found.database.owner.as_str()), ("shop", "shop"));
    assert_eq!(found.postgresql.allow, ["10.9.0.0/16"]);
    let parameters = serde_json::to_value(&found.postgresql.parameters).expect("JSON");
    assert_eq!((&parameters["max_connections"], &parameters["work_mem"]), (&Value::from(150), &Value::from("7MB")));
    // initdb's own choice, which would otherwise become ours
    assert_eq!(parameters["shared_buffers"], "128MB");
    let text = std::fs::read_to_string(&path).expect("readable");
    for what in [
        "pg0, pg1, pg2: its database is in /var/lib/postgresql/17/main",
        "under /db",
        "calls itself e0",
        "standby (replication)",
    ] {
        assert!(adopted.stdout.replace("\n  ", " ").contains(what), "{what}\n{}", adopted.stdout);
        assert!(text.replace("\n#   ", " ").contains(what), "{what}\n{text}");
    }
    assert!(!text.contains("NotInTheInventory") && !adopted.stdout.contains("NotInTheInventory"), "{text}");
    never_silently(site, &path);
}

/// What is somebody else's is refused with the reason, and goes on as it was.
fn never_silently(site: &Site, path: &Path) {
    let before = members(site);
    for command in [&["plan"][..], &["apply", "--yes"]] {
        let refused = program(site, &[command, &[&path.display().to_string()]].concat());
        assert!(![0, 5].contains(&refused.status), "{refused:?}");
        assert!(refused.stderr.contains("/var/lib/postgresql/17/main"), "{}", refused.stderr);
    }
    let names = |members: &Value| -> Vec<String> {
        members.as_array().into_iter().flatten().map(|one| format!("{} {}", one["Member"], one["Role"])).collect()
    };
    assert_eq!(names(&members(site)), names(&before));
}
