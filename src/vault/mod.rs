//! The vault: generated passwords and certificates in one file beside the inventory, encrypted with age. `xnat.toml` has
//! `xnat.vault`, or `xnat.secrets.toml` when the inventory says that it may be plain text. Nothing but this module reads
//! or writes it.
//!
//! Planning changes nothing, not even here: [`Vault::open`] tells what there is, with placeholders for passwords that are not
//! made yet, and `apply`, once approved, calls [`Vault::keep`]. Every rewrite leaves the version before it beside the file.

mod error;
mod file;
mod means;
mod parse;
mod reference;
mod rekey;
pub mod rotation;
mod seal;
mod secrets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use age::x25519;
use zeroize::Zeroizing;

pub use error::VaultError;
pub use file::old;
pub use means::{Means, make_identity};
pub use reference::{OUR_VARIABLES, place};
pub use rekey::{Opens, Rekeyed, rekey};
pub use secrets::{SHORTEST, Secrets, usable};

use crate::inventory::{Encryption, Inventory, Reference};
use crate::report::{Redactor, Registration};
use crate::secret::Secret;
use file::Readers;
use parse::Content;
use seal::{Key, Lock, Seal};

/// The file with the secrets of an inventory.
pub fn path(inventory: &Inventory) -> PathBuf {
    match inventory.vault.encryption {
        Encryption::Age => sealed_path(&inventory.path),
        Encryption::None => plain_path(&inventory.path),
    }
}

fn sealed_path(inventory: &Path) -> PathBuf {
    inventory.with_extension("vault")
}

fn plain_path(inventory: &Path) -> PathBuf {
    inventory.with_extension("secrets.toml")
}

/// The secrets of one inventory: where they are, and what they are written with.
pub struct Vault {
    inventory: Inventory,
    means: Arc<dyn Means>,
    redactor: Redactor,
    /// The file as it was found, byte by byte.
    former: Option<Zeroizing<Vec<u8>>>,
    /// What it was sealed with; none for plain text, and for what is not there yet.
    seal: Option<Seal>,
}

impl Vault {
    /// The vault of an inventory, not opened yet.
    pub fn of(inventory: &Inventory, means: Arc<dyn Means>, redactor: &Redactor) -> Self {
        Self { inventory: inventory.clone(), means, redactor: redactor.clone(), former: None, seal: None }
    }

    /// What is in it, with placeholders for passwords that are not made yet. Everything secret met on the way is known to
    /// the redactor. Changes nothing.
    pub fn open(&mut self) -> Result<Secrets, VaultError> {
        let mut secrets = self.read()?.unwrap_or_else(Secrets::placeholder);
        for (name, reference) in &self.inventory.secrets {
            let value = reference::resolve(name, reference, self.means.as_ref())?;
            if let Some(secret) = secrets.named_mut(name) {
                *secret = value;
            }
        }
        self.mask(&secrets);
        Ok(secrets)
    }

    /// A password of somebody else's that the site keeps itself; known to the redactor like ours.
    pub fn elsewhere(&self, name: &str, reference: &Reference) -> Result<Secret, VaultError> {
        let secret = reference::read(name, reference, self.means.as_ref())?;
        mask(&self.redactor, &secret);
        Ok(secret)
    }

    /// Whether there is a file already.
    pub fn exists(&self) -> bool {
        self.former.is_some()
    }

    /// The file it is in, or will be.
    pub fn path(&self) -> PathBuf {
        path(&self.inventory)
    }

    /// From now on none of these is shown anywhere.
    pub fn mask(&self, secrets: &Secrets) {
        register(&self.redactor, secrets);
    }

    /// Write these secrets, those that are kept elsewhere left out.
    pub fn keep(&mut self, secrets: &Secrets) -> Result<(), VaultError> {
        self.mask(secrets);
        let bytes = match self.inventory.vault.encryption {
            Encryption::None => self.text(secrets, Vec::new())?.as_bytes().to_vec(),
            Encryption::Age => {
                let seal = self.seal_to_write()?;
                let recipients = if let Seal::Recipients(all) = &seal { all.clone() } else { Vec::new() };
                let sealed = seal::seal(&self.text(secrets, recipients)?, &seal)?;
                self.seal = Some(seal);
                sealed
            }
        };
        match &self.former {
            None => file::create(&self.path(), &bytes)?,
            Some(former) => file::replace(&self.path(), &bytes, former)?,
        }
        self.former = Some(Zeroizing::new(bytes));
        Ok(())
    }

    /// The text that is kept, for a person to edit.
    pub fn editable(&self, secrets: &Secrets) -> Result<Zeroizing<String>, VaultError> {
        let recipients = if let Some(Seal::Recipients(all)) = &self.seal { all.clone() } else { Vec::new() };
        self.text(secrets, recipients)
    }

    /// What somebody made of [`Vault::editable`].
    pub fn edited(&self, text: &str) -> Result<Secrets, VaultError> {
        Ok(parse::parse(&self.path(), text, &elsewhere(&self.inventory))?.secrets)
    }

    fn text(&self, secrets: &Secrets, recipients: Vec<String>) -> Result<Zeroizing<String>, VaultError> {
        let content = Content { secrets: secrets.clone(), recipients };
        parse::write(&content, &self.inventory.cluster, &elsewhere(&self.inventory))
    }

    fn read(&mut self) -> Result<Option<Secrets>, VaultError> {
        let (sealed, plain) = (sealed_path(&self.inventory.path), plain_path(&self.inventory.path));
        let inventory = self.inventory.path.clone();
        let there = |path: &Path| path.exists() || path.is_symlink();
        match (self.inventory.vault.encryption, there(&sealed), there(&plain)) {
            (_, true, true) => Err(VaultError::TwoFiles { sealed, plain, inventory }),
            (Encryption::Age, false, true) => Err(VaultError::Plain { path: plain, inventory }),
            (Encryption::None, true, false) => Err(VaultError::Sealed { path: sealed, inventory }),
            (Encryption::Age, ..) => self.read_sealed(&sealed),
            (Encryption::None, ..) => self.read_plain(&plain),
        }
    }

    fn read_plain(&mut self, path: &Path) -> Result<Option<Secrets>, VaultError> {
        let Some(text) = file::read_text(path, Readers::Owner)? else { return Ok(None) };
        let content = parse::parse(path, &text, &elsewhere(&self.inventory))?;
        self.former = Some(Zeroizing::new(text.as_bytes().to_vec()));
        Ok(Some(content.secrets))
    }

    fn read_sealed(&mut self, path: &Path) -> Result<Option<Secrets>, VaultError> {
        let Some(bytes) = file::read(path, Readers::Anyone)? else { return Ok(None) };
        let files = means::identity_files(&self.inventory.vault, self.means.as_ref());
        let key = match seal::lock(path, &bytes)? {
            Lock::Recipients if files.is_empty() => return Err(VaultError::NoIdentity { path: path.to_owned() }),
            Lock::Recipients => Key::Identities(means::identities(&files)?),
            Lock::Passphrase if !self.inventory.vault.identity.is_empty() => {
                let inventory = self.inventory.path.clone();
                return Err(VaultError::OtherLock { path: path.to_owned(), inventory });
            }
            Lock::Passphrase => {
                let passphrase = means::passphrase(&self.inventory.vault, self.means.as_ref(), path)?;
                mask(&self.redactor, &passphrase);
                Key::Passphrase(passphrase)
            }
        };
        let text = seal::open(path, &bytes, &key)?;
        let content = parse::parse(path, &text, &elsewhere(&self.inventory))?;
        self.seal = Some(match key {
            Key::Passphrase(passphrase) => Seal::Passphrase(passphrase),
            Key::Identities(own) => Seal::Recipients(union(content.recipients, &own, &self.inventory)),
        });
        self.former = Some(bytes);
        Ok(Some(content.secrets))
    }

    /// As it was sealed; a new one as the inventory says.
    fn seal_to_write(&self) -> Result<Seal, VaultError> {
        if let Some(seal) = &self.seal {
            return Ok(seal.clone());
        }
        let passphrase = |path: &Path| means::first_passphrase(&self.inventory.vault, self.means.as_ref(), path);
        new_seal(&self.inventory, self.means.as_ref(), &self.redactor, passphrase)
    }
}

/// What the inventory says a vault is sealed with.
fn new_seal(
    inventory: &Inventory,
    means: &dyn Means,
    redactor: &Redactor,
    passphrase: impl FnOnce(&Path) -> Result<Secret, VaultError>,
) -> Result<Seal, VaultError> {
    let files = means::identity_files(&inventory.vault, means);
    if !files.is_empty() {
        return Ok(Seal::Recipients(union(Vec::new(), &means::identities(&files)?, inventory)));
    }
    if !inventory.vault.recipients.is_empty() {
        return Err(VaultError::OnlyRecipients);
    }
    let passphrase = passphrase(&sealed_path(&inventory.path))?;
    mask(redactor, &passphrase);
    Ok(Seal::Passphrase(passphrase))
}

/// Whoever could open it still can, and whoever the inventory names.
fn union(stored: Vec<String>, own: &[x25519::Identity], inventory: &Inventory) -> Vec<String> {
    let own = own.iter().map(|identity| identity.to_public().to_string());
    let mut all = BTreeSet::from_iter(stored);
    all.extend(own.chain(inventory.vault.recipients.iter().cloned()));
    all.into_iter().collect()
}

/// The names of passwords that are kept elsewhere.
fn elsewhere(inventory: &Inventory) -> BTreeSet<&str> {
    inventory.secrets.keys().map(String::as_str).collect()
}

/// From now on none of these is shown anywhere.
fn register(redactor: &Redactor, secrets: &Secrets) {
    for key in secrets.pki.keys() {
        mask(redactor, key);
    }
    for secret in secrets.rotation.iter().flat_map(|rotation| rotation.secrets()) {
        mask(redactor, secret);
    }
    // A placeholder is to be seen.
    let real = secrets.each().filter(|(_, secret)| secret.expose() != secrets::PLACEHOLDER);
    real.for_each(|(_, secret)| mask(redactor, secret));
}

/// What is too short to be masked is too short to be one of our secrets, except for a passphrase from before.
fn mask(redactor: &Redactor, secret: &Secret) {
    match redactor.register(secret) {
        Registration::Masked | Registration::TooShort => {}
    }
}

#[cfg(test)]
mod tests;
