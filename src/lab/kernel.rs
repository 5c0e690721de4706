//! Settings of this machine's kernel that labs need, and what they were before: the last lab gives them back.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::{LabError, OnPath};

/// A setting that must be at least this much while there are labs.
struct Setting {
    name: &'static str,
    path: &'static str,
    least: u64,
}

const SETTINGS: [Setting; 4] = [
    // Hosts reach the package mirror through this machine.
    Setting { name: "ip_forward", path: "/proc/sys/net/ipv4/ip_forward", least: 1 },
    // Each host's systemd takes about eight, all out of the same user's pool; without one its init ends with 255.
    Setting { name: "inotify", path: "/proc/sys/fs/inotify/max_user_instances", least: 4096 },
    // Every host has an entry for each it talks to, all of them in one table, which two hundred hosts overflow: then some do
    // not answer others.
    Setting { name: "neighbours", path: "/proc/sys/net/ipv4/neigh/default/gc_thresh3", least: 16384 },
    Setting { name: "neighbours-soft", path: "/proc/sys/net/ipv4/neigh/default/gc_thresh2", least: 8192 },
];

/// Raise what is too low; what it was is written down in `notes` first.
pub(super) fn raise(notes: &Path) -> Result<(), LabError> {
    SETTINGS.iter().try_for_each(|setting| {
        let before = fs::read_to_string(setting.path).on("read", setting.path)?;
        if before.trim().parse().is_ok_and(|value: u64| value >= setting.least) {
            return Ok(());
        }
        let note = setting.note(notes);
        fs::write(&note, &before).on("write", &note)?;
        fs::write(setting.path, format!("{}\n", setting.least)).on("write", setting.path)
    })
}

/// Put back what was raised.
pub(super) fn give_back(notes: &Path) -> Result<(), LabError> {
    SETTINGS.iter().try_for_each(|setting| {
        let note = setting.note(notes);
        match fs::read_to_string(&note) {
            Ok(before) => {
                fs::write(setting.path, before).on("write", setting.path)?;
                fs::remove_file(&note).on("remove", note)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).on("read", note),
        }
    })
}

impl Setting {
    fn note(&self, notes: &Path) -> PathBuf {
        notes.join(self.name)
    }
}
