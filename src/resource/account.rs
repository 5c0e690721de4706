//! Groups and system users. Existing ones are taken as they are: the distribution's packages own most of them.

use super::change::{Action, Change, Detail, Effect};
use super::probe::{Observations, Observed, Probe};
use super::{Group, Resource, User};

impl Group {
    fn probe(&self) -> Probe {
        Probe::Group { name: self.name.clone() }
    }

    pub(super) fn probes(&self) -> Vec<Probe> {
        vec![self.probe()]
    }

    pub(super) fn diff(&self, seen: &Observations) -> Option<Change> {
        match seen.get(&self.probe()) {
            Some(Observed::Group { exists: true }) => None,
            _ => {
                let action = Action::AddGroup { name: self.name.clone() };
                Some(creation(&Resource::Group(self.clone()), action))
            }
        }
    }
}

impl User {
    fn probe(&self) -> Probe {
        Probe::User { name: self.name.clone() }
    }

    pub(super) fn probes(&self) -> Vec<Probe> {
        vec![self.probe()]
    }

    pub(super) fn diff(&self, seen: &Observations) -> Option<Change> {
        match seen.get(&self.probe()) {
            Some(Observed::User { exists: true }) => None,
            _ => {
                let action = Action::AddUser {
                    name: self.name.clone(),
                    group: self.group.clone(),
                    home: self.home.clone(),
                    shell: self.shell.clone(),
                };
                Some(creation(&Resource::User(self.clone()), action))
            }
        }
    }
}

fn creation(resource: &Resource, action: Action) -> Change {
    Change {
        resource: resource.id(),
        summary: "create".to_owned(),
        detail: Detail::None,
        effect: Effect::Quiet,
        after: Vec::new(),
        actions: vec![action],
    }
}
