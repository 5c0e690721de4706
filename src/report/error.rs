//! What can go wrong with reporting itself.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::error::{Exit, Fails};
use crate::quote;

#[derive(Debug, Error, Diagnostic)]
pub enum ReportError {
    #[error("neither XDG_STATE_HOME nor HOME says where to keep the journals of runs")]
    #[diagnostic(
        code(xnat::report::no_home),
        help("set one of them: export XDG_STATE_HOME=/var/lib/xnat-provision-state")
    )]
    NoHome,
    #[error("cannot keep journals of a cluster called {0:?}: it would not be one directory")]
    #[diagnostic(code(xnat::report::cluster_name), help("use letters, digits and dashes"))]
    ClusterName(String),
    #[error("cannot write the journal {}", path.display())]
    #[diagnostic(
        code(xnat::report::journal_write),
        help("look at the directory's owner and free space: ls -ld {0}; df -h {0}", near(path))
    )]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read the journal {}", path.display())]
    #[diagnostic(code(xnat::report::journal_read), help("look at its owner and mode: ls -l {}", quote::path(path)))]
    Read { path: PathBuf, source: io::Error },
    #[error("line {line} of the journal {} is not an event", path.display())]
    #[diagnostic(code(xnat::report::journal_damaged), help("read it as it is: less {}", quote::path(path)))]
    Damaged { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("there is no run {run}{}", of(cluster.as_deref()))]
    #[diagnostic(code(xnat::report::no_such_run), help("see which there are: xnat-provision history"))]
    NoSuchRun { run: String, cluster: Option<String> },
    #[error("no runs{} are recorded here", of(cluster.as_deref()))]
    #[diagnostic(code(xnat::report::no_runs), help("run one first: xnat-provision plan inventory.toml"))]
    NoRuns { cluster: Option<String> },
    #[error("the display of the run crashed; the run itself went on")]
    #[diagnostic(
        code(xnat::report::crashed),
        help("see what the run did: xnat-provision history show; and please report this bug")
    )]
    Crashed { source: tokio::task::JoinError },
    #[error("what happened could not be written to the output; the run itself went on")]
    #[diagnostic(code(xnat::report::output), help("see what the run did: xnat-provision history show"))]
    Output { source: io::Error },
}

impl Fails for ReportError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoSuchRun { .. } | Self::NoRuns { .. } | Self::ClusterName(_) => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

/// The nearest directory that may exist.
fn near(path: &std::path::Path) -> String {
    quote::path(path.ancestors().skip(1).find(|dir| dir.is_dir()).unwrap_or(path))
}

fn of(cluster: Option<&str>) -> String {
    cluster.map(|name| format!(" of cluster {name}")).unwrap_or_default()
}
