//! What is in the containers: the files, packages and commands that the roles ask of each stand-in, as far as a container
//! has use for them.

use minijinja::Value;
use minijinja::value::Serde;

use super::members::Release;
use super::sql::application;
use super::{Made, Order, RenderError, TREE};
use crate::facts::Facts;
use crate::inventory::{Component, Host};
use crate::resource::{File, Package, Resource, Sysctl};
use crate::role::context::Context;
use crate::role::render::Renderer;
use crate::role::{Input, RoleError, RoleResources, expand_contained};

/// What a component's files are below, on hosts and in containers.
pub fn directory(component: Component) -> &'static str {
    match component {
        Component::Etcd => "/etc/etcd",
        Component::Postgres => "/etc/patroni",
        Component::Haproxy => "/etc/haproxy",
    }
}

/// Patroni's passwords, which compose gives it as variables.
const PASSWORDS: &str = "/etc/patroni/xnat/40-secrets.yml";
/// What makes the application's role and database.
pub const STATEMENTS: &str = "/etc/patroni/xnat/application.sql";
/// Where Patroni reads its settings, and what is beside them.
const SETTINGS: &str = "/etc/patroni/xnat";

/// The roles whose packages and commands are not a component's own but every host's.
const EVERYBODY: &str = "base";

/// One container.
pub struct Container<'a> {
    pub host: &'a Host,
    pub component: Component,
    roles: Vec<RoleResources>,
    /// Its own files, at the places they have on a host.
    pub files: Vec<File>,
}

pub struct Contents<'a> {
    pub release: Release,
    facts: Facts,
    pub containers: Vec<Container<'a>>,
}

impl<'a> Contents<'a> {
    pub fn of(order: &Order<'a>) -> Result<Self, RenderError> {
        if order.secrets.rotation.is_some() {
            return Err(RenderError::Rotating);
        }
        let release = Release::of(order.members)?;
        let mut contents = Self { release, facts: release.facts(), containers: Vec::new() };
        for host in &order.members.hosts {
            let Some(component) = host.components.first().copied() else { continue };
            let roles = expand_contained(&contents.input(order, host), order.shape.containers())?;
            let mut container = Container { host, component, roles, files: Vec::new() };
            container.files = container.own_files();
            contents.containers.push(container);
        }
        let added = contents.added(order)?;
        let servers = contents.containers.iter_mut().filter(|container| container.component == Component::Postgres);
        servers.for_each(|server| server.files.extend(added.iter().cloned()));
        Ok(contents)
    }

    fn input<'b>(&'b self, order: &Order<'b>, host: &'b Host) -> Input<'b> {
        let Order { members: inventory, secrets, assets, .. } = *order;
        Input { inventory, host, facts: &self.facts, secrets, assets }
    }

    /// What templates of all shapes may speak of, those of hosts too.
    pub fn common<'b>(&'b self, order: &Order<'b>) -> Result<Context<'b>, RoleError> {
        // an inventory has members of both
        let host = order.members.with(Component::Postgres).next().unwrap_or(&order.members.hosts[0]);
        Ok(Context::new(&self.input(order, host))?.contained(order.shape.containers()))
    }

    /// What every server has besides what the roles say.
    fn added(&self, order: &Order<'_>) -> Result<Vec<File>, RoleError> {
        let directory = format!("templates/{}/patroni/", order.shape.name());
        let renderer = Renderer::new(order.assets, Value::from(Serde(self.common(order)?)))?;
        let statements = application(order);
        let mut added = vec![file(STATEMENTS.to_owned(), statements, true)];
        for asset in order.assets.templates() {
            if let Some(name) = asset.name.strip_prefix(&directory) {
                let path = format!("{SETTINGS}/{}", name.trim_end_matches(".j2"));
                added.push(file(path, renderer.whole(&asset)?, false));
            }
        }
        Ok(added)
    }

    pub fn with(&self, component: Component) -> impl Iterator<Item = &Container<'a>> {
        self.containers.iter().filter(move |container| container.component == component)
    }

    /// The files of each container as compose mounts them.
    pub fn tree(&self) -> impl Iterator<Item = Made> {
        self.containers.iter().flat_map(|container| {
            let files = container.files.iter().filter(|file| file.path != PASSWORDS);
            files.map(|file| Made {
                path: format!("{TREE}/{}{}", container.host.name, file.path),
                content: file.content.clone(),
                secret: file.secret,
            })
        })
    }
}

impl Container<'_> {
    fn own_files(&self) -> Vec<File> {
        let below = format!("{}/", directory(self.component));
        self.all_files().filter(|file| file.path.starts_with(&below)).cloned().collect()
    }

    /// Whatever the roles have written on a host.
    pub fn all_files(&self) -> impl Iterator<Item = &File> {
        self.resources().filter_map(|resource| match resource {
            Resource::File(file) => Some(file),
            _ => None,
        })
    }

    pub fn packages(&self) -> impl Iterator<Item = &Package> {
        self.resources().filter_map(|resource| match resource {
            Resource::Package(package) => Some(package),
            _ => None,
        })
    }

    /// What prepares a host for its packages and is no service's business.
    pub fn preparations(&self) -> impl Iterator<Item = &str> {
        let base = self.roles.iter().filter(|role| role.role.as_str() == EVERYBODY);
        base.flat_map(|role| &role.resources).filter_map(|resource| match resource {
            Resource::Command(command) => Some(command.run.as_str()),
            _ => None,
        })
    }

    pub fn sysctls(&self) -> impl Iterator<Item = &Sysctl> {
        self.resources().filter_map(|resource| match resource {
            Resource::Sysctl(sysctl) => Some(sysctl),
            _ => None,
        })
    }

    fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.roles.iter().flat_map(|role| &role.resources)
    }
}

/// A file beside Patroni's settings.
fn file(path: String, content: String, secret: bool) -> File {
    File {
        path,
        content,
        owner: "root".to_owned(),
        group: "postgres".to_owned(),
        mode: 0o640,
        secret,
        validate: None,
        frozen_by: None,
    }
}
