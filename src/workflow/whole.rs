//! The whole cluster stops, and starts again: in an order in which nobody takes over, nothing is lost, and the member that
//! led last leads again. What is stopped or started already is passed over, so either can be repeated.

use std::time::Duration;

use super::handover::finds_leader;
use super::operation::{Operation, OperationError};
use super::rolling::names;
use crate::cluster::{self, Gather, etcd, patroni};
use crate::engine::{Ended, Host as _, HostError, for_each_host};
use crate::inventory::Component;
use crate::names::HostName;
use crate::resource::{Action, UnitStart};

const ETCD: &str = "etcd.service";
pub(super) const PATRONI: &str = "patroni.service";
const HAPROXY: &str = "haproxy.service";

/// How long a unit may take to start. etcd waits for a quorum in it.
const STARTING: Duration = Duration::from_secs(120);
/// How long etcd may take to agree on a leader, and HAProxy to find PostgreSQL's.
const AGREEING: Duration = Duration::from_secs(90);
/// How long PostgreSQL may take: one that was not shut down recovers first.
const RECOVERY: Duration = Duration::from_secs(600);

impl Operation<'_> {
    /// Clients first, replicas before the leader so that none takes over, and last what keeps the word on who leads.
    pub async fn stop_cluster(&self) -> Result<Vec<String>, OperationError> {
        let mut seen = Vec::new();
        let view = cluster::gather(&self.gather).await;
        let leader = view.leader().map(|leader| leader.host.clone());
        seen.extend(self.stop(HAPROXY, self.reached(Component::Haproxy)).await?);
        let (last, replicas): (Vec<HostName>, Vec<HostName>) =
            self.reached(Component::Postgres).into_iter().partition(|host| Some(host) == leader.as_ref());
        for hosts in [replicas, last] {
            self.stop(PATRONI, hosts.clone()).await?;
            for (host, ended) in self.ended(hosts).await? {
                seen.push(self.told(shut_down(&host, &ended)?).await);
            }
        }
        seen.extend(self.stop(ETCD, self.reached(Component::Etcd)).await?);
        Ok(seen)
    }

    /// PostgreSQL stays down on some: they are to be mended first.
    pub async fn start_cluster(&self, without: &[HostName]) -> Result<Vec<String>, OperationError> {
        let mut seen = Vec::new();
        seen.extend(self.start(ETCD, self.reached(Component::Etcd)).await?);
        let agreed = async |gather: &Gather<'_>| etcd::majority(gather).await.map(drop);
        self.wait("the etcd quorum".to_owned(), AGREEING, agreed).await?;
        let mut members = self.reached(Component::Postgres);
        members.retain(|host| !without.contains(host));
        if patroni::leader(&self.gather).await.is_err()
            && let Some((host, ended)) = led_last(self.ended(members.clone()).await?)
        {
            self.start(PATRONI, vec![host.clone()]).await?;
            let leads = async |gather: &Gather<'_>| patroni::led(gather, &host).await;
            self.wait(format!("{host} to lead"), RECOVERY, leads).await?;
            let how = format!("{host} led last (control file: {}, timeline {}) and leads", ended.state, ended.timeline);
            seen.push(self.told(how).await);
        }
        self.start(PATRONI, members.clone()).await?;
        let stream = async |gather: &Gather<'_>| patroni::streaming(gather, &members).await;
        self.wait("the PostgreSQL members to stream".to_owned(), RECOVERY, stream).await?;
        seen.push(self.told(format!("PostgreSQL runs on {}", names(&members))).await);
        let balancers = self.reached(Component::Haproxy);
        seen.extend(self.start(HAPROXY, balancers.clone()).await?);
        self.wait_until_found_by(&balancers, AGREEING).await?;
        Ok(seen)
    }

    /// Clients get to the leader through each of these.
    pub(super) async fn wait_until_found_by(
        &self,
        balancers: &[HostName],
        deadline: Duration,
    ) -> Result<(), OperationError> {
        let found = async |gather: &Gather<'_>| {
            let view = cluster::gather(gather).await;
            balancers.iter().try_for_each(|balancer| finds_leader(&view, balancer))
        };
        Ok(self.wait("HAProxy to find the leader".to_owned(), deadline, found).await?)
    }

    fn reached(&self, component: Component) -> Vec<HostName> {
        let hosts = self.gather.inventory.with(component).map(|host| host.name.clone());
        hosts.filter(|host| self.fleet.connections.contains_key(host)).collect()
    }

    async fn ended(&self, hosts: Vec<HostName>) -> Result<Vec<(HostName, Ended)>, OperationError> {
        let (limit, cluster) = (hosts.len(), &self.gather.inventory.cluster);
        let asked = for_each_host(hosts, limit, async |host| self.fleet.ended(&host, cluster).await).await;
        let known =
            |(host, ended): (HostName, Result<Option<Ended>, HostError>)| Some(ended.transpose()?.map(|it| (host, it)));
        Ok(asked.into_iter().filter_map(known).collect::<Result<_, HostError>>()?)
    }

    pub(super) async fn stop(
        &self,
        unit: &'static str,
        hosts: Vec<HostName>,
    ) -> Result<Option<String>, OperationError> {
        self.on_all(unit, "stopped", hosts, &Action::StopUnit { name: unit.to_owned() }).await
    }

    pub(super) async fn start(
        &self,
        unit: &'static str,
        hosts: Vec<HostName>,
    ) -> Result<Option<String>, OperationError> {
        let start = UnitStart { name: unit.to_owned(), files: Vec::new(), timeout: STARTING };
        self.on_all(unit, "started", hosts, &Action::StartUnit(start)).await
    }

    /// All at once: etcd's members wait for each other.
    async fn on_all(
        &self,
        unit: &'static str,
        done: &'static str,
        hosts: Vec<HostName>,
        action: &Action,
    ) -> Result<Option<String>, OperationError> {
        if hosts.is_empty() {
            return Ok(None);
        }
        let limit = hosts.len();
        let summary = format!("{done} {unit} on {}", names(&hosts));
        let performed = for_each_host(hosts, limit, async |name| {
            let Some(host) = self.fleet.host(&name) else { return Ok(()) };
            let failed = |reason| OperationError::Unit { unit, host: name.clone(), done, reason };
            let performed = host.perform(self.approved, std::slice::from_ref(action)).await?;
            performed.failure.map_or(Ok(()), |failure| Err(failed(failure.output)))
        })
        .await;
        performed.into_values().collect::<Result<Vec<()>, OperationError>>()?;
        Ok(Some(self.told(summary).await))
    }
}

fn shut_down(host: &HostName, ended: &Ended) -> Result<String, OperationError> {
    if ended.cleanly() {
        return Ok(format!(
            "PostgreSQL on {host} was shut down (control file: {}, timeline {})",
            ended.state, ended.timeline
        ));
    }
    Err(OperationError::NotShutDown { host: host.clone(), state: ended.state.clone() })
}

/// The one that took writes until the end, on the newest timeline. None when that cannot be told: then Patroni compares
/// who has most, as after any failure.
fn led_last(ended: Vec<(HostName, Ended)>) -> Option<(HostName, Ended)> {
    let newest = ended.iter().map(|(_, it)| it.timeline).max()?;
    let mut leaders = ended.into_iter().filter(|(_, it)| it.led() && it.timeline == newest);
    leaders.next().filter(|_| leaders.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_member_that_led_last_is_known_or_nobody_is() {
        let of = |said: &[(&str, &str, u32)]| {
            let ended = said.iter().map(|(host, state, timeline)| {
                (HostName::new(*host), Ended { state: (*state).to_owned(), timeline: *timeline })
            });
            led_last(ended.collect()).map(|(host, _)| host.to_string())
        };
        let (led, followed) = ("shut down", "shut down in recovery");
        assert_eq!(of(&[("db1", followed, 2), ("db2", led, 2)]).as_deref(), Some("db2"));
        assert_eq!(of(&[("db1", "in production", 1), ("db2", led, 2)]).as_deref(), Some("db2"));
        assert_eq!(of(&[("db1", "in production", 2), ("db2", led, 2)]), None, "two that say so");
        assert_eq!(of(&[("db1", led, 1), ("db2", followed, 2)]), None, "the newer leader is not among them");
        assert_eq!(of(&[]), None);
    }
}
