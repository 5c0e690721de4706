//! The copies that followed the source take the place of the cluster's data, on all members. How far that has come is seen
//! on the hosts (`templates/patroni/follow-source.py.j2`), so whoever finds it half done can go on, or take it back as long
//! as no copy is in its place.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::MigrateError;
use crate::cluster::{Gather, etcd, keys, patroni};
use crate::engine::{Cancel, HostError, MemberStep, Program, StepError, for_each_host};
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
        let this = Takeover { operation: Operation { cancel: &cancel, ..self.operation }, ..*self };
        let standing = this.standing().await?;
        let used = standing.get(self.leader).is_some_and(|it| it.used);
        let leader = match patroni::leader(&this.operation.gather).await {
            // also another one, whose copy has taken over since
            Ok(now) if standing.get(&now).is_some_and(|it| it.in_place) => now,
            Ok(now) if standing.values().any(|it| it.in_place) => {
                let reason = format!("{now} leads with the former data, and a copy is in its place elsewhere");
                return Err(MigrateError::between("put the copies in their place", reason));
            }
            Err(_) if used => this.lead_again(&standing).await.map_err(beyond)?,
            _ => this.lead(&standing).await?,
        };
        let members = this.follow(&leader).await.map_err(beyond)?;
        self.stream(&members).await.map_err(beyond)
    }

    /// The cluster as it was. Whoever led begins: when its copy was used, nobody goes back. One that cannot be reached has
    /// no say, unless somebody has a copy in its place, which replicas have only when it has led, or it leads.
    pub async fn back(&self) -> Result<(), MigrateError> {
        let cancel = Cancel::default();
        let operation = Operation { cancel: &cancel, ..self.operation };
        let members = self.members();
        let has_its_say = members.contains(self.leader);
        if !has_its_say {
            self.may_go_without_the_leader().await?;
        }
        operation.stop(PATRONI, members).await?;
        self.forget().await?;
        let step = self.step("take the former data up again", "back");
        if has_its_say {
            self.at(self.leader, step).await?;
        }
        let mut not_back = Vec::new();
        let replicas = self.replicas();
        let parallel = replicas.len();
        for (host, back) in for_each_host(replicas, parallel, async |host| self.at(&host, step).await).await {
            if let Err(error) = back {
                // the others do not wait for it
                let message = format!("it does not have its former data again: {}", one_line(&error));
                let help = Some("mend that; then `xnat-provision migrate abort` once more".to_owned());
                operation.reporter.for_host(&host).emit(Kind::Warned { message, help }).await;
                not_back.push(host);
            }
        }
        operation.start_cluster(&not_back).await?;
        Ok(())
    }

    async fn may_go_without_the_leader(&self) -> Result<(), MigrateError> {
        let leads = patroni::leader(&self.operation.gather).await.is_ok_and(|now| now == *self.leader);
        let standing = self.standing().await?;
        let reason = match standing.iter().find(|(_, it)| it.in_place) {
            _ if leads => format!("{} cannot be reached, and leads", self.leader),
            Some((host, _)) => {
                format!("{host} has a copy in its place, and {}, which led, cannot be reached", self.leader)
            }
            None => return Ok(()),
        };
        Err(MigrateError::between("take the former data up again", reason))
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

    /// Whoever has no copy in its place does not start again. The leader is last, so that nobody takes over.
    async fn stop(&self, standing: &BTreeMap<HostName, Standing>) -> Result<(), MigrateError> {
        let former = |host: &HostName| !standing.get(host).is_some_and(|it| it.in_place);
        let held: Vec<HostName> = self.members().into_iter().filter(former).collect();
        self.at_all(held.clone(), self.step("keep the former data from being started", "hold")).await?;
        let (last, first): (Vec<_>, Vec<_>) = held.into_iter().partition(|host| host == self.leader);
        self.operation.stop(PATRONI, first).await?;
        self.operation.stop(PATRONI, last).await?;
        Ok(())
    }

    /// Nothing is known of the former cluster, and no Patroni runs that could make another one.
    async fn forget(&self) -> Result<(), MigrateError> {
        let (approved, cluster) = (self.operation.approved, &self.operation.gather.inventory.cluster);
        Ok(self.operation.etcd(async |http| keys::forget(http, approved, cluster).await).await?)
    }

    /// The leader's copy takes its place, and leads. There is no way back by itself once it has.
    async fn lead(&self, standing: &BTreeMap<HostName, Standing>) -> Result<HostName, MigrateError> {
        let gather = &self.operation.gather;
        let leader = self.leader.clone();
        if !standing.contains_key(&leader) {
            let reason = format!("{leader} cannot be reached, and its copy leads");
            return Err(MigrateError::between("put the copies in their place", reason));
        }
        etcd::majority(gather).await.map_err(|reason| MigrateError::between("ask etcd", reason))?;
        self.stop(standing).await?;
        // one that is in its place already may run, and lead nobody
        self.operation.stop(PATRONI, self.members()).await?;
        self.at(&leader, MemberStep { role: "leader", ..self.step(KEEP, "keep") }).await?;
        let led = async {
            self.forget().await?;
            self.operation.start(PATRONI, vec![leader.clone()]).await?;
            let leads = async |gather: &Gather<'_>| patroni::led(gather, &leader).await;
            Ok(self.operation.wait(format!("{leader} to lead"), STARTING, leads).await?)
        };
        let led: Result<(), MigrateError> = led.await;
        match led {
            Ok(()) => Ok(leader),
            Err(error) if self.standing().await.is_ok_and(|now| now.get(&leader).is_some_and(|it| !it.used)) => {
                Err(error)
            }
            Err(error) => Err(beyond(error)),
        }
    }

    /// Those with copies in their place decide who of them leads: it may have been another one meanwhile.
    async fn lead_again(&self, standing: &BTreeMap<HostName, Standing>) -> Result<HostName, MigrateError> {
        let with = standing.iter().filter(|(_, it)| it.in_place).map(|(host, _)| host.clone()).collect();
        self.operation.start(PATRONI, with).await?;
        let leads = async |gather: &Gather<'_>| patroni::leader(gather).await;
        Ok(self.operation.wait("one of them to lead".to_owned(), STARTING, leads).await?)
    }

    /// The replicas' copies take their place. One that does not stream is copied anew; one whose Patroni does not come is not
    /// waited for. This is who comes.
    async fn follow(&self, leader: &HostName) -> Result<Vec<HostName>, MigrateError> {
        let others: Vec<HostName> = self.members().into_iter().filter(|host| host != leader).collect();
        self.stop(&self.standing().await?).await?;
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
        let mut coming = members.clone();
        for host in others {
            let gather = &self.operation.gather;
            match patroni::streaming(gather, std::slice::from_ref(&host)).await {
                Err(reason) if reason.contains("has not joined") => {
                    let message = format!("its Patroni has not come, and is not waited for: {reason}");
                    let help = Some("see `journalctl -u patroni -n 50` there".to_owned());
                    self.operation.reporter.for_host(&host).emit(Kind::Warned { message, help }).await;
                    coming.retain(|other| *other != host);
                }
                Err(reason) if reason.contains("does not stream") && !reason.contains("creating replica") => {
                    let message = format!("it gets a whole copy of the data from the leader: {reason}");
                    self.operation.reporter.for_host(&host).emit(Kind::Warned { message, help: None }).await;
                    let http = self.operation.patroni(&host)?;
                    patroni::reinitialize(&http, approved).await.map_err(OperationError::from)?;
                }
                // it streams, is copied, or does not say, which is waited for
                _ => {}
            }
        }
        Ok(coming)
    }

    /// That may take long, and somebody may want to do something else: nothing is lost by it. A host that dies meanwhile took
    /// its lock along.
    async fn stream(&self, members: &[HostName]) -> Result<(), MigrateError> {
        let stream = async |gather: &Gather<'_>| match self.operation.approved.still_holds() {
            Err(lost) => Ok(Err(HostError::from(lost))),
            Ok(()) => patroni::streaming(gather, members).await.map(Ok),
        };
        self.operation.wait("the PostgreSQL members to stream".to_owned(), COPYING, stream).await??;
        let balancers = self.operation.gather.inventory.with(Component::Haproxy).map(|host| host.name.clone());
        let reached = balancers.filter(|host| self.operation.fleet.connections.contains_key(host));
        self.operation.wait_until_found_by(&reached.collect::<Vec<_>>(), STARTING).await?;
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
        Ok(answers.get(self.leader).and_then(|answer| answer.get("kept")).and_then(Value::as_str).map(str::to_owned))
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
