//! What travels out of a site, for a bundle to be made: the releases of its hosts, the packages they have, and those their
//! roles want. No addresses, no users, no settings; a text that a person can read before it leaves the house.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{BundleError, OnPath as _};
use super::index;
use super::manifest::Target;
use crate::digest::sha256;
use crate::inventory::Repository;
use crate::resource::PackageWanted;

const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    pub format: u32,
    pub made_by: String,
    /// Package repositories besides the distribution's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Repository>,
    pub hosts: Vec<SiteHost>,
    /// `name version architecture` → what dpkg says of it, a field a line.
    pub packages: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteHost {
    /// As in the inventory.
    pub name: String,
    pub target: Target,
    /// What its roles want: `patroni` or `patroni=4.0.*`.
    pub wanted: Vec<String>,
    /// Keys of `packages`.
    pub installed: Vec<String>,
}

impl Site {
    pub fn new(repositories: Vec<Repository>) -> Self {
        let made_by = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, made_by, repositories, hosts: Vec::new(), packages: BTreeMap::new() }
    }

    /// One more host, with what dpkg says of it.
    pub fn add(
        &mut self,
        name: &str,
        target: Target,
        wanted: &BTreeSet<PackageWanted>,
        status: &str,
    ) -> Result<(), String> {
        let mut installed = Vec::new();
        for stanza in index::parse(status)?.iter().filter(|stanza| stanza.is_installed()) {
            let key = format!("{} {} {}", stanza.name(), stanza.version(), stanza.arch());
            let lines = stanza.of_host().lines().map(str::to_owned).collect();
            self.packages.insert(key.clone(), lines);
            installed.push(key);
        }
        installed.sort();
        let wanted = wanted.iter().map(written).collect();
        self.hosts.push(SiteHost { name: name.to_owned(), target, wanted, installed });
        Ok(())
    }

    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data") + "\n"
    }

    /// And the digest of what was read.
    pub fn read(path: &Path) -> Result<(Self, String), BundleError> {
        let bytes = crate::files::read(path, 256 << 20).on("read", path)?;
        let bad = |reason: String| BundleError::Request {
            message: format!("{} holds no facts of a site: {reason}", path.display()),
            help: "write them with `xnat-provision facts export` at the site; was the file copied to its end?"
                .to_owned(),
        };
        let site: Self = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        site.check().map_err(bad)?;
        match site.format {
            FORMAT => Ok((site, sha256(bytes))),
            other => Err(bad(format!("they are in format {other}, which this version does not know"))),
        }
    }

    /// It may have come a long way: nothing in it may mean more to apt, or to a file system, than it says.
    fn check(&self) -> Result<(), String> {
        let word = |text: &str| {
            let good = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            !text.is_empty() && text.chars().all(good) && !text.contains("..")
        };
        let line = |text: &str| {
            !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control() || "[]\"'#;".contains(c))
        };
        let odd = |what: &str, text: &str| Err(format!("{text:?} cannot be {what}"));
        for Target { os, codename, arch } in self.hosts.iter().map(|host| &host.target) {
            if let Some(part) = [os, codename, arch].into_iter().find(|part| !word(part)) {
                return odd("a release or an architecture", part);
            }
        }
        let mut wanted = self.hosts.iter().flat_map(|host| &host.wanted);
        if let Some(wanted) = wanted.find(|it| !line(it) || it.starts_with('-')) {
            return odd("a package", wanted);
        }
        for repository in &self.repositories {
            if !word(&repository.name) {
                return odd("the name of a repository", &repository.name);
            }
            let parts = [&repository.url, &repository.suite].into_iter().chain(&repository.components);
            if let Some(part) = parts.into_iter().find(|part| !line(&part.replace("{codename}", "x"))) {
                return odd("part of a repository", part);
            }
        }
        Ok(())
    }

    /// The releases of its hosts.
    pub fn targets(&self) -> BTreeSet<Target> {
        self.hosts.iter().map(|host| host.target.clone()).collect()
    }

    /// dpkg's list of what a host has, as apt reads it.
    pub fn status(&self, host: &SiteHost) -> String {
        let stanzas = host.installed.iter().filter_map(|key| self.packages.get(key));
        stanzas.map(|lines| lines.join("\n") + "\n\n").collect()
    }
}

/// As apt takes it.
pub fn written(wanted: &PackageWanted) -> String {
    match &wanted.version {
        Some(version) => format!("{}={version}", wanted.name),
        None => wanted.name.clone(),
    }
}
