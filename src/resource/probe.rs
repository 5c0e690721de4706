//! The questions resources may ask about a host, and the answers. A closed set, so that a simulated host can answer too.

use std::collections::BTreeMap;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    Path {
        path: String,
        /// When given, the SHA-256 of what we want: a file that differs is sent back as text, unless it is secret.
        want: Option<WantedContent>,
    },
    Package {
        name: String,
    },
    Group {
        name: String,
    },
    User {
        name: String,
    },
    Sysctl {
        key: String,
    },
    Unit {
        name: String,
        /// Files whose digests are compared with the stamp of the last (re)start.
        files: Vec<String>,
        /// Packages whose age is compared with the unit's.
        packages: Vec<String>,
    },
    /// A read-only command; the answer is whether it exits 0.
    Check {
        command: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WantedContent {
    pub sha256: String,
    /// Send the present text back for a diff; never for secret files.
    pub show: bool,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    Path(Option<PathState>),
    Package(PackageState),
    Group {
        exists: bool,
    },
    User {
        exists: bool,
    },
    /// The value now, and the one our file sets at boot.
    Sysctl {
        now: Option<String>,
        at_boot: Option<String>,
    },
    Unit(UnitState),
    Check {
        holds: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathState {
    pub kind: PathKind,
    pub owner: String,
    pub group: String,
    pub mode: u32,
    /// Of a regular file.
    pub sha256: Option<String>,
    /// Of a regular file that differs from what was wanted and may be shown.
    pub text: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    File,
    Directory,
    Other,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageState {
    /// The version that is installed and configured.
    pub installed: Option<String>,
    /// What apt would install; asked only when nothing is installed, unknown before the first `apt-get update`.
    pub candidate: Option<String>,
    /// Somebody has seen to it that it stays as it is (`apt-mark hold`).
    pub held: bool,
    /// An interrupted installation left our "start nothing" guard behind.
    pub guard_left: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitState {
    pub loaded: bool,
    pub enabled: bool,
    /// Somebody has seen to it that it cannot be started (`systemctl mask`).
    pub masked: bool,
    /// `active`, `inactive`, `failed`, `activating`, …
    pub active: String,
    /// systemd has an older version of the unit file in memory.
    pub needs_daemon_reload: bool,
    /// When the main process was started, seconds since 1970.
    pub started: Option<i64>,
    /// How often systemd has started it again by itself, since somebody else last did.
    pub restarts: u64,
    /// Files that change it, whoever has put them there.
    pub drop_ins: Vec<String>,
    pub files: BTreeMap<String, WatchedFile>,
    /// When the package's present version was unpacked, seconds since 1970; without those that are not installed.
    pub packages: BTreeMap<String, i64>,
}

/// A file a unit watches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchedFile {
    /// Its digest now; none when it is absent.
    pub sha256: Option<String>,
    pub modified: Option<i64>,
    /// Its digest when the unit last read it, from the stamp.
    pub stamped: Option<String>,
}

/// The answers of one host.
#[derive(Clone, Debug, Default)]
pub struct Observations(BTreeMap<Probe, Observed>);

impl Observations {
    pub fn insert(&mut self, probe: Probe, observed: Observed) {
        self.0.insert(probe, observed);
    }
    pub fn get(&self, probe: &Probe) -> Option<&Observed> {
        self.0.get(probe)
    }
    pub fn iter(&self) -> impl Iterator<Item = (&Probe, &Observed)> {
        self.0.iter()
    }
    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(super) fn path(&self, probe: &Probe) -> Option<&PathState> {
        match self.get(probe) {
            Some(Observed::Path(state)) => state.as_ref(),
            _ => None,
        }
    }
}
