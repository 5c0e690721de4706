//! Shells that are begun before there is anything for them to do. A script costs three round trips, since OpenSSH takes
//! no input before the command runs: for the session, for the shell, for the script. One whose shell was begun while
//! the host was busy with something else costs one.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use russh::Channel;
use russh::client::Msg;

use super::exec::PLAIN;
use super::session::Session;

/// Some hosts end shells that nobody uses: one that has waited for longer is not relied on.
const FRESH: Duration = Duration::from_secs(15);

#[derive(Default)]
pub(super) struct Spares(Mutex<Vec<Spare>>);

struct Spare {
    shell: Channel<Msg>,
    begun: Instant,
}

impl Spares {
    /// Begin so many. A host that allows no more sessions has none to spare; whoever needs one waits for it then.
    pub(super) async fn begin(session: &Session, count: usize) {
        let one = || async {
            let shell = session.handle.channel_open_session().await?;
            shell.exec(true, PLAIN).await?;
            session.spares.lock().push(Spare { shell, begun: Instant::now() });
            Ok::<_, russh::Error>(())
        };
        join_all((0..count).map(|_| one())).await;
    }

    pub(super) fn take(&self) -> Option<Channel<Msg>> {
        let mut spares = self.lock();
        let (fresh, stale) = spares.drain(..).partition(|spare| spare.begun.elapsed() < FRESH);
        *spares = fresh;
        for Spare { shell, .. } in stale {
            tokio::spawn(async move { shell.close().await });
        }
        spares.pop().map(|spare| spare.shell)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Spare>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
