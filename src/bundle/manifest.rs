//! What is in a bundle: the first of its files, which everything else is held against.

use serde::{Deserialize, Serialize};

use crate::facts::Facts;

/// Of the manifest. A program that knows less refuses to read it.
pub const FORMAT: u32 = 1;

/// The hosts a bundle is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// `ID` of os-release: `debian`, `ubuntu`.
    pub os: String,
    /// `trixie`
    pub codename: String,
    /// dpkg's name: `amd64`.
    pub arch: String,
}

impl Target {
    /// What a bundle for this host is made for.
    pub fn of(facts: &Facts) -> Self {
        Self { os: facts.os.clone(), codename: facts.codename.clone(), arch: facts.arch.clone() }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.os, self.codename, self.arch)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The version of the program that made it.
    pub made_by: String,
    pub target: Target,
    /// The packages that were asked for, with their pins.
    pub wanted: Vec<String>,
    /// SHA-256 of the facts it was made for; none: for a minimal installation.
    pub facts: Option<String>,
    /// SHA-256 of the manifest of the bundle whose packages are left out of this one.
    pub since: Option<String>,
    pub sources: Vec<Source>,
    pub packages: Vec<Packaged>,
    /// Every other file of the bundle, and the packages it carries.
    pub files: Vec<Listed>,
}

/// Where packages came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// As in sources.list.
    pub line: String,
    /// When that state of the archive was signed, in its own words.
    pub released: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packaged {
    pub name: String,
    pub version: String,
    pub arch: String,
    /// The source package it was built from, and its version.
    pub source: String,
    pub bytes: u64,
    pub sha256: String,
    /// Below the archive, or the file it was.
    pub origin: String,
    /// Whether it is in this bundle: one that an earlier bundle has is only named.
    pub carried: bool,
}

impl Packaged {
    /// Its place in the bundle.
    pub fn path(&self) -> String {
        // an epoch's colon is written as in the archive's own file names: not at all
        let version = self.version.split_once(':').map_or(self.version.as_str(), |(_, rest)| rest);
        format!("packages/{}_{version}_{}.deb", self.name, self.arch)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub path: String,
    pub bytes: u64,
    pub sha256: String,
}
