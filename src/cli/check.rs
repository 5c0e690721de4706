//! `check`: reads an inventory and says everything that is wrong with it; then looks at the hosts, closely, and says what
//! stands against making them a cluster. `--fix` mends what can be mended safely, by the way every change goes.

mod findings;
mod summary;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::bundles;
use super::confirm::{self, Ask};
use super::session::{Done, Ending, Need, Opening, Session, Target, made};
use super::{Failure, Globals, out};
use crate::engine::{Fleet, Scrutiny};
use crate::error::{Exit, Fails};
use crate::facts::preflight::{Severity, catalogue};
use crate::inventory::{Inventory, InventoryErrors, Problem, Problems};
use crate::pki;
use crate::plan::{Depth as Detail, render};
use crate::report::{self, Kind, Show};
use crate::workflow::lock::RunLock;
use crate::workflow::{Checked, Preflight};
use findings::Report;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 nothing stands against an apply (warnings and advice do not), 1 something does, 2 a mistake in the inventory, 3 a host could not be reached."
)]
pub struct Args {
    /// Connect to nothing: the inventory alone, and what the cluster would be
    #[arg(long, conflicts_with = "fix")]
    offline: bool,
    /// Mend what can be mended safely; shows the plan and asks first
    #[arg(long)]
    fix: bool,
    /// With --fix: do not ask
    #[arg(long, short, requires = "fix")]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

/// Mending went wrong; what, is told host by host.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{hosts} of the hosts could not be mended")]
#[diagnostic(code(xnat::check::fix), help("mend what is said about each; what is mended stays so"))]
struct NotMended {
    hosts: usize,
}

impl Fails for NotMended {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let loaded = Inventory::load(&args.target.inventory, globals.assets.as_deref());
    let loaded = loaded.map(|loaded| (loaded.inventory, loaded.warnings));
    // A mistake in the inventory is told before anything is connected to.
    let (inventory, warnings) = match loaded {
        Ok(good) => good,
        bad if globals.json => return report_json(&args, bad),
        Err(error) => return Err(error.into()),
    };
    pki::check_supplied(&inventory, Timestamp::now())?;
    bundles::offer(&inventory)?;
    if !args.offline {
        return online(&args, globals, &warnings).await;
    }
    if globals.json {
        return report_json(&args, Ok((inventory, warnings)));
    }
    if !warnings.all.is_empty() {
        warn(warnings);
    }
    out::text(&summary::summary(&inventory))?;
    Ok(Exit::Ok)
}

fn report_json(args: &Args, result: Result<(Inventory, Problems), InventoryErrors>) -> Result<Exit, Failure> {
    let (exit, problems, inventory) = match result {
        Ok((inventory, warnings)) => (Exit::Ok, warnings, Some(inventory)),
        Err(InventoryErrors::Invalid(problems)) => (Exit::Usage, problems, None),
        // There is no document to make about a file that cannot be read.
        Err(error) => return Err(error.into()),
    };
    out::json(&document(args, &problems, inventory.as_ref()))?;
    Ok(exit)
}

fn document(args: &Args, problems: &Problems, inventory: Option<&Inventory>) -> Value {
    json!({
        "file": args.target.inventory,
        "good": inventory.is_some(),
        "problems": problems.all.iter().map(problem_json).collect::<Vec<_>>(),
        "inventory": inventory,
    })
}

fn problem_json(problem: &Problem) -> Value {
    let (line, column) = problem.position().unzip();
    json!({
        "severity": problem.severity,
        "code": problem.code,
        "message": problem.message,
        "help": problem.help,
        "line": line,
        "column": column,
    })
}

#[expect(clippy::print_stderr, reason = "warnings are talk beside the summary, which is data")]
fn warn(warnings: Problems) {
    eprintln!("{:?}", miette::Report::new(warnings));
}

async fn online(args: &Args, globals: &Globals, warnings: &Problems) -> Result<Exit, Failure> {
    // What was found is what is asked for, so it alone goes to standard output.
    let show = if globals.json { Show::Plain } else { Show::detect() };
    let opening = Opening { command: "check", show, globals, secrets: Need::No, scrutiny: Scrutiny::Everything };
    let mut session = Session::open(&args.target, opening).await?;
    let mut fleet = Fleet::default();
    let result = Request { args, globals, warnings }.run(&mut session, &mut fleet).await;
    fleet.close(&session.reporter).await;
    session.finish(result).await
}

struct Request<'a> {
    args: &'a Args,
    globals: &'a Globals,
    /// What is to be said about the inventory.
    warnings: &'a Problems,
}

impl Request<'_> {
    async fn run(&self, session: &mut Session, fleet: &mut Fleet) -> Result<Done, Failure> {
        let mut checked = preflight(session).look(fleet).await?;
        let mut changed = 0;
        if self.args.fix {
            match self.fix(session, fleet, &checked).await? {
                Mended::Nothing => {}
                Mended::Declined => return Ok(Done { exit: Exit::Failed, changed: 0 }),
                Mended::Changes(count) => {
                    changed = count;
                    checked = preflight(session).look(fleet).await?;
                }
            }
        }
        for (host, problem) in &checked.unusable {
            session.reporter.for_host(host).emit(report::failed(problem, Vec::new())).await;
        }
        session.settle().await;
        let report = Report { inventory: &session.inventory, checked: &checked };
        if self.globals.json {
            let mut document = document(self.args, self.warnings, Some(&session.inventory));
            report.add_to(&mut document);
            out::json(&document)?;
        } else {
            out::text(&report.text(out::look()))?;
        }
        Ok(Done { exit: exit(&checked), changed })
    }

    async fn fix(&self, session: &mut Session, fleet: &mut Fleet, checked: &Checked) -> Result<Mended, Failure> {
        let directory = report::journal::Store::of_user()?.cluster(&session.inventory.cluster);
        let _lock = RunLock::take(&directory, &session.inventory.cluster)?;
        let hosts = fleet.connections.keys().cloned().collect();
        for (name, lock) in fleet.take(hosts, &session.claim()).await {
            fleet.holds.insert(name, lock?);
        }
        let mending = preflight(session).plan(fleet, checked).await?;
        session.reporter.emit(made(&mending.plan)).await;
        session.settle().await;
        if mending.plan.is_empty() {
            return Ok(Mended::Nothing);
        }
        if !self.globals.json {
            out::text(&render(&mending.plan, out::style(), Detail::Full))?;
        }
        let ask = if self.args.yes { Ask::SaidYes } else { Ask::Terminal };
        let changes = report::text::count(mending.plan.count(), "change");
        let question = format!("Go on with {changes} to the hosts of {}?", session.inventory.cluster);
        let Some(approved) = confirm::approve(ask, &question, (&session.cancel, &fleet.standing)).await? else {
            let (title, why) = ("check --fix".to_owned(), "not confirmed; nothing was changed".to_owned());
            session.reporter.emit(Kind::StepSkipped { title, why }).await;
            return Ok(Mended::Declined);
        };
        let planned = mending.plan.count();
        session.remember((fleet, &approved), planned, None).await;
        let mended = preflight(session).mend(fleet, &mending, &approved).await;
        let mended = mended.map_err(|failures| Failure::from(NotMended { hosts: failures.len() }));
        let end = Ending::of(mended.as_ref().copied());
        session.remember((fleet, &approved), planned, Some(end)).await;
        mended.map(Mended::Changes)
    }
}

enum Mended {
    Nothing,
    Declined,
    Changes(usize),
}

fn preflight(session: &Session) -> Preflight<'_> {
    Preflight {
        inventory: &session.inventory,
        connector: session.connector.as_ref(),
        reporter: &session.reporter,
        cancel: &session.cancel,
    }
}

fn exit(checked: &Checked) -> Exit {
    let refused = checked.findings.iter().any(|finding| finding.severity == Severity::Refuse);
    let worst = checked.unusable.values().map(Fails::exit).max().unwrap_or(Exit::Ok);
    worst.max(if refused { Exit::Failed } else { Exit::Ok })
}

/// How many checks there are; not every one has something to look at on every host.
fn checks() -> usize {
    catalogue::ALL.len()
}
