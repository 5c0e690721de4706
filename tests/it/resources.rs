//! What every kind of resource makes of what was seen: one file per case below `tests/fixtures/resource/<kind>/`.
//! To add a case, drop in a file; its README says what may stand in it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use similar::TextDiff;
use xnat_provision::resource::{
    Change, Command, Detail, Directory, File, Firewall, Group, Observations, Observed, OnChange, Package, PackageState,
    PathKind, PathState, Pending, Probe, Replace, Resource, ResourceId, Restart, Source, Sysctl, Unit, UnitState, User,
    WatchedFile, sha256,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    resource: Spec,
    /// What is not in it is not on the host.
    #[serde(default)]
    seen: Seen,
    /// Changes planned before this one on the same host.
    #[serde(default)]
    pending: Vec<String>,
    expected: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Spec {
    File(Owned),
    Directory(Owned),
    Package {
        name: String,
        version: Option<String>,
        #[serde(default)]
        in_turn: bool,
    },
    Group {
        name: String,
    },
    User {
        name: String,
    },
    Sysctl {
        key: String,
        value: String,
    },
    Unit(UnitSpec),
    Command {
        run: String,
        unless: String,
        why: String,
    },
    Firewall {
        path: String,
        content: String,
    },
}

/// A file or a directory.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Owned {
    path: String,
    #[serde(default)]
    content: String,
    #[serde(default = "root")]
    owner: String,
    #[serde(default = "root")]
    group: String,
    mode: u32,
    #[serde(default)]
    secret: bool,
    frozen_by: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitSpec {
    name: String,
    enabled: bool,
    running: bool,
    #[serde(default)]
    watch: Vec<String>,
    on_change: OnChange,
    #[serde(default)]
    restart_watch: Vec<String>,
    #[serde(default)]
    packages: Vec<String>,
    restart: Restart,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Seen {
    path: BTreeMap<String, SeenPath>,
    package: BTreeMap<String, SeenPackage>,
    group: Vec<String>,
    user: Vec<String>,
    sysctl: BTreeMap<String, SeenSysctl>,
    unit: BTreeMap<String, SeenUnit>,
    /// Commands that exit 0.
    check: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenPath {
    kind: SeenKind,
    #[serde(default = "root")]
    owner: String,
    #[serde(default = "root")]
    group: String,
    mode: u32,
    #[serde(default)]
    content: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SeenKind {
    File,
    Directory,
    Other,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SeenPackage {
    installed: Option<String>,
    candidate: Option<String>,
    guard_left: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenSysctl {
    now: Option<String>,
    at_boot: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenUnit {
    enabled: bool,
    #[serde(default)]
    masked: bool,
    active: String,
    #[serde(default)]
    needs_daemon_reload: bool,
    started: Option<i64>,
    #[serde(default)]
    files: BTreeMap<String, SeenWatched>,
    /// When each was unpacked.
    #[serde(default)]
    packages: BTreeMap<String, i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenWatched {
    content: Option<String>,
    modified: Option<i64>,
    /// What the unit had read, according to the stamp.
    stamped: Option<String>,
}

fn root() -> String {
    "root".to_owned()
}

impl Spec {
    fn resource(self) -> Resource {
        match self {
            Self::File(it) => Resource::File(File {
                path: it.path,
                content: it.content,
                owner: it.owner,
                group: it.group,
                mode: it.mode,
                secret: it.secret,
                validate: None,
                frozen_by: it.frozen_by,
            }),
            Self::Directory(it) => {
                Resource::Directory(Directory { path: it.path, owner: it.owner, group: it.group, mode: it.mode })
            }
            Self::Package { name, version, in_turn } => {
                let replace = if in_turn { Replace::InTurn } else { Replace::Refused };
                Resource::Package(Package { name, version, replace, source: Source::Host })
            }
            Self::Group { name } => Resource::Group(Group { name }),
            Self::User { name } => Resource::User(User {
                home: format!("/var/lib/{name}"),
                group: name.clone(),
                shell: "/usr/sbin/nologin".to_owned(),
                name,
            }),
            Self::Sysctl { key, value } => Resource::Sysctl(Sysctl { key, value }),
            Self::Unit(it) => Resource::Unit(Unit {
                name: it.name,
                enabled: it.enabled,
                running: it.running,
                watch: it.watch,
                on_change: it.on_change,
                restart_watch: it.restart_watch,
                packages: it.packages,
                restart: it.restart,
                timeout: Duration::from_secs(30),
            }),
            Self::Command { run, unless, why } => Resource::Command(Command { run, unless, why }),
            Self::Firewall { path, content } => {
                Resource::Firewall(Firewall { path, content, confirm_within: Duration::from_secs(30) })
            }
        }
    }
}

impl Seen {
    fn answer(&self, probe: &Probe) -> Observed {
        match probe {
            Probe::Path { path, want } => {
                let sent = want.as_ref().map(|want| want.show);
                Observed::Path(self.path.get(path).map(|seen| seen.state(sent)))
            }
            Probe::Package { name } => {
                Observed::Package(self.package.get(name).map_or_else(Default::default, |seen| PackageState {
                    installed: seen.installed.clone(),
                    candidate: seen.candidate.clone(),
                    held: false,
                    guard_left: seen.guard_left,
                }))
            }
            Probe::Group { name } => Observed::Group { exists: self.group.contains(name) },
            Probe::User { name } => Observed::User { exists: self.user.contains(name) },
            Probe::Sysctl { key } => {
                let seen = self.sysctl.get(key);
                let (now, at_boot) = seen.map_or((None, None), |seen| (seen.now.clone(), seen.at_boot.clone()));
                Observed::Sysctl { now, at_boot }
            }
            Probe::Unit { name, .. } => {
                Observed::Unit(self.unit.get(name).map_or_else(UnitState::default, SeenUnit::state))
            }
            Probe::Check { command } => Observed::Check { holds: self.check.contains(command) },
        }
    }
}

impl SeenPath {
    /// `sent`: asked for its content, and whether its text may be sent back.
    fn state(&self, sent: Option<bool>) -> PathState {
        let is_file = matches!(self.kind, SeenKind::File);
        PathState {
            kind: match self.kind {
                SeenKind::File => PathKind::File,
                SeenKind::Directory => PathKind::Directory,
                SeenKind::Other => PathKind::Other,
            },
            owner: self.owner.clone(),
            group: self.group.clone(),
            mode: self.mode,
            sha256: (is_file && sent.is_some()).then(|| sha256(&self.content)),
            text: (is_file && sent == Some(true)).then(|| self.content.clone()),
        }
    }
}

impl SeenUnit {
    fn state(&self) -> UnitState {
        let watched = |seen: &SeenWatched| WatchedFile {
            sha256: seen.content.as_deref().map(sha256),
            modified: seen.modified,
            stamped: seen.stamped.as_deref().map(sha256),
        };
        UnitState {
            loaded: true,
            enabled: self.enabled,
            masked: self.masked,
            active: self.active.clone(),
            needs_daemon_reload: self.needs_daemon_reload,
            started: self.started,
            restarts: 0,
            drop_ins: Vec::new(),
            files: self.files.iter().map(|(path, seen)| (path.clone(), watched(seen))).collect(),
            packages: self.packages.clone(),
        }
    }
}

/// A change as text: what people see of it first, then what would be done.
fn told(change: Option<&Change>) -> String {
    let Some(change) = change else { return "nothing\n".to_owned() };
    let mut text = format!("{}: {}\n", change.resource, change.summary);
    let _ = writeln!(text, "effect {}", serde_json::json!(change.effect).as_str().unwrap_or_default());
    for cause in &change.after {
        let _ = writeln!(text, "after {cause}");
    }
    match &change.detail {
        Detail::None => {}
        Detail::Text(diff) => text.push_str(diff),
        Detail::Fields(fields) => {
            fields.iter().for_each(|(name, old, new)| _ = writeln!(text, "{name}: {old} → {new}"));
        }
        Detail::Digests { old, new } => {
            let short = |digest: &Option<String>| digest.as_deref().map_or("unknown", |digest| &digest[..8]).to_owned();
            let _ = writeln!(text, "sha256 {} → {}", short(old), short(new));
        }
    }
    change.actions.iter().for_each(|action| _ = writeln!(text, "do {action:?}"));
    text
}

fn run(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let case: Case = toml::from_str(&text).map_err(|error| error.to_string())?;
    let resource = case.resource.resource();
    let mut seen = Observations::default();
    for probe in resource.probes() {
        let answer = case.seen.answer(&probe);
        seen.insert(probe, answer);
    }
    let mut pending = Pending::default();
    for id in &case.pending {
        let (kind, name) = id.split_once(' ').ok_or_else(|| format!("{id:?} is not `kind name`"))?;
        if kind == "file" {
            pending.files.insert(name.to_owned());
        }
        pending.changes.push(ResourceId::new(kind, name));
    }
    let told = told(resource.diff(&seen, &pending).as_ref());
    if told == case.expected {
        return Ok(());
    }
    Err(format!("-expected +told\n{}", TextDiff::from_lines(&case.expected, &told).unified_diff()))
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/resource");
    let entries = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir).expect("readable").map(|entry| entry.expect("an entry").path()).collect()
    };
    let kinds = entries(&root).into_iter().filter(|path| path.is_dir());
    let mut cases: Vec<PathBuf> = kinds.flat_map(|kind| entries(&kind)).collect();
    cases.sort();
    cases
}

#[test]
fn every_case_is_told_as_expected() {
    let cases = cases();
    assert!(cases.len() > 20, "the cases are not found");
    let wrong: Vec<String> =
        cases.iter().filter_map(|path| Some(format!("{}: {}", path.display(), run(path).err()?))).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
