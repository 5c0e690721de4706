//! What a lab is: written down before anything of it is made, so that a later `lab down` finds all of it. Every name of
//! something the lab makes on this machine is derived from its id, so even a lost state file does not strand anything.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::{LabError, OnPath};
use super::place::write_whole;

/// A Debian release the lab can boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// Where a database may come from; no cluster is made of it.
    Bullseye,
    Bookworm,
    Trixie,
}

impl Suite {
    pub fn codename(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

/// Whether `lab up` came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Making,
    Ready,
}

/// Whether the hosts reach anything but each other and this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AirGap {
    On,
    Off,
}

/// Whether a host reaches anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    Up,
    Cut,
}

/// What a host is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// With this machine's kernel and its clock.
    #[default]
    Container,
    /// With its own.
    Machine,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub name: String,
    pub id: LabId,
    pub phase: Phase,
    pub suite: Suite,
    /// The third octet of its network, 10.77.n.0/24.
    pub subnet: u8,
    pub air_gap: AirGap,
    /// Where the inventory was written.
    pub inventory: PathBuf,
    /// The digest that names the set of package sources, for the cache of their indexes.
    pub sources: String,
    pub hosts: Vec<LabHost>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabHost {
    pub name: String,
    /// Counts from 1; part of the names of its interface and its machine.
    pub number: usize,
    pub address: Ipv4Addr,
    /// 32 hexadecimal digits.
    pub machine_id: String,
    #[serde(default)]
    pub kind: Kind,
    pub link: Link,
}

/// Eight hexadecimal digits from the lab's directory: labs of different users with one name stay apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabId(String);

impl LabId {
    pub(super) fn of(directory: &Path) -> Self {
        let digest = Sha256::digest(directory.as_os_str().as_encoded_bytes());
        Self(digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect())
    }
    /// At most 15 characters, as Linux has it.
    pub(super) fn bridge(&self) -> String {
        format!("{}{}", super::network::BRIDGE_PREFIX, self.0)
    }
    pub(super) fn table(&self) -> String {
        format!("xnat_lab_{}", self.0)
    }
    /// The name systemd-nspawn knows a host by.
    pub(super) fn machine(&self, number: usize) -> String {
        format!("{}{number}", self.machine_prefix())
    }
    pub(super) fn machine_prefix(&self) -> String {
        format!("{}-", self.0)
    }
    /// systemd-nspawn names the outer end of a host's network cable like this.
    pub(super) fn interface(&self, number: usize) -> String {
        format!("{}{number}", self.interface_prefix())
    }
    pub(super) fn interface_prefix(&self) -> String {
        format!("vb-{}", self.machine_prefix())
    }
    pub(super) fn cgroup_prefix(&self) -> String {
        format!("xnat-lab-{}-", self.0)
    }
    /// Where to begin the search for a free network, so that a lab usually gets the same one again.
    pub(super) fn first_subnet(&self) -> u8 {
        u8::from_str_radix(self.0.get(..2).unwrap_or_default(), 16).unwrap_or_default()
    }
}

impl State {
    pub(super) fn file(directory: &Path) -> PathBuf {
        directory.join("lab.json")
    }
    pub(super) fn load(directory: &Path) -> Result<Option<Self>, LabError> {
        let path = Self::file(directory);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.on("read", &path)?,
        };
        serde_json::from_str(&text).map(Some).map_err(|source| LabError::State { path, source })
    }
    pub(super) fn save(&self, directory: &Path) -> Result<(), LabError> {
        let path = Self::file(directory);
        let text =
            serde_json::to_string_pretty(self).map_err(|source| LabError::State { path: path.clone(), source })?;
        write_whole(&path, &(text + "\n"), 0o600)
    }
    pub(super) fn gateway(&self) -> Ipv4Addr {
        super::network::address(self.subnet, 1)
    }
    pub(super) fn host(&self, name: &str) -> Result<&LabHost, LabError> {
        self.hosts.iter().find(|host| host.name == name).ok_or_else(|| LabError::NoSuchHost {
            lab: self.name.clone(),
            host: name.to_owned(),
            known: self.hosts.iter().map(|host| host.name.clone()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_this_machine_are_short_enough_and_differ() {
        let id = LabId::of(Path::new("/root/.local/state/xnat-provision/lab/lab"));
        assert!(id.bridge().len() <= 15, "{}", id.bridge());
        assert!(id.interface(super::super::MAX_HOSTS).len() <= 15);
        assert_ne!(id, LabId::of(Path::new("/root/.local/state/xnat-provision/lab/other")));
    }
}
