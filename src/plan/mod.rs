//! What would change: pure data made by comparing, shown before anything happens, saved and compared again. Making a
//! plan changes nothing, and a plan holds no secrets (secret files are digests, actions are not part of it).

mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::names::HostName;
use crate::resource::{Change, Effect, Observations, Pending, Resource};

pub use text::{Depth, Style, render};

/// Everything one `apply` would do.
#[must_use = "a plan that is neither shown nor run is lost"]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub cluster: String,
    pub version: String,
    /// What this plan is a part of, when there is more to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
    pub stages: Vec<PlannedStage>,
    /// Roles and templates taken from the site's own directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<String>,
    /// Why things change that nobody has asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One stage: a barrier, all hosts finish it before the next begins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlannedStage {
    pub title: String,
    pub hosts: BTreeMap<HostName, Vec<Change>>,
    /// What happens to the cluster as a whole rather than to one host's files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster: Vec<ClusterChange>,
    /// How the members that have to be restarted are restarted one after the other: order and interruption, in words.
    /// Empty where `apply` does not know how.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rolling: Vec<String>,
    /// For how long nobody can write because of this stage, as expected; 0: writes go on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub write_pause_seconds: u64,
}

fn is_zero(seconds: &u64) -> bool {
    *seconds == 0
}

/// A change to etcd, the DCS or the database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterChange {
    pub title: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
    pub effect: Effect,
}

impl Plan {
    /// One more thing that will happen to the cluster in the stage of that title.
    pub fn add_to(&mut self, title: &str, change: ClusterChange) {
        if let Some(stage) = self.stages.iter_mut().find(|stage| stage.title == title) {
            stage.cluster.push(change);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub fn count(&self) -> usize {
        self.stages.iter().map(PlannedStage::count).sum()
    }

    /// Stages in which nobody can write for longer than that, as expected.
    pub fn pauses_beyond(&self, limit: Duration) -> impl Iterator<Item = &PlannedStage> {
        self.stages.iter().filter(move |stage| Duration::from_secs(stage.write_pause_seconds) > limit)
    }

    /// How many hosts have at least one change.
    pub fn changed_hosts(&self) -> usize {
        let names = self.stages.iter().flat_map(|stage| stage.hosts.iter());
        let changed = names.filter(|(_, changes)| !changes.is_empty()).map(|(name, _)| name);
        changed.collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Changes this version refuses to make, since they would interrupt the running database or etcd.
    pub fn interruptions(&self) -> Vec<String> {
        let mut found = Vec::new();
        for stage in &self.stages {
            for (host, changes) in &stage.hosts {
                let refused = changes.iter().filter(|change| stage.refuses(change));
                found.extend(refused.map(|change| format!("{host}: {}: {}", change.resource, change.summary)));
            }
            let refused = stage.cluster.iter().filter(|change| stage.refuses_together(change));
            found.extend(refused.map(|change| format!("{}: {}", change.title, change.detail.join("; "))));
        }
        found
    }
}

impl PlannedStage {
    pub fn count(&self) -> usize {
        self.hosts.values().map(Vec::len).sum::<usize>() + self.cluster.len()
    }

    /// Hosts with a member to be restarted in turn, and the change that restarts it.
    pub fn restarts(&self) -> impl Iterator<Item = (&HostName, &Change)> {
        let all = self.hosts.iter().flat_map(|(host, changes)| changes.iter().map(move |change| (host, change)));
        all.filter(|(_, change)| is_restart(change))
    }

    /// Hosts where a package is put in, and its change.
    pub fn installs(&self) -> impl Iterator<Item = (&HostName, &Change)> {
        let all = self.hosts.iter().flat_map(|(host, changes)| changes.iter().map(move |change| (host, change)));
        all.filter(|(_, change)| change.resource.kind() == "package")
    }

    fn refuses(&self, change: &Change) -> bool {
        change.effect >= Effect::RollingRestart && (self.rolling.is_empty() || !is_restart(change))
    }

    /// A change to the cluster for which members have to restart, in a way that `apply` does not know.
    fn refuses_together(&self, change: &ClusterChange) -> bool {
        change.effect >= Effect::RollingRestart && self.rolling.is_empty()
    }
}

/// Not the upgrade of a package, which restarts something too.
fn is_restart(change: &Change) -> bool {
    change.effect == Effect::RollingRestart && change.resource.kind() == "unit"
}

/// Compare the resources of one host, in order, with what was observed; later ones know what earlier ones will change.
pub fn diff_resources(resources: &[Resource], observations: &Observations) -> Vec<Change> {
    let mut pending = Pending::default();
    let mut changes = Vec::new();
    for resource in resources {
        if let Some(change) = resource.diff(observations, &pending) {
            pending.add(&change);
            changes.push(change);
        }
    }
    changes
}
