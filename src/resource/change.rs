//! What a difference is made of: a reason for people, a detail they can check, and the actions that remove it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Kind and name: `file /etc/etcd/etcd.yml`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceId(String);

impl ResourceId {
    pub fn new(kind: &str, name: &str) -> Self {
        Self(format!("{kind} {name}"))
    }
    pub fn kind(&self) -> &str {
        self.0.split_once(' ').map_or(self.0.as_str(), |(kind, _)| kind)
    }
    pub fn name(&self) -> &str {
        self.0.split_once(' ').map_or("", |(_, name)| name)
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// One difference of one resource on one host.
#[must_use = "a change that is neither shown nor performed is lost"]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub resource: ResourceId,
    /// One line: "create", "restart: /etc/etcd/etcd.yml changed".
    pub summary: String,
    pub detail: Detail,
    pub effect: Effect,
    /// Earlier changes on the same host that this one only becomes possible or necessary by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<ResourceId>,
    /// What removes the difference. Not part of a saved plan: file bodies may be secret, and `apply` diffs afresh.
    #[serde(skip)]
    pub actions: Vec<Action>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    None,
    /// A unified diff.
    Text(String),
    /// `name: old → new`.
    Fields(Vec<(String, String, String)>),
    /// Secret content: only that it differs can be told.
    Digests {
        old: Option<String>,
        new: Option<String>,
    },
}

/// What a change does to a service that may be in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing in use notices.
    Quiet,
    /// A service reads its configuration again.
    Reload,
    /// A service that is not the database is restarted.
    Restart,
    /// A running database or etcd member has to be restarted: one after the other.
    RollingRestart,
    /// A running database or etcd member would be stopped for good.
    Outage,
}

/// What can be done to a host. A closed set: rendered to shell in `engine/shell`, to memory in `engine/simulated`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    MakeDirectory {
        path: String,
        owner: String,
        group: String,
        mode: u32,
    },
    WriteFile(WriteFile),
    SetOwnership {
        path: String,
        owner: String,
        group: String,
        mode: u32,
    },
    InstallPackage(PackageWanted),
    /// The same from the packages of a bundle that were brought to the host, and from nowhere else.
    InstallFromBundle(PackageWanted),
    /// Remove the "start nothing" guard an interrupted installation left.
    RemoveInstallGuard,
    AddGroup {
        name: String,
    },
    AddUser {
        name: String,
        group: String,
        home: String,
        shell: String,
    },
    SetSysctl {
        key: String,
        value: String,
    },
    DaemonReload,
    UnmaskUnit {
        name: String,
    },
    EnableUnit {
        name: String,
    },
    DisableUnit {
        name: String,
    },
    StartUnit(UnitStart),
    RestartUnit(UnitStart),
    ReloadUnit(UnitStart),
    StopUnit {
        name: String,
    },
    RunCommand {
        run: String,
    },
    /// Load firewall rules for a time.
    TryRules(TryRules),
    /// Keep them. Only ever done over a connection that was made after they were loaded.
    ConfirmRules {
        path: String,
        within: Duration,
    },
}

impl Action {
    /// The package it puts in.
    pub fn installs(&self) -> Option<&PackageWanted> {
        match self {
            Self::InstallPackage(wanted) | Self::InstallFromBundle(wanted) => Some(wanted),
            _ => None,
        }
    }

    /// Its being done over a new connection is the point of it.
    pub fn needs_new_connection(&self) -> bool {
        matches!(self, Self::ConfirmRules { .. })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TryRules {
    pub content: Arc<str>,
    pub within: Duration,
}

#[derive(Clone, PartialEq, Eq)]
pub struct WriteFile {
    pub path: String,
    pub content: Arc<str>,
    pub owner: String,
    pub group: String,
    pub mode: u32,
    pub validate: Option<String>,
}

impl fmt::Debug for WriteFile {
    // The content may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteFile({}, {} bytes)", self.path, self.content.len())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageWanted {
    pub name: String,
    pub version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitStart {
    pub name: String,
    /// Stamped with their digests, so that a later change of one is seen.
    pub files: Vec<String>,
    pub timeout: Duration,
}
