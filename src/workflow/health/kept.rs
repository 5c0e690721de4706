//! What this machine remembers of a cluster, in the user's state directory: what its disks held, and its drills.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use crate::cluster::Answer;
use crate::error::one_line;
use crate::files;
use crate::health::Drill;
use crate::health::forecast::Samples;
use crate::health::host::Look;
use crate::names::HostName;
use crate::report::journal::Store;

const SAMPLES: &str = "disk-samples.json";
/// More than the recordings of a hundred runs.
const REPORT: u64 = 256 << 20;

fn directory(cluster: &str) -> Result<PathBuf, String> {
    Ok(Store::of_user().map_err(|error| one_line(&error))?.cluster(cluster))
}

/// What disks held before; what they hold now is added. That nothing can be kept is no reason to say nothing.
pub fn samples(cluster: &str, now: Timestamp, hosts: &BTreeMap<HostName, Answer<Look>>) -> Result<Samples, String> {
    let path = directory(cluster)?.join(SAMPLES);
    let before = read(&path)?;
    let looks = hosts.iter().filter_map(|(host, look)| Some((host, look.known()?)));
    if let Some(after) = before.clone().with(now, looks) {
        write(&path, &after).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(before)
}

/// A file that makes no sense is begun anew: it holds nothing that does not come back by itself.
fn read(path: &Path) -> Result<Samples, String> {
    match files::read(path, files::TEXT) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Samples::default()),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

fn write(path: &Path, samples: &Samples) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(files::directory(path))?;
    let text = serde_json::to_vec(samples)?;
    files::beside(path, &text)?.persist(path)?;
    Ok(())
}

/// The newest of the drills that did not pass, if that fault has not passed since; otherwise the newest of all.
pub fn last_drill(cluster: &str) -> Result<Option<Drill>, String> {
    last_in(&drills(cluster)?)
}

fn last_in(directory: &Path) -> Result<Option<Drill>, String> {
    let mut newest: Option<Drill> = None;
    for path in newest_of_each(directory)? {
        let bytes = files::read(&path, REPORT).map_err(|error| unreadable(directory, &error))?;
        // one that another version has written otherwise says nothing
        let Ok(drill) = serde_json::from_slice::<Drill>(&bytes) else { continue };
        // one that could not be done is made up for by any that was
        let made_up_for = drill.failed.is_some() && newest.is_some();
        if !drill.passed && !made_up_for {
            return Ok(Some(drill));
        }
        newest.get_or_insert(drill);
    }
    Ok(newest)
}

/// When a drill was kept last: until then the answer stays the same.
pub fn last_kept(cluster: &str) -> Option<SystemTime> {
    fs::metadata(drills(cluster).ok()?).and_then(|directory| directory.modified()).ok()
}

fn drills(cluster: &str) -> Result<PathBuf, String> {
    Ok(directory(cluster)?.join("drills"))
}

fn unreadable(directory: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", directory.display())
}

/// The newest first. Files are named by when the drill ended, and by what it was.
fn newest_of_each(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(directory, &error)),
    };
    let entries: Vec<fs::DirEntry> =
        entries.collect::<io::Result<_>>().map_err(|error| unreadable(directory, &error))?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort_unstable();
    let mut seen = BTreeSet::new();
    let what = |path: &Path| {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        stem.split_once('-').map(|(_, what)| what.to_owned()).unwrap_or(stem)
    };
    Ok(paths.into_iter().rev().filter(|path| seen.insert(what(path))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_drill_counts_until_it_has_passed_and_one_that_was_not_done_until_another_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let keep = |hour: u8, drill: &str, passed: bool, failed: Option<&str>| {
            let name = if failed.is_some() { "attempt" } else { drill };
            let finished = format!("2026-11-29T{hour:02}:00:00Z");
            let kept = serde_json::json!({ "drill": drill, "finished": finished, "passed": passed, "failed": failed });
            let path = directory.path().join(format!("20261129T{hour:02}0000Z-{name}.json"));
            std::fs::write(path, kept.to_string()).expect("written");
        };
        let last = || last_in(directory.path()).expect("readable").map(|drill| (drill.drill, drill.passed));
        assert_eq!(last(), None);
        keep(1, "switchover", false, None);
        keep(2, "kill-both", true, None);
        assert_eq!(last(), Some(("switchover".to_owned(), false)), "it has not passed since");
        keep(3, "switchover", true, None);
        assert_eq!(last(), Some(("switchover".to_owned(), true)));
        keep(4, "all", false, Some("db2 cannot be reached"));
        assert_eq!(last(), Some(("all".to_owned(), false)));
        keep(5, "haproxy", true, None);
        assert_eq!(last(), Some(("haproxy".to_owned(), true)), "somebody has done one meanwhile");
    }
}
