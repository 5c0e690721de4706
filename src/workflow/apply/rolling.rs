//! Restarts of PostgreSQL's members, one at a time: each only when everybody else is well, the leader last and only after
//! it has handed over. What was restarted before an interruption has read its files and is not due any more.

use std::time::{Duration, Instant};

use super::{ApplyError, StageRun};
use crate::cluster::pause::{self, Pause};
use crate::cluster::safety::restart::{self, Obstacle};
use crate::cluster::{self, ClusterView, Gather, haproxy, patroni};
use crate::engine::Permit;
use crate::inventory::Component;
use crate::names::HostName;
use crate::resource::ResourceId;
use crate::workflow::rolling;

/// How long a member may take to be well again. A replica catches up with what was written meanwhile; a PostgreSQL that
/// stops writes a checkpoint first.
pub(super) const RECOVERY: Duration = Duration::from_secs(600);
/// How long a hand-over may take.
const HANDOVER: Duration = Duration::from_secs(120);

impl StageRun<'_> {
    pub(super) async fn roll_postgres_members(&mut self) -> Result<(), ApplyError> {
        let mut due = rolling::due(self.planned);
        let mut handed_over = false;
        while !due.is_empty() {
            let view = self.wait_until_whole().await?;
            let Some(host) = restart::postgres_turn(&view, &due) else { break };
            let leads = view.leader().is_some_and(|leader| leader.host == host);
            if leads && self.apply.inventory.with(Component::Postgres).count() > 1 {
                if handed_over {
                    let reason = "it has become the leader again".to_owned();
                    return Err(ApplyError::NotSpared { unit: "patroni.service", host: host.to_string(), reason });
                }
                self.hand_over(&view, &host).await?;
                handed_over = true;
                continue;
            }
            due.retain(|other| *other != host);
            self.restart(host).await?;
        }
        Ok(())
    }

    pub(super) async fn wait_until_whole(&self) -> Result<ClusterView, ApplyError> {
        self.wait("all PostgreSQL members to stream", RECOVERY, async |gather| {
            let view = cluster::gather(gather).await;
            first(restart::postgres_obstacles(&view, gather.inventory)).map(|()| view)
        })
        .await
    }

    /// Everything of the stage on that host, the restart included.
    pub(super) async fn restart(&mut self, host: HostName) -> Result<(), ApplyError> {
        let unit = self.planned.restarts().find(|(due, _)| **due == host).map(|(_, change)| change.resource.clone());
        let Some(unit): Option<ResourceId> = unit else { return Ok(()) };
        self.converge_interrupted(host, Permit::seen_to_be_safe(unit)).await
    }

    /// A planned switchover: nobody can write from the old leader's last commit to the new one's first.
    pub(super) async fn hand_over(&mut self, view: &ClusterView, leader: &HostName) -> Result<(), ApplyError> {
        let gather = self.gather();
        let refused = |reason| ApplyError::NotSpared { unit: "patroni.service", host: leader.to_string(), reason };
        let to = restart::successor(view, self.apply.inventory).map_err(refused)?;
        let host = self.apply.inventory.host(leader).ok_or_else(|| refused("it is not in the inventory".to_owned()))?;
        let http = patroni::client(&gather, host).map_err(refused)?;
        if self.apply.cancel.is_cancelled() {
            return Err(ApplyError::Interrupted { done: Vec::new(), left: Vec::new() });
        }
        let begun = Instant::now();
        let moving = async {
            patroni::switchover(&http, self.apply.approved, &to).await?;
            self.wait(&format!("{to} to lead"), HANDOVER, async |gather| leads(gather, &to).await).await
        };
        let (moved, pause) = pause::during(&gather, moving).await;
        moved?;
        let summary = format!("handed over from {leader} to {to}; {}", told(pause, begun.elapsed()));
        self.tell("leader", &summary).await;
        self.evidence.push(summary);
        Ok(())
    }
}

pub(super) fn told(pause: Option<Pause>, seen: Duration) -> String {
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

pub(super) fn first(obstacles: Vec<Obstacle>) -> Result<(), String> {
    obstacles.into_iter().next().map_or(Ok(()), |obstacle| Err(obstacle.text))
}

/// It leads and runs, and whatever HAProxy answers sends writes to it and to nobody else.
async fn leads(gather: &Gather<'_>, host: &HostName) -> Result<(), String> {
    patroni::led(gather, host).await?;
    for seen in cluster::gather(gather).await.haproxy {
        let Some(servers) = seen.answer.known() else { continue };
        let up: Vec<&str> =
            servers.iter().filter(|s| s.section == haproxy::PRIMARY && s.up).map(|s| s.name.as_str()).collect();
        if up != [host.as_str()] {
            return Err(format!(
                "HAProxy on {} sends writes to {}",
                seen.host,
                if up.is_empty() { "nobody".to_owned() } else { up.join(", ") }
            ));
        }
    }
    Ok(())
}
