//! The text of the secrets file, both ways. The errors of the TOML parser quote the text, so they are not passed on;
//! only their place is.

use std::fmt::Write as _;
use std::path::Path;

use miette::NamedSource;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::error::{BadContent, Problem, VaultError};
use super::{PLACEHOLDER, SHORTEST, Secrets};
use crate::pki::Pki;
use crate::secret::Secret;

/// The table with the certificates.
const PKI: &str = "pki";

/// Read the secrets, or say everything that is wrong with them.
pub fn parse(path: &Path, text: &str) -> Result<Secrets, VaultError> {
    let mut missing = Vec::new();
    let problems = match DeTable::parse(text) {
        Ok(table) => {
            let problems = problems(table.get_ref());
            missing.extend(Secrets::names().filter(|name| !table.get_ref().contains_key(*name)));
            let value = |name: &str| table.get_ref().get(name).and_then(|value| value.get_ref().as_str());
            if problems.is_empty()
                && missing.is_empty()
                && let Ok(secrets) = Secrets::try_each(|name| value(name).map(Secret::new).ok_or(()))
                && let Some(pki) = pki(text)
            {
                return Ok(Secrets { pki, ..secrets });
            }
            problems
        }
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            vec![Problem { what: "this is not TOML: is a quote missing?".to_owned(), span }]
        }
    };
    let masked = NamedSource::new(path.display().to_string(), mask(text));
    Err(VaultError::Content(Box::new(BadContent { path: path.to_owned(), missing, problems, masked })))
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

fn problems(table: &DeTable<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, value) in table.iter().filter(|(name, _)| name.get_ref() != PKI) {
        // An unknown name is not repeated: it may be a password on the wrong side of the `=`.
        let wrong = if Secrets::names().any(|known| known == name.get_ref()) {
            wrong_value(value.get_ref()).map(|what| (what, value.span()))
        } else {
            Some(("this name is not known".to_owned(), name.span()))
        };
        problems.extend(wrong.map(|(what, span)| Problem { what, span }));
    }
    problems.sort_by_key(|problem| problem.span.start);
    problems
}

fn wrong_value(value: &DeValue<'_>) -> Option<String> {
    let Some(text) = value.as_str() else { return Some("this must be a text in quotes".to_owned()) };
    if text == PLACEHOLDER {
        return Some("this is the text that stands for a password, not a password".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Some("this has a control character in it, such as a line break".to_owned());
    }
    let length = text.chars().count();
    (length < SHORTEST).then(|| format!("this has {length} characters; {SHORTEST} is the least"))
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

/// The text of a new file.
pub fn write(secrets: &Secrets, cluster: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(format!(
        "# The passwords of the PostgreSQL cluster \"{cluster}\", made by xnat-provision.\n\
         # Who can read this file is master of the database: keep it at mode 0600, out of version control, and in your\n\
         # backup - without it nobody can change the cluster any more. xnat-provision never writes to it again.\n\
         # A password of your own: put it between the quotes before the first apply; at least {SHORTEST} characters.\n"
    ));
    for ((name, secret), (_, used_for)) in secrets.each().zip(Secrets::USES) {
        let value = Zeroizing::new(toml::Value::from(secret.expose()).to_string());
        // Writing into a String cannot fail.
        write!(text, "\n# {used_for}\n{name} = {}\n", value.as_str()).ok();
    }
    if let Some(table) = Some(&secrets.pki).filter(|pki| !pki.is_empty()).and_then(|pki| pki.to_table().ok()) {
        let table = toml::Table::from_iter([(PKI.to_owned(), toml::Value::Table(table))]);
        write!(text, "\n# The private authority and the certificates it has signed.\n{table}").ok();
    }
    text
}
