//! HAProxys that are restarted come one after the other: clients of one that is away go to another.

use std::time::Duration;

use super::{ApplyError, StageRun};
use crate::cluster;
use crate::names::HostName;
use crate::workflow::handover::finds_leader;
use crate::workflow::{drain, rolling};

/// How long a HAProxy that was started may take to find the leader.
const FINDING: Duration = Duration::from_secs(60);

impl StageRun<'_> {
    pub(super) async fn converge_balancers(&mut self) -> Result<(), ApplyError> {
        let (in_turn, at_once): (Vec<HostName>, Vec<HostName>) =
            self.hosts().into_iter().partition(|host| rolling::goes_down(self.planned, host));
        self.converge_at_once(at_once).await?;
        for host in in_turn {
            self.converge_at_once(vec![host.clone()]).await?;
            let what = format!("HAProxy on {host} to find the leader");
            self.wait(&what, FINDING, async |gather| finds_leader(&cluster::gather(gather).await, &host)).await?;
        }
        self.send_clients_again().await
    }

    /// As planned: not those of hosts that were left out.
    async fn send_clients_again(&mut self) -> Result<(), ApplyError> {
        if self.planned.cluster.is_empty() {
            return Ok(());
        }
        let held = drain::drained(&cluster::gather(&self.gather()).await);
        for one in held.iter().filter(|one| self.apply.scope.includes(&one.balancer)) {
            self.operation().send_clients_to(one).await?;
            self.tell("haproxy", &one.again()).await;
        }
        self.changed += self.planned.cluster.len();
        Ok(())
    }
}
