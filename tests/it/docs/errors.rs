//! The chapter of exit statuses and error codes: each status and each area has a section, and each code in the source is in
//! its table, with everything that is said with it and what to do. Mistakes of inventories are said by those fixtures that
//! make them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use xnat_provision::inventory::Inventory;

use super::shown::fits;
use super::{must_say, read, root};

/// What the program says with a code, and what it says to do. Several errors may have one code.
#[derive(Clone, PartialEq)]
struct Said {
    message: String,
    help: Option<String>,
}

/// It is said with what is wrong, and its section names it.
const WITHOUT_A_ROW: [&str; 1] = ["xnat::vault::content"];

#[test]
fn every_status_and_every_code_has_its_place() {
    let mut areas: BTreeMap<String, BTreeMap<String, Vec<Said>>> = BTreeMap::new();
    for (code, said) in derived().into_iter().chain(of_rules()) {
        let all = areas.entry(area(&code)).or_default().entry(code).or_default();
        if !all.contains(&said) {
            all.push(said);
        }
    }
    for (code, said) in of_inventories() {
        made_by_a_fixture(areas.entry(area(&code)).or_default().entry(code).or_default(), said);
    }
    let known: BTreeSet<String> = areas.values().flat_map(|codes| codes.keys().cloned()).collect();
    let missing: Vec<String> = mentioned().difference(&known).cloned().collect();
    assert_eq!(missing, WITHOUT_A_ROW);
    let tables = areas.iter().map(|(area, codes)| (area.clone(), table(codes)));
    let sections: Vec<(String, String)> = statuses().into_iter().chain(tables).collect();
    let parts: Vec<(&str, String)> = sections.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    must_say("docs/errors.md", &parts);
    let there = super::anchors(&read("docs/errors.md"));
    let anchor = |name: &str| name.replace("::", "").replace(' ', "-");
    let headless: Vec<&str> =
        parts.iter().map(|(name, _)| *name).filter(|name| !there.contains(&anchor(name))).collect();
    assert!(headless.is_empty(), "without a heading: {headless:?}");
}

/// What a fixture has it say stands for the rule that says so, in words instead of ellipses.
fn made_by_a_fixture(all: &mut Vec<Said>, made: Said) {
    match all.iter().position(|rule| !rule.has_words() || fits(&rule.message, &made.message)) {
        Some(rule) => all[rule] = made,
        None if all.is_empty() => all.push(made),
        None => {}
    }
}

/// Looked up in the document, whatever has become of them on the way to its tables.
#[test]
fn no_error_is_lost_because_another_has_its_code() {
    let document = read("docs/errors.md");
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (code, said) in derived().into_iter().filter(|(_, said)| said.has_words()) {
        texts.entry(code).or_default().insert(cell(&said.message));
    }
    let several = texts.values().filter(|texts| texts.len() > 1).count();
    assert!(several > 3, "only {several} codes have several texts: are they written in another way now?");
    let row = |code: &str, text: &str| document.contains(&format!("\n| `{code}` | {text} | "));
    let lost: Vec<String> = (texts.iter())
        .flat_map(|(code, texts)| texts.iter().map(move |text| (code, text)))
        .filter(|(code, text)| !row(code, text))
        .map(|(code, text)| format!("{code}: {text}"))
        .collect();
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

/// The lab's errors have their words beside each other, and only their names here.
#[test]
fn every_error_of_the_lab_is_named() {
    let source = read("src/lab/error.rs");
    let named = source.split_once("fn code<").and_then(|(_, rest)| rest.split_once("xnat::lab::{what}"));
    let names = named.expect("it has a code").0.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next());
    let (document, names) = (read("docs/errors.md"), names.collect::<Vec<_>>());
    assert!(names.len() > 10, "{names:?}");
    let missing: Vec<&&str> = names.iter().filter(|name| !document.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// `status 4`, and what it means.
fn statuses() -> Vec<(String, String)> {
    let table = super::exit_codes();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let rows: Vec<(String, String)> = rows
        .filter(|(number, _)| number.parse::<u8>().is_ok())
        .map(|(number, meaning)| (format!("status {number}"), format!("{meaning}\n")))
        .collect();
    assert!(rows.len() > 5, "{table}");
    rows
}

/// `xnat::vault` of `xnat::vault::read`, `xnat` of `xnat::disconnected`.
fn area(code: &str) -> String {
    code.split("::").take(2).collect::<Vec<_>>().join("::")
}

/// A row for everything that is said; codes of which nothing is known beforehand are only named below.
fn table(codes: &BTreeMap<String, Vec<Said>>) -> String {
    let mut text = String::from("\n| Code | It says | What to do |\n|---|---|---|\n");
    let mut wordless = Vec::new();
    for (code, all) in codes {
        let told: Vec<&Said> = all.iter().filter(|said| said.has_words() || said.help.is_some()).collect();
        if told.is_empty() {
            wordless.push(format!("`{code}`"));
        }
        for said in told {
            let help = said.help.as_deref().map(cell).unwrap_or_default();
            let _ = writeln!(text, "| `{code}` | {} | {help} |", cell(&said.message));
        }
    }
    if !wordless.is_empty() {
        let _ = writeln!(text, "\nIn words of the case: {}.", wordless.join(", "));
    }
    text.push('\n');
    text
}

impl Said {
    /// Some errors are nothing but what is filled in.
    fn has_words(&self) -> bool {
        self.message.contains(char::is_alphabetic)
    }
}

/// As it is to be read in a table: what stands in backticks is left as it is.
fn cell(text: &str) -> String {
    let outside = |part: &str| part.replace('<', "\\<").replace('*', "\\*");
    let parts = text.split('`').enumerate().map(|(n, part)| if n % 2 == 0 { outside(part) } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`").replace('\n', " ").replace('|', "\\|")
}

// ---- from the source -------------------------------------------------------------------------------------------------

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("readable") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.contains("tests.rs") {
            found.push(path);
        }
    }
}

fn texts() -> Vec<String> {
    let mut paths = Vec::new();
    sources(&root().join("src"), &mut paths);
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).expect("readable")).collect()
}

/// Every code that is anywhere in the source. Those of the lab and of preflight are put together there: the former have
/// their words in their section, the latter a document of their own.
fn mentioned() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for text in texts() {
        for rest in text.split("xnat::").skip(1) {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c))).unwrap_or(rest.len());
            codes.insert(format!("xnat::{}", &rest[..end]));
        }
    }
    codes.retain(|code| !code.ends_with("::"));
    codes
}

/// `#[error("…")]` and, after it, `#[diagnostic(code(…), help("…"))]`.
fn derived() -> Vec<(String, Said)> {
    let mut found = Vec::new();
    for text in texts() {
        for (at, _) in text.match_indices("#[diagnostic(") {
            let inside = parenthesis(&text[at + "#[diagnostic(".len()..]);
            let Some((_, rest)) = inside.split_once("code(") else { continue };
            let code = parenthesis(rest).trim().to_owned();
            let (_, error) = text[..at].rsplit_once("#[error(").unwrap_or_else(|| panic!("{code} has no message"));
            let help = inside.split_once("help(").and_then(|(_, rest)| literal(rest));
            let message = literal(error).unwrap_or_else(|| panic!("the message of {code} is no text"));
            found.push((
                code,
                Said { message: open(&message), help: help.map(|help| open(&help)).filter(|help| help != "…") },
            ));
        }
    }
    assert!(found.len() > 250, "only {} were found: are they written in another way now?", found.len());
    found
}

/// `Problem::error("…", "…").help("…")`: for what no fixture makes.
fn of_rules() -> Vec<(String, Said)> {
    let mut found = Vec::new();
    for text in texts() {
        let parts: Vec<&str> = text.split("\"xnat::inventory::").collect();
        for pair in parts.windows(2).filter(|pair| pair[0].trim_end().ends_with('(')) {
            let rest = pair[1];
            let Some((name, rest)) = rest.split_once('"').filter(|(_, rest)| rest.starts_with(',')) else { continue };
            let rest = &rest[1..];
            let after = |rest: &str| literal(rest.trim_start().trim_start_matches("format!(")).map(|text| open(&text));
            let message = after(rest).unwrap_or_else(|| "…".to_owned());
            let help = rest.split_once(".help(").and_then(|(_, rest)| after(rest));
            found.push((format!("xnat::inventory::{name}"), Said { message, help }));
        }
    }
    found
}

/// Up to the parenthesis that closes the one before; those in texts do not count.
fn parenthesis(text: &str) -> &str {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    panic!("a parenthesis is not closed: {text:.80}")
}

/// The text that stands first, as it is when the program runs.
fn literal(text: &str) -> Option<String> {
    let mut chars = text.trim_start().strip_prefix('"')?.chars();
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                // the line goes on in the next, after its indentation
                '\n' => chars = chars.as_str().trim_start().chars(),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

/// What is filled in is an ellipsis.
fn open(text: &str) -> String {
    let text = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let mut open = String::new();
    for (index, part) in text.split('{').enumerate() {
        match (index, part.split_once('}')) {
            (0, _) | (_, None) => open.push_str(part),
            (_, Some((_, rest))) => {
                open.push('…');
                open.push_str(rest);
            }
        }
    }
    open.replace('\u{1}', "{").replace('\u{2}', "}")
}

// ---- from the fixtures -----------------------------------------------------------------------------------------------

/// What is said of the inventories of which `tests/it/inventory.rs` knows what is wrong.
fn of_inventories() -> Vec<(String, Said)> {
    let mut paths = Vec::new();
    for directory in ["tests/fixtures/inventory/bad", "tests/fixtures/inventory/good"] {
        let entries = std::fs::read_dir(root().join(directory)).expect("the fixtures");
        paths.extend(
            entries
                .map(|entry| entry.expect("an entry").path())
                .filter(|path| path.extension().is_some_and(|e| e == "toml")),
        );
    }
    paths.sort();
    let mut found: BTreeMap<String, Said> = BTreeMap::new();
    for path in paths {
        let problems = match Inventory::load(&path, None) {
            Ok(loaded) => loaded.warnings.all,
            Err(errors) => errors.problems().to_vec(),
        };
        for problem in problems {
            let here = format!("{}/", path.parent().expect("a directory").display());
            let plain = |text: &str| text.replace(&here, "");
            let said = Said { message: plain(&problem.message), help: problem.help.as_deref().map(plain) };
            found.entry(problem.code.to_owned()).or_insert(said);
        }
    }
    found.into_iter().collect()
}
