//! Packages and package indexes, kept between hosts and between labs. A host is seeded before it boots, and what it has
//! downloaded is gathered when its lab goes or the next host is made. apt moves only whole, verified files to these places and never
//! changes one, so that hard links serve both ways.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::{LabError, OnPath};
use super::place::{Place, entries};
use super::state::{State, Suite};

const ARCHIVES: &str = "var/cache/apt/archives";
const LISTS: &str = "var/lib/apt/lists";
/// What apt has made of the lists: some seconds' work, and good wherever the lists are the same.
const CACHE: &str = "var/cache/apt/srcpkgcache.bin";

/// The shelf of the cache for hosts of one release with one set of sources.
pub(super) struct Pool {
    packages: PathBuf,
    lists: PathBuf,
}

impl Pool {
    pub fn of(place: &Place, suite: Suite, sources: &str) -> Self {
        Self {
            packages: place.cache.join("packages").join(suite.codename()),
            lists: place.cache.join("lists").join(format!("{}-{sources}", suite.codename())),
        }
    }

    /// Give a host that is about to boot everything there is; `upper` is its writable layer.
    pub fn seed(&self, upper: &Path) -> Result<(), LabError> {
        spread(&self.packages, &upper.join(ARCHIVES))?;
        spread(&self.lists, &upper.join(LISTS))?;
        take(&self.lists.with_extension("bin"), &upper.join(CACHE))
    }

    /// Take what a host has downloaded.
    fn gather(&self, upper: &Path) -> Result<(), LabError> {
        spread(&upper.join(ARCHIVES), &self.packages)?;
        // Indexes belong together: a set replaces the one before, file by file, and apt fetches again what does not fit.
        spread(&upper.join(LISTS), &self.lists)?;
        take(&upper.join(CACHE), &self.lists.with_extension("bin"))
    }
}

/// Take what all hosts of a lab have downloaded; its hosts may be running.
pub(super) fn gather(place: &Place, state: &State) -> Result<(), LabError> {
    let pool = Pool::of(place, state.suite, &state.sources);
    let hosts = place.lab(&state.name).join("hosts");
    state.hosts.iter().try_for_each(|host| pool.gather(&hosts.join(&host.name).join("upper")))
}

/// Link every plain file of a directory into another, replacing what is older there.
fn spread(from: &Path, to: &Path) -> Result<(), LabError> {
    for name in entries(from)? {
        let (source, target) = (from.join(&name), to.join(&name));
        // apt is still busy with what is in `partial`; its lock is an empty file.
        if name != "lock" && fs::symlink_metadata(&source).is_ok_and(|found| found.is_file()) {
            take(&source, &target)?;
        }
    }
    Ok(())
}

/// The same for one file, if it is there.
fn take(source: &Path, target: &Path) -> Result<(), LabError> {
    let Ok(found) = fs::symlink_metadata(source) else { return Ok(()) };
    if is_newer(target, &found) {
        return Ok(());
    }
    let directory = crate::files::directory(target);
    fs::create_dir_all(directory).on("make", directory)?;
    place_file(source, target)
}

fn is_newer(target: &Path, source: &fs::Metadata) -> bool {
    let (Ok(there), Ok(here)) = (fs::metadata(target).and_then(|found| found.modified()), source.modified()) else {
        return false;
    };
    there >= here
}

fn place_file(source: &Path, target: &Path) -> Result<(), LabError> {
    let part = target.with_file_name(format!(
        ".{}.{}",
        target.file_name().unwrap_or_default().to_string_lossy(),
        std::process::id()
    ));
    if fs::hard_link(source, &part).is_err() {
        // Another file system, or one without hard links. apt asks the mirror for what is newer than a file's time stamp.
        fs::copy(source, &part).on("copy", source)?;
        let stamp = fs::metadata(source).and_then(|found| found.modified()).on("read", source)?;
        fs::File::options().write(true).open(&part).and_then(|file| file.set_modified(stamp)).on("write", &part)?;
    }
    fs::rename(&part, target).on("put in place", target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_files_are_spread_and_what_apt_is_busy_with_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("partial")).expect("made");
        fs::write(from.join("a_1_amd64.deb"), "a").expect("written");
        fs::write(from.join("lock"), "").expect("written");
        fs::write(from.join("partial/b_1_amd64.deb"), "half").expect("written");
        spread(&from, &to).expect("spread");
        spread(&from, &to).expect("spread again");
        assert_eq!(entries(&to).expect("read"), ["a_1_amd64.deb"]);
    }
}
