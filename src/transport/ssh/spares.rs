//! Channels that are opened before there is anything for them to do. A script costs three round trips, since OpenSSH takes
//! no input before the command runs: for the session, for the shell, for the script. One whose shell was begun while
//! the host was busy with something else costs one. A stream that stands saves the one for its opening.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use russh::Channel;
use russh::client::Msg;
use tokio::time::timeout;

use super::exec::PLAIN;
use super::session::Session;

/// Hosts end shells that nobody uses, and services connections: what has waited for longer is not relied on.
const FRESH_SHELL: Duration = Duration::from_secs(15);
const FRESH_STREAM: Duration = Duration::from_secs(5);
/// Whoever asks for one goes on without it then.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Spares(Mutex<Vec<Spare>>);

struct Spare {
    purpose: Purpose,
    channel: Channel<Msg>,
    begun: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A shell that waits for one, as whoever we are logged in as.
    Script,
    /// To an address and port, as the host sees it.
    Stream(String, u16),
}

impl Spare {
    fn is_fresh(&self) -> bool {
        let fresh = match self.purpose {
            Purpose::Script => FRESH_SHELL,
            Purpose::Stream(..) => FRESH_STREAM,
        };
        self.begun.elapsed() < fresh
    }
}

impl Spares {
    /// One more. A host that has no room for it has none to spare: whoever needs it opens it then, and hears why not.
    pub(super) async fn begin(session: &Session, purpose: Purpose) {
        if let Ok(Ok(channel)) = timeout(PATIENCE, open(session, &purpose)).await {
            session.spares.lock().push(Spare { purpose, channel, begun: Instant::now() });
        }
    }

    pub(super) fn take(&self, purpose: &Purpose) -> Option<Channel<Msg>> {
        let mut spares = self.lock();
        let (fresh, stale) = spares.drain(..).partition(Spare::is_fresh);
        *spares = fresh;
        for Spare { channel, .. } in stale {
            tokio::spawn(async move { channel.close().await });
        }
        let found = spares.iter().position(|spare| spare.purpose == *purpose)?;
        Some(spares.swap_remove(found).channel)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Spare>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open(session: &Session, purpose: &Purpose) -> Result<Channel<Msg>, russh::Error> {
    match purpose {
        Purpose::Script => session.command(PLAIN).await,
        Purpose::Stream(host, port) => session.stream(host, *port).await,
    }
}
