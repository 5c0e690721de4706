//! `reset`: the services of all hosts stop, those that others need last, and what `apply` has put there is taken away. What
//! there is left to do is seen on the hosts, so a reset that was cut off is finished by the next.

pub mod foreign;

use std::collections::BTreeMap;
use std::time::Instant;

use super::apply::ApplyError;
use super::survey::{changes_by_stage, observe, usable};
use super::{SurveyError, cluster_plan};
use crate::approval::Approved;
use crate::assets::Assets;
use crate::cluster::{Gather, patroni};
use crate::engine::{Cancel, Converge, Fleet, Interruption, for_each_host};
use crate::error::{Exit, Fails};
use crate::facts::Facts;
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::plan::{Plan, PlannedStage};
use crate::report::{Kind, Outcome, Reporter, millis_since};
use crate::resource::Resource;
use crate::role::{self, Data, RoleError};
use crate::vault::Secrets;

/// The order in which a cluster goes: nobody comes in any more, PostgreSQL stops while etcd still counts, then etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Haproxy,
    Postgres,
    Etcd,
    Removal,
}

impl Step {
    pub const ALL: [Self; 4] = [Self::Haproxy, Self::Postgres, Self::Etcd, Self::Removal];

    pub fn title(self) -> &'static str {
        match self {
            Self::Haproxy => "Stop HAProxy",
            Self::Postgres => "Stop PostgreSQL, the leader last",
            Self::Etcd => "Stop etcd",
            Self::Removal => "Remove what apply has made",
        }
    }

    fn of(resource: &Resource) -> Self {
        match resource {
            Resource::Unit(unit) if unit.name == "haproxy.service" => Self::Haproxy,
            Resource::Unit(unit) if unit.name == "patroni.service" => Self::Postgres,
            Resource::Unit(unit) if unit.name == "etcd.service" => Self::Etcd,
            _ => Self::Removal,
        }
    }
}

type Desired = BTreeMap<HostName, BTreeMap<Step, Vec<Resource>>>;

/// The hosts as they are and as they are to be.
pub struct Ruin {
    desired: Desired,
    pub plan: Plan,
}

/// What a reset is made from.
#[derive(Clone, Copy)]
pub struct Reset<'a> {
    pub inventory: &'a Inventory,
    pub secrets: &'a Secrets,
    pub assets: &'a Assets,
    pub fleet: &'a Fleet,
    pub data: Data,
}

impl Reset<'_> {
    /// What there is to do on each host; changes nothing.
    pub async fn plan(&self, facts: &BTreeMap<HostName, Facts>) -> Result<Ruin, SurveyError> {
        let desired = self.expand(facts)?;
        let names = desired.keys().cloned().collect();
        let observed = for_each_host(names, desired.len(), |name| {
            let steps = &desired[&name];
            async move { observe(self.fleet, &name, steps).await }
        });
        let mut hosts = changes_by_stage(&desired, &usable(observed.await)?);
        let stage = |step: Step| PlannedStage {
            title: step.title().to_owned(),
            hosts: hosts.remove(&step).unwrap_or_default(),
            ..PlannedStage::default()
        };
        let plan = Plan {
            cluster: self.inventory.cluster.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stages: Step::ALL.into_iter().map(stage).collect(),
            overridden: self.assets.overridden(),
            notes: self.notes(facts),
            ..Plan::default()
        };
        Ok(Ruin { desired, plan })
    }

    fn expand(&self, facts: &BTreeMap<HostName, Facts>) -> Result<Desired, RoleError> {
        let expand = |(name, facts)| {
            let host = self.inventory.known(name).expect("facts are of hosts of the inventory");
            let (inventory, secrets, assets) = (self.inventory, self.secrets, self.assets);
            let roles = role::expand_reset(&role::Input { inventory, host, facts, secrets, assets }, self.data)?;
            let mut steps: BTreeMap<Step, Vec<Resource>> = BTreeMap::new();
            for resource in roles.into_iter().flat_map(|role| role.resources) {
                steps.entry(Step::of(&resource)).or_default().push(resource);
            }
            Ok((name.clone(), steps))
        };
        facts.iter().map(expand).collect()
    }

    fn notes(&self, facts: &BTreeMap<HostName, Facts>) -> Vec<String> {
        let with_data = facts.iter().filter(|(_, facts)| cluster_plan::has_data(self.inventory, facts));
        let with_data: Vec<&str> = with_data.map(|(name, _)| name.as_str()).collect();
        let mut notes = vec!["Packages, logs, the vault and the hosts' memory of runs stay.".to_owned()];
        if !with_data.is_empty() && self.data == Data::Kept {
            notes.push(format!(
                "The database stays on {}, and the next apply goes on with it. Keep the vault: it has the passwords.",
                with_data.join(", ")
            ));
        }
        let own: Vec<&str> =
            self.inventory.everybody().flat_map(|host| &host.own_roles).map(|role| role.as_str()).collect();
        if let Some(role) = own.first() {
            notes.push(format!("What the site's own roles have made stays too ({role})."));
        }
        notes
    }
}

/// One run of an approved plan.
pub struct Resetting<'a> {
    pub reset: Reset<'a>,
    pub ruin: &'a Ruin,
    pub gather: Gather<'a>,
    pub approved: &'a Approved,
    pub reporter: &'a Reporter,
    pub cancel: &'a Cancel,
}

impl Resetting<'_> {
    /// Every step with something to do; how many changes were made.
    pub async fn run(&self) -> Result<usize, ApplyError> {
        let planned: Vec<(Step, &PlannedStage)> =
            Step::ALL.into_iter().zip(&self.ruin.plan.stages).filter(|(_, planned)| planned.count() > 0).collect();
        let titles = |steps: &[(Step, &PlannedStage)]| steps.iter().map(|(step, _)| step.title()).collect::<Vec<_>>();
        let all = titles(&planned).into_iter().map(str::to_owned).collect();
        self.reporter.emit(Kind::StagesPlanned { titles: all }).await;
        let mut changed = 0;
        for (place, (step, stage)) in planned.iter().enumerate() {
            let interrupted =
                || ApplyError::Interrupted { done: titles(&planned[..place]), left: titles(&planned[place..]) };
            if self.cancel.is_cancelled() {
                return Err(interrupted());
            }
            changed += match self.step(*step, stage).await {
                Err(error) if error.exit() == Exit::Interrupted => return Err(interrupted()),
                result => result?,
            };
        }
        Ok(changed)
    }

    async fn step(&self, step: Step, planned: &PlannedStage) -> Result<usize, ApplyError> {
        let reporter = self.reporter.for_stage(step.title());
        let begun = Instant::now();
        let hosts: Vec<HostName> = planned.hosts.keys().cloned().collect();
        reporter.emit(Kind::StageStarted { hosts: hosts.clone() }).await;
        let (mut changed, mut result) = (0, Ok(()));
        for wave in self.waves(step, hosts).await {
            result = self.converge(step, (wave, &reporter), &mut changed).await;
            if result.is_err() {
                break;
            }
        }
        let outcome = match &result {
            Ok(()) => Outcome::Ok,
            Err(error) if error.exit() == Exit::Interrupted => Outcome::Interrupted,
            Err(_) => Outcome::Failed,
        };
        reporter.emit(Kind::StageFinished { outcome, changed, millis: millis_since(begun) }).await;
        result.map(|()| changed)
    }

    /// Replicas stop before their leader: none takes over, and what the leader writes at last is nowhere else, so its copy
    /// can be told from theirs.
    async fn waves(&self, step: Step, hosts: Vec<HostName>) -> Vec<Vec<HostName>> {
        let leader = match step {
            Step::Postgres => patroni::leader(&self.gather).await.ok(),
            _ => None,
        };
        let (last, first): (Vec<_>, Vec<_>) = hosts.into_iter().partition(|host| Some(host) == leader.as_ref());
        [first, last].into_iter().filter(|wave| !wave.is_empty()).collect()
    }

    async fn converge(
        &self,
        step: Step,
        (hosts, reporter): (Vec<HostName>, &Reporter),
        changed: &mut usize,
    ) -> Result<(), ApplyError> {
        let parallel = hosts.len();
        let results = for_each_host(hosts, parallel, |name| async move {
            let Some(host) = self.reset.fleet.host(&name) else { return Ok(0) };
            let resources = self.ruin.desired[&name].get(&step).map(Vec::as_slice).unwrap_or_default();
            let reporter = &reporter.for_host(&name);
            let (approved, cancel, interruption) = (self.approved, self.cancel, Interruption::Refused);
            Converge { host: &host, resources, approved, interruption, reporter, cancel }.told().await
        });
        ApplyError::gathered(step.title(), results.await, changed)
    }
}
