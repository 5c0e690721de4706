//! `drill`: something goes wrong on purpose while clients write and read; what it cost is judged, shown and kept.

mod kept;
mod schedule;
mod series;
mod switch;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use jiff::Timestamp;

use super::session::{Done, Need, Opening, Session, Target};
use super::{Failure, Globals, out};
use crate::drill::{self, Attempt, Fault};
use crate::engine::Scrutiny;
use crate::error::{Exit, Fails, one_line};
use crate::inventory::{Inventory, Period};
use crate::report::redact::Redactor;
use crate::report::{self, Kind, Show};
use crate::workflow::lock::RunLock;
use series::Series;

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "`drill list` explains each. Clients write to a database of the drill's own, which is removed at the end. Whatever lasts is undone at the end, also after Ctrl-C, and by a timer on its host when this program is killed.\n\nThe report (HTML and JSON) is kept beside the journals of the cluster; `drill history` compares.\n\nExit status: 0 passed, 1 it could not be done, 2 a mistake in the inventory or the command, 3 a host could not be reached, 4 not passed, or not possible now, 130 interrupted."
)]
pub struct Args {
    #[command(subcommand)]
    look: Option<Look>,
    /// What is to go wrong, or all of it, one after the other
    #[arg(required = true, value_name = "FAULT")]
    what: Option<What>,
    /// With `all`: only what a cluster in use can stand
    #[arg(long)]
    safe: bool,
    /// Do it so many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: u16,
    /// Not passed when nobody can write for longer, such as 30s; otherwise what the timings promise counts
    #[arg(long, value_name = "TIME", value_parser = period)]
    budget_write_gap: Option<Duration>,
    /// Not passed when more acknowledged rows are lost
    #[arg(long, value_name = "N")]
    budget_lost: Option<u64>,
    /// With `power-off`: also a machine without a switch, which is powered off for real and which you switch on when asked to
    #[arg(long)]
    by_hand: bool,
    /// Why, for the report; what is not safe wants one
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// For what is not safe, in scripts: the name of the cluster, which otherwise has to be typed
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// Do not ask; what is not safe wants the name all the same
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

impl Args {
    fn faults(&self) -> Vec<Fault> {
        match self.what {
            Some(What::One(fault)) => vec![fault],
            _ => Fault::ALL.into_iter().filter(|fault| fault.is_safe() || !self.safe).collect(),
        }
    }
}

#[derive(Debug, clap::Subcommand)]
enum Look {
    /// Explain each fault: what is done, what should come of it, how it is undone
    List,
    /// The drills done from this machine, and which were slower than those before
    History {
        /// The inventory
        #[arg(value_name = "INVENTORY", default_value = "inventory.toml")]
        inventory: PathBuf,
    },
    /// Have systemd on this machine do a safe drill from time to time; `status` and `health` say when one failed
    Schedule(schedule::Args),
}

#[derive(Clone, Copy, Debug)]
enum What {
    One(Fault),
    All,
}

impl ValueEnum for What {
    fn value_variants<'a>() -> &'a [Self] {
        const VARIANTS: [What; Fault::ALL.len() + 1] = {
            let mut all = [What::All; Fault::ALL.len() + 1];
            let mut index = 0;
            while index < Fault::ALL.len() {
                all[index] = What::One(Fault::ALL[index]);
                index += 1;
            }
            all
        };
        &VARIANTS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::One(fault) => fault.name(),
            Self::All => "all",
        }))
    }
}

fn period(text: &str) -> Result<Duration, &'static str> {
    Period::parse(text).map(|period| period.0).ok_or("a number and ms, s, min or h, such as 30s")
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum DrillError {
    #[error("{fault} is not safe for a cluster in use, and wants a reason")]
    #[diagnostic(
        code(xnat::drill::reason),
        help("say it with --reason: it stands in the report. `xnat-provision drill list` says what the fault does")
    )]
    NoReason { fault: Fault },
    #[error("{fault} is not possible here: {why}")]
    #[diagnostic(code(xnat::drill::impossible), help("`xnat-provision drill list` says what each fault does"))]
    Impossible { fault: Fault, why: String },
    #[error("no drill while {} cannot be reached", hosts.join(", "))]
    #[diagnostic(code(xnat::drill::unreachable), help("see `xnat-provision status`"))]
    Unreachable { hosts: Vec<String> },
}

impl Fails for DrillError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoReason { .. } => Exit::Usage,
            Self::Impossible { .. } => Exit::Unhealthy,
            Self::Unreachable { .. } => Exit::Unreachable,
        }
    }
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    match args.look {
        Some(Look::List) => {
            out::text(&drill::explained())?;
            Ok(Exit::Ok)
        }
        Some(Look::History { inventory }) => {
            let loaded = Inventory::load(&inventory, globals.assets.as_deref())?;
            let drills = kept::all(&loaded.inventory.cluster)?;
            if globals.json {
                out::json(&drills)?
            } else {
                out::text(&drill::history(&drills))?
            };
            Ok(Exit::Ok)
        }
        Some(Look::Schedule(args)) => schedule::run(args, globals),
        None => exercise(&args, globals).await,
    }
}

const UNKEPT: &str = "that this drill came to nothing could not be kept";

async fn exercise(args: &Args, globals: &Globals) -> Result<Exit, Failure> {
    let faults = args.faults();
    let dangerous = faults.iter().find(|fault| !fault.is_safe()).copied();
    if let (Some(fault), None) = (dangerous, &args.reason) {
        return Err(DrillError::NoReason { fault }.into());
    }
    let show = if globals.json { Show::Plain } else { Show::detect() };
    let opening = Opening { command: "drill", show, globals, secrets: Need::Yes, scrutiny: Scrutiny::NewHosts };
    let started = Timestamp::now();
    let mut session = match Session::open(&args.target, opening).await {
        Ok(session) => session,
        Err(failure) => {
            let cluster = Inventory::load(&args.target.inventory, globals.assets.as_deref())?.inventory.cluster;
            if let Err(error) = keep_attempt((args, &cluster), &Redactor::default(), (started, &failure)) {
                // without anybody to hear it there is nothing left to do
                writeln!(std::io::stderr(), "{UNKEPT}: {}", one_line(&error)).ok();
            }
            return Err(failure);
        }
    };
    let result = all(&faults, (args, globals), &mut session).await;
    if let Err(failure) = &result {
        let (cluster, redactor) = (session.inventory.cluster.as_str(), session.reporter.redactor());
        if let Err(error) = keep_attempt((args, cluster), redactor, (started, failure)) {
            let message = format!("{UNKEPT}: {}", one_line(&error));
            session.reporter.emit(Kind::Warned { message, help: None }).await;
        }
    }
    session.finish(result).await
}

/// Nobody reads the error of a drill that nobody sits at: it is kept for `status`, `health` and `history`.
fn keep_attempt(
    (args, cluster): (&Args, &str),
    redactor: &Redactor,
    (started, failure): (Timestamp, &Failure),
) -> Result<(), kept::KeptError> {
    // what is not safe is done by people, whatever they say
    let alone = args.yes && args.faults().iter().all(|fault| fault.is_safe());
    if !alone || failure.exit == Exit::Interrupted {
        return Ok(());
    }
    let drill = match args.what {
        Some(What::One(fault)) => fault.to_string(),
        _ => "all".to_owned(),
    };
    let failed = redactor.clean(&one_line(failure.diagnostic.as_ref())).into_owned();
    kept::keep_attempt(cluster, &Attempt { drill, passed: false, started, finished: Timestamp::now(), failed })
}

async fn all(faults: &[Fault], (args, globals): (&Args, &Globals), session: &mut Session) -> Result<Done, Failure> {
    let directory = report::journal::Store::of_user()?.cluster(&session.inventory.cluster);
    let _lock = RunLock::take(&directory, &session.inventory.cluster)?;
    let mut series = Series::new(args, session)?;
    for fault in faults {
        if !series.drill(*fault, globals, session).await? {
            let (title, why) = ("drill".to_owned(), "not confirmed; nothing was done".to_owned());
            session.reporter.emit(Kind::StepSkipped { title, why }).await;
            return Ok(Done { exit: Exit::Failed, changed: 0 });
        }
    }
    session.settle().await;
    if globals.json {
        out::json(&series.drills)?;
    }
    let passed = series.drills.iter().all(|drill| drill.passed);
    Ok(Done { exit: if passed { Exit::Ok } else { Exit::Unhealthy }, changed: 0 })
}
