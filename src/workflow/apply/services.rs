//! The part of a stage that is done to the cluster: waiting for its services, and changing what lives inside them.

use std::time::Duration;

use super::{ApplyError, StageRun};
use crate::cluster::postgres::{self, objects};
use crate::cluster::{self, Gather, Severity, etcd, initialize, patroni, verify};
use crate::error::one_line;
use crate::inventory::{Component, Host};
use crate::report::Kind;
use crate::role;
use crate::vault::rotation::REPLICATOR;

impl StageRun<'_> {
    pub(super) async fn wait_for_etcd_quorum(&mut self) -> Result<(), ApplyError> {
        self.wait("the etcd quorum", Duration::from_secs(90), async |gather| etcd::quorum(gather).await.map(drop))
            .await?;
        self.changed += self.planned.cluster.len();
        Ok(())
    }

    /// Whoever it is: after a claim was taken back, all that run may begin.
    pub(super) async fn wait_for_first_leader(&self) -> Result<(), ApplyError> {
        self.wait("the first PostgreSQL member", Duration::from_secs(180), async |gather| {
            patroni::leader(gather).await.map(drop)
        })
        .await
    }

    /// The claim of a member that lost its power while it created the cluster keeps all members waiting for ever. Only
    /// one that the plan told of is removed, and only while nothing has moved since.
    pub(super) async fn remove_stale_claim(&self) -> Result<(), ApplyError> {
        let survey = self.apply.survey;
        let Some(revision) = initialize::stale(&survey.view).filter(|_| !survey.started.postgres) else {
            return Ok(());
        };
        let gather = self.gather();
        let answers = survey.view.etcd.iter().find(|seen| seen.answer.known().is_some_and(|member| member.healthy));
        let host = answers.and_then(|seen| self.apply.inventory.host(&seen.host));
        let Some(http) = host.and_then(|host| etcd::client(&gather, host).ok()) else { return Ok(()) };
        let cluster = &self.apply.inventory.cluster;
        if initialize::still_stale(&gather, revision).await
            && initialize::remove(&http, self.apply.approved, cluster, revision).await?
        {
            self.tell("initialize key", "remove").await;
        }
        Ok(())
    }

    /// Patroni makes the roles when it creates the cluster, unless it lost its power just before: then no replica can log
    /// in to copy it. It makes a replica's slot with the leader's next round, and takes over one that it finds: those of
    /// a new cluster need not wait for that.
    pub(super) async fn create_what_members_need(&self) -> Result<(), ApplyError> {
        self.wait("a leader", Duration::from_secs(180), async |gather| patroni::leader(gather).await.map(drop)).await?;
        let gather = self.gather();
        let leader = self.leader(&gather).await?;
        let administrator =
            postgres::administrator(&gather, leader).map_err(|reason| ApplyError::NoLeader { reason })?;
        let desired = objects::desired(self.apply.inventory, self.apply.secrets);
        for change in objects::diff_members(&desired, &administrator.observe(&desired).await?) {
            administrator.perform(self.apply.approved, &change).await?;
            self.tell("database", &change.to_string()).await;
        }
        let new = !self.apply.survey.started.postgres;
        let replicas = self.apply.inventory.with(Component::Postgres).filter(|host| new && host.name != leader.name);
        for replica in replicas {
            administrator.create_slot(self.apply.approved, &patroni::slot(&replica.name)).await?;
        }
        Ok(())
    }

    /// A copy of a large database takes its time and goes on by itself; the reason shown says how it is doing.
    pub(super) async fn wait_for_replicas(&mut self) -> Result<(), ApplyError> {
        let changed_hosts = self.hosts();
        self.wait("the PostgreSQL members to stream", Duration::from_secs(1800), async |gather| {
            patroni::streaming(gather, &changed_hosts).await
        })
        .await?;
        self.changed += self.planned.cluster.len();
        Ok(())
    }

    /// While passwords change: Patroni takes up a login with its next round, and the one it used until then is only touched
    /// when nobody streams with it any more.
    pub(super) async fn wait_for_logins(&self) -> Result<(), ApplyError> {
        if self.apply.secrets.rotation.is_none() {
            return Ok(());
        }
        let (user, hosts) = (REPLICATOR.used(self.apply.secrets).user, self.hosts());
        let other = if user == REPLICATOR.real { REPLICATOR.second } else { REPLICATOR.real };
        self.wait(&format!("the replicas to log in as {user}"), Duration::from_secs(120), async |gather| {
            let name = patroni::leader(gather).await?;
            let leader = gather.inventory.host(&name).ok_or_else(|| format!("{name} is not in the inventory"))?;
            let names = postgres::administrator(gather, leader)?.streaming_as(other).await;
            match names.map_err(|error| one_line(&error))?.as_slice() {
                [] => patroni::streaming(gather, &hosts).await,
                names => Err(format!("{} still log in as {other}", names.join(", "))),
            }
        })
        .await
    }

    /// What all members share lives in the DCS; what differs there is patched, nothing else is touched.
    pub(super) async fn change_shared_configuration(&self) -> Result<(), ApplyError> {
        let gather = self.gather();
        let host = self.leader(&gather).await?;
        let http = patroni::client(&gather, host).map_err(|reason| ApplyError::NoLeader { reason })?;
        let actual = match patroni::config(&http).await {
            Ok(actual) => actual,
            // one that has just read new certificates listens anew
            Err(_) => {
                let answer = async |_: &Gather<'_>| patroni::config(&http).await.map_err(|error| one_line(&error));
                self.wait("Patroni of the leader", Duration::from_secs(30), answer).await?
            }
        };
        let changes = postgres::config_diff(&role::dynamic_config(self.apply.inventory), &actual);
        if changes.is_empty() {
            return Ok(());
        }
        let patch = postgres::patch(&changes);
        patroni::patch_config(&http, self.apply.approved, &patch).await?;
        for change in changes {
            self.tell("shared configuration", &change.to_string()).await;
        }
        Ok(())
    }

    /// Patroni reads the files again, and so learns what waits for a restart now.
    pub(super) async fn reset_altered(&self) -> Result<(), ApplyError> {
        let gather = self.gather();
        for (name, altered) in self.apply.survey.view.altered().filter(|(name, _)| self.apply.scope.includes(name)) {
            let Some(host) = self.apply.inventory.host(name) else { continue };
            postgres::altered::reset(&gather, self.apply.approved, host, altered).await?;
            let http = patroni::client(&gather, host).map_err(|reason| ApplyError::NoLeader { reason })?;
            patroni::reload(&http, self.apply.approved).await?;
            for one in altered {
                self.tell("parameters", &format!("reset {} on {name}, set by ALTER SYSTEM", one.name)).await;
            }
        }
        Ok(())
    }

    pub(super) async fn create_database(&mut self) -> Result<(), ApplyError> {
        // A run that was cut off may have left PostgreSQL starting.
        self.wait("a leader", Duration::from_secs(180), async |gather| patroni::leader(gather).await.map(drop)).await?;
        let gather = self.gather();
        let leader = self.leader(&gather).await?;
        let administrator =
            postgres::administrator(&gather, leader).map_err(|reason| ApplyError::NoLeader { reason })?;
        let desired = objects::desired(self.apply.inventory, self.apply.secrets);
        let difference = objects::diff(&desired, &administrator.observe(&desired).await?);
        let mut changed = 0;
        for change in difference.changes {
            administrator.perform(self.apply.approved, &change).await?;
            self.tell("database", &change.to_string()).await;
            changed += 1;
        }
        self.changed += changed;
        Ok(())
    }

    pub(super) async fn wait_until_usable(&self) -> Result<(), ApplyError> {
        self.wait("a cluster clients can use", Duration::from_secs(60), async |gather| {
            let health = cluster::assess(&cluster::gather(gather).await, gather.inventory);
            // A host that is away is told at the end; it does not keep clients from working.
            match health.problems.first() {
                Some(problem) if problem.severity == Severity::Critical => Err(problem.text.clone()),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Write through every HAProxy as the application does, and read what was written.
    pub(super) async fn prove_as_client(&mut self) -> Result<(), ApplyError> {
        let gather = self.gather();
        // One that is out of reach was left out with --limit, or the run would not have begun.
        let reached = |host: &&Host| self.apply.survey.fleet.connections.contains_key(&host.name);
        let balancers: Vec<&Host> = self.apply.inventory.with(Component::Haproxy).filter(reached).collect();
        let checks = balancers.iter().map(|host| verify::through(&gather, host, self.apply.approved));
        let mut evidence = Vec::new();
        for proof in futures::future::join_all(checks).await {
            let proof = proof?.0;
            self.reporter.emit(Kind::OutputLine { line: proof.clone() }).await;
            evidence.push(proof);
        }
        self.evidence.extend(evidence);
        Ok(())
    }

    pub(super) async fn tell(&self, resource: &str, summary: &str) {
        let event = Kind::ChangeApplied { resource: resource.to_owned(), summary: summary.to_owned(), millis: 0 };
        self.reporter.emit(event).await;
    }

    async fn leader<'g>(&self, gather: &Gather<'g>) -> Result<&'g Host, ApplyError> {
        let name = patroni::leader(gather).await.map_err(|reason| ApplyError::NoLeader { reason })?;
        let stranger = || ApplyError::NoLeader { reason: format!("{name} leads, and is not in the inventory") };
        gather.inventory.host(&name).ok_or_else(stranger)
    }

    pub(super) fn gather(&self) -> Gather<'_> {
        self.apply.survey.gather(self.apply.inventory, self.apply.secrets)
    }
}
