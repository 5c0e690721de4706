//! Why a migration ended, and what both sides are then.

use crate::cluster::postgres::SqlError;
use crate::engine::dump::DumpError;
use crate::engine::wait::WaitError;
use crate::engine::{HostError, StepError};
use crate::error::{Exit, Fails};
use crate::transport::TransportError;
use crate::workflow::{ApplyError, OperationError};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum MigrateError {
    #[error("cannot {what}: {reason}")]
    #[diagnostic(code(xnat::migrate::failed), help("{help}"))]
    Failed { what: String, reason: String, help: &'static str },
    #[error("the source still has {sessions} sessions in {database} a minute after they were ended: {who}")]
    #[diagnostic(
        code(xnat::migrate::not_quiet),
        help("stop whatever connects again and again, the application first; the source can be written to again")
    )]
    NotQuiet { database: String, sessions: usize, who: String },
    #[error("interrupted; nothing is in the place of the application's database yet")]
    #[diagnostic(code(xnat::interrupted))]
    Interrupted,
    #[error("the copy is the application's database now, and was the same as the source; but then: {reason}")]
    #[diagnostic(
        code(xnat::migrate::in_place),
        help(
            "see `xnat-provision status`; when it is well, `xnat-provision migrate resume` does what is left. The source stays read-only, and XNAT stopped"
        )
    )]
    InPlace { reason: String },
    #[error("the copy has its name there, and was the same as the cluster's; but then: {reason}")]
    #[diagnostic(
        code(xnat::migrate::there),
        help("see whether all is well there; the same command would make another copy")
    )]
    There { reason: String },
    #[error(
        "the cluster can be used, with all that the source had when it was closed; but it was not compared with it: {reason}"
    )]
    #[diagnostic(
        code(xnat::migrate::not_compared),
        help(
            "`xnat-provision migrate resume` ends the move without it; `migrate verify` compares, as far as nobody has written since. The source stays read-only"
        )
    )]
    NotCompared { reason: String },
    #[error(
        "the copies were about to take the place of the cluster's data, which did not come about ({why}); and the cluster does not run again: {back}"
    )]
    #[diagnostic(
        code(xnat::migrate::halfway),
        help(
            "nothing is lost: the source is as it was, read-only, and the members have their former data or can have it again. Mend the second cause; then `xnat-provision migrate resume` goes on, `migrate abort` takes the former data up again"
        )
    )]
    Halfway { why: String, back: String },
    #[error("the copies take the place of the cluster's data; but then: {reason}")]
    #[diagnostic(
        code(xnat::migrate::beyond),
        help("mend the cause; `xnat-provision migrate resume` goes on from here. The source stays read-only")
    )]
    Beyond { reason: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sql(#[from] SqlError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Dump(#[from] DumpError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Wait(#[from] WaitError),
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

impl From<OperationError> for MigrateError {
    fn from(error: OperationError) -> Self {
        Self::Operation(Box::new(error))
    }
}

impl From<ApplyError> for MigrateError {
    fn from(error: ApplyError) -> Self {
        Self::Apply(Box::new(error))
    }
}

impl From<HostError> for MigrateError {
    fn from(error: HostError) -> Self {
        Self::Dump(error.into())
    }
}

impl MigrateError {
    pub(super) fn failed(what: impl Into<String>, reason: impl Into<String>) -> Self {
        let help = "run the same command again: it begins anew, and removes what this one has left";
        Self::Failed { what: what.into(), reason: reason.into(), help }
    }

    /// While copies take the place of the cluster's data.
    pub(super) fn between(what: &'static str, reason: impl Into<String>) -> Self {
        let help =
            "mend the cause; `xnat-provision migrate resume` goes on, `migrate abort` takes the former data up again";
        Self::Failed { what: what.to_owned(), reason: reason.into(), help }
    }

    /// The same when all is as it was before it.
    pub(super) fn taken_back(self) -> Self {
        match self {
            Self::Failed { what, reason, .. } => Self::failed(what, reason),
            other => other,
        }
    }
}

impl Fails for MigrateError {
    fn exit(&self) -> Exit {
        match self {
            Self::Failed { .. } => Exit::Failed,
            Self::NotQuiet { .. } | Self::InPlace { .. } | Self::There { .. } => Exit::Unhealthy,
            Self::NotCompared { .. } | Self::Halfway { .. } | Self::Beyond { .. } => Exit::Unhealthy,
            Self::Interrupted => Exit::Interrupted,
            Self::Sql(error) => error.exit(),
            Self::Dump(error) => error.exit(),
            Self::Transport(error) => error.exit(),
            Self::Wait(error) => error.exit(),
            Self::Step(StepError::Failed { .. }) => Exit::Failed,
            Self::Step(StepError::Host(error)) => error.exit(),
            Self::Operation(error) => error.exit(),
            Self::Apply(error) => error.exit(),
        }
    }
}
