//! Restarting the machine of a host whose services can be spared: whoever leads PostgreSQL has handed over, readers have
//! left, and etcd can decide without it. The locks of a run end with the machine, so its host is connected to anew
//! afterwards, and whoever sent readers away has to let them in again.

use std::time::Duration;

use super::handover::finds_leader;
use super::operation::{Operation, OperationError};
use crate::cluster::safety::restart;
use crate::cluster::{self, ClusterView, Gather};
use crate::engine::Host as _;
use crate::engine::shell::REBOOT;
use crate::inventory::{Component, Inventory};
use crate::names::HostName;
use crate::resource::Action;

/// How long the services may take to be well again after a start of their machine.
const RECOVERY: Duration = Duration::from_secs(600);

/// Whose machine comes next: those that lead something last, since that costs a hand-over or an election.
pub fn turn<'a>(view: &ClusterView, mut due: impl Iterator<Item = &'a HostName>) -> Option<&'a HostName> {
    let leader = view.leader().map(|leader| &leader.host);
    let etcd = |host: &HostName| {
        let member = view.etcd.iter().find(|seen| &seen.host == host).and_then(|seen| seen.answer.known());
        member.is_some_and(cluster::etcd::Member::is_leader)
    };
    let first = due.next()?;
    Some(due.fold(first, |best, host| {
        let rank = |host: &HostName| (Some(host) == leader, etcd(host));
        if rank(host) < rank(best) { host } else { best }
    }))
}

impl Operation<'_> {
    /// It goes down within a second; what was seen until then.
    pub async fn restart_machine(&self, host: &HostName) -> Result<Vec<String>, OperationError> {
        let mut seen = Vec::new();
        let view = self.wait_until_spared(Some(host)).await?;
        let others = self.gather.inventory.with(Component::Postgres).count() > 1;
        if others && leads(&view, host) {
            seen.push(self.told(self.hand_over_to_the_best(host).await?).await);
            self.wait_until_it_follows(host).await?;
            self.wait_until_spared(Some(host)).await?;
        }
        if others {
            self.send_readers_away(host).await?;
        }
        self.order_reboot(host).await?;
        Ok(seen)
    }

    /// The machine is back: so are its services.
    pub async fn take_machine_back(&self, host: &HostName) -> Result<String, OperationError> {
        self.wait_until_spared(None).await?;
        self.let_readers_in(host).await?;
        Ok(self.told(format!("the machine of {host} was restarted, and its services are back")).await)
    }

    async fn hand_over_to_the_best(&self, leader: &HostName) -> Result<String, OperationError> {
        self.wait_for_long_transactions(leader).await?;
        let view = self.wait_until_spared(Some(leader)).await?;
        let refused = |reason| OperationError::NotSpared { host: leader.clone(), reason };
        let to = restart::successor(&view, self.gather.inventory).map_err(refused)?;
        self.hand_over(leader, &to).await
    }

    async fn order_reboot(&self, name: &HostName) -> Result<(), OperationError> {
        let unreachable = || OperationError::Member { host: name.clone(), reason: "it cannot be reached".to_owned() };
        let host = self.fleet.host(name).ok_or_else(unreachable)?;
        let performed = host.perform(self.approved, &[Action::RunCommand { run: REBOOT.to_owned() }]).await?;
        let failed =
            |reason| OperationError::Unit { unit: "reboot.target", host: name.clone(), done: "reached", reason };
        performed.failure.map_or(Ok(()), |failure| Err(failed(failure.output)))
    }

    /// Everybody but that host is well, or everybody.
    async fn wait_until_spared(&self, host: Option<&HostName>) -> Result<ClusterView, OperationError> {
        let what = match host {
            Some(host) => format!("the cluster to be able to spare {host}"),
            None => "all services to be well".to_owned(),
        };
        let spared = async |gather: &Gather<'_>| {
            let view = cluster::gather(gather).await;
            may_go(&view, gather.inventory, host).map(|()| view)
        };
        Ok(self.wait(what, RECOVERY, spared).await?)
    }
}

fn leads(view: &ClusterView, host: &HostName) -> bool {
    view.leader().is_some_and(|leader| &leader.host == host)
}

fn may_go(view: &ClusterView, inventory: &Inventory, host: Option<&HostName>) -> Result<(), String> {
    let mut obstacles = restart::etcd_obstacles(view, inventory, host);
    obstacles.extend(restart::postgres_obstacles(view, inventory));
    if let Some(obstacle) = obstacles.into_iter().next() {
        return Err(obstacle.text);
    }
    let others = inventory.with(Component::Haproxy).map(|balancer| &balancer.name);
    others.filter(|balancer| Some(*balancer) != host).try_for_each(|balancer| finds_leader(view, balancer))
}
