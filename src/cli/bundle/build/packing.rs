//! Putting it together: manifest, index, bill of materials, program, roles, packages.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::super::super::{Failure, Globals};
use super::Args;
use super::wish::Wish;
use crate::assets::Assets;
use crate::bundle::offer::INDEX;
use crate::bundle::solver::{Closure, Found, Solver};
use crate::bundle::{BundleError, Content, FORMAT, Manifest, Opened, Packaged, Part, Source, Target, download, sbom};

pub struct Packing<'a> {
    pub args: &'a Args,
    pub globals: &'a Globals,
    pub wish: &'a Wish,
    pub before: Option<&'a Opened>,
    pub closure: &'a Closure,
    pub left_out: &'a BTreeSet<String>,
}

impl Packing<'_> {
    pub fn manifest(&self, sources: Vec<Source>) -> Manifest {
        let mut packages: Vec<Packaged> =
            self.closure.iter().map(|(digest, found)| self.packaged(digest, found)).collect();
        packages.sort_by(|a, b| (&a.name, &a.arch).cmp(&(&b.name, &b.arch)));
        let debs = self.args.deb.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        Manifest {
            format: FORMAT,
            made_by: env!("CARGO_PKG_VERSION").to_owned(),
            target: self.wish.target.clone(),
            wanted: self.wish.wanted().into_iter().chain(self.args.package.iter().cloned()).chain(debs).collect(),
            facts: self.wish.site.as_ref().map(|(_, digest)| digest.clone()),
            since: self.before.map(|bundle| bundle.sha256.clone()),
            sources,
            packages,
            files: Vec::new(),
        }
    }

    fn packaged(&self, digest: &str, found: &Found) -> Packaged {
        let stanza = &found.stanza;
        let (source, version) = stanza.source();
        let origin = match found.uri.strip_prefix("file:") {
            Some(path) => path.rsplit('/').next().unwrap_or(path).to_owned(),
            None => stanza.get("Filename").to_owned(),
        };
        Packaged {
            name: stanza.name().to_owned(),
            version: stanza.version().to_owned(),
            arch: stanza.arch().to_owned(),
            source: format!("{source} {version}"),
            bytes: stanza.size(),
            sha256: digest.to_owned(),
            origin,
            carried: !self.left_out.contains(digest),
        }
    }

    pub fn parts(&self, manifest: &Manifest, solver: &Solver, binary: PathBuf) -> Result<Vec<Part>, Failure> {
        let text = |path: &str, text: String| Part {
            path: path.to_owned(),
            content: Content::Bytes(text.into_bytes()),
            program: false,
        };
        let index =
            manifest.packages.iter().map(|package| self.closure[&package.sha256].stanza.of_bundle() + "\n").collect();
        let mut parts = vec![text(INDEX, index), text("sbom.cdx.json", sbom(manifest))];
        parts.push(Part { path: "bin/xnat-provision".to_owned(), content: Content::File(binary), program: true });
        let assets = Assets::new(self.globals.assets.as_deref())?;
        let named = assets
            .list()
            .into_iter()
            .filter_map(|it| assets.get(&it.name).map(|asset| (it.name.clone(), asset.text.to_owned())));
        parts.extend(named.map(|(name, body)| text(&format!("assets/{name}"), body)));
        for package in manifest.packages.iter().filter(|package| package.carried) {
            let local = self.closure[&package.sha256].uri.strip_prefix("file:").map(PathBuf::from);
            let file = local.unwrap_or_else(|| download::path(&solver.packages(), &package.sha256));
            parts.push(Part { path: package.path(), content: Content::File(file), program: false });
        }
        Ok(parts)
    }
}

/// The program for the hosts' architecture: this one, unless it is for another.
pub fn binary(args: &Args, target: &Target) -> Result<PathBuf, BundleError> {
    let path = match &args.binary {
        Some(path) => path.clone(),
        None => std::env::current_exe().map_err(|source| BundleError::Io {
            what: "find",
            path: "this program".into(),
            source,
        })?,
    };
    let mut head = [0_u8; 20];
    let mut file =
        std::fs::File::open(&path).map_err(|source| BundleError::Io { what: "open", path: path.clone(), source })?;
    let read = std::io::Read::read_exact(&mut file, &mut head);
    // the machine a program is for stands at the 18th byte of its ELF header
    let arch = match (read.is_ok() && head.starts_with(b"\x7fELF"), head[18]) {
        (true, 62) => "amd64",
        (true, 183) => "arm64",
        (true, _) => "another architecture",
        (false, _) => "no architecture: it is no program",
    };
    if arch == target.arch {
        return Ok(path);
    }
    Err(BundleError::Request {
        message: format!("the bundle is for {}, and {} for {arch}", target.arch, path.display()),
        help: format!("name the program for {}: --binary FILE", target.arch),
    })
}
