//! `--bundle`: packages from files instead of from where the inventory says.

use std::path::PathBuf;

use super::Failure;
use super::session::{Opening, Session, Target};
use crate::bundle::sign::Trusted;
use crate::bundle::{BundleError, Offer};
use crate::inventory::{BundleSource, Inventory, PackageSource, Packages};

#[derive(Clone, Debug, Default, clap::Args)]
pub struct BundleArgs {
    /// Take all packages from this bundle, and from nowhere else; a later one goes on from an earlier one (several times)
    #[arg(long, value_name = "FILE")]
    bundle: Vec<PathBuf>,
    /// The public key that must have signed it [default: bundle_key under [packages]]
    #[arg(long, value_name = "FILE")]
    bundle_key: Option<PathBuf>,
}

impl BundleArgs {
    pub async fn open(&self, target: &Target, opening: Opening<'_>) -> Result<Session, Failure> {
        let mut loaded = Inventory::load(&target.inventory, opening.globals.assets.as_deref())?;
        self.replace(&mut loaded.inventory.packages);
        Session::open_loaded(target, opening, loaded).await
    }

    fn replace(&self, packages: &mut Packages) {
        packages.bundle_key = self.bundle_key.clone().or(packages.bundle_key.take());
        if self.bundle.is_empty() {
            return;
        }
        let repositories = match &mut packages.source {
            PackageSource::Bundle(named) => std::mem::take(&mut named.repositories),
            PackageSource::Repositories(all) => std::mem::take(all),
            PackageSource::Distribution => Vec::new(),
        };
        packages.source = PackageSource::Bundle(BundleSource { files: self.bundle.clone(), repositories });
    }
}

/// What an inventory's bundle offers, checked to the last byte.
pub fn offer(inventory: &Inventory) -> Result<Option<Offer>, BundleError> {
    let PackageSource::Bundle(source) = &inventory.packages.source else { return Ok(None) };
    let key = inventory.packages.bundle_key.as_deref().map(Trusted::read).transpose()?;
    Offer::open(&source.files, key.as_ref()).map(Some)
}

/// What is to be said about bundles nobody has vouched for.
pub fn doubts(inventory: &Inventory) -> Option<String> {
    match &inventory.packages.source {
        PackageSource::Bundle(_) if inventory.packages.bundle_key.is_none() => {
            Some("nobody has vouched for the bundle: it is whole, and who made it was not checked".to_owned())
        }
        _ => None,
    }
}
