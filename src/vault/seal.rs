//! Encryption with age. Files are armoured: text survives mail and version control, and where it ends can be seen, so a
//! truncated file is told from a damaged one. The errors of the age library are not passed on; each gets its own.

use std::io::{Read, Write};
use std::path::Path;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor, scrypt, x25519};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::error::VaultError;
use crate::secret::Secret;

const BEGIN: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const END: &[u8] = b"-----END AGE ENCRYPTED FILE-----";
const BINARY: &[u8] = b"age-encryption.org/";
const VERSION_1: &[u8] = b"age-encryption.org/v1\n";

/// Cost of guessing a passphrase, about a second for each (2^18, as `age` itself has on an ordinary machine). Fixed,
/// because age would measure, and choose less on a machine that is busy. (The tests inside this crate guess often.)
const WORK: u8 = if cfg!(test) { 8 } else { 18 };
/// What a file may ask us to spend: sixteen times that.
const MOST_WORK: u8 = 22;

/// What a vault can be sealed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    Passphrase,
    Recipients,
}

/// What it is sealed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seal {
    Passphrase(Secret),
    /// age recipients (`age1…`).
    Recipients(Vec<String>),
}

/// What opens it.
pub enum Key {
    Passphrase(Secret),
    Identities(Vec<x25519::Identity>),
}

/// Which kind of key opens the file. Also finds what is no vault, and what was cut off.
pub fn lock(path: &Path, bytes: &[u8]) -> Result<Lock, VaultError> {
    let path = path.to_owned();
    let text = body(bytes);
    if text.trim_ascii().is_empty() {
        return Err(VaultError::Empty { path });
    }
    // A beginning of the beginning was cut off, too.
    let begun = |mark: &[u8]| text.starts_with(mark) || mark.starts_with(text);
    if !begun(BEGIN) && !begun(BINARY) {
        return Err(VaultError::Foreign { path });
    }
    if begun(BEGIN) && !text.ends_with(END) {
        return Err(VaultError::Truncated { path });
    }
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(text)).map_err(|_| match is_newer(text) {
        true => VaultError::Newer { path: path.clone() },
        false => VaultError::Damaged { path: path.clone() },
    })?;
    Ok(if decryptor.is_scrypt() { Lock::Passphrase } else { Lock::Recipients })
}

/// Whether the first line names a version we do not know. The library calls other damage an unknown format, too.
fn is_newer(text: &[u8]) -> bool {
    let armoured = text.strip_prefix(BEGIN).and_then(|rest| rest.trim_ascii_start().split(|b| *b == b'\n').next());
    let decoded = armoured.map(|line| STANDARD.decode(line.trim_ascii()).unwrap_or_default());
    let begins = decoded.as_deref().unwrap_or(text);
    begins.starts_with(BINARY) && begins.contains(&b'\n') && !begins.starts_with(VERSION_1)
}

/// Without what an editor or a mail program puts around the armour. A file that is not armoured may end as it likes.
fn body(bytes: &[u8]) -> &[u8] {
    let trimmed = bytes.trim_ascii();
    if trimmed.starts_with(BEGIN) { trimmed } else { bytes }
}

/// The content of the file.
pub fn open(path: &Path, bytes: &[u8], key: &Key) -> Result<Zeroizing<String>, VaultError> {
    let damaged = || VaultError::Damaged { path: path.to_owned() };
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(body(bytes))).map_err(|_| damaged())?;
    let reader = match key {
        Key::Passphrase(passphrase) => {
            let mut identity = scrypt::Identity::new(secret_string(passphrase));
            identity.set_max_work_factor(MOST_WORK);
            decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity))
        }
        Key::Identities(identities) => {
            decryptor.decrypt(identities.iter().map(|identity| identity as &dyn age::Identity))
        }
    };
    let mut reader = reader.map_err(|error| match (error, key) {
        (DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed, Key::Passphrase(_)) => {
            VaultError::WrongPassphrase { path: path.to_owned() }
        }
        (DecryptError::NoMatchingKeys, Key::Identities(_)) => VaultError::WrongIdentity { path: path.to_owned() },
        (DecryptError::ExcessiveWork { .. }, _) => VaultError::Excessive { path: path.to_owned() },
        _ => damaged(),
    })?;
    let mut text = Zeroizing::new(String::new());
    match reader.read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(_) => Err(damaged()),
    }
}

/// The text, encrypted and armoured.
pub fn seal(text: &str, seal: &Seal) -> Result<Vec<u8>, VaultError> {
    let encryptor = match seal {
        Seal::Passphrase(passphrase) => {
            let mut recipient = scrypt::Recipient::new(secret_string(passphrase));
            recipient.set_work_factor(WORK);
            Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
        }
        Seal::Recipients(recipients) => {
            let parsed = recipients.iter().map(|text| text.parse::<x25519::Recipient>());
            let parsed: Vec<_> = parsed.collect::<Result<_, _>>().map_err(|reason| encryption(reason.to_owned()))?;
            Encryptor::with_recipients(parsed.iter().map(|recipient| recipient as &dyn age::Recipient))
        }
    };
    let encryptor = encryptor.map_err(|error| encryption(error.to_string()))?;
    let mut sealed = Vec::new();
    let written = || -> std::io::Result<()> {
        let armour = ArmoredWriter::wrap_output(&mut sealed, Format::AsciiArmor)?;
        let mut writer = encryptor.wrap_output(armour)?;
        writer.write_all(text.as_bytes())?;
        writer.finish()?.finish()?;
        Ok(())
    };
    written().map_err(|error| encryption(error.to_string()))?;
    Ok(sealed)
}

fn encryption(reason: String) -> VaultError {
    VaultError::Encryption { reason }
}

fn secret_string(secret: &Secret) -> SecretString {
    SecretString::from(secret.expose().to_owned())
}
