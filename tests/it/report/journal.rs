//! What is kept of a run: the journal while it is written, how long it is kept, and the command that shows it again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use insta::assert_snapshot;
use xnat_provision::names::HostName;
use xnat_provision::report::journal::{End, KEPT, Recording, Store};
use xnat_provision::report::{Kind, Options, Outcome, Redactor, Show, start};

use super::{fixture, plain};

pub fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::at(directory.path().join("state/xnat-provision"));
    (directory, store)
}

pub fn options(store: &Store) -> Options {
    Options { cluster: "xnat".to_owned(), show: Show::Plain, store: Some(store.clone()), redactor: Redactor::default() }
}

#[tokio::test]
async fn a_run_leaves_a_journal_only_its_owner_reads() {
    let (_directory, store) = store();
    let (reporter, mut running) = start(options(&store));
    let run = reporter.run_id().to_owned();
    reporter.emit(Kind::StepStarted { title: "Begin".to_owned() }).await;
    running.settle().await;
    let path = running.journal().expect("a journal").to_owned();
    assert_eq!(Recording::read(&path).expect("read").end, End::Open, "written while the run goes on");
    reporter.for_host(&"db1".into()).for_stage("Start").emit(Kind::OutputLine { line: "hello".to_owned() }).await;
    reporter.emit(Kind::RunFinished { outcome: Outcome::Ok, changed: 0, millis: 3 }).await;
    drop(reporter);
    let finished = running.finish().await.expect("finished");
    assert_eq!(finished.journal.as_deref(), Some(path.as_path()));
    let recording = Recording::read(&path).expect("read");
    assert_eq!(recording.end, End::Whole);
    assert_eq!(recording.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(store.last(None).expect("there").id, run);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().expect("directory"))), (0o600, 0o700));
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_is_a_warning() {
    let (directory, _) = store();
    let blocked = directory.path().join("a-file");
    fs::write(&blocked, "").expect("written");
    let (reporter, running) = start(options(&Store::at(&blocked)));
    reporter.emit(Kind::StepStarted { title: "Begin".to_owned() }).await;
    drop(reporter);
    let finished = running.finish().await.expect("finished");
    assert_eq!((finished.journal, finished.state.warnings), (None, 1));
}

#[tokio::test]
async fn more_events_than_the_channel_holds_all_arrive() {
    let (_directory, store) = store();
    let (reporter, running) = start(options(&store));
    let path = running.journal().expect("a journal").to_owned();
    let talk = (0..8).map(|n| {
        let reporter = reporter.for_host(&HostName::new(format!("db{n}")));
        tokio::spawn(async move {
            for line in 0..500 {
                reporter.emit(Kind::OutputLine { line: line.to_string() }).await;
            }
        })
    });
    futures::future::join_all(talk.collect::<Vec<_>>()).await;
    drop(reporter);
    running.finish().await.expect("finished");
    let events = Recording::read(&path).expect("read").events;
    assert!(events.iter().map(|event| event.seq).eq(0..4000));
}

#[test]
fn the_newest_runs_are_kept() {
    let (_directory, store) = store();
    for n in 0..KEPT + 5 {
        store.create("xnat", &format!("20260412T1015{n:02}Z-0000")).expect("created");
    }
    store.create("other", "20200101T000000Z-0000").expect("created");
    let foreign = store.runs(Some("other")).expect("listed")[0].path.with_file_name("keep-me");
    fs::create_dir(&foreign).expect("made");
    store.prune("xnat").expect("pruned");
    store.prune("other").expect("pruned");
    let runs = store.runs(Some("xnat")).expect("listed");
    assert_eq!(runs.len(), KEPT);
    assert_eq!(runs[0].id, "20260412T101554Z-0000");
    assert_eq!(runs[KEPT - 1].id, "20260412T101505Z-0000");
    assert_eq!(store.runs(None).expect("listed").len(), KEPT + 1);
    assert!(foreign.exists());
    assert!(store.create("../elsewhere", "20260412T101530Z-0000").is_err());
}

#[test]
fn a_killed_run_is_read_as_far_as_it_got() {
    let (directory, _) = store();
    let path = directory.path().join("events.jsonl");
    let whole = fs::read_to_string(fixture("good.jsonl")).expect("read");
    let cases = [
        (whole.len() - 20, End::Cut),
        (whole.len() - 1, End::Cut),
        (whole[..whole.len() - 1].rfind('\n').expect("lines") + 1, End::Open),
        (whole.len(), End::Whole),
        (0, End::Open),
    ];
    for (length, end) in cases {
        fs::write(&path, &whole[..length]).expect("written");
        assert_eq!(Recording::read(&path).expect("read").end, end, "{length}");
    }
    fs::write(&path, "{\n{}\n").expect("written");
    assert_snapshot!(Recording::read(&path).expect_err("refused").to_string().replace(&directory.path().display().to_string(), "DIR"), @r"
    line 1 of the journal DIR/events.jsonl is not an event
    ");
}

/// The command, with journals of its own.
fn command(state: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_xnat-provision"))
        .args(arguments)
        .env_clear()
        .env("XDG_STATE_HOME", state)
        .output()
        .expect("started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8").replace(&state.display().to_string(), "STATE");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Journals as runs of theirs left them.
fn remembered() -> tempfile::TempDir {
    let state = tempfile::tempdir().expect("a temporary directory");
    let store = Store::at(state.path().join("xnat-provision"));
    let good = fs::read_to_string(fixture("good.jsonl")).expect("read");
    let failed = fs::read_to_string(fixture("failed.jsonl")).expect("read");
    let runs = [
        ("xnat", "20260412T101530Z-3f9c", good.as_str()),
        ("xnat", "20260412T111530Z-0001", failed.as_str()),
        ("test", "20260412T121530Z-0002", &good[..4000]),
    ];
    for (cluster, run, text) in runs {
        let journal = store.create(cluster, run).expect("created");
        fs::write(journal.path(), text).expect("written");
    }
    state
}

#[test]
fn earlier_runs_are_listed() {
    let state = remembered();
    let (status, list, _) = command(state.path(), &["history"]);
    assert_eq!(status, Some(0));
    assert_snapshot!(list, @r"
    Run                    Time                  Cluster  Who  Command  Result   Changes    Duration
    20260412T121530Z-0002  2026-04-12 10:15:30Z  test          apply    cut off  2 changes  11 s
    20260412T111530Z-0001  2026-04-12 10:15:30Z  xnat          apply    failed   3 changes  13 s
    20260412T101530Z-3f9c  2026-04-12 10:15:30Z  xnat          apply    ok       8 changes  35 s
    ");
    let (_, json, _) = command(state.path(), &["history", "--cluster", "xnat", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[0]["result"], "failed");
    assert_eq!(json[1]["journal"], "STATE/xnat-provision/xnat/runs/20260412T101530Z-3f9c/events.jsonl");
}

#[test]
fn earlier_runs_are_shown_again() {
    let state = remembered();
    let (_, shown, remark) = command(state.path(), &["history", "show", "20260412T101530Z-3f9c"]);
    assert_eq!((shown, remark), (plain("good.jsonl"), String::new()));
    let (_, json, _) = command(state.path(), &["history", "show", "last", "--cluster", "xnat", "--json"]);
    assert_eq!(json, fs::read_to_string(fixture("failed.jsonl")).expect("read"));
}

#[test]
fn a_killed_run_is_shown_as_far_as_it_got() {
    let state = remembered();
    let (status, shown, remark) = command(state.path(), &["history", "show"]);
    assert_eq!(status, Some(0));
    assert_snapshot!(shown.lines().rev().take(4).collect::<Vec<_>>().join("\n"), @r"
    Show it again:            xnat-provision history show 20260412T101530Z-3f9c
    Everything that happened: STATE/xnat-provision/test/runs/20260412T121530Z-0002/events.jsonl
    ! ended without a result after 11 s, 2 changes on 2 hosts
    10:15:40Z db1 | changed package etcd-server: installed 3.4.23-4+b4
    ");
    assert_snapshot!(remark, @r"
    The journal ends in the middle of a line: the run was killed, or the disk was full.
    ");
}

#[test]
fn runs_that_are_not_there_are_named() {
    let state = remembered();
    let (status, shown, error) = command(state.path(), &["history", "show", "yesterday"]);
    assert_eq!((status, shown.as_str()), (Some(2), ""));
    assert_snapshot!(error, @r"
    xnat::report::no_such_run

      × there is no run yesterday
      help: see which there are: xnat-provision history
    ");
    let (status, _, error) = command(state.path(), &["history", "show", "last", "--cluster", "other"]);
    assert_eq!(status, Some(2));
    assert!(error.contains("no runs of cluster other are recorded here"), "{error}");
}

/// Who, from where, what was typed, and the plan: all of it comes back from the journal.
#[test]
fn a_run_says_who_began_it_and_what_it_planned() {
    let state = tempfile::tempdir().expect("a temporary directory");
    let store = Store::at(state.path().join("xnat-provision"));
    let event =
        |kind: &str| format!(r#"{{"run":"20260412T101530Z-0003","seq":0,"at":"2026-04-12T10:15:30Z",{kind}}}"#) + "\n";
    let started = event(
        r#""kind":"run_started","command":"apply","cluster":"xnat","hosts":["db1"],"version":"0.1.0","origin":{"user":"anna","machine":"desk","from":"10.0.0.9","arguments":["apply","--yes","x.toml"]},"inventory":{"path":"x.toml","sha256":"00ff"}"#,
    );
    let change = r#"{"title":"Create the database","effect":"quiet"}"#;
    let plan = format!(
        r#"{{"cluster":"xnat","version":"0.1.0","stages":[{{"title":"Site","hosts":{{}},"cluster":[{change}]}}]}}"#
    );
    let made = event(&format!(r#""kind":"plan_made","changes":1,"hosts":0,"plan":{plan}"#));
    let journal = store.create("xnat", "20260412T101530Z-0003").expect("created");
    fs::write(journal.path(), started + &made).expect("written");
    let (_, list, _) = command(state.path(), &["history"]);
    assert!(list.contains("anna@desk") && list.contains("cut off"), "{list}");
    let (_, shown, _) = command(state.path(), &["history", "show"]);
    assert!(
        shown.starts_with(
            "by anna@desk, from 10.0.0.9: xnat-provision apply --yes x.toml\ninventory x.toml, sha256 00ff\n"
        ),
        "{shown}"
    );
    let (status, shown, error) = command(state.path(), &["history", "show", "--plan"]);
    assert_eq!((status, error.as_str()), (Some(0), ""));
    assert!(shown.contains("Create the database"), "{shown}");
    let (_, json, _) = command(state.path(), &["history", "show", "--plan", "--json"]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&json).expect("JSON"),
        serde_json::from_str::<serde_json::Value>(&plan).expect("JSON")
    );
    // journals of older versions have no plan
    let (status, _, error) = command(remembered().path(), &["history", "show", "20260412T101530Z-3f9c", "--plan"]);
    assert_eq!(status, Some(1));
    assert!(error.contains("xnat::history::no_plan"), "{error}");
}
