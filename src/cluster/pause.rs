//! For how long could nobody write? Measured as a client would notice it: a session through HAProxy that takes a
//! transaction id again and again, which no replica gives away (and which leaves nothing behind), and a new session whenever the old one is lost.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::postgres::{self, Login, server};
use super::view::Gather;
use crate::inventory::{Component, Host};
use crate::names::HostName;
use crate::transport::Transport;

/// Between two writes.
const INTERVAL: Duration = Duration::from_millis(50);
/// A write that takes longer is no write.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long after the work a write has to come.
const AFTERWARDS: Duration = Duration::from_secs(30);

/// What was measured, and through which HAProxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    pub through: HostName,
    pub longest: Duration,
}

/// Do some work, and see for how long nobody could write meanwhile. None when there is no HAProxy to write through (or no
/// password), or nobody could write before, or not soon after.
pub async fn during<T>(gather: &Gather<'_>, work: impl Future<Output = T>) -> (T, Option<Pause>) {
    let Some((transport, login)) = gather.inventory.with(Component::Haproxy).find_map(|host| way_in(gather, host))
    else {
        return (work.await, None);
    };
    let through = login.host.clone();
    let mut probe = Probe { login, transport, session: None, last: None, longest: Duration::ZERO };
    probe.write().await;
    tokio::pin!(work);
    let result = loop {
        tokio::select! {
            biased;
            result = &mut work => break result,
            () = probe.write_and_rest() => {}
        }
    };
    let (begun, before) = (Instant::now(), probe.last);
    while probe.last == before && begun.elapsed() < AFTERWARDS {
        probe.write_and_rest().await;
    }
    let measured = before.is_some() && probe.last != before;
    (result, measured.then_some(Pause { through, longest: probe.longest }))
}

/// None when there is no way through this HAProxy, or no password.
fn way_in<'a>(gather: &Gather<'a>, balancer: &'a Host) -> Option<(&'a dyn Transport, Login<'a>)> {
    let login = server::application(gather, balancer, gather.inventory.haproxy.primary_port).ok()?;
    Some((gather.transport(&balancer.name).ok()?, login))
}

struct Probe<'a> {
    login: Login<'a>,
    transport: &'a dyn Transport,
    session: Option<Client>,
    /// When the last write was answered.
    last: Option<Instant>,
    longest: Duration,
}

impl Probe<'_> {
    async fn write_and_rest(&mut self) {
        self.write().await;
        tokio::time::sleep(INTERVAL).await;
    }

    /// One try. Why it fails does not matter here: that nobody could write is what is measured.
    async fn write(&mut self) {
        if self.session.is_none() {
            self.session = self.connect().await;
        }
        let Some(session) = &self.session else { return };
        let written = tokio::time::timeout(PATIENCE, session.batch_execute("SELECT txid_current()")).await;
        if !matches!(written, Ok(Ok(()))) {
            self.session = None;
            return;
        }
        let now = Instant::now();
        self.longest = self.longest.max(self.last.map(|last| now - last).unwrap_or_default());
        self.last = Some(now);
    }

    async fn connect(&self) -> Option<Client> {
        tokio::time::timeout(PATIENCE, postgres::connect(self.transport, &self.login)).await.ok()?.ok()
    }
}
