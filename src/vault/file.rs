//! The secrets file on the disk: read only when nobody else can, made once, complete or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::error::VaultError;

/// The text of the file; none when there is no file. A symbolic link is followed, for the sites that keep secrets on an
/// encrypted disk: what counts is the mode of what it leads to.
pub fn read(path: &Path) -> Result<Option<Zeroizing<String>>, VaultError> {
    let failed = |source| VaultError::Read { path: path.to_owned(), source };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if path.is_symlink() { Err(VaultError::Dangling { path: path.to_owned() }) } else { Ok(None) };
        }
        Err(error) => return Err(failed(error)),
        // Asked before it is opened, because opening a pipe would wait.
        Ok(metadata) if !metadata.is_file() => return Err(VaultError::NotAFile { path: path.to_owned() }),
        Ok(_) => {}
    }
    let mut file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(VaultError::Mode { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.read_to_end(&mut bytes).map_err(failed)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| VaultError::NotText { path: path.to_owned() })?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

/// Make the file, of mode 0600 from its first byte. One that is there, even a link, is left alone.
pub fn create(path: &Path, text: &str) -> Result<(), VaultError> {
    let failed = |source| VaultError::Write { path: path.to_owned(), source };
    written(path, text)?.persist_noclobber(path).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => VaultError::Exists { path: path.to_owned() },
        _ => failed(error.error),
    })?;
    sync_directory(path)
}

/// Put a new text in the place of the old one: at every moment the file is the one or the other. What a link leads to is
/// replaced, not the link.
pub fn replace(path: &Path, text: &str) -> Result<(), VaultError> {
    let failed = |source| VaultError::Write { path: path.to_owned(), source };
    let path = fs::canonicalize(path).map_err(failed)?;
    written(&path, text)?.persist(&path).map_err(|error| failed(error.error))?;
    sync_directory(&path)
}

/// The whole text in a temporary file of the same directory. tempfile's files have mode 0600.
fn written(path: &Path, text: &str) -> Result<tempfile::NamedTempFile, VaultError> {
    let failed = |source| VaultError::Write { path: path.to_owned(), source };
    let mut file = tempfile::Builder::new().prefix(".secrets-").tempfile_in(directory(path)).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    Ok(file)
}

/// The name is on the disk, too, before a host is told a password.
fn sync_directory(path: &Path) -> Result<(), VaultError> {
    let failed = |source| VaultError::Write { path: path.to_owned(), source };
    File::open(directory(path)).and_then(|directory| directory.sync_all()).map_err(failed)
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
