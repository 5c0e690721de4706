//! `adopt`: what this program has made is read back to an inventory that makes the same again, and what somebody else has
//! made is told apart from it.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use xnat_provision::adopt::{self, AdoptError, Adopted, Difference, Login, Looked, Seen, SeenError, Wish};
use xnat_provision::assets::Assets;
use xnat_provision::engine::{Connection, Connector};
use xnat_provision::facts::Facts;
use xnat_provision::inventory::{Component, Host, Inventory, Scalar, Synchronous};
use xnat_provision::pki::{self, Pki};
use xnat_provision::resource::{File, Firewall, Resource};
use xnat_provision::role::{self, Input};
use xnat_provision::secret::Secret;
use xnat_provision::transport::scripted::Scripted;
use xnat_provision::transport::{Endpoint, Output, Transport, TransportError};
use xnat_provision::vault::Secrets;
use xnat_provision::workflow::adopt::{Unseen, look};

const FRESH: &str = include_str!("../fixtures/facts/trixie-fresh.txt");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn secrets(inventory: &Inventory) -> Secrets {
    let secret = |name: &str| Secret::new(format!("{name}-password-0aQ7vX2mK9"));
    let mut pki = Pki::default();
    pki::complete(&mut pki, inventory, Timestamp::now()).expect("certificates");
    Secrets {
        superuser: secret("superuser"),
        replication: secret("replication"),
        rewind: secret("rewind"),
        rest_api: secret("rest"),
        application: secret("application"),
        statistics: secret("statistics"),
        pki,
        rotation: None,
    }
}

fn facts(host: &Host) -> Facts {
    let mut facts = xnat_provision::facts::parse(FRESH).expect("recorded");
    facts.addresses = vec![host.address.clone(), "127.0.0.1".into()];
    facts
}

/// Files, with the firewall's rules as one.
fn files(inventory: &Inventory, host: &Host, secrets: &Secrets) -> Vec<(String, String)> {
    let (facts, assets) = (facts(host), Assets::default());
    let roles = role::expand(&Input { inventory, host, facts: &facts, secrets, assets: &assets }).expect("it expands");
    let all = roles.into_iter().flat_map(|role| role.resources);
    let files = all.filter_map(|resource| match resource {
        Resource::File(File { path, content, .. }) => Some((path, content)),
        Resource::Firewall(Firewall { path, content, .. }) => Some((path, content)),
        _ => None,
    });
    files.collect()
}

/// What the host would answer, were these its files and did it run what they say.
fn answer(inventory: &Inventory, host: &Host, secrets: &Secrets) -> String {
    let files = files(inventory, host, secrets);
    let file = |path: &str| files.iter().find(|(known, _)| known == path).map(|(_, content)| content.as_str());
    let (_, rest) = FRESH.split_once('\n').expect("it begins with its name");
    let text = format!("hostname={}\n{rest}", host.name);
    let mut text = text.replace("end=1\n", &format!("address={}\nend=1\nadopt=begin\n", host.address));
    for path in ["/etc/etcd/etcd.env", "/etc/etcd/bootstrap.env"] {
        for line in file(path).unwrap_or_default().lines().filter(|line| line.starts_with("ETCD_")) {
            text += &format!("etcd_setting={}\n", line.replace('"', ""));
        }
    }
    for path in ["/etc/haproxy/haproxy.cfg", "/etc/haproxy/stats.cfg"] {
        let lines = file(path).unwrap_or_default().lines().filter(|line| !line.contains("auth"));
        lines.for_each(|line| text += &format!("haproxy_line={line}\n"));
    }
    if host.components.contains(&Component::Postgres) {
        text += &format!("patroni_found={}\n", patroni(inventory, &file));
    }
    for line in file("/etc/xnat-provision/firewall.nft").unwrap_or_default().lines() {
        text += &format!("firewall={line}\n");
    }
    if let Some(proxy) = &inventory.packages.proxy {
        text += &format!("proxy={proxy}\n");
    }
    text + "adopt=end\n"
}

fn merge(into: &mut Value, new: Value) {
    match (into, new) {
        (Value::Object(into), Value::Object(new)) => {
            for (name, value) in new {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, new) => *into = new,
    }
}

fn patroni<'a>(inventory: &Inventory, file: &dyn Fn(&str) -> Option<&'a str>) -> Value {
    let mut config = json!({});
    for name in ["20-member.yml", "30-settings.yml"] {
        let text = file(&format!("/etc/patroni/xnat/{name}")).expect("there");
        merge(&mut config, serde_saphyr::from_str(text).expect("YAML"));
    }
    let database = &inventory.database;
    json!({
        "path": "/etc/patroni/xnat", "unit": "patroni.service", "running": true,
        "hba": config["postgresql"]["pg_hba"], "config": config, "dynamic": role::dynamic_config(inventory),
        "certificates": { "postgres": file("/etc/patroni/tls/postgres.pem") },
        "server": { "version": 17, "parameters": {}, "databases": [
            { "name": "postgres", "owner": "postgres", "superuser": true, "size": 9 },
            { "name": database.name, "owner": database.owner, "superuser": false, "encoding": database.encoding,
              "collate": database.locale, "ctype": database.locale, "provider": "c", "size": 8,
              "extensions": database.extensions },
        ]},
    })
}

fn looked(inventory: &Inventory, secrets: &Secrets) -> Vec<Looked> {
    let one = |host: &Host| {
        let seen =
            Seen::parse(&answer(inventory, host, secrets)).unwrap_or_else(|error| panic!("{}: {error}", host.name));
        Looked { given: host.ssh.host.clone(), seen }
    };
    inventory.hosts.iter().map(one).collect()
}

fn wish() -> Wish<'static> {
    Wish { path: Path::new("inventory.toml"), assets: None, database: None }
}

fn adopted(looked: Vec<Looked>) -> Adopted {
    let login = Login { user: Some("root".into()), ..Login::default() };
    adopt::adopt(looked, &login, wish()).unwrap_or_else(|error| panic!("{error:?}"))
}

fn example(name: &str) -> Inventory {
    Inventory::load(&root().join(format!("inventory/{name}.toml")), None).expect(name).inventory
}

/// The files an inventory makes, again of the inventory that was made of them; whoever is named first.
fn comes_back(inventory: &Inventory, name: &str) {
    let secrets = secrets(inventory);
    for turn in 0..inventory.hosts.len() {
        let mut answers = looked(inventory, &secrets);
        answers.rotate_left(turn);
        let adopted = adopted(answers);
        for host in &inventory.hosts {
            let again =
                adopted.inventory.host(&host.name).unwrap_or_else(|| panic!("{name}: {} is missing", host.name));
            assert_eq!(again.components, host.components, "{name}");
            let (before, after) = (files(inventory, host, &secrets), files(&adopted.inventory, again, &secrets));
            for ((path, old), (_, new)) in before.iter().zip(&after) {
                assert_eq!(old, new, "{name} {} {path}\n{}", host.name, adopted.text);
            }
            assert_eq!(before.len(), after.len(), "{name}");
        }
        assert_eq!(role::dynamic_config(inventory), role::dynamic_config(&adopted.inventory), "{name}");
        assert_eq!(adopted.differences, [], "{name}\n{}", adopted.text);
        assert_eq!(adopted.others, []);
        let wanted = pki::wanted(inventory);
        assert!(pki::wanted(&adopted.inventory).iter().all(|one| wanted.contains(one)), "{name}\n{}", adopted.text);
    }
}

#[test]
fn what_this_program_has_made_comes_back() {
    for name in ["minimal", "colocated", "split", "single", "example"] {
        comes_back(&example(name), name);
    }
}

#[test]
fn what_was_set_otherwise_comes_back_too() {
    let mut inventory = example("colocated");
    inventory.tls.enabled = false;
    inventory.etcd.client_port = 12379;
    inventory.etcd.data_dir = "/srv/etcd".into();
    inventory.etcd.election_timeout_ms = 2500;
    inventory.postgresql.port = 6432;
    inventory.postgresql.parameters.insert("work_mem".into(), Scalar::Text("8MB".into()));
    inventory.postgresql.parameters.insert("auto_explain.log_min_duration".into(), Scalar::Integer(250));
    inventory.postgresql.hba =
        vec!["host xnat reporting 10.9.0.0/16 scram-sha-256".into(), "local all all peer".into()];
    inventory.postgresql.allow = vec!["10.7.0.0/16".into(), "10.6.0.0/16".into()];
    inventory.patroni.ttl = 40;
    inventory.patroni.synchronous = Synchronous::Quorum;
    inventory.patroni.synchronous_node_count = 2;
    inventory.patroni.failsafe_mode = false;
    inventory.patroni.maximum_lag_on_failover = 5 << 20;
    inventory.haproxy.check.rise = 3;
    inventory.haproxy.replica_max_lag = "1GB".into();
    inventory.haproxy.maxconn = 77;
    inventory.database.name = "archive".into();
    inventory.database.extensions = vec!["pg_trgm".into()];
    inventory.hosts[1].tags.insert("nofailover".into(), Scalar::Bool(true));
    comes_back(&inventory, "otherwise");
}

#[test]
fn no_password_is_in_what_is_written() {
    let inventory = example("colocated");
    let secrets = secrets(&inventory);
    let text = adopted(looked(&inventory, &secrets)).text;
    assert!(!text.contains("-password-0aQ7vX2mK9"), "{text}");
}

// ---- clusters of others ----------------------------------------------------------------------------------------------

/// As Debian's packages and Patroni's documentation have people do it.
fn foreign(index: usize) -> Value {
    json!({
        "path": "/etc/patroni/config.yml", "unit": "patroni.service", "running": true, "variables": [],
        "config": {
            "scope": "legacy", "namespace": "/db/", "name": format!("pg{index}"),
            "etcd3": { "hosts": ["10.0.0.1:2379", "10.0.0.2:2379"] },
            "restapi": { "listen": "0.0.0.0:8009", "connect_address": format!("10.0.0.{index}:8009") },
            "postgresql": {
                "listen": "0.0.0.0:5433", "connect_address": format!("10.0.0.{index}:5433"),
                "data_dir": "/var/lib/postgresql/17/main", "bin_dir": "/usr/lib/postgresql/17/bin",
                "authentication": { "superuser": { "username": "postgres" }, "replication": { "username": "standby" } },
                "parameters": { "unix_socket_directories": "/var/run/postgresql", "log_statement": "ddl" },
                "callbacks": { "on_start": "/bin/true" },
            },
            "tags": { "nofailover": index == 2 },
        },
        "dynamic": {
            "ttl": 40, "loop_wait": 10, "retry_timeout": 10, "maximum_lag_on_failover": 1048576,
            "postgresql": { "use_pg_rewind": true, "parameters": { "max_connections": 150, "hot_standby": "on" } },
            "slots": { "reporting": { "type": "physical" } },
        },
        "members": [
            { "name": "pg1", "host": "10.0.0.1", "role": "leader" }, { "name": "pg2", "host": "10.0.0.2", "role": "replica" },
            { "name": "pg3", "host": "10.0.0.3", "role": "replica" },
        ],
        "hba": ["local all postgres peer", "host replication standby 10.0.0.0/24 scram-sha-256",
                "host shop shop 10.1.0.0/16 scram-sha-256", "host all all 0.0.0.0/0 md5"],
        "server": { "version": 17, "parameters": { "shared_buffers": "128MB", "max_connections": "150", "wal_log_hints": "on" },
            "databases": [
                { "name": "postgres", "owner": "postgres", "superuser": true, "size": 90 },
                { "name": "shop", "owner": "shop", "superuser": false, "encoding": "UTF8", "collate": "en_GB.UTF-8",
                  "ctype": "en_GB.UTF-8", "size": 80, "extensions": ["pg_trgm"] },
                { "name": "small", "owner": "shop", "superuser": false, "encoding": "UTF8", "collate": "C", "ctype": "C", "size": 7 },
            ] },
        "problems": [],
    })
}

fn of_others(given: &str, index: usize, patroni: &Value) -> Looked {
    let text = FRESH.replace("end=1\n", &format!("address=10.0.0.{index}\nend=1\nadopt=begin\n"));
    let etcd = format!(
        "etcd_unit=etcd.service\netcd_setting=ETCD_NAME=pg{index}\netcd_setting=ETCD_DATA_DIR=/var/lib/etcd/default\n\
         etcd_setting=ETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.{index}:2379\n"
    );
    let seen = Seen::parse(&format!("{text}{etcd}patroni_found={patroni}\nadopt=end\n")).expect("it is whole");
    Looked { given: given.to_owned(), seen }
}

fn two() -> Vec<Looked> {
    vec![of_others("one.example.org", 1, &foreign(1)), of_others("10.0.0.2", 2, &foreign(2))]
}

fn tells(adopted: &Adopted, what: &str) {
    let all: Vec<String> = adopted.differences.iter().map(Difference::to_string).collect();
    assert!(all.iter().any(|one| one.contains(what)), "{what}\n{all:#?}");
}

#[test]
fn a_cluster_of_others_is_said_as_far_as_words_go() {
    let adopted = adopted(two());
    let Inventory { cluster, hosts, etcd, postgresql, patroni, database, tls, .. } = &adopted.inventory;
    assert_eq!((cluster.as_str(), tls.enabled), ("legacy", false));
    let named: Vec<_> =
        hosts.iter().map(|host| (host.name.as_str(), host.address.as_str(), host.ssh.host.as_str())).collect();
    assert_eq!(named, [("pg1", "10.0.0.1", "one.example.org"), ("pg2", "10.0.0.2", "10.0.0.2")]);
    assert_eq!(hosts[1].tags.get("nofailover"), Some(&Scalar::Bool(true)));
    assert_eq!(etcd.data_dir, "/var/lib/etcd/default");
    assert_eq!((postgresql.version, postgresql.port, patroni.rest_port), (Some(17), 5433, 8009));
    assert_eq!(
        (patroni.ttl, patroni.loop_wait, patroni.primary_start_timeout, patroni.failsafe_mode),
        (40, 10, 300, false)
    );
    let parameter = |name: &str| postgresql.parameters.get(name).cloned();
    assert_eq!(parameter("max_connections"), Some(Scalar::Integer(150)));
    assert_eq!(parameter("shared_buffers"), Some(Scalar::Text("128MB".into())), "what runs goes on");
    assert_eq!(parameter("log_statement"), Some(Scalar::Text("ddl".into())));
    assert_eq!(parameter("hot_standby"), None);
    assert_eq!(postgresql.allow, ["10.1.0.0/16"]);
    assert_eq!(postgresql.hba, ["host replication standby 10.0.0.0/24 scram-sha-256", "host all all 0.0.0.0/0 md5"]);
    assert_eq!((database.name.as_str(), database.locale.as_str()), ("shop", "en_GB.UTF-8"));
    assert_eq!(database.extensions, ["pg_trgm"]);
}

#[test]
fn what_cannot_be_said_is_told_and_stands_in_the_file() {
    let adopted = adopted(two());
    for what in [
        "pg1, pg2: its database is in /var/lib/postgresql/17/main; here it is in /var/lib/postgresql/17/legacy",
        "pg1, pg2: its Patroni has its keys in etcd under /db; here they are under /service",
        "pg1, pg2: its Patroni reads /etc/patroni/config.yml",
        "pg1, pg2: its Patroni logs in as standby (replication); here that is replicator",
        "pg1, pg2: its Patroni has settings this program has no word for: postgresql.callbacks",
        "what all members share would change: check_timeline: (unset) → true",
        "would say, too, what is in force already: primary_start_timeout, failsafe_mode",
        "what all members share has slots, which is left as it is",
        "there are other databases, which are left as they are (`--database NAME` takes another one): small of shop",
    ] {
        tells(&adopted, what);
    }
    assert!(
        adopted.text.contains("\n# - pg1, pg2: its database is in /var/lib/postgresql/17/main"),
        "{}",
        adopted.text
    );
    assert_eq!(adopted.others.len(), 1, "{:?}", adopted.others);
    assert_eq!((adopted.others[0].name.as_str(), adopted.others[0].address.as_str()), ("pg3", "10.0.0.3"));
}

/// Its services may be down just now; it is a member all the same.
#[test]
fn a_host_whose_services_do_not_run_keeps_its_roles() {
    let inventory = example("colocated");
    let secrets = secrets(&inventory);
    let mut answers = looked(&inventory, &secrets);
    answers[1].seen.etcd = None;
    let stopped =
        answer(&inventory, &inventory.hosts[2], &secrets).replace("adopt=end", "haproxy_stopped=1\nadopt=end");
    answers[2].seen = Seen::parse(&stopped.replace("\"running\":true", "\"running\":false")).expect("whole");
    let adopted = adopted(answers);
    for (host, again) in inventory.hosts.iter().zip(&adopted.inventory.hosts) {
        assert_eq!((&host.name, &host.components), (&again.name, &again.components));
    }
    tells(&adopted, "db2: its etcd does not run");
    tells(&adopted, "db3: its HAProxy does not run");
    tells(&adopted, "db3: its Patroni does not run");
}

#[test]
fn names_that_cannot_be_are_others_and_that_is_told() {
    let mut patroni = foreign(1);
    patroni["config"]["scope"] = json!("17-main");
    patroni["config"]["name"] = json!("PG_one");
    let adopted = adopted(vec![of_others("10.0.0.1", 1, &patroni)]);
    assert_eq!((adopted.inventory.cluster.as_str(), adopted.inventory.hosts[0].name.as_str()), ("xnat", "pg-one"));
    tells(&adopted, "its cluster is called 17-main, which cannot be a name here");
    tells(&adopted, "its Patroni calls itself PG_one");
}

#[test]
fn a_chosen_database() {
    let choose = |name| {
        let wish = Wish { database: Some(name), ..wish() };
        adopt::adopt(two(), &Login::default(), wish)
    };
    assert_eq!(choose("small").expect("it is there").inventory.database.name, "small");
    let error = choose("smal").expect_err("there is none");
    assert!(
        matches!(&error, AdoptError::NoDatabase { known, .. } if known == "its databases are shop, small"),
        "{error:?}"
    );
}

#[test]
fn what_is_no_cluster_of_this_kind_is_refused() {
    let refused = |looked: Vec<Looked>| adopt::adopt(looked, &Login::default(), wish()).expect_err("refused");
    let mut other = foreign(2);
    other["config"]["scope"] = json!("other");
    let several = refused(vec![of_others("a", 1, &foreign(1)), of_others("b", 2, &other)]);
    assert!(matches!(several, AdoptError::Several { scopes } if scopes == "legacy, other"));
    let mut consul = foreign(1);
    consul["config"].as_object_mut().expect("a table").remove("etcd3");
    consul["config"]["consul"] = json!({ "host": "127.0.0.1:8500" });
    assert!(
        matches!(refused(vec![of_others("a", 1, &consul)]), AdoptError::OtherStore { store, .. } if store == "consul")
    );
    let bare = Looked { given: "a".into(), seen: Seen::default() };
    assert!(matches!(refused(vec![bare]), AdoptError::NoPatroni { hosts, .. } if hosts == "a"));
}

#[test]
fn half_an_answer_is_none() {
    let cut = format!("{FRESH}adopt=begin\netcd_setting=ETCD_NAME=a\n");
    assert!(matches!(Seen::parse(&cut), Err(SeenError::Truncated)));
    assert!(matches!(Seen::parse(&format!("{cut}patroni_found={{\nadopt=end\n")), Err(SeenError::Nonsense { .. })));
}

#[test]
fn the_script_is_whole() {
    let script = adopt::script();
    let checked = std::process::Command::new("sh").args(["-n", "-c", &script]).output().expect("sh");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(script.contains("export XP_PARAMETERS='max_connections shared_buffers "), "{script}");
}

/// Hosts that say what they were given to say, to one question and no other.
struct Canned(Vec<(Host, Arc<Scripted>)>);

#[async_trait]
impl Connector for Canned {
    async fn connect(&self, host: &Host) -> Result<Connection, TransportError> {
        let (_, transport) = self.0.iter().find(|(known, _)| known.name == host.name).expect("it is known");
        let (name, address) = (host.name.to_string(), host.address.clone());
        let endpoint = Endpoint { host: name, user: "root".into(), address, port: 22 };
        Ok(Connection { transport: transport.clone(), endpoint })
    }
}

#[tokio::test]
async fn every_host_is_asked_once_and_one_that_fails_stops_nobody() {
    let inventory = example("minimal");
    let secrets = secrets(&inventory);
    let title = "look at what runs here";
    let canned = |host: &Host| {
        let answers = match host.name.as_str() {
            "db2" => Scripted::new().on(title, Output { status: 3, stderr: "no awk\n".into(), ..Output::default() }),
            _ => Scripted::new().prints(title, answer(&inventory, host, &secrets)),
        };
        (host.clone(), Arc::new(answers))
    };
    let hosts = Canned(inventory.hosts.iter().map(canned).collect());
    let seen = look(&inventory.hosts, &hosts).await;
    assert_eq!(seen.len(), inventory.hosts.len());
    for (name, one) in &seen {
        match (name.as_str(), one) {
            ("db2", Err(error @ Unseen::Script { .. })) => assert!(error.to_string().ends_with("status 3: no awk")),
            (_, Ok(seen)) => assert!(seen.etcd.is_some() || seen.haproxy.is_some()),
            (name, Err(error)) => panic!("{name}: {error}"),
        }
    }
    assert!(hosts.0.iter().all(|(_, transport)| transport.round_trips() == 1));
}
