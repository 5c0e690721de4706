//! The cluster of an inventory in other shapes: for docker compose and for Kubernetes, for sites that start there. Members
//! are containers, and what is in them is what a host would get: the roles are expanded for a stand-in of each
//! (`members`), the files are taken from there (`contents`), and templates of their own (`templates/compose`,
//! `templates/kubernetes`, `templates/image`) say how it is started. So nothing is said twice. Pure: writes nothing.

mod contents;
mod context;
mod error;
mod image;
mod keyed;
mod members;
mod sql;
mod unsaid;

pub use context::context;
pub use error::RenderError;
pub use members::members;
pub use unsaid::unsaid;

use minijinja::Value;
use minijinja::value::Serde;

use crate::assets::{Asset, Assets};
use crate::inventory::{Component, Inventory};
use crate::role::Containers;
use crate::role::render::Renderer;
use crate::vault::Secrets;
use contents::Contents;

/// What runs the containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Compose,
    Kubernetes,
}

impl Shape {
    /// Where its templates are, and the command of the same name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compose => "compose",
            Self::Kubernetes => "kubernetes",
        }
    }

    fn containers(self) -> Containers {
        match self {
            Self::Compose => Containers::COMPOSE,
            Self::Kubernetes => Containers::KUBERNETES,
        }
    }
}

/// What is rendered, and of what.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    pub shape: Shape,
    /// Of stand-ins: [`members`].
    pub members: &'a Inventory,
    /// With the certificates of [`members`].
    pub secrets: &'a Secrets,
    pub assets: &'a Assets,
    /// What is in the place of [`statements`] now: a verifier in it that fits is left as it is.
    pub former: Option<&'a str>,
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Relative to the directory everything goes into.
    pub path: String,
    pub content: String,
    /// For its owner's eyes only.
    pub secret: bool,
}

impl Made {
    fn plain(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self { path: path.into(), content: content.into(), secret: false }
    }
}

/// Files that hold passwords or keys by what they are for. (Those of containers are marked in the roles.)
const SECRET: [&str; 2] = ["cluster.env", "secrets.yml"];

/// Where a container finds its own files under compose, and where they are in the directory.
const TREE: &str = "cluster";

/// The file that holds the statements which make the application's role.
pub fn statements(shape: Shape, members: &Inventory) -> String {
    let server = members.with(Component::Postgres).next().map_or("", |server| server.name.as_str());
    match shape {
        Shape::Compose => format!("{TREE}/{server}{}", contents::STATEMENTS),
        Shape::Kubernetes => "secrets.yml".to_owned(),
    }
}

/// Every file, in the order of its path.
pub fn render(order: &Order<'_>) -> Result<Vec<Made>, RenderError> {
    let contents = Contents::of(order)?;
    let context = Value::from(Serde(context::of(order, &contents)?));
    let renderer = Renderer::new(order.assets, context)?;
    let mut made = Vec::new();
    for asset in manifests(order) {
        let path = output(&asset, order.shape).to_owned();
        let secret = SECRET.contains(&path.as_str());
        made.push(Made { content: renderer.whole(&asset)?, path, secret });
    }
    made.extend(image::files(order, &contents, &renderer)?);
    if order.shape == Shape::Compose {
        made.extend(contents.tree());
    }
    made.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(made)
}

/// The templates of what is written as it is; those in directories below are for other files.
fn manifests<'a>(order: &Order<'a>) -> impl Iterator<Item = Asset<'a>> {
    let shape = order.shape;
    order.assets.templates().filter(move |asset| {
        let directory = format!("templates/{}/", shape.name());
        asset.name.strip_prefix(&directory).is_some_and(|rest| !rest.contains('/') && rest.ends_with(".j2"))
    })
}

fn output<'a>(asset: &Asset<'a>, shape: Shape) -> &'a str {
    asset
        .name
        .trim_start_matches("templates/")
        .trim_start_matches(shape.name())
        .trim_matches('/')
        .trim_end_matches(".j2")
}
