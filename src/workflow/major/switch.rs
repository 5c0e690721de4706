//! From the last write of the old version until the new one is in its place.

use jiff::Timestamp;
use serde_json::Value;

use super::error::MajorError;
use super::{KEEP, Major};
use crate::cluster::keys;
use crate::cluster::maintenance::Note;
use crate::engine::{MemberStep, for_each_host};
use crate::error::one_line;
use crate::names::HostName;
use crate::report::Kind;
use crate::workflow::whole::PATRONI;

impl Major<'_> {
    pub(super) async fn switch(&self, leader: &HostName) -> Result<Vec<String>, MajorError> {
        let mut seen = match self.until_it_is_in_its_place(leader).await {
            Ok(seen) => seen,
            Err(why) => return Err(self.back_because_of(why).await),
        };
        seen.extend(self.beyond(leader).await?);
        Ok(seen)
    }

    async fn until_it_is_in_its_place(&self, leader: &HostName) -> Result<Vec<String>, MajorError> {
        self.stop(leader).await?;
        self.not_interrupted()?;
        let step = self.step("upgrade the data (pg_upgrade --link)", "upgrade");
        let (answer, offers) = futures::join!(self.at(leader, step), self.offers(leader));
        let seconds = answer?.get("seconds").and_then(Value::as_f64).unwrap_or_default();
        let seen = vec![self.operation.told(format!("pg_upgrade took {seconds:.1} s on {leader}")).await];
        self.not_interrupted()?;
        if !offers.is_empty() {
            // what the new version changes as soon as it runs cannot be packed later
            self.at(leader, MemberStep { input: &offers, ..self.step("pack what is new for the replicas", "pack") })
                .await?;
        }
        self.not_interrupted()?;
        // from here on there is no way back: whoever looks later sees it on this host
        self.at(leader, MemberStep { role: "leader", ..self.step(KEEP, "keep") }).await?;
        Ok(seen)
    }

    fn not_interrupted(&self) -> Result<(), MajorError> {
        if self.operation.cancel.is_cancelled() { Err(MajorError::Interrupted) } else { Ok(()) }
    }

    /// Everybody stops, the leader first, so that the replicas have all it wrote.
    async fn stop(&self, leader: &HostName) -> Result<(), MajorError> {
        let who = "xnat-provision upgrade --major".to_owned();
        let reason = format!("the upgrade to PostgreSQL {}", self.to);
        // In maintenance mode PostgreSQL goes on when Patroni stops, and nobody takes over.
        self.operation.pause(&Note { reason, who, since: Timestamp::now() }).await?;
        self.at_all(self.members(), self.step("keep the old version from being started", "hold")).await?;
        self.operation.stop(PATRONI, self.members()).await?;
        self.no_more_pause().await?;
        let stop = self.step("stop PostgreSQL", "stop");
        let ended = self.at(leader, MemberStep { role: "leader", ..stop }).await?;
        let state = ended.get("state").and_then(Value::as_str).unwrap_or_default();
        if state != "shut down" {
            return Err(MajorError::NotShutDown { host: leader.to_string(), state: state.to_owned() });
        }
        self.at_all(self.replicas(leader), MemberStep { role: "replica", ..stop }).await
    }

    pub(super) async fn no_more_pause(&self) -> Result<(), MajorError> {
        let (approved, cluster) = (self.operation.approved, &self.operation.gather.inventory.cluster);
        Ok(self.operation.etcd(async |http| keys::resume(http, approved, cluster).await).await?)
    }

    /// Which files the replicas have. One that cannot tell is copied anew later, when it cannot take part either.
    async fn offers(&self, leader: &HostName) -> Vec<String> {
        let replicas = self.replicas(leader);
        let (parallel, step) = (replicas.len(), self.step("list files", "offer"));
        let answers = for_each_host(replicas, parallel, async |host| self.at(&host, step).await).await;
        answers.into_values().flatten().map(|answer| answer.to_string()).collect()
    }

    /// The old version again, and why.
    async fn back_because_of(&self, why: MajorError) -> MajorError {
        let why = Box::new(why);
        let message = format!("taking the old version up again: {}", one_line(why.as_ref()));
        self.operation.reporter.emit(Kind::Warned { message, help: None }).await;
        match self.back().await {
            Ok(_) => MajorError::Back { why },
            Err(back) => MajorError::Stuck { why, back: Box::new(back) },
        }
    }
}
