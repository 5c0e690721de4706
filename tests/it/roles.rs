//! Roles and templates: what every example inventory gets on every release, that templates ask only for what there is,
//! that no value can break a file, and that mistakes are shown where they are.

mod mistakes;

use std::fmt::Write as _;
use std::path::Path;

use xnat_provision::assets::{self, Assets, Origin};
use xnat_provision::facts::Facts;
use xnat_provision::inventory::{Component, Inventory, Scalar, Synchronous};
use xnat_provision::pki::Pki;
use xnat_provision::render::{self, Order, Shape};
use xnat_provision::resource::{File, Firewall, Resource, octal};
use xnat_provision::role::{self, Data, Input, RoleError, RoleResources, expand};
use xnat_provision::secret::Secret;
use xnat_provision::vault::Secrets;

use crate::certificates;

const EXAMPLES: [&str; 4] = ["minimal", "colocated", "split", "single"];
const RELEASES: [&str; 2] = ["bookworm", "trixie"];
/// Everything that is special to YAML, HAProxy, a shell, systemd or pg_hba.conf.
const NASTY: &str = r##"a: #b"c'{d}%e$f\g `h|i, *&!"##;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn inventory(name: &str) -> Inventory {
    let path = root().join(format!("inventory/{name}.toml"));
    Inventory::load(&path, None).unwrap_or_else(|error| panic!("{name}: {error}")).inventory
}

fn facts(codename: &str) -> Facts {
    let release = if codename == "trixie" { "13" } else { "12" };
    Facts { os: "debian".into(), codename: codename.into(), release: release.into(), ..Facts::default() }
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

/// Expand one host, with the secrets, release and assets of a test.
fn expand_host(inventory: &Inventory, host: usize, secrets: &Secrets, assets: &Assets) -> Vec<RoleResources> {
    try_expand(inventory, host, "trixie", secrets, assets).unwrap_or_else(|error| panic!("{error}"))
}

fn try_expand(
    inventory: &Inventory,
    host: usize,
    codename: &str,
    secrets: &Secrets,
    assets: &Assets,
) -> Result<Vec<RoleResources>, RoleError> {
    let secrets = &certificates::stand_ins(inventory, secrets);
    expand(&Input { inventory, host: &inventory.hosts[host], facts: &facts(codename), secrets, assets })
}

/// The content of a file of a host.
fn content(roles: &[RoleResources], path: &str) -> String {
    let all = roles.iter().flat_map(|role| &role.resources);
    let mut files = all.filter_map(|resource| match resource {
        Resource::File(file) if file.path == path => Some(file.content.clone()),
        _ => None,
    });
    files.next().unwrap_or_else(|| panic!("no file {path}"))
}

/// Everything about a host's resources, for people who review a change of a role.
fn show(roles: &[RoleResources]) -> String {
    let mut text = String::new();
    for role in roles {
        let _ = writeln!(text, "=== {}", role.role);
        for resource in &role.resources {
            match resource {
                Resource::File(file) => show_file(&mut text, file),
                Resource::Directory(it) => {
                    let _ = writeln!(text, "directory {} {}:{} {}", it.path, it.owner, it.group, octal(it.mode));
                }
                other => {
                    let _ = writeln!(text, "{other:#?}");
                }
            }
        }
    }
    text
}

fn show_file(text: &mut String, file: &xnat_provision::resource::File) {
    let secret = if file.secret { " secret" } else { "" };
    let _ = writeln!(text, "file {} {}:{} {}{secret}", file.path, file.owner, file.group, octal(file.mode));
    for (name, value) in [("validate", &file.validate), ("frozen by", &file.frozen_by)] {
        if let Some(value) = value {
            let _ = writeln!(text, "     {name} {value}");
        }
    }
    for line in file.content.lines() {
        let _ = writeln!(text, "{}", format!("   | {line}").trim_end());
    }
}

#[test]
fn every_role_expands_for_every_example_and_release() {
    for example in EXAMPLES {
        let inventory = inventory(example);
        for release in RELEASES {
            let mut seen = Vec::new();
            for (index, host) in inventory.hosts.iter().enumerate() {
                let roles = try_expand(&inventory, index, release, &secrets(), &Assets::default())
                    .unwrap_or_else(|error| panic!("{example} {release} {}: {error}", host.name));
                // Hosts with the same components differ in names and addresses only: one of each is shown.
                if !seen.contains(&host.components) {
                    seen.push(host.components.clone());
                    insta::with_settings!({ snapshot_path => "../fixtures/roles", prepend_module_to_snapshot => false }, {
                        insta::assert_snapshot!(format!("{example}-{release}-{}", host.name), show(&roles));
                    });
                }
            }
        }
    }
}

#[test]
fn roles_come_in_the_order_base_firewall_etcd_patroni_haproxy_own() {
    let inventory = inventory("colocated");
    let mut host = inventory.hosts[0].clone();
    host.own_roles = vec!["monitoring".into()];
    let names: Vec<String> = role::expand::roles(&host).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["base", "firewall", "etcd", "patroni", "haproxy", "monitoring"]);
}

#[test]
fn the_table_of_built_in_files_is_the_directory_listing() {
    let mut there = Vec::new();
    for top in ["roles", "templates"] {
        list(&root().join(top), &mut there);
    }
    there.sort();
    let table: Vec<&str> = assets::BUILT_IN.iter().map(|(name, _)| *name).collect();
    assert_eq!(table, there, "src/assets.rs names what is in roles/ and templates/, sorted");
}

fn list(directory: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).expect("a directory of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            list(&path, into);
        } else {
            into.push(path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned());
        }
    }
}

#[test]
fn every_variable_of_every_template_is_in_the_context() {
    let inventory = inventory("colocated");
    let facts = facts("trixie");
    let secrets = secrets();
    let assets = Assets::default();
    let input =
        Input { inventory: &inventory, host: &inventory.hosts[0], facts: &facts, secrets: &secrets, assets: &assets };
    let context = role::context::Context::new(&input).expect("a context");
    let context = serde_json::to_value(context).expect("plain values");
    let environment = role::render::environment(&assets).expect("templates parse");
    // those of containers may speak of more, but for files that are in them
    let shaped = |shape: Shape| {
        let members = render::members(shape, &inventory).expect("it can be");
        let secrets = certificates::stand_ins(&members, &secrets);
        let order = Order { shape, members: &members, secrets: &secrets, assets: &assets, former: None };
        render::context(&order).expect("plain values")
    };
    let (compose, kubernetes) = (shaped(Shape::Compose), shaped(Shape::Kubernetes));
    for asset in assets.templates() {
        let name = asset.name.trim_start_matches("templates/");
        let template = environment.get_template(name).expect("it was added");
        let context = match name.split('/').next() {
            _ if name.starts_with("kubernetes/patroni/") => &context,
            Some("compose" | "image") => &compose,
            Some("kubernetes") => &kubernetes,
            _ => &context,
        };
        for variable in template.undeclared_variables(true) {
            let pointer = format!("/{}", variable.replace('.', "/"));
            assert!(context.pointer(&pointer).is_some(), "{name} speaks of {variable}, which there is not");
        }
    }
}

/// An inventory and secrets full of what breaks files.
fn nasty() -> (Inventory, Secrets) {
    let mut inventory = inventory("colocated");
    inventory.database.name = NASTY.into();
    inventory.database.owner = NASTY.into();
    inventory.postgresql.parameters.insert("search_path".into(), Scalar::Text(NASTY.into()));
    inventory.postgresql.hba = vec![format!("host all {NASTY} all reject")];
    inventory.hosts[0].tags.insert("on".into(), Scalar::Text(NASTY.into()));
    let secret = || Secret::new(NASTY);
    let secrets = Secrets {
        superuser: secret(),
        replication: secret(),
        rewind: secret(),
        rest_api: secret(),
        application: secret(),
        statistics: secret(),
        pki: Pki::default(),
        rotation: None,
    };
    (inventory, secrets)
}

fn yaml(roles: &[RoleResources], name: &str) -> serde_json::Value {
    let text = content(roles, &format!("/etc/patroni/xnat/{name}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"))
}

#[test]
fn no_value_can_break_yaml() {
    let (inventory, secrets) = nasty();
    let roles = expand_host(&inventory, 0, &secrets, &Assets::default());
    let bootstrap = yaml(&roles, "10-bootstrap.yml");
    assert_eq!(bootstrap["bootstrap"]["dcs"]["postgresql"]["parameters"]["search_path"], NASTY);
    assert_eq!(bootstrap["bootstrap"]["dcs"], role::dynamic_config(&inventory), "one source for both");
    let member = yaml(&roles, "20-member.yml");
    assert_eq!(member["name"], inventory.hosts[0].name.as_str());
    let settings = yaml(&roles, "30-settings.yml");
    assert_eq!(settings["tags"]["on"], NASTY, "a key that YAML 1.1 takes for true is quoted");
    assert_eq!(settings["postgresql"]["pg_hba"][0], format!("host all {NASTY} all reject"));
    let quoted = NASTY.replace('"', "\"\"");
    let local = format!("local \"{quoted}\" \"{quoted}\" scram-sha-256");
    let rules = settings["postgresql"]["pg_hba"].as_array().expect("a list");
    assert!(rules.iter().any(|rule| *rule == local.as_str()), "{rules:#?}");
    let authentication = &yaml(&roles, "40-secrets.yml")["postgresql"]["authentication"];
    for user in ["superuser", "replication", "rewind"] {
        assert_eq!(authentication[user]["password"], NASTY);
    }
}

#[test]
fn no_value_can_break_the_haproxy_configuration() {
    let (inventory, secrets) = nasty();
    let roles = expand_host(&inventory, 0, &secrets, &Assets::default());
    let stats = content(&roles, "/etc/haproxy/stats.cfg");
    let line = stats.lines().find(|line| line.contains("stats auth")).unwrap_or_default().trim();
    insta::assert_snapshot!(line, @r##"stats auth 'stats:a: #b"c'\''{d}%e$f\g `h|i, *&!'"##);
    let broken = Secrets { statistics: Secret::new("two\nlines"), ..secrets };
    let error = try_expand(&inventory, 0, "trixie", &broken, &Assets::default()).expect_err("it has no quoting for it");
    assert!(error.to_string().contains("haproxy.cfg has no way to write a line break"), "{error}");
    assert!(!error.to_string().contains("two"), "the error must not hold the value");
}

#[test]
fn passwords_are_only_in_files_marked_secret() {
    let inventory = inventory("colocated");
    for role in expand_host(&inventory, 0, &secrets(), &Assets::default()) {
        for resource in &role.resources {
            let text = format!("{resource:?}");
            let secret = matches!(resource, Resource::File(file) if file.secret && file.mode & 0o007 == 0);
            assert!(secret || !text.contains("-password"), "{text}");
        }
    }
}

#[test]
fn another_etcd_member_changes_nothing_that_calls_for_a_restart() {
    let before = inventory("split");
    let mut after = before.clone();
    let mut host = before.hosts[0].clone();
    host.name = "etcd4".into();
    host.address = "10.0.0.14".into();
    after.hosts.push(host);
    for (index, host) in before.hosts.iter().enumerate() {
        let was = expand_host(&before, index, &secrets(), &Assets::default());
        let is = expand_host(&after, index, &secrets(), &Assets::default());
        for unit in was.iter().flat_map(|role| &role.resources) {
            let Resource::Unit(unit) = unit else { continue };
            for path in &unit.restart_watch {
                assert_eq!(content(&was, path), content(&is, path), "{}: {path}", host.name);
            }
        }
    }
}

#[test]
fn quorum_is_refused_where_patroni_cannot_do_it() {
    let mut inventory = inventory("minimal");
    inventory.patroni.synchronous = Synchronous::Quorum;
    let error = try_expand(&inventory, 0, "bookworm", &secrets(), &Assets::default()).expect_err("3.0.2 cannot");
    insta::assert_snapshot!(error, @"synchronous mode `quorum` needs Patroni 4.0, and db1 (bookworm) would get Patroni 3.0.2");
    let roles = try_expand(&inventory, 0, "trixie", &secrets(), &Assets::default()).expect("4.0 can");
    assert_eq!(yaml(&roles, "10-bootstrap.yml")["bootstrap"]["dcs"]["synchronous_mode"], "quorum");
    inventory.packages.pins.insert("patroni".into(), "4.0.*".into());
    assert!(try_expand(&inventory, 0, "bookworm", &secrets(), &Assets::default()).is_ok(), "pinned: the host decides");
}

#[test]
fn pins_become_versions() {
    let mut inventory = inventory("minimal");
    inventory.packages.pins.insert("patroni".into(), "4.0.7*".into());
    let roles = expand_host(&inventory, 0, &secrets(), &Assets::default());
    let packages = roles.iter().flat_map(|role| &role.resources).filter_map(|resource| match resource {
        Resource::Package(package) => Some((package.name.as_str(), package.version.as_deref())),
        _ => None,
    });
    let patroni: Vec<_> = packages.filter(|(name, _)| *name == "patroni").collect();
    assert_eq!(patroni, [("patroni", Some("4.0.7*"))]);
}

#[test]
fn an_address_of_version_6_is_written_as_each_file_wants_it() {
    let mut inventory = inventory("colocated");
    inventory.hosts[0].address = "fd00::11".into();
    let roles = expand_host(&inventory, 0, &secrets(), &Assets::default());
    assert_eq!(yaml(&roles, "20-member.yml")["restapi"]["listen"], "[::]:8008");
    assert_eq!(yaml(&roles, "20-member.yml")["postgresql"]["connect_address"], "[fd00::11]:5432");
    assert_eq!(yaml(&roles, "30-settings.yml")["etcd3"]["hosts"][0], "[fd00::11]:2379");
    assert!(content(&roles, "/etc/patroni/xnat/30-settings.yml").contains("replicator fd00::11/128 "));
    assert!(content(&roles, "/etc/etcd/etcd.env").contains("ETCD_LISTEN_PEER_URLS=\"https://[fd00::11]:2380\""));
    let haproxy = content(&roles, "/etc/haproxy/haproxy.cfg");
    assert!(haproxy.contains("bind :::5000\n") && haproxy.contains("server db1 [fd00::11]:5432 check"), "{haproxy}");
}

#[test]
fn etcd_listens_on_all_addresses_where_its_own_is_not_the_hosts() {
    let inventory = inventory("minimal");
    let secrets = secrets();
    let assets = Assets::default();
    let own = |addresses: &[&str]| {
        let addresses = addresses.iter().map(ToString::to_string).collect();
        let facts = Facts { addresses, ..facts("trixie") };
        let input = Input {
            inventory: &inventory,
            host: &inventory.hosts[0],
            facts: &facts,
            secrets: &certificates::stand_ins(&inventory, &secrets),
            assets: &assets,
        };
        content(&expand(&input).expect("it expands"), "/etc/etcd/etcd.env")
    };
    assert!(own(&["127.0.0.1", "10.0.0.11"]).contains("CLIENT_URLS=\"https://10.0.0.11:2379,https://127.0.0.1:2379\""));
    assert!(own(&["127.0.0.1", "192.168.1.5"]).contains("LISTEN_CLIENT_URLS=\"https://0.0.0.0:2379\""));
}

#[test]
fn the_dynamic_configuration_can_be_overridden_by_the_inventory() {
    let mut inventory = inventory("minimal");
    inventory.postgresql.parameters.insert("Shared_Buffers".into(), Scalar::Text("4GB".into()));
    inventory.patroni.synchronous = Synchronous::On;
    insta::assert_json_snapshot!(role::dynamic_config(&inventory), @r#"
    {
      "ttl": 28,
      "loop_wait": 5,
      "retry_timeout": 10,
      "primary_start_timeout": 10,
      "maximum_lag_on_failover": 1048576,
      "check_timeline": true,
      "failsafe_mode": true,
      "synchronous_mode": true,
      "synchronous_mode_strict": false,
      "synchronous_node_count": 1,
      "postgresql": {
        "use_pg_rewind": true,
        "use_slots": true,
        "parameters": {
          "max_connections": 200,
          "wal_level": "replica",
          "hot_standby": true,
          "max_wal_senders": 10,
          "max_replication_slots": 10,
          "wal_log_hints": true,
          "wal_keep_size": "512MB",
          "max_slot_wal_keep_size": "4GB",
          "wal_retrieve_retry_interval": "1s",
          "password_encryption": "scram-sha-256",
          "tcp_keepalives_idle": 60,
          "tcp_keepalives_interval": 10,
          "tcp_keepalives_count": 3,
          "logging_collector": true,
          "log_directory": "/var/log/postgresql",
          "log_filename": "postgresql-xnat.log",
          "log_rotation_age": 0,
          "log_rotation_size": 0,
          "log_checkpoints": true,
          "log_lock_waits": true,
          "log_line_prefix": "%m [%p] %q%u@%d ",
          "Shared_Buffers": "4GB"
        }
      }
    }
    "#);
}

/// A site's directory with these files.
fn site(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
    directory
}

#[test]
fn a_site_overrides_single_files_and_adds_roles() {
    let site = site(&[
        ("templates/base/unattended.conf.j2", "// ours, on {{ host.name }}\n"),
        ("roles/monitoring.toml", "title = \"Ours\"\n[[resource]]\npackage = { name = \"exporter\" }\n"),
        ("roles/.editor.swp", "\u{0}"),
    ]);
    let assets = Assets::new(Some(site.path())).expect("it is readable");
    assert_eq!(assets.overridden(), ["templates/base/unattended.conf.j2"]);
    let mut inventory = inventory("minimal");
    inventory.hosts[3].own_roles = vec!["monitoring".into()];
    let roles = expand_host(&inventory, 3, &secrets(), &assets);
    assert_eq!(content(&roles, "/etc/apt/apt.conf.d/52xnat-unattended"), "// ours, on web1\n");
    assert_eq!(roles.last().map(|role| (role.role.as_str(), role.resources.len())), Some(("monitoring", 1)));
    inventory.hosts[3].own_roles = vec!["monitorng".into()];
    let error = try_expand(&inventory, 3, "trixie", &secrets(), &assets).expect_err("there is no such role");
    insta::assert_snapshot!(mistakes::render(&error), @r#"
    xnat::role::unknown

      × there is no role `monitorng`
      help: did you mean `monitoring`?
    "#);
}

#[test]
fn export_stamps_its_version_and_overwrites_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let target = directory.path().join("site");
    let written = assets::export(&target).expect("it is empty");
    assert_eq!(written.len(), assets::BUILT_IN.len() + 1);
    let copied = Assets::new(Some(&target)).expect("it is readable");
    assert_eq!(copied.overridden(), Vec::<String>::new(), "a copy overrides nothing");
    assert!(copied.list().iter().all(|file| file.origin == Origin::Copied && file.outdated_since.is_none()));

    // Changed by the site, and, as the stamp tells, made from another text than today's.
    std::fs::write(target.join("roles/etcd.toml"), "title = \"ours\"\n").expect("a file");
    let stamp = std::fs::read_to_string(target.join("exported.toml")).expect("the stamp");
    let (before, after) = stamp.split_once("\"roles/etcd.toml\" = \"").expect("its digest");
    let older =
        format!("{before}\"roles/etcd.toml\" = \"0{}", &after[1..]).replacen("version = \"", "version = \"0.0.9-", 1);
    std::fs::write(target.join("exported.toml"), older).expect("a file");
    let listed = Assets::new(Some(&target)).expect("it is readable").list();
    let etcd = listed.iter().find(|file| file.name == "roles/etcd.toml").expect("it is listed");
    assert_eq!(etcd.origin, Origin::Overridden);
    assert_eq!(etcd.outdated_since.as_deref(), Some(format!("0.0.9-{}", env!("CARGO_PKG_VERSION")).as_str()));

    let error = assets::export(&target).expect_err("it holds files");
    assert!(error.to_string().contains("nothing is overwritten"), "{error}");
}

#[test]
fn a_host_has_only_what_its_components_need() {
    let inventory = inventory("split");
    for (index, host) in inventory.hosts.iter().enumerate() {
        let text = show(&expand_host(&inventory, index, &secrets(), &Assets::default()));
        assert_eq!(text.contains("createcluster.conf"), host.components.contains(&Component::Postgres));
    }
}

/// An inventory may do without: then nothing is encrypted and nobody is asked for a certificate.
#[test]
fn without_tls_there_are_no_certificates_anywhere() {
    let mut inventory = inventory("colocated");
    inventory.tls.enabled = false;
    let roles = expand_host(&inventory, 0, &secrets(), &Assets::default());
    let resources = roles.iter().flat_map(|role| &role.resources);
    for resource in resources.filter(|resource| !matches!(resource, Resource::Unit(_))) {
        let text = format!("{resource:?}");
        for word in ["https://10", "hostssl", "/tls/", "ssl"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
    }
    assert_eq!(yaml(&roles, "30-settings.yml")["etcd3"]["protocol"], "http");
}

/// The role `reset` is written by hand, so whoever adds a file to another role is told to remove it there.
#[test]
fn what_roles_put_on_a_host_a_reset_removes() {
    for example in EXAMPLES {
        let inventory = inventory(example);
        for (index, host) in inventory.hosts.iter().enumerate() {
            let (facts, secrets) = (facts("trixie"), certificates::stand_ins(&inventory, &secrets()));
            let input =
                Input { inventory: &inventory, host, facts: &facts, secrets: &secrets, assets: &Assets::default() };
            let removed = |data| {
                let roles = role::expand_reset(&input, data).expect("the role is good");
                let all = roles.into_iter().flat_map(|role| role.resources);
                let commands = all.filter_map(|it| if let Resource::Command(it) = it { Some(it.run) } else { None });
                commands.collect::<Vec<_>>().join("\n")
            };
            let script = removed(Data::Removed);
            let words: Vec<&str> = script.split_whitespace().map(|word| word.trim_matches('\'')).collect();
            let made = expand_host(&inventory, index, &secrets, &Assets::default());
            for resource in made.iter().flat_map(|role| &role.resources) {
                let (Resource::File(File { path, .. }) | Resource::Firewall(Firewall { path, .. })) = resource else {
                    continue;
                };
                let covered = words.iter().any(|word| path == word || path.starts_with(&format!("{word}/")));
                assert!(covered, "{example} {}: nothing in roles/reset.toml removes {path}", host.name);
            }
            let kept = removed(Data::Kept);
            assert!(!kept.contains("find '/var/lib/postgresql"), "the data is left alone:\n{kept}");
        }
    }
}
