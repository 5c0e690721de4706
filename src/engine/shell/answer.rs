//! The lines a probe script printed → observations.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::UNPACKED;
use crate::resource::{
    Observations, Observed, PackageState, PathKind, PathState, Probe, UnitState, WatchedFile, sysctl_file_path,
    sysctl_proc_path,
};

/// Read the answers; a line that is not one is returned as the error.
pub fn answers(probes: &[Probe], stdout: &str) -> Result<Observations, String> {
    let mut lines = Lines::default();
    for line in stdout.lines() {
        lines.read(line).ok_or_else(|| line.chars().take(200).collect::<String>())?;
    }
    let mut observations = Observations::default();
    let mut unit_index = 0;
    for (index, probe) in probes.iter().enumerate() {
        let observed = match probe {
            Probe::Path { path, want } => Observed::Path(lines.path(path, want.is_some())),
            Probe::Package { name } => Observed::Package(lines.package(name)),
            Probe::Group { name } => Observed::Group { exists: lines.groups.contains(name) },
            Probe::User { name } => Observed::User { exists: lines.users.contains(name) },
            Probe::Sysctl { key } => lines.sysctl(key),
            Probe::Unit { name, files, packages } => {
                unit_index += 1;
                let packages = lines.unpacked(packages);
                Observed::Unit(UnitState { packages, ..lines.unit(unit_index - 1, name, files) })
            }
            Probe::Check { .. } => Observed::Check { holds: lines.checks.contains(&index) },
        };
        observations.insert(probe.clone(), observed);
    }
    Ok(observations)
}

#[derive(Default)]
struct Lines {
    /// By path: as it is, and through links.
    stat: BTreeMap<String, Stat>,
    followed: BTreeMap<String, Stat>,
    digests: BTreeMap<String, String>,
    texts: BTreeMap<String, String>,
    packages: BTreeMap<String, Installed>,
    candidates: BTreeMap<String, String>,
    guard: bool,
    /// Package → when its present version was unpacked.
    unpacked: BTreeMap<String, i64>,
    groups: BTreeSet<String>,
    users: BTreeSet<String>,
    /// By the file read.
    sysctls: BTreeMap<String, String>,
    units: Vec<BTreeMap<String, String>>,
    in_unit: bool,
    /// Unit → path → digest.
    stamps: BTreeMap<String, BTreeMap<String, String>>,
    checks: BTreeSet<usize>,
}

/// As dpkg has it.
struct Installed {
    version: String,
    status: String,
    held: bool,
}

#[derive(Clone)]
struct Stat {
    state: PathState,
    modified: i64,
}

impl Lines {
    fn read(&mut self, line: &str) -> Option<()> {
        let (letter, rest) = line.split_once('\t').unwrap_or((line, ""));
        match letter {
            "S" | "L" => self.read_stat(letter, rest)?,
            "H" => self.read_digest(rest)?,
            "T" => self.read_text(rest)?,
            "P" => {
                let mut fields = rest.split('\t');
                let name = fields.next()?.to_owned();
                let (version, status) = (fields.next()?.to_owned(), fields.next()?.to_owned());
                let held = fields.next() == Some("hold");
                self.packages.insert(name, Installed { version, status, held });
            }
            "C" => {
                let (name, version) = rest.split_once('\t')?;
                self.candidates.insert(name.to_owned(), version.to_owned());
            }
            "G" => self.guard = true,
            "A" => {
                let (seconds, file) = rest.split_once('\t')?;
                let name = file.strip_prefix(UNPACKED)?.strip_suffix(".list")?;
                let name = name.split_once(':').map_or(name, |(name, _)| name);
                let (seconds, at): (i64, _) =
                    (seconds.parse().ok()?, self.unpacked.entry(name.to_owned()).or_default());
                *at = seconds.max(*at);
            }
            "R" => _ = self.groups.insert(rest.to_owned()),
            "W" => _ = self.users.insert(rest.to_owned()),
            "Y" => {
                let (file, value) = rest.split_once(':')?;
                self.sysctls.insert(file.to_owned(), value.to_owned());
            }
            "U" => self.read_unit(rest)?,
            "M" => self.read_stamp(rest)?,
            "K" => _ = self.checks.insert(rest.parse().ok()?),
            _ => return None,
        }
        Some(())
    }

    fn read_stat(&mut self, letter: &str, rest: &str) -> Option<()> {
        let mut fields = rest.splitn(6, '\t');
        let kind = match fields.next()? {
            "regular file" | "regular empty file" => PathKind::File,
            "directory" => PathKind::Directory,
            _ => PathKind::Other,
        };
        let owner = fields.next()?.to_owned();
        let group = fields.next()?.to_owned();
        let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
        let modified = fields.next()?.parse().ok()?;
        let path = fields.next()?.to_owned();
        let state = PathState { kind, owner, group, mode, sha256: None, text: None };
        let table = if letter == "S" { &mut self.stat } else { &mut self.followed };
        table.insert(path, Stat { state, modified });
        Some(())
    }

    fn read_digest(&mut self, rest: &str) -> Option<()> {
        let (sum, path) = rest.split_once("  ")?;
        self.digests.insert(path.to_owned(), sum.to_owned());
        Some(())
    }

    fn read_text(&mut self, rest: &str) -> Option<()> {
        let (path, encoded) = rest.rsplit_once('\t')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        self.texts.insert(path.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
        Some(())
    }

    fn read_unit(&mut self, rest: &str) -> Option<()> {
        if rest.is_empty() {
            self.in_unit = false;
            return Some(());
        }
        if !self.in_unit {
            self.units.push(BTreeMap::new());
            self.in_unit = true;
        }
        let (key, value) = rest.split_once('=')?;
        self.units.last_mut()?.insert(key.to_owned(), value.to_owned());
        Some(())
    }

    fn read_stamp(&mut self, rest: &str) -> Option<()> {
        let (unit, line) = rest.split_once('\t')?;
        let (sum, path) = line.split_once("  ")?;
        self.stamps.entry(unit.to_owned()).or_default().insert(path.to_owned(), sum.to_owned());
        Some(())
    }

    fn path(&self, path: &str, as_file: bool) -> Option<PathState> {
        let table = if as_file { &self.stat } else { &self.followed };
        let mut state = table.get(path)?.state.clone();
        if as_file {
            state.sha256 = self.digests.get(path).cloned();
            state.text = self.texts.get(path).cloned();
        }
        Some(state)
    }

    fn package(&self, name: &str) -> PackageState {
        let found = self.packages.get(name);
        let installed = found.filter(|found| found.status == "installed").map(|found| found.version.clone());
        let candidate = self.candidates.get(name).filter(|version| *version != "(none)").cloned();
        let held = found.is_some_and(|found| found.held);
        PackageState { installed, candidate, held, guard_left: self.guard }
    }

    fn unpacked(&self, packages: &[String]) -> BTreeMap<String, i64> {
        let known = packages.iter().filter_map(|name| Some((name.clone(), *self.unpacked.get(name)?)));
        known.collect()
    }

    fn sysctl(&self, key: &str) -> Observed {
        let now = self.sysctls.get(&sysctl_proc_path(key)).cloned();
        let line = self.sysctls.get(&sysctl_file_path(key));
        let at_boot = line.and_then(|line| line.split_once('=')).map(|(_, value)| value.trim().to_owned());
        Observed::Sysctl { now, at_boot }
    }

    fn unit(&self, index: usize, name: &str, files: &[String]) -> UnitState {
        let empty = BTreeMap::new();
        let fields = self.units.get(index).unwrap_or(&empty);
        let field = |key: &str| fields.get(key).map(String::as_str).unwrap_or_default();
        let stamps = self.stamps.get(name);
        let watched = |path: &String| WatchedFile {
            sha256: self.digests.get(path).cloned(),
            modified: self.stat.get(path).map(|stat| stat.modified),
            stamped: stamps.and_then(|stamps| stamps.get(path)).cloned(),
        };
        UnitState {
            loaded: field("LoadState") == "loaded",
            enabled: matches!(field("UnitFileState"), "enabled" | "static" | "alias"),
            masked: field("UnitFileState").starts_with("masked"),
            active: field("ActiveState").to_owned(),
            needs_daemon_reload: field("NeedDaemonReload") == "yes",
            started: field("ExecMainStartTimestamp").strip_prefix('@').and_then(|seconds| seconds.parse().ok()),
            restarts: field("NRestarts").parse().unwrap_or_default(),
            drop_ins: field("DropInPaths").split(' ').filter(|path| !path.is_empty()).map(str::to_owned).collect(),
            files: files.iter().map(|path| (path.clone(), watched(path))).collect(),
            packages: BTreeMap::new(),
        }
    }
}
