//! Which packages the roles of a cluster want, of hosts that are there or of some that could be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::assets::Assets;
use crate::bundle::{BundleError, Target};
use crate::facts::Facts;
use crate::inventory::{Host, Inventory, InventoryErrors, PackageSource, Repository};
use crate::resource::{PackageWanted, Resource};
use crate::role::{self, RoleError};
use crate::vault::Secrets;
use crate::workflow::SurveyError;

/// Everything there is, with defaults: what a site gets that says nothing of itself.
const EVERYTHING: &str = include_str!("../../inventory/colocated.toml");

#[derive(Debug, Default)]
pub struct Wanted {
    pub packages: BTreeSet<PackageWanted>,
    pub repositories: Vec<Repository>,
}

/// Why it cannot be known.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum WantedError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Inventory(#[from] InventoryErrors),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Role(#[from] RoleError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Survey(#[from] SurveyError),
}

impl crate::error::Fails for WantedError {
    fn exit(&self) -> crate::error::Exit {
        match self {
            Self::Inventory(error) => error.exit(),
            Self::Role(error) => error.exit(),
            Self::Bundle(error) => error.exit(),
            Self::Survey(error) => error.exit(),
        }
    }
}

/// Of one host. Which packages it has is no secret, so it is asked without any, certificates included.
pub fn of_host(
    inventory: &Inventory,
    host: &Host,
    facts: &Facts,
    assets: &Assets,
) -> Result<BTreeSet<PackageWanted>, RoleError> {
    let (secrets, mut inventory) = (&Secrets::placeholder(), inventory.clone());
    inventory.tls.enabled = false;
    let inventory = &inventory;
    let roles = role::expand(&role::Input { inventory, host, facts, secrets, assets })?;
    let package = |resource| match resource {
        Resource::Package(package) => Some(PackageWanted { name: package.name, version: package.version }),
        _ => None,
    };
    Ok(roles.into_iter().flat_map(|role| role.resources).filter_map(package).collect())
}

/// Of an inventory, or of one with everything, on hosts nobody has looked at.
pub fn of_nobody(path: Option<&Path>, target: &Target, assets: &Assets) -> Result<Wanted, WantedError> {
    let loaded = match path {
        Some(path) => Inventory::load(path, None)?,
        None => Inventory::of_text(EVERYTHING, Path::new("inventory.toml"), None)?,
    };
    let inventory = loaded.inventory;
    let mut wanted = Wanted { repositories: repositories(&inventory), ..Wanted::default() };
    let Target { os, codename, arch } = target.clone();
    let facts = Facts { os, codename, arch, free_kib: BTreeMap::new(), ..Facts::default() };
    for host in &inventory.hosts {
        wanted.packages.extend(of_host(&inventory, host, &facts, assets)?);
    }
    Ok(wanted)
}

/// Those a site has named: a bundle takes packages from them too.
pub fn repositories(inventory: &Inventory) -> Vec<Repository> {
    match &inventory.packages.source {
        PackageSource::Distribution => Vec::new(),
        PackageSource::Repositories(all) => all.clone(),
        PackageSource::Bundle(bundle) => bundle.repositories.clone(),
    }
}

/// Whose release that is.
pub fn distribution(codename: &str) -> Result<&'static str, BundleError> {
    match codename {
        "bookworm" | "trixie" => Ok("debian"),
        "jammy" | "noble" => Ok("ubuntu"),
        _ => Err(BundleError::Request {
            message: format!("no release is known by the name {codename}"),
            help: "say bookworm, trixie, jammy or noble".to_owned(),
        }),
    }
}
