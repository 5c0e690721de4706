//! `switchover`: the leader hands over to a replica that loses nothing, and the pause is measured.

use std::time::Duration;

use super::confirm::{self, Ask};
use super::ground::Ground;
use super::refusal::Refusal;
use super::session::{Done, Ending, Need, Opening, Session, Target};
use super::settled::settled;
use super::{Failure, Globals, out};
use crate::approval::Approved;
use crate::cluster::safety::restart;
use crate::cluster::{self, table};
use crate::engine::Scrutiny;
use crate::engine::wait::{Wait, WaitError};
use crate::error::{Exit, Fails};
use crate::names::HostName;
use crate::report::{self, Kind, Show};
use crate::workflow::HandOver;
use crate::workflow::lock::RunLock;

/// How long the former leader may take to come back as a replica.
const FOLLOWING: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 done and healthy, 1 failed, 2 a mistake in the inventory, 3 no host could be reached, 4 it cannot be done now, or it is done and the cluster is not healthy, 130 interrupted."
)]
pub struct Args {
    /// Who is to lead [otherwise: a synchronous standby, or the replica least behind]
    #[arg(long, value_name = "HOST")]
    to: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the leader cannot hand over now; nothing was changed: {reason}")]
#[diagnostic(code(xnat::switchover::not_now), help("`xnat-provision status` says more"))]
struct NotNow {
    reason: String,
}

impl Fails for NotNow {
    fn exit(&self) -> Exit {
        Exit::Unhealthy
    }
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let show = if globals.json { Show::Json } else { Show::detect() };
    let opening = Opening { command: "switchover", show, globals, secrets: Need::Yes, scrutiny: Scrutiny::NewHosts };
    let mut session = Session::open(&args.target, opening).await?;
    let result = switch(&args, globals, &mut session).await;
    session.finish(result).await
}

async fn switch(args: &Args, globals: &Globals, session: &mut Session) -> Result<Done, Failure> {
    let directory = report::journal::Store::of_user()?.cluster(&session.inventory.cluster);
    let _lock = RunLock::take(&directory, &session.inventory.cluster)?;
    let mut ground = Ground::of(session).await?;
    let result = on(&ground, args, globals, session).await;
    ground.fleet.close(&session.reporter).await;
    result
}

async fn on(ground: &Ground, args: &Args, globals: &Globals, session: &mut Session) -> Result<Done, Failure> {
    let (from, to) = parties(ground, args, session).await?;
    session.settle().await;
    let question = format!("Hand over from {from} to {to}? Nobody can write for some seconds.");
    let ask = if args.yes { Ask::SaidYes } else { Ask::Terminal };
    let Some(approved) = confirm::approve(ask, &question, (&session.cancel, &ground.fleet.standing)).await? else {
        let (title, why) = ("switchover".to_owned(), "not confirmed; nothing was changed".to_owned());
        session.reporter.emit(Kind::StepSkipped { title, why }).await;
        return Ok(Done { exit: Exit::Failed, changed: 0 });
    };
    session.remember((&ground.fleet, &approved), 1, None).await;
    let result = hand_over(ground, (&from, &to), &approved, session).await;
    session.remember((&ground.fleet, &approved), 1, Some(Ending::of(result.as_ref().map(|_| 1)))).await;
    closing(ground, &result?, globals, session).await
}

/// Who leads and who is to, if that is safe.
async fn parties(ground: &Ground, args: &Args, session: &Session) -> Result<(HostName, HostName), Failure> {
    let view = ground.view(session).await;
    if !view.strangers.is_empty() {
        let hosts = view.strangers.iter().map(ToString::to_string).collect();
        return Err(Refusal::OtherAuthority { hosts, path: session.vault.path() }.into());
    }
    if let Some(obstacle) = restart::leader_obstacles(&view).into_iter().next() {
        return Err(NotNow { reason: obstacle.text }.into());
    }
    let named = args.to.as_deref().map(HostName::new);
    let to = restart::candidate(&view, &session.inventory, named.as_ref()).map_err(|reason| NotNow { reason })?;
    let from = view.leader().map(|leader| leader.host.clone());
    Ok((from.ok_or_else(|| NotNow { reason: "there is no leader".to_owned() })?, to))
}

async fn hand_over(
    ground: &Ground,
    (from, to): (&HostName, &HostName),
    approved: &Approved,
    session: &Session,
) -> Result<String, Failure> {
    let (reporter, cancel) = (&session.reporter, &session.cancel);
    let summary = HandOver { gather: ground.gather(session), approved, reporter, cancel }.run(from, to).await?;
    let event = Kind::ChangeApplied { resource: "leader".to_owned(), summary: summary.clone(), millis: 0 };
    reporter.emit(event).await;
    wait_until_it_follows(ground, from, session).await?;
    Ok(summary)
}

/// It restarts as a replica, and rewinds first where it has to.
async fn wait_until_it_follows(ground: &Ground, from: &HostName, session: &Session) -> Result<(), WaitError> {
    let wait = Wait {
        what: format!("{from} to follow"),
        deadline: FOLLOWING,
        interval: Duration::from_millis(500),
        help: format!(
            "the new leader leads; see the log of Patroni on {from}: `ssh {from} journalctl -u patroni -n 50`"
        ),
    };
    let follows = || async {
        let view = ground.view(session).await;
        let member = view.members.iter().find(|member| &member.host == from);
        let streams = member.is_some_and(|member| member.follows() && view.streams(member));
        streams.then_some(()).ok_or_else(|| format!("{from} does not stream yet"))
    };
    wait.until(&session.reporter, &session.cancel, follows).await
}

async fn closing(ground: &Ground, summary: &str, globals: &Globals, session: &mut Session) -> Result<Done, Failure> {
    let view = settled(session, &ground.gather(session), None).await?;
    let health = cluster::assess(&view, &session.inventory);
    session.settle().await;
    if !globals.json {
        session.print(&format!("{}\nVerified: {summary}\n", table::render(&view, &health, out::look())))?;
    }
    Ok(Done { exit: if health.healthy { Exit::Ok } else { Exit::Unhealthy }, changed: 1 })
}
