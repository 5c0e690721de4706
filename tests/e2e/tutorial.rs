//! The tutorial of the book: its commands in their order, and what they print is what the chapter shows.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{BINARY, Lab, Ran};

#[path = "../it/docs/shown.rs"]
mod shown;

use shown::{Shown, of_fence};

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
    /// The command as it is shown, but for the name of the lab and the question.
    fn run(&self, shown: &Shown) -> Ran {
        let mut command = Command::new(BINARY);
        command.args(&shown.words[1..]).current_dir(self.directory.path());
        if shown.words[1] == "lab" {
            command.args(["--name", &self.lab]);
        } else {
            command.env("XDG_STATE_HOME", self.directory.path().join("state"));
        }
        if shown.asks {
            command.arg("--yes");
        }
        Ran::of(command.output().expect("the program runs"))
    }

    /// As in the chapter, whose lab has the name that labs have.
    fn printed(&self, ran: &Ran) -> String {
        format!("{}{}", ran.stdout, ran.stderr).replace(&self.lab, "lab")
    }

    fn wrong(&self, shown: &Shown, ran: &Ran) -> Option<String> {
        let printed = self.printed(ran);
        let missing = shown.missing(&printed).map(|line| format!("this line is shown and was not printed: {line}"));
        let status = (ran.status != shown.status).then(|| format!("status {}, and not {}", ran.status, shown.status));
        let words = shown.words.join(" ");
        status.or(missing).map(|wrong| format!("{words}\n{wrong}\n--- printed\n{printed}"))
    }
}

/// What only looks may be done again, as the chapter says, and so may a drill that was not possible yet.
fn may_be_repeated(shown: &Shown) -> bool {
    ["status", "doctor", "health", "drill"].contains(&shown.words[1].as_str())
}

#[test]
fn the_tutorial_goes_as_it_is_written() {
    let commands = commands();
    assert!(commands.len() > 15, "only {} commands were found", commands.len());
    let lab = Lab::named("tutorial");
    let desk = Desk { lab: lab.name().to_owned(), directory: tempfile::tempdir().expect("a directory") };
    for shown in &commands {
        let begun = Instant::now();
        let mut wrong = desk.wrong(shown, &desk.run(shown));
        while wrong.is_some() && may_be_repeated(shown) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_secs(1));
            wrong = desk.wrong(shown, &desk.run(shown));
        }
        println!("{:5.1} s  {}", begun.elapsed().as_secs_f64(), shown.words.join(" "));
        assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
    }
}
