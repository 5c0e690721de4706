//! Brings the resources of one host to their wanted state: probe, diff, perform, probe again until nothing differs.
//! The closing probe is part of every run, so idempotency is checked on every host, every time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Cancel;
use super::host::{ActionFailure, Host, HostError, Performed};
use super::wait::{Wait, WaitError};
use crate::approval::Approved;
use crate::error::{Exit, Fails, one_line};
use crate::names::HostName;
use crate::plan::diff_resources;
use crate::report::{Kind, Outcome, Reporter, failed, millis_since};
use crate::resource::{Action, Change, Effect, FIREWALL_TOOL, Observed, Probe, Resource, ResourceId, firewall_settled};

/// Everything one convergence needs.
pub struct Converge<'a> {
    pub host: &'a dyn Host,
    pub resources: &'a [Resource],
    pub approved: &'a Approved,
    pub interruption: Interruption,
    pub reporter: &'a Reporter,
    pub cancel: &'a Cancel,
}

/// What this convergence may do to a database or etcd member that runs.
#[derive(Clone, Debug)]
pub enum Interruption {
    /// Leave it running, whatever differs.
    Refused,
    /// Restart it: the workflow has just seen that the cluster can spare it.
    Permitted(Permit),
}

/// One unit of one host may go down, now. Only `workflow/apply/rolling.rs` makes one (a layering test holds that).
#[derive(Clone, Debug)]
pub struct Permit {
    unit: ResourceId,
    issued: Instant,
}

/// What was seen of the cluster is not true for ever.
const PERMIT_LASTS: Duration = Duration::from_secs(60);

impl Permit {
    /// That it is safe was seen in this moment.
    pub fn seen_to_be_safe(unit: ResourceId) -> Self {
        Self { unit, issued: Instant::now() }
    }
}

impl Interruption {
    fn allows(&self, change: &Change) -> bool {
        match self {
            Self::Refused => false,
            Self::Permitted(permit) => permit.unit == change.resource && permit.issued.elapsed() < PERMIT_LASTS,
        }
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ConvergeError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Host(#[from] HostError),
    #[error("{host}: {change} failed with status {status}{}", said(output))]
    #[diagnostic(code(xnat::converge::action), help("{help}"))]
    Action { host: HostName, change: String, status: u32, output: String, help: String },
    #[error("{host}: still differs after it was changed: {}", list.join("; "))]
    #[diagnostic(
        code(xnat::converge::not_converged),
        help(
            "something on {host} undoes the change: look there for other configuration management, or a service that writes the same"
        )
    )]
    NotConverged { host: HostName, list: Vec<String> },
    #[error("{host}: {change} was not done: it would interrupt the running database or etcd")]
    #[diagnostic(
        code(xnat::converge::rolling),
        help(
            "it was not in the plan, so {host} has changed since; nothing was restarted: see `xnat-provision plan` for what differs now"
        )
    )]
    Rolling { host: HostName, change: String },
    #[error("{host}: the new firewall rules were taken back: nobody could log in under them ({reason})")]
    #[diagnostic(
        code(xnat::converge::locked_out),
        help(
            "the old rules are loaded again; see `xnat-provision plan` for the new ones: does `admins` under [firewall] have the network you come from?"
        )
    )]
    LockedOut { host: HostName, reason: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Wait(#[from] WaitError),
    #[error("{host}: interrupted before the next change")]
    #[diagnostic(code(xnat::interrupted), help("run the same command again: it goes on where this one stopped"))]
    Cancelled { host: HostName },
}

impl Fails for ConvergeError {
    fn exit(&self) -> Exit {
        match self {
            Self::Host(error) => error.exit(),
            Self::Cancelled { .. } => Exit::Interrupted,
            Self::Wait(error) => error.exit(),
            _ => Exit::Failed,
        }
    }
}

impl ConvergeError {
    /// What the host printed, for the summary at the end.
    pub fn output(&self) -> Vec<String> {
        match self {
            Self::Action { output, .. } => tail(output, 20).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }
}

impl Converge<'_> {
    /// Returns how many changes were made.
    pub async fn run(&self) -> Result<usize, ConvergeError> {
        let mut changed = 0;
        let mut done: BTreeSet<ResourceId> = BTreeSet::new();
        loop {
            let changes = self.diff().await?;
            if changes.is_empty() {
                return Ok(changed);
            }
            let batch = first_batch(changes);
            // A resource is changed once; one that comes back differs for a reason that is not ours to fight.
            let again: Vec<String> = batch.iter().filter(|change| done.contains(&change.resource)).map(told).collect();
            if !again.is_empty() {
                return Err(ConvergeError::NotConverged { host: self.host.name().clone(), list: again });
            }
            if self.cancel.is_cancelled() {
                return Err(ConvergeError::Cancelled { host: self.host.name().clone() });
            }
            changed += batch.len();
            done.extend(batch.iter().map(|change| change.resource.clone()));
            self.perform(batch).await?;
        }
    }

    /// The same, and how it ended is told as the host's part of the stage.
    pub async fn told(&self) -> Result<usize, ConvergeError> {
        let begun = Instant::now();
        let result = self.run().await;
        let outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(ConvergeError::Cancelled { .. }) => Outcome::Interrupted,
            Err(error) => {
                self.reporter.emit(failed(error, error.output())).await;
                Outcome::Failed
            }
        };
        let changed = *result.as_ref().unwrap_or(&0);
        self.reporter.emit(Kind::HostFinished { outcome, changed, millis: millis_since(begun) }).await;
        result
    }

    async fn diff(&self) -> Result<Vec<Change>, ConvergeError> {
        let probes: Vec<Probe> = self.resources.iter().flat_map(Resource::probes).collect();
        let observations = self.host.observe(&probes).await?;
        Ok(diff_resources(self.resources, &observations))
    }

    async fn perform(&self, batch: Vec<Change>) -> Result<(), ConvergeError> {
        // Those that are planned come with a permit; without one reality moved since.
        let interrupts = |change: &&Change| change.effect >= Effect::RollingRestart;
        if let Some(change) = batch.iter().find(|change| interrupts(change) && !self.interruption.allows(change)) {
            return Err(ConvergeError::Rolling { host: self.host.name().clone(), change: named(change) });
        }
        let begun = Instant::now();
        self.reporter.emit(Kind::StepStarted { title: describe(&batch) }).await;
        let actions: Vec<Action> = batch.iter().flat_map(|change| change.actions.clone()).collect();
        let performed = self.act(&actions).await?;
        let millis = millis_since(begun);
        let mut left = performed.done;
        for change in &batch {
            if change.actions.len() > left {
                return Err(self.failed(change, performed.failure.unwrap_or_default()));
            }
            left -= change.actions.len();
            let resource = change.resource.to_string();
            let event = Kind::ChangeApplied { resource, summary: change.summary.clone(), millis };
            self.reporter.emit(event).await;
        }
        Ok(())
    }

    /// In order; what must come over a new connection does.
    async fn act(&self, actions: &[Action]) -> Result<Performed, ConvergeError> {
        let mut done = 0;
        for part in actions.chunk_by(|a, b| a.needs_new_connection() == b.needs_new_connection()) {
            let performed = match part {
                [Action::ConfirmRules { within, .. }, ..] => self.confirm(part, *within).await?,
                _ => self.host.perform(self.approved, part).await?,
            };
            done += performed.done;
            if performed.failure.is_some() {
                return Ok(Performed { done, ..performed });
            }
        }
        Ok(Performed { done, failure: None })
    }

    /// Firewall rules under which we cannot log in are not kept; the host takes them back, and then it can be said so.
    async fn confirm(&self, part: &[Action], within: Duration) -> Result<Performed, ConvergeError> {
        let reason = match self.host.anew().await {
            Ok(host) => return Ok(host.perform(self.approved, part).await?),
            Err(error) => one_line(&error),
        };
        let host = self.host.name().clone();
        let wait = Wait {
            what: format!("{host} to take its new firewall rules back"),
            deadline: within * 2 + Duration::from_secs(30),
            interval: Duration::from_secs(2),
            help: format!("log in at its console and run `{FIREWALL_TOOL} rollback`"),
        };
        wait.until(self.reporter, self.cancel, || self.settled()).await?;
        Err(ConvergeError::LockedOut { host, reason })
    }

    /// The host can be logged in to, and tries no rules any more.
    async fn settled(&self) -> Result<(), String> {
        let host = self.host.anew().await.map_err(|error| one_line(&error))?;
        let settled = firewall_settled();
        let seen = host.observe(std::slice::from_ref(&settled)).await.map_err(|error| one_line(&error))?;
        match seen.get(&settled) {
            Some(Observed::Check { holds: true }) => Ok(()),
            _ => Err("the new rules are still loaded".to_owned()),
        }
    }

    fn failed(&self, change: &Change, failure: ActionFailure) -> ConvergeError {
        let host = self.host.name().clone();
        let help = advice(&host, change, &failure.output);
        ConvergeError::Action { host, change: named(change), status: failure.status, output: failure.output, help }
    }
}

/// The changes to make before looking again: everything up to the first one whose observation may be stale by then.
/// A package set is one batch of its own, since one apt run installs it.
fn first_batch(changes: Vec<Change>) -> Vec<Change> {
    let mut batch: Vec<Change> = Vec::new();
    for change in changes {
        let stale = matches!(change.resource.kind(), "unit" | "command" | "firewall") || !change.after.is_empty();
        if !batch.is_empty() && stale {
            break;
        }
        batch.push(change);
    }
    batch
}

/// A change within a sentence.
fn named(change: &Change) -> String {
    format!("{} ({})", change.resource, change.summary)
}

fn told(change: &Change) -> String {
    format!("{}: {}", change.resource, change.summary)
}

fn describe(batch: &[Change]) -> String {
    let (first, last) = match batch {
        [] => return String::new(),
        [only] => return told(only),
        [first, .., last] => (first, last),
    };
    if batch.iter().all(|change| change.resource.kind() == "package") {
        let names: Vec<&str> = batch.iter().map(|change| change.resource.name()).collect();
        return format!("install {}", names.join(", "));
    }
    format!("{} changes: {} … {}", batch.len(), first.resource, last.resource)
}

/// What to try, from what the host printed. What lies deeper comes first: where no mirror answers, no package is known.
fn advice(host: &HostName, change: &Change, output: &str) -> String {
    let has = |text: &str| output.contains(text);
    if has("No space left on device") {
        format!("free some disk space: `ssh {host} df -h`; then run apply again")
    } else if has("Temporary failure resolving") || has("Failed to fetch") || has("Could not connect") {
        format!(
            "{host} cannot reach its package mirror: `ssh {host} apt-get update`; set a proxy under [packages] if one is needed"
        )
    } else if has("Unable to locate package") || has("has no installation candidate") {
        format!(
            "the host's package sources do not have it: `ssh {host} apt-cache policy {}`; add a repository under [packages] or change the version",
            change.resource.name()
        )
    } else if has("was not found") && has("Version") {
        format!(
            "that version is not to be had: `ssh {host} apt-cache policy {}`; change the pin under [packages]",
            change.resource.name()
        )
    } else if has("Could not get lock") || has("lock was locked by") {
        format!(
            "another package manager runs on {host}: `ssh {host} ps -C apt-get,apt,dpkg,unattended-upgr -o pid,etime,args`; wait for it, then run apply again"
        )
    } else if has("another run of xnat-provision") {
        format!("find it on {host}: `ssh {host} fuser -v /run/xnat-provision`; then run apply again")
    } else if change.resource.kind() == "unit" {
        format!("see `ssh {host} journalctl -u {} -e`; then run apply again", change.resource.name())
    } else {
        "mend the cause and run apply again: it goes on where this one stopped".to_owned()
    }
}

fn said(output: &str) -> String {
    match tail(output, 1).next() {
        Some(line) => format!("; it said: {line}"),
        None => String::new(),
    }
}

fn tail(output: &str, lines: usize) -> impl Iterator<Item = &str> {
    let all: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    let skip = all.len().saturating_sub(lines);
    all.into_iter().skip(skip)
}
