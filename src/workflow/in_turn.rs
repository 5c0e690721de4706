//! Restarting PostgreSQL on members that are asked for, by their Patroni: one at a time, each when all others stream, and
//! the leader last, as a replica of one that was restarted before.

use std::time::{Duration, Instant};

use super::handover::told;
use super::operation::{Operation, OperationError};
use crate::cluster::http::Http;
use crate::cluster::safety::restart;
use crate::cluster::{self, ClusterView, patroni, pause};
use crate::names::HostName;

/// How long a member may take to be well again: it writes a checkpoint before it stops, and catches up afterwards.
const RECOVERY: Duration = Duration::from_secs(600);

impl Operation<'_> {
    pub async fn restart_in_turn(&self, hosts: &[HostName]) -> Result<Vec<String>, OperationError> {
        let first = cluster::gather(&self.gather).await;
        let mut seen = Vec::new();
        let mut handed_over = false;
        loop {
            let view = self.wait_until_whole().await?;
            // a leader that hands over is restarted by that
            let same = |host: &&HostName| started(&view, host) == started(&first, host);
            let due: Vec<HostName> = hosts.iter().filter(same).cloned().collect();
            let Some(host) = restart::postgres_turn(&view, &due) else { return Ok(seen) };
            if leads(&view, &host) && view.members.len() > 1 {
                let refused = |reason| OperationError::NotSpared { host: host.clone(), reason };
                if handed_over {
                    return Err(refused("it has become the leader again".to_owned()));
                }
                let to = restart::successor(&view, self.gather.inventory).map_err(refused)?;
                let summary = self.hand_over(&host, &to).await?;
                self.wait_until_started_since(&host, started(&view, &host).as_deref()).await?;
                seen.push(self.told(format!("{summary}; {host} was restarted as a replica")).await);
                handed_over = true;
                continue;
            }
            seen.push(self.told(self.restart_member(&view, &host).await?).await);
        }
    }

    async fn wait_until_whole(&self) -> Result<ClusterView, OperationError> {
        let whole = async |gather: &cluster::Gather<'_>| {
            let view = cluster::gather(gather).await;
            let obstacle = restart::postgres_obstacles(&view, gather.inventory).into_iter().next();
            obstacle.map_or(Ok(view), |obstacle| Err(obstacle.text))
        };
        Ok(self.wait("all PostgreSQL members to stream".to_owned(), RECOVERY, whole).await?)
    }

    async fn restart_member(&self, view: &ClusterView, host: &HostName) -> Result<String, OperationError> {
        let http = self.patroni(host)?;
        let before = started(view, host);
        let restarting = async {
            self.order_restart(&http).await?;
            self.wait_until_started_since(host, before.as_deref()).await
        };
        if !leads(view, host) {
            self.without_readers(host, restarting).await?;
            return Ok(format!("restarted PostgreSQL on {host}"));
        }
        let begun = Instant::now();
        let (restarted, pause) = pause::during(&self.gather, restarting).await;
        restarted?;
        Ok(format!("restarted PostgreSQL on the leader {host}; {}", told(pause, begun.elapsed())))
    }

    async fn order_restart(&self, http: &Http<'_>) -> Result<(), OperationError> {
        let what = format!("Patroni on {} to take the order", http.place.host);
        let order = async |_: &cluster::Gather<'_>| patroni::restart(http, self.approved).await;
        Ok(self.wait(what, RECOVERY, order).await??)
    }

    /// It runs, and is not the process that ran before.
    pub(super) async fn wait_until_started_since(
        &self,
        host: &HostName,
        before: Option<&str>,
    ) -> Result<(), OperationError> {
        let back = async |gather: &cluster::Gather<'_>| {
            let view = cluster::gather(gather).await;
            match started(&view, host) {
                None => Err(format!("PostgreSQL on {host} does not answer yet")),
                Some(now) if Some(now.as_str()) == before => {
                    Err(format!("PostgreSQL on {host} has not been restarted yet"))
                }
                Some(_) => Ok(()),
            }
        };
        Ok(self.wait(format!("PostgreSQL on {host} to be back"), RECOVERY, back).await?)
    }
}

fn leads(view: &ClusterView, host: &HostName) -> bool {
    view.leader().is_some_and(|leader| &leader.host == host)
}

/// When its PostgreSQL was started, as it says itself.
pub(super) fn started(view: &ClusterView, host: &HostName) -> Option<String> {
    view.members.iter().find(|member| &member.host == host)?.server.known()?.started.clone()
}
