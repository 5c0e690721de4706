//! Why an upgrade to another major version ended, and what the cluster is then.

use crate::engine::wait::WaitError;
use crate::engine::{HostError, StepError};
use crate::error::{Exit, Fails, one_line};
use crate::workflow::{ApplyError, OperationError};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum MajorError {
    #[error("the new version cannot take over; nothing was changed but packages:\n{}", list.join("\n"))]
    #[diagnostic(
        code(xnat::major::in_the_way),
        help(
            "an extension: install its package for the new version on all members. Indexes that are sorted in another way: drop them before and build them again after, or move the database by dump and restore"
        )
    )]
    InTheWay { list: Vec<String> },
    #[error("the upgrade failed, and the old version runs again: {}", one_line(why.as_ref()))]
    #[diagnostic(
        code(xnat::major::back),
        help("nothing is lost. Mend the cause and run the same command again; `--rehearse` tries it on a copy first")
    )]
    Back { why: Box<MajorError> },
    #[error(
        "the upgrade failed ({}), and the old version could not be started again: {}",
        one_line(why.as_ref()),
        one_line(back.as_ref())
    )]
    #[diagnostic(
        code(xnat::major::stuck),
        help(
            "the data is whole, and nothing was written since PostgreSQL stopped. Mend the second cause, then run the same command again: it takes the old version up first"
        )
    )]
    Stuck { why: Box<MajorError>, back: Box<MajorError> },
    #[error("the new version is in its place, and the rest failed: {}", one_line(.0.as_ref()))]
    #[diagnostic(
        code(xnat::major::beyond),
        help(
            "there is no way back to the old version. Mend the cause and run the same command again: it goes on from here"
        )
    )]
    Beyond(Box<MajorError>),
    #[error("PostgreSQL on {host} has not been shut down as it should: its control file says {state:?}")]
    #[diagnostic(code(xnat::major::not_shut_down))]
    NotShutDown { host: String, state: String },
    #[error("interrupted")]
    #[diagnostic(code(xnat::interrupted))]
    Interrupted,
    #[error("the inventory was not changed: {reason}")]
    #[diagnostic(code(xnat::major::inventory))]
    Inventory { reason: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Step(#[from] StepError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Operation(Box<OperationError>),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Apply(Box<ApplyError>),
}

impl From<OperationError> for MajorError {
    fn from(error: OperationError) -> Self {
        Self::Operation(Box::new(error))
    }
}

impl From<ApplyError> for MajorError {
    fn from(error: ApplyError) -> Self {
        Self::Apply(Box::new(error))
    }
}

impl From<WaitError> for MajorError {
    fn from(error: WaitError) -> Self {
        OperationError::from(error).into()
    }
}

impl From<HostError> for MajorError {
    fn from(error: HostError) -> Self {
        StepError::from(error).into()
    }
}

impl Fails for MajorError {
    fn exit(&self) -> Exit {
        match self {
            Self::InTheWay { .. } | Self::Inventory { .. } => Exit::Failed,
            Self::Back { why } => why.exit(),
            Self::Stuck { .. } | Self::Beyond(_) | Self::NotShutDown { .. } => Exit::Unhealthy,
            Self::Interrupted => Exit::Interrupted,
            Self::Step(StepError::Failed { .. }) => Exit::Failed,
            Self::Step(StepError::Host(error)) => error.exit(),
            Self::Operation(error) => error.exit(),
            Self::Apply(error) => error.exit(),
        }
    }
}
