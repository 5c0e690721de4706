//! `apply`: shows the plan, asks, runs it, and says where the cluster is to be found.

use std::path::PathBuf;
use std::time::Duration;

use super::bundles::BundleArgs;
use super::confirm::{self, Ask};
use super::revision::Revision;
use super::saved::Promise;
use super::session::{Done, Ending, Need, Opening, ScopeArgs, Session, Target, made};
use super::settled::settled;
use super::{Failure, Globals, handout, out, refusal};
use crate::approval::Approved;
use crate::cluster::endpoints::{Files, Notation, endpoints};
use crate::cluster::safety::restart::{self, Obstacle};
use crate::cluster::{self, ClusterView, table};
use crate::engine::Scrutiny;
use crate::engine::wait::Wait;
use crate::error::Exit;
use crate::inventory::Period;
use crate::plan::{Depth, render};
use crate::report::{self, Kind, Show};
use crate::workflow::lock::RunLock;
use crate::workflow::upgrade::{self, Selection, UpgradeError};
use crate::workflow::{self, Applied, Apply, Scope, Survey};

/// How long a member that does not answer may take to be there after all: etcd and Patroni start within seconds, and
/// whoever has a dead member waits so long for a refusal.
const ON_ITS_WAY: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 done and healthy, 1 failed, 2 a mistake in the inventory, 3 a host could not be reached, 4 done but not healthy, 130 interrupted."
)]
pub struct Args {
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    pause: PauseArgs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Run this saved plan, and only while it still holds
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    bundle: BundleArgs,
    #[command(flatten)]
    target: Target,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let promise = args.plan.as_deref().map(Promise::read).transpose()?;
    let show = if globals.json { Show::Json } else { Show::detect() };
    let opening = Opening { command: "apply", show, globals, secrets: Need::Yes, scrutiny: Scrutiny::NewHostsMeasured };
    let mut session = args.bundle.open(&args.target, opening).await?;
    let scope = args.scope.scope();
    let ask = if args.yes { Ask::SaidYes } else { Ask::Terminal };
    let request = Request { promise, longest_pause: args.pause.limit(), ..Request::new(ask, globals, &scope) };
    let result = request.run(&mut session).await;
    session.finish(result).await
}

/// For how long writes may pause.
#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    /// Refuse what is expected to keep clients from writing for longer, such as 2s or 500ms
    #[arg(long, value_name = "TIME", value_parser = period)]
    max_write_pause: Option<Duration>,
}

impl PauseArgs {
    pub fn limit(&self) -> Option<Duration> {
        self.max_write_pause
    }
}

fn period(text: &str) -> Result<Duration, &'static str> {
    Period::parse(text).map(|period| period.0).ok_or("a number and ms, s, min or h, such as 500ms")
}

/// What is asked for.
pub(super) struct Request<'a> {
    /// A saved plan that must still hold.
    pub promise: Option<Promise>,
    pub ask: Ask,
    pub globals: &'a Globals,
    pub scope: &'a Scope,
    /// What is expected to keep clients from writing for longer is refused.
    pub longest_pause: Option<Duration>,
    /// The inventory is to be kept as it was changed for this run.
    pub revision: Option<&'a Revision>,
    pub purpose: Purpose<'a>,
}

/// What the plan is to be about.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// That all is as the inventory says.
    AsWanted,
    /// That packages are the newest.
    Upgrade(&'a Selection),
}

impl Purpose<'_> {
    /// The plan of a survey, from which it was made.
    pub async fn plan(self, session: &Session, scope: &Scope, survey: &mut Survey) -> Result<(), Failure> {
        if let Self::Upgrade(selection) = self {
            match upgrade::prepare(&session.surveyor(scope), survey, selection).await {
                Err(UpgradeError::Survey(error)) => return Err(session.told_of_hosts(error).await.into()),
                prepared => prepared?,
            }
            session.reporter.emit(made(&survey.plan)).await;
        }
        Ok(())
    }

    /// What is said when there is nothing to do; a plan that is empty says it of itself.
    pub fn nothing(self, cluster: &str) -> Option<String> {
        match self {
            Self::AsWanted => None,
            Self::Upgrade(_) => {
                Some(format!("Nothing to upgrade: {cluster} has the newest packages and runs them.\n\n"))
            }
        }
    }
}

impl<'a> Request<'a> {
    /// That all is as the inventory says, whatever that takes.
    pub fn new(ask: Ask, globals: &'a Globals, scope: &'a Scope) -> Self {
        let purpose = Purpose::AsWanted;
        Self { promise: None, ask, globals, scope, longest_pause: None, revision: None, purpose }
    }

    pub async fn run(self, session: &mut Session) -> Result<Done, Failure> {
        let directory = report::journal::Store::of_user()?.cluster(&session.inventory.cluster);
        let _lock = RunLock::take(&directory, &session.inventory.cluster)?;
        let claim = session.claim();
        let mut survey = session.survey(self.scope, Some(&claim)).await?;
        let result = self.run_plan(session, &mut survey).await;
        survey.fleet.close(&session.reporter).await;
        result
    }

    async fn run_plan(self, session: &mut Session, survey: &mut Survey) -> Result<Done, Failure> {
        self.purpose.plan(session, self.scope, survey).await?;
        session.settle().await;
        self.wait_for_those_on_their_way(session, survey).await?;
        if let Some(promise) = &self.promise {
            promise.must_hold(&survey.plan)?;
        }
        refusal::refuse(session, survey, self.longest_pause)?;
        if survey.plan.is_empty() {
            // a certificate of this program's own concerns no host, nor does the end of a change of passwords
            session.keep_unseen()?;
            handout::write(&session.inventory, &session.secrets.pki)?;
            session.exchanged(survey, self.scope).await?;
            if let Some(text) = self.purpose.nothing(&session.inventory.cluster).filter(|_| !self.globals.json) {
                session.print(&text)?;
            }
            let closing = Closing { view: &survey.view, changed: 0, evidence: &[] };
            return closing.tell(session, self.globals).await;
        }
        if !self.globals.json {
            session.print(&render(&survey.plan, out::style(), Depth::Brief))?;
        }
        let changes = report::text::count(survey.plan.count(), "change");
        let question = format!("Go on with {changes} to {}?", session.inventory.cluster);
        let Some(approved) = confirm::approve(self.ask, &question, (&session.cancel, &survey.fleet.standing)).await?
        else {
            let (title, why) = ("apply".to_owned(), "not confirmed; nothing was changed".to_owned());
            session.reporter.emit(Kind::StepSkipped { title, why }).await;
            return Ok(Done { exit: Exit::Failed, changed: 0 });
        };
        if let Some(revision) = self.revision {
            revision.keep()?;
        }
        if session.keep_secrets()? {
            survey.expand_again(&session.surveyor(self.scope))?;
        }
        handout::write(&session.inventory, &session.secrets.pki)?;
        self.carry_out(session, survey, approved).await
    }

    /// A member that does not answer may be on its way back, from a run that was cut off or from a power cut. Then it comes
    /// soon, and the plan is made anew; otherwise the run is refused like any other that is not safe.
    async fn wait_for_those_on_their_way(&self, session: &Session, survey: &mut Survey) -> Result<(), Failure> {
        let silent = |obstacles: &[Obstacle]| obstacles.iter().all(|obstacle| obstacle.kind == restart::Kind::Silent);
        let obstacles = workflow::obstacles(survey, &session.inventory, None);
        if obstacles.is_empty() || !silent(&obstacles) {
            return Ok(());
        }
        let wait = Wait {
            what: "members that do not answer".to_owned(),
            deadline: ON_ITS_WAY,
            interval: Duration::from_secs(1),
            help: String::new(),
        };
        let looked = || async {
            let view = cluster::gather(&survey.gather(&session.inventory, &session.secrets)).await;
            let left = workflow::obstacles(survey, &session.inventory, Some(&view));
            left.into_iter().next().map_or(Ok(()), |obstacle| Err(obstacle.text))
        };
        if wait.while_patient(&session.reporter, &session.cancel, looked).await?.is_some() {
            let notes = std::mem::take(&mut survey.plan.notes);
            session.surveyor(self.scope).again(survey).await?;
            survey.plan.notes = notes;
            session.reporter.emit(made(&survey.plan)).await;
            self.purpose.plan(session, self.scope, survey).await?;
        }
        Ok(())
    }

    /// Changes what was approved, and has the hosts remember who did.
    async fn carry_out(&self, session: &mut Session, survey: &mut Survey, approved: Approved) -> Result<Done, Failure> {
        let planned = survey.plan.count();
        session.remember((&survey.fleet, &approved), planned, None).await;
        let result = self.passes(session, survey, &approved).await;
        let end = Ending::of(result.as_ref().map(|done| done.changed));
        session.remember((&survey.fleet, &approved), planned, Some(end)).await;
        result
    }

    /// The approved plan, and what it said that it is a part of: each pass leaves nothing of its own to do.
    async fn passes(&self, session: &mut Session, survey: &mut Survey, approved: &Approved) -> Result<Done, Failure> {
        let mut applied = Applied::default();
        loop {
            applied.add(self.pass(session, survey, approved).await?);
            if survey.transition.is_none() {
                break;
            }
            session.surveyor(self.scope).again(survey).await?;
            session.reporter.emit(made(&survey.plan)).await;
            self.wait_for_those_on_their_way(session, survey).await?;
            refusal::refuse(session, survey, self.longest_pause)?;
            // with --limit a pass waits for the hosts that were left out
            if survey.plan.is_empty() {
                break;
            }
            if !self.globals.json {
                out::text(&render(&survey.plan, out::style(), Depth::Brief))?;
            }
        }
        session.exchanged(survey, self.scope).await?;
        let gather = survey.gather(&session.inventory, &session.secrets);
        let view = settled(session, &gather, Some(&survey.view)).await?;
        let closing = Closing { view: &view, changed: applied.changed, evidence: &applied.evidence };
        closing.tell(session, self.globals).await
    }

    async fn pass(&self, session: &Session, survey: &Survey, approved: &Approved) -> Result<Applied, Failure> {
        let apply = Apply {
            inventory: &session.inventory,
            secrets: &session.secrets,
            survey,
            scope: self.scope,
            approved,
            reporter: &session.reporter,
            cancel: &session.cancel,
            offer: session.offer.as_ref(),
        };
        Ok(apply.run().await?)
    }
}

/// Who is leader, is all well, and where to connect.
struct Closing<'a> {
    view: &'a ClusterView,
    changed: usize,
    evidence: &'a [String],
}

impl Closing<'_> {
    async fn tell(&self, session: &mut Session, globals: &Globals) -> Result<Done, Failure> {
        let health = cluster::assess(self.view, &session.inventory);
        for problem in &health.problems {
            let event = Kind::Warned { message: problem.text.clone(), help: Some(problem.help.clone()) };
            session.reporter.emit(event).await;
        }
        session.settle().await;
        if !globals.json {
            let mut text = table::render(self.view, &health, out::look());
            for line in self.evidence {
                text.push_str(&format!("\nVerified: {line}"));
            }
            let inventory = &session.inventory;
            let files = Files { inventory: &inventory.path, authorities: &handout::path(&inventory.path) };
            let lines = endpoints(inventory, files, Notation::of(&session.secrets.application)).lines(files);
            text.push_str(&format!("\n\n{}\n", lines.join("\n")));
            session.print(&text)?;
        }
        let exit = if health.healthy { Exit::Ok } else { Exit::Unhealthy };
        Ok(Done { exit, changed: self.changed })
    }
}
