//! Files on the disk: what is secret is read only when nobody else can read it, and every file is there complete or not at
//! all. What is replaced is kept beside it, because a lost authority is a disaster.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::error::VaultError;
use crate::files;

/// Who may be able to read a file for it to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// It is plain text.
    Owner,
    /// It is encrypted.
    Anyone,
}

/// The content of a file; none when there is no file. A symbolic link is followed, for the sites that keep secrets on an
/// encrypted disk: what counts is the mode of what it leads to.
pub fn read(path: &Path, readers: Readers) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
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
    if readers == Readers::Owner && mode & 0o077 != 0 {
        return Err(VaultError::Mode { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// The same as text.
pub fn read_text(path: &Path, readers: Readers) -> Result<Option<Zeroizing<String>>, VaultError> {
    let Some(bytes) = read(path, readers)? else { return Ok(None) };
    let text = std::str::from_utf8(&bytes).map_err(|_| VaultError::NotText { path: path.to_owned() })?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

/// Make the file, of mode 0600 from its first byte. One that is there, even a link, is left alone.
pub fn create(path: &Path, content: &[u8]) -> Result<(), VaultError> {
    let failed = |source| VaultError::Write { path: path.to_owned(), source };
    written(path, content)?.persist_noclobber(path).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => VaultError::Exists { path: path.to_owned() },
        _ => failed(error.error),
    })?;
    sync_directory(path)
}

/// Put a new content in the place of `former`, which is kept as [`old`]: at every moment the file is the one or the other.
/// What a link leads to is replaced, not the link. Refused when the file is not `former` any more.
pub fn replace(path: &Path, content: &[u8], former: &[u8]) -> Result<(), VaultError> {
    let failed = |source| VaultError::Write { path: path.to_owned(), source };
    if read(path, Readers::Anyone)?.is_none_or(|now| now.as_slice() != former) {
        return Err(VaultError::Changed { path: path.to_owned() });
    }
    let path = fs::canonicalize(path).map_err(failed)?;
    let old = old(&path);
    written(&old, former)?.persist(&old).map_err(|error| failed(error.error))?;
    written(&path, content)?.persist(&path).map_err(|error| failed(error.error))?;
    sync_directory(&path)
}

/// Where the version before the present one is kept.
pub fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    PathBuf::from(name)
}

/// Remove a file that is needed no more; one that is not there is fine.
pub fn remove(path: &Path) -> Result<(), VaultError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(VaultError::Write { path: path.to_owned(), source: error })
        }
        _ => sync_directory(path),
    }
}

/// Give a file another name, in the place of what has that name.
pub fn rename(from: &Path, to: &Path) -> Result<(), VaultError> {
    fs::rename(from, to).map_err(|source| VaultError::Write { path: to.to_owned(), source })?;
    sync_directory(to)
}

fn written(path: &Path, content: &[u8]) -> Result<tempfile::NamedTempFile, VaultError> {
    files::beside(path, content).map_err(|source| VaultError::Write { path: path.to_owned(), source })
}

/// The name is on the disk, too, before a host is told a password.
fn sync_directory(path: &Path) -> Result<(), VaultError> {
    let failed = |source| VaultError::Write { path: path.to_owned(), source };
    File::open(files::directory(path)).and_then(|directory| directory.sync_all()).map_err(failed)
}
