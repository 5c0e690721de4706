//! Firewall rules. A wrong one can lock everybody out, us too, so they are only tried: the host takes them back by itself
//! unless they are confirmed, over a connection that was made under them. The script of the role `firewall` does that.

use similar::TextDiff;

use super::change::{Action, Change, Detail, Effect, TryRules};
use super::probe::{Observations, Observed, PathKind, Probe, WantedContent};
use super::{Firewall, Resource};
use crate::digest::sha256;

/// The script on the host; see `templates/firewall/firewall.sh.j2`.
pub const TOOL: &str = "/usr/local/lib/xnat-provision/firewall";

/// Whether nothing is being tried: the host has decided.
pub fn settled() -> Probe {
    Probe::Check { command: format!("{TOOL} settled") }
}

impl Firewall {
    fn file(&self) -> Probe {
        Probe::Path { path: self.path.clone(), want: Some(WantedContent { sha256: sha256(&self.content), show: true }) }
    }

    /// What runs is what was confirmed, and nobody has changed it since.
    fn loaded() -> Probe {
        Probe::Check { command: format!("{TOOL} loaded") }
    }

    pub(super) fn probes(&self) -> Vec<Probe> {
        vec![self.file(), Self::loaded()]
    }

    pub(super) fn diff(&self, seen: &Observations) -> Option<Change> {
        let file = seen.path(&self.file()).filter(|state| state.kind == PathKind::File);
        let same = file.is_some_and(|state| state.sha256.as_deref() == Some(&sha256(&self.content)));
        let loaded = matches!(seen.get(&Self::loaded()), Some(Observed::Check { holds: true }));
        if same && loaded {
            return None;
        }
        let within = self.confirm_within.as_secs();
        let what = if same { "load again: other rules are loaded, or none" } else { "load" };
        Some(Change {
            resource: Resource::Firewall(self.clone()).id(),
            summary: format!("{what}; taken back after {within} s unless we can log in under them"),
            detail: if same { Detail::None } else { self.text_diff(file.and_then(|state| state.text.as_deref())) },
            effect: Effect::Reload,
            after: Vec::new(),
            actions: vec![
                self.attempt(),
                Action::ConfirmRules { path: self.path.clone(), within: self.confirm_within },
            ],
        })
    }

    fn attempt(&self) -> Action {
        Action::TryRules(TryRules { content: self.content.as_str().into(), within: self.confirm_within })
    }

    fn text_diff(&self, old: Option<&str>) -> Detail {
        let diff = TextDiff::from_lines(old.unwrap_or_default(), self.content.as_str());
        let before = if old.is_some() { self.path.as_str() } else { "/dev/null" };
        Detail::Text(diff.unified_diff().context_radius(2).header(before, &self.path).to_string())
    }
}
