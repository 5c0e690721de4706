//! Packages of the distribution.

use super::change::{Action, Change, Detail, Effect, PackageWanted};
use super::probe::{Observations, Observed, PackageState, Probe};
use super::{Package, Replace, Resource, Source};

impl Package {
    fn probe(&self) -> Probe {
        Probe::Package { name: self.name.clone() }
    }

    pub(super) fn probes(&self) -> Vec<Probe> {
        vec![self.probe()]
    }

    pub(super) fn diff(&self, seen: &Observations) -> Option<Change> {
        let unknown = PackageState::default();
        let state = match seen.get(&self.probe()) {
            Some(Observed::Package(state)) => state,
            _ => &unknown,
        };
        let (summary, effect, action) = match (&state.installed, &self.version) {
            (Some(installed), Some(wanted))
                if self.replace == Replace::InTurn && !version_matches(wanted, installed) =>
            {
                (format!("upgrade {installed} → {wanted}"), Effect::Quiet, self.install())
            }
            // an upgrade of what may be running: node by node, leader last, is not one host's business
            (Some(installed), Some(wanted)) if !version_matches(wanted, installed) => {
                (format!("{installed} → {wanted}"), Effect::RollingRestart, self.install())
            }
            (Some(_), _) if state.guard_left => {
                let summary = "finish the interrupted installation, and remove its guard".to_owned();
                (summary, Effect::Quiet, Action::RemoveInstallGuard)
            }
            (Some(_), _) => return None,
            (None, _) => (self.installation(state), Effect::Quiet, self.install()),
        };
        Some(Change {
            resource: Resource::Package(self.clone()).id(),
            summary,
            detail: Detail::None,
            effect,
            after: Vec::new(),
            actions: vec![action],
        })
    }

    fn installation(&self, state: &PackageState) -> String {
        let candidate = match &self.source {
            Source::Host => &state.candidate,
            Source::Bundle(offered) => offered,
        };
        match (&self.version, candidate) {
            (None, Some(candidate)) => format!("install {candidate}"),
            (Some(wanted), Some(candidate)) if version_matches(wanted, candidate) => format!("install {candidate}"),
            (Some(wanted), _) => format!("install {wanted}"),
            (None, None) => "install (the version is known after `apt-get update`)".to_owned(),
        }
    }

    fn install(&self) -> Action {
        let wanted = PackageWanted { name: self.name.clone(), version: self.version.clone() };
        match self.source {
            Source::Host => Action::InstallPackage(wanted),
            Source::Bundle(_) => Action::InstallFromBundle(wanted),
        }
    }
}

/// Whether an installed version satisfies a pin: equal, or equal up to a closing `*`.
pub fn version_matches(pin: &str, version: &str) -> bool {
    match pin.strip_suffix('*') {
        Some(prefix) => version.starts_with(prefix),
        None => pin == version,
    }
}
