//! What a site brings along: an authority of its own, or certificates that somebody else has signed. Reads the files that
//! the inventory names, every time; says everything that is wrong with them at once.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::error::Fault;
use super::judge::{self, Needs, Text};
use super::{Authority, AuthorityKey, Pair, PkiError, Purpose, Wanted, read};
use crate::files;
use crate::inventory::{Inventory, Signing};
use crate::names::HostName;
use crate::quote;
use crate::secret::Secret;

/// What was brought, checked.
pub enum Supplied {
    Authority(Authority),
    Certificates { trusted: String, hosts: BTreeMap<HostName, BTreeMap<Purpose, Pair>>, operator: Pair },
}

/// The names of a certificate's file and of its key's; none is this program's own.
pub fn files(wanted: Option<&Wanted>) -> (String, String) {
    let stem = wanted.map_or("operator".to_owned(), |wanted| format!("{}-{}", wanted.host, wanted.purpose));
    (format!("{stem}.pem"), format!("{stem}-key.pem"))
}

/// What the inventory names, if it names anything.
pub fn look(inventory: &Inventory, wanted: &[Wanted], now: Timestamp) -> Result<Option<Supplied>, PkiError> {
    let supplied = match &inventory.tls.signing {
        Signing::Ours => return Ok(None),
        Signing::Authority { certificate, key } => authority(certificate, key, now).map(Supplied::Authority),
        Signing::Elsewhere { trusted, certificates } => elsewhere((trusted, certificates), wanted, now),
    };
    supplied.map(Some).map_err(|faults| PkiError::Supplied { faults })
}

fn authority(certificate: &Path, key: &Path, now: Timestamp) -> Result<Authority, Vec<Fault>> {
    let (text, key_text) = both(public(certificate), private(key))?;
    let text = Text { file: certificate, text: &text };
    let chain = text.certificates().map_err(|fault| vec![fault])?;
    let mut faults = text.chain_of_authorities(&chain, now);
    let key = Text { file: key, text: &key_text };
    faults.extend(chain.first().and_then(|own| key.belongs_to(text, own)));
    if !faults.is_empty() {
        return Err(faults);
    }
    let key = AuthorityKey::Elsewhere(Some(Secret::new(key_text.as_str())));
    Ok(Authority { certificate: pem(&chain), key })
}

fn elsewhere(places: (&Path, &Path), wanted: &[Wanted], now: Timestamp) -> Result<Supplied, Vec<Fault>> {
    let (trusted, directory) = places;
    let text = public(trusted).map_err(|fault| vec![fault])?;
    let text = Text { file: trusted, text: &text };
    let authorities = text.certificates().map_err(|fault| vec![fault])?;
    let mut faults = text.authorities(&authorities, now);
    let load = |wanted: Option<&Wanted>| {
        let (certificate, key) = files(wanted);
        let (certificate, key) = (directory.join(certificate), directory.join(key));
        let (text, key_text) = both(public(&certificate), private(&key))?;
        let needs = wanted.map_or_else(Needs::of_operator, Needs::of);
        let texts = (Text { file: &certificate, text: &text }, Text { file: &key, text: &key_text });
        judge::pair(texts, &needs, &authorities, now)
    };
    let mut hosts: BTreeMap<HostName, BTreeMap<Purpose, Pair>> = BTreeMap::new();
    for one in wanted {
        match load(Some(one)) {
            Ok(pair) => _ = hosts.entry(one.host.clone()).or_default().insert(one.purpose, pair),
            Err(found) => faults.extend(found),
        }
    }
    match load(None) {
        Ok(operator) if faults.is_empty() => Ok(Supplied::Certificates { trusted: pem(&authorities), hosts, operator }),
        Ok(_) => Err(faults),
        Err(found) => Err(faults.into_iter().chain(found).collect()),
    }
}

fn pem(chain: &[read::Read]) -> String {
    chain.iter().map(|one| read::pem(&one.der)).collect()
}

/// Both, or everything that is wrong with either.
fn both<A, B>(one: Result<A, Fault>, other: Result<B, Fault>) -> Result<(A, B), Vec<Fault>> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => Err(one.err().into_iter().chain(other.err()).collect()),
    }
}

fn public(file: &Path) -> Result<String, Fault> {
    files::read_text(file).map_err(|error| unreadable(file, &error))
}

/// A key that others can read is nobody's secret any more.
fn private(file: &Path) -> Result<Zeroizing<String>, Fault> {
    let mode = std::fs::metadata(file).map_err(|error| unreadable(file, &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        let what = format!("holds a private key and has mode {:04o}: others can read it", mode & 0o7777);
        let help = format!("`chmod 600 {}`, and have a new one made if others could log in here", quote::path(file));
        return Err(Fault { file: file.to_owned(), what, help });
    }
    files::read_text(file).map(Zeroizing::new).map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &std::io::Error) -> Fault {
    let help = match error.kind() {
        std::io::ErrorKind::NotFound => "`xnat-provision certs wanted` lists every file that is needed".to_owned(),
        _ => format!("see `ls -l {}`", quote::path(file)),
    };
    Fault { file: PathBuf::from(file), what: format!("cannot be read: {error}"), help }
}
