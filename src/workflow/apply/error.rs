//! Why an apply did not reach its end.

use std::collections::BTreeMap;

use crate::cluster::http::CallError;
use crate::cluster::postgres::SqlError;
use crate::cluster::verify::VerifyError;
use crate::engine::wait::WaitError;
use crate::engine::{CarryError, ConvergeError};
use crate::error::{Exit, Fails};
use crate::names::HostName;
use crate::workflow::OperationError;

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
    #[error(transparent)]
    #[diagnostic(transparent)]
    Operation(#[from] OperationError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Carry(#[from] CarryError),
    #[error("there is no leader to talk to: {reason}")]
    #[diagnostic(code(xnat::apply::no_leader), help("see `xnat-provision status`; then run apply again"))]
    NoLeader { reason: String },
    #[error("the members of etcd have changed since the plan, so {host} was not started; etcd lists {listed}")]
    #[diagnostic(
        code(xnat::apply::membership_moved),
        help("somebody else is at work on etcd's members; when they are done, run apply again: it goes on from here")
    )]
    MembershipMoved { host: HostName, listed: String },
    #[error("{host} answers again, so it was not taken out of etcd")]
    #[diagnostic(
        code(xnat::apply::alive),
        help("put its [[host]] back into the inventory, with `leaving = true` if it is to go; then run apply again")
    )]
    Alive { host: HostName },
    #[error("{unit} on {host} ends again and again, so there is no point in waiting for {what}")]
    #[diagnostic(
        code(xnat::apply::keeps_ending),
        help("its log says why: `ssh {host} journalctl -u {unit} -n 50`; then run apply again: it goes on from here")
    )]
    KeepsEnding { unit: String, host: HostName, what: String },
    #[error("{host}: etcd's data was not saved, and its package was left alone: {reason}")]
    #[diagnostic(
        code(xnat::upgrade::not_saved),
        help("is there space? `ssh {host} df -h /var/backups`; then run upgrade again: it goes on from here")
    )]
    NotSaved { host: HostName, reason: String },
    #[error("cannot restart {unit} on {host}: {reason}")]
    #[diagnostic(
        code(xnat::apply::not_spared),
        help(
            "see `xnat-provision status`; members that were restarted are not restarted again when you run apply again"
        )
    )]
    NotSpared { unit: &'static str, host: String, reason: String },
}

impl ApplyError {
    /// Counts the changes that were made on hosts, and says where the stage failed: all hosts finish, and then it ends there.
    pub fn gathered(
        stage: &'static str,
        results: BTreeMap<HostName, Result<usize, ConvergeError>>,
        changed: &mut usize,
    ) -> Result<(), Self> {
        let (mut failures, mut hosts) = (Vec::new(), Vec::new());
        for (name, result) in results {
            match result {
                Ok(count) => *changed += count,
                Err(error) => {
                    hosts.push(name.to_string());
                    failures.push(error);
                }
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(Self::Hosts { stage, hosts, failures }) }
    }
}

impl Fails for ApplyError {
    fn exit(&self) -> Exit {
        match self {
            Self::Hosts { failures, .. } => failures.iter().map(Fails::exit).max().unwrap_or(Exit::Failed),
            Self::Interrupted { .. } => Exit::Interrupted,
            Self::Wait(error) => error.exit(),
            Self::Call(error) => error.exit(),
            Self::Sql(error) => error.exit(),
            Self::Operation(error) => error.exit(),
            Self::Verify(error) => error.exit(),
            Self::Carry(error) => error.exit(),
            Self::NotSaved { .. } => Exit::Failed,
            Self::MembershipMoved { .. }
            | Self::Alive { .. }
            | Self::NoLeader { .. }
            | Self::NotSpared { .. }
            | Self::KeepsEnding { .. } => Exit::Unhealthy,
        }
    }
}

fn list(titles: &[&str]) -> String {
    if titles.is_empty() { "nothing".to_owned() } else { titles.join(", ") }
}
