//! Where things are kept: the cache (images, packages) and one directory per lab. Removing a tree is here too, because it
//! must never reach into something mounted there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::mount::UnmountFlags;

use super::error::{LabError, OnPath};

/// The directories the lab uses, from the environment.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Holds one directory per lab.
    pub labs: PathBuf,
    pub cache: PathBuf,
}

impl Place {
    pub fn from_environment() -> Result<Self, LabError> {
        let labs = base("XDG_STATE_HOME", ".local/state").join("xnat-provision/lab");
        fs::create_dir_all(&labs).on("make", &labs)?;
        // Without symbolic links, as the kernel lists mounts; and what is mounted below must be found.
        let labs = labs.canonicalize().on("find", &labs)?;
        Ok(Self { labs, cache: base("XDG_CACHE_HOME", ".cache").join("xnat-provision/lab") })
    }
    pub fn lab(&self, name: &str) -> PathBuf {
        self.labs.join(name)
    }
    /// The names of all labs, finished or not, in order.
    pub fn names(&self) -> Result<Vec<String>, LabError> {
        let mut names = entries(&self.labs)?;
        names.sort();
        Ok(names)
    }
}

fn base(variable: &str, below_home: &str) -> PathBuf {
    crate::files::base(variable, below_home).unwrap_or_else(|| PathBuf::from("/root").join(below_home))
}

/// The names in a directory; none when there is no such directory.
pub(super) fn entries(path: &Path) -> Result<Vec<String>, LabError> {
    let listing = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.on("read", path)?,
    };
    listing.map(|entry| Ok(entry.on("read", path)?.file_name().to_string_lossy().into_owned())).collect()
}

/// An exclusive lock on a directory or file, given back when dropped, also by a crash.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "holds the lock as long as it is open")] File);

/// Lock a directory that may be removed by whoever holds the lock; `None` when it is gone.
pub(super) fn lock_directory(path: &Path, on_wait: &dyn Fn()) -> Result<Option<Lock>, LabError> {
    loop {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.on("open", path)?,
        };
        flock(&file, path, on_wait)?;
        // It may have been removed, and even made anew, while we waited.
        match (fs::metadata(path), file.metadata().on("read", path)?) {
            (Ok(there), ours) if there.ino() == ours.ino() && there.dev() == ours.dev() => return Ok(Some(Lock(file))),
            _ => continue,
        }
    }
}

/// Lock a file that is never removed, making it when needed.
pub(super) fn lock_file(path: &Path, on_wait: &dyn Fn()) -> Result<(Lock, File), LabError> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path).on("open", path)?;
    flock(&file, path, on_wait)?;
    let copy = file.try_clone().on("open", path)?;
    Ok((Lock(file), copy))
}

fn flock(file: &File, path: &Path, on_wait: &dyn Fn()) -> Result<(), LabError> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => {
            on_wait();
            rustix::fs::flock(file, FlockOperation::LockExclusive).on("lock", path)
        }
        other => other.on("lock", path),
    }
}

/// Write a file as a whole: a crash leaves the old one or the new one.
pub(super) fn write_whole(path: &Path, content: &str, mode: u32) -> Result<(), LabError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let part = path.with_extension("part");
    let mut file = File::options().write(true).create(true).truncate(true).mode(mode).open(&part).on("write", &part)?;
    file.write_all(content.as_bytes()).on("write", &part)?;
    file.sync_all().on("write", &part)?;
    fs::rename(&part, path).on("write", path)
}

/// Unmount everything at or below a path, the innermost first.
pub(super) fn unmount_below(path: &Path) -> Result<(), LabError> {
    for point in mounts_below(path)?.iter().rev() {
        // Detached: a process that has just been killed may still be letting go of it.
        rustix::mount::unmount(point, UnmountFlags::DETACH).on("unmount", point)?;
    }
    Ok(())
}

/// Remove a directory with all that is in it; refuses while anything is mounted there.
pub(super) fn remove_tree(path: &Path) -> Result<(), LabError> {
    unmount_below(path)?;
    if let Some(point) = mounts_below(path)?.into_iter().next() {
        return Err(LabError::Mounted { path: point });
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.on("remove", path),
    }
}

fn mounts_below(path: &Path) -> Result<Vec<PathBuf>, LabError> {
    let table = "/proc/self/mountinfo";
    let text = fs::read_to_string(table).on("read", table)?;
    Ok(mount_points(&text).filter(|point| point.starts_with(path)).collect())
}

/// The fifth field of every line of mountinfo (proc(5)), with its octal escapes undone.
fn mount_points(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines().filter_map(|line| line.split(' ').nth(4)).map(|field| {
        let plain = field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
        PathBuf::from(plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_spaces_are_read() {
        let text = "24 1 0:22 / /proc rw - proc proc rw\n57 1 0:40 / /a\\040b/root rw shared:3 - overlay overlay rw\n";
        let points: Vec<PathBuf> = mount_points(text).collect();
        assert_eq!(points, [PathBuf::from("/proc"), PathBuf::from("/a b/root")]);
    }

    #[test]
    fn a_locked_directory_that_was_removed_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lab");
        fs::create_dir(&path).expect("made");
        let lock = lock_directory(&path, &|| {}).expect("locked");
        assert!(lock.is_some());
        fs::remove_dir(&path).expect("removed");
        assert!(lock_directory(&path, &|| {}).expect("looked").is_none());
    }
}
