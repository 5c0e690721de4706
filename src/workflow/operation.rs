//! What is done to the members of a running cluster, and waited for. Each kind is a file: [`super::handover`],
//! [`super::in_turn`], [`super::members`], [`super::maintenance`], [`super::drain`], [`super::whole`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ApplyError;

use crate::approval::Approved;
use crate::cluster::http::{CallError, Http};
use crate::cluster::postgres::SqlError;
use crate::cluster::{Gather, etcd, patroni};
use crate::engine::wait::{Wait, WaitError};
use crate::engine::{Cancel, Converge, Fleet, HostError, Interruption, MemberStep, StepError, for_each_host};
use crate::error::{Exit, Fails};
use crate::inventory::{Component, Host};
use crate::names::HostName;
use crate::report::{Kind, Reporter, millis_since};
use crate::resource::Resource;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum OperationError {
    #[error("cannot ask Patroni on {host}: {reason}")]
    #[diagnostic(code(xnat::operation::member), help("see `xnat-provision status`"))]
    Member { host: HostName, reason: String },
    #[error("{host} was not restarted: {reason}")]
    #[diagnostic(
        code(xnat::operation::not_safe),
        help(
            "see `xnat-provision status`; the same command again restarts those that are left and those that were done"
        )
    )]
    NotSpared { host: HostName, reason: String },
    #[error("{unit} on {host} could not be {done}: {reason}")]
    #[diagnostic(
        code(xnat::operation::unit),
        help(
            "log in to {host}: `systemctl status {unit}`, `journalctl -u {unit} -n 50`; then run the same command again: it goes on from here"
        )
    )]
    Unit { unit: &'static str, host: HostName, done: &'static str, reason: String },
    #[error("PostgreSQL on {host} was not shut down: its control file says {state:?}")]
    #[diagnostic(
        code(xnat::operation::not_shut_down),
        help(
            "does it still run? `ps -fu postgres` on {host}. `xnat-provision start` takes it up again; nothing that was committed is lost"
        )
    )]
    NotShutDown { host: HostName, state: String },
    #[error("no etcd member can be asked")]
    #[diagnostic(code(xnat::operation::etcd), help("see `xnat-provision status`"))]
    NoEtcd,
    #[error(transparent)]
    #[diagnostic(transparent)]
    Host(Box<HostError>),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sql(#[from] SqlError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Wait(#[from] WaitError),
}

impl From<HostError> for OperationError {
    fn from(error: HostError) -> Self {
        Self::Host(Box::new(error))
    }
}

impl Fails for OperationError {
    fn exit(&self) -> Exit {
        match self {
            Self::Member { .. } | Self::NotSpared { .. } | Self::NotShutDown { .. } | Self::NoEtcd => Exit::Unhealthy,
            Self::Unit { .. } => Exit::Failed,
            Self::Host(error) => error.exit(),
            Self::Call(error) => error.exit(),
            Self::Sql(error) => error.exit(),
            Self::Wait(error) => error.exit(),
        }
    }
}

/// The resources of each host.
pub type Wanted = BTreeMap<HostName, Vec<Resource>>;

/// What every one of them needs.
#[derive(Clone, Copy)]
pub struct Operation<'a> {
    pub gather: Gather<'a>,
    pub fleet: &'a Fleet,
    pub approved: &'a Approved,
    pub reporter: &'a Reporter,
    pub cancel: &'a Cancel,
}

impl<'a> Operation<'a> {
    /// That it was done, at once; the same text is for the command's last lines.
    pub async fn told(&self, summary: String) -> String {
        let event = Kind::ChangeApplied { resource: "cluster".to_owned(), summary: summary.clone(), millis: 0 };
        self.reporter.emit(event).await;
        summary
    }

    pub(super) fn host(&self, name: &HostName) -> Result<&'a Host, OperationError> {
        let reason = "it is not in the inventory".to_owned();
        self.gather.inventory.known(name).ok_or_else(|| OperationError::Member { host: name.clone(), reason })
    }

    pub(super) fn patroni(&self, name: &HostName) -> Result<Http<'a>, OperationError> {
        let failed = |reason| OperationError::Member { host: name.clone(), reason };
        patroni::client(&self.gather, self.host(name)?).map_err(failed)
    }

    /// Any etcd member can be told; the first that answers is.
    pub(super) async fn etcd<T>(
        &self,
        work: impl AsyncFn(&Http<'_>) -> Result<T, CallError>,
    ) -> Result<T, OperationError> {
        let mut last = OperationError::NoEtcd;
        for host in self.gather.inventory.with(Component::Etcd) {
            let Ok(http) = etcd::client(&self.gather, host) else { continue };
            match work(&http).await {
                Ok(done) => return Ok(done),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// Resources of hosts are made what they are to be, and nothing is restarted for it.
    pub(super) async fn install(&self, wanted: &Wanted, stage: &'static str) -> Result<(), ApplyError> {
        let results = for_each_host(wanted.keys().cloned().collect(), wanted.len(), async |name: HostName| {
            let Some(host) = self.fleet.host(&name) else { return Ok(0) };
            let resources = wanted.get(&name).map(Vec::as_slice).unwrap_or_default();
            let (approved, reporter, cancel) = (self.approved, &self.reporter.for_host(&name), self.cancel);
            Converge { host: &host, resources, approved, interruption: Interruption::Refused, reporter, cancel }
                .told()
                .await
        });
        ApplyError::gathered(stage, results.await, &mut 0)
    }

    /// A step of a member, with its beginning and its end told.
    pub(super) async fn step(&self, host: &HostName, step: MemberStep<'_>) -> Result<Value, StepError> {
        self.shown(host, step.what, self.fleet.step(host, self.approved, step)).await
    }

    pub(super) async fn shown<T>(
        &self,
        host: &HostName,
        what: &'static str,
        work: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        let reporter = self.reporter.for_host(host);
        let (title, begun) = (what.to_owned(), Instant::now());
        reporter.emit(Kind::StepStarted { title: title.clone() }).await;
        let done = work.await?;
        reporter.emit(Kind::StepFinished { title, millis: millis_since(begun) }).await;
        Ok(done)
    }

    pub(super) async fn wait<T, F>(&self, what: String, deadline: Duration, condition: F) -> Result<T, WaitError>
    where
        F: AsyncFn(&Gather<'_>) -> Result<T, String>,
    {
        let title = format!("wait for {what}");
        let begun = Instant::now();
        self.reporter.emit(Kind::StepStarted { title: title.clone() }).await;
        let value = waiting(what, deadline).until(self.reporter, self.cancel, || condition(&self.gather)).await?;
        self.reporter.emit(Kind::StepFinished { title, millis: millis_since(begun) }).await;
        Ok(value)
    }

    /// The same for what may well not come: then it goes on without.
    pub(super) async fn wait_patiently<F>(
        &self,
        what: String,
        patience: Duration,
        condition: F,
    ) -> Result<(), OperationError>
    where
        F: AsyncFn(&Gather<'_>) -> Result<(), String>,
    {
        waiting(what, patience).while_patient(self.reporter, self.cancel, || condition(&self.gather)).await?;
        Ok(())
    }
}

fn waiting(what: String, deadline: Duration) -> Wait {
    Wait {
        what,
        deadline,
        interval: Duration::from_millis(500),
        help: "see `xnat-provision status`, and the log of Patroni on the hosts: `journalctl -u patroni -n 50`"
            .to_owned(),
    }
}
