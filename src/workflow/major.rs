//! Another major version of PostgreSQL: prepared and checked under clients, then everything stops, `pg_upgrade` links the
//! leader's files, the replicas link theirs and get the rest from it, and the new version starts. Whatever fails before it
//! takes its place brings the old one back. How far a run has come is seen on the hosts, so one that was cut off is
//! finished, or taken back, by the next.

mod back;
mod beyond;
mod error;
mod rehearsal;
mod standing;
mod switch;

use std::collections::BTreeMap;
use std::time::Instant;

pub use error::MajorError;
pub use rehearsal::{Rehearsal, Times};
pub use standing::{Standing, standing};

use super::ApplyError;
use super::handover::told;
use super::operation::Operation;
use crate::cluster::http::{CallError, Http};
use crate::cluster::{etcd, pause};
use crate::engine::{Converge, Interruption, MajorStep, StepError, for_each_host};
use crate::inventory::Component;
use crate::names::HostName;
use crate::report::{Kind, millis_since};
use crate::resource::Resource;
use crate::workflow::OperationError;

const KEEP: &str = "put the new version in its place";

/// The resources of each member.
pub type Wanted = BTreeMap<HostName, Vec<Resource>>;

/// One upgrade.
pub struct Major<'a> {
    pub operation: Operation<'a>,
    pub from: u32,
    pub to: u32,
    /// What the upgrade needs beside what runs; and what members are to be with the new version.
    pub beside: &'a Wanted,
    pub afterwards: &'a Wanted,
    /// The inventory says the new version from then on.
    pub keep_inventory: &'a (dyn Fn() -> Result<(), String> + Sync),
}

impl Major<'_> {
    /// The whole upgrade of a cluster that runs; what was done and seen.
    pub async fn run(&self, leader: &HostName) -> Result<Vec<String>, MajorError> {
        self.install().await?;
        let mut seen = self.examine(leader).await?;
        let begun = Instant::now();
        let (switched, pause) = pause::during(&self.operation.gather, self.switch(leader)).await;
        seen.extend(switched?);
        let summary = format!("PostgreSQL {} became {}; {}", self.from, self.to, told(pause, begun.elapsed()));
        seen.push(self.operation.told(summary).await);
        Ok(seen)
    }

    /// The rest of one that was cut off when the new version had taken its place.
    pub async fn go_on(&self, leader: &HostName) -> Result<Vec<String>, MajorError> {
        self.install().await?;
        self.beyond(leader).await
    }

    fn members(&self) -> Vec<HostName> {
        let hosts = self.operation.gather.inventory.with(Component::Postgres);
        hosts.map(|host| host.name.clone()).collect()
    }

    fn replicas(&self, leader: &HostName) -> Vec<HostName> {
        self.members().into_iter().filter(|host| host != leader).collect()
    }

    /// Packages and programs beside what runs, which goes on.
    async fn install(&self) -> Result<(), MajorError> {
        self.converge(self.members(), self.beside).await
    }

    /// The program goes again; the new version's packages stay.
    async fn tidy(&self) -> Result<(), MajorError> {
        for host in self.members() {
            self.operation.fleet.tidy_after_major(&host, self.operation.approved).await?;
        }
        Ok(())
    }

    async fn converge(&self, hosts: Vec<HostName>, wanted: &Wanted) -> Result<(), MajorError> {
        let parallel = hosts.len();
        let Operation { fleet, approved, reporter, cancel, .. } = self.operation;
        let results = for_each_host(hosts, parallel, async |name| {
            let Some(host) = fleet.host(&name) else { return Ok(0) };
            let resources = wanted.get(&name).map(Vec::as_slice).unwrap_or_default();
            let (reporter, interruption) = (&reporter.for_host(&name), Interruption::Refused);
            Converge { host: &host, resources, approved, interruption, reporter, cancel }.told().await
        });
        let stage = "the upgrade";
        Ok(ApplyError::gathered(stage, results.await, &mut 0)?)
    }

    /// What can be known to be in the way is known while clients still work.
    async fn examine(&self, leader: &HostName) -> Result<Vec<String>, MajorError> {
        let step = self.step("check the upgrade (pg_upgrade --check)", "prepare");
        let answer = self.at(leader, step).await?;
        let problems = texts(&answer, "problems");
        if !problems.is_empty() {
            return Err(MajorError::InTheWay { list: problems });
        }
        let mut seen =
            vec![self.operation.told(format!("pg_upgrade --check finds nothing in the way on {leader}")).await];
        seen.extend(texts(&answer, "notes"));
        Ok(seen)
    }

    fn step(&self, what: &'static str, verb: &'static str) -> MajorStep<'static> {
        MajorStep { what, verb, from: self.from, role: "", input: &[] }
    }

    async fn at(&self, host: &HostName, step: MajorStep<'_>) -> Result<serde_json::Value, MajorError> {
        self.shown(host, step.what, self.operation.fleet.major_step(host, self.operation.approved, step)).await
    }

    /// The work of a step, with its beginning and its end told.
    async fn shown<T>(
        &self,
        host: &HostName,
        what: &'static str,
        work: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, MajorError> {
        let reporter = self.operation.reporter.for_host(host);
        let (title, begun) = (what.to_owned(), Instant::now());
        reporter.emit(Kind::StepStarted { title: title.clone() }).await;
        let done = work.await?;
        reporter.emit(Kind::StepFinished { title, millis: millis_since(begun) }).await;
        Ok(done)
    }

    /// The same on several at once; the first error when any fails.
    async fn at_all(&self, hosts: Vec<HostName>, step: MajorStep<'_>) -> Result<(), MajorError> {
        let parallel = hosts.len();
        let answers = for_each_host(hosts, parallel, async |host| self.at(&host, step).await).await;
        answers.into_values().try_for_each(|answer| answer.map(drop))
    }

    /// Any etcd member can be told; the first that answers is.
    async fn etcd<T>(&self, work: impl AsyncFn(&Http<'_>) -> Result<T, CallError>) -> Result<T, MajorError> {
        let mut last = None;
        for host in self.operation.gather.inventory.with(Component::Etcd) {
            let Ok(http) = etcd::client(&self.operation.gather, host) else { continue };
            match work(&http).await {
                Ok(done) => return Ok(done),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| MajorError::NoEtcd, |error| OperationError::from(error).into()))
    }
}

fn texts(answer: &serde_json::Value, key: &str) -> Vec<String> {
    let list = answer.get(key).and_then(|value| value.as_array());
    list.into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}
