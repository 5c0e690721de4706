//! `upgrade`: newer packages in place of those that are installed, member by member, and what runs them restarted in turn;
//! with `--system` whatever else there is, with `--reboot` the machines too; with `--major` another major version of PostgreSQL.

use super::apply::{PauseArgs, Purpose, Request};
use super::bundles::BundleArgs;
use super::confirm::Ask;
use super::out;
use super::session::{Done, Need, Opening, Session, Target};
use super::{Failure, Globals, major, reboot};
use crate::engine::Scrutiny;
use crate::error::Exit;
use crate::plan::{Depth, render};
use crate::report::Show;
use crate::workflow::Scope;
use crate::workflow::upgrade::{Part, Selection};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 done and healthy, or nothing to upgrade; 1 failed, 2 a mistake in the inventory, 3 a host could not be reached, 4 not safe now, or done but not healthy, 5 with --plan: there is something to upgrade, 130 interrupted."
)]
pub struct Args {
    /// Upgrade only the packages of these (`--only etcd,haproxy`, or several times)
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    only: Vec<Part>,
    /// Upgrade every other package of the hosts too, whatever else runs on them
    #[arg(long, conflicts_with = "only")]
    system: bool,
    /// Restart the machines that have to be restarted, one at a time, when the packages are in place
    #[arg(long)]
    reboot: bool,
    /// Show what would be upgraded, in which order and who notices, and change nothing
    #[arg(long, conflicts_with = "yes")]
    plan: bool,
    /// Another major version of PostgreSQL, with pg_upgrade: nobody can read or write meanwhile
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["only", "system", "reboot", "max_write_pause", "bundle"])]
    major: Option<u32>,
    /// Only try --major on a copy of a replica's data, which is removed again, and see how long it takes
    #[arg(long, requires = "major", conflicts_with = "plan")]
    rehearse: bool,
    /// With --major, the name of the cluster, for scripts: otherwise it has to be typed when all is shown
    #[arg(long, requires = "major", value_name = "NAME", conflicts_with_all = ["plan", "rehearse"])]
    confirm: Option<String>,
    #[command(flatten)]
    pause: PauseArgs,
    /// Do not ask; --major wants the name all the same
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    bundle: BundleArgs,
    #[command(flatten)]
    target: Target,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    if let Some(version) = args.major {
        let what = match (args.plan, args.rehearse) {
            (true, _) => major::What::Plan,
            (_, true) => major::What::Rehearse(if args.yes { Ask::SaidYes } else { Ask::Terminal }),
            _ => major::What::Upgrade { confirm: args.confirm },
        };
        return major::run(version, what, (&args.target, globals)).await;
    }
    let show = match (globals.json, args.plan) {
        (false, _) => Show::detect(),
        // the plan alone goes to standard output
        (true, true) => Show::Plain,
        (true, false) => Show::Json,
    };
    let opening = Opening { command: "upgrade", show, globals, secrets: Need::Yes, scrutiny: Scrutiny::NewHosts };
    let mut session = args.bundle.open(&args.target, opening).await?;
    let Args { system, reboot, .. } = args;
    let selection = Selection { only: args.only.iter().copied().collect(), system, reboot };
    // one host at a time, also where nothing is restarted: what a package breaks, it breaks once
    let scope = Scope { parallel: Some(1), ..Scope::default() };
    let purpose = Purpose::Upgrade(&selection);
    let result = if args.plan {
        show_plan(&scope, purpose, globals, &mut session).await
    } else {
        let ask = if args.yes { Ask::SaidYes } else { Ask::Terminal };
        let longest_pause = args.pause.limit();
        let upgraded = Request { longest_pause, purpose, ..Request::new(ask, globals, &scope) }.run(&mut session).await;
        match upgraded {
            Ok(done) if reboot && done.exit == Exit::Ok => restart_machines((done, ask), globals, &mut session).await,
            other => other,
        }
    };
    session.finish(result).await
}

/// Whoever has said yes to a plan has said it to what stands at its end.
async fn restart_machines((done, ask): (Done, Ask), globals: &Globals, session: &mut Session) -> Result<Done, Failure> {
    let ask = if done.changed > 0 { Ask::SaidYes } else { ask };
    let restarted = reboot::in_turn(ask, globals, session).await?;
    Ok(Done { changed: done.changed + restarted.changed, ..restarted })
}

async fn show_plan(
    scope: &Scope,
    purpose: Purpose<'_>,
    globals: &Globals,
    session: &mut Session,
) -> Result<Done, Failure> {
    let mut survey = session.survey(scope, None).await?;
    let planned = purpose.plan(session, scope, &mut survey).await;
    survey.fleet.close(&session.reporter).await;
    planned?;
    session.settle().await;
    let plan = &survey.plan;
    let nothing = purpose.nothing(&session.inventory.cluster).filter(|_| plan.is_empty());
    let text = match nothing {
        _ if globals.json => out::json_text(plan)?,
        Some(nothing) => nothing + &plan.notes.iter().map(|note| format!("{note}\n")).collect::<String>(),
        None => render(plan, out::style(), Depth::Full),
    };
    session.print(&text)?;
    let nothing = plan.is_empty() && survey.reboots.is_empty();
    Ok(Done { exit: if nothing { Exit::Ok } else { Exit::ChangesPending }, changed: 0 })
}
