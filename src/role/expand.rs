//! Role × host → resources: which roles a host has, and each entry with its texts rendered and its defaults filled in.

use std::collections::BTreeMap;
use std::time::Duration;

use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;

use super::containers::Containers;
use super::context::Context;
use super::error::{Place, RoleError};
use super::file::{self, Entry, Kind, Text};
use super::render::Renderer;
use crate::assets::{Asset, Assets};
use crate::facts::Facts;
use crate::inventory::{Component, Host, Inventory};
use crate::names::RoleName;
use crate::resource::{self, Resource};
use crate::vault::Secrets;

/// What a role asks of a host.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleResources {
    pub role: RoleName,
    pub resources: Vec<Resource>,
}

/// What expanding needs to know.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    pub inventory: &'a Inventory,
    pub host: &'a Host,
    pub facts: &'a Facts,
    pub secrets: &'a Secrets,
    pub assets: &'a Assets,
}

/// How far a running cluster that speaks plainly is on its way to TLS. When it is through, there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// Everybody learns TLS and goes on speaking plainly.
    Opening,
    /// Everybody knows TLS; Patroni and PostgreSQL stop speaking plainly.
    Moving,
}

/// What becomes of the database when a cluster is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    Kept,
    Removed,
}

/// The resources of a host: `base`, then what its components call for, then its own roles.
pub fn expand(input: &Input<'_>) -> Result<Vec<RoleResources>, RoleError> {
    expand_with(input, &roles(input.host), Context::new(input)?)
}

/// The resources of a host that is to be as if it had never been one of the cluster.
pub fn expand_reset(input: &Input<'_>, data: Data) -> Result<Vec<RoleResources>, RoleError> {
    let roles = ["leaving", "reset"].map(RoleName::from);
    expand_with(input, &roles, Context::new(input)?.without(data))
}

/// What an upgrade to another major version of PostgreSQL needs on a host, beside what runs.
pub fn expand_major(input: &Input<'_>) -> Result<Vec<RoleResources>, RoleError> {
    expand_with(input, &[RoleName::from("major")], Context::new(input)?)
}

/// What a copy that follows a foreign server needs on a member, beside what runs.
pub fn expand_follow(input: &Input<'_>) -> Result<Vec<RoleResources>, RoleError> {
    expand_with(input, &[RoleName::from("follow")], Context::new(input)?)
}

/// The same during a conversion to TLS.
pub fn expand_during(input: &Input<'_>, transition: Transition) -> Result<Vec<RoleResources>, RoleError> {
    expand_with(input, &roles(input.host), Context::new(input)?.during(transition))
}

/// The same for a host whose etcd joins a cluster that runs, of these members.
pub fn expand_joining(input: &Input<'_>, initial_cluster: &str) -> Result<Vec<RoleResources>, RoleError> {
    expand_with(input, &roles(input.host), Context::new(input)?.joining(initial_cluster))
}

/// The same for a member that is a container.
pub fn expand_contained(input: &Input<'_>, containers: Containers) -> Result<Vec<RoleResources>, RoleError> {
    expand_with(input, &roles(input.host), Context::new(input)?.contained(containers))
}

fn expand_with(input: &Input<'_>, roles: &[RoleName], context: Context<'_>) -> Result<Vec<RoleResources>, RoleError> {
    let context = Value::from(Serde(context));
    let renderer = Renderer::new(input.assets, context)?;
    let mut files = BTreeMap::new();
    let mut expanded = Vec::new();
    for role in roles {
        let asset = input.assets.role(role).ok_or_else(|| unknown(role, input.assets))?;
        let one = Role { asset, renderer: &renderer, pins: &input.inventory.packages.pins };
        let resources = one.expand()?;
        for path in resources.iter().filter_map(path) {
            if let Some(other) = files.insert(path.to_owned(), role.clone()) {
                let reason = format!("{path} is declared by the role `{other}` already");
                let at = asset.text.find(path).map_or(0..0, |start| start..start + path.len());
                return Err(RoleError::at(
                    Place::new(&asset, at),
                    reason,
                    "declare a file once, or override the template",
                ));
            }
        }
        expanded.push(RoleResources { role: role.clone(), resources });
    }
    Ok(expanded)
}

/// The names of a host's roles, in order.
pub fn roles(host: &Host) -> Vec<RoleName> {
    if host.leaving {
        return vec![RoleName::from("leaving")];
    }
    let components = [(Component::Etcd, "etcd"), (Component::Postgres, "patroni"), (Component::Haproxy, "haproxy")];
    let wanted = components.into_iter().filter(|(component, _)| host.components.contains(component));
    let built_in = ["base", "firewall"].into_iter().chain(wanted.map(|(_, role)| role)).map(RoleName::from);
    built_in.chain(host.own_roles.iter().cloned()).collect()
}

fn unknown(role: &RoleName, assets: &Assets) -> RoleError {
    let help = match file::nearest(role.as_str(), assets.roles()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write it: DIR/roles/{role}.toml in the directory named by `assets` or --assets"),
    };
    RoleError::Unknown { role: role.to_string(), help }
}

fn path(resource: &Resource) -> Option<&str> {
    match resource {
        Resource::File(file) => Some(&file.path),
        _ => None,
    }
}

/// One role of one host.
struct Role<'a> {
    asset: Asset<'a>,
    renderer: &'a Renderer<'a>,
    pins: &'a BTreeMap<String, String>,
}

impl Role<'_> {
    fn expand(&self) -> Result<Vec<Resource>, RoleError> {
        let mut resources = Vec::new();
        for spanned in file::parse(&self.asset)?.resource {
            let at = spanned.span();
            let entry = spanned.into_inner();
            let applies = entry.when.as_ref().map_or(Ok(true), |when| self.renderer.holds(&self.asset, when))?;
            let kind = self.kind(entry, at)?;
            if applies {
                resources.push(self.resource(kind)?);
            }
        }
        Ok(resources)
    }

    fn kind(&self, entry: Entry, at: std::ops::Range<usize>) -> Result<Kind, RoleError> {
        entry.kind().map_err(|count| {
            let reason = format!("a resource is of exactly one kind, and this has {count}");
            let help = "begin each with [[resource]] and give it one of: \
                        directory, file, package, group, user, sysctl, unit, command, firewall";
            RoleError::at(Place::new(&self.asset, at), reason, help)
        })
    }

    fn resource(&self, kind: Kind) -> Result<Resource, RoleError> {
        Ok(match kind {
            Kind::Directory(directory) => Resource::Directory(resource::Directory {
                path: self.path(&directory.path)?,
                owner: self.or(directory.owner.as_ref(), "root")?,
                group: self.or(directory.group.as_ref(), "root")?,
                mode: self.mode(directory.mode.as_ref(), 0o755)?,
            }),
            Kind::File(file) => Resource::File(self.file(&file)?),
            Kind::Package(package) => Resource::Package(self.package(&package)?),
            Kind::Group(group) => Resource::Group(resource::Group { name: self.text(&group.name)? }),
            Kind::User(user) => Resource::User(resource::User {
                name: self.text(&user.name)?,
                group: self.text(&user.group)?,
                home: self.path(&user.home)?,
                shell: self.path(&user.shell)?,
            }),
            Kind::Sysctl(sysctl) => {
                Resource::Sysctl(resource::Sysctl { key: self.text(&sysctl.key)?, value: self.text(&sysctl.value)? })
            }
            Kind::Unit(unit) => Resource::Unit(self.unit(&unit)?),
            Kind::Command(command) => Resource::Command(resource::Command {
                run: self.text(&command.run)?,
                unless: self.text(&command.unless)?,
                why: self.text(&command.why)?,
            }),
            Kind::Firewall(firewall) => Resource::Firewall(resource::Firewall {
                path: self.path(&firewall.path)?,
                content: self.renderer.template(&self.text(&firewall.template)?, self.place(&firewall.template))?,
                confirm_within: Duration::from_secs(firewall.confirm_within),
            }),
        })
    }

    fn file(&self, file: &file::File) -> Result<resource::File, RoleError> {
        let content = match (&file.template, &file.content) {
            (Some(template), None) => self.renderer.template(&self.text(template)?, self.place(template))?,
            (None, Some(content)) => self.text(content)?,
            _ => {
                let help = "give it one: template = \"etcd/etcd.env.j2\", or content = \"…\"";
                let reason = "a file has either a `template` or a `content`";
                return Err(RoleError::at(self.place(&file.path), reason, help));
            }
        };
        Ok(resource::File {
            path: self.path(&file.path)?,
            content,
            owner: self.or(file.owner.as_ref(), "root")?,
            group: self.or(file.group.as_ref(), "root")?,
            mode: self.mode(file.mode.as_ref(), 0o644)?,
            secret: file.secret,
            validate: file.validate.as_ref().map(|text| self.text(text)).transpose()?,
            frozen_by: file.frozen_by.as_ref().map(|text| self.path(text)).transpose()?,
        })
    }

    fn package(&self, package: &file::Package) -> Result<resource::Package, RoleError> {
        let name = self.text(&package.name)?;
        let version = package.version.as_ref().map(|text| self.text(text)).transpose()?;
        let version = version.or_else(|| self.pins.get(&name).cloned());
        Ok(resource::Package { name, version, replace: resource::Replace::Refused, source: resource::Source::Host })
    }

    fn unit(&self, unit: &file::Unit) -> Result<resource::Unit, RoleError> {
        let paths = |texts: &[Text]| texts.iter().map(|text| self.path(text)).collect::<Result<Vec<_>, _>>();
        Ok(resource::Unit {
            name: self.text(&unit.name)?,
            enabled: unit.enabled,
            running: unit.running,
            watch: paths(&unit.watch)?,
            on_change: unit.on_change,
            restart_watch: paths(&unit.restart_watch)?,
            packages: unit.packages.iter().map(|text| self.text(text)).collect::<Result<_, _>>()?,
            restart: unit.restart,
            timeout: Duration::from_secs(unit.timeout),
        })
    }

    fn text(&self, text: &Text) -> Result<String, RoleError> {
        self.renderer.text(&self.asset, text)
    }

    fn or(&self, text: Option<&Text>, default: &str) -> Result<String, RoleError> {
        text.map_or_else(|| Ok(default.to_owned()), |text| self.text(text))
    }

    fn path(&self, text: &Text) -> Result<String, RoleError> {
        let path = self.text(text)?;
        if path.starts_with('/') {
            return Ok(path);
        }
        let reason = format!("`{path}` is not an absolute path");
        Err(RoleError::at(self.place(text), reason, "begin it with a slash"))
    }

    fn mode(&self, text: Option<&Text>, default: u32) -> Result<u32, RoleError> {
        let Some(text) = text else { return Ok(default) };
        let mode = self.text(text)?;
        let digits = mode.len() == 4 && mode.starts_with('0');
        match u32::from_str_radix(&mode, 8) {
            Ok(mode) if digits => Ok(mode),
            _ => {
                let reason = format!("`{mode}` is not a file mode");
                Err(RoleError::at(self.place(text), reason, "write four octal digits in quotes: mode = \"0640\""))
            }
        }
    }

    fn place(&self, text: &Text) -> Place {
        Place::new(&self.asset, text.span())
    }
}
