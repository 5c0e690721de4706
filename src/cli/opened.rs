//! The vault of an inventory, opened for a command that is no run.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::connect::Terminal;
use super::{Failure, Globals};
use crate::inventory::Inventory;
use crate::pki;
use crate::report::Redactor;
use crate::vault::{Secrets, Vault, VaultError};

/// A vault that was opened, and whom to ask.
pub(super) struct Opened {
    pub inventory: Inventory,
    pub vault: Vault,
    pub secrets: Secrets,
    pub terminal: Arc<Terminal>,
}

impl Opened {
    pub fn of(path: &Path, globals: &Globals) -> Result<Self, Failure> {
        Self::vault_of(Inventory::load(path, globals.assets.as_deref())?.inventory, globals)
    }

    /// The same, with the certificates that somebody else has signed, which are read from their files each time.
    pub fn with_supplied(inventory: Inventory, globals: &Globals) -> Result<Self, Failure> {
        let mut opened = Self::vault_of(inventory, globals)?;
        if opened.inventory.tls.signing.is_elsewhere() {
            pki::complete(&mut opened.secrets.pki, &opened.inventory, Timestamp::now())?;
        }
        Ok(opened)
    }

    fn vault_of(inventory: Inventory, globals: &Globals) -> Result<Self, Failure> {
        let terminal = Terminal::of(&globals.answers, &Redactor::default());
        let mut vault = Vault::of(&inventory, terminal.clone(), &terminal.redactor);
        let secrets = vault.open()?;
        Ok(Self { inventory, vault, secrets, terminal })
    }

    /// For what makes no sense without one.
    pub fn must_exist(&self) -> Result<(), VaultError> {
        match self.vault.exists() {
            true => Ok(()),
            false => Err(VaultError::NoVault { path: self.vault.path(), inventory: self.inventory.path.clone() }),
        }
    }
}
