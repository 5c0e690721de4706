//! A host as the engine sees it: it can be observed, and, with an approval, changed. There is no third way to touch one.

use async_trait::async_trait;

use crate::approval::{Approved, Overtaken};
use crate::error::{Exit, Fails};
use crate::names::HostName;
use crate::resource::{Action, Observations, Probe};
use crate::transport::TransportError;

#[async_trait]
pub trait Host: Send + Sync {
    fn name(&self) -> &HostName;
    /// Answer every probe, in one round trip.
    async fn observe(&self, probes: &[Probe]) -> Result<Observations, HostError>;
    /// Do the actions in order, in one round trip; stops at the first that fails.
    async fn perform(&self, approved: &Approved, actions: &[Action]) -> Result<Performed, HostError>;
    /// The same host over a connection made now: the proof that one can be made.
    async fn anew(&self) -> Result<Box<dyn Host + '_>, HostError>;
}

#[async_trait]
impl<T: Host + ?Sized> Host for &T {
    fn name(&self) -> &HostName {
        (**self).name()
    }
    async fn observe(&self, probes: &[Probe]) -> Result<Observations, HostError> {
        (**self).observe(probes).await
    }
    async fn perform(&self, approved: &Approved, actions: &[Action]) -> Result<Performed, HostError> {
        (**self).perform(approved, actions).await
    }
    async fn anew(&self) -> Result<Box<dyn Host + '_>, HostError> {
        (**self).anew().await
    }
}

/// How far a list of actions got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Performed {
    /// How many were completed, from the front.
    pub done: usize,
    /// Why the next one was not.
    pub failure: Option<ActionFailure>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionFailure {
    pub status: u32,
    /// What the host printed, last lines.
    pub output: String,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HostError {
    #[error("{host}: cannot {what}")]
    #[diagnostic(code(xnat::host::transport))]
    Transport {
        host: HostName,
        what: String,
        #[source]
        #[diagnostic_source]
        source: TransportError,
    },
    #[error("{host}: the script that reads the host's state ended with status {status}: {stderr}")]
    #[diagnostic(
        code(xnat::host::observe),
        help("log in to {host} and see whether `sh`, `stat`, `sha256sum`, `dpkg-query` and `systemctl` work there")
    )]
    Observe { host: HostName, status: u32, stderr: String },
    #[error("{host}: answered something that is not an answer: {line:?}")]
    #[diagnostic(
        code(xnat::host::answer),
        help("does a login script on {host} print something? It must be silent without a terminal")
    )]
    Answer { host: HostName, line: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Overtaken(#[from] Overtaken),
    /// Never seen by anybody, unless a command forgets to take the locks.
    #[error("{host}: is not to be changed without its lock, and this run did not take it")]
    #[diagnostic(code(xnat::lock::missing), help("this is a mistake in xnat-provision; nothing was changed on {host}"))]
    NotHeld { host: HostName },
}

impl HostError {
    pub fn host(&self) -> &HostName {
        match self {
            Self::Transport { host, .. } | Self::Observe { host, .. } | Self::Answer { host, .. } => host,
            Self::NotHeld { host } => host,
            Self::Overtaken(overtaken) => &overtaken.host,
        }
    }
}

impl Fails for HostError {
    fn exit(&self) -> Exit {
        match self {
            Self::Transport { source, .. } => source.exit(),
            Self::Overtaken(error) => error.exit(),
            Self::Observe { .. } | Self::Answer { .. } | Self::NotHeld { .. } => Exit::Failed,
        }
    }
}
