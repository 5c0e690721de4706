//! `reset`: the end of a cluster, after its name was typed.

use std::collections::BTreeMap;

use super::confirm::Naming;
use super::ground::Ground;
use super::refusal::Refusal;
use super::session::{Done, Ending, Need, Opening, Session, Target, made};
use super::{Failure, Globals, out};
use crate::approval::Approved;
use crate::engine::Scrutiny;
use crate::error::{Exit, Fails};
use crate::facts::Facts;
use crate::names::HostName;
use crate::plan::{Depth, render};
use crate::report::{self, Kind, Show};
use crate::role::Data;
use crate::workflow::lock::RunLock;
use crate::workflow::reset::foreign::{self, Shown};
use crate::workflow::reset::{Reset, Resetting, Ruin};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Refused while a host cannot be reached, or shows that it belongs to another cluster. Exit status: 0 done, or there was nothing to do, 1 failed or not confirmed, 2 a mistake in the inventory or another name, 3 a host could not be reached, 130 interrupted: the same command again goes on."
)]
pub struct Args {
    /// Leave the database on its hosts: the next apply goes on with it
    #[arg(long)]
    keep_data: bool,
    /// The name of the cluster, for scripts: otherwise it has to be typed when all is shown
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{} cannot be reached, so it cannot be reset; nothing was changed", hosts.join(", "))]
#[diagnostic(
    code(xnat::reset::unreachable),
    help(
        "when it answers, run the same command again. One that never will: take its [[host]] out of the inventory; should it come back, it still has all that was on it"
    )
)]
struct Unreachable {
    hosts: Vec<String>,
}

impl Fails for Unreachable {
    fn exit(&self) -> Exit {
        Exit::Unreachable
    }
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let show = if globals.json { Show::Json } else { Show::detect() };
    let opening = Opening { command: "reset", show, globals, secrets: Need::Yes, scrutiny: Scrutiny::NewHosts };
    let mut session = Session::open(&args.target, opening).await?;
    let result = locked(&args, globals, &mut session).await;
    session.finish(result).await
}

async fn locked(args: &Args, globals: &Globals, session: &mut Session) -> Result<Done, Failure> {
    let naming = Naming { cluster: session.inventory.cluster.clone(), given: args.confirm.clone() };
    naming.check()?;
    let directory = report::journal::Store::of_user()?.cluster(&session.inventory.cluster);
    let _lock = RunLock::take(&directory, &session.inventory.cluster)?;
    let mut ground = Ground::of(session).await?;
    let data = if args.keep_data { Data::Kept } else { Data::Removed };
    let result = on(&ground, data, (&naming, globals), session).await;
    ground.fleet.close(&session.reporter).await;
    result
}

async fn on(
    ground: &Ground,
    data: Data,
    (naming, globals): (&Naming, &Globals),
    session: &mut Session,
) -> Result<Done, Failure> {
    let facts = ours(ground, session).await?;
    let ruin = reset(ground, data, session).plan(&facts).await?;
    session.reporter.emit(made(&ruin.plan)).await;
    session.settle().await;
    if ruin.plan.is_empty() {
        if !globals.json {
            session.print(&format!("Nothing to reset: nothing of {} is on its hosts.\n", naming.cluster))?;
        }
        return Ok(Done { exit: Exit::Ok, changed: 0 });
    }
    if !globals.json {
        session.print(&render(&ruin.plan, out::style(), Depth::Brief))?;
    }
    let Some(approved) = naming.approve(question(data), (&session.cancel, &ground.fleet.standing)).await? else {
        let (title, why) = ("reset".to_owned(), "the name was not typed; nothing was changed".to_owned());
        session.reporter.emit(Kind::StepSkipped { title, why }).await;
        return Ok(Done { exit: Exit::Failed, changed: 0 });
    };
    carry_out(ground, (data, &ruin), &approved, session).await
}

fn question(data: Data) -> &'static str {
    match data {
        Data::Kept => "This ends the cluster and keeps its database.",
        Data::Removed => "This ends the cluster and REMOVES ITS DATABASE, on all hosts and for good.",
    }
}

fn reset<'a>(ground: &'a Ground, data: Data, session: &'a Session) -> Reset<'a> {
    let Session { inventory, secrets, assets, .. } = session;
    Reset { inventory, secrets, assets, fleet: &ground.fleet, data }
}

async fn carry_out(
    ground: &Ground,
    (data, ruin): (Data, &Ruin),
    approved: &Approved,
    session: &mut Session,
) -> Result<Done, Failure> {
    let planned = ruin.plan.count();
    session.remember((&ground.fleet, approved), planned, None).await;
    let result = {
        let (reporter, cancel, gather) = (&session.reporter, &session.cancel, ground.gather(session));
        Resetting { reset: reset(ground, data, session), ruin, gather, approved, reporter, cancel }.run().await
    };
    let result = result.map_err(Failure::from);
    let end = Ending::of(result.as_ref().map(|changed| *changed));
    session.remember((&ground.fleet, approved), planned, Some(end)).await;
    Ok(Done { exit: Exit::Ok, changed: result? })
}

/// The hosts, when all of them answer and are of this cluster.
async fn ours(ground: &Ground, session: &Session) -> Result<BTreeMap<HostName, Facts>, Failure> {
    let away = session.inventory.hosts.iter().filter(|host| ground.fleet.unreachable.contains_key(&host.name));
    let hosts: Vec<String> = away.map(|host| host.name.to_string()).collect();
    if !hosts.is_empty() {
        return Err(Unreachable { hosts }.into());
    }
    let (facts, view, remembered) =
        futures::join!(ground.facts(session), ground.view(session), ground.fleet.remembered());
    let facts = facts?;
    // a host that cannot tell its history tells the same in its files and services
    let remembered = remembered.into_iter().filter_map(|(host, runs)| Some((host, runs.ok()?))).collect();
    if !view.strangers.is_empty() {
        let hosts = view.strangers.iter().map(ToString::to_string).collect();
        return Err(Refusal::OtherAuthority { hosts, path: session.vault.path() }.into());
    }
    foreign::check(&session.inventory, Shown { facts: &facts, view: &view, remembered: &remembered })?;
    Ok(facts)
}
