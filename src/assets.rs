//! Roles and templates built into the binary, and how a site overrides them, file by file.
//! Knows files and their digests; what they mean is for [`crate::role`].

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::sha256;
use crate::error::{Exit, Fails};
use crate::names::RoleName;
use crate::quote;

/// `include_str!` and not a crate: cargo rebuilds when a file changes, a missing one does not compile, and debug and
/// release builds embed the same. `tests/it/roles.rs` holds the table against the directories.
macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $name)))),*]
    };
}

/// Every built-in file: name as in the repository, text.
pub const BUILT_IN: &[(&str, &str)] = built_in![
    "roles/base.toml",
    "roles/etcd.toml",
    "roles/firewall.toml",
    "roles/follow.toml",
    "roles/haproxy.toml",
    "roles/leaving.toml",
    "roles/major.toml",
    "roles/patroni.toml",
    "roles/reset.toml",
    "templates/base/apt-proxy.conf.j2",
    "templates/base/sources.sources.j2",
    "templates/base/unattended.conf.j2",
    "templates/compose/cluster.env.j2",
    "templates/compose/docker-compose.override.yml.j2",
    "templates/etcd/bootstrap.env.j2",
    "templates/etcd/etcd.env.j2",
    "templates/etcd/etcd.service.j2",
    "templates/firewall/firewall.sh.j2",
    "templates/firewall/rules.nft.j2",
    "templates/firewall/xnat-firewall.service.j2",
    "templates/haproxy/haproxy.cfg.j2",
    "templates/haproxy/keep-server-states.pl.j2",
    "templates/haproxy/stats.cfg.j2",
    "templates/haproxy/xnat.conf.j2",
    "templates/image/Dockerfile.j2",
    "templates/image/enter.j2",
    "templates/kubernetes/configuration.yml.j2",
    "templates/kubernetes/etcd.yml.j2",
    "templates/kubernetes/haproxy.yml.j2",
    "templates/kubernetes/kustomization.yaml.j2",
    "templates/kubernetes/network-policies.yml.j2",
    "templates/kubernetes/parts/pod.yml.j2",
    "templates/kubernetes/patroni.yml.j2",
    "templates/kubernetes/patroni/35-kubernetes.yml.j2",
    "templates/kubernetes/patroni/label-role.py.j2",
    "templates/kubernetes/secrets.yml.j2",
    "templates/patroni/10-bootstrap.yml.j2",
    "templates/patroni/20-member.yml.j2",
    "templates/patroni/30-settings.yml.j2",
    "templates/patroni/40-secrets.yml.j2",
    "templates/patroni/check-config.py.j2",
    "templates/patroni/follow-source.py.j2",
    "templates/patroni/liveness.py.j2",
    "templates/patroni/major-upgrade.py.j2",
    "templates/patroni/member.py.j2",
    "templates/patroni/same-postmaster.sh.j2",
    "templates/patroni/set-aside-unfinished.sh.j2",
    "templates/patroni/xnat-liveness.service.j2",
    "templates/patroni/xnat.conf.j2",
];

/// So many bytes in a line, and so many lines, are more than any role or template has.
const LONGEST: usize = 65_000;

/// What [`Assets::export`] leaves beside the files, so that a later version can tell what has changed since.
const STAMP: &str = "exported.toml";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The built-in files and what a site lays over them.
#[derive(Clone, Debug, Default)]
pub struct Assets {
    overlay: BTreeMap<String, Overlaid>,
    stamp: Option<Stamp>,
}

#[derive(Clone, Debug)]
struct Overlaid {
    path: PathBuf,
    text: String,
}

/// The version an overlay was exported from and the digests of its files then.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stamp {
    version: String,
    files: BTreeMap<String, String>,
}

/// One role or template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset<'a> {
    /// `roles/etcd.toml`, `templates/etcd/etcd.env.j2`.
    pub name: &'a str,
    /// Where an error about it should point: the file of the overlay, or none for a built-in one.
    pub path: Option<&'a Path>,
    pub text: &'a str,
}

/// A line of `assets list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub name: String,
    pub origin: Origin,
    /// The built-in file is no longer the one this copy was made from; the version it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outdated_since: Option<String>,
}

/// Where the text of an asset comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    BuiltIn,
    /// A copy in the site's directory that says the same.
    Copied,
    /// A built-in file, changed by the site.
    Overridden,
    /// The site's own file.
    Own,
}

impl Assets {
    /// The built-in files, and those of `overlay` over them. Everything is read here, so that later nothing can fail.
    pub fn new(overlay: Option<&Path>) -> Result<Self, AssetsError> {
        let Some(root) = overlay else { return Ok(Self::default()) };
        if !root.is_dir() {
            return Err(AssetsError::NoDirectory { path: root.to_owned() });
        }
        let mut files = BTreeMap::new();
        for top in ["roles", "templates"] {
            walk(root, &root.join(top), &mut files)?;
        }
        Ok(Self { overlay: files, stamp: read_stamp(&root.join(STAMP))? })
    }

    /// The asset of that name, the site's before the built-in.
    pub fn get(&self, name: &str) -> Option<Asset<'_>> {
        if let Some((name, file)) = self.overlay.get_key_value(name) {
            return Some(Asset { name, path: Some(&file.path), text: &file.text });
        }
        BUILT_IN.iter().find(|(known, _)| *known == name).map(|(name, text)| Asset { name, path: None, text })
    }

    /// The file of a role.
    pub fn role(&self, role: &RoleName) -> Option<Asset<'_>> {
        self.get(&format!("roles/{role}.toml"))
    }

    /// Every template.
    pub fn templates(&self) -> impl Iterator<Item = Asset<'_>> {
        self.names().into_iter().filter(|name| name.starts_with("templates/")).filter_map(|name| self.get(name))
    }

    /// Every role there is, for "did you mean".
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.names().into_iter().filter_map(|name| name.strip_prefix("roles/")?.strip_suffix(".toml"))
    }

    /// The names of the built-in files that a site has replaced by something else; part of every plan.
    pub fn overridden(&self) -> Vec<String> {
        let changed = |file: &Listed| file.origin == Origin::Overridden;
        self.list().into_iter().filter(changed).map(|file| file.name).collect()
    }

    /// Every asset and where it comes from, sorted by name.
    pub fn list(&self) -> Vec<Listed> {
        self.names().into_iter().map(|name| self.listed(name)).collect()
    }

    fn listed(&self, name: &str) -> Listed {
        let built_in = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        let origin = match (self.overlay.get(name), built_in) {
            (None, _) => Origin::BuiltIn,
            (Some(_), None) => Origin::Own,
            (Some(file), Some(text)) if file.text == text => Origin::Copied,
            (Some(_), Some(_)) => Origin::Overridden,
        };
        // Only a file that differs can be outdated; without a stamp nobody knows what it was made from.
        let outdated = |stamp: &Stamp| {
            let then = stamp.files.get(name)?;
            (origin == Origin::Overridden && *then != sha256(built_in?)).then(|| stamp.version.clone())
        };
        Listed { name: name.to_owned(), origin, outdated_since: self.stamp.as_ref().and_then(outdated) }
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        names.extend(self.overlay.keys().map(String::as_str));
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Write the built-in files into a directory, as a start for changing them. Nothing that is there is overwritten.
pub fn export(directory: &Path) -> Result<Vec<PathBuf>, AssetsError> {
    let wanted = BUILT_IN.iter().map(|(name, _)| *name).chain([STAMP]);
    let existing: Vec<PathBuf> = wanted.map(|name| directory.join(name)).filter(|path| path.exists()).collect();
    if !existing.is_empty() {
        return Err(AssetsError::Exists { directory: directory.to_owned(), existing });
    }
    let stamp = Stamp {
        version: VERSION.to_owned(),
        files: BUILT_IN.iter().map(|(name, text)| ((*name).to_owned(), sha256(text))).collect(),
    };
    let stamp = toml::to_string(&stamp).map_err(|source| AssetsError::Stamp { source })?;
    let mut written = Vec::new();
    for (name, text) in BUILT_IN.iter().copied().chain([(STAMP, stamp.as_str())]) {
        let path = directory.join(name);
        write_new(&path, text).map_err(|source| AssetsError::Write { path: path.clone(), source })?;
        written.push(path);
    }
    Ok(written)
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::File::create_new(path)?.write_all(text.as_bytes())
}

/// Collect the text files below a directory; one that is not there has none.
fn walk(root: &Path, directory: &Path, into: &mut BTreeMap<String, Overlaid>) -> Result<(), AssetsError> {
    if !directory.is_dir() {
        return Ok(());
    }
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| AssetsError::Read { path, source }
    };
    for entry in std::fs::read_dir(directory).map_err(unreadable(directory))? {
        let path = entry.map_err(unreadable(directory))?.path();
        // Editors' leftovers and hidden files are nobody's role.
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if hidden || path.to_string_lossy().ends_with('~') {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, into)?;
            continue;
        }
        let text = crate::files::read_text(&path).map_err(unreadable(&path))?;
        if let Some(line) = overlong(&text) {
            return Err(AssetsError::Overlong { path, line });
        }
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        into.insert(name, Overlaid { path, text });
    }
    Ok(())
}

/// The first line that the template engine cannot count to the end of, or to: it keeps lines and columns in 16 bits, and
/// panics or points anywhere when they overflow (minijinja 3.1).
fn overlong(text: &str) -> Option<usize> {
    let long = text.lines().position(|line| line.len() > LONGEST);
    long.or_else(|| text.lines().nth(LONGEST).map(|_| LONGEST)).map(|index| index + 1)
}

fn read_stamp(path: &Path) -> Result<Option<Stamp>, AssetsError> {
    let text = match crate::files::read_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(AssetsError::Read { path: path.to_owned(), source }),
    };
    toml::from_str(&text).map(Some).map_err(|source| AssetsError::BadStamp { path: path.to_owned(), source })
}

/// Why roles and templates could not be read or exported.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AssetsError {
    #[error("line {line} of {} is too long, or one too many", path.display())]
    #[diagnostic(
        code(xnat::assets::overlong),
        help("a role or template has at most {LONGEST} lines of at most {LONGEST} bytes; is that file one of them?")
    )]
    Overlong { path: PathBuf, line: usize },
    #[error("there is no directory {} for roles and templates", path.display())]
    #[diagnostic(
        code(xnat::assets::directory),
        help("make one to start from: xnat-provision assets export {}", quote::path(path))
    )]
    NoDirectory { path: PathBuf },
    #[error("could not read {}", path.display())]
    #[diagnostic(code(xnat::assets::read), help("check who may read it: ls -l {}", quote::path(path)))]
    Read { path: PathBuf, source: std::io::Error },
    #[error("could not write {}", path.display())]
    #[diagnostic(code(xnat::assets::write), help("choose a directory of yours: xnat-provision assets export DIR"))]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{} holds files already, and nothing is overwritten: {}", directory.display(), list(existing))]
    #[diagnostic(
        code(xnat::assets::exists),
        help(
            "export into an empty directory and compare: xnat-provision assets export {}.new",
            quote::path(directory)
        )
    )]
    Exists { directory: PathBuf, existing: Vec<PathBuf> },
    #[error("{} is not what `assets export` writes", path.display())]
    #[diagnostic(
        code(xnat::assets::stamp),
        help("restore it, or remove it and lose the warnings about outdated copies: rm {}", quote::path(path))
    )]
    BadStamp { path: PathBuf, source: toml::de::Error },
    #[error("could not write down the exported version")]
    #[diagnostic(code(xnat::assets::stamp), help("report this as a bug of xnat-provision {VERSION}"))]
    Stamp { source: toml::ser::Error },
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().take(3).map(|path| path.display().to_string()).collect();
    let more = paths.len() - shown.len();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

impl Fails for AssetsError {
    fn exit(&self) -> Exit {
        match self {
            Self::Write { .. } | Self::Stamp { .. } => Exit::Failed,
            _ => Exit::Usage,
        }
    }
}
