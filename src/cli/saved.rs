//! Saved plans: a plan is a promise about what will happen, so a saved one is only run while it still holds.

use std::path::{Path, PathBuf};

use similar::TextDiff;

use crate::error::{Exit, Fails};
use crate::plan::{Depth, Plan, Style, render};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SavedError {
    #[error("cannot write the plan to {}", path.display())]
    #[diagnostic(code(xnat::plan::write), help("choose another place: --out FILE"))]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot read the plan {}", path.display())]
    #[diagnostic(code(xnat::plan::read), help("make one: xnat-provision plan --out {}", path.display()))]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is not a saved plan", path.display())]
    #[diagnostic(code(xnat::plan::format), help("make one: xnat-provision plan --out {}", path.display()))]
    Format {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("reality moved since {} was made; nothing was changed. From that plan (-) to now (+):\n{difference}", path.display())]
    #[diagnostic(code(xnat::plan::moved), help("look at the new plan, then save or apply it: xnat-provision plan --out {}", path.display()))]
    Moved { path: PathBuf, difference: String },
}

impl Fails for SavedError {
    fn exit(&self) -> Exit {
        match self {
            Self::Read { .. } | Self::Format { .. } => Exit::Usage,
            Self::Write { .. } | Self::Moved { .. } => Exit::Failed,
        }
    }
}

pub fn write(path: &Path, plan: &Plan) -> Result<(), SavedError> {
    let failed = |source| SavedError::Write { path: path.to_owned(), source };
    let text = serde_json::to_string_pretty(plan).map_err(|error| failed(error.into()))?;
    std::fs::write(path, text + "\n").map_err(failed)
}

/// A saved plan that is to be kept.
pub struct Promise {
    path: PathBuf,
    plan: Plan,
}

impl Promise {
    pub fn read(path: &Path) -> Result<Self, SavedError> {
        let path = path.to_owned();
        let text = std::fs::read_to_string(&path).map_err(|source| SavedError::Read { path: path.clone(), source })?;
        match serde_json::from_str(&text) {
            Ok(plan) => Ok(Self { path, plan }),
            Err(source) => Err(SavedError::Format { path, source }),
        }
    }

    /// The plan that was saved must be the one that would be made now.
    pub fn must_hold(&self, now: &Plan) -> Result<(), SavedError> {
        let text = |plan: &Plan| render(plan, Style::Plain, Depth::Full);
        // As saved, since what removes a difference is not part of a saved plan.
        let saved = |plan: &Plan| serde_json::to_value(plan);
        match (saved(&self.plan), saved(now)) {
            (Ok(then), Ok(now)) if then == now => return Ok(()),
            (Err(source), _) | (_, Err(source)) => return Err(SavedError::Format { path: self.path.clone(), source }),
            _ => {}
        }
        let (old, new) = (text(&self.plan), text(now));
        let difference = TextDiff::from_lines(&old, &new).unified_diff().context_radius(1).to_string();
        Err(SavedError::Moved { path: self.path.clone(), difference })
    }
}
