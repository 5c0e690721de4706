//! One run at a time from this machine: a file lock that dies with the process, however it dies.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use crate::error::{Exit, Fails};
use crate::quote;

/// Held until dropped.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LockError {
    #[error("another run is changing the cluster {cluster} from this machine")]
    #[diagnostic(
        code(xnat::lock::taken),
        help(
            "wait for it to end, or find it with `fuser {}`; the lock is gone as soon as that process is",
            quote::path(path)
        )
    )]
    Taken { cluster: String, path: PathBuf },
    #[error("cannot lock {}", path.display())]
    #[diagnostic(code(xnat::lock::io), help("see whether the directory can be written by this user"))]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Fails for LockError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

impl RunLock {
    /// Lock the cluster whose runs are kept in `directory`.
    pub fn take(directory: &Path, cluster: &str) -> Result<Self, LockError> {
        let path = directory.join("lock");
        let io = |source| LockError::Io { path: path.clone(), source };
        std::fs::create_dir_all(directory).map_err(io)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(LockError::Taken { cluster: cluster.to_owned(), path }),
            Err(std::fs::TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}
