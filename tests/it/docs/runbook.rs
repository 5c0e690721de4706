//! The runbook has a section for whatever the program can say: each check of `health`, each rule of `status`, each finding
//! of `doctor`. Those for exit statuses and error codes are in `errors`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use xnat_provision::cluster::assess;
use xnat_provision::health;

use super::{must_say, read, root, split};

/// Headings of the second level whose text is code.
fn sections(document: &str) -> Vec<(String, usize)> {
    let text = read(document);
    let (_, prose) = split(&text);
    let parts: Vec<&str> = prose.split("\n## `").skip(1).collect();
    let named = |part: &&str| part.split_once("`\n").map(|(name, rest)| (name.to_owned(), words(rest)));
    parts.iter().filter_map(named).collect()
}

/// How much somebody has written there.
fn words(text: &str) -> usize {
    let written = text.lines().filter(|line| !line.starts_with("<!--") && !line.starts_with("Ok when: "));
    written.flat_map(str::split_whitespace).count()
}

#[test]
fn every_check_of_health_has_a_section() {
    let checks: Vec<&str> = health::catalogue::all().map(|check| check.id).collect();
    let parts: Vec<(&str, String)> =
        health::catalogue::all().map(|check| (check.id, format!("Ok when: {}.\n", check.title))).collect();
    must_say("docs/alarms.md", &parts);
    let there = sections("docs/alarms.md");
    assert_eq!(there.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), checks);
    assert_eq!(empty(&there), Vec::<&str>::new());
}

fn empty(sections: &[(String, usize)]) -> Vec<&str> {
    sections.iter().filter(|(_, words)| *words < 8).map(|(name, _)| name.as_str()).collect()
}

#[test]
fn every_rule_of_status_leads_to_an_alarm() {
    let mut text = String::from("\n| Rule of `status` | Alarm |\n|---|---|\n");
    for rule in assess::rule_names() {
        let check = health::catalogue::all().find(|check| check.rules.contains(&rule));
        let id = check.unwrap_or_else(|| panic!("no check of health is about {rule}")).id;
        let _ = writeln!(text, "| `{rule}` | [`{id}`](alarms.md#{id}) |");
    }
    text.push('\n');
    must_say("docs/findings.md", &[("rules", text)]);
}

/// What `doctor` may name, from its source: its rules are functions that make findings as they go.
fn ids() -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("src/doctor/rules")).expect("the rules") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("readable");
        let texts: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
        let hyphenated = |id: &&&str| id.contains('-') && id.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        ids.extend(texts.iter().filter(hyphenated).map(|id| (*id).to_owned()));
        for maker in ["Finding::critical(", "Finding::warning(", "Finding::new("] {
            let given = text.split(maker).skip(1).map(|rest| rest.trim_start());
            ids.extend(given.filter_map(|rest| rest.strip_prefix('"')?.split('"').next()).map(str::to_owned));
        }
    }
    assert!(ids.len() > 30, "only {ids:?} were found: are they written in another way now?");
    ids
}

#[test]
fn every_finding_of_doctor_has_a_section() {
    let there = sections("docs/findings.md");
    let names: BTreeSet<String> = there.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ids());
    assert_eq!(empty(&there), Vec::<&str>::new());
}
