//! The file for clients: the authorities whose certificates the database shows. Public, beside the inventory.

use std::path::{Path, PathBuf};

use crate::error::{Exit, Fails};
use crate::files;
use crate::inventory::Inventory;
use crate::pki::Pki;
use crate::quote;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot write {}, which clients verify the database with", path.display())]
#[diagnostic(
    code(xnat::handout::write),
    help(
        "see whether there is space and who may write there: `ls -ld {0}; df {0}`",
        quote::path(files::directory(path))
    )
)]
pub struct HandoutError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl Fails for HandoutError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// `xnat.toml` has `xnat.ca.pem`.
pub fn path(inventory: &Path) -> PathBuf {
    inventory.with_extension("ca.pem")
}

/// Write it where it is missing or old.
pub fn write(inventory: &Inventory, pki: &Pki) -> Result<(), HandoutError> {
    let path = path(&inventory.path);
    let text = pki.trusted();
    if !inventory.tls.enabled || std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    files::publish(&path, &text).map_err(|source| HandoutError { path, source })
}
