//! Commands that are shown can be given, and those that need no host are given: they end as is said, and what is shown of
//! their output is printed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use xnat_provision::cli::Cli;

use super::shown::{Shown, of_fence, words};
use super::{documents, read, root, split};

/// Fences with commands: a session, or lines to be copied.
fn shown() -> Vec<(String, Shown)> {
    let mut all = Vec::new();
    for document in documents() {
        let (fenced, _) = split(&read(&document));
        for (language, text) in fenced {
            let session = match language.as_str() {
                "console" => text,
                "sh" => text.lines().map(|line| format!("$ {line}\n")).collect(),
                _ => continue,
            };
            all.extend(of_fence(&session).into_iter().map(|shown| (document.clone(), shown)));
        }
    }
    all
}

/// What stands in backticks and begins a command, with the name of the program or without. The changelog has former ones.
fn in_prose() -> Vec<(String, Vec<String>)> {
    let program = Cli::command();
    let mut all = Vec::new();
    let others = ["docs/commands.md", "CHANGELOG.md"];
    for document in documents().into_iter().filter(|document| !others.contains(&document.as_str())) {
        let (_, prose) = split(&read(&document));
        let codes = prose.split('`').skip(1).step_by(2).filter(|code| !code.contains(['…', '$']));
        all.extend(codes.filter_map(|code| Some((document.clone(), of_code(&program, code)?))));
    }
    all
}

fn of_code(program: &clap::Command, code: &str) -> Option<Vec<String>> {
    let code = code.strip_prefix("XNAT_VAULT_IDENTITY=FILE ").unwrap_or(code);
    if code.starts_with("xnat-provision ") && !code.contains(" 0.") {
        return Some(words(code));
    }
    let words = words(code);
    let is_setting = words.get(1)? == "=";
    let is_ours = !is_setting && program.find_subcommand(words.first()?).is_some();
    is_ours.then(|| [vec!["xnat-provision".to_owned()], words].concat())
}

#[test]
fn commands_that_are_shown_can_be_given() {
    let fenced = shown().into_iter().map(|(document, shown)| (document, shown.words, true));
    let named = in_prose().into_iter().map(|(document, words)| (document, words, false));
    let all: Vec<(String, Vec<String>, bool)> = fenced.chain(named).collect();
    assert!(all.len() > 100, "only {} commands were found", all.len());
    let mut wrong = Vec::new();
    for (document, words, whole) in all {
        let error = Cli::try_parse_from(&words).err().filter(|error| !is_fine(error.kind(), &words, whole));
        wrong.extend(error.map(|error| format!("{document}: {}\n{error}", words.join(" "))));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Prose names commands and options without what they take, or with words for it in capitals.
fn is_fine(kind: ErrorKind, words: &[String], whole: bool) -> bool {
    let stands_for = |word: &String| word.chars().all(|c| c.is_ascii_uppercase());
    match kind {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::MissingRequiredArgument | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => !whole,
        ErrorKind::InvalidValue if whole => false,
        ErrorKind::InvalidValue => {
            words.iter().any(stands_for) || words.last().is_some_and(|last| last.starts_with("--"))
        }
        _ => false,
    }
}

/// What needs neither hosts nor root, nor anything that is elsewhere.
fn needs_no_host(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.get(1..) {
        Some(["--version" | "--help" | "help" | "completions" | "schema" | "assets" | "render", ..]) => true,
        Some(["drill", "list", ..] | ["vault", "identity", ..] | ["bundle", "keygen", ..]) => true,
        Some(["check", rest @ ..]) => rest.contains(&"--offline"),
        Some(rest) => rest.contains(&"--help"),
        None => false,
    }
}

#[test]
fn commands_that_need_no_host_print_what_is_shown() {
    let mut by_document: BTreeMap<String, Vec<Shown>> = BTreeMap::new();
    for (document, shown) in shown().into_iter().filter(|(_, shown)| needs_no_host(&shown.words)) {
        by_document.entry(document).or_default().push(shown);
    }
    assert!(by_document.values().map(Vec::len).sum::<usize>() > 10, "only {by_document:?} were found");
    let mut wrong = Vec::new();
    for (document, all) in &by_document {
        let directory = tempfile::tempdir().expect("a directory");
        prepare(document, directory.path());
        let failed = all.iter().filter_map(|shown| failure(shown, directory.path()));
        wrong.extend(failed.map(|failure| format!("{document}: {failure}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Give it, and say what is not as it is shown.
fn failure(shown: &Shown, directory: &Path) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_xnat-provision"))
        .args(shown.words[1..].iter().map(|word| word.replace("~/", "./")))
        .current_dir(directory)
        .env("HOME", directory)
        .env_remove("XDG_STATE_HOME")
        // what it asks for on a terminal
        .env("XNAT_BUNDLE_PASSWORD", "of the document")
        .output()
        .expect("the program runs");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let missing = shown.missing(&said).map(|line| format!("this line is not printed: {line}"));
    let ended = (output.status.code() != Some(shown.status)).then(|| format!("it ended with {}", output.status));
    let reason = ended.or(missing)?;
    Some(format!("{}\n{reason}\n{said}{complained}", shown.words.join(" ")))
}

/// The inventory that the document shows, under the names documents call one, or else the smallest example. The vault is no
/// matter of documents, and a passphrase takes its time.
fn prepare(document: &str, directory: &Path) {
    let (fenced, _) = split(&read(document));
    let whole = fenced.into_iter().find(|(language, text)| language == "toml" && text.contains("[cluster]"));
    let mut text = whole.map_or_else(|| read("inventory/minimal.toml"), |(_, text)| text);
    if !text.contains("[vault]") {
        text.push_str("\n[vault]\nencryption = \"none\"\n");
    }
    for name in ["inventory.toml", "xnat.toml"] {
        std::fs::write(directory.join(name), &text).expect("written");
    }
    for made in ["inventory", ".config/xnat"] {
        std::fs::create_dir_all(directory.join(made)).expect("made");
    }
    for name in ["example", "minimal"] {
        let path = format!("inventory/{name}.toml");
        std::fs::copy(root().join(&path), directory.join(&path)).expect("copied");
    }
}

#[test]
fn what_was_not_printed_is_missed() {
    let session = "$ sudo xnat-provision status \"my lab.toml\" | cat # status 4\n\
                   Go on with … changes? [y/N] y\nlag 12 kB, db…\n…\nend\n";
    let [shown] = of_fence(session).try_into().expect("one command");
    assert_eq!(shown.words, ["xnat-provision", "status", "my lab.toml"]);
    assert_eq!((shown.status, shown.question.as_deref()), (4, Some("Go on with … changes?")));
    assert_eq!(shown.missing("lag  7 kB, db2 and more\nsomething\nend\n"), None);
    assert_eq!(shown.missing("lag 7 kB, db2\nended\n"), Some("end"));
    assert_eq!(shown.missing("end\nlag 7 kB, db2\n"), Some("end"));
    assert_eq!(shown.missing("lag 7 MB, db2\nend\n"), Some("lag 12 kB, db…"));
    assert_eq!(shown.missing(""), Some("lag 12 kB, db…"));
}

#[test]
fn names_and_counts_are_told_apart_and_measurements_are_not() {
    let is_missing = |shown: &str, printed: &str| {
        let [shown] = of_fence(&format!("$ xnat-provision status\n{shown}\n")).try_into().expect("one command");
        shown.missing(printed).is_some()
    };
    for (shown, printed) in [
        (" db2  leader  running  2  17.12  4.0.7", " db2 leader running 2 17.13 4.1.0"),
        ("for 1.7 s (measured), at 10:30:00", "for 12.25 s (measured), at 09:00:01"),
        ("  ok   0 of … rows were lost", "  ok   0 of 740 rows were lost"),
        ("up 3min, 85 % used", "up 12min, 7 % used"),
    ] {
        assert!(!is_missing(shown, printed), "{shown}");
    }
    for (shown, printed) in [
        (" db2  leader  running  2", " db1 leader running 2"),
        (" db2  leader  running  2", " db2 leader running 1"),
        ("healthy: leader db1, 2 replicas streaming", "healthy: leader db1, 0 replicas streaming"),
        ("  ok   0 of … rows were lost", "  ok   7 of 740 rows were lost"),
        ("writes to 10.0.0.11", "writes to 10.0.0.12"),
    ] {
        assert!(is_missing(shown, printed), "{shown}");
    }
}
