//! The tutorial of the book: its commands in their order, and what they print is what the chapter shows.

use std::io::{BufReader, Read, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{BINARY, Lab, Ran, in_terminal, typed};

#[path = "../it/docs/shown.rs"]
mod shown;

use shown::{Shown, fits, of_fence};

const CHAPTER: &str = include_str!("../../docs/tutorial.md");
/// A failover and the return of a member fit in.
const PATIENCE: Duration = Duration::from_secs(120);

fn commands() -> Vec<Shown> {
    let fences = CHAPTER.split("```console\n").skip(1).map(|rest| rest.split("\n```").next().unwrap_or_default());
    fences.flat_map(of_fence).collect()
}

/// Where the commands are typed.
struct Desk {
    lab: String,
    directory: tempfile::TempDir,
}

impl Desk {
    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// As it is shown, but for the name of the lab.
    fn command(&self, shown: &Shown) -> Command {
        let mut command = Command::new(BINARY);
        command.args(&shown.words[1..]).current_dir(self.directory.path());
        if shown.words[1] == "lab" {
            command.args(["--name", &self.lab]);
        } else {
            command.env("XDG_STATE_HOME", self.state());
        }
        command
    }

    /// Without the question.
    fn run(&self, shown: &Shown) -> Ran {
        let mut command = self.command(shown);
        if shown.question.is_some() {
            command.arg("--yes");
        }
        Ran::of(command.output().expect("the program runs"))
    }

    /// What it prints in a terminal, where it asks and is told no.
    fn asked(&self, shown: &Shown) -> String {
        let command = self.command(shown);
        let mut running = in_terminal(&command, &format!("stty cols 200 rows 50; exec {}", typed(&command)));
        let mut terminal = running.stdin.take().expect("it is piped");
        let mut printed = Vec::new();
        for byte in BufReader::new(running.stdout.take().expect("it is piped")).bytes() {
            printed.push(byte.expect("it is read"));
            if printed.ends_with(b"[y/N] ") {
                terminal.write_all(b"n\n").expect("it is answered");
            }
        }
        running.wait().expect("it ends");
        String::from_utf8_lossy(&printed).into_owned()
    }

    /// What is not as it is shown, with everything that was printed.
    fn wrong(&self, shown: &Shown) -> Option<String> {
        if let Some(question) = &shown.question {
            let printed = self.as_in_the_chapter(&self.asked(shown));
            if !fits(&format!("…{question} [y/N] …"), &printed) {
                return Some(format!("this is not asked: {question}\n--- printed\n{printed}"));
            }
        }
        let ran = self.run(shown);
        let printed = self.as_in_the_chapter(&format!("{}{}", ran.stdout, ran.stderr));
        let missing = shown.missing(&printed).map(|line| format!("this line is shown and was not printed: {line}"));
        let status = (ran.status != shown.status).then(|| format!("status {}, and not {}", ran.status, shown.status));
        status.or(missing).map(|wrong| format!("{wrong}\n--- printed\n{printed}"))
    }

    /// Whose lab has the name that labs have.
    fn as_in_the_chapter(&self, printed: &str) -> String {
        printed.replace(&self.lab, "lab")
    }
}

/// What only looks may be done again, as the chapter says, and so may a drill that was not possible yet.
fn may_be_repeated(shown: &Shown, wrong: &str) -> bool {
    ["status", "doctor", "health"].contains(&shown.words[1].as_str()) || wrong.contains("xnat::drill::not_now")
}

#[test]
fn the_tutorial_goes_as_it_is_written() {
    let commands = commands();
    assert!(commands.len() > 15, "only {} commands were found", commands.len());
    let lab = Lab::named("tutorial");
    let desk = Desk { lab: lab.name().to_owned(), directory: tempfile::tempdir().expect("a directory") };
    for shown in &commands {
        let begun = Instant::now();
        let mut wrong = desk.wrong(shown);
        while wrong.as_ref().is_some_and(|wrong| may_be_repeated(shown, wrong)) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_secs(1));
            wrong = desk.wrong(shown);
        }
        let words = shown.words.join(" ");
        println!("{:5.1} s  {words}", begun.elapsed().as_secs_f64());
        assert!(wrong.is_none(), "{words}\n{}", wrong.unwrap_or_default());
    }
}
