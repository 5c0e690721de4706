//! The copies that followed the source take the place of the cluster's data, on all members. How far that has come is seen
//! on the hosts (`templates/patroni/follow-source.py.j2`), so whoever finds it half done can go on, or take it back as long
//! as no copy is in its place.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::MigrateError;
use crate::cluster::{Gather, keys, patroni};
use crate::engine::{Cancel, MemberStep, Program, StepError, for_each_host};
use crate::error::one_line;
use crate::inventory::Component;
use crate::names::HostName;
use crate::workflow::whole::PATRONI;
use crate::workflow::{Operation, Wanted};

/// How long PostgreSQL may take to be there again, and HAProxy to find it.
const STARTING: Duration = Duration::from_secs(600);
/// How long a replica may take that is copied anew.
const COPYING: Duration = Duration::from_secs(24 * 3600);

/// What is found on a member.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct Standing {
    /// Its own data is about to be replaced, and nobody may start it.
    pub held: bool,
    /// It has a copy that is whole.
    pub complete: bool,
    /// The copy is in its place.
    pub in_place: bool,
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

    /// Nobody can use the cluster until it is done, so a Ctrl-C does not end it.
    pub async fn forward(&self) -> Result<(), MigrateError> {
        let cancel = Cancel::default();
        let Operation { gather, fleet, approved, reporter, .. } = self.operation;
        let this = Takeover { operation: Operation { gather, fleet, approved, reporter, cancel: &cancel }, ..*self };
        if !this.standing().await?[this.leader].in_place {
            this.stop().await?;
            this.at(this.leader, MemberStep { role: "leader", ..this.step(KEEP, "keep") }).await?;
        }
        // there is no way back by itself from here on
        this.beyond().await.map_err(|error| MigrateError::Beyond { reason: one_line(&error) })
    }

    /// The cluster as it was.
    pub async fn back(&self) -> Result<(), MigrateError> {
        self.at_all(self.members(), self.step("take the former data up again", "back")).await?;
        let cancel = Cancel::default();
        let Operation { gather, fleet, approved, reporter, .. } = self.operation;
        Operation { gather, fleet, approved, reporter, cancel: &cancel }.start_cluster().await?;
        Ok(())
    }

    pub async fn standing(&self) -> Result<BTreeMap<HostName, Standing>, MigrateError> {
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

    async fn stop(&self) -> Result<(), MigrateError> {
        self.at_all(self.members(), self.step("keep the former data from being started", "hold")).await?;
        self.operation.stop(PATRONI, self.replicas()).await?;
        self.operation.stop(PATRONI, vec![self.leader.clone()]).await?;
        Ok(())
    }

    async fn beyond(&self) -> Result<(), MigrateError> {
        let (approved, gather) = (self.operation.approved, &self.operation.gather);
        if patroni::leader(gather).await.is_err() {
            self.operation.etcd(async |http| keys::forget(http, approved, &gather.inventory.cluster).await).await?;
        }
        self.operation.start(PATRONI, vec![self.leader.clone()]).await?;
        let leads = async |gather: &Gather<'_>| patroni::led(gather, self.leader).await;
        self.operation.wait(format!("{} to lead", self.leader), STARTING, leads).await?;
        self.at_all(self.replicas(), MemberStep { role: "replica", ..self.step(KEEP, "keep") }).await?;
        self.operation.start(PATRONI, self.replicas()).await?;
        let members = self.members();
        let http = self.operation.patroni(self.leader)?;
        let stream = async |gather: &Gather<'_>| {
            // the leader makes what a replica needs to stream when it sees it, which would take a turn of ten seconds
            patroni::look_again(&http, approved).await.map_err(|error| one_line(&error))?;
            patroni::streaming(gather, &members).await
        };
        self.operation.wait("the PostgreSQL members to stream".to_owned(), COPYING, stream).await?;
        let balancers = gather.inventory.with(Component::Haproxy).map(|host| host.name.clone());
        self.operation.wait_until_found_by(&balancers.collect::<Vec<_>>(), STARTING).await?;
        Ok(())
    }

    /// The former data goes when nobody can miss it; otherwise this is where it is on the leader.
    pub async fn finish(&self, drop: bool) -> Result<Option<String>, MigrateError> {
        let role = if drop { "drop" } else { "keep" };
        let step = MemberStep { role, ..self.step("tidy up after the copies", "finish") };
        let answers = self.at_each(self.members(), step).await?;
        self.remove_program().await?;
        Ok(answers[self.leader].get("kept").and_then(Value::as_str).map(str::to_owned))
    }

    /// Nothing of copies is left on any member. What an earlier run has begun there ends first.
    pub async fn clean(&self) -> Result<(), MigrateError> {
        self.at_all(self.members(), self.step("end what an earlier run began", "end")).await?;
        self.at_all(self.members(), self.step("remove what an earlier run has left", "clean")).await
    }

    pub async fn remove_program(&self) -> Result<(), MigrateError> {
        for host in self.members() {
            let Operation { fleet, approved, .. } = self.operation;
            fleet.remove_program(&host, Program::FollowSource, approved).await?;
        }
        Ok(())
    }

    pub(super) fn members(&self) -> Vec<HostName> {
        self.operation.gather.inventory.with(Component::Postgres).map(|host| host.name.clone()).collect()
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

const KEEP: &str = "put the copy in the place of the former data";
