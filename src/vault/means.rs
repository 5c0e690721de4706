//! Where keys come from: identity files, the environment, a command, or the person at the terminal.

use std::path::{Path, PathBuf};

use age::x25519;

use super::error::VaultError;
use super::file::{self, Readers};
use super::reference;
use super::secrets::SHORTEST;
use crate::files;
use crate::inventory;
use crate::secret::Secret;

/// Names the identity file instead of the inventory.
pub const IDENTITY: &str = "XNAT_VAULT_IDENTITY";
/// The passphrase of the vault.
pub const PASSPHRASE: &str = "XNAT_VAULT_PASSPHRASE";
/// The passphrase `vault rekey` gives it.
pub const NEW_PASSPHRASE: &str = "XNAT_VAULT_NEW_PASSPHRASE";

/// The person in front, and the environment.
pub trait Means: Send + Sync {
    /// A secret, typed without echo; none when there is nobody to ask.
    fn ask(&self, question: &str) -> Option<Secret>;
    /// An environment variable that is set and not empty.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The files with identities: the environment's, or those of the inventory.
pub fn identity_files(settings: &inventory::Vault, means: &dyn Means) -> Vec<PathBuf> {
    match means.variable(IDENTITY) {
        Some(file) => vec![PathBuf::from(file)],
        None => settings.identity.clone(),
    }
}

/// Every identity in these files.
pub fn identities(files: &[PathBuf]) -> Result<Vec<x25519::Identity>, VaultError> {
    let mut all = Vec::new();
    for path in files {
        let text = file::read_text(path, Readers::Owner).map_err(VaultError::of_identity)?;
        let text = text.ok_or_else(|| VaultError::NoIdentityFile { path: path.clone() })?;
        let found = parse_identities(path, &text)?;
        all.extend(found);
    }
    Ok(all)
}

fn parse_identities(path: &Path, text: &str) -> Result<Vec<x25519::Identity>, VaultError> {
    let bad = |reason: &str| VaultError::BadIdentity { path: path.to_owned(), reason: reason.to_owned() };
    if text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----") {
        return Err(bad("it is itself encrypted; write it out with `age -d` into memory and name that file"));
    }
    if text.starts_with("-----BEGIN") {
        return Err(bad("it is a key of another kind, such as OpenSSH's"));
    }
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let parsed: Vec<x25519::Identity> = keys
        .map(|(number, line)| match line {
            plugin if plugin.starts_with("AGE-PLUGIN-") => {
                Err(bad(&format!("line {number} is for a plugin, which this program cannot use")))
            }
            _ => line.parse().map_err(|_| bad(&format!("line {number} is not an age identity"))),
        })
        .collect::<Result<_, _>>()?;
    if parsed.is_empty() { Err(bad("there is no identity in it")) } else { Ok(parsed) }
}

/// The passphrase of a vault that is there.
pub fn passphrase(settings: &inventory::Vault, means: &dyn Means, path: &Path) -> Result<Secret, VaultError> {
    if let Some(given) = given_passphrase(settings, means)? {
        return Ok(given);
    }
    let asked = means.ask(&format!("passphrase of {}", path.display())).filter(|answer| !answer.expose().is_empty());
    asked.ok_or_else(|| VaultError::NoPassphrase { path: path.to_owned() })
}

/// A passphrase for a vault that is to be made, from where the present one would come.
pub fn first_passphrase(settings: &inventory::Vault, means: &dyn Means, path: &Path) -> Result<Secret, VaultError> {
    match given_passphrase(settings, means)? {
        Some(given) => strong(given),
        None => asked_twice(means, path),
    }
}

/// A passphrase that replaces the present one.
pub fn next_passphrase(means: &dyn Means, path: &Path) -> Result<Secret, VaultError> {
    match means.variable(NEW_PASSPHRASE) {
        Some(given) => strong(Secret::new(given)),
        None => asked_twice(means, path),
    }
}

fn given_passphrase(settings: &inventory::Vault, means: &dyn Means) -> Result<Option<Secret>, VaultError> {
    if let Some(given) = means.variable(PASSPHRASE) {
        return Ok(Some(Secret::new(given)));
    }
    let Some(command) = &settings.passphrase_command else { return Ok(None) };
    let printed = reference::output(command).map_err(|reason| VaultError::PassphraseCommand { reason })?;
    if printed.expose().is_empty() {
        return Err(VaultError::PassphraseCommand { reason: "it printed nothing".to_owned() });
    }
    Ok(Some(printed))
}

fn asked_twice(means: &dyn Means, path: &Path) -> Result<Secret, VaultError> {
    let none = || VaultError::NoPassphrase { path: path.to_owned() };
    let first = means.ask(&format!("new passphrase for {}", path.display())).ok_or_else(none)?;
    let first = strong(first)?;
    let again = means.ask("the same passphrase again").ok_or_else(none)?;
    if first == again { Ok(first) } else { Err(VaultError::PassphrasesDiffer) }
}

fn strong(passphrase: Secret) -> Result<Secret, VaultError> {
    let length = passphrase.expose().chars().count();
    if length < SHORTEST { Err(VaultError::WeakPassphrase { length }) } else { Ok(passphrase) }
}

/// A new identity in a file of its own; its recipient.
pub fn make_identity(path: &Path) -> Result<String, VaultError> {
    use age::secrecy::ExposeSecret;
    let identity = x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let secret = identity.to_string();
    let text = zeroize::Zeroizing::new(format!(
        "# opens vaults of xnat-provision (and anything that is encrypted with age for this recipient)\n\
         # public key: {recipient}\n{}\n",
        secret.expose_secret()
    ));
    let failed = |source| VaultError::Write { path: path.to_owned(), source };
    let made = files::make_directory(path).map_err(failed).and_then(|()| file::create(path, text.as_bytes()));
    made.map_err(VaultError::of_identity)?;
    Ok(recipient)
}
