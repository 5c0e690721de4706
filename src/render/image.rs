//! What images are built of: a Dockerfile whose packages and commands are those of the roles, and the files it copies.

use std::collections::BTreeSet;

use serde::Serialize;

use super::contents::{Container, Contents};
use super::{Made, Order, RenderError, Shape, TREE};
use crate::inventory::Component;
use crate::resource::Package;
use crate::role::render::Renderer;

/// Files of the roles that an image needs before its packages are installed.
const BEFORE: [&str; 2] = ["/etc/apt/apt.conf.d/90xnat-proxy", "/etc/apt/sources.list.d/xnat.sources"];
/// And those of the database server's.
const SERVER: [&str; 2] =
    ["/etc/postgresql-common/createcluster.conf", "/usr/local/lib/xnat-provision/set-aside-unfinished"];

/// Repositories may be reached by https, which takes this before they are known.
const AUTHORITIES: &str = "ca-certificates";

/// What a health check asks with.
const ASKS: &str = "curl";

/// For the Dockerfile, and for those who name images.
#[derive(Serialize)]
pub struct Image {
    base: &'static str,
    /// What the release is called: part of the images' tags.
    codename: &'static str,
    /// Of `BEFORE` those there are.
    before: Vec<String>,
    server: Vec<String>,
    preparations: Vec<String>,
    etcd: Vec<String>,
    patroni: Vec<String>,
    haproxy: Vec<String>,
}

impl Image {
    pub fn of(contents: &Contents<'_>) -> Self {
        let packages = |component| contents.with(component).next().map(packages).unwrap_or_default();
        let any = contents.with(Component::Postgres).next();
        let there = |paths: &[&str]| any.map(|one| files_of(one, paths).map(|(path, _)| path).collect());
        let preparations = any.map(|one| one.preparations().map(|run| run.trim().to_owned()).collect());
        Self {
            base: contents.release.base,
            codename: contents.release.codename,
            before: there(&BEFORE).unwrap_or_default(),
            server: there(&SERVER).unwrap_or_default(),
            preparations: preparations.unwrap_or_default(),
            etcd: packages(Component::Etcd),
            patroni: packages(Component::Postgres),
            haproxy: packages(Component::Haproxy),
        }
    }
}

/// Sorted, as apt wants them.
fn packages(container: &Container<'_>) -> Vec<String> {
    let own = container.packages().filter(|package| package.name != AUTHORITIES).map(wanted);
    let all: BTreeSet<String> = own.chain([ASKS.to_owned()]).collect();
    all.into_iter().collect()
}

fn wanted(package: &Package) -> String {
    match &package.version {
        Some(version) => format!("{}={version}", package.name),
        None => package.name.clone(),
    }
}

fn files_of<'a>(container: &'a Container<'_>, paths: &'a [&str]) -> impl Iterator<Item = (String, &'a str)> {
    let files = container.all_files().filter(|file| paths.contains(&file.path.as_str()));
    files.map(|file| (file.path.clone(), file.content.as_str()))
}

/// The directory images are built in.
pub fn directory(shape: Shape) -> String {
    match shape {
        Shape::Compose => format!("{TREE}/image"),
        Shape::Kubernetes => "image".to_owned(),
    }
}

/// All of it.
pub fn files(order: &Order<'_>, contents: &Contents<'_>, renderer: &Renderer<'_>) -> Result<Vec<Made>, RenderError> {
    let directory = directory(order.shape);
    let mut made = Vec::new();
    for asset in order.assets.templates().filter(|asset| asset.name.starts_with("templates/image/")) {
        let name = asset.name.trim_start_matches("templates/image/").trim_end_matches(".j2");
        made.push(Made::plain(format!("{directory}/{name}"), renderer.whole(&asset)?));
    }
    for container in contents.with(Component::Postgres).take(1) {
        for (path, content) in files_of(container, &BEFORE).chain(files_of(container, &SERVER)) {
            made.push(Made::plain(format!("{directory}/files{path}"), content));
        }
    }
    Ok(made)
}
