//! `apply`: the product as a list of stages. Everything it changes was in the plan that was approved; what is right
//! already is left alone, so an interrupted run is finished by running it again.

mod carry;
mod departure;
mod error;
mod etcd;
mod haproxy;
mod hosts;
mod joining;
mod parameters;
mod rolling;
mod services;
mod upgrade;
mod wait;

use std::time::Instant;

use super::stage::Stage;
use super::survey::{Scope, Survey};
use crate::approval::Approved;
use crate::bundle::Offer;
use crate::engine::Cancel;
use crate::error::{Exit, Fails};
use crate::inventory::{Component, Inventory};
use crate::names::HostName;
use crate::plan::PlannedStage;
use crate::report::{Kind, Outcome, Reporter, millis_since};
use crate::vault::Secrets;

pub use error::ApplyError;

/// One run of an approved plan.
pub struct Apply<'a> {
    pub inventory: &'a Inventory,
    pub secrets: &'a Secrets,
    pub survey: &'a Survey,
    pub scope: &'a Scope,
    pub approved: &'a Approved,
    pub reporter: &'a Reporter,
    pub cancel: &'a Cancel,
    /// A bundle that all packages come from.
    pub offer: Option<&'a Offer>,
}

/// What a successful run did and proved.
#[derive(Debug, Default)]
pub struct Applied {
    pub changed: usize,
    /// What a client did and saw: "wrote through lb1:5432 …".
    pub evidence: Vec<String>,
}

impl Applied {
    /// And what another pass of the same run did.
    pub fn add(&mut self, other: Self) {
        self.changed += other.changed;
        self.evidence.extend(other.evidence);
    }
}

/// One stage of one run.
struct StageRun<'a> {
    apply: &'a Apply<'a>,
    stage: Stage,
    planned: &'a PlannedStage,
    reporter: &'a Reporter,
    changed: usize,
    evidence: Vec<String>,
}

impl StageRun<'_> {
    /// The steps of every stage. All hosts finish a step before the next one begins.
    async fn run(&mut self) -> Result<(), ApplyError> {
        match self.stage {
            Stage::Prepare => {
                self.take_hosts_out().await?;
                self.converge_hosts().await
            }
            Stage::Carry => self.carry_packages().await,
            Stage::Packages | Stage::Firewall => self.converge_hosts().await,
            Stage::Etcd => {
                self.converge_etcd_members().await?;
                self.join_etcd_members().await?;
                self.roll_etcd_members().await?;
                self.wait_for_etcd_quorum().await
            }
            Stage::Postgres => {
                self.remove_stale_claim().await?;
                self.converge_first_postgres_member().await?;
                self.converge_other_postgres_members().await?;
                self.create_what_members_need().await?;
                self.change_shared_configuration().await?;
                self.reset_altered().await?;
                self.roll_postgres_members().await?;
                self.restart_for_parameters().await?;
                self.wait_for_replicas().await?;
                self.wait_for_logins().await
            }
            Stage::Database => self.create_database().await,
            Stage::Haproxy => self.converge_balancers().await,
            Stage::SiteRoles => self.converge_hosts().await,
            Stage::Verify => {
                self.wait_until_usable().await?;
                self.prove_as_client().await?;
                self.clear_store().await
            }
        }
    }
}

impl Apply<'_> {
    /// The stages in their order; the first that fails is the last.
    pub async fn run(&self) -> Result<Applied, ApplyError> {
        let mut applied = Applied::default();
        let planned: Vec<(Stage, &PlannedStage)> = self.planned_stages().collect();
        let titles = planned.iter().map(|(stage, _)| stage.title().to_owned()).collect();
        self.reporter.emit(Kind::StagesPlanned { titles }).await;
        for (place, (stage, stage_plan)) in planned.iter().enumerate() {
            if self.cancel.is_cancelled() {
                return Err(interrupted(&planned, place));
            }
            match self.stage(*stage, stage_plan, &mut applied).await {
                Err(error) if error.exit() == Exit::Interrupted => return Err(interrupted(&planned, place)),
                result => result?,
            }
        }
        Ok(applied)
    }

    /// Stages with something to do, and always the closing verification.
    fn planned_stages(&self) -> impl Iterator<Item = (Stage, &PlannedStage)> {
        let all = Stage::ALL.into_iter().zip(&self.survey.plan.stages);
        all.filter(|(stage, planned)| planned.count() > 0 || *stage == Stage::Verify)
    }

    async fn stage(&self, stage: Stage, planned: &PlannedStage, applied: &mut Applied) -> Result<(), ApplyError> {
        let reporter = self.reporter.for_stage(stage.title());
        let begun = Instant::now();
        let hosts: Vec<HostName> = match stage {
            Stage::Verify => self.inventory.with(Component::Haproxy).map(|host| host.name.clone()).collect(),
            _ => planned.hosts.keys().cloned().collect(),
        };
        reporter.emit(Kind::StageStarted { hosts }).await;
        let mut run = StageRun { apply: self, stage, planned, reporter: &reporter, changed: 0, evidence: Vec::new() };
        let result = run.run().await;
        let outcome = match &result {
            Ok(()) => Outcome::Ok,
            Err(error) if error.exit() == Exit::Interrupted => Outcome::Interrupted,
            Err(_) => Outcome::Failed,
        };
        let StageRun { changed, evidence, .. } = run;
        reporter.emit(Kind::StageFinished { outcome, changed, millis: millis_since(begun) }).await;
        applied.changed += changed;
        applied.evidence.extend(evidence);
        result
    }
}

fn interrupted(planned: &[(Stage, &PlannedStage)], place: usize) -> ApplyError {
    let titles = |stages: &[(Stage, &PlannedStage)]| stages.iter().map(|(stage, _)| stage.title()).collect();
    ApplyError::Interrupted { done: titles(&planned[..place]), left: titles(&planned[place..]) }
}
