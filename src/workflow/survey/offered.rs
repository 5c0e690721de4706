//! What a bundle has to do with the hosts: is it for them, has it what they need, and what is each to get of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Desired, Survey, SurveyError, Surveyor, usable};
use crate::bundle::{BundleError, Offer, Offered, Target};
use crate::engine::{Fleet, Newest, Question, for_each_host};
use crate::facts::Facts;
use crate::names::HostName;
use crate::plan::Plan;
use crate::report::text::{count, mebibytes};
use crate::resource::{Action, Change, Detail, Effect, PackageWanted, Resource, ResourceId, Source};
use crate::workflow::stage::Stage;

/// What a host is to get of the bundle, and how much of that is there already.
#[derive(Clone, Debug, Default)]
pub struct Coming {
    pub packages: Vec<Offered>,
    stored: BTreeSet<String>,
}

impl Coming {
    fn told(&self) -> String {
        let lacking = self.packages.iter().filter(|it| !self.stored.contains(&it.sha256));
        let (number, bytes) = lacking.fold((0, 0), |(number, bytes), it| (number + 1, bytes + it.bytes));
        let all = count(self.packages.len(), "package");
        match (number, self.packages.len() - number) {
            (0, 0) => "nothing to send".to_owned(),
            (0, _) => format!("{all}, all of them there already"),
            (_, 0) => format!("send {all}, {}", mebibytes(bytes)),
            (_, there) => format!("send {number} of {all}, {}; {there} are there already", mebibytes(bytes)),
        }
    }
}

impl Surveyor<'_> {
    /// Refused before anything else is looked at.
    pub(super) fn bundle_fits(&self, facts: &BTreeMap<HostName, Facts>) -> Result<(), SurveyError> {
        let Some(offer) = self.offer else { return Ok(()) };
        let unfit = facts.iter().filter_map(|(host, facts)| {
            let error = offer.fits(host.as_str(), &Target::of(facts)).err()?;
            Some((host.clone(), error.into()))
        });
        let stays = |host: &HostName| self.scope.includes(host) && self.inventory.host(host).is_some();
        let problems: Vec<_> = unfit.filter(|(host, _)| stays(host)).collect();
        if problems.is_empty() { Ok(()) } else { Err(SurveyError::Hosts { problems }) }
    }

    /// With a bundle packages come from there.
    pub(in crate::workflow) fn mark_bundled(&self, desired: &mut Desired) {
        let Some(offer) = self.offer else { return };
        for resource in desired.values_mut().flat_map(BTreeMap::values_mut).flatten() {
            if let Resource::Package(package) = resource {
                package.source = Source::Bundle(offer.version(&package.name).map(str::to_owned));
            }
        }
    }

    /// What apt on each host would take of it, for everything that the plan puts in; it becomes a stage of the plan.
    pub(in crate::workflow) async fn bring(
        &self,
        fleet: &Fleet,
        plan: &mut Plan,
    ) -> Result<BTreeMap<HostName, Coming>, SurveyError> {
        let Some(offer) = self.offer else { return Ok(BTreeMap::new()) };
        let wanted = installs(plan);
        let index: Arc<str> = offer.index.as_str().into();
        let hosts: Vec<HostName> = wanted.keys().cloned().collect();
        let parallel = hosts.len();
        let ask = |host: HostName| {
            let install = wanted[&host].iter().map(crate::bundle::site::written).collect();
            let question = Question { install, bundle: Some(index.clone()), ..Question::default() };
            async move { fleet.newer(&host, &question).await }
        };
        let answers = usable(for_each_host(hosts, parallel, ask).await)?;
        let (mut coming, mut problems) = (BTreeMap::new(), Vec::new());
        for (host, answer) in answers {
            match of_host(offer, &host, answer) {
                Ok(found) => _ = coming.insert(host, found),
                Err(error) => problems.push((host, error.into())),
            }
        }
        if !problems.is_empty() {
            return Err(SurveyError::Hosts { problems });
        }
        describe(plan, &coming);
        Ok(coming)
    }

    /// The same for a plan that was made anew.
    pub(in crate::workflow) async fn bring_again(&self, survey: &mut Survey) -> Result<(), SurveyError> {
        survey.coming = self.bring(&survey.fleet, &mut survey.plan).await?;
        Ok(())
    }
}

/// Every package that the plan puts in.
fn installs(plan: &Plan) -> BTreeMap<HostName, BTreeSet<PackageWanted>> {
    let mut wanted: BTreeMap<HostName, BTreeSet<PackageWanted>> = BTreeMap::new();
    for (host, change) in plan.stages.iter().flat_map(|stage| stage.installs()) {
        for package in change.actions.iter().filter_map(Action::installs) {
            wanted.entry(host.clone()).or_default().insert(package.clone());
        }
    }
    wanted
}

fn of_host(offer: &Offer, host: &HostName, answer: Newest) -> Result<Coming, BundleError> {
    let troubles: Vec<String> =
        answer.groups.iter().flat_map(|group| group.troubles.clone()).chain(answer.stale).collect();
    if !troubles.is_empty() {
        return Err(BundleError::Unfit {
            message: format!("the bundle does not fit {host}: {}", troubles.join("; ")),
            help: "export the facts of the site anew (`xnat-provision facts export`), and build a bundle with them"
                .to_owned(),
        });
    }
    let names: Vec<(String, String)> = answer.groups.into_iter().flat_map(|group| group.coming).collect();
    let packages = offer.needed(host.as_str(), &names)?;
    let coming = Coming { packages, stored: answer.stored };
    let kib = |of: &dyn Fn(&Offered) -> u64| coming.packages.iter().map(of).sum::<u64>();
    let sent = kib(&|it| if coming.stored.contains(&it.sha256) { 0 } else { it.bytes.div_ceil(1024) });
    let unpacked = kib(&|it| it.installed_kib);
    let Some(space) = answer.space else { return Ok(coming) };
    let needs = if space.one {
        vec![("/var", space.var, sent + unpacked)]
    } else {
        vec![("/var", space.var, sent), ("/usr", space.usr, unpacked)]
    };
    match needs.iter().find(|(_, free, needed)| free < needed) {
        None => Ok(coming),
        Some((place, free, needed)) => Err(BundleError::Unfit {
            message: format!(
                "{host} has {} MiB free below {place}, and what comes from the bundle takes {} MiB",
                free >> 10,
                needed >> 10
            ),
            help: format!("make space there: `ssh {host} 'apt-get clean; df -h'`"),
        }),
    }
}

fn describe(plan: &mut Plan, coming: &BTreeMap<HostName, Coming>) {
    let Some(stage) = plan.stages.iter_mut().find(|stage| stage.title == Stage::Carry.title()) else { return };
    let change = |coming: &Coming| Change {
        resource: ResourceId::new("packages", "of the bundle"),
        summary: coming.told(),
        detail: Detail::None,
        effect: Effect::Quiet,
        after: Vec::new(),
        actions: Vec::new(),
    };
    stage.hosts = coming.iter().map(|(host, coming)| (host.clone(), vec![change(coming)])).collect();
}
