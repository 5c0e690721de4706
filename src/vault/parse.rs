//! The text in the vault, both ways. The errors of the TOML parser quote the text, so they are not passed on; only their
//! place is.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use miette::NamedSource;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::error::{BadContent, Problem, VaultError};
use super::rotation::{self, Rotation};
use super::secrets::{PLACEHOLDER, SHORTEST, Secrets, unusable};
use crate::pki::Pki;
use crate::secret::Secret;

/// The table with the certificates.
const PKI: &str = "pki";
/// The table with new passwords that are under way.
const ROTATION: &str = "rotation";
/// Who can open the vault.
const RECIPIENTS: &str = "recipients";

/// What is in a vault.
#[derive(Clone, Debug)]
pub struct Content {
    /// Placeholders for those that are kept elsewhere.
    pub secrets: Secrets,
    /// For whom it was encrypted: kept in it, so that whoever writes it locks out nobody.
    pub recipients: Vec<String>,
}

/// Read the content, or say everything that is wrong with it. Passwords kept `elsewhere` need not be there.
pub fn parse(path: &Path, text: &str, elsewhere: &BTreeSet<&str>) -> Result<Content, VaultError> {
    let mut missing = Vec::new();
    let mut problems = Vec::new();
    match DeTable::parse(text) {
        Ok(table) => {
            let table = table.get_ref();
            problems = self::problems(table, elsewhere);
            missing.extend(Secrets::names().filter(|name| !table.contains_key(*name) && !elsewhere.contains(name)));
            if problems.is_empty() && missing.is_empty() {
                match content(table, text, elsewhere) {
                    Some(content) => return Ok(content),
                    None => problems.push(spoilt(table, text)),
                }
            }
        }
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            problems.push(Problem { what: "this is not TOML: is a quote missing?".to_owned(), span });
        }
    }
    let masked = NamedSource::new(path.display().to_string(), mask(text));
    Err(VaultError::Content(Box::new(BadContent { path: path.to_owned(), missing, problems, masked })))
}

/// Which of the tables that only this program writes is not as it wrote it.
fn spoilt(table: &DeTable<'_>, text: &str) -> Problem {
    let (what, name) = match pki(text) {
        None => ("the certificates in this table are not as this program wrote them", PKI),
        Some(_) => ("the new passwords in this table are not as this program wrote them", ROTATION),
    };
    Problem { what: what.to_owned(), span: place_of(table, name) }
}

fn place_of(table: &DeTable<'_>, name: &str) -> std::ops::Range<usize> {
    table.get_key_value(name).map_or(0..0, |(key, _)| key.span())
}

fn content(table: &DeTable<'_>, text: &str, elsewhere: &BTreeSet<&str>) -> Option<Content> {
    let value = |name: &str| match elsewhere.contains(name) {
        true => Some(PLACEHOLDER),
        false => table.get(name).and_then(|value| value.get_ref().as_str()),
    };
    let secrets = Secrets::try_each(|name| value(name).map(Secret::new).ok_or(())).ok()?;
    let recipients = table.get(RECIPIENTS).and_then(|value| value.get_ref().as_array()).into_iter().flatten();
    let recipients = recipients.filter_map(|one| one.get_ref().as_str().map(str::to_owned)).collect();
    Some(Content { secrets: Secrets { pki: pki(text)?, rotation: rotation(text)?, ..secrets }, recipients })
}

/// The certificates; none when what stands there is not what [`write`] wrote.
fn pki(text: &str) -> Option<Pki> {
    let mut table: toml::Table = text.parse().ok()?;
    match table.remove(PKI) {
        None => Some(Pki::default()),
        Some(toml::Value::Table(table)) => Pki::from_table(table).ok(),
        Some(_) => None,
    }
}

/// The same of a rotation.
fn rotation(text: &str) -> Option<Option<Rotation>> {
    let table: toml::Table = text.parse().ok()?;
    match table.get(ROTATION) {
        None => Some(None),
        Some(found) => rotation::from_table(found.as_table()?).map(Some),
    }
}

fn problems(table: &DeTable<'_>, elsewhere: &BTreeSet<&str>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, value) in table.iter() {
        let known = name.get_ref().as_ref();
        let wrong = match known {
            PKI | ROTATION => None,
            RECIPIENTS => wrong_recipients(value.get_ref()).map(|what| (what, value.span())),
            _ if elsewhere.contains(known) => None,
            _ if Secrets::names().any(|name| name == known) => {
                wrong_value(known, value.get_ref()).map(|what| (what, value.span()))
            }
            // An unknown name is not repeated: it may be a password on the wrong side of the `=`.
            _ => Some(("this name is not known".to_owned(), name.span())),
        };
        problems.extend(wrong.map(|(what, span)| Problem { what, span }));
    }
    problems.sort_by_key(|problem| problem.span.start);
    problems
}

fn wrong_value(name: &str, value: &DeValue<'_>) -> Option<String> {
    match value.as_str() {
        Some(text) => unusable(name, text),
        None => Some("this must be a text in quotes".to_owned()),
    }
}

fn wrong_recipients(value: &DeValue<'_>) -> Option<String> {
    let is_recipient = |one: &toml::Spanned<DeValue<'_>>| {
        one.get_ref().as_str().is_some_and(|text| text.parse::<age::x25519::Recipient>().is_ok())
    };
    let good = value.as_array().is_some_and(|all| all.iter().all(is_recipient));
    (!good).then(|| "this must be a list of age recipients".to_owned())
}

/// The text with everything but known names and the shape of lines made unreadable. Keeps every byte's place, so that
/// spans still point where they should.
fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let name = line.split('=').next().unwrap_or_default();
        let known = line.contains('=') && Secrets::names().any(|known| known == name.trim());
        let shown = if known { name.len() + 1 } else { 0 };
        masked.push_str(&line[..shown]);
        for c in line[shown..].chars() {
            match c {
                ' ' | '\n' | '\r' | '\t' | '=' => masked.push(c),
                _ => (0..c.len_utf8()).for_each(|_| masked.push('*')),
            }
        }
    }
    masked
}

/// The text to keep, without passwords that are kept `elsewhere`.
pub fn write(content: &Content, cluster: &str, elsewhere: &BTreeSet<&str>) -> Result<Zeroizing<String>, VaultError> {
    let mut text = Zeroizing::new(format!(
        "# The passwords and certificates of the PostgreSQL cluster \"{cluster}\", made by xnat-provision.\n\
         # Who can read this is master of the database: keep it in your backup - without it nobody can change the cluster\n\
         # any more - and out of every other place. Change it with `xnat-provision vault set` or `vault edit`.\n\
         # A password has at least {SHORTEST} characters.\n"
    ));
    let kept = content.secrets.each().zip(Secrets::USES).filter(|((name, _), _)| !elsewhere.contains(name));
    for ((name, secret), (_, used_for)) in kept {
        let value = Zeroizing::new(toml::Value::from(secret.expose()).to_string());
        // Writing into a String cannot fail.
        write!(text, "\n# {used_for}\n{name} = {}\n", value.as_str()).ok();
    }
    if !content.recipients.is_empty() {
        let list = toml::Value::from(content.recipients.clone());
        write!(
            text,
            "\n# Who can open it; `xnat-provision vault rekey` makes this list anew.\n{RECIPIENTS} = {list}\n"
        )
        .ok();
    }
    if let Some(rotation) = &content.secrets.rotation {
        let table = toml::Table::from_iter([(ROTATION.to_owned(), rotation::to_table(rotation).into())]);
        let text_of = Zeroizing::new(table.to_string());
        write!(text, "\n# New passwords that are under way; `xnat-provision secrets rotate` goes on.\n{}", *text_of)
            .ok();
    }
    let pki = &content.secrets.pki;
    if !pki.is_empty() {
        let table = pki.to_table().map_err(|error| VaultError::Encryption { reason: error.to_string() })?;
        let table = toml::Table::from_iter([(PKI.to_owned(), toml::Value::Table(table))]);
        write!(text, "\n# The private authority and the certificates it has signed.\n{table}").ok();
    }
    Ok(text)
}
