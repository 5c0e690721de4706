//! Saved plans: a plan is a promise about what will happen, so a saved one is only run while it still holds.

use std::path::{Path, PathBuf};

use similar::TextDiff;

use crate::error::{Exit, Fails};
use crate::plan::{Depth, Plan, Style, render};
use crate::quote;

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
    #[diagnostic(code(xnat::plan::read), help("make one: xnat-provision plan --out {}", quote::path(path)))]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is not a saved plan", path.display())]
    #[diagnostic(code(xnat::plan::format), help("make one: xnat-provision plan --out {}", quote::path(path)))]
    Format {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("reality moved since {} was made; nothing was changed. From that plan (-) to now (+):\n{difference}", path.display())]
    #[diagnostic(
        code(xnat::plan::moved),
        help("look at the new plan, then save or apply it: xnat-provision plan --out {}", quote::path(path))
    )]
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
        let text = crate::files::read_text(&path).map_err(|source| SavedError::Read { path: path.clone(), source })?;
        match serde_json::from_str(&text) {
            Ok(plan) => Ok(Self { path, plan }),
            Err(source) => Err(SavedError::Format { path, source }),
        }
    }

    /// The plan that was saved must be the one that would be made now.
    pub fn must_hold(&self, now: &Plan) -> Result<(), SavedError> {
        // As saved, since what removes a difference is not part of a saved plan.
        let document = |plan: &Plan| {
            let failed = |source| SavedError::Format { path: self.path.clone(), source };
            serde_json::to_string_pretty(plan).map_err(failed)
        };
        let (then, today) = (document(&self.plan)?, document(now)?);
        if then == today {
            return Ok(());
        }
        let text = |plan: &Plan| render(plan, Style::Plain, Depth::Full);
        // What people read may be the same, when another version made it, say.
        let pair = match (text(&self.plan), text(now)) {
            (old, new) if old == new => (then, today),
            texts => texts,
        };
        let difference = TextDiff::from_lines(&pair.0, &pair.1).unified_diff().context_radius(1).to_string();
        Err(SavedError::Moved { path: self.path.clone(), difference })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlannedStage;
    use crate::resource::{Action, Change, Detail, Effect, ResourceId};

    fn plan(summary: &str, actions: Vec<Action>) -> Plan {
        let change = Change {
            resource: ResourceId::new("file", "/etc/web.cfg"),
            summary: summary.to_owned(),
            detail: Detail::None,
            effect: Effect::Quiet,
            after: Vec::new(),
            actions,
        };
        let hosts = [("db1".into(), vec![change])].into();
        let stage = PlannedStage { title: "Prepare hosts".to_owned(), hosts, ..PlannedStage::default() };
        Plan { cluster: "demo".to_owned(), stages: vec![stage], ..Plan::default() }
    }

    fn saved(plan: &Plan) -> (tempfile::TempDir, Promise) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("plan.json");
        write(&path, plan).expect("written");
        let promise = Promise::read(&path).expect("read");
        (directory, promise)
    }

    #[test]
    fn a_plan_that_still_holds_is_kept_whatever_its_actions_are_made_of() {
        let (_directory, promise) = saved(&plan("create", Vec::new()));
        promise.must_hold(&plan("create", vec![Action::DaemonReload])).expect("the same plan");
    }

    #[test]
    fn a_plan_that_does_not_hold_any_more_is_refused_with_the_difference() {
        let (directory, promise) = saved(&plan("create", Vec::new()));
        let error = promise.must_hold(&plan("update", Vec::new())).expect_err("reality moved");
        let text = error.to_string().replace(&directory.path().display().to_string(), "DIR");
        insta::assert_snapshot!(text, @r#"
        reality moved since DIR/plan.json was made; nothing was changed. From that plan (-) to now (+):
        @@ -2,3 +2,3 @@
            db1
        -     + file /etc/web.cfg: create
        +     ~ file /etc/web.cfg: update
        "#);
        assert_eq!(error.exit(), Exit::Failed);
    }

    #[test]
    fn a_difference_that_is_not_in_the_text_counts_too() {
        let (_directory, promise) = saved(&plan("create", Vec::new()));
        let mut now = plan("create", Vec::new());
        now.version = "9.9.9".to_owned();
        let error = promise.must_hold(&now).expect_err("made by another version").to_string();
        assert!(error.contains("+  \"version\": \"9.9.9\""), "{error}");
    }
}
