//! systemd units. That a restart is needed is observed, not notified: every watched file's digest is compared with the
//! stamp written at the last (re)start, or its time with the unit's start when there is no stamp. So a run killed
//! between "file written" and "restart" is repaired by the next one.

use super::change::{Action, Change, Detail, Effect, UnitStart};
use super::probe::{Observations, Observed, Probe, UnitState, WatchedFile};
use super::{OnChange, Pending, Resource, ResourceId, Restart, Unit};

impl Unit {
    fn all_files(&self) -> Vec<String> {
        self.watch.iter().chain(&self.restart_watch).cloned().collect()
    }

    fn probe(&self) -> Probe {
        Probe::Unit { name: self.name.clone(), files: self.all_files(), packages: self.packages.clone() }
    }

    pub(super) fn probes(&self) -> Vec<Probe> {
        vec![self.probe()]
    }

    pub(super) fn diff(&self, seen: &Observations, pending: &Pending) -> Option<Change> {
        let unknown = UnitState::default();
        let state = match seen.get(&self.probe()) {
            Some(Observed::Unit(state)) => state,
            _ => &unknown,
        };
        let mut draft = Draft::default();
        self.diff_enabled(state, &mut draft);
        self.diff_running(state, pending, &mut draft);
        // What is started is loaded anew anyway; otherwise systemd's memory differing from the disk is a change too.
        if draft.words.is_empty() && state.needs_daemon_reload {
            draft.add("load the changed unit file", Action::DaemonReload);
        }
        if draft.words.is_empty() {
            return None;
        }
        Some(Change {
            resource: Resource::Unit(self.clone()).id(),
            summary: draft.words.join(", "),
            detail: Detail::None,
            effect: draft.effect,
            after: self.dependencies(state, pending),
            actions: draft.actions,
        })
    }

    fn diff_enabled(&self, state: &UnitState, draft: &mut Draft) {
        if state.masked && (self.enabled || self.running) {
            draft.add("unmask", Action::UnmaskUnit { name: self.name.clone() });
        }
        match (self.enabled, state.enabled) {
            (true, false) => draft.add("enable", Action::EnableUnit { name: self.name.clone() }),
            (false, true) => draft.add("disable", Action::DisableUnit { name: self.name.clone() }),
            _ => {}
        }
    }

    fn diff_running(&self, state: &UnitState, pending: &Pending, draft: &mut Draft) {
        let active = matches!(state.active.as_str(), "active" | "reloading");
        if !self.running {
            // an etcd without its quorum starts for ever
            if active || state.active == "activating" {
                draft.effect = draft.effect.max(match self.restart {
                    Restart::Now => Effect::Restart,
                    Restart::Rolling => Effect::Outage,
                });
                draft.add("stop", Action::StopUnit { name: self.name.clone() });
            }
            return;
        }
        if !active {
            let word = if state.active == "failed" { "start (it has failed before)" } else { "start" };
            return draft.add(word, Action::StartUnit(self.start()));
        }
        let upgraded = self.upgraded(state, pending);
        if !upgraded.is_empty() {
            return self.diff_restart(&format!("{} upgraded", upgraded.join(", ")), draft);
        }
        let restart_for = self.stale(&self.restart_watch, state, pending);
        let changed = self.stale(&self.watch, state, pending);
        match self.on_change {
            OnChange::Restart => self.diff_files(restart_for.into_iter().chain(changed).collect(), draft),
            OnChange::Reload if !restart_for.is_empty() => self.diff_files(restart_for, draft),
            OnChange::Reload if !changed.is_empty() => {
                draft.effect = draft.effect.max(Effect::Reload);
                draft.add(&format!("reload: {} changed", changed.join(", ")), Action::ReloadUnit(self.start()));
            }
            OnChange::Reload => {}
        }
    }

    fn diff_files(&self, files: Vec<String>, draft: &mut Draft) {
        if !files.is_empty() {
            self.diff_restart(&format!("{} changed", files.join(", ")), draft);
        }
    }

    fn diff_restart(&self, why: &str, draft: &mut Draft) {
        draft.effect = draft.effect.max(self.interruption());
        draft.add(&format!("restart: {why}"), Action::RestartUnit(self.start()));
    }

    /// The packages whose programs the running unit has not been started from (or is not about to be): a run that was
    /// killed between unpacking and restarting has left them so, or somebody else's upgrade.
    fn upgraded(&self, state: &UnitState, pending: &Pending) -> Vec<String> {
        let is_newer = |name: &&String| {
            let unpacked = state.packages.get(*name).zip(state.started.as_ref());
            pending.packages.contains(*name) || unpacked.is_some_and(|(unpacked, started)| unpacked > started)
        };
        self.packages.iter().filter(is_newer).cloned().collect()
    }

    /// What it means that the running unit goes down and comes back.
    fn interruption(&self) -> Effect {
        match self.restart {
            Restart::Now => Effect::Restart,
            Restart::Rolling => Effect::RollingRestart,
        }
    }

    /// What (re)starting it takes.
    pub fn start(&self) -> UnitStart {
        UnitStart { name: self.name.clone(), files: self.all_files(), timeout: self.timeout }
    }

    /// The files the running unit has not read as they are (or as they are about to be).
    fn stale(&self, files: &[String], state: &UnitState, pending: &Pending) -> Vec<String> {
        let is_stale = |path: &&String| {
            pending.files.contains(*path) || state.files.get(*path).is_some_and(|file| !was_read(file, state.started))
        };
        files.iter().filter(is_stale).cloned().collect()
    }

    /// What the plan says this has to wait for: its package while the unit is unknown, the watched files that will change.
    fn dependencies(&self, state: &UnitState, pending: &Pending) -> Vec<ResourceId> {
        let watched = self.all_files();
        let is_cause = |id: &&ResourceId| match id.kind() {
            "package" => !state.loaded || self.packages.iter().any(|name| name == id.name()),
            "file" => watched.iter().any(|path| path == id.name()),
            _ => false,
        };
        pending.changes.iter().filter(is_cause).cloned().collect()
    }
}

/// A file counts as read when the stamp has its digest, or when it has not been touched since the unit was started
/// (same second included: the file is written before the start).
fn was_read(file: &WatchedFile, started: Option<i64>) -> bool {
    if file.sha256.is_some() && file.sha256 == file.stamped {
        return true;
    }
    match (file.modified, started) {
        (Some(modified), Some(started)) => modified <= started,
        // absent now: nothing to read; if it was there before, its removal is the site's doing
        _ => true,
    }
}

/// Where the digests of the files a unit has read are kept; `/run`, so that a reboot forgets them.
pub fn stamp_path(unit: &str) -> String {
    format!("/run/xnat-provision/{unit}.stamp")
}

#[derive(Debug)]
struct Draft {
    words: Vec<String>,
    actions: Vec<Action>,
    effect: Effect,
}

impl Default for Draft {
    fn default() -> Self {
        Self { words: Vec::new(), actions: Vec::new(), effect: Effect::Quiet }
    }
}

impl Draft {
    fn add(&mut self, word: &str, action: Action) {
        self.words.push(word.to_owned());
        self.actions.push(action);
    }
}
