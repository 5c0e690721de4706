//! The stages of `apply`, in order, and which resources belong to which. A stage is a barrier: every host finishes it
//! before any host begins the next.

use std::collections::BTreeMap;

use crate::resource::Resource;
use crate::role::RoleResources;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Prepare,
    Carry,
    Packages,
    Firewall,
    Etcd,
    Postgres,
    Database,
    Haproxy,
    SiteRoles,
    Verify,
}

impl Stage {
    pub const ALL: [Self; 10] = [
        Self::Prepare,
        Self::Carry,
        Self::Packages,
        Self::Firewall,
        Self::Etcd,
        Self::Postgres,
        Self::Database,
        Self::Haproxy,
        Self::SiteRoles,
        Self::Verify,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Prepare => "Prepare hosts",
            Self::Carry => "Bring packages",
            Self::Packages => "Install packages",
            Self::Firewall => "Set up the firewall",
            Self::Etcd => "Start etcd",
            Self::Postgres => "Start PostgreSQL under Patroni",
            Self::Database => "Create the application's database",
            Self::Haproxy => "Start HAProxy",
            Self::SiteRoles => "Apply the site's own roles",
            Self::Verify => "Verify as a client",
        }
    }

    /// Packages of every role are installed by one apt run per host; the rest stays with its role.
    fn of(role: &str, resource: &Resource) -> Self {
        match (role, resource) {
            ("base" | "leaving", _) => Self::Prepare,
            (_, Resource::Package(_)) => Self::Packages,
            ("firewall", _) => Self::Firewall,
            ("etcd", _) => Self::Etcd,
            ("patroni", _) => Self::Postgres,
            ("haproxy", _) => Self::Haproxy,
            _ => Self::SiteRoles,
        }
    }
}

/// The resources of one host, by stage, in the order of its roles.
pub fn by_stage(roles: Vec<RoleResources>) -> BTreeMap<Stage, Vec<Resource>> {
    let mut stages: BTreeMap<Stage, Vec<Resource>> = BTreeMap::new();
    for role in roles {
        for resource in role.resources {
            stages.entry(Stage::of(role.role.as_str(), &resource)).or_default().push(resource);
        }
    }
    stages
}
