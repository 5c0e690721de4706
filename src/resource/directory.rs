//! Directories.

use super::change::{Action, Change, Detail, Effect};
use super::probe::{Observations, PathKind, PathState, Probe};
use super::{Directory, Resource, octal};

impl Directory {
    fn probe(&self) -> Probe {
        Probe::Path { path: self.path.clone(), want: None }
    }

    pub(super) fn probes(&self) -> Vec<Probe> {
        vec![self.probe()]
    }

    pub(super) fn diff(&self, seen: &Observations) -> Option<Change> {
        let make = Action::MakeDirectory {
            path: self.path.clone(),
            owner: self.owner.clone(),
            group: self.group.clone(),
            mode: self.mode,
        };
        let (summary, detail) = match seen.path(&self.probe()) {
            None => (format!("create, {}:{} {}", self.owner, self.group, octal(self.mode)), Detail::None),
            Some(state) if state.kind != PathKind::Directory => {
                ("is in the way: not a directory".to_owned(), Detail::None)
            }
            Some(state) => {
                let fields = ownership(state, &self.owner, &self.group, self.mode);
                if fields.is_empty() {
                    return None;
                }
                ("set owner and mode".to_owned(), Detail::Fields(fields))
            }
        };
        Some(Change {
            resource: Resource::Directory(self.clone()).id(),
            summary,
            detail,
            effect: Effect::Quiet,
            after: Vec::new(),
            actions: vec![make],
        })
    }
}

/// The fields of owner, group and mode that differ, as `(name, old, new)`.
pub(super) fn ownership(state: &PathState, owner: &str, group: &str, mode: u32) -> Vec<(String, String, String)> {
    let mut fields = Vec::new();
    let mut compare = |name: &str, old: String, new: String| {
        if old != new {
            fields.push((name.to_owned(), old, new));
        }
    };
    compare("owner", state.owner.clone(), owner.to_owned());
    compare("group", state.group.clone(), group.to_owned());
    compare("mode", octal(state.mode), octal(mode));
    fields
}
