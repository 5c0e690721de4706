//! HAProxys that are restarted come one after the other: clients of one that is away go to another.

use std::time::Duration;

use super::{ApplyError, StageRun};
use crate::cluster::{self, Gather};
use crate::names::HostName;
use crate::workflow::drain::{self, Drained};
use crate::workflow::handover::sends_writes_to;
use crate::workflow::rolling;

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
            self.wait(&what, FINDING, async |gather| finds_leader(gather, &host).await).await?;
        }
        self.send_clients_again().await
    }

    async fn send_clients_again(&mut self) -> Result<(), ApplyError> {
        if self.planned.cluster.is_empty() {
            return Ok(());
        }
        for Drained { balancer, section, server } in drain::drained(&cluster::gather(&self.gather()).await) {
            let command = format!("set server {section}/{server} state ready");
            self.operation().tell_haproxy(&balancer, &[command]).await?;
            self.tell("haproxy", &format!("{balancer} sends clients to {server} ({section}) again")).await;
        }
        self.changed += self.planned.cluster.len();
        Ok(())
    }
}

async fn finds_leader(gather: &Gather<'_>, balancer: &HostName) -> Result<(), String> {
    let view = cluster::gather(gather).await;
    let leader = view.leader().ok_or("there is no leader")?;
    let seen = view.haproxy.iter().find(|seen| &seen.host == balancer).map(|seen| &seen.answer);
    match seen.and_then(|answer| answer.known()) {
        Some(servers) => sends_writes_to(balancer, servers, &leader.host),
        None => Err(seen.and_then(|answer| answer.reason()).unwrap_or("it was not asked").to_owned()),
    }
}
