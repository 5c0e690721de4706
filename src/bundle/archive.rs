//! The file itself: a tar under zstd, `manifest.json` first, its signature second, then everything the manifest lists,
//! in its order. No owners and no times, so that the same content is the same bytes. Reading one checks every byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use tar::{Archive, Builder, EntryType, Header};
use zstd::{Decoder, Encoder};

use super::error::{BundleError, OnPath as _};
use super::manifest::{FORMAT, Listed, Manifest};
use super::offer::INDEX;
use super::sign::{Signer, Trusted};
use crate::digest::{measure, sha256};

const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.json.minisig";
/// Packages are compressed already; the rest is text and one program.
const LEVEL: i32 = 6;
/// 1980: tar(1) wonders about older ones.
const TIME: u64 = 315_532_800;
/// A manifest lists some hundred packages.
const MOST: u64 = 64 << 20;

/// A file of a bundle to be.
pub struct Part {
    pub path: String,
    pub content: Content,
    /// It can be run once it is unpacked.
    pub program: bool,
}

pub enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Content {
    fn open(&self) -> Result<Box<dyn Read + '_>, BundleError> {
        match self {
            Self::Bytes(bytes) => Ok(Box::new(bytes.as_slice())),
            Self::File(path) => Ok(Box::new(File::open(path).on("read", path)?)),
        }
    }

    /// How long it is, and its digest.
    pub fn measure(&self) -> Result<(u64, String), BundleError> {
        let path = match self {
            Self::Bytes(_) => Path::new("memory"),
            Self::File(path) => path,
        };
        measure(&mut self.open()?).on("read", path)
    }
}

/// Write a bundle, whole or not at all. `manifest.files` becomes the list of the parts.
pub fn write(
    path: &Path,
    mut manifest: Manifest,
    mut parts: Vec<Part>,
    signer: Option<&Signer>,
) -> Result<Manifest, BundleError> {
    parts.sort_by(|a, b| a.path.cmp(&b.path));
    let listed = parts.iter().map(|part| {
        let (bytes, sha256) = part.content.measure()?;
        Ok(Listed { path: part.path.clone(), bytes, sha256 })
    });
    manifest.files = listed.collect::<Result<_, BundleError>>()?;
    let text = text(&manifest);
    let directory = crate::files::directory(path);
    let mut file = tempfile::Builder::new().prefix(".xnat-").tempfile_in(directory).on("write in", directory)?;
    let mut encoder = Encoder::new(BufWriter::new(file.as_file_mut()), LEVEL).on("write", path)?;
    encoder.include_checksum(true).on("write", path)?;
    let mut tar = Builder::new(encoder);
    append(&mut tar, MANIFEST, (text.len() as u64, 0o644), text.as_bytes()).on("write", path)?;
    if let Some(signer) = signer {
        let signature = signer.sign(text.as_bytes(), &format!("xnat-provision bundle for {}", manifest.target));
        let signature = signature.map_err(|reason| BundleError::Signature { path: path.to_owned(), reason })?;
        append(&mut tar, SIGNATURE, (signature.len() as u64, 0o644), signature.as_bytes()).on("write", path)?;
    }
    for (part, listed) in parts.iter().zip(&manifest.files) {
        let mode = if part.program { 0o755 } else { 0o644 };
        append(&mut tar, &part.path, (listed.bytes, mode), part.content.open()?).on("write", path)?;
    }
    let encoder = tar.into_inner().on("write", path)?;
    encoder.finish().and_then(|mut inner| inner.flush()).on("write", path)?;
    file.as_file().sync_all().on("write", path)?;
    crate::files::readable(file.as_file()).on("write", path)?;
    file.persist(path).map_err(|error| error.error).on("write", path)?;
    Ok(manifest)
}

fn text(manifest: &Manifest) -> String {
    serde_json::to_string_pretty(manifest).expect("a manifest is plain data") + "\n"
}

fn append(tar: &mut Builder<impl Write>, path: &str, (bytes, mode): (u64, u32), content: impl Read) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(bytes);
    header.set_mode(mode);
    header.set_mtime(TIME);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, path, content)
}

/// A bundle whose every byte is as its manifest says.
#[derive(Clone, Debug)]
pub struct Opened {
    pub path: PathBuf,
    pub manifest: Manifest,
    /// Of the manifest: names the bundle.
    pub sha256: String,
    /// As it stands in the file.
    pub signature: Option<String>,
    /// The index of its packages.
    pub index: String,
}

impl Opened {
    /// Read it to its end and check everything; with a key, who made it too.
    pub fn check(path: &Path, key: Option<&Trusted>) -> Result<Self, BundleError> {
        let mut index = Vec::new();
        let opened = read(path, key, |_, listed, content| {
            let found = if listed.path == INDEX {
                content.read_to_end(&mut index).map(|bytes| (bytes as u64, sha256(&index)))
            } else {
                measure(content)
            };
            let found = found.map_err(|error| format!("{}: {error}", listed.path))?;
            as_listed(listed, found == (listed.bytes, listed.sha256.clone()))
        })?;
        let not_text = |_| BundleError::Damaged { path: path.to_owned(), what: format!("{INDEX} is not text") };
        Ok(Self { index: String::from_utf8(index).map_err(not_text)?, ..opened })
    }

    /// The wanted files one after the other, in the order they are in.
    pub fn take(
        &self,
        wanted: &BTreeSet<String>,
        mut each: impl FnMut(&str, Vec<u8>) -> Result<(), String>,
    ) -> Result<(), BundleError> {
        read(&self.path, None, |now, listed, content| {
            if now.sha256 != self.sha256 {
                return Err("it was exchanged while it was in use".to_owned());
            }
            if !wanted.contains(&listed.path) {
                return Ok(());
            }
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).map_err(|error| format!("{}: {error}", listed.path))?;
            as_listed(listed, listed.sha256 == sha256(&bytes))?;
            each(&listed.path, bytes)
        })
        .map(drop)
    }
}

fn as_listed(listed: &Listed, is: bool) -> Result<(), String> {
    if is { Ok(()) } else { Err(format!("{} is not as its manifest says", listed.path)) }
}

/// From the first byte of the file to the last: the manifest, its signature where there is one, and then every file that
/// is listed, once, and no other. What is in a file is for `work` to judge.
fn read(
    path: &Path,
    key: Option<&Trusted>,
    mut work: impl FnMut(&Opened, &Listed, &mut dyn Read) -> Result<(), String>,
) -> Result<Opened, BundleError> {
    let damaged = |what: String| BundleError::Damaged { path: path.to_owned(), what };
    let decoder = Decoder::new(File::open(path).on("open", path)?).on("read", path)?;
    let mut tar = Archive::new(decoder);
    let mut entries = tar.entries().map_err(|error| damaged(error.to_string()))?;
    let text = beginning(entries.next()).map_err(|reason| BundleError::NotOne { path: path.to_owned(), reason })?;
    let (manifest, sha256) = (parse(&text, path)?, sha256(&text));
    let mut left: BTreeMap<String, Listed> = manifest.files.iter().map(|it| (it.path.clone(), it.clone())).collect();
    let mut opened = Opened { path: path.to_owned(), manifest, sha256, signature: None, index: String::new() };
    let mut vouched = false;
    for (number, entry) in entries.enumerate() {
        let mut entry = entry.map_err(|error| damaged(error.to_string()))?;
        let name = name(&entry).map_err(damaged)?;
        if number == 0 && name == SIGNATURE {
            opened.signature = Some(read_text(entry).map_err(damaged)?);
            continue;
        }
        if !vouched {
            vouch(key, &text, &opened)?;
            vouched = true;
        }
        let listed = left.remove(&name).ok_or_else(|| damaged(unexpected(&name, &opened.manifest)))?;
        work(&opened, &listed, &mut entry).map_err(damaged)?;
    }
    if !vouched {
        vouch(key, &text, &opened)?;
    }
    if let Some(missing) = left.into_keys().next() {
        return Err(damaged(format!("{missing} is missing")));
    }
    let mut rest = Vec::new();
    tar.into_inner().take(MOST).read_to_end(&mut rest).map_err(|error| damaged(error.to_string()))?;
    match rest.iter().all(|byte| *byte == 0) {
        true => Ok(opened),
        false => Err(damaged("something follows its end".to_owned())),
    }
}

/// The text of the manifest.
fn beginning<R: Read>(first: Option<io::Result<tar::Entry<'_, R>>>) -> Result<String, String> {
    let first = first.ok_or_else(|| "it is empty".to_owned())?.map_err(|error| error.to_string())?;
    if name(&first) != Ok(MANIFEST.to_owned()) {
        return Err("it does not begin with a manifest".to_owned());
    }
    read_text(first)
}

fn unexpected(name: &str, manifest: &Manifest) -> String {
    match manifest.files.iter().any(|listed| listed.path == name) {
        true => format!("{name} is in it twice"),
        false => format!("{name} is in it, and its manifest does not list it"),
    }
}

/// Whether whoever is trusted has signed it.
fn vouch(key: Option<&Trusted>, text: &str, opened: &Opened) -> Result<(), BundleError> {
    let Some(key) = key else { return Ok(()) };
    let signed = match &opened.signature {
        Some(signature) => key.check(text.as_bytes(), signature),
        None => Err("it is not signed at all".to_owned()),
    };
    signed.map_err(|reason| BundleError::Signature { path: opened.path.clone(), reason })
}

fn parse(text: &str, path: &Path) -> Result<Manifest, BundleError> {
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
        made_by: String,
    }
    let bad = |error: serde_json::Error| BundleError::NotOne { path: path.to_owned(), reason: error.to_string() };
    let Version { format, made_by } = serde_json::from_str(text).map_err(bad)?;
    if format > FORMAT {
        return Err(BundleError::Newer { path: path.to_owned(), made_by, format });
    }
    serde_json::from_str(text).map_err(bad)
}

fn read_text(entry: tar::Entry<'_, impl Read>) -> Result<String, String> {
    let mut text = String::new();
    entry.take(MOST).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// Only plain files with plain names belong into a bundle.
fn name<R: Read>(entry: &tar::Entry<'_, R>) -> Result<String, String> {
    let path = entry.path().map_err(|error| error.to_string())?;
    let name = path.to_str().unwrap_or_default().to_owned();
    let plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    match plain && !name.is_empty() && entry.header().entry_type() == EntryType::Regular {
        true => Ok(name),
        false => Err(format!("{} does not belong into it", path.display())),
    }
}
