//! Kernel settings: the value now, and a file of our own for the next boot.

use super::change::{Action, Change, Detail, Effect};
use super::probe::{Observations, Observed, Probe};
use super::{Resource, Sysctl};

impl Sysctl {
    fn probe(&self) -> Probe {
        Probe::Sysctl { key: self.key.clone() }
    }

    pub(super) fn probes(&self) -> Vec<Probe> {
        vec![self.probe()]
    }

    pub(super) fn diff(&self, seen: &Observations) -> Option<Change> {
        let (now, at_boot) = match seen.get(&self.probe()) {
            Some(Observed::Sysctl { now, at_boot }) => (now.as_deref(), at_boot.as_deref()),
            _ => (None, None),
        };
        let mut fields = Vec::new();
        for (name, old) in [("now", now), ("at boot", at_boot)] {
            let old = old.map(normal);
            if old.as_deref() != Some(&normal(&self.value)) {
                fields.push((name.to_owned(), old.unwrap_or_else(|| "unset".to_owned()), self.value.clone()));
            }
        }
        if fields.is_empty() {
            return None;
        }
        Some(Change {
            resource: Resource::Sysctl(self.clone()).id(),
            summary: format!("set to {}", self.value),
            detail: Detail::Fields(fields),
            effect: Effect::Quiet,
            after: Vec::new(),
            actions: vec![Action::SetSysctl { key: self.key.clone(), value: self.value.clone() }],
        })
    }
}

/// The kernel separates several values by tabs.
fn normal(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where the kernel shows a setting: dots are slashes.
pub fn proc_path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

/// Our file for one setting; a file per key, so that a setting that leaves a role leaves nothing else behind.
pub fn file_path(key: &str) -> String {
    format!("/etc/sysctl.d/60-xnat-{key}.conf")
}
