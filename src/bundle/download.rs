//! Fetching packages: apt's own helper does it, with this machine's proxies and logins, and goes on with what is there
//! partly; several run at once. Whatever it brings is held against the signed index.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::archive::Content;
use super::error::{BundleError, OnPath as _};
use super::solver::{Closure, Found, Solver};

const HELPER: &str = "/usr/lib/apt/apt-helper";
/// Archives serve one client well with so many connections, and are not annoyed.
const AT_ONCE: usize = 4;

/// The file of a package.
pub fn path(directory: &Path, sha256: &str) -> PathBuf {
    directory.join(format!("{sha256}.deb"))
}

/// Fetch what is not there yet. `done` hears of every package, and how many bytes it had to fetch for it.
pub fn fetch(solver: &Solver, closure: &Closure, done: &(dyn Fn(&Found, u64) + Sync)) -> Result<(), BundleError> {
    let directory = solver.packages();
    let queue: Mutex<VecDeque<(&String, &Found)>> = Mutex::new(closure.iter().collect());
    let failure = Mutex::new(None);
    let work = || {
        while let Some((sha256, found)) = locked(&queue).pop_front() {
            match one(solver, &directory, (sha256, found)) {
                Ok(fetched) => done(found, fetched),
                Err(error) => {
                    locked(&queue).clear();
                    locked(&failure).get_or_insert(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(closure.len()) {
            scope.spawn(work);
        }
    });
    failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How many bytes came over the network.
fn one(solver: &Solver, directory: &Path, (sha256, found): (&String, &Found)) -> Result<u64, BundleError> {
    let path = path(directory, sha256);
    if path.exists() && Content::File(path.clone()).measure()?.1 == *sha256 {
        return Ok(0);
    }
    let part = directory.join("partial").join(sha256);
    let name = found.stanza.name();
    let output = Command::new(HELPER)
        .arg("download-file")
        .arg(&found.uri)
        .arg(&part)
        .arg(format!("SHA256:{sha256}"))
        .env("APT_CONFIG", solver.settings_file())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|_| BundleError::NoApt)?;
    // the helper may fail with status 0: only the file counts
    if !part.exists() || Content::File(part.clone()).measure()?.1 != *sha256 {
        return Err(BundleError::Tool {
            what: format!("fetch {name}"),
            command: format!("apt-helper download-file {}", found.uri),
            status: output.status.to_string(),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
            help: "run it again: what is here already is not fetched twice".to_owned(),
        });
    }
    fs::rename(&part, &path).on("put in place", &path)?;
    Ok(found.stanza.size())
}
