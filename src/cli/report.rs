//! `report`: shows an earlier run again, from its journal, with the renderers that showed it the first time.

use serde::Serialize;

use super::out::{self, OutputError};
use super::{Failure, Globals};
use crate::error::Exit;
use crate::report::journal::{End, Recording, Run, Store};
use crate::report::lines::word;
use crate::report::state::RunState;
use crate::report::text::{count, duration};
use crate::report::{ReportError, Show, replay};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// `last`, `list`, or the name of a run as `list` shows it
    #[arg(default_value = "last", value_name = "last|list|RUN")]
    which: String,
    /// Only runs of this cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let cluster = args.cluster.as_deref();
    match args.which.as_str() {
        "list" => list(&store.runs(cluster)?, globals)?,
        "last" => show(&store.last(cluster)?, globals)?,
        id => show(&store.find(id, cluster)?, globals)?,
    }
    Ok(Exit::Ok)
}

fn show(run: &Run, globals: &Globals) -> Result<(), ReportError> {
    let recording = Recording::read(&run.path)?;
    replay(&recording, &run.path, if globals.json { Show::Json } else { Show::Terminal })?;
    if let Some(remark) = remark(recording.end) {
        talk(remark);
    }
    Ok(())
}

fn remark(end: End) -> Option<&'static str> {
    match end {
        End::Whole => None,
        End::Open => Some("The journal has no end: the run was killed, or still goes on."),
        End::Cut => Some("The journal ends in the middle of a line: the run was killed, or the disk was full."),
    }
}

/// A run in the list.
#[derive(Serialize)]
struct Entry<'a> {
    run: &'a str,
    cluster: &'a str,
    command: String,
    outcome: &'static str,
    hosts: usize,
    changed: usize,
    millis: u64,
    journal: String,
}

fn list(runs: &[Run], globals: &Globals) -> Result<(), OutputError> {
    let entries: Vec<_> = runs.iter().map(entry).collect();
    if globals.json {
        out::json(&entries)?;
    } else if entries.is_empty() {
        out::text("No runs are recorded here.\n")?;
    } else {
        out::text(&entries.iter().map(row).collect::<String>())?;
    }
    Ok(())
}

fn entry(run: &Run) -> Entry<'_> {
    let journal = run.path.display().to_string();
    let mut entry = Entry {
        run: &run.id,
        cluster: &run.cluster,
        command: String::new(),
        outcome: "unreadable",
        hosts: 0,
        changed: 0,
        millis: 0,
        journal,
    };
    // One damaged journal must not hide the others; showing it tells what is wrong with it.
    if let Ok(recording) = Recording::read(&run.path) {
        let state = RunState::replay(&recording.events);
        entry.outcome = state.finished.map_or("no end", |finish| word(finish.outcome));
        entry.millis = state.finished.map_or_else(|| state.last.map_or(0, |last| state.elapsed(last)), |f| f.millis);
        entry.hosts = state.hosts.len();
        entry.changed = state.changed;
        entry.command = state.command;
    }
    entry
}

fn row(entry: &Entry<'_>) -> String {
    let Entry { run, cluster, command, outcome, hosts, changed, millis, .. } = entry;
    let amount = format!("{} on {}", count(*changed, "change"), count(*hosts, "host"));
    format!("{run}  {cluster:<12} {command:<8} {outcome:<11}  {amount}, {}\n", duration(*millis))
}

#[expect(clippy::print_stderr, reason = "a remark beside the data this command prints")]
fn talk(text: &str) {
    eprintln!("{text}");
}
