//! Restarts of PostgreSQL for changed parameters, by its Patroni: in turn like restarts of the unit, or the leader first
//! where a limit is lowered.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::rolling::RECOVERY;
use super::{ApplyError, StageRun};
use crate::cluster::postgres::Order;
use crate::cluster::safety::restart;
use crate::cluster::{self, ClusterView, patroni, pause};
use crate::inventory::Component;
use crate::names::HostName;
use crate::workflow::handover::told;
use crate::workflow::parameters::{about, waits};

/// How long members may take to hear of a changed configuration: some of their rounds.
const HEARD: Duration = Duration::from_secs(90);
/// A member that has been at etcd so often since has heard of it.
const ROUNDS: usize = 2;

impl StageRun<'_> {
    pub(super) async fn restart_for_parameters(&mut self) -> Result<(), ApplyError> {
        let hosts = &self.apply.survey.restarts.hosts;
        if hosts.is_empty() {
            return Ok(());
        }
        self.wait_until_heard(hosts).await?;
        let mut done: Vec<HostName> = Vec::new();
        let mut handed_over = false;
        loop {
            let view = self.wait_until_whole().await?;
            let due: Vec<HostName> = hosts.iter().filter(|host| waits(&view, host)).cloned().collect();
            let Some(host) = self.parameters_turn(&view, &due) else { return self.wait_until_told(hosts).await };
            if self.hands_over_before(&view, &host) {
                if handed_over {
                    return Err(not_spared(&host, "it has become the leader again"));
                }
                self.hand_over(&host).await?;
                handed_over = true;
                continue;
            }
            if done.contains(&host) {
                return Err(not_spared(&host, "parameters still wait for a restart after one"));
            }
            self.restart_database(&view, &host).await?;
            done.push(host);
        }
    }

    /// A member says that something waits for a restart only after the round in which it has read the new configuration.
    /// One that was restarted since, or has these values for a reason of its own, never says it.
    async fn wait_until_heard(&self, hosts: &[HostName]) -> Result<(), ApplyError> {
        let rounds: Mutex<BTreeMap<HostName, Vec<i64>>> = Mutex::default();
        self.wait("members to hear of the parameters", HEARD, async |gather| {
            let view = cluster::gather(gather).await;
            for host in hosts {
                let about = about(&view, host).ok_or_else(|| format!("Patroni on {host} does not answer"))?;
                let mut rounds = rounds.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let seen = rounds.entry(host.clone()).or_default();
                seen.extend(about.dcs_last_seen.filter(|at| seen.last() != Some(at)));
                if !about.pending_restart && seen.len() <= ROUNDS {
                    return Err(format!("{host} has not heard of them yet"));
                }
            }
            Ok(())
        })
        .await
    }

    /// What etcd says of a member is from its last round, and `status` would still speak of a restart.
    async fn wait_until_told(&self, hosts: &[HostName]) -> Result<(), ApplyError> {
        self.wait("everybody to know of the restarts", HEARD, async |gather| {
            let view = cluster::gather(gather).await;
            let listed = view.members.iter().filter(|member| hosts.contains(&member.host));
            let mut waiting =
                listed.filter(|member| member.listed.as_ref().is_some_and(|listed| listed.pending_restart));
            waiting.next().map_or(Ok(()), |member| Err(format!("{} is listed as waiting for a restart", member.host)))
        })
        .await
    }

    fn parameters_turn(&self, view: &ClusterView, due: &[HostName]) -> Option<HostName> {
        let leader = view.leader().map(|leader| &leader.host).filter(|leader| due.contains(leader));
        match self.apply.survey.restarts.order {
            Order::LeaderFirst if leader.is_some() => leader.cloned(),
            _ => restart::postgres_turn(view, due),
        }
    }

    fn hands_over_before(&self, view: &ClusterView, host: &HostName) -> bool {
        let leads = view.leader().is_some_and(|leader| &leader.host == host);
        let alone = self.apply.inventory.with(Component::Postgres).count() == 1;
        leads && !alone && self.apply.survey.restarts.order != Order::LeaderFirst
    }

    async fn restart_database(&mut self, view: &ClusterView, host: &HostName) -> Result<(), ApplyError> {
        let gather = self.gather();
        let member = self.apply.inventory.host(host).ok_or_else(|| not_spared(host, "it is not in the inventory"))?;
        let http = patroni::client(&gather, member).map_err(|reason| not_spared(host, &reason))?;
        let restarting = async {
            let what = format!("Patroni on {host} to take the order");
            self.wait(&what, RECOVERY, async |_| patroni::restart(&http, self.apply.approved).await).await??;
            self.wait(&format!("PostgreSQL on {host} to be back"), RECOVERY, async |gather| {
                let view = cluster::gather(gather).await;
                super::rolling::first(restart::postgres_obstacles(&view, gather.inventory))
            })
            .await
        };
        if view.leader().is_none_or(|leader| &leader.host != host) {
            self.operation().without_readers(host, restarting).await?;
            self.tell("postgresql", &format!("restart on {host}, for changed parameters")).await;
            return Ok(());
        }
        let begun = std::time::Instant::now();
        let (restarted, pause) = pause::during(&gather, restarting).await;
        restarted?;
        let summary = format!("restarted the leader {host} for changed parameters; {}", told(pause, begun.elapsed()));
        self.tell("postgresql", &summary).await;
        self.evidence.push(summary);
        Ok(())
    }
}

fn not_spared(host: &HostName, reason: &str) -> ApplyError {
    ApplyError::NotSpared { unit: "PostgreSQL", host: host.to_string(), reason: reason.to_owned() }
}
