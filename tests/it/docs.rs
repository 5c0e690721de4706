//! The documents at the top of the repository: what can be generated in them is what the program says of itself, and
//! what they name is there. `UPDATE_DOCS=1 cargo it docs` writes the generated parts anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use clap::{CommandFactory as _, Parser as _};
use serde_json::Value;
use xnat_provision::cli::Cli;
use xnat_provision::facts::preflight::{Severity, catalogue};
use xnat_provision::facts::reach;
use xnat_provision::health;
use xnat_provision::inventory::{self, Component, Inventory};

const DOCUMENTS: [&str; 11] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "CHECKS.md",
    "docs/air-gap.md",
    "docs/containers.md",
    "docs/migration.md",
    "docs/packaging.md",
    "THIRD-PARTY.md",
    "tests/README.md",
];

/// Directories whose files documents name by their paths from the root.
const TOP: [&str; 9] =
    ["src/", "tests/", "docs/", "packaging/", "roles/", "templates/", "inventory/", ".config/", ".cargo/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

// ---- generated parts -------------------------------------------------------------------------------------------------

#[test]
fn generated_parts_of_the_readme_are_what_the_program_says() {
    let parts = [
        ("commands", commands()),
        ("inventory", keys()),
        ("exit codes", exit_codes()),
        ("health checks", health_checks()),
    ];
    must_say("README.md", &parts);
}

#[test]
fn the_list_of_checks_is_the_catalogue() {
    must_say("CHECKS.md", &[("checks", checks()), ("ports", ports())]);
    let there = anchors(&read("CHECKS.md"));
    let missing: Vec<String> = catalogue::ALL.iter().map(|check| check.anchor()).collect();
    let missing: Vec<&String> =
        missing.iter().filter(|anchor| !there.contains(anchor.trim_start_matches("CHECKS.md#"))).collect();
    assert!(missing.is_empty(), "findings point nowhere: {missing:?}");
}

fn must_say(document: &str, parts: &[(&str, String)]) {
    let old = read(document);
    let mut new = old.clone();
    for (name, text) in parts {
        new = with_part(&new, name, text);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(document), &new).expect("the document can be written");
        return;
    }
    let difference = similar::TextDiff::from_lines(&old, &new).unified_diff().context_radius(1).to_string();
    assert!(old == new, "write it anew with `UPDATE_DOCS=1 cargo it docs`:\n{difference}");
}

/// A section for each check.
fn checks() -> String {
    let mut text = format!("\nThere are {}.\n", catalogue::ALL.len());
    for check in catalogue::ALL {
        let severity = match check.severity {
            Severity::Refuse => "refuses",
            Severity::Warn => "warns",
            Severity::Advise => "advises",
        };
        let (about, reason, fix) = (check.about, check.reason, check.fix);
        let _ = write!(text, "\n## {}\n\n`{}`, {severity}. {about}\n\n", check.name(), check.id);
        let _ = write!(text, "- **Why:** {reason}\n- **What to do:** {fix}\n");
    }
    text.push('\n');
    text
}

/// Which host needs which port of which other one.
fn ports() -> String {
    let mut text = String::from("\n| From | To | Service | Setting, default | What for |\n|---|---|---|---|---|\n");
    let inventory = Inventory::load(&root().join("inventory/minimal.toml"), None).expect("an example").inventory;
    for need in &reach::NEEDS {
        let name = |component: Component| format!("{component:?}").to_lowercase();
        let (from, to, port) = (name(need.from), name(need.to), need.port(&inventory));
        let _ = writeln!(text, "| {from} | {to} | {} | `{}`, {port} | {} |", need.service, need.key, need.why);
    }
    text.push('\n');
    text
}

/// What `health` looks at.
fn health_checks() -> String {
    let mut text = String::from("\n| Check | Ok when |\n|---|---|\n");
    for check in health::catalogue::all() {
        let _ = writeln!(text, "| `{}` | {} |", check.id, check.title);
    }
    text.push('\n');
    text
}

/// The text with what stands between two marks replaced.
fn with_part(text: &str, name: &str, part: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let start = text.find(&begin).unwrap_or_else(|| panic!("the document has no {begin}")) + begin.len();
    let length = text[start..].find(&end).unwrap_or_else(|| panic!("the document has no {end}"));
    format!("{}{part}{}", &text[..start], &text[start + length..])
}

/// What `--help` prints of the program itself and of every command that does something.
fn commands() -> String {
    let mut command = Cli::command();
    command.build();
    let mut words = vec![vec![command.get_name().to_owned()]];
    collect(&command, &words[0].clone(), &mut words);
    let mut text = String::from("\n");
    for words in words {
        let asked = words.iter().map(String::as_str).chain(["--help"]);
        let help = Cli::command().term_width(100).try_get_matches_from(asked).expect_err("help is no command");
        let lines: Vec<String> = help.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
        let _ = writeln!(text, "### `{}`\n\n```text\n{}\n```\n", words.join(" "), lines.join("\n").trim_end());
    }
    text
}

/// Commands that do something, as they are typed: those without commands of their own, and those that have both.
fn collect(command: &clap::Command, before: &[String], all: &mut Vec<Vec<String>>) {
    for sub in command.get_subcommands() {
        let words = [before, &[sub.get_name().to_owned()]].concat();
        if !sub.has_subcommands() || sub.is_args_conflicts_with_subcommands_set() {
            all.push(words.clone());
        }
        collect(sub, &words, all);
    }
}

/// A table of keys for each table of the inventory, from its schema.
fn keys() -> String {
    let mut text = String::from("\n");
    let schema = inventory::schema();
    table_of("(top of the file)", &schema, &mut text);
    text
}

fn table_of(title: &str, schema: &Value, text: &mut String) {
    let properties = schema["properties"].as_object().expect("a table has keys");
    let is_table = |property: &Value| !fields_of(property).is_null();
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let rows: Vec<String> = properties
        .iter()
        .filter(|(_, property)| !is_table(property))
        .map(|(name, property)| {
            let default = if required(name) { "required".to_owned() } else { default_of(property) };
            let meaning = property["description"]
                .as_str()
                .unwrap_or_default()
                .replace('\n', " ")
                .replace('|', "\\|")
                .replace('<', "\\<");
            format!("| `{name}` | {default} | {meaning} |")
        })
        .collect();
    let about = schema["description"].as_str().unwrap_or_default();
    let _ = writeln!(text, "**{title}** {about}\n");
    if !rows.is_empty() {
        let _ = writeln!(text, "| Key | Default | Meaning |\n|---|---|---|\n{}\n", rows.join("\n"));
    }
    let prefix = title.trim_matches(['`', '[', ']']);
    for (name, property) in properties.iter().filter(|(_, property)| is_table(property)) {
        let path = if prefix.starts_with('(') { name.clone() } else { format!("{prefix}.{name}") };
        let title = if property["items"].is_object() { format!("`[[{path}]]`") } else { format!("`[{path}]`") };
        table_of(&title, fields_of(property), text);
    }
}

/// The table a key holds, or the one its list is made of.
fn fields_of(property: &Value) -> &Value {
    [property, &property["items"]].into_iter().find(|one| one["properties"].is_object()).unwrap_or(&Value::Null)
}

fn default_of(property: &Value) -> String {
    match &property["default"] {
        Value::Null => String::new(),
        Value::Array(all) if all.is_empty() => String::new(),
        Value::Object(all) if all.is_empty() => String::new(),
        value => format!("`{value}`"),
    }
}

/// From the source, because its comments are the meanings.
fn exit_codes() -> String {
    let source = read("src/error.rs");
    let body = source.split("pub enum Exit {").nth(1).and_then(|rest| rest.split('}').next()).expect("the enum");
    let mut text = String::from("\n| Status | Meaning |\n|---|---|\n");
    let mut meaning = String::new();
    for line in body.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("/// ") {
            meaning.push_str(comment);
        } else if let Some((_, number)) = line.split_once(" = ") {
            let _ = writeln!(text, "| {} | {} |", number.trim_end_matches(','), std::mem::take(&mut meaning));
        }
    }
    text.push('\n');
    text
}

// ---- what is named is there ------------------------------------------------------------------------------------------

/// Lines inside fences, with the fence's language, and lines outside of them.
fn split(text: &str) -> (Vec<(String, String)>, String) {
    let (mut fenced, mut prose, mut language) = (Vec::new(), String::new(), None::<String>);
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &language) {
            (Some(name), None) => {
                fenced.push((name.to_owned(), String::new()));
                language = Some(name.to_owned());
            }
            (Some(_), Some(_)) => language = None,
            (None, None) => prose.push_str(&format!("{line}\n")),
            (None, Some(_)) => fenced.last_mut().expect("it was begun").1.push_str(&format!("{line}\n")),
        }
    }
    (fenced, prose)
}

/// As GitHub makes them of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let keep = |c: char| c.is_alphanumeric() || "-_ ".contains(c);
    let anchor = |line: &str| line.trim_start_matches('#').trim().to_lowercase().chars().filter(|c| keep(*c)).collect();
    headings.map(|line| -> String { anchor(line) }).map(|anchor| anchor.replace(' ', "-")).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for document in DOCUMENTS {
        let (_, prose) = split(&read(document));
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let directory = root().join(document).parent().expect("a directory").to_owned();
            let file = if path.is_empty() { root().join(document) } else { directory.join(path) };
            let found = file.exists()
                && (anchor.is_empty() || anchors(&std::fs::read_to_string(&file).expect("a text")).contains(anchor));
            if !found {
                wrong.push(format!("{document}: {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn paths_in_backticks_exist() {
    let mut wrong = Vec::new();
    for document in DOCUMENTS {
        let (_, prose) = split(&read(document));
        for code in prose.split('`').skip(1).step_by(2) {
            for word in code.split_whitespace().filter(|word| TOP.iter().any(|top| word.starts_with(top))) {
                if !root().join(word).exists() {
                    wrong.push(format!("{document}: {word}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn commands_that_are_shown_can_be_given() {
    let mut seen = 0;
    for document in DOCUMENTS {
        let (fenced, _) = split(&read(document));
        let shown = fenced.iter().filter(|(language, _)| matches!(language.as_str(), "console" | "sh"));
        for line in shown.flat_map(|(_, text)| text.lines()) {
            let line = line.trim_start_matches("$ ").trim_start_matches("sudo ");
            let line = line.split(" #").next().unwrap_or_default().split(" >").next().unwrap_or_default();
            if !line.starts_with("xnat-provision ") {
                continue;
            }
            seen += 1;
            let parsed = Cli::try_parse_from(line.split_whitespace());
            let error = parsed.err().map(|error| error.to_string());
            assert_eq!(error, None, "{document}: {line}");
        }
    }
    assert!(seen > 10, "only {seen} commands were found");
}

#[test]
fn inventories_that_are_shown_are_good() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut seen = 0;
    for document in DOCUMENTS {
        let (fenced, _) = split(&read(document));
        for (_, text) in fenced.iter().filter(|(language, text)| language == "toml" && text.contains("[cluster]")) {
            seen += 1;
            let path = directory.path().join("inventory.toml");
            std::fs::write(&path, text).expect("written");
            let loaded = Inventory::load(&path, None).unwrap_or_else(|error| panic!("{document}: {error:?}\n{text}"));
            assert!(loaded.warnings.all.is_empty(), "{document}: {:?}\n{text}", loaded.warnings.all);
        }
    }
    assert!(seen > 0, "none was found");
}

#[test]
fn examples_pass_check() {
    for entry in std::fs::read_dir(root().join("inventory")).expect("the examples") {
        let path = entry.expect("an entry").path();
        let ran = std::process::Command::new(env!("CARGO_BIN_EXE_xnat-provision"))
            .args(["check", "--offline"])
            .arg(&path)
            .output();
        let ran = ran.expect("the program runs");
        assert!(ran.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&ran.stderr));
    }
}
