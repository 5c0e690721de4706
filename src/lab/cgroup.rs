//! One control group per host, in the hierarchies systemd uses. systemd-nspawn with `--keep-unit` puts a host below the
//! group it is started in: without a group of its own, two hosts would share one, and stopping a service on one would
//! kill its namesake on the other. The group also tells which processes belong to a host, whoever their parent is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};

use super::error::{LabError, OnPath};
use super::place::entries;
use super::wait;

/// How long the kernel may take to forget a process.
const BUSY: Duration = Duration::from_secs(10);

/// The same group in every hierarchy; the first is the one whose members are read.
#[derive(Clone, Debug)]
pub(super) struct Cgroup {
    directories: Vec<PathBuf>,
}

/// What a process is to its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// PID 1 of the host.
    Init,
    /// systemd-nspawn or QEMU itself.
    Supervisor,
    Other,
}

impl Cgroup {
    pub fn named(name: &str) -> Result<Self, LabError> {
        Ok(Self { directories: hierarchies()?.into_iter().map(|root| root.join(name)).collect() })
    }

    /// The names of all groups with a prefix.
    pub fn names(prefix: &str) -> Result<Vec<String>, LabError> {
        let mut names = Vec::new();
        for root in hierarchies()? {
            names.extend(entries(&root)?.into_iter().filter(|name| name.starts_with(prefix)));
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    pub fn create(&self) -> Result<(), LabError> {
        for directory in &self.directories {
            fs::create_dir_all(directory).on("make the control group", directory)?;
        }
        Ok(())
    }

    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    pub fn is_empty(&self) -> Result<bool, LabError> {
        Ok(self.pids()?.is_empty())
    }

    /// Send a signal to every process that is a certain part of the host. The process is pinned first and looked at
    /// again then, so that a number that has been given to somebody else in the meantime is left alone. How many got it.
    pub fn signal(&self, part: Part, signal: Signal) -> Result<usize, LabError> {
        let mut reached = 0;
        for pid in self.pids()? {
            let Ok(pinned) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if self.pids()?.contains(&pid) && part_of(pid) == Some(part) {
                match rustix::process::pidfd_send_signal(&pinned, signal) {
                    Ok(()) => reached += 1,
                    Err(rustix::io::Errno::SRCH) => {}
                    Err(error) => return Err(error).on("signal", format!("/proc/{}", pid.as_raw_nonzero())),
                }
            }
        }
        Ok(reached)
    }

    /// Remove the groups; they must be empty. The kernel counts a process for a moment after it is seen no more.
    pub fn remove(&self) -> Result<(), LabError> {
        let mut last = Ok(());
        let removed = wait::until(BUSY, || {
            last = self.directories.iter().try_for_each(|directory| remove(directory));
            match &last {
                Err(LabError::Io { source, .. }) if source.kind() == io::ErrorKind::ResourceBusy => {
                    Ok(Err(source.to_string()))
                }
                _ => Ok(Ok(())),
            }
        });
        removed.and(last)
    }

    fn pids(&self) -> Result<Vec<Pid>, LabError> {
        let mut pids = Vec::new();
        if let Some(directory) = self.directories.first() {
            collect(directory, &mut pids)?;
        }
        Ok(pids)
    }
}

/// Where systemd keeps its groups: cgroup2 alone, or (hybrid) beside the version 1 hierarchy `name=systemd`.
fn hierarchies() -> Result<Vec<PathBuf>, LabError> {
    let table = "/proc/self/mountinfo";
    let found = hierarchies_in(&fs::read_to_string(table).on("read", table)?);
    if found.is_empty() { Err(LabError::NoCgroup) } else { Ok(found) }
}

fn hierarchies_in(mountinfo: &str) -> Vec<PathBuf> {
    let (mut version2, mut version1) = (Vec::new(), Vec::new());
    for line in mountinfo.lines() {
        let Some((mount, (kind, options))) = line.split_once(" - ").and_then(|(mount, rest)| {
            let mut rest = rest.split(' ');
            Some((mount, (rest.next()?, rest.nth(1)?)))
        }) else {
            continue;
        };
        let point = mount.split(' ').nth(4).map(PathBuf::from);
        match kind {
            "cgroup2" => version2.extend(point),
            "cgroup" if options.split(',').any(|option| option == "name=systemd") => version1.extend(point),
            _ => {}
        }
    }
    version2.into_iter().take(1).chain(version1.into_iter().take(1)).collect()
}

fn collect(directory: &Path, pids: &mut Vec<Pid>) -> Result<(), LabError> {
    let members = directory.join("cgroup.procs");
    match fs::read_to_string(&members) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw))),
        // Groups come and go while a host shuts down.
        Err(error) if is_gone(&error) => return Ok(()),
        Err(error) => return Err(error).on("read", members),
    }
    for child in children(directory)? {
        collect(&child, pids)?;
    }
    Ok(())
}

fn remove(directory: &Path) -> Result<(), LabError> {
    for child in children(directory)? {
        remove(&child)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if !is_gone(&error) => Err(error).on("remove the control group", directory),
        _ => Ok(()),
    }
}

fn children(directory: &Path) -> Result<Vec<PathBuf>, LabError> {
    let paths = entries(directory)?.into_iter().map(|name| directory.join(name));
    Ok(paths.filter(|path| path.is_dir()).collect())
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

fn part_of(pid: Pid) -> Option<Part> {
    part_in(&fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?)
}

/// A process inside has a second number, its number there (`NSpid` in proc(5)).
fn part_in(status: &str) -> Option<Part> {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    Some(match numbers.as_slice() {
        [_] => Part::Supervisor,
        [_, "1"] => Part::Init,
        _ => Part::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_unified_and_hybrid_machines() {
        let unified = "31 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(hierarchies_in(unified), [PathBuf::from("/sys/fs/cgroup")]);
        let hybrid = "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        assert_eq!(
            hierarchies_in(hybrid),
            [PathBuf::from("/sys/fs/cgroup/unified"), PathBuf::from("/sys/fs/cgroup/systemd")]
        );
    }

    #[test]
    fn init_is_told_from_its_supervisor_and_its_children() {
        assert_eq!(part_in("Name:\tsystemd\nNSpid:\t6963\t1\n"), Some(Part::Init));
        assert_eq!(part_in("Name:\tsystemd-nspawn\nNSpid:\t6950\n"), Some(Part::Supervisor));
        assert_eq!(part_in("Name:\tsshd\nNSpid:\t7087\t91\n"), Some(Part::Other));
        assert_eq!(part_in("Name:\tsh\nNSpid:\t7087\t91\t1\n"), Some(Part::Other));
    }
}
