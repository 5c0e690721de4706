//! Probes and actions as POSIX shell, and the answers back. One process per tool, not per resource: a host that forks
//! `stat` a hundred times takes half a second for it.

mod action;
mod answer;
pub mod bundle;
pub mod dump;
mod ended;
pub mod facts;
mod hold;
pub mod member;
mod newer;
mod probe;
mod reboot;

pub use action::{actions, alone, completed, deadline};
pub use answer::answers;
pub use ended::ended;
pub use hold::{FENCED, Fence, HISTORY, fenced, fenced_in, history, history_in, hold, hold_in};
pub use newer::{DEADLINE as NEWER_DEADLINE, newer};
pub use probe::probes;
pub use reboot::{BOOT_ID, REBOOT, REBOOT_DUE};

/// dpkg writes the list of a package's files here, `NAME.list`, when it unpacks one.
const UNPACKED: &str = "/var/lib/dpkg/info/";

/// The "start nothing while installing" guard, and how we know it for ours.
pub(super) const GUARD: &str = "/usr/sbin/policy-rc.d";
pub(super) const GUARD_MARK: &str = "# xnat-provision: removed when the installation ends";
