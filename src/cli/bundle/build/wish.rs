//! What is to be in a bundle: what the hosts of a site want, or a minimal installation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use super::super::super::{Failure, Globals};
use super::Args;
use crate::assets::Assets;
use crate::bundle::site::{Site, SiteHost, written};
use crate::bundle::solver::{Closure, Found, Solver};
use crate::bundle::{BundleError, Content, Target, index};
use crate::inventory::Repository;
use crate::report::text::count;
use crate::workflow::wanted;

/// What is to be in it.
pub struct Wish {
    pub target: Target,
    pub site: Option<(Site, String)>,
    /// Without a site.
    packages: BTreeSet<String>,
    pub repositories: Vec<Repository>,
}

impl Wish {
    pub fn of(args: &Args, globals: &Globals) -> Result<Self, Failure> {
        let Some(path) = &args.facts else {
            let target = Target {
                os: wanted::distribution(args.release.as_deref().unwrap_or_default())?.to_owned(),
                codename: args.release.clone().unwrap_or_default(),
                arch: args.arch.clone().unwrap_or_else(|| "amd64".to_owned()),
            };
            let assets = Assets::new(globals.assets.as_deref())?;
            let wanted = wanted::of_nobody(args.inventory.as_deref(), &target, &assets)?;
            let packages = wanted.packages.iter().map(written).collect();
            return Ok(Self { target, site: None, packages, repositories: wanted.repositories });
        };
        let (mut site, digest) = Site::read(path)?;
        let all: Vec<String> = site.targets().iter().map(ToString::to_string).collect();
        site.hosts.retain(|host| args.release.as_ref().is_none_or(|release| *release == host.target.codename));
        site.hosts.retain(|host| args.arch.as_ref().is_none_or(|arch| *arch == host.target.arch));
        let mut targets = site.targets().into_iter();
        let (Some(target), None) = (targets.next(), targets.next()) else {
            return Err(BundleError::Request {
                message: format!("a bundle is for one release and architecture, and the site has {}", all.join(", ")),
                help: "say which: --release CODENAME, and --arch ARCH; make one bundle for each".to_owned(),
            }
            .into());
        };
        let repositories = site.repositories.clone();
        Ok(Self { target, site: Some((site, digest)), packages: BTreeSet::new(), repositories })
    }

    pub fn told(&self) -> String {
        match &self.site {
            Some((site, _)) => count(site.hosts.len(), "host"),
            None => "a minimal installation".to_owned(),
        }
    }

    pub fn wanted(&self) -> BTreeSet<String> {
        let of_hosts = self.site.iter().flat_map(|(site, _)| &site.hosts).flat_map(|host| host.wanted.iter().cloned());
        self.packages.iter().cloned().chain(of_hosts).collect()
    }

    /// The union over all hosts, those that are alike asked for once. More packages go to the hosts whose roles want them, or,
    /// when none does, to all.
    pub fn closure(&self, (solver, args): (&Solver, &Args), local: &Closure) -> Result<Closure, BundleError> {
        let debs = local.values().map(|found| (found.stanza.name().to_owned(), path_of(found)));
        let named = args.package.iter().map(|word| (word.split('=').next().unwrap_or(word).to_owned(), word.clone()));
        let more: Vec<(String, String)> = named.chain(debs).collect();
        let Some((site, _)) = &self.site else {
            let wanted: Vec<String> =
                self.packages.iter().cloned().chain(more.into_iter().map(|(_, word)| word)).collect();
            return solver.solve(&solver.minimal()?, &wanted);
        };
        let wanted_by = |host: &SiteHost| -> Vec<String> {
            let here = |name: &String| wants(host, name) || !site.hosts.iter().any(|other| wants(other, name));
            let more = more.iter().filter(|(name, _)| here(name)).map(|(_, word)| word.clone());
            host.wanted.iter().cloned().chain(more).collect()
        };
        let alike: BTreeMap<(String, Vec<String>), &str> =
            site.hosts.iter().map(|host| ((site.status(host), wanted_by(host)), host.name.as_str())).collect();
        let mut closure = Closure::new();
        for ((status, wanted), host) in alike {
            let of_host = |error| match error {
                BundleError::Tool { what, command, status, output, help } => {
                    BundleError::Tool { what: format!("{what} on {host}"), command, status, output, help }
                }
                other => other,
            };
            closure.extend(solver.solve(&status, &wanted).map_err(of_host)?);
            if args.system {
                closure.extend(solver.solve_system(&status).map_err(of_host)?);
            }
        }
        Ok(closure)
    }
}

/// Whether a role of the host wants it.
fn wants(host: &SiteHost, name: &str) -> bool {
    host.wanted.iter().any(|word| word.split('=').next() == Some(name))
}

/// Of a package of this machine, as apt takes it.
fn path_of(found: &Found) -> String {
    found.uri.strip_prefix("file:").unwrap_or(&found.uri).to_owned()
}

/// Packages of files of this machine: they are where they are.
pub fn local(args: &Args, target: &Target) -> Result<Closure, BundleError> {
    let one = |path: &PathBuf| {
        let bad = |reason: String| BundleError::Request {
            message: format!("{} cannot be taken along: {reason}", path.display()),
            help: "name a whole .deb file for the hosts' architecture".to_owned(),
        };
        let output = Command::new("dpkg-deb").arg("-f").arg(path).output().map_err(|_| BundleError::NoApt)?;
        if !output.status.success() {
            return Err(bad(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let mut stanzas = index::parse(&String::from_utf8_lossy(&output.stdout)).map_err(bad)?;
        let Some(mut stanza) = stanzas.pop() else { return Err(bad("it says nothing of itself".to_owned())) };
        if stanza.arch() != "all" && stanza.arch() != target.arch {
            return Err(bad(format!("it is for {}", stanza.arch())));
        }
        let (bytes, digest) = Content::File(path.clone()).measure()?;
        stanza.set("Size", &bytes.to_string());
        stanza.set("SHA256", &digest);
        Ok((
            digest,
            Found {
                uri: format!("file:{}", std::path::absolute(path).unwrap_or_else(|_| path.clone()).display()),
                stanza,
            },
        ))
    };
    args.deb.iter().map(one).collect()
}
