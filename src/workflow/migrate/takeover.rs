//! The copies that followed the source take the place of the cluster's data, on all members. How far that has come is seen
//! on the hosts (`templates/patroni/follow-source.py.j2`), so whoever finds it half done can go on, or take it back as long
//! as no copy is in its place.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::MigrateError;
use crate::cluster::{Gather, etcd, keys, patroni};
use crate::engine::{Cancel, MemberStep, Program, StepError, for_each_host};
use crate::error::one_line;
use crate::inventory::Component;
use crate::names::HostName;
use crate::report::Kind;
use crate::workflow::whole::PATRONI;
use crate::workflow::{Operation, OperationError, Wanted};

/// How long PostgreSQL may take to be there again, and HAProxy to find it.
const STARTING: Duration = Duration::from_secs(600);
/// How long replicas may take to stream, before they are copied anew; and then.
const JOINING: Duration = Duration::from_secs(180);
const COPYING: Duration = Duration::from_secs(24 * 3600);

/// What is found on a member.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct Standing {
    /// Its own data is about to be replaced, and nobody may start it.
    pub held: bool,
    /// It has a copy that is whole.
    pub complete: bool,
    /// The copy is in its place; and a server has run with it.
    pub in_place: bool,
    pub used: bool,
}

pub struct Takeover<'a> {
    pub operation: Operation<'a>,
    /// The member whose copy leads.
    pub leader: &'a HostName,
    pub version: u32,
}

impl Takeover<'_> {
    pub async fn install(&self, programs: &Wanted) -> Result<(), MigrateError> {
        Ok(self.operation.install(programs, "the migration").await?)
    }

    /// Nobody can use the cluster until it is done, so a Ctrl-C does not end it. Who cannot be reached has no part in it.
    pub async fn forward(&self) -> Result<(), MigrateError> {
        let cancel = Cancel::default();
        let Operation { gather, fleet, approved, reporter, .. } = self.operation;
        let this = Takeover { operation: Operation { gather, fleet, approved, reporter, cancel: &cancel }, ..*self };
        let standing = this.standing().await?;
        let mut leader = self.leader.clone();
        match patroni::leader(&gather).await {
            // a copy that has taken over since
            Ok(now) if standing.get(&now).is_some_and(|it| it.in_place) => leader = now,
            Ok(now) if standing.values().any(|it| it.in_place) => {
                let reason = format!("{now} leads with the former data, and a copy is in its place elsewhere");
                return Err(MigrateError::failed("put the copies in their place", reason));
            }
            _ => {
                etcd::quorum(&gather).await.map_err(|reason| MigrateError::failed("ask etcd", reason))?;
                this.stop(&standing).await?;
                this.at(&leader, MemberStep { role: "leader", ..this.step(KEEP, "keep") }).await?;
                // there is no way back by itself any more
                this.lead(&leader).await.map_err(beyond)?;
            }
        }
        this.follow(&leader).await.map_err(beyond)?;
        self.stream().await.map_err(beyond)
    }

    /// The cluster as it was. Whoever led begins: when its copy was used, nobody goes back.
    pub async fn back(&self) -> Result<(), MigrateError> {
        let cancel = Cancel::default();
        let Operation { gather, fleet, approved, reporter, .. } = self.operation;
        let operation = Operation { gather, fleet, approved, reporter, cancel: &cancel };
        operation.stop(PATRONI, self.members()).await?;
        let step = self.step("take the former data up again", "back");
        let was_in_place = self.standing().await?.values().any(|it| it.in_place);
        self.at(self.leader, step).await?;
        self.at_all(self.replicas(), step).await?;
        if was_in_place {
            self.forget().await?;
        }
        operation.start_cluster().await?;
        Ok(())
    }

    pub async fn standing(&self) -> Result<BTreeMap<HostName, Standing>, MigrateError> {
        if !self.operation.fleet.connections.contains_key(self.leader) {
            let reason = format!("{} cannot be reached, and its copy leads", self.leader);
            return Err(MigrateError::failed("see how far it has come", reason));
        }
        let mut found = BTreeMap::new();
        for (host, said) in self.at_each(self.members(), self.step("see how far it has come", "standing")).await? {
            let standing = Standing::deserialize(said).map_err(|error| {
                let (what, reason) = ("see how far it has come", error.to_string());
                StepError::Failed { host: host.clone(), what, reason }
            })?;
            found.insert(host, standing);
        }
        Ok(found)
    }

    /// Everybody whose copy is not in its place, the leader last, so that nobody takes over.
    async fn stop(&self, standing: &BTreeMap<HostName, Standing>) -> Result<(), MigrateError> {
        let others = |host: &HostName| !standing.get(host).is_some_and(|it| it.in_place);
        let held: Vec<HostName> = self.members().into_iter().filter(others).collect();
        self.at_all(held, self.step("keep the former data from being started", "hold")).await?;
        self.operation.stop(PATRONI, self.replicas()).await?;
        self.operation.stop(PATRONI, vec![self.leader.clone()]).await?;
        Ok(())
    }

    /// Nothing is known of the former cluster, and no Patroni runs that could make another one.
    async fn forget(&self) -> Result<(), MigrateError> {
        let (approved, cluster) = (self.operation.approved, &self.operation.gather.inventory.cluster);
        Ok(self.operation.etcd(async |http| keys::forget(http, approved, cluster).await).await?)
    }

    async fn lead(&self, leader: &HostName) -> Result<(), MigrateError> {
        self.forget().await?;
        self.operation.start(PATRONI, vec![leader.clone()]).await?;
        let leads = async |gather: &Gather<'_>| patroni::led(gather, leader).await;
        self.operation.wait(format!("{leader} to lead"), STARTING, leads).await?;
        Ok(())
    }

    /// The replicas' copies take their place. One that does not stream is copied anew.
    async fn follow(&self, leader: &HostName) -> Result<(), MigrateError> {
        let others: Vec<HostName> = self.members().into_iter().filter(|host| host != leader).collect();
        self.at_all(others.clone(), MemberStep { role: "replica", ..self.step(KEEP, "keep") }).await?;
        self.operation.start(PATRONI, others.clone()).await?;
        let http = self.operation.patroni(leader)?;
        let approved = self.operation.approved;
        let members = self.members();
        let stream = async |gather: &Gather<'_>| {
            // the leader makes what a replica needs to stream when it sees it, which would take a turn of ten seconds
            patroni::look_again(&http, approved).await.map_err(|error| one_line(&error))?;
            patroni::streaming(gather, &members).await
        };
        self.operation.wait_patiently("the PostgreSQL members to stream".to_owned(), JOINING, stream).await?;
        for host in others {
            let gather = &self.operation.gather;
            if let Err(reason) = patroni::streaming(gather, std::slice::from_ref(&host)).await {
                let message = format!("it gets a whole copy of the data from the leader: {reason}");
                self.operation.reporter.for_host(&host).emit(Kind::Warned { message, help: None }).await;
                patroni::reinitialize(&self.operation.patroni(&host)?, approved).await.map_err(OperationError::from)?;
            }
        }
        Ok(())
    }

    /// That may take long, and somebody may want to do something else: nothing is lost by it.
    async fn stream(&self) -> Result<(), MigrateError> {
        let members = self.members();
        let stream = async |gather: &Gather<'_>| patroni::streaming(gather, &members).await;
        self.operation.wait("the PostgreSQL members to stream".to_owned(), COPYING, stream).await?;
        let balancers = self.operation.gather.inventory.with(Component::Haproxy).map(|host| host.name.clone());
        self.operation.wait_until_found_by(&balancers.collect::<Vec<_>>(), STARTING).await?;
        Ok(())
    }

    /// The former data goes when nobody can miss it; otherwise this is where it is on the leader.
    pub async fn finish(&self, drop: bool) -> Result<Option<String>, MigrateError> {
        let role = if drop { "drop" } else { "keep" };
        let step = MemberStep { role, ..self.step("tidy up after the copies", "finish") };
        let answers = self.at_each(self.members(), step).await?;
        for host in self.members() {
            let Operation { fleet, approved, .. } = self.operation;
            fleet.remove_program(&host, Program::FollowSource, approved).await?;
        }
        Ok(answers[self.leader].get("kept").and_then(Value::as_str).map(str::to_owned))
    }

    /// Those that can be reached.
    pub(super) fn members(&self) -> Vec<HostName> {
        let all = self.operation.gather.inventory.with(Component::Postgres).map(|host| host.name.clone());
        all.filter(|host| self.operation.fleet.connections.contains_key(host)).collect()
    }

    pub(super) fn replicas(&self) -> Vec<HostName> {
        self.members().into_iter().filter(|host| host != self.leader).collect()
    }

    pub(super) fn step(&self, what: &'static str, verb: &'static str) -> MemberStep<'static> {
        MemberStep { what, program: Program::FollowSource, verb, from: self.version, role: "", input: &[] }
    }

    pub(super) async fn at(&self, host: &HostName, step: MemberStep<'_>) -> Result<Value, MigrateError> {
        Ok(self.operation.step(host, step).await?)
    }

    /// The same on several at once; the first error when any fails.
    pub(super) async fn at_all(&self, hosts: Vec<HostName>, step: MemberStep<'_>) -> Result<(), MigrateError> {
        self.at_each(hosts, step).await.map(drop)
    }

    pub(super) async fn at_each(
        &self,
        hosts: Vec<HostName>,
        step: MemberStep<'_>,
    ) -> Result<BTreeMap<HostName, Value>, MigrateError> {
        let parallel = hosts.len();
        let answers = for_each_host(hosts, parallel, async |host| self.at(&host, step).await).await;
        answers.into_iter().map(|(host, answer)| Ok((host, answer?))).collect()
    }
}

fn beyond(error: MigrateError) -> MigrateError {
    MigrateError::Beyond { reason: one_line(&error) }
}

const KEEP: &str = "put the copy in the place of the former data";
