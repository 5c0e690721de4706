//! `render`: what the same inventories become as containers, that secrets are only where they belong, that nothing is written
//! over unasked, and that what a shape cannot say is told.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use xnat_provision::assets::Assets;
use xnat_provision::inventory::{Inventory, Signing};
use xnat_provision::pki::Pki;
use xnat_provision::render::{self, Made, Order, RenderError, Shape};
use xnat_provision::role::dynamic_config;
use xnat_provision::secret::Secret;
use xnat_provision::vault::Secrets;

use crate::certificates;

/// Of `application-password`: those made anew are salted.
const VERIFIER: &str = "'SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$0/CQVYQQQySsVDXhS9WXloTV0VLg5y3QghYQPCYkubU=:Vm3TDJupPugZ3f1Pwy+eBS+BskTSU20e31h4Yu8hjD8='";

fn inventory(name: &str) -> Inventory {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("inventory/{name}.toml"));
    Inventory::load(&path, None).unwrap_or_else(|error| panic!("{name}: {error}")).inventory
}

fn secrets() -> Secrets {
    let secret = |name: &str| Secret::new(format!("{name}-password"));
    Secrets {
        superuser: secret("superuser"),
        replication: secret("replication"),
        rewind: secret("rewind"),
        rest_api: secret("rest"),
        application: secret("application"),
        statistics: secret("statistics"),
        pki: Pki::default(),
        rotation: None,
    }
}

fn rendered(shape: Shape, inventory: &Inventory) -> Vec<Made> {
    let members = render::members(shape, inventory).expect("it can be");
    let secrets = certificates::stand_ins(&members, &secrets());
    let assets = Assets::default();
    let order = Order { shape, members: &members, secrets: &secrets, assets: &assets, former: Some(VERIFIER) };
    render::render(&order).unwrap_or_else(|error| panic!("{error}"))
}

fn content<'a>(made: &'a [Made], path: &str) -> &'a str {
    let found = made.iter().find(|one| one.path == path);
    &found.unwrap_or_else(|| panic!("no {path}")).content
}

/// One of each kind of member: others differ in names.
fn shown(made: &[Made]) -> String {
    let others = ["cluster/etcd-db2/", "cluster/etcd-db3/", "cluster/postgres-db2/", "cluster/postgres-db3/"];
    let one = |made: &&Made| !others.iter().any(|other| made.path.starts_with(other)) && !made.path.contains("/tls/");
    let text = |made: &Made| {
        let secret = if made.secret { " secret" } else { "" };
        let lines: String =
            made.content.lines().map(|line| format!("   | {line}").trim_end().to_owned() + "\n").collect();
        format!("=== {}{secret}\n{lines}", made.path)
    };
    made.iter().filter(one).map(text).collect()
}

#[test]
fn what_is_rendered_is_seen_when_it_changes() {
    insta::with_settings!({ snapshot_path => "../fixtures/render", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("compose", shown(&rendered(Shape::Compose, &inventory("colocated"))));
        insta::assert_snapshot!("kubernetes", shown(&rendered(Shape::Kubernetes, &inventory("split"))));
    });
}

/// A host, a container and a pod are told the same by the same templates.
#[test]
fn settings_come_from_one_place() {
    for example in ["minimal", "colocated", "split", "single"] {
        let inventory = inventory(example);
        let members = render::members(Shape::Compose, &inventory).expect("it can be");
        let made = rendered(Shape::Compose, &inventory);
        let servers = made.iter().filter(|one| one.path.ends_with("/10-bootstrap.yml"));
        let mut seen = 0;
        for server in servers {
            let settings: Value = serde_saphyr::from_str(&server.content).expect("YAML");
            assert_eq!(settings["bootstrap"]["dcs"], dynamic_config(&members), "{example}");
            seen += 1;
        }
        assert_eq!(
            seen,
            inventory.hosts.iter().filter(|host| host.role_names().any(|role| role == "postgres")).count().max(2)
        );
        let mut of_hosts = dynamic_config(&inventory);
        of_hosts["postgresql"]["parameters"]["logging_collector"] = false.into();
        assert_eq!(dynamic_config(&members), of_hosts, "{example}: but for where the log goes");
    }
}

#[test]
fn secrets_are_only_in_files_made_for_them() {
    for shape in [Shape::Compose, Shape::Kubernetes] {
        for one in rendered(shape, &inventory("colocated")) {
            // of passwords and of the stand-ins of keys
            let holds = one.content.contains("-password") || one.content.contains("SCRAM-SHA-256$");
            assert!(one.secret || !holds, "{}:\n{}", one.path, one.content);
        }
    }
}

#[test]
fn what_an_inventory_asks_of_packages_is_in_the_images() {
    let mut inventory = inventory("example");
    inventory.packages.pins.insert("patroni".into(), "4.0.7*".into());
    inventory.database.locale = "de_DE.UTF-8".into();
    let made = rendered(Shape::Kubernetes, &inventory);
    let dockerfile = content(&made, "image/Dockerfile");
    assert!(dockerfile.contains(" patroni=4.0.7* "), "{dockerfile}");
    assert!(dockerfile.contains(" locales ") && dockerfile.contains("&& locale-gen"), "{dockerfile}");
    assert!(dockerfile.contains("COPY files/etc/apt/apt.conf.d "), "{dockerfile}");
    assert!(content(&made, "image/files/etc/apt/apt.conf.d/90xnat-proxy").contains("proxy.example.org:3128"));
}

#[test]
fn images_are_of_a_release_that_has_the_postgresql_asked_for() {
    let mut inventory = inventory("colocated");
    inventory.postgresql.version = Some(15);
    let made = rendered(Shape::Compose, &inventory);
    assert!(content(&made, "cluster/image/Dockerfile").contains("FROM debian:12."));
    inventory.postgresql.version = Some(16);
    let members = render::members(Shape::Compose, &inventory).expect("it can be");
    let (secrets, assets) = (secrets(), Assets::default());
    let order = Order { shape: Shape::Compose, members: &members, secrets: &secrets, assets: &assets, former: None };
    let error = render::render(&order).expect_err("Debian has no 16");
    assert!(matches!(error, RenderError::NoVersion { version: 16 }), "{error}");
}

#[test]
fn certificates_that_others_sign_are_not_there_for_containers() {
    let mut inventory = inventory("colocated");
    inventory.tls.signing = Signing::Elsewhere { trusted: "ca.pem".into(), certificates: "certificates".into() };
    let error = render::members(Shape::Kubernetes, &inventory).expect_err("nobody could sign");
    assert!(matches!(error, RenderError::SignedElsewhere), "{error}");
}

#[test]
fn without_tls_nothing_speaks_of_certificates() {
    let mut inventory = inventory("colocated");
    inventory.tls.enabled = false;
    for (shape, file) in [(Shape::Compose, "docker-compose.override.yml"), (Shape::Kubernetes, "patroni.yml")] {
        let made = rendered(shape, &inventory);
        let text = content(&made, file);
        assert!(!text.contains("https") && !text.contains("HTTPS") && !text.contains(".pem"), "{text}");
    }
}

#[test]
fn what_cannot_be_said_is_told() {
    let told = |shape, name| render::unsaid(shape, &inventory(name)).join("\n");
    insta::assert_snapshot!(told(Shape::Compose, "example"), @r#"
    [firewall]: containers are on a network of their own, and HAProxy's ports are open on 127.0.0.1 only
    `liveness_failures` under [patroni]: nobody ends a Patroni or PostgreSQL that hangs: `docker compose ps` shows it as unhealthy
    [xnat] and [migrate] are about hosts: nothing of them is rendered
    "#);
    insta::assert_snapshot!(told(Shape::Kubernetes, "example"), @r#"
    `tags` of db3: all pods of a set are alike, and none has them
    [firewall]: network policies let in the cluster's own pods; `admins`, `clients` and `rules` are not in them
    `liveness_failures` under [patroni]: a Patroni that hangs is ended by its pod's liveness probe, a PostgreSQL that hangs by nobody
    [xnat] and [migrate] are about hosts: nothing of them is rendered
    "#);
    insta::assert_snapshot!(told(Shape::Compose, "single"), @r#"
    there is one PostgreSQL, and a second member was added for it
    `liveness_failures` under [patroni]: nobody ends a Patroni or PostgreSQL that hangs: `docker compose ps` shows it as unhealthy
    "#);
    insta::assert_snapshot!(told(Shape::Kubernetes, "split"), @r#"
    there are 2 hosts with PostgreSQL, and 3 pods
    `liveness_failures` under [patroni]: a Patroni that hangs is ended by its pod's liveness probe, a PostgreSQL that hangs by nobody
    "#);
}

// ---- the command -----------------------------------------------------------------------------------------------------

struct Site {
    home: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let text = std::fs::read_to_string(inventory("colocated").path).expect("an example");
        std::fs::write(home.path().join("site.toml"), format!("{text}\n[vault]\nencryption = \"none\"\n"))
            .expect("written");
        Self { home }
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xnat-provision"));
        command.args(words).current_dir(self.home.path()).env_clear().env("HOME", self.home.path());
        command.stdin(Stdio::null()).output().expect("it starts")
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.home.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

const COMPOSE: [&str; 5] = ["render", "compose", "site.toml", "--to", "out"];

#[test]
fn nothing_changes_the_second_time_and_nothing_is_written_over_unasked() {
    let site = Site::new();
    let first = site.run(&COMPOSE);
    let printed = String::from_utf8_lossy(&first.stdout).into_owned();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    insta::assert_snapshot!(printed, @r#"
    out: 52 files written

      cluster.env
      cluster/ (50 files)
      docker-compose.override.yml

    What the inventory says and this cannot:
    - one HAProxy stands for 3: on one machine a second one would go when the first goes
    - `liveness_failures` under [patroni]: nobody ends a Patroni or PostgreSQL that hangs: `docker compose ps` shows it as
      unhealthy

    Next:
    - start it: `cd out && docker compose --file docker-compose.override.yml up --detach --build`
    - what XNAT logs in with: `xnat-provision vault show application site.toml`
    - `xnat-provision help containers` says the rest
    "#);
    let vault = site.read("site.secrets.toml");
    let again = site.run(&[&COMPOSE[..], &["--json"]].concat());
    let again: Value = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!(again["written"], serde_json::json!([]), "the same passwords, keys and verifiers");
    assert_eq!(site.read("site.secrets.toml"), vault);

    let file = "out/docker-compose.override.yml";
    let whole = site.read(file);
    std::fs::write(site.home.path().join(file), "services: {}\n").expect("written");
    let refused = site.run(&COMPOSE);
    assert_eq!(refused.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8_lossy(&refused.stderr), @r#"
    xnat::render::exists

      × 1 file in out would be written over, and nothing was written:
      │ docker-compose.override.yml
      help: render into another directory with `--to` and compare (`diff -r`), or
            write over them with `--overwrite`
    "#);
    assert_eq!(site.read(file), "services: {}\n");
    assert!(site.run(&[&COMPOSE[..], &["--overwrite"]].concat()).status.success());
    assert_eq!(site.read(file), whole);
}

#[test]
fn files_with_secrets_are_for_their_owner_alone() {
    let site = Site::new();
    for shape in ["compose", "kubernetes"] {
        assert!(site.run(&["render", shape, "site.toml", "--to", shape]).status.success());
    }
    let mode = |path: &str| {
        let found = site.home.path().join(path).metadata().unwrap_or_else(|error| panic!("{path}: {error}"));
        found.permissions().mode() & 0o777
    };
    for path in [
        "compose/cluster.env",
        "compose/cluster/postgres-db1/etc/patroni/tls/postgres-key.pem",
        "compose/cluster/postgres-db1/etc/patroni/xnat/application.sql",
        "compose/cluster/haproxy/etc/haproxy/stats.cfg",
        "kubernetes/secrets.yml",
    ] {
        assert_eq!(mode(path), 0o600, "{path}");
    }
    assert_eq!(mode("compose/docker-compose.override.yml"), 0o644);
    // one that was opened since is closed again, though it says the same
    let opened = site.home.path().join("compose/cluster.env");
    std::fs::set_permissions(&opened, std::fs::Permissions::from_mode(0o644)).expect("ours");
    assert!(site.run(&["render", "compose", "site.toml", "--to", "compose", "--overwrite"]).status.success());
    assert_eq!(mode("compose/cluster.env"), 0o600);
}
