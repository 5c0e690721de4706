//! `upgrade`: a survey whose hosts want newer packages. What is found becomes ordinary resources in the stages of the
//! services that run them, so that `apply`'s own machinery installs and restarts, host by host, and an interrupted run is
//! finished by running it again.

mod system;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::parameters::Restarts;
use super::rolling;
use super::stage::Stage;
use super::survey::{Desired, Survey, SurveyError, Surveyor, changes_by_stage, observe, usable};
use crate::cluster::postgres::activity;
use crate::engine::{Newest, Question, Step, for_each_host};
use crate::error::{Exit, Fails};
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::plan::{Plan, PlannedStage};
use crate::resource::{Change, Effect, Package, PackageWanted, Replace, Resource, Source};

/// Where etcd's data is saved before a member's package changes.
pub const ETCD_SAVED: &str = "/var/backups/etcd-before-upgrade.db";

/// What is upgraded: the packages of these, or of everything in the roles when there is none.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub only: BTreeSet<Part>,
    /// And every other package.
    pub system: bool,
    /// Machines that ask for it are restarted afterwards.
    pub reboot: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Part {
    Etcd,
    Patroni,
    Postgresql,
    Haproxy,
}

impl Selection {
    fn takes(&self, stage: Stage, package: &str) -> bool {
        let part = match stage {
            Stage::Etcd => Part::Etcd,
            Stage::Postgres if package.starts_with("postgresql") => Part::Postgresql,
            Stage::Postgres => Part::Patroni,
            Stage::Haproxy => Part::Haproxy,
            _ => return self.only.is_empty(),
        };
        self.only.is_empty() || self.only.contains(&part)
    }

    fn takes_stage(&self, stage: Stage) -> bool {
        // its packages are only looked at for what an interrupted installation has left
        stage == Stage::Packages || ["postgresql", "other"].iter().any(|package| self.takes(stage, package))
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum UpgradeError {
    #[error("the cluster is not as the inventory says; nothing was changed:\n{}", list.join("\n"))]
    #[diagnostic(
        code(xnat::upgrade::not_as_wanted),
        help("see `xnat-provision plan`, bring it up to date with `xnat-provision apply`, then upgrade")
    )]
    NotAsWanted { list: Vec<String> },
    #[error("some packages cannot be upgraded; nothing was changed:\n{}", list.join("\n"))]
    #[diagnostic(
        code(xnat::upgrade::packages),
        help(
            "`apt-get -s install PACKAGE` on the host says more; what stands in the way is often a pin under [packages], or a source that does not fit the release"
        )
    )]
    Packages { list: Vec<String> },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Survey(#[from] SurveyError),
}

impl Fails for UpgradeError {
    fn exit(&self) -> Exit {
        match self {
            Self::NotAsWanted { .. } | Self::Packages { .. } => Exit::Failed,
            Self::Survey(error) => error.exit(),
        }
    }
}

/// Stages whose services have packages, in the order in which they are upgraded.
const STAGES: [Stage; 4] = [Stage::Etcd, Stage::Postgres, Stage::Haproxy, Stage::SiteRoles];

/// Make the survey's plan one of upgrades. Looks, and changes nothing.
pub async fn prepare(surveyor: &Surveyor<'_>, survey: &mut Survey, what: &Selection) -> Result<(), UpgradeError> {
    let list = unwanted(survey);
    if !list.is_empty() {
        return Err(UpgradeError::NotAsWanted { list });
    }
    let asked = questions(&survey.desired, surveyor.inventory, what);
    let answers = ask(surveyor, survey, (&asked, what)).await?;
    let (steps, notes) = sorted(&asked, &answers, surveyor.offer.is_some())?;
    survey.reboots = system::reboots(&answers, &steps, what);
    survey.desired = desired(&survey.desired, &steps, what);
    system::count_what_is_loaded(&mut survey.desired, &answers, &survey.reboots);
    survey.plan.notes.extend(notes);
    survey.plan.notes.extend(system::kept_back(&answers));
    surveyor.mark_bundled(&mut survey.desired);
    compare(surveyor, survey).await?;
    surveyor.bring_again(survey).await?;
    system::describe(survey, surveyor.inventory);
    Ok(())
}

/// A run that was cut off may have left HAProxy sending nobody to a replica, and this one ends that.
const MENDED: Stage = Stage::Haproxy;

/// What `apply` would do besides restarting what runs an older version.
fn unwanted(survey: &Survey) -> Vec<String> {
    let is_ours = |change: &Change| match change.resource.kind() {
        "package" => true,
        "unit" => matches!(change.effect, Effect::Restart | Effect::RollingRestart),
        _ => false,
    };
    let mut list: Vec<String> = survey.plan.part_of.iter().cloned().collect();
    for stage in &survey.plan.stages {
        let mended = stage.title == MENDED.title();
        list.extend(stage.cluster.iter().filter(|_| !mended).map(|change| change.title.clone()));
        for (host, changes) in &stage.hosts {
            let others = changes.iter().filter(|change| !is_ours(change));
            list.extend(others.map(|change| format!("{host}: {}: {}", change.resource, change.summary)));
        }
    }
    list
}

type Groups = BTreeMap<Stage, Vec<PackageWanted>>;

/// The packages of each host, by the stage whose units run them. What no unit runs comes with the site's own roles.
fn questions(desired: &Desired, inventory: &Inventory, what: &Selection) -> BTreeMap<HostName, Groups> {
    let pins = &inventory.packages.pins;
    let question = |stages: &BTreeMap<Stage, Vec<Resource>>| {
        let mut left: Vec<&String> = resources(stages, Stage::Packages).filter_map(package).collect();
        let mut groups = Groups::new();
        for stage in STAGES {
            let mut names: Vec<&String> = resources(stages, stage).flat_map(run_by).collect();
            left.retain(|name| !names.contains(name));
            if stage == Stage::SiteRoles {
                names.append(&mut left);
            }
            let wanted = names.into_iter().filter(|name| what.takes(stage, name));
            let wanted = wanted.map(|name| PackageWanted { name: name.clone(), version: pins.get(name).cloned() });
            groups.insert(stage, wanted.collect());
        }
        groups
    };
    desired.iter().map(|(host, stages)| (host.clone(), question(stages))).collect()
}

fn resources(stages: &BTreeMap<Stage, Vec<Resource>>, stage: Stage) -> impl Iterator<Item = &Resource> {
    stages.get(&stage).into_iter().flatten()
}

fn package(resource: &Resource) -> Option<&String> {
    match resource {
        Resource::Package(package) => Some(&package.name),
        _ => None,
    }
}

fn run_by(resource: &Resource) -> &[String] {
    match resource {
        Resource::Unit(unit) => &unit.packages,
        _ => &[],
    }
}

async fn ask(
    surveyor: &Surveyor<'_>,
    survey: &Survey,
    (asked, what): (&BTreeMap<HostName, Groups>, &Selection),
) -> Result<BTreeMap<HostName, Newest>, SurveyError> {
    let hosts: Vec<HostName> = asked.keys().cloned().collect();
    let parallel = hosts.len();
    let pinned: Vec<String> = surveyor.inventory.packages.pins.keys().cloned().collect();
    let bundle: Option<Arc<str>> = surveyor.offer.map(|offer| offer.index.as_str().into());
    let look = |host: HostName| {
        let bundle = bundle.clone();
        let question = Question { bundle, ..system::question(&asked[&host], &survey.desired[&host], &pinned, what) };
        async move { survey.fleet.newer(&host, &question).await }
    };
    // Nothing is changed here, so Ctrl-C may end it anywhere.
    let answers = tokio::select! {
        biased;
        () = surveyor.cancel.cancelled() => return Err(SurveyError::Interrupted),
        answers = for_each_host(hosts, parallel, look) => answers,
    };
    usable(answers)
}

type Steps = BTreeMap<HostName, BTreeMap<Stage, Vec<Step>>>;

/// What is to be done, and what is to be told; or why it cannot be done.
fn sorted(
    asked: &BTreeMap<HostName, Groups>,
    answers: &BTreeMap<HostName, Newest>,
    bundle: bool,
) -> Result<(Steps, Vec<String>), UpgradeError> {
    let (mut steps, mut notes, mut troubles) = (Steps::new(), Vec::new(), Vec::new());
    for (host, newest) in answers {
        match &newest.stale {
            // then apt knows of nothing at all
            Some(why) if bundle => troubles.push(format!("{host}: apt cannot read the bundle's index: {why}")),
            Some(why) => {
                notes.push(format!("{host} could not refresh its package lists and goes by those it has: {why}"));
            }
            None => {}
        }
        let mut seen = BTreeSet::new();
        // what else there is comes before everything, as the packages of a first `apply`
        let stages = asked[host].keys().chain([&Stage::Packages]);
        for (stage, group) in stages.zip(&newest.groups) {
            troubles.extend(group.troubles.iter().map(|trouble| format!("{host}: {trouble}")));
            // what comes along with several is there once the first has come
            let new = group.steps.iter().filter(|step| seen.insert(step.name.clone())).cloned().collect();
            steps.entry(host.clone()).or_default().insert(*stage, new);
        }
    }
    if troubles.is_empty() { Ok((steps, notes)) } else { Err(UpgradeError::Packages { list: troubles }) }
}

/// The stages that are upgraded, their new packages before everything else; of the others nothing.
fn desired(before: &Desired, steps: &Steps, what: &Selection) -> Desired {
    // a package belongs to one stage
    let is_left = |resource: &Resource, host: &HostName| {
        let mut steps = steps.get(host).into_iter().flat_map(BTreeMap::values).flatten();
        steps.all(|step| package(resource) != Some(&step.name))
    };
    let of_host = |host: &HostName, stages: &BTreeMap<Stage, Vec<Resource>>| {
        let mut wanted = BTreeMap::new();
        for stage in STAGES.into_iter().chain([Stage::Packages]).filter(|stage| what.takes_stage(*stage)) {
            let steps = steps.get(host).and_then(|stages| stages.get(&stage)).into_iter().flatten();
            let newer = steps.map(|step| {
                let (name, version) = (step.name.clone(), Some(step.to.clone()));
                Resource::Package(Package { name, version, replace: Replace::InTurn, source: Source::Host })
            });
            let rest = resources(stages, stage).filter(|it| stage != Stage::Packages || is_left(it, host));
            let all: Vec<Resource> = newer.chain(rest.map(unpinned)).collect();
            if !all.is_empty() {
                wanted.insert(stage, all);
            }
        }
        wanted
    };
    before.iter().map(|(host, stages)| (host.clone(), of_host(host, stages))).collect()
}

/// A pin has had its say when the newer version was looked for.
fn unpinned(resource: &Resource) -> Resource {
    match resource {
        Resource::Package(package) if package.replace == Replace::Refused => {
            Resource::Package(Package { version: None, ..package.clone() })
        }
        other => other.clone(),
    }
}

/// The plan, from another look at the hosts.
async fn compare(surveyor: &Surveyor<'_>, survey: &mut Survey) -> Result<(), UpgradeError> {
    let names: Vec<HostName> = survey.desired.keys().cloned().collect();
    let parallel = names.len();
    let (fleet, wanted) = (&survey.fleet, &survey.desired);
    let look = |name: HostName| {
        let stages = &wanted[&name];
        async move { observe(fleet, &name, stages).await }
    };
    let observed = usable(for_each_host(names, parallel, look).await)?;
    let mut hosts = changes_by_stage(wanted, &observed);
    let mended = survey.plan.stages.iter_mut().find(|stage| stage.title == MENDED.title());
    let mended = mended.map(|stage| std::mem::take(&mut stage.cluster)).unwrap_or_default();
    let stages = Stage::ALL.into_iter().map(|stage| PlannedStage {
        title: stage.title().to_owned(),
        hosts: hosts.remove(&stage).unwrap_or_default(),
        cluster: if stage == MENDED { mended.clone() } else { Vec::new() },
        ..PlannedStage::default()
    });
    let mut plan = Plan { stages: stages.collect(), ..std::mem::take(&mut survey.plan) };
    rolling::describe(&mut plan, (&survey.view, &survey.departures), surveyor.inventory, &Restarts::none());
    if let Some(stage) = plan.stages.iter_mut().find(|stage| stage.title == Stage::Etcd.title())
        && stage.installs().next().is_some()
    {
        stage.rolling.insert(0, format!("save etcd's data on each host before its member is touched: {ETCD_SAVED}"));
    }
    survey.plan = plan;
    let busy = busy(surveyor, survey).await;
    survey.plan.notes.extend(busy);
    Ok(())
}

/// What the hand-over will wait for.
async fn busy(surveyor: &Surveyor<'_>, survey: &Survey) -> Vec<String> {
    let mut stages = Stage::ALL.into_iter().zip(&survey.plan.stages);
    let due = stages.find(|(stage, _)| *stage == Stage::Postgres).map(|(_, planned)| rolling::due(planned));
    let leader = survey.view.leader().map(|leader| leader.host.clone());
    let Some(leader) = leader.filter(|leader| due.is_some_and(|due| due.contains(leader))) else { return Vec::new() };
    // Whoever cannot be asked now is asked again right before it.
    let long = activity::long(&survey.gather(surveyor.inventory, surveyor.secrets), &leader).await;
    let told = long.unwrap_or_default().into_iter();
    told.map(|it| {
        format!("{it} on {leader}: the hand-over waits for its end, and is given up if it does not come soon")
    })
    .collect()
}
