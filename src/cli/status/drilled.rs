//! What the last drill from this machine says, when it did not pass: a schedule has nobody who reads its errors.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;

use crate::cluster::{Problem, Severity};
use crate::workflow::health::{last_drill, last_kept};

/// What was found in a directory that has not changed since.
#[derive(Default)]
pub(super) struct Drilled(Mutex<Option<(Option<SystemTime>, Option<Problem>)>>);

impl Drilled {
    /// Worth knowing, and no trouble of the cluster as it is now. Reports are long, and `status --watch` looks often.
    pub fn told(&self, cluster: &str) -> Option<Problem> {
        let kept = last_kept(cluster);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((then, problem)) if *then == kept => problem.clone(),
            _ => {
                let problem = told(cluster);
                *known = Some((kept, problem.clone()));
                problem
            }
        }
    }
}

fn told(cluster: &str) -> Option<Problem> {
    let notice = |text, help: &str| Problem { severity: Severity::Notice, text, help: help.to_owned() };
    match last_drill(cluster) {
        Ok(last) => last.filter(|drill| !drill.passed).map(|drill| {
            let text =
                format!("the last drill ({}, {}) did not pass: {}", drill.drill, ago(drill.finished), drill.reason());
            notice(
                text,
                "`xnat-provision drill history` has all of them; see the report, mend it, and do the drill again",
            )
        }),
        Err(why) => Some(notice(format!("whether drills passed is not known: {why}"), "may you read there?")),
    }
}

fn ago(then: Timestamp) -> String {
    let since = Timestamp::now().duration_since(then);
    let (hours, days) = (since.as_hours(), since.as_hours() / 24);
    match (days, hours) {
        (2.., _) => format!("{days} days ago"),
        (_, 2..) => format!("{hours} hours ago"),
        _ => format!("{} minutes ago", since.as_mins()),
    }
}
