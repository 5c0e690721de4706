//! Restarts of PostgreSQL's members, one at a time: each only when everybody else is well, the leader last and only after
//! it has handed over. What was restarted before an interruption has read its files and is not due any more.

use std::time::Duration;

use super::{Apply, ApplyError, StageRun};
use crate::cluster::safety::restart::{self, Obstacle};
use crate::cluster::{self, ClusterView};
use crate::engine::Permit;
use crate::inventory::Component;
use crate::names::HostName;
use crate::resource::ResourceId;
use crate::workflow::{Operation, rolling};

/// How long a member may take to be well again. A replica catches up with what was written meanwhile; a PostgreSQL that
/// stops writes a checkpoint first.
pub(super) const RECOVERY: Duration = Duration::from_secs(600);

impl<'a> StageRun<'a> {
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
                self.hand_over(&host).await?;
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
        self.install_newer(&host).await?;
        let operation = self.operation();
        operation.without_readers(&host, self.converge_interrupted(host.clone(), Permit::seen_to_be_safe(unit))).await
    }

    pub(super) fn operation(&self) -> Operation<'a> {
        let Apply { inventory, secrets, approved, reporter, cancel, survey, .. } = *self.apply;
        Operation { gather: survey.gather(inventory, secrets), fleet: &survey.fleet, approved, reporter, cancel }
    }

    pub(super) async fn hand_over(&mut self, leader: &HostName) -> Result<(), ApplyError> {
        let refused = |reason| ApplyError::NotSpared { unit: "patroni.service", host: leader.to_string(), reason };
        self.operation().wait_for_long_transactions(leader).await?;
        let view = self.wait_until_whole().await?;
        let to = restart::successor(&view, self.apply.inventory).map_err(refused)?;
        if self.apply.cancel.is_cancelled() {
            return Err(ApplyError::Interrupted { done: Vec::new(), left: Vec::new() });
        }
        let summary = self.operation().hand_over(leader, &to).await?;
        self.tell("leader", &summary).await;
        self.evidence.push(summary);
        Ok(())
    }
}

pub(super) fn first(obstacles: Vec<Obstacle>) -> Result<(), String> {
    obstacles.into_iter().next().map_or(Ok(()), |obstacle| Err(obstacle.text))
}
