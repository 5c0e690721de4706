//! What one bundle, or several that belong together, offer to hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::archive::Opened;
use super::error::BundleError;
use super::index::{self, Stanza};
use super::manifest::{Manifest, Packaged, Target};
use super::sign::Trusted;

/// Where the index of packages is in a bundle.
pub const INDEX: &str = "index/Packages";

/// A package that can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    pub name: String,
    pub version: String,
    pub arch: String,
    pub sha256: String,
    pub bytes: u64,
    /// Space it takes when it is unpacked.
    pub installed_kib: u64,
    /// Which of the bundles has it, and where in it; none when all of them only name it.
    pub place: Option<(usize, String)>,
}

type Key = (String, String, String);

#[derive(Clone, Debug)]
pub struct Offer {
    pub bundles: Vec<Opened>,
    /// By name, architecture and version.
    packages: BTreeMap<Key, Offered>,
    /// Of a package that there are several versions of, the one in the last bundle.
    latest: BTreeMap<String, String>,
    /// The index of all of them, as apt reads it.
    pub index: String,
}

impl Offer {
    /// Every bundle is read to its end before anything is believed.
    pub fn open(paths: &[PathBuf], key: Option<&Trusted>) -> Result<Self, BundleError> {
        let bundles = paths.iter().map(|path| Opened::check(path, key)).collect::<Result<Vec<_>, _>>()?;
        let (mut stanzas, mut latest) = (BTreeMap::<Key, Stanza>::new(), BTreeMap::new());
        for bundle in &bundles {
            one_target(&bundles[0], bundle)?;
            let damaged = |what| BundleError::Damaged { path: bundle.path.clone(), what };
            consistent(&bundle.manifest).map_err(damaged)?;
            for stanza in index::parse(&bundle.index).map_err(damaged)? {
                let (name, version) = (stanza.name().to_owned(), stanza.version().to_owned());
                if !bundle.manifest.packages.iter().any(|it| is_of(&stanza, it)) {
                    return Err(damaged(format!("its index has {name} {version}, and its manifest has not")));
                }
                latest.insert(name.clone(), version.clone());
                stanzas.insert((name, stanza.arch().to_owned(), version), stanza);
            }
        }
        let places = places(&bundles)?;
        let offered = |stanza: &Stanza| Offered {
            name: stanza.name().to_owned(),
            version: stanza.version().to_owned(),
            arch: stanza.arch().to_owned(),
            sha256: stanza.sha256().to_owned(),
            bytes: stanza.size(),
            installed_kib: stanza.installed_kib(),
            place: places.get(stanza.sha256()).cloned(),
        };
        let index = stanzas.values().map(|stanza| stanza.of_bundle() + "\n").collect();
        let packages = stanzas.iter().map(|(key, stanza)| (key.clone(), offered(stanza))).collect();
        Ok(Self { bundles, packages, latest, index })
    }

    pub fn target(&self) -> &Target {
        &self.bundles[0].manifest.target
    }

    /// Whether it is for such a host.
    pub fn fits(&self, host: &str, has: &Target) -> Result<(), BundleError> {
        if self.target() == has {
            return Ok(());
        }
        let (bundle, made_for) = (self.bundles[0].path.clone(), Box::new(self.target().clone()));
        Err(BundleError::Target { host: host.to_owned(), bundle, made_for, has: Box::new(has.clone()) })
    }

    /// The version it has of a package, for people: which one is taken is for apt to say.
    pub fn version(&self, name: &str) -> Option<&str> {
        self.latest.get(name).map(String::as_str)
    }

    /// Exactly that one.
    pub fn find(&self, name: &str, version: &str) -> Option<&Offered> {
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        self.packages.values().find(|offered| offered.name == name && offered.version == version)
    }

    /// What a host is to have of it. Refused when it is only named here.
    pub fn needed(&self, host: &str, packages: &[(String, String)]) -> Result<Vec<Offered>, BundleError> {
        let found = packages.iter().filter_map(|(name, version)| self.find(name, version));
        let (carried, named): (Vec<Offered>, Vec<Offered>) = found.cloned().partition(|it| it.place.is_some());
        let delta = self.bundles.iter().find_map(|it| Some((it.path.clone(), it.manifest.since.clone()?)));
        match (named.is_empty(), delta) {
            (false, Some((path, since))) => {
                let list = named.iter().map(|it| it.name.clone()).collect();
                Err(BundleError::NoBase { host: host.to_owned(), path, list, since })
            }
            _ => Ok(carried),
        }
    }

    /// Hand over the files with these digests, one after the other; no more than one is in memory.
    pub fn take(
        &self,
        wanted: &BTreeSet<String>,
        mut each: impl FnMut(&str, Vec<u8>) -> Result<(), String>,
    ) -> Result<(), BundleError> {
        for (number, bundle) in self.bundles.iter().enumerate() {
            let here = self.packages.values().filter(|it| wanted.contains(&it.sha256));
            let here = here.filter_map(|it| it.place.as_ref().map(|(of, path)| (of, path, &it.sha256)));
            let paths: BTreeMap<String, &String> =
                here.filter(|(of, ..)| **of == number).map(|(_, path, sha256)| (path.clone(), sha256)).collect();
            if !paths.is_empty() {
                let names = paths.keys().cloned().collect();
                bundle.take(&names, |path, bytes| each(paths[path], bytes))?;
            }
        }
        Ok(())
    }
}

/// What the manifest says of packages is what it says of files.
fn consistent(manifest: &Manifest) -> Result<(), String> {
    let listed = |it: &Packaged| {
        let path = it.path();
        manifest.files.iter().any(|file| file.path == path && file.sha256 == it.sha256 && file.bytes == it.bytes)
    };
    let digest = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let good = |it: &&Packaged| digest(&it.sha256) && (!it.carried || listed(it));
    match manifest.packages.iter().find(|it| !good(it)) {
        None => Ok(()),
        Some(package) => Err(format!("{} is not as its manifest says", package.name)),
    }
}

/// A stanza of the index against the manifest.
fn is_of(stanza: &Stanza, package: &Packaged) -> bool {
    (stanza.name(), stanza.version(), stanza.arch()) == (&package.name, &package.version, &package.arch)
        && (stanza.sha256(), stanza.size()) == (&package.sha256, package.bytes)
}

/// Where each package is, by its digest.
fn places(bundles: &[Opened]) -> Result<BTreeMap<String, (usize, String)>, BundleError> {
    let mut places = BTreeMap::new();
    let mut seen: BTreeMap<(&str, &str, &str), (&str, usize)> = BTreeMap::new();
    for (number, bundle) in bundles.iter().enumerate() {
        for package in &bundle.manifest.packages {
            let key = (package.name.as_str(), package.version.as_str(), package.arch.as_str());
            if let Some((sha256, first)) = seen.insert(key, (&package.sha256, number))
                && sha256 != package.sha256
            {
                let (first, second) = (bundles[first].path.clone(), bundle.path.clone());
                return Err(BundleError::Conflict { list: vec![package.name.clone()], first, second });
            }
            if package.carried {
                places.insert(package.sha256.clone(), (number, package.path()));
            }
        }
    }
    Ok(places)
}

fn one_target(first: &Opened, other: &Opened) -> Result<(), BundleError> {
    if first.manifest.target == other.manifest.target {
        return Ok(());
    }
    Err(BundleError::Request {
        message: format!(
            "{} is for {}, and {} for {}",
            first.path.display(),
            first.manifest.target,
            other.path.display(),
            other.manifest.target
        ),
        help: "bundles that are used together are for the same release and architecture".to_owned(),
    })
}
