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

use std::time::Instant;

pub use error::MajorError;
pub use rehearsal::{Rehearsal, Times};
pub use standing::{Standing, standing};

use super::handover::told;
use super::operation::{Operation, Wanted};
use crate::cluster::pause;
use crate::engine::{MemberStep, Program, for_each_host};
use crate::inventory::Component;
use crate::names::HostName;

const PROGRAM: Program = Program::MajorUpgrade;
const KEEP: &str = "put the new version in its place";

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
            self.operation.fleet.remove_program(&host, PROGRAM, self.operation.approved).await?;
        }
        Ok(())
    }

    async fn converge(&self, hosts: Vec<HostName>, wanted: &Wanted) -> Result<(), MajorError> {
        let of = |name: HostName| wanted.get(&name).cloned().map(|resources| (name, resources));
        let wanted = hosts.into_iter().filter_map(of).collect();
        Ok(self.operation.install(&wanted, "the upgrade").await?)
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

    fn step(&self, what: &'static str, verb: &'static str) -> MemberStep<'static> {
        MemberStep { what, program: PROGRAM, verb, from: self.from, role: "", input: &[] }
    }

    async fn at(&self, host: &HostName, step: MemberStep<'_>) -> Result<serde_json::Value, MajorError> {
        Ok(self.operation.step(host, step).await?)
    }

    /// The same on several at once; the first error when any fails.
    async fn at_all(&self, hosts: Vec<HostName>, step: MemberStep<'_>) -> Result<(), MajorError> {
        let parallel = hosts.len();
        let answers = for_each_host(hosts, parallel, async |host| self.at(&host, step).await).await;
        answers.into_values().try_for_each(|answer| answer.map(drop))
    }
}

fn texts(answer: &serde_json::Value, key: &str) -> Vec<String> {
    let list = answer.get(key).and_then(|value| value.as_array());
    list.into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}
