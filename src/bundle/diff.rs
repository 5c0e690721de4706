//! What is in one bundle and not, or otherwise, in another.

use std::collections::BTreeMap;

use serde::Serialize;

use super::manifest::{Manifest, Packaged};

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    /// Name, version before, version after.
    pub changed: Vec<(String, String, String)>,
    /// Files besides the packages whose contents differ.
    pub files: Vec<String>,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

pub fn difference(before: &Manifest, after: &Manifest) -> Difference {
    let (old, new) = (by_name(before), by_name(after));
    let mut difference = Difference::default();
    for (name, package) in &new {
        match old.get(name) {
            None => difference.added.push(format!("{name} {}", package.version)),
            Some(was) if was.sha256 == package.sha256 => {}
            Some(was) => difference.changed.push((name.clone(), was.version.clone(), package.version.clone())),
        }
    }
    let gone = old.iter().filter(|(name, _)| !new.contains_key(*name));
    difference.removed = gone.map(|(name, package)| format!("{name} {}", package.version)).collect();
    let (old, new) = (files(before), files(after));
    let names: std::collections::BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    difference.files = names.into_iter().filter(|name| old.get(name) != new.get(name)).map(str::to_owned).collect();
    difference
}

/// The name, with its architecture where it is not that of all others.
fn by_name(manifest: &Manifest) -> BTreeMap<String, &Packaged> {
    let usual = |package: &Packaged| package.arch == "all" || package.arch == manifest.target.arch;
    let name = |package: &Packaged| match usual(package) {
        true => package.name.clone(),
        false => format!("{}:{}", package.name, package.arch),
    };
    manifest.packages.iter().map(|package| (name(package), package)).collect()
}

fn files(manifest: &Manifest) -> BTreeMap<&str, &str> {
    let files = manifest.files.iter().filter(|file| !file.path.starts_with("packages/"));
    files.map(|file| (file.path.as_str(), file.sha256.as_str())).collect()
}
