//! Another leader: nobody can write from the old one's last commit to the new one's first, and for how long that was is
//! measured.

use std::time::{Duration, Instant};

use super::operation::{Operation, OperationError};
use crate::cluster::pause::{self, Pause};
use crate::cluster::postgres::activity;
use crate::cluster::{self, ClusterView, Gather, haproxy, patroni};
use crate::names::HostName;

/// How long a hand-over may take.
const LIMIT: Duration = Duration::from_secs(120);
/// How long the end of a long transaction is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the former leader may take to come back as a replica. It restarts, and rewinds first where it has to.
const FOLLOWING: Duration = Duration::from_secs(120);

impl Operation<'_> {
    /// From the leader to that replica, which somebody has found fit; what was seen of it.
    pub async fn hand_over(&self, from: &HostName, to: &HostName) -> Result<String, OperationError> {
        let http = self.patroni(from)?;
        activity::checkpoint(&self.gather, self.approved, self.host(from)?).await?;
        let begun = Instant::now();
        let moving = async {
            patroni::switchover(&http, self.approved, to).await?;
            self.wait_until_it_leads(to).await
        };
        let (moved, pause) = pause::during(&self.gather, moving).await;
        moved?;
        Ok(format!("handed over from {from} to {to}; {}", told(pause, begun.elapsed())))
    }

    /// To that replica, whoever led before and whatever is lost.
    pub async fn fail_over(&self, to: &HostName) -> Result<String, OperationError> {
        let http = self.patroni(to)?;
        let begun = Instant::now();
        patroni::failover(&http, self.approved, to).await?;
        self.wait_until_it_leads(to).await?;
        Ok(format!("{to} leads, {:.1} s after it was asked to", begun.elapsed().as_secs_f64()))
    }

    /// A hand-over cuts whatever is under way. Somebody's hours of work are waited for, and not cut.
    pub async fn wait_for_long_transactions(&self, leader: &HostName) -> Result<(), OperationError> {
        let ended = async |gather: &Gather<'_>| {
            let long = activity::long(gather, leader).await?;
            long.first().map_or(Ok(()), |transaction| Err(format!("{transaction} on {leader}")))
        };
        Ok(self.wait("long transactions to end".to_owned(), PATIENCE, ended).await?)
    }

    async fn wait_until_it_leads(&self, to: &HostName) -> Result<(), OperationError> {
        Ok(self.wait(format!("{to} to lead"), LIMIT, async |gather| leads(gather, to).await).await?)
    }

    pub async fn wait_until_it_follows(&self, from: &HostName) -> Result<(), OperationError> {
        let follows = async |gather: &Gather<'_>| {
            let view = cluster::gather(gather).await;
            let member = view.members.iter().find(|member| &member.host == from);
            let streams = member.is_some_and(|member| member.follows() && view.streams(member));
            streams.then_some(()).ok_or_else(|| format!("{from} does not stream yet"))
        };
        Ok(self.wait(format!("{from} to follow"), FOLLOWING, follows).await?)
    }
}

pub fn told(pause: Option<Pause>, seen: Duration) -> String {
    match pause {
        Some(Pause { through, longest }) => {
            format!("nobody could write for {:.1} s (measured by writing through {through})", longest.as_secs_f64())
        }
        None => format!(
            "it took {:.1} s as seen by Patroni (there was no HAProxy to measure writes with)",
            seen.as_secs_f64()
        ),
    }
}

/// It leads and runs, and whatever HAProxy answers sends writes to it and to nobody else.
async fn leads(gather: &Gather<'_>, host: &HostName) -> Result<(), String> {
    patroni::led(gather, host).await?;
    for seen in cluster::gather(gather).await.haproxy {
        let Some(servers) = seen.answer.known() else { continue };
        sends_writes_to(&seen.host, servers, host)?;
    }
    Ok(())
}

/// This HAProxy answers, and sends writes to whoever leads and to nobody else.
pub fn finds_leader(view: &ClusterView, balancer: &HostName) -> Result<(), String> {
    let leader = view.leader().ok_or("there is no leader")?;
    let seen = view.haproxy.iter().find(|seen| &seen.host == balancer).map(|seen| &seen.answer);
    match seen.and_then(|answer| answer.known()) {
        Some(servers) => sends_writes_to(balancer, servers, &leader.host),
        None => Err(seen.and_then(|answer| answer.reason()).unwrap_or("it was not asked").to_owned()),
    }
}

/// … to this leader.
fn sends_writes_to(balancer: &HostName, servers: &[haproxy::Server], leader: &HostName) -> Result<(), String> {
    let up: Vec<&str> =
        servers.iter().filter(|s| s.section == haproxy::PRIMARY && s.up).map(|s| s.name.as_str()).collect();
    if up == [leader.as_str()] {
        return Ok(());
    }
    let up = if up.is_empty() { "nobody".to_owned() } else { up.join(", ") };
    Err(format!("HAProxy on {balancer} sends writes to {up}"))
}
