//! An inventory that says something else than its file, until it is kept.

use std::io;
use std::path::{Path, PathBuf};

use similar::TextDiff;

use super::Failure;
use crate::error::{Exit, Fails};
use crate::files;
use crate::inventory::InventoryErrors;
use crate::quote;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum RevisionError {
    #[error("{} was changed by somebody else meanwhile; nothing was written, and no host was changed", path.display())]
    #[diagnostic(code(xnat::inventory::changed), help("look at it, and run the same command again"))]
    Changed { path: PathBuf },
    #[error("cannot write {}", path.display())]
    #[diagnostic(
        code(xnat::inventory::write),
        help("see `ls -ld {} {}`", quote::path(path), quote::path(files::directory(path)))
    )]
    Unwritten { path: PathBuf, source: io::Error },
}

impl Fails for RevisionError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

pub(super) struct Revision {
    pub path: PathBuf,
    pub old: String,
    pub new: String,
}

impl Revision {
    /// The file itself, since what is named may be a link to it, and its text.
    pub fn read(path: &Path) -> Result<(PathBuf, String), InventoryErrors> {
        let unreadable = |source| InventoryErrors::Unreadable { path: path.to_owned(), source };
        let file = std::fs::canonicalize(path).map_err(unreadable)?;
        let text = files::read_text(&file).map_err(unreadable)?;
        Ok((file, text))
    }

    /// For a person, before the plan.
    pub fn told(&self) -> String {
        let difference = TextDiff::from_lines(&self.old, &self.new).unified_diff().context_radius(2).to_string();
        format!("{} becomes:\n{difference}\n", self.path.display())
    }

    pub fn keep(&self) -> Result<(), Failure> {
        Ok(self.kept()?)
    }

    /// One that is kept already may be kept again.
    pub fn kept(&self) -> Result<(), RevisionError> {
        let failed = |source| RevisionError::Unwritten { path: self.path.clone(), source };
        let text = files::read_text(&self.path).map_err(failed)?;
        if text == self.new {
            return Ok(());
        }
        if text != self.old {
            return Err(RevisionError::Changed { path: self.path.clone() });
        }
        self.write().map_err(failed)
    }

    fn write(&self) -> io::Result<()> {
        let file = files::beside(&self.path, self.new.as_bytes())?;
        file.as_file().set_permissions(std::fs::metadata(&self.path)?.permissions())?;
        file.persist(&self.path)?;
        std::fs::File::open(files::directory(Path::new(&self.path)))?.sync_all()
    }
}
