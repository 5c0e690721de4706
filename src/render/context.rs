//! What templates of the two shapes may speak of: all that those of hosts may, and what is written down here.

use serde::Serialize;
use serde_json::Value;

use super::contents::Contents;
use super::image::{self, Image};
use super::keyed::Mounted;
use super::{Order, RenderError, manifests, members, output};
use crate::inventory::{Component, Inventory, Size};
use crate::role::context::Context;
use crate::role::dynamic_config;

#[derive(Serialize)]
pub struct ShapeContext<'a> {
    #[serde(flatten)]
    common: Context<'a>,
    image: Image,
    /// Where it is built, relative to the directory everything goes into.
    image_directory: String,
    /// Where compose finds what it mounts.
    tree: &'static str,
    replicas: usize,
    /// Of the machine, where a container can have its own.
    sysctls: Vec<(String, String)>,
    /// Shared between the processes of a server, and what a server asks of a node, in MiB.
    shared_memory: u64,
    memory: u64,
    /// The files to apply, without the list itself.
    manifests: Vec<String>,
    pods: Pods,
}

/// What is mounted where.
#[derive(Serialize)]
struct Pods {
    etcd: Mounted,
    patroni: Mounted,
    haproxy: Mounted,
}

/// All of it as plain values.
pub fn context(order: &Order<'_>) -> Result<Value, RenderError> {
    let contents = Contents::of(order)?;
    let context = of(order, &contents)?;
    Ok(serde_json::to_value(context).unwrap_or_default())
}

pub(super) fn of<'a>(order: &Order<'a>, contents: &'a Contents<'_>) -> Result<ShapeContext<'a>, RenderError> {
    let mounted = |component| Mounted::of(contents.with(component));
    let sysctls = contents.with(Component::Haproxy).next().into_iter().flat_map(|one| one.sysctls());
    let shared_buffers = shared_buffers(order.members);
    Ok(ShapeContext {
        common: contents.common(order)?,
        image: Image::of(contents),
        image_directory: image::directory(order.shape),
        tree: super::TREE,
        replicas: members::REPLICAS,
        sysctls: sysctls.map(|sysctl| (sysctl.key.clone(), sysctl.value.clone())).collect(),
        shared_memory: 256,
        memory: (2 * shared_buffers + 512).max(1024),
        manifests: manifests(order)
            .map(|asset| output(&asset, order.shape).to_owned())
            .filter(|name| name.ends_with(".yml"))
            .collect(),
        pods: Pods {
            etcd: mounted(Component::Etcd),
            patroni: mounted(Component::Postgres),
            haproxy: mounted(Component::Haproxy),
        },
    })
}

/// In MiB, of what all members are told.
fn shared_buffers(inventory: &Inventory) -> u64 {
    let settings = dynamic_config(inventory);
    let parameters = settings["postgresql"]["parameters"].as_object();
    let said = parameters.into_iter().flatten().find(|(name, _)| name.eq_ignore_ascii_case("shared_buffers"));
    let size = said.and_then(|(_, value)| match value {
        Value::String(text) => Size::parse(text).map(|size| size.0 >> 20),
        // a number is of pages, of 8 KiB each
        pages => pages.as_u64().map(|pages| pages >> 7),
    });
    size.unwrap_or(0)
}
