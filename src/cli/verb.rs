//! Commands that change a running cluster and none of its hosts' files: they look, say what will happen and ask, do it,
//! and look again. What each of them does is a [`Deed`]; the rest is here.

pub mod failover;
pub mod maintenance;
pub mod pause;
pub mod reinit;
pub mod reload;
pub mod restart;
pub mod stop;
pub mod switchover;

use super::confirm::{self, Ask};
use super::ground::Ground;
use super::refusal::Refusal;
use super::session::{Done, Ending, Need, Opening, Session, Target};
use super::settled::settled;
use super::{Failure, Globals, out};
use crate::approval::Approved;
use crate::cluster::{self, ClusterView, table};
use crate::engine::Scrutiny;
use crate::error::{Exit, Fails};
use crate::names::HostName;
use crate::report::{self, Kind, Show};
use crate::workflow::Operation;
use crate::workflow::lock::RunLock;

/// What every such command takes.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

/// For those that can be done to some members only.
#[derive(Debug, clap::Args)]
pub struct Limit {
    /// Only on these hosts (`--limit db1,db2`, or several times)
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    limit: Vec<String>,
}

impl Limit {
    fn hosts(&self) -> Vec<HostName> {
        self.limit.iter().map(|name| HostName::new(name.as_str())).collect()
    }
}

/// One thing that is done to a cluster.
pub(super) trait Deed {
    const COMMAND: &'static str;
    const AFTERWARDS: Afterwards = Afterwards::Healthy;
    /// What it is done to, once that is decided.
    type Aim;

    /// What would happen; or why it cannot be done now.
    fn intend(&self, view: &ClusterView, session: &Session) -> Result<Intent<Self::Aim>, NotNow>;

    /// Does it; what was done and seen, for the last lines.
    async fn perform(&self, aim: Self::Aim, operation: &Operation<'_>) -> Result<Vec<String>, Failure>;
}

/// How the cluster is to be when it is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    Healthy,
    /// As it is: that is looked at and shown.
    AsItIs,
    /// Nothing of it runs, so there is nothing to look at.
    Nothing,
}

/// What would happen.
pub(super) struct Intent<A> {
    aim: A,
    /// What may come of it that nobody wants.
    risk: Option<String>,
    question: String,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{command} is not possible now; nothing was changed: {reason}")]
#[diagnostic(code(xnat::verb::not_now), help("{help}"))]
pub(super) struct Refused {
    command: &'static str,
    reason: String,
    help: String,
}

impl Fails for Refused {
    fn exit(&self) -> Exit {
        Exit::Unhealthy
    }
}

/// Why something cannot be done, and what to try instead.
pub(super) struct NotNow {
    reason: String,
    help: String,
}

impl NotNow {
    fn new(reason: impl Into<String>, help: impl Into<String>) -> Self {
        Self { reason: reason.into(), help: help.into() }
    }
}

impl From<String> for NotNow {
    fn from(reason: String) -> Self {
        Self::new(reason, "`xnat-provision status` says more")
    }
}

/// The PostgreSQL hosts that are meant: those named, or all of the inventory's.
fn members(view: &ClusterView, named: &[HostName]) -> Result<Vec<HostName>, NotNow> {
    let ours: Vec<&HostName> =
        view.members.iter().filter(|member| member.in_inventory).map(|member| &member.host).collect();
    if let Some(stranger) = named.iter().find(|name| !ours.contains(name)) {
        let known = ours.iter().map(|host| host.as_str()).collect::<Vec<_>>().join(", ");
        return Err(NotNow::new(
            format!("{stranger} is no PostgreSQL host of the inventory"),
            format!("those are {known}"),
        ));
    }
    Ok(ours.into_iter().filter(|host| named.is_empty() || named.contains(host)).cloned().collect())
}

fn list(hosts: &[HostName]) -> String {
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}

pub(super) async fn run<D: Deed>(deed: D, common: &Common, globals: &Globals) -> Result<Exit, Failure> {
    let show = if globals.json { Show::Json } else { Show::detect() };
    let opening = Opening { command: D::COMMAND, show, globals, secrets: Need::Yes, scrutiny: Scrutiny::NewHosts };
    let mut session = Session::open(&common.target, opening).await?;
    let ask = if common.yes { Ask::SaidYes } else { Ask::Terminal };
    let result = locked(&deed, (ask, globals), &mut session).await;
    session.finish(result).await
}

type Manner<'a> = (Ask, &'a Globals);

async fn locked<D: Deed>(deed: &D, manner: Manner<'_>, session: &mut Session) -> Result<Done, Failure> {
    let directory = report::journal::Store::of_user()?.cluster(&session.inventory.cluster);
    let _lock = RunLock::take(&directory, &session.inventory.cluster)?;
    let mut ground = Ground::of(session).await?;
    let result = on(&ground, deed, manner, session).await;
    ground.fleet.close(&session.reporter).await;
    result
}

async fn on<D: Deed>(
    ground: &Ground,
    deed: &D,
    (ask, globals): Manner<'_>,
    session: &mut Session,
) -> Result<Done, Failure> {
    let before = ground.view(session).await;
    if !before.strangers.is_empty() {
        let hosts = before.strangers.iter().map(ToString::to_string).collect();
        return Err(Refusal::OtherAuthority { hosts, path: session.vault.path() }.into());
    }
    let refused = |NotNow { reason, help }| Refused { command: D::COMMAND, reason, help };
    let Intent { aim, risk, question } = deed.intend(&before, session).map_err(refused)?;
    if let Some(message) = risk {
        session.reporter.emit(Kind::Warned { message, help: None }).await;
    }
    session.settle().await;
    let Some(approved) = confirm::approve(ask, &question, (&session.cancel, &ground.fleet.standing)).await? else {
        let (title, why) = (D::COMMAND.to_owned(), "not confirmed; nothing was changed".to_owned());
        session.reporter.emit(Kind::StepSkipped { title, why }).await;
        return Ok(Done { exit: Exit::Failed, changed: 0 });
    };
    session.remember((&ground.fleet, &approved), 1, None).await;
    let result = perform(ground, (deed, aim), &approved, session).await;
    let end = Ending::of(result.as_ref().map(Vec::len));
    session.remember((&ground.fleet, &approved), 1, Some(end)).await;
    closing::<D>(ground, (&result?, &before), globals, session).await
}

async fn perform<D: Deed>(
    ground: &Ground,
    (deed, aim): (&D, D::Aim),
    approved: &Approved,
    session: &Session,
) -> Result<Vec<String>, Failure> {
    let (reporter, cancel, fleet) = (&session.reporter, &session.cancel, &ground.fleet);
    deed.perform(aim, &Operation { gather: ground.gather(session), fleet, approved, reporter, cancel }).await
}

async fn closing<D: Deed>(
    ground: &Ground,
    (seen, before): (&[String], &ClusterView),
    globals: &Globals,
    session: &mut Session,
) -> Result<Done, Failure> {
    let evidence: String = seen.iter().map(|line| format!("Verified: {line}\n")).collect();
    let done = |exit| Done { exit, changed: seen.len() };
    let view = match D::AFTERWARDS {
        Afterwards::Healthy => settled(session, &ground.gather(session), Some(before)).await?,
        Afterwards::AsItIs => ground.view(session).await,
        Afterwards::Nothing => {
            session.settle().await;
            if !globals.json {
                session.print(&evidence)?;
            }
            return Ok(done(Exit::Ok));
        }
    };
    let health = cluster::assess(&view, &session.inventory);
    session.settle().await;
    if !globals.json {
        session.print(&format!("{}\n{evidence}", table::render(&view, &health, out::look())))?;
    }
    let well = health.healthy || D::AFTERWARDS != Afterwards::Healthy;
    Ok(done(if well { Exit::Ok } else { Exit::Unhealthy }))
}
