//! `history`: earlier runs, from our own journals and from what the hosts remember of everybody's, and what happened
//! in one, with the renderers that showed it the first time.

mod table;

use std::path::PathBuf;

use clap::Subcommand;

use super::connect::{Answers, ConnectArgs, Terminal};
use super::out;
use super::{Failure, Globals};
use crate::engine::{Dialer, Fleet};
use crate::error::{Exit, Fails, one_line};
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::plan::{Depth, Plan, render};
use crate::report::journal::{End, Recording, Run, Store};
use crate::report::text::count;
use crate::report::{Kind, Redactor, ReportError, Reporter, Show, replay};
use table::Table;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    show: Option<Sub>,
    /// Only runs of this inventory's cluster
    #[arg(value_name = "INVENTORY")]
    inventory: Option<PathBuf>,
    /// Only runs of this cluster
    #[arg(long, value_name = "NAME", conflicts_with = "inventory")]
    cluster: Option<String>,
    /// Ask the hosts too: they remember the runs of everybody that changed something
    #[arg(long, requires = "inventory")]
    hosts: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Show again what happened in a run
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The name of a run as `history` shows it, or `last`
    #[arg(default_value = "last", value_name = "RUN")]
    run: String,
    /// Only runs of this cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// The plan it made instead of what happened
    #[arg(long)]
    plan: bool,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum HistoryError {
    #[error("the journal of run {run} has no plan")]
    #[diagnostic(code(xnat::history::no_plan), help("see how far it got: xnat-provision history show {run}"))]
    NoPlan { run: String },
    #[error("the plan in the journal of run {run} is not one this version can read")]
    #[diagnostic(
        code(xnat::history::plan),
        help("see it as it is: xnat-provision history show {run} --json | grep plan_made")
    )]
    Plan { run: String, source: serde_json::Error },
}

impl Fails for HistoryError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    if let Some(Sub::Show(args)) = &args.show {
        return show(args, globals);
    }
    let inventory = match &args.inventory {
        Some(path) => Some(Inventory::load(path, globals.assets.as_deref())?.inventory),
        None => None,
    };
    let cluster = inventory.as_ref().map(|inventory| &inventory.cluster).or(args.cluster.as_ref());
    let mut table = Table::default();
    for run in Store::of_user()?.runs(cluster.map(String::as_str))? {
        table.add_own(&run);
    }
    let exit = match inventory.filter(|_| args.hosts) {
        Some(inventory) => ask_hosts(&inventory, &args.connect, &mut table).await?,
        None => Exit::Ok,
    };
    if globals.json {
        out::json(&table.entries())?;
    } else {
        out::text(&table.text())?;
    }
    Ok(exit)
}

/// What the hosts remember goes into the table; those that could not be asked are told of.
async fn ask_hosts(inventory: &Inventory, connect: &ConnectArgs, table: &mut Table) -> Result<Exit, Failure> {
    let connector = connect.connector(&Terminal::of(&Answers::default(), &Redactor::default()))?;
    let mut fleet = Fleet::default();
    let reporter = Reporter::muted();
    let dialer = Dialer { connector: &connector, parallel: inventory.hosts.len(), reporter: &reporter };
    fleet.connect(inventory, dialer).await;
    let mut exit = Exit::Ok;
    for error in fleet.unreachable.values() {
        talk(&format!("not asked: {}", one_line(error)));
        exit = exit.max(error.exit());
    }
    for (host, answer) in fleet.remembered().await {
        match answer {
            Ok(remembered) => {
                if remembered.unreadable > 0 {
                    talk(&unreadable(&host, remembered.unreadable));
                }
                table.add_remembered(&host, remembered);
            }
            Err(error) => {
                talk(&format!("not asked: {}", one_line(&error)));
                exit = exit.max(error.exit());
            }
        }
    }
    fleet.close(&reporter).await;
    Ok(exit)
}

fn unreadable(host: &HostName, lines: usize) -> String {
    let path = crate::engine::shell::HISTORY;
    format!("{host}: {} of {path} cannot be read: somebody has written there, or a newer version", count(lines, "line"))
}

fn show(args: &ShowArgs, globals: &Globals) -> Result<Exit, Failure> {
    let (store, cluster) = (Store::of_user()?, args.cluster.as_deref());
    let run = match args.run.as_str() {
        "last" => store.last(cluster)?,
        id => store.find(id, cluster)?,
    };
    let recording = Recording::read(&run.path)?;
    if args.plan {
        show_plan(&run, &recording, globals)?;
        return Ok(Exit::Ok);
    }
    if !globals.json {
        out::text(&origin(&recording))?;
    }
    show_events(&run, &recording, globals)?;
    Ok(Exit::Ok)
}

/// Who began it, where and how. Nothing in journals of older versions.
fn origin(recording: &Recording) -> String {
    let mut lines = String::new();
    for event in &recording.events {
        let Kind::RunStarted { origin, inventory, .. } = &event.kind else { continue };
        if let Some(origin) = origin {
            let from = origin.from.as_ref().map(|from| format!(", from {from}")).unwrap_or_default();
            lines.push_str(&format!("by {}{from}: xnat-provision {}\n", origin.who(), origin.arguments.join(" ")));
        }
        if let Some(file) = inventory {
            lines.push_str(&format!("inventory {}, sha256 {}\n", file.path, file.sha256));
        }
    }
    lines
}

fn show_plan(run: &Run, recording: &Recording, globals: &Globals) -> Result<(), Failure> {
    // the first is what was asked about; the passes it leads to have their own
    let mut plans = recording.events.iter().filter_map(|event| match &event.kind {
        Kind::PlanMade { plan, .. } => plan.clone(),
        _ => None,
    });
    let plan = plans.next().ok_or_else(|| HistoryError::NoPlan { run: run.id.clone() })?;
    if globals.json {
        out::json(&plan)?;
        return Ok(());
    }
    let plan: Plan =
        serde_json::from_value(plan).map_err(|source| HistoryError::Plan { run: run.id.clone(), source })?;
    out::text(&render(&plan, out::style(), Depth::Full))?;
    Ok(())
}

fn show_events(run: &Run, recording: &Recording, globals: &Globals) -> Result<(), ReportError> {
    replay(recording, &run.path, if globals.json { Show::Json } else { Show::Terminal })?;
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

#[expect(clippy::print_stderr, reason = "a remark beside the data this command prints")]
fn talk(text: &str) {
    eprintln!("{}", crate::report::text::printable(text));
}
