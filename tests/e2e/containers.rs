//! What `render` writes, started without a container engine: the cluster comes up, serves, and a member that ends is
//! succeeded.

mod compose;
mod engine;
mod kubernetes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::run;
use engine::{Container, Engine};
use kubernetes::Manifests;
use serde_json::Value;

const INVENTORY: &str = r#"
[cluster]
name = "xnat"
[vault]
encryption = "none"
[[host]]
name = "a"
address = "10.0.0.1"
roles = ["etcd", "postgres", "haproxy"]
[[host]]
name = "b"
address = "10.0.0.2"
roles = ["etcd", "postgres"]
[[host]]
name = "c"
address = "10.0.0.3"
roles = ["etcd"]
[haproxy]
primary_port = 5000
replica_port = 5001
[patroni]
preset = "fast"
"#;

fn site_of(inventory: &str) -> tempfile::TempDir {
    let site = tempfile::tempdir().expect("a directory");
    std::fs::write(site.path().join("site.toml"), inventory).expect("written");
    site
}

/// Where it was rendered.
fn render_into(site: &tempfile::TempDir, shape: &str) -> PathBuf {
    let to = site.path().join(shape);
    let words = [site.path().join("site.toml"), to.clone()].map(|path| path.display().to_string());
    run(&["render", shape, &words[0], "--to", &words[1]]).expect(0);
    to
}

/// The application, which comes in by way of HAProxy.
struct Client<'a> {
    engine: &'a Engine,
    haproxy: &'a str,
    /// By which name it goes to it.
    address: &'a str,
    password: &'a str,
}

impl Client<'_> {
    /// What the server says; none when it cannot be asked.
    fn ask(&self, port: u16, sql: &str) -> Option<String> {
        let to = format!(
            "host={} port={port} user=xnat dbname=xnat connect_timeout=2 sslmode=verify-full sslrootcert=/etc/haproxy/tls/ca.pem",
            self.address
        );
        let words = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--dbname", &to, "--command", sql];
        let answer = self.engine.exec(self.haproxy, &words, &[("PGPASSWORD", self.password)]);
        answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).trim().to_owned())
    }
}

fn password(site: &Path) -> String {
    let inventory = site.join("site.toml").display().to_string();
    run(&["vault", "show", "application", &inventory]).expect(0).stdout.trim().to_owned()
}

/// A site's cluster as it runs.
struct Site<'a> {
    engine: Engine,
    containers: Vec<Container>,
    /// Who may lead.
    servers: &'a [&'a str],
    haproxy: &'a str,
    address: &'a str,
    password: String,
}

impl Site<'_> {
    fn ask(&self, port: u16, sql: &str) -> Option<String> {
        Client { engine: &self.engine, haproxy: self.haproxy, address: self.address, password: &self.password }
            .ask(port, sql)
    }

    fn leader(&self) -> Option<&str> {
        self.servers.iter().copied().find(|name| self.engine.runs(name) && leads(&self.engine, name))
    }

    fn comes_up_and_serves(&self) {
        self.engine.wait_until_healthy(Duration::from_secs(120));
        self.engine.until(Duration::from_secs(20), "the leader takes writes", || {
            self.ask(5000, "CREATE TABLE IF NOT EXISTS scan (id int); INSERT INTO scan VALUES (1)").is_some()
        });
        self.replica_serves(1);
        // what an administrator types, with what the container has
        let list = self.engine.exec(self.servers[0], &["patronictl", "list", "--format", "json"], &[]);
        let members: Value = serde_json::from_slice(&list.stdout).unwrap_or_default();
        let told = String::from_utf8_lossy(&list.stderr);
        assert_eq!(members.as_array().map(Vec::len), Some(self.servers.len()), "{members} {told}");
    }

    fn replica_serves(&self, rows: u32) {
        let sql = format!("SELECT pg_is_in_recovery() AND count(*) >= {rows} FROM scan");
        self.engine.until(Duration::from_secs(40), "a replica serves readers", || {
            self.ask(5001, &sql).as_deref() == Some("t")
        });
    }

    /// The leader ends as engines end one; and comes back with another address, as they give one.
    fn is_succeeded(&mut self) {
        let leader = self.leader().expect("one leads").to_owned();
        let status = self.engine.stop(&leader, Duration::from_secs(30));
        assert_eq!(status, Some(0), "a clean end:\n{}", self.engine.logged(&leader));
        self.engine.until(Duration::from_secs(40), "another one takes over", || {
            self.ask(5000, "INSERT INTO scan VALUES (2)").is_some()
        });
        let former = self.containers.iter().find(|container| container.name == leader).expect("it was there").clone();
        self.engine.run(former);
        self.engine.wait_until_healthy(Duration::from_secs(60));
        // all others may not be asked: it is the one that came back which has to serve
        self.replica_serves(2);
        let lines = self.engine.exec(
            &leader,
            &["curl", "--silent", "--fail", "--insecure", "https://127.0.0.1:8008/replica"],
            &[],
        );
        assert!(lines.status.success(), "it follows: {}", String::from_utf8_lossy(&lines.stdout));
    }
}

#[test]
fn a_rendered_compose_file_becomes_a_cluster_that_fails_over() {
    let site = site_of(INVENTORY);
    let directory = render_into(&site, "compose");
    let engine = Engine::start(&directory.join("cluster/image"));
    let containers = compose::containers(&directory, &engine.directory.path().join("volumes"));
    let (servers, password) = (&["postgres-a", "postgres-b"], password(site.path()));
    let mut site = Site { engine, containers, servers, haproxy: "haproxy", address: "haproxy", password };
    site.containers.clone().into_iter().for_each(|container| site.engine.run(container));
    site.comes_up_and_serves();
    site.is_succeeded();
}

/// Users without root, names of a namespace, and the labels services go by.
#[test]
fn rendered_manifests_become_a_cluster_whose_pods_say_who_leads() {
    let site = site_of(INVENTORY);
    let directory = render_into(&site, "kubernetes");
    let engine = Engine::start(&directory.join("image"));
    let manifests = Manifests::read(&directory, engine.directory.path().join("volumes"));
    let account = site.path().join("account");
    let pods = manifests.pods(&engine.variables_of_kubernetes(), &account);
    let labels: BTreeMap<&str, &Value> = pods.iter().map(|pod| (pod.container.name.as_str(), &pod.labels)).collect();
    let mut api = engine.kubernetes(&account, &labels);
    let containers: Vec<Container> = pods.iter().map(|pod| pod.container.clone()).collect();
    let (servers, password) = (&["xnat-patroni-0", "xnat-patroni-1", "xnat-patroni-2"], password(site.path()));
    let mut site = Site { engine, containers, servers, haproxy: "xnat-haproxy-0", address: "xnat-haproxy", password };
    site.containers.clone().into_iter().for_each(|container| site.engine.run(container));
    site.comes_up_and_serves();
    site.engine
        .until(Duration::from_secs(20), "the leader and nobody else is labelled", || says_who_leads(&site, &account));
    site.is_succeeded();
    site.engine.until(Duration::from_secs(20), "the new leader and nobody else is labelled", || {
        says_who_leads(&site, &account)
    });
    api.kill().and_then(|()| api.wait()).expect("it ends");
}

/// By validators that carry the published schemas.
#[test]
fn what_is_rendered_is_what_the_schemas_allow() {
    for example in ["minimal", "colocated", "split", "single", "plain"] {
        let site = site_of(&example_text(example));
        let compose = validated("check-jsonschema", &COMPOSE_SPEC, &[compose_file(&site)]);
        assert!(compose.0, "{example}: {}", compose.1);
        let directory = render_into(&site, "kubernetes");
        let files = std::fs::read_dir(&directory).expect("rendered").map(|entry| entry.expect("an entry").path());
        let manifests: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|kind| kind == "yml")).collect();
        // the oldest that the guide promises, and the newest there is
        for version in ["1.27.0", "1.37.0"] {
            let (good, said) = validated("kubernetes-validate", &["--strict", "-k", version], &manifests);
            assert!(good, "{example}: {said}");
            assert!(said.matches(" passed for resource ").count() >= 18, "{example}: all were looked at: {said}");
        }
        let list = std::fs::read_to_string(directory.join("kustomization.yaml")).expect("rendered");
        let list: Value = serde_saphyr::from_str(&list).expect("YAML");
        assert_eq!(list["resources"].as_array().map(Vec::len), Some(manifests.len()), "{example}: all are applied");
    }
}

#[test]
fn the_schemas_refuse_what_is_wrong() {
    let site = site_of(INVENTORY);
    let broken = |file: &Path, from: &str, to: &str| {
        let text = std::fs::read_to_string(file).expect("rendered");
        assert!(text.contains(from), "{text}");
        std::fs::write(file, text.replace(from, to)).expect("written");
    };
    let compose = compose_file(&site);
    broken(&compose, "read_only:", "read_onyl:");
    assert!(!validated("check-jsonschema", &COMPOSE_SPEC, &[compose]).0);
    let manifest = render_into(&site, "kubernetes").join("etcd.yml");
    broken(&manifest, "podManagementPolicy:", "podManagmentPolicy:");
    assert!(!validated("kubernetes-validate", &["--strict"], &[manifest]).0);
}

const COMPOSE_SPEC: [&str; 2] = ["--builtin-schema", "vendor.compose-spec"];

fn compose_file(site: &tempfile::TempDir) -> PathBuf {
    render_into(site, "compose").join("docker-compose.override.yml")
}

/// Whether it is good, and what was said.
fn validated(validator: &str, options: &[&str], files: &[PathBuf]) -> (bool, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemas/bin").join(validator);
    assert!(path.exists(), "there is no {validator}; `make schemas` installs it");
    let output = Command::new(path).args(options).args(files).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

/// One of the repository's, or one of ours without TLS.
fn example_text(name: &str) -> String {
    match name {
        "plain" => format!("{INVENTORY}[tls]\nenabled = false\n"),
        _ => {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("inventory/{name}.toml"));
            std::fs::read_to_string(path).expect("an example") + "\n[vault]\nencryption = \"none\"\n"
        }
    }
}

/// What the Dockerfile installs is what the tests' image has, so that they are about the same.
#[test]
fn the_image_of_the_tests_is_that_of_the_dockerfile() {
    let site = site_of(INVENTORY);
    let build = render_into(&site, "compose").join("cluster/image");
    let dockerfile = std::fs::read_to_string(build.join("Dockerfile")).expect("rendered");
    let installs = dockerfile.lines().filter_map(|line| line.split("--no-install-recommends ").nth(1));
    let image = engine::image();
    let status = std::fs::read_to_string(image.join("var/lib/dpkg/status")).expect("a list of packages");
    let wanted: Vec<&str> = installs.flat_map(|line| line.trim_end_matches(" \\").split(' ')).collect();
    assert!(wanted.contains(&"patroni") && wanted.contains(&"haproxy"), "{wanted:?}");
    for package in wanted {
        assert!(status.contains(&format!("Package: {package}\n")), "tests/e2e/containers/image.sh lacks {package}");
    }
    let users = std::fs::read_to_string(image.join("etc/passwd")).expect("users");
    for line in dockerfile.lines().filter(|line| line.contains("useradd ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = words.iter().position(|word| *word == "--uid").map(|at| words[at + 1]).expect("a number");
        let name = words.iter().rev().find(|word| **word != "\\").expect("a name");
        assert!(users.contains(&format!("{name}:x:{number}:")), "{name} is not {number}");
    }
}

fn says_who_leads(site: &Site<'_>, account: &Path) -> bool {
    let text = std::fs::read_to_string(account.with_file_name("labels.json")).expect("it is kept");
    let labels: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
    let role = |name: &str| labels[name]["xnat-provision/role"].as_str().unwrap_or("none").to_owned();
    let Some(leader) = site.leader() else { return false };
    site.servers.iter().all(|name| role(name) == if *name == leader { "primary" } else { "replica" })
}

/// By Patroni's word.
fn leads(engine: &Engine, member: &str) -> bool {
    let words = ["curl", "--fail", "--silent", "--insecure", "https://127.0.0.1:8008/primary"];
    engine.exec(member, &words, &[]).status.success()
}
