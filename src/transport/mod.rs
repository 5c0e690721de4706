//! One connection per host, and three things to do with it: run a script, talk to a script that goes on running, open a
//! stream to a port as the host sees it. File bodies travel inside scripts (base64 here-documents, see [`crate::quote`]): no SFTP.
//! This module knows nothing of what the scripts mean.

mod error;
mod known_hosts;
pub mod resolve;
pub mod scripted;
pub mod ssh;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

pub use error::{Endpoint, TransportError};

/// A connection to one host. A script that exits non-zero is an [`Output`], not an error.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Run a script as root (`Script::as_root`) or as the login user. The whole text goes over standard input to
    /// `sh -s`, never into argv, and is wrapped in a function so that a connection cut in mid-script runs nothing.
    async fn run(&self, script: Script) -> Result<Output, TransportError>;
    /// Run a script whose standard input and output are the stream, which begins with the first byte the script prints.
    /// The script ends when the stream is dropped (its input ends), or the connection is lost; what it prints to
    /// standard error is lost. Its deadline is for the beginning only.
    async fn pipe(&self, script: Script) -> Result<Box<dyn Stream>, TransportError>;
    /// What can be begun of that is, while the host is asked something else. It is only quicker then.
    async fn expect(&self, _soon: Soon) {}
    /// A byte stream to `host:port` as seen from the host (direct-tcpip). Whoever opens one must read from it or drop
    /// it: a stream whose bytes pile up unread holds up the whole connection.
    async fn open(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, TransportError>;
    /// Have the host's SSH server listen on a socket, which only whoever we are logged in as (and root) can use; each
    /// connection to it is a stream. It ends, and the file goes, with `close`, since OpenSSH leaves it there otherwise.
    async fn listen(&self, socket: &str) -> Result<Streams, TransportError>;
    /// How many times this connection had to wait for an answer. Requests sent while another is under way share its
    /// round trip: what counts is how often the number under way went from none to one. A script is under way until
    /// its output is in; a stream from its opening until the first bytes come back (or it is dropped), so a wave of
    /// parallel streams counts once, and one kept open for long does not hide what comes after it.
    fn round_trips(&self) -> u64;
    /// How long connecting to one of the host's services, and how long one question to it may take.
    fn patience(&self) -> Duration {
        PATIENCE
    }
    /// A new connection to the same host, made the same way.
    async fn again(&self) -> Result<Arc<dyn Transport>, TransportError>;
    /// Say goodbye; errors no longer matter then.
    async fn close(&self);
}

/// With services of a host that is as quick as others.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What is going to be done within seconds.
#[derive(Debug, Default)]
pub struct Soon {
    /// So many scripts.
    pub scripts: usize,
    /// Streams to these addresses and ports.
    pub streams: Vec<(String, u16)>,
}

/// Streams that others open.
pub type Streams = tokio::sync::mpsc::Receiver<Box<dyn Stream>>;

/// A two-way byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

impl std::fmt::Debug for dyn Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

/// A POSIX shell script to run on a host.
#[derive(Clone)]
pub struct Script {
    /// What this is, for errors and events: "install packages". Holds no secrets.
    pub title: String,
    /// The text; may hold secrets, so it has no Debug and is never logged.
    pub text: String,
    pub privilege: Privilege,
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// As the login user is.
    Login,
    /// As root: directly, or through sudo.
    Root,
}

impl Script {
    /// A script run as root with the default deadline of a minute.
    pub fn as_root(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { title: title.into(), text: text.into(), privilege: Privilege::Root, timeout: Duration::from_secs(60) }
    }
    /// A script run as the user we log in as, with the default deadline of a minute.
    pub fn as_login(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { privilege: Privilege::Login, ..Self::as_root(title, text) }
    }
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// What a script left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Exit status; 128 + n when a signal ended it.
    pub status: u32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn ok(&self) -> bool {
        self.status == 0
    }
}
