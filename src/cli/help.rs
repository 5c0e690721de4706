//! `help`: what a command takes, and the documentation, which is all inside: one file is enough where there is no internet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use serde::Serialize;

use super::{Cli, Failure, Globals, out};
use crate::error::{Exit, Fails};
use crate::inventory::nearest;
use crate::plan::Style;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// A topic (`help topics` lists them), or a command as it is typed: `help vault show`
    #[arg(value_name = "TOPIC|COMMAND")]
    words: Vec<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the documents that are inside
    Topics,
    /// Print the manual page, or write those of all commands into a directory
    Man {
        /// The directory, for `man -l` or below a MANPATH; what is there of the same name is replaced
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
}

/// A document that is inside.
#[derive(Serialize)]
struct Topic {
    name: &'static str,
    about: &'static str,
    #[serde(skip)]
    text: &'static str,
}

macro_rules! topics {
    ($($name:literal, $about:literal, $path:literal;)*) => {
        &[$(Topic {
            name: $name,
            about: $about,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)),
        }),*]
    };
}

/// In the order in which somebody new would read them.
const TOPICS: &[Topic] = topics![
    "readme", "What it does and how to use it", "README.md";
    "tutorial", "A cluster in the lab, from the first host to a failover: half an hour", "docs/tutorial.md";
    "installation", "Setting it up at a real site, step by step", "docs/installation.md";
    "runbook", "What to do when it burns, and where to look first", "docs/runbook.md";
    "alarms", "What each check of `health` means, and what to do", "docs/alarms.md";
    "findings", "The same for what `doctor` and `status` find", "docs/findings.md";
    "errors", "The same for the exit status and for every error code", "docs/errors.md";
    "dr-plan", "A plan for the day when a site is lost, to be filled in", "docs/dr-plan.md";
    "commands", "Every command with every option", "docs/commands.md";
    "settings", "Every key of the inventory", "docs/inventory.md";
    "inventory", "An inventory with every setting there is", "inventory/example.toml";
    "checks", "What `check` looks at on the hosts, why, and what to do", "CHECKS.md";
    "migration", "Moving an existing database into the cluster", "docs/migration.md";
    "air-gap", "Hosts without a way to the internet", "docs/air-gap.md";
    "containers", "The same cluster for docker compose and for Kubernetes", "docs/containers.md";
    "security", "What is protected by what, and what is not", "SECURITY.md";
    "changelog", "What has changed since when", "CHANGELOG.md";
    "architecture", "How it works inside", "ARCHITECTURE.md";
    "contributing", "How to work on it", "CONTRIBUTING.md";
    "packaging", "How to build it for others: packages, other machines, the same bytes again", "docs/packaging.md";
    "licenses", "Whose work is in it, and under which licenses", "THIRD-PARTY.md";
];

/// One document: a topic, a command's help, or a manual page.
#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    text: &'a str,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum HelpError {
    #[error("`{asked}` is neither a topic nor a command")]
    #[diagnostic(code(xnat::help::unknown), help("{help}"))]
    Unknown { asked: String, help: String },
    #[error("cannot write {}", path.display())]
    #[diagnostic(code(xnat::help::write), help("name another directory with `--to DIR`"))]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Fails for HelpError {
    fn exit(&self) -> Exit {
        match self {
            Self::Unknown { .. } => Exit::Usage,
            Self::Write { .. } => Exit::Failed,
        }
    }
}

pub fn run(Args { words, command }: Args, globals: &Globals) -> Result<Exit, Failure> {
    // after an option clap takes them for words: `help --json topics`
    let command = command.or_else(|| match words.as_slice() {
        [word] if word == "topics" => Some(Command::Topics),
        [word] if word == "man" => Some(Command::Man { to: None }),
        _ => None,
    });
    match command {
        Some(Command::Topics) if globals.json => out::json(&TOPICS).map(drop)?,
        Some(Command::Topics) => out::text(&listed()).map(drop)?,
        Some(Command::Man { to: Some(directory) }) => write_manual(&directory, globals)?,
        Some(Command::Man { to: None }) => {
            let page = page(&program());
            print((&page.name, &page.text), globals)?;
        }
        None => match TOPICS.iter().find(|topic| words == [topic.name]) {
            Some(topic) => print((topic.name, topic.text), globals)?,
            None => print_command(&words, globals)?,
        },
    }
    Ok(Exit::Ok)
}

fn print((name, text): (&str, &str), globals: &Globals) -> Result<(), Failure> {
    if globals.json { out::json(&Document { name, text }) } else { out::text(text) }?;
    Ok(())
}

fn listed() -> String {
    let width = TOPICS.iter().map(|topic| topic.name.len()).max().unwrap_or(0);
    let lines = TOPICS.iter().map(|topic| format!("{:<width$}  {}\n", topic.name, topic.about));
    lines.collect::<String>() + "\nRead one: xnat-provision help TOPIC\n"
}

// ---- commands --------------------------------------------------------------------------------------------------------

/// The program as its commands' help needs it: their full names and the options all of them take are filled in.
fn program() -> clap::Command {
    let mut program = Cli::command();
    program.build();
    program
}

/// What the command prints for `--help`; clap has it as what is wrong with that command line.
fn print_command(words: &[String], globals: &Globals) -> Result<(), Failure> {
    known(&program(), words)?;
    let typed = [&["xnat-provision".to_owned()], words].concat();
    let asked = Cli::command().try_get_matches_from(typed.iter().map(String::as_str).chain(["--help"]));
    let help = asked.err().map(|help| help.render()).unwrap_or_default();
    let text = if !globals.json && out::style() == Style::Colour { help.ansi().to_string() } else { help.to_string() };
    print((&typed.join(" "), &text), globals)
}

fn known(program: &clap::Command, words: &[String]) -> Result<(), HelpError> {
    let mut command = program;
    for (index, word) in words.iter().enumerate() {
        command = command.find_subcommand(word).ok_or_else(|| unknown(command, words, index))?;
    }
    Ok(())
}

/// What may be meant instead of the word that is wrong.
fn unknown(command: &clap::Command, words: &[String], wrong: usize) -> HelpError {
    let asked = words.join(" ");
    let mut known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    if wrong == 0 {
        let ours = command.find_subcommand("help").into_iter().flat_map(clap::Command::get_subcommands);
        known.extend(ours.map(clap::Command::get_name).chain(TOPICS.iter().map(|topic| topic.name)));
    }
    let before: String = words[..wrong].iter().map(|word| format!(" {word}")).collect();
    let help = match nearest(&words[wrong], known) {
        Some(near) => format!("did you mean `xnat-provision help{before} {near}`?"),
        None if wrong == 0 => {
            "topics are listed by `xnat-provision help topics`, commands by `xnat-provision help`".to_owned()
        }
        None => format!("`xnat-provision help{before}` tells what there is"),
    };
    HelpError::Unknown { asked, help }
}

// ---- manual pages ----------------------------------------------------------------------------------------------------

/// A manual page, by the name of its file.
struct Page {
    name: String,
    text: String,
}

fn page(command: &clap::Command) -> Page {
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    // writing into memory cannot fail
    let _never_fails = page.render(&mut text);
    Page { name: page.get_filename(), text: String::from_utf8_lossy(&text).into_owned() }
}

/// That of a command, then those of its own commands.
fn pages(command: &clap::Command) -> Vec<Page> {
    let below = command.get_subcommands().flat_map(pages);
    std::iter::once(page(command)).chain(below).collect()
}

fn write_manual(directory: &Path, globals: &Globals) -> Result<(), Failure> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| HelpError::Write { path, source }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let mut written = Vec::new();
    for page in pages(&program()) {
        let path = directory.join(page.name);
        fs::write(&path, page.text).map_err(failed(&path))?;
        written.push(path);
    }
    let main = written.first().map(|path| path.display().to_string()).unwrap_or_default();
    let said = format!("{} pages are in {}; read one: man -l {main}\n", written.len(), directory.display());
    if globals.json { out::json(&written) } else { out::text(&said) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_listed_and_say_something() {
        let program = program();
        for topic in TOPICS {
            assert!(topic.text.len() > 100, "{}", topic.name);
            assert!(listed().contains(&format!("{} ", topic.name)), "{}", topic.name);
            assert!(program.find_subcommand(topic.name).is_none(), "{} is a command too", topic.name);
        }
    }

    #[test]
    fn the_wrong_word_is_found() {
        let help = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            match known(&program(), &words) {
                Err(HelpError::Unknown { help, .. }) => help,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(help(&["aply"]), "did you mean `xnat-provision help apply`?");
        assert_eq!(help(&["topcis"]), "did you mean `xnat-provision help topics`?");
        assert_eq!(help(&["vault", "shwo"]), "did you mean `xnat-provision help vault show`?");
        assert_eq!(help(&["readme", "more"]), "did you mean `xnat-provision help readme`?");
        assert_eq!(help(&["vault", "weather"]), "`xnat-provision help vault` tells what there is");
        let nothing_near = "topics are listed by `xnat-provision help topics`, commands by `xnat-provision help`";
        assert_eq!(help(&["weather"]), nothing_near);
    }

    #[test]
    fn every_command_has_a_page_with_its_name() {
        fn names(command: &clap::Command) -> Vec<String> {
            let own = command.get_display_name().unwrap_or(command.get_name()).to_owned();
            std::iter::once(own).chain(command.get_subcommands().flat_map(names)).collect()
        }
        let program = program();
        let pages = pages(&program);
        assert_eq!(pages.iter().map(|page| page.name.trim_end_matches(".1")).collect::<Vec<_>>(), names(&program));
        for page in pages {
            let name = page.name.trim_end_matches(".1").replace('-', "\\-");
            assert!(page.text.contains(&format!(".SH NAME\n{name}")), "{}", page.text);
        }
    }
}
