//! Why the lab could not do what it was asked.

use std::io;
use std::path::PathBuf;

use crate::error::{Exit, Fails};
use crate::quote;

#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("the lab needs root: it mounts file systems, makes a network and boots hosts")]
    NotRoot,
    #[error("programs are missing on this machine: {}", tools.join(", "))]
    MissingTools { tools: Vec<String>, packages: Vec<String> },
    #[error("cannot {what}: `{command}` ended with {status}{}", tail(output))]
    Tool { what: String, command: String, status: String, output: String },
    #[error("cannot {what} {}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot lay a writable overlay over the image at {}", path.display())]
    Overlay { path: PathBuf, source: io::Error },
    #[error("cannot build an image of {suite} from {mirror}: mmdebstrap ended with {status}{}", tail(errors))]
    Image { suite: &'static str, mirror: String, status: String, errors: String },
    #[error(
        "this machine has no cgroup hierarchy that systemd could use (neither cgroup2 nor name=systemd is mounted)"
    )]
    NoCgroup,
    #[error("`{0}` cannot be the name of a lab")]
    BadName(String),
    #[error("{0} hosts do not fit: a lab has 1 to {max} hosts", max = super::MAX_HOSTS)]
    HostCount(usize),
    #[error("there is a lab `{name}` already")]
    Taken { name: String },
    #[error("there is no lab `{name}`")]
    NoSuchLab { name: String, known: Vec<String> },
    #[error("the lab `{name}` was not finished: its `lab up` ended in the middle")]
    Unfinished { name: String },
    #[error("the lab `{lab}` has no host `{host}`")]
    NoSuchHost { lab: String, host: String, known: Vec<String> },
    #[error("cannot start {host}: the network of the lab `{lab}` is gone, as it is after a reboot of this machine")]
    NoNetwork { lab: String, host: String },
    #[error(transparent)]
    Mirror(#[from] crate::mirror::MirrorError),
    #[error("every network in 10.77.0.0/16 is in use on this machine")]
    NoSubnet,
    #[error("{host} did not become ready within {seconds} s: {reason}{}", tail(console))]
    NotReady { host: String, seconds: u64, reason: String, console: String },
    #[error("{host} is still running {seconds} s after it was told to {what}")]
    StillRunning { host: String, what: &'static str, seconds: u64, help: String },
    #[error("cannot understand {}", path.display())]
    State { path: PathBuf, source: serde_json::Error },
    #[error("cannot use the inventory {}: {reason}", path.display())]
    Inventory { path: PathBuf, reason: String },
    #[error("there is a file {} that no lab has written", path.display())]
    NotOurs { path: PathBuf },
    #[error("{} is still mounted on after unmounting, so nothing below it is removed", path.display())]
    Mounted { path: PathBuf },
    #[error("cannot make what opens the vaults of the lab")]
    Vault(#[source] crate::vault::VaultError),
}

/// The last lines of what a program printed, set apart from the message.
fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(20);
    lines[from..].iter().map(|line| format!("\n  {line}")).collect()
}

/// `a, b and c` for people, or nothing.
fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The known name that was probably meant.
fn nearest<'a>(wrong: &str, known: &'a [String]) -> Option<&'a String> {
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(far, _)| *far <= 2)
        .min()
        .map(|(_, name)| name)
}

impl miette::Diagnostic for LabError {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        let what = match self {
            Self::NotRoot => "not-root",
            Self::MissingTools { .. } => "missing-tools",
            Self::Tool { .. } => "tool",
            Self::Io { .. } => "io",
            Self::Overlay { .. } => "overlay",
            Self::Image { .. } => "image",
            Self::NoCgroup => "no-cgroup",
            Self::BadName(_) => "bad-name",
            Self::HostCount(_) => "host-count",
            Self::Taken { .. } => "taken",
            Self::NoSuchLab { .. } => "no-such-lab",
            Self::Unfinished { .. } => "unfinished",
            Self::NoSuchHost { .. } => "no-such-host",
            Self::NoNetwork { .. } => "no-network",
            Self::Mirror(_) => "no-mirror",
            Self::NoSubnet => "no-subnet",
            Self::NotReady { .. } => "not-ready",
            Self::StillRunning { .. } => "still-running",
            Self::State { .. } => "state",
            Self::Inventory { .. } => "inventory",
            Self::NotOurs { .. } => "not-ours",
            Self::Mounted { .. } => "mounted",
            Self::Vault(_) => "vault",
        };
        Some(Box::new(format!("xnat::lab::{what}")))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(self.advice()?))
    }
}

impl LabError {
    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::NotRoot => "run it as root: `sudo xnat-provision lab …`".to_owned(),
            Self::MissingTools { packages, .. } => format!("install them: `apt-get install {}`", packages.join(" ")),
            Self::Overlay { .. } => "check that the kernel has overlayfs (`modprobe overlay`) and keep the lab on a file system that can carry it, \
                 such as ext4 or xfs: `XDG_STATE_HOME=/srv/lab xnat-provision lab up`"
                .to_owned(),
            Self::Image { suite, .. } => {
                format!("see that the mirror answers and has {suite}, or name another: `xnat-provision lab up --mirror URL`")
            }
            Self::NoCgroup => "mount one: `mount -t cgroup2 none /sys/fs/cgroup`".to_owned(),
            Self::BadName(_) => "use 1 to 30 lower-case letters, digits and dashes, such as `--name rehearsal`".to_owned(),
            Self::HostCount(_) => "ask for another number: `xnat-provision lab up --hosts 4`".to_owned(),
            Self::Taken { name } => {
                format!("choose another name with `--name`, or remove that one first: `xnat-provision lab down --name {name}`")
            }
            Self::NoSuchLab { name, known } => match nearest(name, known) {
                Some(near) => format!("add `--name {near}` if you meant that one"),
                None => format!("see `xnat-provision lab status` for the labs there are ({})", listed(known)),
            },
            Self::Unfinished { name } => format!("remove what it left: `xnat-provision lab down --name {name}`"),
            Self::NoSuchHost { host, known, .. } => match nearest(host, known) {
                Some(near) => format!("write `{near}` if you meant that one"),
                None => format!("choose one of its hosts: {}", listed(known)),
            },
            Self::NoNetwork { lab, .. } => format!("make the lab anew: `xnat-provision lab down --name {lab}`, then `lab up`"),
            Self::StillRunning { help, .. } => help.clone(),
            Self::Mirror(error) => miette::Diagnostic::help(error)?.to_string(),
            Self::NoSubnet => "remove labs that are no longer needed: `xnat-provision lab down --all`".to_owned(),
            Self::NotReady { .. } => "try again; the lab was taken down, and the host's last console lines are above".to_owned(),
            Self::State { .. } => "remove the lab, which does not need that file: `xnat-provision lab down --name NAME`".to_owned(),
            Self::Inventory { path, .. } => format!("see what is wrong with it: `xnat-provision check {}`", quote::path(path)),
            Self::NotOurs { path } => format!("write the lab's inventory elsewhere with `--write FILE`, or remove that file: `rm {}`", quote::path(path)),
            Self::Mounted { path } => format!("see what holds it, then run `lab down` again: `findmnt -R {}`", quote::path(path)),
            Self::Vault(error) => miette::Diagnostic::help(error)?.to_string(),
            Self::Tool { .. } | Self::Io { .. } => return None,
        })
    }
}

impl Fails for LabError {
    fn exit(&self) -> Exit {
        match self {
            Self::NotRoot
            | Self::MissingTools { .. }
            | Self::BadName(_)
            | Self::HostCount(_)
            | Self::Taken { .. }
            | Self::NoSuchLab { .. }
            | Self::NoSuchHost { .. }
            | Self::Mirror(_)
            | Self::NotOurs { .. }
            | Self::Inventory { .. } => Exit::Usage,
            Self::NotReady { .. } => Exit::Unreachable,
            _ => Exit::Failed,
        }
    }
}

/// Names what was being done, and to which file, when the operating system refused.
pub(super) trait OnPath<T> {
    fn on(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, LabError>;
}

impl<T, E: Into<io::Error>> OnPath<T> for Result<T, E> {
    fn on(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, LabError> {
        self.map_err(|error| LabError::Io { what, path: path.into(), source: error.into() })
    }
}
