//! A lab per test, gone when the test is over however it ends; and the program's answers, ready to be looked at.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use xnat_provision::quote::sh;

pub const BINARY: &str = env!("CARGO_BIN_EXE_xnat-provision");

/// What the program did when it was run.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            // A process ended by a signal has no code of its own.
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The answer, when the exit status is the one expected.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }
}

/// Run the program.
pub fn run(arguments: &[&str]) -> Ran {
    Ran::of(Command::new(BINARY).args(arguments).output().expect("the program runs"))
}

/// A command as one types it.
pub fn typed(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| sh(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// A line of bash in a terminal of its own, which ends up on standard output; where and with the variables that the command
/// would have.
pub fn in_terminal(command: &Command, line: &str) -> Child {
    let mut script = Command::new("script");
    script.args(["-q", "-c", line, "/dev/null"]).env("SHELL", "/bin/bash");
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(directory) = command.get_current_dir() {
        script.current_dir(directory);
    }
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs")
}

/// Hosts for one test.
pub struct Lab {
    name: String,
    status: Value,
}

impl Lab {
    /// Boot hosts: `--hosts`, `--suite` or `--inventory` as for `lab up`. The test's name becomes part of the lab's.
    #[track_caller]
    pub fn up(test: &str, arguments: &[&str]) -> Self {
        let mut lab = Self::named(test);
        let made = run(&[&["lab", "up", "--json", "--name", &lab.name], arguments].concat());
        assert_eq!(made.status, 0, "lab hosts cannot run on this machine:\n{}", made.stderr);
        lab.status = serde_json::from_str(&made.stdout).expect("lab up --json prints JSON");
        lab
    }

    /// A name for a lab that the test boots itself; what has it is removed at the end.
    pub fn named(test: &str) -> Self {
        remove_orphans();
        Self { name: format!("e2e-{test}-{}", std::process::id()), status: Value::Null }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn inventory(&self) -> &Path {
        Path::new(self.text("inventory"))
    }

    /// Where the lab keeps everything it has.
    pub fn directory(&self) -> PathBuf {
        Path::new(self.text("identity")).parent().expect("it is in a directory").to_owned()
    }

    /// The password that sudo asks the user `operator` for.
    pub fn operator_password(&self) -> String {
        let text = std::fs::read_to_string(self.text("operator_password")).expect("the lab wrote it");
        text.trim_end().to_owned()
    }

    /// Run `lab SUBCOMMAND… --name THIS`.
    pub fn command(&self, words: &[&str]) -> Ran {
        run(&[&["lab"], words, &["--name", &self.name]].concat())
    }

    /// Run a shell command on `[user@]host`.
    pub fn ssh(&self, target: &str, command: &str) -> Ran {
        run(&["lab", "ssh", "--name", &self.name, target, "--", command])
    }

    fn text(&self, key: &str) -> &str {
        self.status.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("lab up --json has no {key}"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let removed = run(&["lab", "down", "--name", &self.name]);
        // A second panic would hide the test's own.
        if !std::thread::panicking() {
            removed.expect(0);
        }
    }
}

/// Labs of test processes that were killed, by the process number in their names.
fn remove_orphans() {
    let listed = run(&["lab", "status", "--json"]);
    let labs: Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
    for lab in labs.as_array().into_iter().flatten() {
        let name = lab.get("name").and_then(Value::as_str).unwrap_or_default();
        let process = name.strip_prefix("e2e-").and_then(|rest| rest.rsplit('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            run(&["lab", "down", "--name", name]).expect(0);
        }
    }
}
