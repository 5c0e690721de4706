//! The new version is in its place, and starts. There is no way back from here, only on; each step is passed over when it
//! was done.

use std::time::Duration;

use serde_json::Value;

use super::error::MajorError;
use super::{KEEP, Major};
use crate::cluster::{Gather, keys, patroni};
use crate::engine::{MemberStep, for_each_host};
use crate::error::one_line;
use crate::inventory::Component;
use crate::names::HostName;
use crate::report::Kind;

/// How long PostgreSQL may take to be there again, and HAProxy to find it.
const STARTING: Duration = Duration::from_secs(600);
/// How long a replica may take that is copied anew.
const COPYING: Duration = Duration::from_secs(24 * 3600);

impl Major<'_> {
    pub(super) async fn beyond(&self, leader: &HostName) -> Result<Vec<String>, MajorError> {
        let done = async {
            self.lead_again(leader).await?;
            let (mut seen, rest) = futures::try_join!(self.follow_again(leader), self.rebuild(leader))?;
            seen.push(rest);
            seen.push(self.clean().await?);
            Ok(seen)
        };
        done.await.map_err(|why| MajorError::Beyond(Box::new(why)))
    }

    async fn lead_again(&self, leader: &HostName) -> Result<(), MajorError> {
        let (approved, gather) = (self.operation.approved, &self.operation.gather);
        (self.keep_inventory)().map_err(|reason| MajorError::Inventory { reason })?;
        if patroni::leader(gather).await.is_err() {
            self.operation.etcd(async |http| keys::forget(http, approved, &gather.inventory.cluster).await).await?;
        }
        self.converge(vec![leader.clone()], self.afterwards).await?;
        let leads = async |gather: &Gather<'_>| patroni::led(gather, leader).await;
        self.operation.wait(format!("{leader} to lead"), STARTING, leads).await?;
        let balancers = gather.inventory.with(Component::Haproxy).map(|host| host.name.clone());
        let balancers: Vec<HostName> = balancers.collect();
        Ok(self.operation.wait_until_found_by(&balancers, STARTING).await?)
    }

    /// Replicas make the new version of their own files where they can. Clients work meanwhile.
    async fn follow_again(&self, leader: &HostName) -> Result<Vec<String>, MajorError> {
        let replicas = self.replicas(leader);
        let parallel = replicas.len();
        let linked = for_each_host(replicas.clone(), parallel, async |to| self.link(leader, &to).await).await;
        let mut seen = Vec::new();
        for (replica, result) in linked {
            seen.push(match result {
                Ok(()) => {
                    self.operation.told(format!("{replica} has the new version without a copy of the data")).await
                }
                Err(error) => self.copied_anew(&replica, &one_line(&error)).await,
            });
        }
        self.at_all(replicas.clone(), MemberStep { role: "replica", ..self.step(KEEP, "keep") }).await?;
        self.converge(replicas, self.afterwards).await?;
        let members = self.members();
        let stream = async |gather: &Gather<'_>| patroni::streaming(gather, &members).await;
        self.operation.wait("the PostgreSQL members to stream".to_owned(), COPYING, stream).await?;
        Ok(seen)
    }

    async fn link(&self, leader: &HostName, replica: &HostName) -> Result<(), MajorError> {
        let receive = self.step("take the new version over from the leader", "receive");
        let send = self.step("send the new version", "send");
        let carried = self.operation.fleet.carry(self.operation.approved, (leader, send), (replica, receive));
        Ok(self.operation.shown(replica, receive.what, carried).await?)
    }

    async fn copied_anew(&self, replica: &HostName, why: &str) -> String {
        let message = format!("it gets a whole copy of the data from the leader: {why}");
        self.operation.reporter.for_host(replica).emit(Kind::Warned { message, help: None }).await;
        format!("{replica} was copied anew from the leader ({why})")
    }

    async fn rebuild(&self, leader: &HostName) -> Result<String, MajorError> {
        let answer = self.at(leader, self.step("update extensions and rebuild statistics", "finish")).await?;
        let seconds = answer.get("seconds").and_then(Value::as_f64).unwrap_or_default();
        Ok(self.operation.told(format!("statistics were rebuilt in {seconds:.1} s, under clients")).await)
    }

    /// The old version's files are of no use any more.
    async fn clean(&self) -> Result<String, MajorError> {
        self.at_all(self.members(), self.step("remove the old version's files", "clean")).await?;
        self.tidy().await?;
        Ok(self.operation.told(format!("the files of PostgreSQL {} are removed", self.from)).await)
    }
}
