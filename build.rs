//! Tells the program what it is called by `--version`: its version, and the commit it is made from (`src/version.rs`).
//! Own code, since the crates for it know nothing of archives, and take the commit of whatever repository is around.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

/// What the program is made of. Whether one of these was changed is told; tests are nothing of it.
const SOURCES: [&str; 16] = [
    ".cargo",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CHECKS.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "SECURITY.md",
    "THIRD-PARTY.md",
    "build.rs",
    "docs",
    "inventory",
    "roles",
    "src",
    "templates",
];
/// In an archive of the source this file has what git would say.
const ARCHIVED: &str = "packaging/commit";
/// Hexadecimal digits of a commit that are shown: enough for any repository.
const SHOWN: usize = 12;

fn main() -> io::Result<()> {
    // set by cargo for every build script
    let (root, version) = (variable("CARGO_MANIFEST_DIR")?, variable("CARGO_PKG_VERSION")?);
    let root = Path::new(&root);
    let mut out = io::stdout();
    for source in SOURCES.iter().chain(&[ARCHIVED]) {
        writeln!(out, "cargo::rerun-if-changed={source}")?;
    }
    // Only a repository of our own counts, and not one in which an archive was unpacked.
    let commit = if root.join(".git").exists() { from_git(root, &mut out)? } else { from_archive(root)? };
    let version = commit.map_or_else(|| version.clone(), |commit| format!("{version} ({commit})"));
    writeln!(out, "cargo::rustc-env=XNAT_PROVISION_VERSION={version}")
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|error| io::Error::other(format!("{name}: {error}")))
}

/// A program without its commit is still a program, so what git cannot do is a warning.
fn from_git(root: &Path, out: &mut impl io::Write) -> io::Result<Option<String>> {
    match ask_git(root) {
        Ok((commit, log)) => {
            // Written whenever HEAD moves. Where there is none cargo asks anew each time, which is as good.
            writeln!(out, "cargo::rerun-if-changed={log}")?;
            Ok(Some(commit))
        }
        Err(error) => {
            writeln!(out, "cargo::warning=--version will not tell the commit: {error}")?;
            Ok(None)
        }
    }
}

/// The commit, and the file that changes with it.
fn ask_git(root: &Path) -> io::Result<(String, String)> {
    let commit = shown(&git(root, &["log", "-1", "--format=%H %cs"])?)?;
    let changed = git(root, &[&["status", "--porcelain", "--"], SOURCES.as_slice()].concat())?;
    let log = git(root, &["rev-parse", "--git-path", "logs/HEAD"])?;
    Ok((if changed.is_empty() { commit } else { format!("{commit}, modified") }, log))
}

fn git(root: &Path, arguments: &[&str]) -> io::Result<String> {
    let mut command = Command::new("git");
    // set where git itself is what builds: in its hooks
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    let output = command.arg("--no-optional-locks").args(arguments).current_dir(root).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("git {}: {}", arguments[0], said.lines().next().unwrap_or_default())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn from_archive(root: &Path) -> io::Result<Option<String>> {
    let text = fs::read_to_string(root.join(ARCHIVED))?;
    // as it is in the repository: this is a copy of its files
    if text.starts_with('$') { Ok(None) } else { shown(&text).map(Some) }
}

/// `acd4a3fe12ab 2026-11-30` of the whole hash and the date.
fn shown(told: &str) -> io::Result<String> {
    let told = told.trim();
    let (Some(commit), Some(date)) = (told.get(..SHOWN), told.split(' ').nth(1)) else {
        return Err(io::Error::other(format!("no commit and date: {told:?}")));
    };
    Ok(format!("{commit} {date}"))
}
