//! Commands, for what no other kind covers.

use super::change::{Action, Change, Detail, Effect};
use super::probe::{Observations, Observed, Probe};
use super::{Command, Resource};

impl Command {
    fn probe(&self) -> Probe {
        Probe::Check { command: self.unless.clone() }
    }

    pub(super) fn probes(&self) -> Vec<Probe> {
        vec![self.probe()]
    }

    pub(super) fn diff(&self, seen: &Observations) -> Option<Change> {
        if let Some(Observed::Check { holds: true }) = seen.get(&self.probe()) {
            return None;
        }
        Some(Change {
            resource: Resource::Command(self.clone()).id(),
            summary: "run".to_owned(),
            detail: Detail::None,
            effect: Effect::Quiet,
            after: Vec::new(),
            actions: vec![Action::RunCommand { run: self.run.clone() }],
        })
    }
}
