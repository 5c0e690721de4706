//! Inventories: every example and every fixture gives exactly the problems its comments name, and they read well.

use std::fs;
use std::path::{Path, PathBuf};

use miette::{GraphicalReportHandler, GraphicalTheme};
use proptest::prelude::*;
use serde_json::Value;
use xnat_provision::inventory::{self, Component, Escalate, Inventory, InventoryErrors, Problem, Severity};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn tomls(directory: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(root().join(directory)).expect(directory);
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(!files.is_empty(), "{directory}");
    files
}

fn problems(path: &Path) -> (bool, Vec<Problem>) {
    match Inventory::load(path, None) {
        Ok(loaded) => (true, loaded.warnings.all),
        Err(InventoryErrors::Invalid(problems)) => (false, problems.all),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// `line severity code`, as the comments of a file announce them.
fn announced(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some((_, comment)) = line.split_once("#~") else { continue };
        for one in comment.split(';').map(str::trim) {
            all.push(match one.strip_prefix("file ") {
                Some(rest) => format!("file {rest}"),
                None => format!("{} {one}", index + 1),
            });
        }
    }
    all.sort();
    all
}

fn found(problems: &[Problem]) -> Vec<String> {
    let tell = |problem: &Problem| {
        let severity = if problem.severity == Severity::Error { "error" } else { "warning" };
        let line = problem.position().map_or("file".to_owned(), |(line, _)| line.to_string());
        format!("{line} {severity} {}", problem.code.trim_start_matches("xnat::inventory::"))
    };
    let mut all: Vec<String> = problems.iter().map(tell).collect();
    all.sort();
    all
}

#[test]
fn every_fixture_has_the_problems_it_announces() {
    let mut wrong = Vec::new();
    for path in tomls("tests/fixtures/inventory/bad").into_iter().chain(tomls("tests/fixtures/inventory/good")) {
        let text = fs::read_to_string(&path).expect("fixture");
        let (good, problems) = problems(&path);
        let (announced, found) = (announced(&text), found(&problems));
        let missing: Vec<_> = announced.iter().filter(|one| !found.contains(one)).collect();
        let unannounced: Vec<_> = found.iter().filter(|one| !announced.contains(one)).collect();
        if announced != found || good != path.parent().is_some_and(|parent| parent.ends_with("good")) {
            wrong.push(format!("{}: not found {missing:?}; not announced {unannounced:?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_problem_says_what_to_do() {
    for path in tomls("tests/fixtures/inventory/bad").into_iter().chain(tomls("tests/fixtures/inventory/good")) {
        for problem in problems(&path).1 {
            let help = problem.help.as_deref().unwrap_or_default();
            assert!(help.len() > 10, "{}: {} needs help", path.display(), problem.message);
            assert!(!problem.message.ends_with('.'), "{}", problem.message);
        }
    }
}

#[test]
fn the_examples_are_good_and_only_development_is_warned_about() {
    for path in tomls("inventory") {
        let (good, warnings) = problems(&path);
        assert!(good, "{}: {:?}", path.display(), found(&warnings));
        let expected: &[&str] = match path.file_stem().and_then(|stem| stem.to_str()) {
            Some("single") => &["few_etcd_members", "no_replica"],
            _ => &[],
        };
        let codes: Vec<&str> = warnings.iter().map(|one| one.code.trim_start_matches("xnat::inventory::")).collect();
        assert_eq!(codes, expected, "{}", path.display());
    }
}

#[test]
fn the_full_example_shows_every_key() {
    let text = fs::read_to_string(root().join("inventory/example.toml")).expect("example");
    let mut keys = Vec::new();
    collect_keys(&inventory::schema(), &mut keys);
    assert!(keys.len() > 60, "{keys:?}");
    for key in keys {
        assert!(text.contains(&key), "example.toml does not show `{key}`");
    }
}

fn collect_keys(schema: &Value, keys: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        keys.push(name.clone());
        collect_keys(property, keys);
        collect_keys(&property["items"], keys);
    }
}

#[test]
fn the_schema_describes_every_key_and_refuses_others() {
    fn walk(schema: &Value, path: &str) {
        let Some(properties) = schema["properties"].as_object() else { return };
        assert_eq!(schema["additionalProperties"], Value::Bool(false), "{path}");
        for (name, property) in properties {
            let path = format!("{path}.{name}");
            let named_by_itself = ["name", "encoding", "suite", "components", "url"].contains(&name.as_str());
            assert!(named_by_itself || property["description"].is_string(), "{path} has no description");
            assert!(
                property["type"] != Value::Null || property["oneOf"].is_array() || property["enum"].is_array(),
                "{path}: {property}"
            );
            walk(property, &path);
            walk(&property["items"], &path);
        }
    }
    let schema = inventory::schema();
    walk(&schema, "");
    assert!(!schema.to_string().contains("\"null\""));
    assert_eq!(schema["properties"]["haproxy"]["properties"]["primary_port"]["default"], 5432);
    assert_eq!(schema["properties"]["haproxy"]["properties"]["check"]["properties"]["inter"]["default"], "1s");
    assert_eq!(schema["required"], serde_json::json!(["cluster", "host"]));
}

#[test]
fn the_smallest_useful_inventory_is_small() {
    let text = fs::read_to_string(root().join("inventory/minimal.toml")).expect("minimal");
    assert!(text.lines().filter(|line| !line.trim().is_empty()).count() <= 20);
}

#[test]
fn defaults_and_overrides_are_merged() {
    let loaded = Inventory::load(&root().join("inventory/example.toml"), None).expect("example");
    let inventory = loaded.inventory;
    let db1 = inventory.host(&"db1".into()).expect("db1");
    let db2 = inventory.host(&"db2".into()).expect("db2");
    assert_eq!((db1.ssh.user.as_deref(), db1.ssh.escalate), (Some("admin"), Escalate::Sudo));
    // another user of one host does not inherit `become` from [ssh]
    assert_eq!((db2.ssh.user.as_deref(), db2.ssh.escalate), (Some("root"), Escalate::None));
    assert_eq!((db1.ssh.host.as_str(), db2.ssh.host.as_str()), ("10.0.0.11", "db2.example.org"));
    assert_eq!(inventory.with(Component::Postgres).count(), 3);
    assert_eq!(inventory.etcd.data_dir, "/var/lib/etcd/xnat");
    assert_eq!((inventory.patroni.ttl, inventory.patroni.primary_start_timeout), (28, 10));
    assert_eq!(inventory.haproxy.replica_max_lag, "16MB");
}

#[test]
fn the_presets_keep_patronis_rule() {
    for preset in ["default", "fast"] {
        let text = fs::read_to_string(root().join("inventory/minimal.toml")).expect("minimal");
        let inventory = load_text(&format!("{text}\n[patroni]\npreset = \"{preset}\"\n")).expect(preset).inventory;
        let patroni = inventory.patroni;
        assert!(patroni.loop_wait + 2 * patroni.retry_timeout <= patroni.ttl, "{preset}");
    }
}

#[test]
fn the_assets_of_the_command_line_win_over_the_files() {
    let good = root().join("tests/fixtures/inventory/good");
    let own = good.join("own_role.toml");
    assert!(Inventory::load(&own, Some(&good)).is_err(), "there is no roles/monitoring.toml in that directory");
    let loaded = Inventory::load(&own, Some(&good.join("assets"))).expect("own role");
    assert_eq!(loaded.inventory.hosts[0].own_roles[0].as_str(), "monitoring");
    assert_eq!(loaded.inventory.assets, Some(good.join("assets")));
}

fn load_text(text: &str) -> Result<inventory::Loaded, InventoryErrors> {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("inventory.toml");
    fs::write(&path, text).expect("write");
    Inventory::load(&path, None)
}

/// As a person sees it, without colour.
fn rendered(error: &dyn miette::Diagnostic, width: usize) -> String {
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(width);
    handler.render_report(&mut text, error).expect("render");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// Tests run in the crate's root, so that the relative path is the same everywhere.
fn rendered_fixture(name: &str, width: usize) -> String {
    let path = format!("tests/fixtures/inventory/bad/{name}.toml");
    rendered(&Inventory::load(Path::new(&path), None).expect_err(name), width)
}

#[test]
fn a_bad_inventory_reads_well() {
    insta::assert_snapshot!(rendered_fixture("one_of_each", 80), @r##"
      × tests/fixtures/inventory/bad/one_of_each.toml has 5 mistakes and 1
      │ warning; nothing was touched

    Error: xnat::inventory::unknown_key

      × unknown key `adress` in [[host]] number 1
       ╭─[tests/fixtures/inventory/bad/one_of_each.toml:6:1]
     5 │ name = "db1"
     6 │ adress = "10.0.0.11" #~ error unknown_key
       · ───┬──
       ·    ╰── not known here
     7 │ roles = ["etcd", "postgres", "haproxy"] #~ error port_clash
       ╰────
      help: did you mean `address`?

    Error: xnat::inventory::port_clash

      × PostgreSQL and HAProxy's primary port both want port 5432 on db1
       ╭─[tests/fixtures/inventory/bad/one_of_each.toml:7:9]
     6 │ adress = "10.0.0.11" #~ error unknown_key
     7 │ roles = ["etcd", "postgres", "haproxy"] #~ error port_clash
       ·         ───────────────┬───────────────
       ·                        ╰── both are here
     8 │
       ╰────
      help: give HAProxy two free ports: [haproxy] primary_port = 5000,
            replica_port = 5001; or give it hosts of its own

    Error: xnat::inventory::duplicate

      × two hosts have the name "db2"
        ╭─[tests/fixtures/inventory/bad/one_of_each.toml:10:8]
      9 │ [[host]]
     10 │ name = "db2" #~ error duplicate
        ·        ──┬──
        ·          ╰── first here
     11 │ address = "10.0.0.12"
     12 │ roles = ["etcd", "postgres"]
     13 │
     14 │ [[host]]
     15 │ name = "db2"
        ·        ──┬──
        ·          ╰── again here
     16 │ address = "10.0.0.13"
        ╰────
      help: give one of them another name; it also names its etcd and Patroni
            member

    Error: xnat::inventory::patroni_timing

      × loop_wait + 2 * retry_timeout must not exceed ttl: 5 + 2 * 10 = 25, and
      │ ttl is 20
        ╭─[tests/fixtures/inventory/bad/one_of_each.toml:20:7]
     19 │ [patroni]
     20 │ ttl = 20 #~ error patroni_timing
        ·       ─┬
        ·        ╰── ttl 20
     21 │ retry_timeout = 10
        ·                 ─┬
        ·                  ╰── retry_timeout 10
     22 │
        ╰────
      help: raise ttl to 25, or lower retry_timeout to 7; or leave all three out:
            preset = "default" is 28/5/10, preset = "fast" is 20/5/5

    Error: xnat::inventory::bad_cidr

      × "10.1.2.3/16" is not a network: it has bits set behind its prefix
        ╭─[tests/fixtures/inventory/bad/one_of_each.toml:24:10]
     23 │ [postgresql]
     24 │ allow = ["10.1.2.3/16"] #~ error bad_cidr
        ·          ─────────────
     25 │ parameters = { shared_bufers = "1GB" } #~ warning unknown_parameter
        ╰────
      help: did you mean the network "10.1.0.0/16", or the one address
            "10.1.2.3/32"?

    Warning: xnat::inventory::unknown_parameter

      ⚠ PostgreSQL has no parameter `shared_bufers`; Patroni would leave it out
        ╭─[tests/fixtures/inventory/bad/one_of_each.toml:25:16]
     24 │ allow = ["10.1.2.3/16"] #~ error bad_cidr
     25 │ parameters = { shared_bufers = "1GB" } #~ warning unknown_parameter
        ·                ─────────────
        ╰────
      help: did you mean `shared_buffers`?
    "##);
}

#[test]
fn a_bad_inventory_reads_well_in_a_narrow_terminal() {
    insta::assert_snapshot!(rendered_fixture("duplicate_key", 60), @r##"
      × tests/fixtures/inventory/bad/duplicate_key.toml has 1
      │ mistake; nothing was touched

    Error: xnat::inventory::syntax

      × this is not TOML: duplicate key
       ╭─[tests/fixtures/inventory/bad/duplicate_key.toml:3:1]
     2 │ name = "xnat"
     3 │ name = "other" #~ error syntax
       · ──┬─
       ·   ╰── duplicate key
       ╰────
      help: a key may be given once; a [table] may be opened
            once; a second machine is another [[host]]
    "##);
}

#[test]
fn a_missing_file_reads_well() {
    let error = Inventory::load(Path::new("no/such/inventory.toml"), None).expect_err("missing");
    insta::assert_snapshot!(rendered(&error, 80), @r##"
    xnat::inventory::unreadable

      × cannot read the inventory no/such/inventory.toml
      ╰─▶ No such file or directory (os error 2)
      help: see what is there with `ls -l no/such`; to start a new inventory, copy
            inventory/minimal.toml and edit it
    "##);
}

proptest! {
    /// Whatever an editor leaves behind half-way: no panic, and everything can be rendered.
    #[test]
    fn mutilated_inventories_give_errors_and_no_panic(at in 0usize..8000, cut in 0usize..60, insert in "[\\[\\]{}\"=,.#\n a-z0-9é]{0,6}") {
        let text = fs::read_to_string(root().join("inventory/example.toml")).expect("example");
        let start = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let end = (start + cut).min(text.len());
        let end = (end..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let mutilated = format!("{}{insert}{}", &text[..start], &text[end..]);
        match load_text(&mutilated) {
            Ok(loaded) => drop(rendered(&loaded.warnings, 80)),
            Err(error) => drop(rendered(&error, 60)),
        }
    }
}
