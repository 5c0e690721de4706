//! What a host should look like, one file per kind. A kind answers two pure questions: which probes do I need
//! (`probes`), and, given what was observed, how do I differ and what would change it (`diff`). No kind sees a transport.

mod account;
mod change;
mod command;
mod directory;
mod file;
mod firewall;
mod package;
mod probe;
mod sysctl;
mod unit;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::digest::sha256;
pub use change::{Action, Change, Detail, Effect, PackageWanted, ResourceId, TryRules, UnitStart, WriteFile};
pub use firewall::{TOOL as FIREWALL_TOOL, settled as firewall_settled};
pub use package::version_matches;
pub use probe::{
    Observations, Observed, PackageState, PathKind, PathState, Probe, UnitState, WantedContent, WatchedFile,
};
pub use sysctl::{file_path as sysctl_file_path, proc_path as sysctl_proc_path};
pub use unit::stamp_path;

/// A fully expanded resource: templates rendered, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    Directory(Directory),
    File(File),
    Package(Package),
    Group(Group),
    User(User),
    Sysctl(Sysctl),
    Unit(Unit),
    Command(Command),
    Firewall(Firewall),
}

/// A directory with owner and mode. Parents must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    pub path: String,
    pub owner: String,
    pub group: String,
    pub mode: u32,
}

/// A file with content, owner and mode; written to a temporary file beside it, synced and renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: String,
    pub content: String,
    pub owner: String,
    pub group: String,
    pub mode: u32,
    /// Shown as a digest in plans, never as text.
    pub secret: bool,
    /// A shell command that must succeed before the new content replaces the old: `$1` is the temporary file, `$2` the path.
    pub validate: Option<String>,
    /// Once this path exists on the host the file is left as it is (settings read only at the first start).
    pub frozen_by: Option<String>,
}

/// A package of the distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    /// An apt version, may end in `*`; none takes whatever is installed, or the candidate.
    pub version: Option<String>,
    pub replace: Replace,
    /// Where it comes from.
    pub source: Source,
}

/// Where a package comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Whatever the host's apt is configured for.
    Host,
    /// A bundle, which has this version of it, or none.
    Bundle(Option<String>),
}

/// What becomes of an installed version that is not the wanted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// It stays: what runs it would have to be restarted, and nobody has made way for that.
    Refused,
    /// It is replaced: an upgrade, in which the units that run it are restarted in turn.
    InTurn,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
}

/// A system user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub group: String,
    pub home: String,
    pub shell: String,
}

/// A kernel setting, now and after the next boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    pub key: String,
    pub value: String,
}

/// A systemd unit: enabled, running, and running with the files it was given. Unit files and drop-ins are `file`s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    pub name: String,
    pub enabled: bool,
    pub running: bool,
    /// Files whose change calls for `on_change`: their digest is compared with a stamp written at the last (re)start
    /// or reload, so that a run killed between "file written" and "restart" is repaired by the next.
    pub watch: Vec<String>,
    pub on_change: OnChange,
    /// Files whose change always calls for a restart, whatever `on_change` says.
    pub restart_watch: Vec<String>,
    /// Packages whose programs it runs: one that was unpacked since its start calls for a restart.
    pub packages: Vec<String>,
    /// When a restart is called for: do it here, or leave it to a rolling workflow.
    pub restart: Restart,
    /// How long its start may take.
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnChange {
    Restart,
    Reload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Harmless: restart at once.
    Now,
    /// It carries the database or the quorum: never restarted by converging one host.
    Rolling,
}

/// A command for what no other kind covers; must say how to see that it is not needed, and why it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub run: String,
    /// A read-only command; exit status 0 means there is nothing to do.
    pub unless: String,
    pub why: String,
}

/// The host's firewall rules: tried first, and taken back by the host itself unless they are confirmed over a connection
/// made under them. The file holds what was confirmed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    pub path: String,
    pub content: String,
    pub confirm_within: Duration,
}

impl Resource {
    pub fn id(&self) -> ResourceId {
        let (kind, name) = match self {
            Self::Directory(it) => ("directory", &it.path),
            Self::File(it) => ("file", &it.path),
            Self::Package(it) => ("package", &it.name),
            Self::Group(it) => ("group", &it.name),
            Self::User(it) => ("user", &it.name),
            Self::Sysctl(it) => ("sysctl", &it.key),
            Self::Unit(it) => ("unit", &it.name),
            // the command itself may be a whole script; why it is run says more
            Self::Command(it) => ("command", &it.why),
            Self::Firewall(it) => ("firewall", &it.path),
        };
        ResourceId::new(kind, name)
    }

    /// What must be known about the host before this resource can be compared.
    pub fn probes(&self) -> Vec<Probe> {
        match self {
            Self::Directory(it) => it.probes(),
            Self::File(it) => it.probes(),
            Self::Package(it) => it.probes(),
            Self::Group(it) => it.probes(),
            Self::User(it) => it.probes(),
            Self::Sysctl(it) => it.probes(),
            Self::Unit(it) => it.probes(),
            Self::Command(it) => it.probes(),
            Self::Firewall(it) => it.probes(),
        }
    }

    /// How the host differs, and what would change that; `None` when it is as wanted.
    pub fn diff(&self, seen: &Observations, pending: &Pending) -> Option<Change> {
        match self {
            Self::Directory(it) => it.diff(seen),
            Self::File(it) => it.diff(seen),
            Self::Package(it) => it.diff(seen),
            Self::Group(it) => it.diff(seen),
            Self::User(it) => it.diff(seen),
            Self::Sysctl(it) => it.diff(seen),
            Self::Unit(it) => it.diff(seen, pending),
            Self::Command(it) => it.diff(seen),
            Self::Firewall(it) => it.diff(seen),
        }
    }
}

/// Changes planned before this one on the same host, as far as later resources care.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    /// Files that will have new content.
    pub files: std::collections::BTreeSet<String>,
    /// Packages that will be installed, in whatever version.
    pub packages: std::collections::BTreeSet<String>,
    /// Everything that will change, in order.
    pub changes: Vec<ResourceId>,
}

impl Pending {
    pub fn add(&mut self, change: &Change) {
        self.changes.push(change.resource.clone());
        if change.resource.kind() == "file" {
            self.files.insert(change.resource.name().to_owned());
        }
        if change.actions.iter().any(|action| action.installs().is_some()) {
            self.packages.insert(change.resource.name().to_owned());
        }
    }
}

/// A file mode for people: `0640`.
pub fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}
