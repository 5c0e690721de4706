//! The documents at the top of the repository and the book: what can be generated in them is what the program says of
//! itself, and what they name is there. `UPDATE_DOCS=1 cargo it docs` writes the generated parts anew.

mod book;
mod console;
mod errors;
mod reference;
mod runbook;
mod shown;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use xnat_provision::facts::preflight::{Severity, catalogue};
use xnat_provision::facts::reach;
use xnat_provision::health;
use xnat_provision::inventory::{Component, Inventory};

const DOCUMENTS: [&str; 10] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "CHECKS.md",
    "SECURITY.md",
    "THIRD-PARTY.md",
    "tests/README.md",
    "benches/README.md",
    "benches/ansible/README.md",
];

/// Those, and whatever is in `docs/`.
fn documents() -> Vec<String> {
    let mut all: Vec<String> = DOCUMENTS.map(str::to_owned).into();
    for directory in ["docs", "docs/book"] {
        for entry in std::fs::read_dir(root().join(directory)).expect("it is there") {
            let name = entry.expect("an entry").file_name().into_string().expect("a plain name");
            if name.ends_with(".md") {
                all.push(format!("{directory}/{name}"));
            }
        }
    }
    all.sort();
    all
}

/// Directories whose files documents name by their paths from the root.
const TOP: [&str; 11] = [
    "src/",
    "tests/",
    "docs/",
    "packaging/",
    "vagrant/",
    "benches/",
    "roles/",
    "templates/",
    "inventory/",
    ".config/",
    ".cargo/",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

// ---- generated parts -------------------------------------------------------------------------------------------------

#[test]
fn generated_parts_of_the_readme_are_what_the_program_says() {
    must_say("README.md", &[("exit codes", exit_codes()), ("health checks", health_checks())]);
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

/// Lines inside fences, with what stands behind the fence, and lines outside of them.
fn split(text: &str) -> (Vec<(String, String)>, String) {
    let (mut fenced, mut prose, mut indentation) = (Vec::new(), String::new(), None::<String>);
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &indentation) {
            (Some(name), None) => {
                fenced.push((name.to_owned(), String::new()));
                // one that belongs to an item of a list
                indentation = Some(line[..line.len() - line.trim_start().len()].to_owned());
            }
            (Some(_), Some(_)) => indentation = None,
            (None, None) => prose.push_str(&format!("{line}\n")),
            (None, Some(indentation)) => {
                let line = line.strip_prefix(indentation.as_str()).unwrap_or(line);
                fenced.last_mut().expect("it was begun").1.push_str(&format!("{line}\n"));
            }
        }
    }
    (fenced, prose)
}

/// As GitHub makes them of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let (_, prose) = split(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let keep = |c: char| c.is_alphanumeric() || "-_ ".contains(c);
    let anchor = |line: &str| line.trim_start_matches('#').trim().to_lowercase().chars().filter(|c| keep(*c)).collect();
    headings.map(|line| -> String { anchor(line) }).map(|anchor| anchor.replace(' ', "-")).collect()
}

/// What the links of a text lead to, wherever their targets stand: `[text](target)`, or a line `[name]: target`.
fn targets(text: &str) -> Vec<String> {
    let (_, prose) = split(text);
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned);
    let named = definitions(&prose).into_iter().map(|(_, target)| target.to_owned());
    inline.chain(named).filter(|target| !target.contains("://")).collect()
}

/// Lines `[name]: target`; the first of a name counts.
fn definitions(prose: &str) -> Vec<(&str, &str)> {
    prose.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).collect()
}

/// Names of links, `[text][name]`.
fn names_of_links(prose: &str) -> BTreeSet<&str> {
    prose.split("][").skip(1).filter_map(|rest| rest.split(']').next()).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for document in documents() {
        let (_, prose) = split(&read(&document));
        let here = definitions(&prose).into_iter().map(|(name, _)| name).collect();
        wrong.extend(names_of_links(&prose).difference(&here).map(|name| format!("{document}: [{name}]")));
        for target in targets(&read(&document)) {
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let directory = root().join(&document).parent().expect("a directory").to_owned();
            let file = if path.is_empty() { root().join(&document) } else { directory.join(path) };
            let text = || book::whole(&file);
            if !file.exists() || !(anchor.is_empty() || anchors(&text()).contains(anchor)) {
                wrong.push(format!("{document}: {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn paths_in_backticks_exist() {
    let mut wrong = Vec::new();
    for document in documents() {
        let (_, prose) = split(&read(&document));
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
fn inventories_that_are_shown_are_good() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut seen = 0;
    for document in documents() {
        let (fenced, _) = split(&read(&document));
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
