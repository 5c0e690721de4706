//! What a host is. One POSIX script (`probe.sh`, with `network.pl`) goes out, `key=value` lines come back, `parse` makes them one struct.
//! Pure: no transport here. Facts are never written back into the inventory.

mod control;
mod examination;
mod parse;
pub mod preflight;
pub mod reach;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use control::Control;
pub use examination::{Disk, Examination, Fsync, PackageFacts, PathFacts, Reach, UnitFacts};
pub use parse::{Answers, FactsError, parse};

/// The probe: run it as root with `sh`, give its standard output to [`parse`].
pub const PROBE: &str =
    concat!("perl - <<'XP_PERL'\n", include_str!("network.pl"), "XP_PERL\n", include_str!("probe.sh"));
/// The closer look, after the probe in the same shell; what it needs beforehand stands at its beginning.
pub const EXAMINE: &str = include_str!("examine.sh");
/// Shell functions for scripts that ask apt.
pub const POLICY: &str = include_str!("policy.sh");
/// For `perl -`: which ports of other hosts can be reached.
pub const REACH: &str = include_str!("reach.pl");
/// For `perl -`: how long a synced write takes.
pub const FSYNC: &str = include_str!("fsync.pl");
/// A host that has this file was prepared by this program before.
pub const PREPARED: &str = "/etc/apt/apt.conf.d/52xnat-unattended";

/// Everything known about a host before anything is decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub hostname: String,
    pub machine_id: String,
    /// `ID` of os-release: `debian`, `ubuntu`.
    pub os: String,
    /// `VERSION_ID`: `12`, `13`, `24.04`.
    pub release: String,
    /// `VERSION_CODENAME`: `bookworm`, `trixie`.
    pub codename: String,
    /// dpkg's name: `amd64`, `arm64`.
    pub arch: String,
    pub kernel: String,
    pub cpus: u32,
    pub memory_kib: u64,
    /// The host's clock, seconds since 1970.
    pub epoch: f64,
    /// This machine's clock when the host was asked; none in facts that were recorded.
    #[serde(default)]
    pub asked: Option<f64>,
    pub uid: u32,
    /// PID 1 is systemd and answers; its version.
    pub systemd: Option<u32>,
    /// The package manager found: `apt`.
    pub package_manager: Option<String>,
    /// An earlier run of the package manager was cut off in the middle.
    #[serde(default)]
    pub packages_interrupted: bool,
    /// Path → free KiB on its file system, for `/`, `/tmp`, `/var`, `/var/lib/postgresql`, `/var/lib/etcd`.
    pub free_kib: BTreeMap<String, u64>,
    pub listening: Vec<Listener>,
    /// Directories of PostgreSQL data that exist, with PG_VERSION: path → version.
    pub postgres_data: BTreeMap<String, String>,
    /// Path → system identifier, of those with a control file.
    #[serde(default)]
    pub postgres_system: BTreeMap<String, String>,
    /// Those whose server was a leader at last.
    #[serde(default)]
    pub postgres_led: Vec<String>,
    /// One that a reset has kept for the next `apply`.
    #[serde(default)]
    pub postgres_kept: Option<String>,
    /// Those of them in which no server ever ran and that are no whole copy either: what a cut-off initdb or base backup
    /// left.
    #[serde(default)]
    pub postgres_unfinished: Vec<String>,
    /// etcd data directories that hold a member.
    pub etcd_data: Vec<String>,
    /// A Patroni configuration that is there already, ours or somebody else's: path → scope.
    pub patroni: BTreeMap<String, String>,
    /// Where such a configuration says that its keys are in etcd: path → namespace.
    #[serde(default)]
    pub patroni_namespace: BTreeMap<String, String>,
    /// The host's own addresses, to see that the inventory means this machine.
    pub addresses: Vec<String>,
    /// The closer look, where one was taken.
    #[serde(default)]
    pub examination: Option<Examination>,
}

impl Facts {
    /// By how much the host's clock is ahead of this machine's, in seconds; the way there is part of it.
    pub fn skew(&self) -> Option<f64> {
        self.asked.map(|asked| self.epoch - asked)
    }
}

/// A TCP socket in state LISTEN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    pub address: String,
    pub port: u16,
    /// The process' name, when the kernel tells.
    pub process: Option<String>,
    /// Its working directory; that of PostgreSQL is its data directory.
    #[serde(default)]
    pub directory: Option<String>,
}
