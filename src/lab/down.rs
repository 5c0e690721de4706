//! `lab down`: removes everything a lab made, by the names derived from its directory. It needs neither the state file
//! nor that `lab up` came to its end, and may be run again at any time.

use std::path::Path;

use super::cgroup::Cgroup;
use super::error::LabError;
use super::place::{Place, entries, lock_directory, remove_tree, unmount_below};
use super::state::{LabId, State};
use super::{Say, is_name, machine, network, pool, tool};

/// Whether there was anything to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Removed {
    Lab,
    Nothing,
}

/// Remove a lab.
pub fn down(name: &str, say: Say) -> Result<Removed, LabError> {
    tool::require_all()?;
    if !is_name(name) {
        return Err(LabError::BadName(name.to_owned()));
    }
    let place = Place::from_environment()?;
    let wait = || say(&format!("waiting for another command on the lab {name}"));
    let Some(_lock) = lock_directory(&place.lab(name), &wait)? else { return Ok(Removed::Nothing) };
    tear_down(&place, name)?;
    Ok(Removed::Lab)
}

/// Remove every lab; their names.
pub fn down_all(say: Say) -> Result<Vec<String>, LabError> {
    tool::require_all()?;
    let names = Place::from_environment()?.names()?;
    for name in &names {
        // what was removed is clear: there was a lab of that name
        let _ = down(name, say)?;
        say(&format!("removed the lab {name}"));
    }
    Ok(names)
}

/// To be called with the lab's directory locked, which is gone afterwards.
pub(super) fn tear_down(place: &Place, name: &str) -> Result<(), LabError> {
    let directory = place.lab(name);
    let id = LabId::of(&directory);
    power_off_all(&id)?;
    unmount_below(&directory)?;
    // A damaged state file must not keep a lab from going; all it costs are downloads.
    if let Ok(Some(state)) = State::load(&directory) {
        pool::gather(place, &state)?;
    }
    network::remove(&id)?;
    // systemd-nspawn removes these itself, unless it was killed.
    for shared in ["/run/systemd/nspawn/propagate", "/run/systemd/nspawn/unix-export"].map(Path::new) {
        for machine in entries(shared)?.iter().filter(|name| name.starts_with(&id.machine_prefix())) {
            remove_tree(&shared.join(machine))?;
        }
    }
    remove_tree(&directory)
}

fn power_off_all(id: &LabId) -> Result<(), LabError> {
    let prefix = id.cgroup_prefix();
    let names = Cgroup::names(&prefix)?;
    std::thread::scope(|scope| {
        let off = |name: &String| {
            let host = name.strip_prefix(&prefix).unwrap_or(name).to_owned();
            let group = Cgroup::named(name);
            scope.spawn(move || machine::power_off(&group?, &host))
        };
        let threads: Vec<_> = names.iter().map(off).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
