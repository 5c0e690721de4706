//! What is done to the members of a running cluster, and waited for. Each kind is a file: [`super::handover`],
//! [`super::in_turn`], [`super::members`].

use std::time::{Duration, Instant};

use crate::approval::Approved;
use crate::cluster::http::{CallError, Http};
use crate::cluster::postgres::SqlError;
use crate::cluster::{Gather, patroni};
use crate::engine::Cancel;
use crate::engine::wait::{Wait, WaitError};
use crate::error::{Exit, Fails};
use crate::inventory::Host;
use crate::names::HostName;
use crate::report::{Kind, Reporter, millis_since};

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

impl Fails for OperationError {
    fn exit(&self) -> Exit {
        match self {
            Self::Member { .. } | Self::NotSpared { .. } => Exit::Unhealthy,
            Self::Call(error) => error.exit(),
            Self::Sql(error) => error.exit(),
            Self::Wait(error) => error.exit(),
        }
    }
}

/// What every one of them needs.
pub struct Operation<'a> {
    pub gather: Gather<'a>,
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

    pub(super) async fn wait<T, F>(&self, what: String, deadline: Duration, condition: F) -> Result<T, WaitError>
    where
        F: AsyncFn(&Gather<'_>) -> Result<T, String>,
    {
        let title = format!("wait for {what}");
        let begun = Instant::now();
        self.reporter.emit(Kind::StepStarted { title: title.clone() }).await;
        let wait = Wait {
            what,
            deadline,
            interval: Duration::from_millis(500),
            help: "see `xnat-provision status`, and the log of Patroni on the hosts: `journalctl -u patroni -n 50`"
                .to_owned(),
        };
        let value = wait.until(self.reporter, self.cancel, || condition(&self.gather)).await?;
        self.reporter.emit(Kind::StepFinished { title, millis: millis_since(begun) }).await;
        Ok(value)
    }
}
