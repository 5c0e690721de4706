//! Files: content, owner, mode.

use similar::TextDiff;

use super::change::{Action, Change, Detail, Effect, WriteFile};
use super::directory::ownership;
use super::probe::{Observations, PathKind, PathState, Probe, WantedContent};
use super::{File, Resource, octal};
use crate::digest::sha256;

impl File {
    fn probe(&self) -> Probe {
        let want = WantedContent { sha256: sha256(&self.content), show: !self.secret };
        Probe::Path { path: self.path.clone(), want: Some(want) }
    }

    fn frozen_probe(&self) -> Option<Probe> {
        self.frozen_by.clone().map(|path| Probe::Path { path, want: None })
    }

    pub(super) fn probes(&self) -> Vec<Probe> {
        [self.probe()].into_iter().chain(self.frozen_probe()).collect()
    }

    pub(super) fn diff(&self, seen: &Observations) -> Option<Change> {
        let state = seen.path(&self.probe());
        let frozen = self.frozen_probe().is_some_and(|probe| seen.path(&probe).is_some());
        if frozen && state.is_some() {
            return None;
        }
        let wanted = sha256(&self.content);
        let (summary, detail, action) = match state {
            None => (self.creation(), self.text_diff(None), self.write()),
            Some(state) if state.kind != PathKind::File => {
                ("is in the way: not a regular file".to_owned(), Detail::None, self.write())
            }
            Some(state) if state.sha256.as_deref() != Some(&wanted) => {
                ("update".to_owned(), self.content_detail(state, wanted), self.write())
            }
            Some(state) => {
                let fields = ownership(state, &self.owner, &self.group, self.mode);
                if fields.is_empty() {
                    return None;
                }
                ("set owner and mode".to_owned(), Detail::Fields(fields), self.own())
            }
        };
        Some(Change {
            resource: Resource::File(self.clone()).id(),
            summary,
            detail,
            effect: Effect::Quiet,
            after: Vec::new(),
            actions: vec![action],
        })
    }

    fn creation(&self) -> String {
        format!("create, {}:{} {}", self.owner, self.group, octal(self.mode))
    }

    fn content_detail(&self, state: &PathState, wanted: String) -> Detail {
        match &state.text {
            Some(text) if !self.secret => self.text_diff(Some(text)),
            _ => Detail::Digests { old: state.sha256.clone(), new: Some(wanted) },
        }
    }

    /// A new secret file has no digest either: its passwords may not be generated yet when the plan is made.
    fn text_diff(&self, old: Option<&str>) -> Detail {
        if self.secret {
            return Detail::Digests { old: None, new: None };
        }
        let diff = TextDiff::from_lines(old.unwrap_or_default(), self.content.as_str());
        let before = if old.is_some() { self.path.as_str() } else { "/dev/null" };
        Detail::Text(diff.unified_diff().context_radius(2).header(before, &self.path).to_string())
    }

    fn write(&self) -> Action {
        Action::WriteFile(WriteFile {
            path: self.path.clone(),
            content: self.content.as_str().into(),
            owner: self.owner.clone(),
            group: self.group.clone(),
            mode: self.mode,
            validate: self.validate.clone(),
        })
    }

    fn own(&self) -> Action {
        Action::SetOwnership {
            path: self.path.clone(),
            owner: self.owner.clone(),
            group: self.group.clone(),
            mode: self.mode,
        }
    }
}
