//! `bundle build`: what does the site want, what does that need, fetch it, pack it.

mod packing;
mod wish;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::super::{Failure, Globals, out};
use super::keygen;
use crate::bundle::sign::Signer;
use crate::bundle::solver::{Closure, Found, Solver};
use crate::bundle::{BundleError, Manifest, Opened, Target, archive, download};
use crate::digest::sha256;
use crate::error::Exit;
use crate::files;
use crate::mirror::Mirror;
use crate::report::text::{count, mebibytes};
use packing::Packing;
use wish::Wish;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Packages and indexes are kept below ~/.cache/xnat-provision/bundle, so that a build that was cut off goes on where it was. The same facts and the same state of the archive give the same bytes. Exit status: 0 written, 1 failed, 2 wrong usage."
)]
pub struct Args {
    /// What the site has, from `facts export` there
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// The release of the hosts, such as trixie; needed without --facts, or where its hosts have several
    #[arg(long, value_name = "CODENAME", required_unless_present = "facts")]
    release: Option<String>,
    /// The architecture of the hosts, as dpkg calls it [default: of the facts, or amd64]
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// Without --facts: what this inventory wants, with its pins and repositories, instead of everything with defaults
    #[arg(long, value_name = "FILE", conflicts_with = "facts")]
    inventory: Option<PathBuf>,
    /// One more package, as NAME or NAME=VERSION; its needs come along
    #[arg(long, value_name = "PACKAGE")]
    package: Vec<String>,
    /// One more package, from this file; what it needs comes along
    #[arg(long, value_name = "FILE")]
    deb: Vec<PathBuf>,
    /// Everything that can be newer on the hosts of the facts, for `upgrade --system`
    #[arg(long, requires = "facts")]
    system: bool,
    /// Leave out what this earlier bundle has
    #[arg(long, value_name = "BUNDLE")]
    since: Option<PathBuf>,
    /// Sign it with this secret key (its password: XNAT_BUNDLE_PASSWORD, or asked for)
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
    /// The program for the hosts' architecture, when it is not this one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The archive, instead of where this machine's apt gets its packages; security updates are then taken from it alone
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// The keys the archive is signed with, instead of the distribution's own
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// Where to write it
    #[arg(long, short, value_name = "FILE", default_value = "site.bundle")]
    output: PathBuf,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let globals = globals.clone();
    // apt and its helpers are waited for
    let built = tokio::task::spawn_blocking(move || build(&args, &globals)).await;
    built.expect("it does not panic")
}

fn build(args: &Args, globals: &Globals) -> Result<Exit, Failure> {
    let signer = args.sign.as_deref().map(|path| {
        let password = || {
            keygen::password(globals, "password of the key")
                .ok_or_else(|| "there is nobody to ask for its password".to_owned())
        };
        Signer::read(path, password)
    });
    let signer = signer.transpose()?;
    let before = args.since.as_deref().map(|path| Opened::check(path, None)).transpose()?;
    let wish = Wish::of(args, globals)?;
    let binary = packing::binary(args, &wish.target)?;
    let sources = Sources::of(args, &wish)?;
    let solver = sources.solver(&wish.target)?;
    say(&format!("asking apt what is needed for {} of {}", wish.told(), wish.target));
    for repository in &wish.repositories {
        say(&format!(
            "besides the archive: {} ({}), with the key that stands in the facts or the inventory",
            repository.url, repository.name
        ));
    }
    let released = solver.update(&sources.lines)?;
    let local = wish::local(args, &wish.target)?;
    let mut closure = wish.closure((&solver, args), &local)?;
    closure.extend(local);
    let left_out = before.iter().flat_map(|bundle| &bundle.manifest.packages).map(|it| it.sha256.clone()).collect();
    fetch(&solver, &closure, &left_out)?;
    let packing =
        Packing { args, globals, wish: &wish, before: before.as_ref(), closure: &closure, left_out: &left_out };
    let manifest = packing.manifest(released);
    let parts = packing.parts(&manifest, &solver, binary)?;
    let manifest = archive::write(&args.output, manifest, parts, signer.as_ref())?;
    tell(args, &manifest, signer.as_ref(), globals)
}

/// Lines of sources.list, and what reaching them takes.
struct Sources {
    lines: Vec<String>,
    settings: String,
    cache: PathBuf,
    keys: Vec<(PathBuf, String)>,
}

impl Sources {
    fn of(args: &Args, wish: &Wish) -> Result<Self, BundleError> {
        let Target { os, codename, arch } = &wish.target;
        let keyring = args
            .keyring
            .clone()
            .unwrap_or_else(|| PathBuf::from(format!("/usr/share/keyrings/{os}-archive-keyring.gpg")));
        if !keyring.exists() {
            let package = if os == "ubuntu" { "ubuntu-keyring".to_owned() } else { format!("{os}-archive-keyring") };
            return Err(BundleError::NoKeyring { os: os.clone(), path: keyring, package });
        }
        let mirror = Mirror::find(os, args.mirror.as_deref())?;
        let keyring = std::path::absolute(&keyring).unwrap_or(keyring);
        let signed =
            |line: &String, key: &Path| line.replacen("deb ", &format!("deb [signed-by={}] ", key.display()), 1);
        let mut lines: Vec<String> = mirror.lines(os, codename).iter().map(|line| signed(line, &keyring)).collect();
        let name = sha256(format!("{lines:?} {:?} {os} {codename} {arch}", wish.repositories));
        let cache = cache()?.join(&name[..16]);
        let mut keys = Vec::new();
        for repository in &wish.repositories {
            let key = cache.join(format!("{}.asc", repository.name));
            let line = format!(
                "deb {} {} {}",
                repository.url,
                repository.suite.replace("{codename}", codename),
                repository.components.join(" ")
            );
            lines.push(signed(&line, &key));
            keys.push((key, repository.key.clone()));
        }
        Ok(Self { lines, settings: mirror.settings, cache, keys })
    }

    fn solver(&self, target: &Target) -> Result<Solver, BundleError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| BundleError::Io { what: "write", path, source }
        };
        std::fs::create_dir_all(&self.cache).map_err(failed(&self.cache))?;
        for (path, text) in &self.keys {
            std::fs::write(path, text).map_err(failed(path))?;
        }
        Solver::new(&self.cache, target, (&self.lines, &self.settings))
    }
}

/// XDG's directory for what can be made again.
fn cache() -> Result<PathBuf, BundleError> {
    let base = files::base("XDG_CACHE_HOME", ".cache").ok_or_else(|| BundleError::Request {
        message: "there is no place to keep packages in: neither HOME nor XDG_CACHE_HOME is set".to_owned(),
        help: "set HOME".to_owned(),
    })?;
    Ok(base.join("xnat-provision/bundle"))
}

fn fetch(solver: &Solver, closure: &Closure, left_out: &BTreeSet<String>) -> Result<(), BundleError> {
    let fetched: Closure = closure
        .iter()
        .filter(|(digest, found)| !left_out.contains(*digest) && !found.uri.starts_with("file:"))
        .map(|(digest, found)| (digest.clone(), found.clone()))
        .collect();
    let bytes: u64 = fetched.values().map(|found| found.stanza.size()).sum();
    say(&format!("fetching {}, {}", count(fetched.len(), "package"), mebibytes(bytes)));
    let bar = ProgressBar::new(bytes);
    let style = ProgressStyle::with_template("{bar:30} {binary_bytes}/{binary_total_bytes} {wide_msg}")
        .expect("a good template");
    bar.set_style(style);
    let new = std::sync::atomic::AtomicU64::new(0);
    let done = |found: &Found, over_the_network: u64| {
        new.fetch_add(over_the_network, std::sync::atomic::Ordering::Relaxed);
        bar.inc(found.stanza.size());
        bar.set_message(found.stanza.name().to_owned());
    };
    let result = download::fetch(solver, &fetched, &done);
    bar.finish_and_clear();
    result?;
    let new = new.into_inner();
    say(&format!(
        "{} came over the network, {} were here already",
        mebibytes(new),
        mebibytes(bytes.saturating_sub(new))
    ));
    Ok(())
}

fn tell(args: &Args, manifest: &Manifest, signer: Option<&Signer>, globals: &Globals) -> Result<Exit, Failure> {
    let failed = |source| BundleError::Io { what: "read", path: args.output.clone(), source };
    let bytes = std::fs::metadata(&args.output).map_err(failed)?.len();
    let carried = manifest.packages.iter().filter(|package| package.carried).count();
    if globals.json {
        out::json(
            &json!({ "path": args.output, "bytes": bytes, "packages": carried, "target": manifest.target, "signed_by": signer.map(Signer::id) }),
        )?;
        return Ok(Exit::Ok);
    }
    let by = signer.map_or_else(|| "not signed".to_owned(), |signer| format!("signed by the key {}", signer.id()));
    let path = args.output.display();
    out::text(&format!(
        "{path}: {}, {} for {}, {by}.\nAt the site: xnat-provision bundle verify {path}, then apply --bundle {path}\n",
        mebibytes(bytes),
        count(carried, "package"),
        manifest.target
    ))?;
    Ok(Exit::Ok)
}

#[expect(clippy::print_stderr, reason = "progress is talk; what was written is data")]
fn say(line: &str) {
    eprintln!("{line}");
}
