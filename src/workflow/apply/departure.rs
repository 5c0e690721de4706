//! Hosts leave the cluster, one at a time and before anybody is told that they are gone: the leader hands over, etcd counts
//! on its member no more, its services stop, Patroni forgets it. What is left of it the services tell, so a run that was
//! cut off goes on. A machine that is dead is taken out of etcd; Patroni forgets it by itself.

use std::time::Duration;

use super::joining::{settled, voter};
use super::rolling::RECOVERY;
use super::{ApplyError, StageRun};
use crate::cluster::safety::departure::{self, Departure};
use crate::cluster::safety::membership;
use crate::cluster::{self, etcd};
use crate::names::HostName;

/// A member's key in etcd ends with its lease; so long may the leader take to see it.
const FORGETTING: Duration = Duration::from_secs(60);

impl StageRun<'_> {
    pub(super) async fn take_hosts_out(&mut self) -> Result<(), ApplyError> {
        for one in &self.apply.survey.departures {
            if self.apply.cancel.is_cancelled() {
                return Err(ApplyError::Interrupted { done: Vec::new(), left: Vec::new() });
            }
            if one.leads {
                let view = self.wait_until_whole().await?;
                if view.leader().is_some_and(|leader| leader.host == one.host) {
                    self.hand_over(&one.host).await?;
                }
            }
            self.leave_etcd(one).await?;
            if self.planned.hosts.contains_key(&one.host) {
                self.converge(vec![one.host.clone()], 1).await?;
                self.wait_until_forgotten(&one.host).await?;
            }
        }
        self.changed += self.planned.cluster.len();
        Ok(())
    }

    /// Those that stay have to be able to decide alone.
    async fn leave_etcd(&self, one: &Departure) -> Result<(), ApplyError> {
        let Some(member) = &one.etcd else { return Ok(()) };
        // Somebody may have thought for a while before the answer.
        if !one.reached && etcd::answers(&self.gather(), member).await {
            return Err(ApplyError::Alive { host: one.host.clone() });
        }
        self.wait(&format!("etcd to do without {}", one.host), RECOVERY, async |gather| {
            let view = cluster::gather(gather).await;
            let listed = membership::listed(&view);
            if !listed.is_empty() && listed.iter().all(|other| other.id != member.id) {
                return Ok(Ok(()));
            }
            departure::needed(&view, member).map_or(Ok(()), Err)?;
            let http = voter(gather, &view)?;
            settled(etcd::remove(&http, self.apply.approved, member).await)
        })
        .await??;
        self.tell("etcd", &format!("{} is no member any more", one.host)).await;
        Ok(())
    }

    /// Then the leader has dropped what it kept for it, or does so in its own time (Patroni 4: `member_slots_ttl`).
    async fn wait_until_forgotten(&self, host: &HostName) -> Result<(), ApplyError> {
        let lease = Duration::from_secs(self.apply.inventory.patroni.ttl.into());
        self.wait(&format!("Patroni to forget {host}"), lease + FORGETTING, async |gather| {
            let view = cluster::gather(gather).await;
            let listed = view.members.iter().any(|member| &member.host == host);
            if listed { Err(format!("it still lists {host}")) } else { Ok(()) }
        })
        .await
    }
}
