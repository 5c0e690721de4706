//! What somebody who is to help needs to see, as one archive without secrets. Whatever goes into it goes through
//! [`Bundle::add`], which masks it; the manifest says where each file comes from, and what could not be had.

pub mod host;
pub mod services;

use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde::Serialize;

use crate::digest::sha256;
use crate::report::Redactor;
use crate::version;

/// So much of one file is taken: the end, where it is a log.
pub const MOST: usize = 4 << 20;

pub struct Bundle {
    redactor: Redactor,
    files: Vec<(String, String)>,
    pub manifest: Manifest,
}

/// What is in the archive. Also the last of its files.
#[derive(Debug, Serialize)]
pub struct Manifest {
    pub cluster: String,
    pub made: Timestamp,
    /// Of this program.
    pub version: String,
    pub secrets: String,
    pub files: Vec<Listed>,
    pub missing: Vec<Missing>,
}

#[derive(Debug, Serialize)]
pub struct Listed {
    pub path: String,
    pub source: String,
    pub bytes: usize,
    pub sha256: String,
}

#[derive(Debug, Serialize)]
pub struct Missing {
    pub what: String,
    pub why: String,
}

impl Bundle {
    /// `secrets` says how much is masked.
    pub fn new(cluster: &str, redactor: &Redactor, secrets: String) -> Self {
        let (cluster, version) = (cluster.to_owned(), version::PROGRAM.to_owned());
        let (files, missing) = (Vec::new(), Vec::new());
        let manifest = Manifest { cluster, made: Timestamp::now(), version, secrets, files, missing };
        Self { redactor: redactor.clone(), files: Vec::new(), manifest }
    }

    /// One more file, and where it comes from.
    pub fn add(&mut self, path: &str, source: &str, text: &str) {
        let text = self.masked(text);
        let (source, bytes) = (self.masked(source), text.len());
        self.manifest.files.push(Listed { path: path.to_owned(), source, bytes, sha256: sha256(&text) });
        self.files.push((path.to_owned(), text));
    }

    /// Something that belongs into it and could not be had.
    pub fn miss(&mut self, what: &str, why: &str) {
        let (what, why) = (self.masked(what), self.masked(why));
        self.manifest.missing.push(Missing { what, why });
    }

    /// A gzipped tar of one directory, which only its owner can read once it is unpacked.
    pub fn archive(&self) -> io::Result<Vec<u8>> {
        let manifest = serde_json::to_string_pretty(&self.manifest)? + "\n";
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        let time = u64::try_from(self.manifest.made.as_second()).unwrap_or(0);
        let manifest = ("manifest.json".to_owned(), manifest);
        for (path, text) in self.files.iter().chain([&manifest]) {
            let mut header = tar::Header::new_gnu();
            header.set_size(u64::try_from(text.len()).map_err(io::Error::other)?);
            header.set_mode(0o600);
            header.set_mtime(time);
            tar.append_data(&mut header, format!("{}/{path}", self.name()), text.as_bytes())?;
        }
        tar.into_inner()?.finish()
    }

    /// Of the directory in the archive, and of the archive.
    pub fn name(&self) -> String {
        format!("{}-support-{}", self.manifest.cluster, self.manifest.made.strftime("%Y%m%dT%H%M%SZ"))
    }

    fn masked(&self, text: &str) -> String {
        without_logins(&self.redactor.clean(text))
    }
}

/// Proxies and mirrors have passwords in their URLs, which no vault knows of: `http://user:password@proxy`.
fn without_logins(text: &str) -> String {
    let mut parts = text.split("://");
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        all.push_str("://");
        let end = part.find(|c: char| c.is_whitespace() || "/\"'<>,;?#".contains(c)).unwrap_or(part.len());
        match part[..end].rfind('@') {
            Some(at) => all.push_str(&format!("***{}", &part[at..])),
            None => all.push_str(part),
        }
    }
    all
}

/// An inventory without the commands that print secrets, which may name one themselves.
pub fn inventory(text: &str) -> Result<String, toml_edit::TomlError> {
    let mut document: toml_edit::DocumentMut = text.parse()?;
    if let Some(vault) = document.get_mut("vault").and_then(toml_edit::Item::as_table_like_mut) {
        mask(vault, "passphrase_command");
    }
    let secrets = document.get_mut("secrets").and_then(toml_edit::Item::as_table_like_mut);
    for (_, secret) in secrets.into_iter().flat_map(|table| table.iter_mut()) {
        if let Some(reference) = secret.as_table_like_mut() {
            mask(reference, "command");
        }
    }
    Ok(document.to_string())
}

fn mask(table: &mut dyn toml_edit::TableLike, key: &str) {
    if table.contains_key(key) {
        table.insert(key, toml_edit::value("***"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_in_urls_are_masked_and_nothing_else() {
        let masked = without_logins("a http://me:se@cret@proxy:3128/x b \"https://deb/~me@x\" jdbc://h1,h2");
        assert_eq!(masked, "a http://***@proxy:3128/x b \"https://deb/~me@x\" jdbc://h1,h2");
    }

    #[test]
    fn commands_that_print_secrets_are_not_shown() {
        let text = "[vault]\npassphrase_command = \"echo a\" # b\n[secrets]\nrest_api = { command = \"echo c\" }\nsuperuser = { env = \"D\" }\n[secrets.rewind]\ncommand = 'echo e'\n";
        let shown = inventory(text).expect("TOML");
        assert!(!shown.contains("echo"), "{shown}");
        assert!(shown.contains("env = \"D\""), "{shown}");
    }
}
