//! `plan`: connects, reads, shows what `apply` would do. Changes nothing, anywhere.

use std::path::PathBuf;

use super::bundles::BundleArgs;
use super::out;
use super::saved;
use super::session::{Done, Need, Opening, ScopeArgs, Session, Target};
use super::{Failure, Globals};
use crate::engine::Scrutiny;
use crate::error::Exit;
use crate::plan::{Depth, render};
use crate::report::Show;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 nothing to change, 5 changes pending, 3 a host could not be reached, 2 a mistake in the inventory."
)]
pub struct Args {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Save the plan, for `apply --plan`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    bundle: BundleArgs,
    #[command(flatten)]
    target: Target,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    // The plan is what is asked for, so it alone goes to standard output.
    let show = if globals.json { Show::Plain } else { Show::detect() };
    let opening = Opening { command: "plan", show, globals, secrets: Need::Yes, scrutiny: Scrutiny::NewHosts };
    let mut session = args.bundle.open(&args.target, opening).await?;
    let result = make(&args, globals, &mut session).await;
    session.finish(result).await
}

async fn make(args: &Args, globals: &Globals, session: &mut Session) -> Result<Done, Failure> {
    let mut survey = session.survey(&args.scope.scope(), None).await?;
    survey.fleet.close(&session.reporter).await;
    session.settle().await;
    let plan = &survey.plan;
    if globals.json {
        session.print(&out::json_text(plan)?)?;
    } else {
        session.print(&render(plan, out::style(), Depth::Full))?;
    }
    if let Some(path) = &args.out {
        saved::write(path, plan)?;
    }
    let exit = if plan.is_empty() { Exit::Ok } else { Exit::ChangesPending };
    Ok(Done { exit, changed: 0 })
}
