//! `apply`: shows the plan, asks, runs it, and says where the cluster is to be found.

use std::path::PathBuf;

use super::confirm::{self, Ask};
use super::saved::Promise;
use super::session::{Done, Ending, Need, Opening, ScopeArgs, Session, Target, made};
use super::{Failure, Globals, handout, out};
use crate::approval::Approved;
use crate::cluster::{self, ClusterView, endpoints, table};
use crate::engine::Scrutiny;
use crate::error::{Exit, Fails};
use crate::plan::{Depth, render};
use crate::report::{self, Kind, Show};
use crate::workflow::lock::RunLock;
use crate::workflow::{self, Applied, Apply, Scope, Survey};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 done and healthy, 1 failed, 2 a mistake in the inventory, 3 a host could not be reached, 4 done but not healthy, 130 interrupted."
)]
pub struct Args {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Run this saved plan, and only while it still holds
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// Why a plan is not run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum Refusal {
    #[error("this would interrupt the running database or etcd; nothing was changed:\n{}", list.join("\n"))]
    #[diagnostic(
        code(xnat::apply::interruption),
        help(
            "parameters that only a restart takes up, upgrades of packages and stopping a member are not built yet: take these changes back in the inventory; everything else can then be applied"
        )
    )]
    Interruption { list: Vec<String> },
    #[error("members would have to be restarted, and that is not safe now; nothing was changed:\n{}", list.join("\n"))]
    #[diagnostic(code(xnat::apply::not_safe), help("mend this first: `xnat-provision status` says more"))]
    NotSafe { list: Vec<String> },
    #[error("the cluster runs already, and its passwords are not in {}; nothing was changed", path.display())]
    #[diagnostic(
        code(xnat::apply::lost_secrets),
        help("bring back the file {} that the first apply wrote: new passwords would lock the members out of each other", path.display())
    )]
    LostSecrets { path: PathBuf },
    #[error("the superuser's password in {} is not the one of the cluster; nothing was changed", path.display())]
    #[diagnostic(
        code(xnat::apply::other_secrets),
        help(
            "bring back the file as the last apply used it; the leader has that password too: `grep -A2 superuser /etc/patroni/xnat/40-secrets.yml`"
        )
    )]
    OtherSecrets { path: PathBuf },
    #[error("{} shows a certificate of an authority that is not in {}; nothing was changed", hosts.join(", "), path.display())]
    #[diagnostic(
        code(xnat::apply::other_authority),
        help(
            "bring back the file as the last apply used it: certificates of a new authority would cut the members off from each other"
        )
    )]
    OtherAuthority { hosts: Vec<String>, path: PathBuf },
}

impl Fails for Refusal {
    fn exit(&self) -> Exit {
        match self {
            Self::NotSafe { .. } => Exit::Unhealthy,
            Self::Interruption { .. }
            | Self::LostSecrets { .. }
            | Self::OtherSecrets { .. }
            | Self::OtherAuthority { .. } => Exit::Failed,
        }
    }
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let promise = args.plan.as_deref().map(Promise::read).transpose()?;
    let show = if globals.json { Show::Json } else { Show::detect() };
    let opening = Opening { command: "apply", show, globals, secrets: Need::Yes, scrutiny: Scrutiny::NewHostsMeasured };
    let mut session = Session::open(&args.target, opening).await?;
    let scope = args.scope.scope();
    let ask = if args.yes { Ask::SaidYes } else { Ask::Terminal };
    let result = Request { promise, ask, globals, scope: &scope }.run(&mut session).await;
    session.finish(result).await
}

/// What is asked for.
pub(super) struct Request<'a> {
    /// A saved plan that must still hold.
    pub promise: Option<Promise>,
    pub ask: Ask,
    pub globals: &'a Globals,
    pub scope: &'a Scope,
}

impl Request<'_> {
    pub async fn run(self, session: &mut Session) -> Result<Done, Failure> {
        let directory = report::journal::Store::of_user()?.cluster(&session.inventory.cluster);
        let _lock = RunLock::take(&directory, &session.inventory.cluster)?;
        let mut survey = session.survey(self.scope, Some(&session.claim())).await?;
        let scope = self.scope;
        let result = match self.run_plan(session, &mut survey).await {
            Ok(done) if done.exit != Exit::Failed => session.exchanged(&survey, scope).await.map(|()| done),
            other => other,
        };
        survey.fleet.close(&session.reporter).await;
        result
    }

    async fn run_plan(self, session: &mut Session, survey: &mut Survey) -> Result<Done, Failure> {
        session.settle().await;
        if let Some(promise) = &self.promise {
            promise.must_hold(&survey.plan)?;
        }
        refuse(session, survey)?;
        if survey.plan.is_empty() {
            // a certificate of this program's own concerns no host, nor does the end of a change of passwords
            session.keep_unseen()?;
            handout::write(&session.inventory, &session.secrets.pki)?;
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
        if session.keep_secrets()? {
            survey.expand_again(&session.surveyor(self.scope))?;
        }
        handout::write(&session.inventory, &session.secrets.pki)?;
        self.carry_out(session, survey, approved).await
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
            refuse(session, survey)?;
            // with --limit a pass waits for the hosts that were left out
            if survey.plan.is_empty() {
                break;
            }
            if !self.globals.json {
                out::text(&render(&survey.plan, out::style(), Depth::Brief))?;
            }
        }
        let view = cluster::gather(&survey.gather(&session.inventory, &session.secrets)).await;
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
        };
        Ok(apply.run().await?)
    }
}

/// What stands against running the plan, found before anything is asked.
fn refuse(session: &Session, survey: &Survey) -> Result<(), Refusal> {
    // Passwords that are kept elsewhere do not bring back the authority that the members trust.
    let needed = session.secrets.is_placeholder() || session.inventory.tls.enabled;
    if needed && !session.vault.exists() && survey.started.postgres {
        return Err(Refusal::LostSecrets { path: session.vault.path() });
    }
    if survey.stranger {
        return Err(Refusal::OtherSecrets { path: session.vault.path() });
    }
    if !survey.view.strangers.is_empty() {
        let hosts = survey.view.strangers.iter().map(ToString::to_string).collect();
        return Err(Refusal::OtherAuthority { hosts, path: session.vault.path() });
    }
    let list = survey.plan.interruptions();
    if !list.is_empty() {
        return Err(Refusal::Interruption { list });
    }
    let list = workflow::obstacles(&survey.plan, &survey.view, &session.inventory);
    if list.is_empty() { Ok(()) } else { Err(Refusal::NotSafe { list }) }
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
            let inventory = session.inventory.path.display().to_string();
            let authorities = handout::path(&session.inventory.path).display().to_string();
            let files = endpoints::Files { inventory: &inventory, authorities: &authorities };
            let lines = endpoints::endpoints(&session.inventory, files).lines(files);
            text.push_str(&format!("\n\n{}\n", lines.join("\n")));
            session.print(&text)?;
        }
        let exit = if health.healthy { Exit::Ok } else { Exit::Unhealthy };
        Ok(Done { exit, changed: self.changed })
    }
}
