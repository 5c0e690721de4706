//! etcd's members in turn, and what only they need on the way to TLS: the address the others reach them at, and that a
//! member which hears clients both ways really does.

use std::time::Duration;

use super::rolling::{RECOVERY, first};
use super::{ApplyError, StageRun};
use crate::cluster::http::authority;
use crate::cluster::safety::restart;
use crate::cluster::{self, Gather, etcd};
use crate::engine::Host as _;
use crate::engine::wait::WaitError;
use crate::names::HostName;
use crate::resource::{Action, Resource};
use crate::workflow::{conversion, rolling};

/// How often a member is started until it hears plain clients too: on a busy machine one start in two may go wrong.
const STARTS: usize = 40;
/// How long a member that just started may take to do so.
const HEARING: Duration = Duration::from_secs(3);

impl StageRun<'_> {
    pub(super) async fn roll_etcd_members(&mut self) -> Result<(), ApplyError> {
        let mut due = rolling::due(self.planned);
        // What a run that was cut off has left comes first: it is the others' way to a plain etcd.
        let left = self.hosts_in_scope().into_iter().filter(|host| !due.contains(host));
        for host in left.collect::<Vec<_>>() {
            self.hear_plainly(&host).await?;
        }
        while !due.is_empty() {
            let view = cluster::gather(&self.gather()).await;
            let Some(host) = restart::etcd_turn(&view, &due) else { break };
            self.wait_for_other_members(&host).await?;
            due.retain(|other| *other != host);
            // At once before its restart, since until then it does not hear what comes over TLS.
            self.move_peers(std::slice::from_ref(&host)).await?;
            self.restart(host.clone()).await?;
            self.hear_plainly(&host).await?;
        }
        // Those that a run which was cut off has restarted already.
        self.move_peers(&self.hosts_in_scope()).await
    }

    pub(super) async fn wait_for_other_members(&self, host: &HostName) -> Result<(), ApplyError> {
        self.wait("the other etcd members", RECOVERY, async |gather| {
            let view = cluster::gather(gather).await;
            first(restart::etcd_obstacles(&view, gather.inventory, Some(host)))
        })
        .await
    }

    /// Have the others reach these members over TLS, if that is the form the cluster is to have.
    async fn move_peers(&self, hosts: &[HostName]) -> Result<(), ApplyError> {
        let inventory = self.apply.inventory;
        if !inventory.tls.enabled || self.apply.survey.transition.is_some() {
            return Ok(());
        }
        let gather = self.gather();
        let view = cluster::gather(&gather).await;
        for (name, member) in conversion::plain_peers(&view, inventory) {
            let Some(host) = inventory.host(name).filter(|_| hosts.contains(name)) else { continue };
            let url = format!("https://{}", authority(&host.address, inventory.etcd.peer_port));
            // Any member can be told; this one answers, or it would not be in question.
            let http = etcd::client(&gather, host).map_err(|reason| ApplyError::NoLeader { reason })?;
            etcd::move_peer(&http, self.apply.approved, member, &[url]).await?;
            self.tell("etcd", &format!("the other members reach {name} over TLS")).await;
        }
        Ok(())
    }

    /// While a cluster is converted its etcd is to hear clients both ways. etcd before 3.4.25 and 3.5.8 may put the server
    /// for TLS behind the plain door, when two of its threads come in the wrong order at its start (its pull request
    /// 15509). Patroni does not look for another member then, so such a member is started until it is right.
    async fn hear_plainly(&mut self, name: &HostName) -> Result<(), ApplyError> {
        if self.apply.survey.transition.is_none() {
            return Ok(());
        }
        let mut starts = 0;
        loop {
            let what = format!("etcd on {name} to hear clients both ways");
            let hears = async |gather: &Gather<'_>| etcd::hears_plainly(gather, name).await;
            let reason = match self.wait(&what, HEARING, hears).await {
                Err(ApplyError::Wait(WaitError::Deadline { reason, .. })) => reason,
                done => return done,
            };
            starts += 1;
            if starts == STARTS {
                return Err(ApplyError::NotSpared { unit: "etcd.service", host: name.to_string(), reason });
            }
            self.wait_for_other_members(name).await?;
            self.start_again(name).await?;
        }
    }

    /// Nothing of the host's files differs, so there is nothing to converge.
    async fn start_again(&mut self, name: &HostName) -> Result<(), ApplyError> {
        let unit = self.resources(name).iter().find_map(|resource| match resource {
            Resource::Unit(unit) => Some(unit),
            _ => None,
        });
        let (Some(unit), Some(host)) = (unit, self.apply.survey.fleet.host(name)) else { return Ok(()) };
        let failed = |reason: String| ApplyError::NotSpared { unit: "etcd.service", host: name.to_string(), reason };
        let restart = [Action::RestartUnit(unit.start())];
        let performed = host.perform(self.apply.approved, &restart).await.map_err(|error| failed(error.to_string()))?;
        if let Some(failure) = performed.failure {
            return Err(failed(failure.output));
        }
        self.tell("unit etcd.service", &format!("restart on {name}: it did not hear plain clients")).await;
        Ok(())
    }

    fn hosts_in_scope(&self) -> Vec<HostName> {
        let hosts = self.apply.survey.desired.iter();
        hosts.filter(|(_, stages)| stages.contains_key(&self.stage)).map(|(host, _)| host.clone()).collect()
    }
}
