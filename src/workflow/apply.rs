//! `apply`: the product as a list of stages. Everything it changes was in the plan that was approved; what is right
//! already is left alone, so an interrupted run is finished by running it again.

use std::time::{Duration, Instant};

use super::cluster_plan;
use super::stage::Stage;
use super::survey::{Scope, Survey};
use crate::approval::Approved;
use crate::cluster::postgres::{self, SqlError, objects};
use crate::cluster::verify::{self, VerifyError};
use crate::cluster::{self, Gather, Severity, etcd, http::CallError, patroni};
use crate::engine::wait::{Wait, WaitError};
use crate::engine::{Cancel, Converge, ConvergeError, for_each_host};
use crate::error::{Exit, Fails};
use crate::inventory::{Component, Host, Inventory};
use crate::names::HostName;
use crate::plan::PlannedStage;
use crate::report::{Kind, Outcome, Reporter};
use crate::resource::Resource;
use crate::role;
use crate::vault::Secrets;

/// One run of an approved plan.
pub struct Apply<'a> {
    pub inventory: &'a Inventory,
    pub secrets: &'a Secrets,
    pub survey: &'a Survey,
    pub scope: &'a Scope,
    pub approved: &'a Approved,
    pub reporter: &'a Reporter,
    pub cancel: &'a Cancel,
}

/// What a successful run did and proved.
#[derive(Debug)]
pub struct Applied {
    pub changed: usize,
    /// What a client did and saw: "wrote through lb1:5432 …".
    pub evidence: Vec<String>,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ApplyError {
    /// Each host's failure is told when it happens; this closes the list.
    #[error("\"{stage}\" failed on {}; later stages were not begun", hosts.join(", "))]
    #[diagnostic(
        code(xnat::apply::stage),
        help("mend what is said about each host and run apply again: it goes on from here")
    )]
    Hosts { stage: &'static str, hosts: Vec<String>, failures: Vec<ConvergeError> },
    #[error("interrupted; done: {}; still to do: {}", list(done), list(left))]
    #[diagnostic(code(xnat::interrupted), help("run the same command again: it goes on from here"))]
    Interrupted { done: Vec<&'static str>, left: Vec<&'static str> },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Wait(#[from] WaitError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sql(#[from] SqlError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Verify(#[from] VerifyError),
    #[error("there is no leader to talk to: {reason}")]
    #[diagnostic(code(xnat::apply::no_leader), help("see `xnat-provision status`; then run apply again"))]
    NoLeader { reason: String },
}

impl Fails for ApplyError {
    fn exit(&self) -> Exit {
        match self {
            Self::Hosts { failures, .. } => failures.iter().map(Fails::exit).max().unwrap_or(Exit::Failed),
            Self::Interrupted { .. } => Exit::Interrupted,
            Self::Wait(error) => error.exit(),
            Self::Call(error) => error.exit(),
            Self::Sql(error) => error.exit(),
            Self::Verify(error) => error.exit(),
            Self::NoLeader { .. } => Exit::Unhealthy,
        }
    }
}

impl Apply<'_> {
    pub async fn run(&self) -> Result<Applied, ApplyError> {
        let mut applied = Applied { changed: 0, evidence: Vec::new() };
        let planned: Vec<(Stage, &PlannedStage)> = self.planned_stages().collect();
        let titles = planned.iter().map(|(stage, _)| stage.title().to_owned()).collect();
        self.reporter.emit(Kind::StagesPlanned { titles }).await;
        for (place, (stage, stage_plan)) in planned.iter().enumerate() {
            if self.cancel.is_cancelled() {
                return Err(interrupted(&planned, place));
            }
            match self.stage(*stage, stage_plan, &mut applied.evidence).await {
                Ok(changed) => applied.changed += changed,
                Err(error) if error.exit() == Exit::Interrupted => return Err(interrupted(&planned, place)),
                Err(error) => return Err(error),
            }
        }
        Ok(applied)
    }

    /// Stages with something to do, and always the closing verification.
    fn planned_stages(&self) -> impl Iterator<Item = (Stage, &PlannedStage)> {
        let all = Stage::ALL.into_iter().zip(&self.survey.plan.stages);
        all.filter(|(stage, planned)| planned.count() > 0 || *stage == Stage::Verify)
    }

    async fn stage(
        &self,
        stage: Stage,
        planned: &PlannedStage,
        evidence: &mut Vec<String>,
    ) -> Result<usize, ApplyError> {
        let reporter = self.reporter.for_stage(stage.title());
        let begun = Instant::now();
        let hosts = match stage {
            Stage::Verify => self.inventory.with(Component::Haproxy).map(|host| host.name.clone()).collect(),
            _ => planned.hosts.keys().cloned().collect(),
        };
        reporter.emit(Kind::StageStarted { hosts }).await;
        let run = StageRun { apply: self, stage, planned, reporter: &reporter };
        let result = match stage {
            Stage::Prepare | Stage::Packages | Stage::Haproxy | Stage::SiteRoles => run.converge_planned().await,
            Stage::Etcd => run.etcd().await,
            Stage::Postgres => run.postgres().await,
            Stage::Database => run.database().await,
            Stage::Verify => run.verify(evidence).await,
        };
        let outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(error) if error.exit() == Exit::Interrupted => Outcome::Interrupted,
            Err(_) => Outcome::Failed,
        };
        let changed = *result.as_ref().unwrap_or(&0);
        reporter.emit(Kind::StageFinished { outcome, changed, millis: millis(begun) }).await;
        result
    }
}

fn interrupted(planned: &[(Stage, &PlannedStage)], place: usize) -> ApplyError {
    let titles = |stages: &[(Stage, &PlannedStage)]| stages.iter().map(|(stage, _)| stage.title()).collect();
    ApplyError::Interrupted { done: titles(&planned[..place]), left: titles(&planned[place..]) }
}

fn list(titles: &[&str]) -> String {
    if titles.is_empty() { "nothing".to_owned() } else { titles.join(", ") }
}

/// One stage of one run.
struct StageRun<'a> {
    apply: &'a Apply<'a>,
    stage: Stage,
    planned: &'a PlannedStage,
    reporter: &'a Reporter,
}

impl StageRun<'_> {
    async fn converge_planned(&self) -> Result<usize, ApplyError> {
        let parallel = self.apply.scope.parallel(self.apply.inventory);
        self.converge(self.planned.hosts.keys().cloned().collect(), parallel).await
    }

    /// All hosts of the step finish, also when one fails; then the stage ends here.
    async fn converge(&self, hosts: Vec<HostName>, parallel: usize) -> Result<usize, ApplyError> {
        let results = for_each_host(hosts, parallel, |name| async move { self.converge_host(&name).await }).await;
        let mut changed = 0;
        let mut failures = Vec::new();
        let mut hosts = Vec::new();
        for (name, result) in results {
            match result {
                Ok(count) => changed += count,
                Err(error) => {
                    hosts.push(name.to_string());
                    failures.push(error);
                }
            }
        }
        if failures.is_empty() {
            return Ok(changed);
        }
        Err(ApplyError::Hosts { stage: self.stage.title(), hosts, failures })
    }

    async fn converge_host(&self, name: &HostName) -> Result<usize, ConvergeError> {
        let Some(host) = self.apply.survey.fleet.host(name) else { return Ok(0) };
        let none: Vec<Resource> = Vec::new();
        let resources = self.apply.survey.desired.get(name).and_then(|stages| stages.get(&self.stage)).unwrap_or(&none);
        let reporter = self.reporter.for_host(name);
        let begun = Instant::now();
        let converge = Converge {
            host: &host,
            resources,
            approved: self.apply.approved,
            reporter: &reporter,
            cancel: self.apply.cancel,
        };
        let result = converge.run().await;
        let outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(ConvergeError::Cancelled { .. }) => Outcome::Interrupted,
            Err(error) => {
                reporter.emit(crate::report::failed(error, error.output())).await;
                Outcome::Failed
            }
        };
        let changed = *result.as_ref().unwrap_or(&0);
        reporter.emit(Kind::HostFinished { outcome, changed, millis: millis(begun) }).await;
        result
    }

    /// A new etcd cluster needs all its members at once: the first start waits for the others.
    async fn etcd(&self) -> Result<usize, ApplyError> {
        let hosts: Vec<HostName> = self.planned.hosts.keys().cloned().collect();
        let parallel =
            if self.apply.survey.started.etcd { self.apply.scope.parallel(self.apply.inventory) } else { hosts.len() };
        let changed = self.converge(hosts, parallel).await?;
        self.wait("the etcd quorum", Duration::from_secs(90), async |gather| etcd::quorum(gather).await.map(drop))
            .await?;
        Ok(changed + self.planned.cluster.len())
    }

    /// The first member is made first and the others are copied from it; in a cluster that exists nothing is restarted,
    /// so all may be brought up to date at once.
    async fn postgres(&self) -> Result<usize, ApplyError> {
        let (first, rest) = self.postgres_order();
        let parallel = self.apply.scope.parallel(self.apply.inventory);
        let mut changed = 0;
        if let Some(first) = first {
            changed += self.converge(vec![first.clone()], 1).await?;
            self.wait("the first PostgreSQL member", Duration::from_secs(180), async |gather| {
                patroni::led(gather, &first).await.map(drop)
            })
            .await?;
        }
        changed += self.converge(rest, parallel).await?;
        // A copy of a large database takes its time and goes on by itself; the reason shown says how it is doing.
        let changed_hosts: Vec<HostName> = self.planned.hosts.keys().cloned().collect();
        self.wait("the PostgreSQL members to stream", Duration::from_secs(1800), async |gather| {
            patroni::streaming(gather, &changed_hosts).await
        })
        .await?;
        self.shared_configuration().await?;
        Ok(changed + self.planned.cluster.len())
    }

    /// Which host has to go first, if any, and the others.
    fn postgres_order(&self) -> (Option<HostName>, Vec<HostName>) {
        let mut hosts: Vec<HostName> = self.planned.hosts.keys().cloned().collect();
        if self.apply.survey.started.postgres {
            return (None, hosts);
        }
        let first = cluster_plan::bootstrap_host(self.apply.inventory).map(|host| host.name.clone());
        hosts.retain(|host| Some(host) != first.as_ref());
        (first, hosts)
    }

    /// What all members share lives in the DCS; what differs there is patched, nothing else is touched.
    async fn shared_configuration(&self) -> Result<(), ApplyError> {
        let gather = self.gather();
        let host = self.leader(&gather).await?;
        let http = patroni::client(&gather, host).map_err(|reason| ApplyError::NoLeader { reason })?;
        let actual = patroni::config(&http).await?;
        let changes = postgres::config_diff(&role::dynamic_config(self.apply.inventory), &actual);
        if changes.is_empty() {
            return Ok(());
        }
        let patch = postgres::patch(&changes);
        patroni::patch_config(&http, self.apply.approved, &patch).await?;
        for change in changes {
            self.changed("shared configuration", &change.to_string()).await;
        }
        Ok(())
    }

    async fn database(&self) -> Result<usize, ApplyError> {
        let gather = self.gather();
        let leader = self.leader(&gather).await?;
        let administrator =
            postgres::administrator(&gather, leader).map_err(|reason| ApplyError::NoLeader { reason })?;
        let desired = objects::desired(self.apply.inventory, self.apply.secrets);
        let difference = objects::diff(&desired, &administrator.observe(&desired).await?);
        for warning in difference.warnings {
            self.reporter.emit(Kind::Warned { message: warning.text, help: Some(warning.help) }).await;
        }
        let changed = difference.changes.len();
        for change in difference.changes {
            administrator.perform(self.apply.approved, &change).await?;
            self.changed("database", &change.to_string()).await;
        }
        Ok(changed)
    }

    async fn verify(&self, evidence: &mut Vec<String>) -> Result<usize, ApplyError> {
        self.wait("a cluster clients can use", Duration::from_secs(60), async |gather| {
            let health = cluster::assess(&cluster::gather(gather).await, gather.inventory);
            // A host that is away is told at the end; it does not keep clients from working.
            match health.problems.first() {
                Some(problem) if problem.severity == Severity::Critical => Err(problem.text.clone()),
                _ => Ok(()),
            }
        })
        .await?;
        let gather = self.gather();
        // One that is out of reach was left out with --limit, or the run would not have begun.
        let reached = |host: &&Host| self.apply.survey.fleet.connections.contains_key(&host.name);
        let balancers: Vec<&Host> = self.apply.inventory.with(Component::Haproxy).filter(reached).collect();
        let checks = balancers.iter().map(|host| verify::through(&gather, host, self.apply.approved));
        for proof in futures::future::join_all(checks).await {
            let proof = proof?.0;
            self.reporter.emit(Kind::OutputLine { line: proof.clone() }).await;
            evidence.push(proof);
        }
        Ok(0)
    }

    async fn changed(&self, resource: &str, summary: &str) {
        let event = Kind::ChangeApplied { resource: resource.to_owned(), summary: summary.to_owned(), millis: 0 };
        self.reporter.emit(event).await;
    }

    async fn leader<'g>(&self, gather: &Gather<'g>) -> Result<&'g Host, ApplyError> {
        let name = patroni::leader(gather).await.map_err(|reason| ApplyError::NoLeader { reason })?;
        let stranger = || ApplyError::NoLeader { reason: format!("{name} leads, and is not in the inventory") };
        gather.inventory.host(&name).ok_or_else(stranger)
    }

    fn gather(&self) -> Gather<'_> {
        self.apply.survey.gather(self.apply.inventory, self.apply.secrets)
    }

    async fn wait<F>(&self, what: &str, deadline: Duration, condition: F) -> Result<(), ApplyError>
    where
        F: AsyncFn(&Gather<'_>) -> Result<(), String>,
    {
        let title = format!("wait for {what}");
        let begun = Instant::now();
        self.reporter.emit(Kind::StepStarted { title: title.clone() }).await;
        let wait = Wait {
            what: what.to_owned(),
            deadline,
            interval: Duration::from_millis(500),
            help: "see `xnat-provision status` and the units' journals on the hosts; then run apply again: it goes on from here".to_owned(),
        };
        wait.until(self.reporter, self.apply.cancel, || async { condition(&self.gather()).await }).await?;
        self.reporter.emit(Kind::StepFinished { title, millis: millis(begun) }).await;
        Ok(())
    }
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
