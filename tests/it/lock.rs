//! The scripts that hold a host's lock, in a real shell: who gets it, who is told of whom, and who may still change
//! anything.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use xnat_provision::engine::shell::{self, Fence};
use xnat_provision::engine::{Claim, Remembered};
use xnat_provision::report::Record;

const FIRST: &str = "20260412T101530Z-0001";
const SECOND: &str = "20260412T101531Z-0002";

/// A run at a host's lock.
struct Run {
    shell: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

fn claim(run: &str) -> String {
    format!(
        r#"{{"run":"{run}","who":"it's $(anna)\u001b[31m@lap\ntop","command":"apply","cluster":"demo","since":"2026-04-12T10:15:30Z"}}"#
    )
}

impl Run {
    fn begin(directory: &Path, run: &str) -> Self {
        let place = |name: &str| directory.join(name).display().to_string();
        let script = shell::hold_in(&place("run"), &place("lib/history"), (run, &claim(run)));
        let mut shell =
            Command::new("sh").arg("-c").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh");
        let (to, from) = (shell.stdin.take(), BufReader::new(shell.stdout.take().expect("a pipe")));
        Self { shell, to, from }
    }

    fn hears(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("readable");
        line.trim_end().to_owned()
    }

    fn says(&mut self, line: &str) -> String {
        let to = self.to.as_mut().expect("open");
        to.write_all(format!("{line}\n").as_bytes()).expect("written");
        self.hears()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.to.take());
        // it has seen its input end
        self.shell.wait().expect("it ends");
    }
}

/// What a script of that turn does: its status and output.
fn fenced(directory: &Path, number: u64, run: &str) -> (Option<i32>, String, String) {
    let fence = Fence { number, run: run.to_owned() };
    let script = format!("{}\necho did it", shell::fenced_in(&directory.join("run").display().to_string(), &fence));
    let output = Command::new("sh").arg("-c").arg(script).output().expect("sh");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn one_run_has_the_lock_and_the_other_is_told_who() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path();
    let mut first = Run::begin(here, FIRST);
    assert_eq!(first.hears(), "mine 1");
    assert_eq!(first.says("1 beat"), "1 done");
    let taken = Run::begin(here, SECOND).hears();
    assert_eq!(taken, format!("taken {}", claim(FIRST)));
    let told = Claim::read(taken.trim_start_matches("taken ")).expect("a claim");
    assert_eq!(
        told.to_string(),
        format!("apply of cluster demo by it's $(anna)@lap top, begun at 2026-04-12T10:15:30Z, run {FIRST}")
    );
    assert_eq!(first.says("2 end"), "2 done");
    let mut second = Run::begin(here, SECOND);
    assert_eq!(second.hears(), "mine 2");
}

#[test]
fn the_end_of_the_connection_is_the_end_of_the_lock() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut first = Run::begin(directory.path(), FIRST);
    assert_eq!(first.hears(), "mine 1");
    drop(first);
    assert_eq!(Run::begin(directory.path(), SECOND).hears(), "mine 2");
}

#[test]
fn a_run_whose_turn_is_over_does_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path();
    assert_eq!(fenced(here, 1, FIRST), (Some(76), shell::FENCED.to_owned(), String::new()), "the host was restarted");
    drop({
        let mut run = Run::begin(here, FIRST);
        assert_eq!(run.hears(), "mine 1");
        run
    });
    assert_eq!(fenced(here, 1, FIRST), (Some(0), "did it".to_owned(), String::new()), "nobody came since");
    drop({
        let mut run = Run::begin(here, SECOND);
        assert_eq!(run.hears(), "mine 2");
        run
    });
    assert_eq!(fenced(here, 1, FIRST), (Some(76), shell::FENCED.to_owned(), claim(SECOND)));
    assert_eq!(fenced(here, 2, SECOND).0, Some(0));
}

/// Each has a host the other wants: the younger gives up first, and the older goes on.
#[test]
fn of_two_that_want_each_others_host_one_works() {
    let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let mut older = Run::begin(one.path(), FIRST);
    let mut younger = Run::begin(two.path(), SECOND);
    assert_eq!((older.hears(), younger.hears()), ("mine 1".to_owned(), "mine 1".to_owned()));
    let mut more = Run::begin(two.path(), FIRST);
    assert!(Run::begin(one.path(), SECOND).hears().starts_with("taken "));
    drop(younger);
    assert_eq!(more.hears(), "mine 2");
}

#[test]
fn a_host_remembers_the_last_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let history = directory.path().join("lib/history");
    std::fs::create_dir_all(directory.path().join("lib")).expect("made");
    let many: String = (0..500).map(|line| format!("{line}\n")).collect();
    std::fs::write(&history, many).expect("written");
    let mut run = Run::begin(directory.path(), FIRST);
    run.hears();
    assert_eq!(run.says(r#"1 note {"who":"it's \\ $(me) %s"}"#), "1 done");
    let lines: Vec<String> = std::fs::read_to_string(&history).expect("read").lines().map(str::to_owned).collect();
    assert_eq!((lines.len(), lines[0].as_str()), (400, "101"));
    assert_eq!(lines[399], r#"{"who":"it's \\ $(me) %s"}"#);
    std::fs::remove_dir_all(directory.path().join("lib")).expect("removed");
    std::fs::write(directory.path().join("lib"), "in the way").expect("written");
    assert_eq!(run.says("2 note {}"), "2 failed");
    assert_eq!(run.says("3 beat"), "3 done", "a history that cannot be written ends nothing");
}

/// What a host tells of its history and of who is at work.
fn history(directory: &Path) -> Remembered {
    let place = |name: &str| directory.join(name).display().to_string();
    let script = shell::history_in(&place("run"), &place("lib/history"));
    let output = Command::new("sh").arg("-c").arg(script).output().expect("sh");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    Remembered::read(&String::from_utf8_lossy(&output.stdout))
}

#[test]
fn what_a_host_remembers_is_read_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path();
    assert_eq!(history(here), Remembered::default(), "nothing was ever done there");
    let record = Record {
        run: FIRST.to_owned(),
        at: jiff::Timestamp::UNIX_EPOCH,
        who: "it's $(anna) \\ \"%s\"@laptop".to_owned(),
        from: None,
        command: "apply".to_owned(),
        cluster: "demo".to_owned(),
        planned: 2,
        end: None,
    };
    let mut run = Run::begin(here, FIRST);
    assert_eq!(run.hears(), "mine 1");
    assert_eq!(run.says(&format!("1 note {}", record.line())), "1 done");
    assert_eq!(run.says("2 note not a record"), "2 done");
    let known = Remembered { records: vec![record], running: Some(FIRST.to_owned()), unreadable: 1 };
    assert_eq!(history(here), known);
    assert_eq!(run.says("3 beat"), "3 done", "looking takes nothing away");
    drop(run);
    assert_eq!(history(here), Remembered { running: None, ..known });
}
