//! A host in memory. Because probes and actions are closed sets, it interprets them without any shell: what the engine
//! does to it is what it would do to a machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;

use super::host::{ActionFailure, Host, HostError, Performed};
use crate::approval::Approved;
use crate::names::HostName;
use crate::resource::{
    Action, FIREWALL_TOOL, Observations, Observed, PackageState, PathKind, PathState, Probe, UnitStart, UnitState,
    WatchedFile, WriteFile, sha256,
};

/// The state of a simulated machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    pub paths: BTreeMap<String, Node>,
    pub packages: BTreeMap<String, String>,
    /// When each was unpacked.
    pub unpacked: BTreeMap<String, i64>,
    pub groups: BTreeSet<String>,
    pub users: BTreeSet<String>,
    pub sysctls: BTreeMap<String, String>,
    pub units: BTreeMap<String, UnitRecord>,
    /// Checks that hold: of every command that was run, the one it makes true.
    pub holds: BTreeSet<String>,
    /// Command → the check it makes true; a command that is not in here makes true what reads like itself.
    pub makes: BTreeMap<String, String>,
    pub guard_left: bool,
    /// Firewall rules that are being tried.
    pub trial: Option<String>,
    /// A clock that moves with every action, so that "written before the start" can be told.
    pub now: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub kind: PathKind,
    pub owner: String,
    pub group: String,
    pub mode: u32,
    pub content: String,
    pub modified: i64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitRecord {
    pub enabled: bool,
    pub masked: bool,
    pub active: bool,
    pub started: i64,
    pub stamp: BTreeMap<String, String>,
}

/// A machine behind the `Host` trait, with faults to order.
pub struct SimulatedHost {
    name: HostName,
    machine: Mutex<Machine>,
    /// Fail the action with this position in the run (0 is the first ever performed).
    fail_at: Option<usize>,
    performed: Mutex<Vec<String>>,
}

impl SimulatedHost {
    pub fn new(name: HostName, machine: Machine) -> Self {
        Self { name, machine: Mutex::new(machine), fail_at: None, performed: Mutex::new(Vec::new()) }
    }
    #[must_use]
    pub fn failing_at(mut self, action: usize) -> Self {
        self.fail_at = Some(action);
        self
    }
    pub fn machine(&self) -> Machine {
        self.lock().clone()
    }
    /// Every action ever performed, for scenario snapshots.
    pub fn history(&self) -> Vec<String> {
        self.performed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
    fn lock(&self) -> std::sync::MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl Host for SimulatedHost {
    fn name(&self) -> &HostName {
        &self.name
    }

    async fn observe(&self, probes: &[Probe]) -> Result<Observations, HostError> {
        let machine = self.lock();
        let mut observations = Observations::default();
        for probe in probes {
            observations.insert(probe.clone(), machine.answer(probe));
        }
        Ok(observations)
    }

    async fn perform(&self, approved: &Approved, actions: &[Action]) -> Result<Performed, HostError> {
        approved.still_holds()?;
        let mut history = self.performed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (done, action) in actions.iter().enumerate() {
            if self.fail_at == Some(history.len()) {
                history.push(format!("{action:?} FAILED"));
                let failure = ActionFailure { status: 1, output: "ordered to fail".to_owned() };
                return Ok(Performed { done, failure: Some(failure) });
            }
            history.push(format!("{action:?}"));
            self.lock().apply(action);
        }
        Ok(Performed { done: actions.len(), failure: None })
    }

    async fn anew(&self) -> Result<Box<dyn Host + '_>, HostError> {
        Ok(Box::new(self))
    }
}

impl Machine {
    fn answer(&self, probe: &Probe) -> Observed {
        match probe {
            Probe::Path { path, want } => Observed::Path(self.paths.get(path).map(|node| node.state(want.is_some()))),
            Probe::Package { name } => Observed::Package(PackageState {
                installed: self.packages.get(name).cloned(),
                candidate: None,
                held: false,
                guard_left: self.guard_left,
            }),
            Probe::Group { name } => Observed::Group { exists: self.groups.contains(name) },
            Probe::User { name } => Observed::User { exists: self.users.contains(name) },
            Probe::Sysctl { key } => {
                let value = self.sysctls.get(key).cloned();
                Observed::Sysctl { now: value.clone(), at_boot: value }
            }
            Probe::Unit { name, files, packages } => {
                let unpacked = |name: &String| Some((name.clone(), *self.unpacked.get(name)?));
                let packages = packages.iter().filter_map(unpacked).collect();
                Observed::Unit(UnitState { packages, ..self.unit(name, files) })
            }
            Probe::Check { command } => Observed::Check { holds: self.holds.contains(command) },
        }
    }

    fn unit(&self, name: &str, files: &[String]) -> UnitState {
        let record = self.units.get(name).cloned().unwrap_or_default();
        let watched = |path: &String| WatchedFile {
            sha256: self.paths.get(path).map(|node| sha256(&node.content)),
            modified: self.paths.get(path).map(|node| node.modified),
            stamped: record.stamp.get(path).cloned(),
        };
        UnitState {
            loaded: true,
            enabled: record.enabled && !record.masked,
            masked: record.masked,
            active: if record.active { "active" } else { "inactive" }.to_owned(),
            needs_daemon_reload: false,
            started: record.active.then_some(record.started),
            restarts: 0,
            drop_ins: Vec::new(),
            files: files.iter().map(|path| (path.clone(), watched(path))).collect(),
            packages: BTreeMap::new(),
        }
    }

    fn apply(&mut self, action: &Action) {
        self.now += 1;
        match action {
            Action::MakeDirectory { path, owner, group, mode } => {
                let (owner, group, content) = (owner.clone(), group.clone(), String::new());
                let node = Node { kind: PathKind::Directory, owner, group, mode: *mode, content, modified: self.now };
                self.paths.insert(path.clone(), node);
            }
            Action::WriteFile(file) => {
                self.paths.insert(file.path.clone(), self.written(file));
            }
            Action::SetOwnership { path, owner, group, mode } => {
                if let Some(node) = self.paths.get_mut(path) {
                    (node.owner, node.group, node.mode) = (owner.clone(), group.clone(), *mode);
                }
            }
            Action::InstallPackage(wanted) | Action::InstallFromBundle(wanted) => {
                let version = wanted.version.clone().unwrap_or_else(|| "1.0".to_owned());
                self.packages.insert(wanted.name.clone(), version.replace('*', "0"));
                self.unpacked.insert(wanted.name.clone(), self.now);
                self.guard_left = false;
            }
            Action::RemoveInstallGuard => self.guard_left = false,
            Action::AddGroup { name } => _ = self.groups.insert(name.clone()),
            Action::AddUser { name, .. } => _ = self.users.insert(name.clone()),
            Action::SetSysctl { key, value } => _ = self.sysctls.insert(key.clone(), value.clone()),
            Action::DaemonReload => {}
            Action::UnmaskUnit { name } => self.record(name).masked = false,
            Action::EnableUnit { name } => self.record(name).enabled = true,
            Action::DisableUnit { name } => self.record(name).enabled = false,
            Action::StopUnit { name } => self.record(name).active = false,
            Action::StartUnit(start) | Action::RestartUnit(start) => self.start(start),
            Action::ReloadUnit(start) => self.stamp(start),
            Action::TryRules(rules) => self.trial = Some(rules.content.to_string()),
            Action::ConfirmRules { path, .. } => self.confirm(path),
            Action::RunCommand { run } => _ = self.holds.insert(self.makes.get(run).unwrap_or(run).clone()),
        }
    }

    fn confirm(&mut self, path: &str) {
        let Some(content) = self.trial.take() else { return };
        let (owner, group) = ("root".to_owned(), "root".to_owned());
        let node = Node { kind: PathKind::File, owner, group, mode: 0o644, content, modified: self.now };
        self.paths.insert(path.to_owned(), node);
        self.holds.insert(format!("{FIREWALL_TOOL} loaded"));
    }

    fn written(&self, file: &WriteFile) -> Node {
        Node {
            kind: PathKind::File,
            owner: file.owner.clone(),
            group: file.group.clone(),
            mode: file.mode,
            content: file.content.to_string(),
            modified: self.now,
        }
    }

    fn record(&mut self, unit: &str) -> &mut UnitRecord {
        self.units.entry(unit.to_owned()).or_default()
    }

    fn start(&mut self, start: &UnitStart) {
        let now = self.now;
        let record = self.record(&start.name);
        record.active = true;
        record.started = now;
        self.stamp(start);
    }

    fn stamp(&mut self, start: &UnitStart) {
        let digest = |path: &String| self.paths.get(path).map(|node| (path.clone(), sha256(&node.content)));
        let stamp = start.files.iter().filter_map(digest).collect();
        self.record(&start.name).stamp = stamp;
    }
}

impl Node {
    fn state(&self, as_file: bool) -> PathState {
        let is_file = self.kind == PathKind::File && as_file;
        PathState {
            kind: self.kind,
            owner: self.owner.clone(),
            group: self.group.clone(),
            mode: self.mode,
            sha256: is_file.then(|| sha256(&self.content)),
            text: is_file.then(|| self.content.clone()),
        }
    }
}
