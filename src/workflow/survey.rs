//! Reads everything and changes nothing: connections, facts, preflight, the resources each host should have, what it
//! has, what the cluster says; and makes the plan of it. `plan` ends here, `apply` goes on from here.

mod asked;
mod by_hand;
mod error;
mod members;
mod offered;

use std::collections::{BTreeMap, BTreeSet};

use super::cluster_plan::{self, Known, Started};
use super::half_made;
use super::parameters::Restarts;
use super::stage::{Stage, by_stage};
use super::{conversion, rolling};
use crate::assets::Assets;
use crate::bundle::Offer;
use crate::cluster::postgres::Inside;
use crate::cluster::postgres::objects;
use crate::cluster::safety::departure::{self, Departure};
use crate::cluster::safety::membership::Joining;
use crate::cluster::{ClusterView, Gather};
use crate::engine::{
    Cancel, Claim, Connector, Dialer, Fleet, Hold, HoldError, Host as _, HostError, Scrutiny, for_each_host,
};
use crate::facts::{Facts, preflight, preflight::Severity};
use crate::inventory::{Component, Host, Inventory};
use crate::names::HostName;
use crate::plan::{Plan, PlannedStage, diff_resources};
use crate::report::Reporter;
use crate::resource::{Change, Observations, Resource, ResourceId};
use crate::role::{self, RoleError, Transition};
use crate::vault::Secrets;

pub use error::{HostProblem, SurveyError};
pub use offered::Coming;

/// Which hosts a run may change.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// `--limit`: only these; empty means all.
    pub limit: Vec<HostName>,
    /// `--parallel`: at most so many hosts at a time.
    pub parallel: Option<usize>,
}

impl Scope {
    pub fn includes(&self, host: &HostName) -> bool {
        self.limit.is_empty() || self.limit.contains(host)
    }
    pub fn parallel(&self, inventory: &Inventory) -> usize {
        self.parallel.unwrap_or(inventory.hosts.len()).max(1)
    }
}

/// What a survey is made from.
pub struct Surveyor<'a> {
    pub inventory: &'a Inventory,
    pub secrets: &'a Secrets,
    pub assets: &'a Assets,
    pub connector: &'a dyn Connector,
    pub reporter: &'a Reporter,
    pub cancel: &'a Cancel,
    pub scope: &'a Scope,
    /// A run that is going to change hosts locks them; without one they are only looked at.
    pub claim: Option<&'a Claim>,
    /// How closely hosts are looked at.
    pub scrutiny: Scrutiny,
    /// A bundle that all packages come from.
    pub offer: Option<&'a Offer>,
}

/// Everything known, and what follows from it.
#[must_use = "the connections have to be closed"]
pub struct Survey {
    pub fleet: Fleet,
    /// Hosts out of scope that did not answer, and why.
    pub unreachable: BTreeMap<HostName, String>,
    pub facts: BTreeMap<HostName, Facts>,
    pub desired: Desired,
    /// On the way to TLS.
    pub transition: Option<Transition>,
    /// New members of an etcd that runs, in their order.
    pub joining: Vec<Joining>,
    /// Who is taken out of the cluster.
    pub departures: Vec<Departure>,
    /// Who runs and is in no inventory.
    pub strangers: Vec<HostName>,
    pub started: Started,
    /// Whose data a new etcd is to hear of first.
    pub resumes: Option<HostName>,
    /// The superuser's password is another one than ours: the secrets belong to another cluster.
    pub stranger: bool,
    /// Members whose PostgreSQL restarts for changed parameters.
    pub restarts: Restarts,
    /// What hosts are to get of the bundle.
    pub coming: BTreeMap<HostName, Coming>,
    /// Machines that an upgrade restarts at its end, and why.
    pub reboots: BTreeMap<HostName, String>,
    /// Nobody could look inside the PostgreSQL there is.
    pub blind: bool,
    /// What differs inside the database and cannot be changed in place, or not without somebody's judgement.
    pub unchangeable: Vec<objects::Warning>,
    pub view: ClusterView,
    pub plan: Plan,
    pub warnings: Vec<preflight::Finding>,
}

type Locks = BTreeMap<HostName, Result<Hold, HoldError>>;

/// The known name nearest to a mistyped one.
fn closest(name: &str, known: &[String]) -> Option<String> {
    let near = known.iter().map(|other| (strsim::damerau_levenshtein(name, other), other));
    near.filter(|(distance, _)| *distance <= 2).min().map(|(_, other)| other.clone())
}

/// The resources of every host in scope, by stage.
pub type Desired = BTreeMap<HostName, BTreeMap<Stage, Vec<Resource>>>;

impl Survey {
    /// The same hosts with other secrets: passwords are only made once the plan is approved.
    pub fn expand_again(&mut self, surveyor: &Surveyor<'_>) -> Result<(), RoleError> {
        self.desired = surveyor.expand(&self.facts, (self.transition, &self.joining))?;
        Ok(())
    }

    /// How to ask this cluster.
    pub fn gather<'a>(&'a self, inventory: &'a Inventory, secrets: &'a Secrets) -> Gather<'a> {
        let (connections, unreachable) = (&self.fleet.connections, &self.unreachable);
        Gather { inventory, connections, unreachable, secrets: secrets.real() }
    }
}

impl Surveyor<'_> {
    pub async fn survey(&self) -> Result<Survey, SurveyError> {
        self.check_names()?;
        let parallel = self.scope.parallel(self.inventory);
        let dialer = Dialer { connector: self.connector, parallel, reporter: self.reporter };
        let mut fleet = Fleet::default();
        let reading = async {
            fleet.connect(self.inventory, dialer).await;
            match self.read(&mut fleet).await {
                // What hosts have is read before what services say. Where the two do not fit together, another run may
                // have started a service in between, unless our locks keep it out: then that has happened by now.
                Err(SurveyError::HalfMade(_)) if self.claim.is_none() => self.read(&mut fleet).await,
                read => read,
            }
        };
        // Nothing is changed here, so Ctrl-C (at a password prompt, say) may end it anywhere.
        let result = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(SurveyError::Interrupted),
            result = reading => result,
        };
        match result {
            Ok(survey) => Ok(Survey { fleet, ..survey }),
            Err(error) => {
                fleet.close(self.reporter).await;
                Err(error)
            }
        }
    }

    /// The same hosts once more, over the connections there are: what is left after a pass of a conversion.
    pub async fn again(&self, survey: &mut Survey) -> Result<(), SurveyError> {
        let mut fleet = std::mem::take(&mut survey.fleet);
        let read = self.read(&mut fleet).await;
        survey.fleet = Fleet::default();
        let result = read.map(|read| *survey = read);
        survey.fleet = fleet;
        result
    }

    fn check_names(&self) -> Result<(), SurveyError> {
        let known: Vec<String> = self.inventory.everybody().map(|host| host.name.to_string()).collect();
        match self.scope.limit.iter().find(|name| self.inventory.known(name).is_none()) {
            None => Ok(()),
            Some(name) => {
                let suggested = closest(name.as_str(), &known);
                Err(SurveyError::UnknownHost { name: name.clone(), suggested, known })
            }
        }
    }

    /// The hosts this run is about; the others are only asked how the cluster is.
    fn scoped(&self) -> impl Iterator<Item = &Host> {
        self.inventory.hosts.iter().filter(|host| self.scope.includes(&host.name))
    }

    /// The same, and those that leave as far as they can be reached: one that has left may be switched off.
    fn changed<'s>(&'s self, facts: &'s BTreeMap<HostName, Facts>) -> impl Iterator<Item = &'s Host> {
        let leaving = self.inventory.leaving.iter().filter(|host| facts.contains_key(&host.name));
        self.scoped().chain(leaving.filter(|host| self.scope.includes(&host.name)))
    }

    fn gather<'g>(&'g self, fleet: &'g Fleet, unreachable: &'g BTreeMap<HostName, String>) -> Gather<'g> {
        Gather { inventory: self.inventory, connections: &fleet.connections, unreachable, secrets: self.secrets.real() }
    }

    async fn read(&self, fleet: &mut Fleet) -> Result<Survey, SurveyError> {
        let facts = self.usable_facts(fleet).await?;
        let locks = self.others(fleet);
        self.bundle_fits(&facts)?;
        let warnings = self.preflight(&facts)?;
        let mut desired = self.expand(&facts, (None, &[]))?;
        let parallel = self.scope.parallel(self.inventory);
        let names: Vec<HostName> = desired.keys().cloned().collect();
        let here = &*fleet;
        // One wave: what the hosts have, what the services say, and what is inside PostgreSQL.
        let (observed, (view, mut inside), locks) = futures::join!(
            for_each_host(names, parallel, |name| {
                let stages = &desired[&name];
                async move { observe(here, &name, stages).await }
            }),
            self.ask(here, &facts),
            self.lock(here, locks),
        );
        self.keep(fleet, locks)?;
        let mut observed = usable(observed)?;
        let unreachable = fleet.reasons();
        let started = Started::of(self.inventory, &facts, &view);
        half_made::check(self.inventory, &facts, &view)?;
        let resumes = cluster_plan::resuming(self.inventory, &facts, (&view, started));
        let resumes = resumes.first().map(|host| host.name.clone());
        self.check_cut((started, resumes.is_some()))?;
        self.check_tls(&view)?;
        let transition = conversion::next(self.inventory, started, &view);
        let (departures, strangers) = self.departures(fleet, &view).await?;
        let joining = self.joining(&departure::without(&view, &departures), transition)?;
        if transition.is_some() || !joining.is_empty() {
            desired = self.expand(&facts, (transition, &joining))?;
            let (names, fleet) = (desired.keys().cloned().collect(), &*fleet);
            let again = for_each_host(names, parallel, |name| {
                let stages = &desired[&name];
                async move { observe(fleet, &name, stages).await }
            });
            observed = usable(again.await)?;
        }
        // A replica may still have to hear of a new password; it is of the same cluster as its leader.
        let leading = view.leader().and_then(|leader| inside.get(&leader.host)?.as_ref().ok());
        let stranger = match leading {
            Some(leading) => leading.stranger,
            None => inside.values().flatten().any(|inside| inside.stranger),
        };
        let inside = match view.leader() {
            Some(leader) => inside.remove(&leader.host).and_then(Result::ok),
            None => self.inside_before_the_first_start(started),
        };
        let mut unchangeable = inside.as_ref().map(|inside| inside.difference.warnings.clone()).unwrap_or_default();
        unchangeable.extend(by_hand::warnings(&desired, &observed));
        unchangeable.extend(view.excess().filter_map(|(leader, excess)| excess.membership(leader)));
        let blind = inside.is_none();
        let (inventory, scope, inside) = (self.inventory, self.scope, inside.as_ref());
        let known = Known {
            inventory,
            scope,
            facts: &facts,
            view: &view,
            inside,
            started,
            resumes: resumes.as_ref(),
            transition,
            joining: &joining,
            departures: &departures,
        };
        let restarts = Restarts::of(known);
        let mut plan = self.plan(&desired, &observed, (known, &restarts));
        let coming = self.bring(fleet, &mut plan).await?;
        let fleet = Fleet::default();
        Ok(Survey {
            fleet,
            unreachable,
            facts,
            desired,
            transition,
            joining,
            departures,
            strangers,
            started,
            resumes,
            stranger,
            restarts,
            coming,
            reboots: BTreeMap::new(),
            blind,
            unchangeable,
            view,
            plan,
            warnings,
        })
    }

    fn inside_before_the_first_start(&self, started: Started) -> Option<Inside> {
        (!started.postgres).then(|| Inside::after_bootstrap(&objects::desired(self.inventory, self.secrets)))
    }

    /// Facts of every host in scope, or all the reasons why not; hosts out of scope may be away.
    async fn usable_facts(&self, fleet: &mut Fleet) -> Result<BTreeMap<HostName, Facts>, SurveyError> {
        let mut problems = Vec::new();
        for host in self.scoped() {
            if let Some(error) = fleet.unreachable.remove(&host.name) {
                problems.push((host.name.clone(), error.into()));
            }
        }
        let first = fleet.connections.keys().next().cloned().into_iter().collect();
        let then = |host: &Host| self.after_facts(host);
        let (gathered, lock) = futures::join!(
            fleet.gather_facts_before(then, self.inventory, self.scrutiny, self.reporter),
            self.lock(fleet, first)
        );
        // Whoever has the first host does the work; the others need hear nothing else.
        self.keep(fleet, lock)?;
        let mut facts = BTreeMap::new();
        for (name, result) in gathered {
            match result {
                Ok(found) => _ = facts.insert(name, found),
                Err(error) if self.scope.includes(&name) && self.inventory.host(&name).is_some() => {
                    problems.push((name, error.into()));
                }
                // it answers SSH and nothing else; `gather` will say what it does not get from it
                Err(_) => _ = fleet.connections.remove(&name),
            }
        }
        if problems.is_empty() { Ok(facts) } else { Err(SurveyError::Hosts { problems }) }
    }

    /// Hosts whose lock is still to be taken: also those out of scope, since what all members share changes with any
    /// of them, and two runs with different limits would both do that.
    fn others(&self, fleet: &Fleet) -> Vec<HostName> {
        fleet.connections.keys().filter(|name| !fleet.holds.contains_key(name)).cloned().collect()
    }

    async fn lock(&self, fleet: &Fleet, hosts: Vec<HostName>) -> Locks {
        match self.claim {
            Some(claim) => fleet.take(hosts, claim).await,
            None => Locks::new(),
        }
    }

    /// Locks that were to be had are kept, also when others were not: closing the fleet gives all of them back.
    fn keep(&self, fleet: &mut Fleet, locks: Locks) -> Result<(), SurveyError> {
        let mut problems = Vec::new();
        for (name, lock) in locks {
            match lock {
                Ok(hold) => _ = fleet.holds.insert(name, hold),
                // it will not be changed, and says so when it is asked for something
                Err(HoldError::Transport { .. }) if !self.scope.includes(&name) => {}
                Err(error) => problems.push((name, error.into())),
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(SurveyError::Hosts { problems }) }
    }

    fn preflight(&self, facts: &BTreeMap<HostName, Facts>) -> Result<Vec<preflight::Finding>, SurveyError> {
        let mut findings = preflight::check_all(self.inventory, facts);
        findings.retain(|finding| self.scope.includes(&finding.host) && finding.severity != Severity::Advise);
        let (refusals, warnings): (Vec<_>, Vec<_>) =
            findings.into_iter().partition(|finding| finding.severity == Severity::Refuse);
        if refusals.is_empty() {
            return Ok(warnings);
        }
        let problems = refusals.into_iter().map(|refusal| (refusal.host.clone(), refusal.into())).collect();
        Err(SurveyError::Hosts { problems })
    }

    fn expand(
        &self,
        facts: &BTreeMap<HostName, Facts>,
        (transition, joining): (Option<Transition>, &[Joining]),
    ) -> Result<Desired, RoleError> {
        let expand = |host: &Host| {
            let (inventory, secrets, assets) = (self.inventory, self.secrets, self.assets);
            let input = role::Input { inventory, host, facts: &facts[&host.name], secrets, assets };
            let joins = joining.iter().find(|one| one.host == host.name);
            let roles = match (transition, joins) {
                (Some(transition), _) => role::expand_during(&input, transition)?,
                (None, Some(joins)) => role::expand_joining(&input, &joins.initial_cluster)?,
                (None, None) => role::expand(&input)?,
            };
            Ok((host.name.clone(), by_stage(roles)))
        };
        let mut desired = self.changed(facts).map(expand).collect::<Result<Desired, RoleError>>()?;
        self.mark_bundled(&mut desired);
        Ok(desired)
    }

    /// `--limit` must not cut a step that only works with all its members.
    fn check_cut(&self, (started, resumes): (Started, bool)) -> Result<(), SurveyError> {
        let needs = [
            (!started.etcd, Component::Etcd, "the first start of etcd"),
            (!started.postgres || resumes, Component::Postgres, "the first start of PostgreSQL"),
        ];
        for (needed, component, step) in needs {
            let (all, missing) = self.cut(component);
            if needed && !missing.is_empty() {
                return Err(SurveyError::Cut { step: step.to_owned(), all, missing });
            }
        }
        Ok(())
    }

    /// All hosts of a component, and those that are out of scope.
    fn cut(&self, component: Component) -> (Vec<String>, Vec<String>) {
        let all: Vec<&Host> = self.inventory.with(component).collect();
        let missing = all.iter().filter(|host| !self.scope.includes(&host.name)).map(|host| host.name.to_string());
        (all.iter().map(|host| host.name.to_string()).collect(), missing.collect())
    }

    fn check_tls(&self, view: &ClusterView) -> Result<(), SurveyError> {
        let hosts = conversion::speaks_tls(view);
        if self.inventory.tls.enabled || hosts.is_empty() {
            return Ok(());
        }
        Err(SurveyError::TlsOff { hosts: hosts.into_iter().map(ToString::to_string).collect() })
    }

    fn plan(
        &self,
        desired: &Desired,
        observed: &BTreeMap<HostName, Observations>,
        (known, restarts): (Known<'_>, &Restarts),
    ) -> Plan {
        let mut cluster = known.changes();
        let mut hosts = changes_by_stage(desired, observed);
        let stages = Stage::ALL.into_iter().map(|stage| PlannedStage {
            title: stage.title().to_owned(),
            hosts: hosts.remove(&stage).unwrap_or_default(),
            cluster: cluster.remove(&stage).unwrap_or_default(),
            ..PlannedStage::default()
        });
        let left_out = self.inventory.hosts.iter().map(|host| &host.name).filter(|host| !self.scope.includes(host));
        let left_out: Vec<&str> = left_out.map(HostName::as_str).collect();
        let mut plan = Plan {
            cluster: self.inventory.cluster.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            part_of: conversion::told(known.transition, &left_out),
            stages: stages.collect(),
            overridden: self.assets.overridden(),
            notes: Vec::new(),
        };
        rolling::describe(&mut plan, (known.view, known.departures), self.inventory, restarts);
        if known.inside.is_none() && !plan.is_empty() {
            plan.add_to(Stage::Database.title(), cluster_plan::unseen_database(self.inventory));
        }
        plan
    }
}

/// Each host is compared once, as one list: a unit of one stage depends on the package of an earlier one.
pub(super) fn changes_by_stage<S: Ord + Copy>(
    desired: &BTreeMap<HostName, BTreeMap<S, Vec<Resource>>>,
    observed: &BTreeMap<HostName, Observations>,
) -> BTreeMap<S, BTreeMap<HostName, Vec<Change>>> {
    let mut planned: BTreeMap<S, BTreeMap<HostName, Vec<Change>>> = BTreeMap::new();
    for (name, stages) in desired {
        let all: Vec<Resource> = stages.values().flatten().cloned().collect();
        let changes = diff_resources(&all, &observed[name]);
        for (stage, resources) in stages {
            let here: BTreeSet<ResourceId> = resources.iter().map(Resource::id).collect();
            let of_stage: Vec<Change> =
                changes.iter().filter(|change| here.contains(&change.resource)).cloned().collect();
            if !of_stage.is_empty() {
                planned.entry(*stage).or_default().insert(name.clone(), of_stage);
            }
        }
    }
    planned
}

pub(super) async fn observe<S>(
    fleet: &Fleet,
    name: &HostName,
    stages: &BTreeMap<S, Vec<Resource>>,
) -> Result<Observations, HostError> {
    let probes: Vec<_> = stages.values().flatten().flat_map(Resource::probes).collect();
    match fleet.host(name) {
        Some(host) => host.observe(&probes).await,
        None => Ok(Observations::default()),
    }
}

pub(super) fn usable<T>(
    answers: BTreeMap<HostName, Result<T, HostError>>,
) -> Result<BTreeMap<HostName, T>, SurveyError> {
    let mut problems = Vec::new();
    let mut usable = BTreeMap::new();
    for (name, result) in answers {
        match result {
            Ok(answer) => _ = usable.insert(name, answer),
            Err(error) => problems.push((name, error.into())),
        }
    }
    if problems.is_empty() { Ok(usable) } else { Err(SurveyError::Hosts { problems }) }
}
