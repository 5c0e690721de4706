//! `render`: the cluster of an inventory as files for docker compose or for Kubernetes. Connects to nothing; writes into one
//! directory, and passwords and certificates that are not there yet into the vault.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::opened::Opened;
use super::{Failure, Globals, out};
use crate::assets::Assets;
use crate::error::{Exit, Fails};
use crate::files;
use crate::inventory::Inventory;
use crate::pki;
use crate::quote;
use crate::render::{self, Made, Order, Shape};
use crate::report::text::{count, printable, wrap};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    shape: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// For docker compose: etcd, Patroni and HAProxy as containers of one machine, to be read beside XNAT's own file
    #[command(after_help = AFTER)]
    Compose(ShapeArgs),
    /// For Kubernetes: StatefulSets of etcd and Patroni, a Deployment of HAProxy, services, and what keeps them safe
    #[command(after_help = AFTER)]
    Kubernetes(ShapeArgs),
}

const AFTER: &str = "Connects to nothing. Passwords and certificates come from the vault; those that are not there yet are made and kept in it. What the inventory says and this cannot is listed. `help containers` is the guide. Exit status: 0 written, 1 failed, 2 files would be written over, or a mistake in the inventory.";

#[derive(Debug, clap::Args)]
struct ShapeArgs {
    /// The inventory
    #[arg(value_name = "INVENTORY", default_value = "inventory.toml")]
    inventory: PathBuf,
    /// The directory to write into
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Write over files that say something else
    #[arg(long)]
    overwrite: bool,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum NotWritten {
    #[error("{} in {} would be written over, and nothing was written: {}", count(paths.len(), "file"), directory.display(), listed(paths))]
    #[diagnostic(
        code(xnat::render::exists),
        help(
            "render into another directory with `--to` and compare (`diff -r`), or write over them with `--overwrite`"
        )
    )]
    Exists { directory: PathBuf, paths: Vec<String> },
    #[error("cannot write {}", path.display())]
    #[diagnostic(code(xnat::render::write), help("see `ls -ld {}`", quote::path(files::directory(path))))]
    Unwritten { path: PathBuf, source: io::Error },
}

impl Fails for NotWritten {
    fn exit(&self) -> Exit {
        match self {
            Self::Exists { .. } => Exit::Usage,
            Self::Unwritten { .. } => Exit::Failed,
        }
    }
}

pub fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let (shape, args) = match args.shape {
        Command::Compose(args) => (Shape::Compose, args),
        Command::Kubernetes(args) => (Shape::Kubernetes, args),
    };
    let mut opened = Opened::of(&args.inventory, globals)?;
    let members = render::members(shape, &opened.inventory)?;
    let before = opened.secrets.is_placeholder();
    opened.secrets.generate_missing()?;
    let issued = pki::complete(&mut opened.secrets.pki, &members, Timestamp::now())?;
    let assets = Assets::new(opened.inventory.assets.as_deref())?;
    let former = files::read_text(&args.to.join(render::statements(shape, &members))).ok();
    let order =
        Order { shape, members: &members, secrets: &opened.secrets, assets: &assets, former: former.as_deref() };
    let made = render::render(&order)?;
    let (same, other): (Vec<&Made>, Vec<&Made>) = made.iter().partition(|made| is_there(&args.to, made));
    refuse_to_overwrite(&args, &other)?;
    // first of all, so that no file has a password or a key that is nowhere else
    if before || !issued.is_empty() {
        opened.vault.keep(&opened.secrets)?;
    }
    other.iter().try_for_each(|made| write(&args.to, made))?;
    let told = Told {
        directory: &args.to,
        written: other.iter().map(|made| made.path.as_str()).collect(),
        unchanged: same.iter().map(|made| made.path.as_str()).collect(),
        unsaid: render::unsaid(shape, &opened.inventory),
    };
    if globals.json { out::json(&told) } else { out::text(&told.text(shape, &opened.inventory)) }?;
    Ok(Exit::Ok)
}

/// Whether this very file is there, readable by nobody who should not.
fn is_there(directory: &Path, made: &Made) -> bool {
    let path = directory.join(&made.path);
    let open = fs::symlink_metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    !(made.secret && open) && files::read_text(&path).is_ok_and(|text| text == made.content)
}

fn refuse_to_overwrite(args: &ShapeArgs, other: &[&Made]) -> Result<(), NotWritten> {
    let there = other.iter().filter(|made| args.to.join(&made.path).symlink_metadata().is_ok());
    let paths: Vec<String> = there.map(|made| made.path.clone()).collect();
    if args.overwrite || paths.is_empty() {
        return Ok(());
    }
    Err(NotWritten::Exists { directory: args.to.clone(), paths })
}

/// Whole or not at all.
fn write(directory: &Path, made: &Made) -> Result<(), NotWritten> {
    let path = directory.join(&made.path);
    let written = fs::create_dir_all(files::directory(&path)).and_then(|()| match made.secret {
        true => files::keep(&path, made.content.as_bytes()),
        false => files::publish(&path, &made.content),
    });
    written.map_err(|source| NotWritten::Unwritten { path, source })
}

fn listed(paths: &[String]) -> String {
    let shown: Vec<&str> = paths.iter().take(3).map(String::as_str).collect();
    let more = paths.len() - shown.len();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

#[derive(Serialize)]
struct Told<'a> {
    directory: &'a Path,
    written: Vec<&'a str>,
    unchanged: Vec<&'a str>,
    /// What the inventory says and this shape cannot.
    unsaid: Vec<String>,
}

impl Told<'_> {
    fn text(&self, shape: Shape, inventory: &Inventory) -> String {
        let directory = quote::path(self.directory);
        let mut text = format!("{directory}: {} written", count(self.written.len(), "file"));
        if !self.unchanged.is_empty() {
            text += &format!(", {} unchanged", self.unchanged.len());
        }
        text += "\n\n";
        text += &self.tops();
        if !self.unsaid.is_empty() {
            text += "\nWhat the inventory says and this cannot:\n";
            self.unsaid.iter().for_each(|one| text += &item(one));
        }
        text += "\nNext:\n";
        next(shape, &directory, inventory).iter().for_each(|one| text += &item(one));
        text
    }

    /// What is in the directory, without what is below.
    fn tops(&self) -> String {
        let mut tops: BTreeMap<&str, usize> = BTreeMap::new();
        for path in self.written.iter().chain(&self.unchanged) {
            let end = path.find('/').map_or(path.len(), |slash| slash + 1);
            *tops.entry(&path[..end]).or_default() += 1;
        }
        let line = |(top, files): (&&str, &usize)| match top.ends_with('/') {
            true => format!("  {top} ({})\n", count(*files, "file")),
            false => format!("  {top}\n"),
        };
        tops.iter().map(line).collect()
    }
}

fn next(shape: Shape, directory: &str, inventory: &Inventory) -> Vec<String> {
    let file = quote::path(&inventory.path);
    let password = format!("what XNAT logs in with: `xnat-provision vault show application {file}`");
    let guide = "`xnat-provision help containers` says the rest".to_owned();
    match shape {
        Shape::Compose => vec![
            format!(
                "start it: `cd {directory} && docker compose --file docker-compose.override.yml up --detach --build`"
            ),
            password,
            guide,
        ],
        Shape::Kubernetes => vec![
            format!(
                "build the images, push them where your nodes get theirs, and name them in an overlay: `docker build --target patroni {directory}/image`"
            ),
            format!("`kubectl apply --server-side --namespace NAMESPACE --kustomize {directory}`"),
            password,
            guide,
        ],
    }
}

fn item(what: &str) -> String {
    let width = out::look().width.map_or(120, usize::from);
    wrap(&printable(&format!("- {what}")), width, "  ").join("\n") + "\n"
}
