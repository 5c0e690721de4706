//! The installation guide of the book: its commands, typed in their order in a directory of their own, on hosts that have
//! the packages.

use std::path::Path;
use std::process::Command;

use crate::harness::{BINARY, Ran};
use crate::site::Site;

const GUIDE: &str = include_str!("../../docs/installation.md");
/// What comes to nothing without a person at the machines, or without systemd on this one.
const NOT_HERE: [&str; 2] = ["drill power-off --by-hand", "drill schedule"];
/// For a vault that was made: the guide says when, and this is when.
const LATER: &str = "vault rekey";
/// These ask whoever types them.
const ASKING: [&str; 4] = ["check --fix", "apply", "drill all", "switchover"];

/// A line after `$`, and the status that its comment promises.
fn commands() -> Vec<(&'static str, i32)> {
    let fences = GUIDE.split("```console\n").skip(1).map(|rest| rest.split("\n```").next().unwrap_or_default());
    let lines = fences.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ "));
    let one = |line: &'static str| {
        let (command, comment) = line.split_once(" #").unwrap_or((line, ""));
        let status = comment.trim().strip_prefix("status ").map_or(0, |number| number.parse().expect("a number"));
        (command.trim(), status)
    };
    let (later, first): (Vec<_>, Vec<_>) = lines.map(one).partition(|(command, _)| command.contains(LATER));
    first.into_iter().chain(later).collect()
}

/// As a person types it, who says yes.
fn type_it(home: &Path, command: &str) -> Ran {
    let yes = if ASKING.iter().any(|words| command.contains(words)) { " --yes" } else { "" };
    let command = command.replace("/var/lib/node-exporter", &home.join("node-exporter").display().to_string());
    let programs = Path::new(BINARY).parent().expect("it is in a directory");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("there is a PATH"));
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("{command}{yes}")]).current_dir(home.join("cluster"));
    bash.env("HOME", home).env("PATH", path).env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
    Ran::of(bash.output().expect("bash runs"))
}

#[test]
fn the_installation_guide_goes_as_it_is_written() {
    let site = Site::new("guide", (&["--hosts", "4", "--suite", "trixie"], "root"));
    let home = site.file("home");
    for directory in ["cluster", "node-exporter"] {
        std::fs::create_dir_all(home.join(directory)).expect("made");
    }
    let inventory = home.join("cluster/inventory.toml");
    write(&inventory, &site, &[]);
    let all = commands();
    assert!(all.len() > 15, "only {} commands were found", all.len());
    let mut recipients = Vec::new();
    for (command, status) in all.iter().filter(|(command, _)| !NOT_HERE.iter().any(|words| command.contains(words))) {
        let ran = type_it(&home, command);
        assert_eq!(ran.status, *status, "{command}\n--- stdout\n{}\n--- stderr\n{}", ran.stdout, ran.stderr);
        if command.contains("vault identity") {
            recipients.extend(ran.stdout.split_whitespace().find(|word| word.starts_with("age1")).map(str::to_owned));
            write(&inventory, &site, &recipients);
        }
    }
    let opened = type_it(&home, "XNAT_VAULT_IDENTITY=~/safe.txt xnat-provision vault show").expect(0).stdout;
    assert!(opened.contains("application"), "{opened}");
}

/// The lab's, with the vault as the guide has it.
fn write(inventory: &Path, site: &Site, recipients: &[String]) {
    let text = site.read();
    let kept = text.split("\n\n").filter(|table| !table.starts_with("[vault]")).collect::<Vec<_>>().join("\n\n");
    let vault = format!("\n[vault]\nidentity = \"~/.config/xnat/key.txt\"\nrecipients = {recipients:?}\n");
    std::fs::write(inventory, kept + &vault).expect("written");
}
