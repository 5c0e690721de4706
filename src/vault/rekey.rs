//! Other keys for the same secrets: another passphrase or identity, other recipients, from plain text and back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::error::VaultError;
use super::file::{self, Readers};
use super::means::{self, Means};
use super::parse::{self, Content};
use super::seal::{self, Key, Lock, Seal};
use super::{elsewhere, mask, new_seal, plain_path, register, sealed_path};
use crate::inventory::{Encryption, Inventory};
use crate::report::Redactor;

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rekeyed {
    pub path: PathBuf,
    /// Who can open it now.
    pub opens: Opens,
    /// The version from before, which the former key still opens.
    pub old: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opens {
    Passphrase,
    Recipients(Vec<String>),
    /// Plain text.
    Owner,
}

/// A file of secrets that was found, and what is in it.
struct Found {
    bytes: Zeroizing<Vec<u8>>,
    content: Content,
}

struct Rekeying<'a> {
    inventory: &'a Inventory,
    means: Arc<dyn Means>,
    redactor: Redactor,
}

/// Seal the vault anew, as the inventory says now. `former` are the files with identities that still open it, if those
/// of the inventory do not.
pub fn rekey(
    inventory: &Inventory,
    means: Arc<dyn Means>,
    redactor: &Redactor,
    former: &[PathBuf],
) -> Result<Rekeyed, VaultError> {
    let rekeying = Rekeying { inventory, means, redactor: redactor.clone() };
    let (sealed_path, plain_path) = (sealed_path(&inventory.path), plain_path(&inventory.path));
    let sealed = rekeying.sealed(&sealed_path, former)?;
    let plain = rekeying.plain(&plain_path)?;
    let content = match (&sealed, &plain) {
        (Some(one), Some(other)) if !same(&one.content, &other.content) => {
            let inventory = inventory.path.clone();
            return Err(VaultError::TwoFiles { sealed: sealed_path, plain: plain_path, inventory });
        }
        (Some(found), _) | (None, Some(found)) => &found.content,
        (None, None) => {
            let path = super::path(inventory);
            return Err(VaultError::NoVault { path, inventory: inventory.path.clone() });
        }
    };
    register(redactor, &content.secrets);
    match inventory.vault.encryption {
        Encryption::Age => rekeying.encrypt(content, sealed.as_ref()),
        Encryption::None => rekeying.decrypt(content, plain.as_ref()),
    }
}

impl Rekeying<'_> {
    fn sealed(&self, path: &Path, former: &[PathBuf]) -> Result<Option<Found>, VaultError> {
        let Some(bytes) = file::read(path, Readers::Anyone)? else { return Ok(None) };
        let settings = &self.inventory.vault;
        let key = match seal::lock(path, &bytes)? {
            Lock::Passphrase => {
                let passphrase = means::passphrase(settings, self.means.as_ref(), path)?;
                mask(&self.redactor, &passphrase);
                Key::Passphrase(passphrase)
            }
            Lock::Recipients => {
                let mut files = former.to_vec();
                if files.is_empty() {
                    files = means::identity_files(settings, self.means.as_ref());
                }
                if files.is_empty() {
                    return Err(VaultError::NoIdentity { path: path.to_owned() });
                }
                Key::Identities(means::identities(&files)?)
            }
        };
        let text = seal::open(path, &bytes, &key)?;
        let content = parse::parse(path, &text, &elsewhere(self.inventory))?;
        Ok(Some(Found { bytes, content }))
    }

    fn plain(&self, path: &Path) -> Result<Option<Found>, VaultError> {
        let Some(text) = file::read_text(path, Readers::Owner)? else { return Ok(None) };
        let content = parse::parse(path, &text, &elsewhere(self.inventory))?;
        Ok(Some(Found { bytes: Zeroizing::new(text.as_bytes().to_vec()), content }))
    }

    fn encrypt(&self, content: &Content, former: Option<&Found>) -> Result<Rekeyed, VaultError> {
        let means = self.means.as_ref();
        let seal = new_seal(self.inventory, means, &self.redactor, |path| match former {
            Some(_) => means::next_passphrase(means, path),
            None => means::first_passphrase(&self.inventory.vault, means, path),
        })?;
        let opens = match &seal {
            Seal::Passphrase(_) => Opens::Passphrase,
            Seal::Recipients(all) => Opens::Recipients(all.clone()),
        };
        let recipients = if let Opens::Recipients(all) = &opens { all.clone() } else { Vec::new() };
        let bytes = seal::seal(&self.text(content, recipients)?, &seal)?;
        let path = sealed_path(&self.inventory.path);
        self.prove(&path, &bytes, &seal)?;
        match former {
            Some(former) => file::replace(&path, &bytes, &former.bytes)?,
            None => file::create(&path, &bytes)?,
        }
        // The plain text goes when the encrypted file is on the disk; what is left of a run that is cut here is finished by
        // the next one.
        let plain = plain_path(&self.inventory.path);
        file::remove(&plain)?;
        file::remove(&file::old(&plain))?;
        Ok(Rekeyed { old: former.map(|_| file::old(&path)), path, opens })
    }

    /// What was sealed can be opened, before what it was made from is replaced.
    fn prove(&self, path: &Path, bytes: &[u8], seal: &Seal) -> Result<(), VaultError> {
        let key = match seal {
            Seal::Passphrase(passphrase) => Key::Passphrase(passphrase.clone()),
            Seal::Recipients(_) => {
                let files = means::identity_files(&self.inventory.vault, self.means.as_ref());
                Key::Identities(means::identities(&files)?)
            }
        };
        seal::open(path, bytes, &key).map(drop)
    }

    fn decrypt(&self, content: &Content, former: Option<&Found>) -> Result<Rekeyed, VaultError> {
        let (path, sealed) = (plain_path(&self.inventory.path), sealed_path(&self.inventory.path));
        if former.is_none() {
            file::create(&path, self.text(content, Vec::new())?.as_bytes())?;
        }
        let old = sealed.exists().then(|| file::old(&sealed));
        if let Some(old) = &old {
            file::rename(&sealed, old)?;
        }
        Ok(Rekeyed { path, opens: Opens::Owner, old })
    }

    fn text(&self, content: &Content, recipients: Vec<String>) -> Result<Zeroizing<String>, VaultError> {
        let content = Content { secrets: content.secrets.clone(), recipients };
        parse::write(&content, &self.inventory.cluster, &elsewhere(self.inventory))
    }
}

fn same(one: &Content, other: &Content) -> bool {
    one.secrets.each().eq(other.secrets.each()) && one.secrets.pki == other.secrets.pki
}
