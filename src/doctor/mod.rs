//! From symptoms to causes. What `status` sees of a cluster is joined by what only its hosts can tell (`script`,
//! `evidence`); rules make findings of it, and `precedence` says which of them explain the others. Pure: a case goes in,
//! a diagnosis comes out. Nothing is asserted without evidence: where it only fits, a cause begins with "probably".

mod evidence;
mod finding;
mod precedence;
mod rules;
mod script;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

pub use evidence::{FileSystem, Foreign, Line, Process, Seen, Slot};
pub use finding::{Evidence, Finding, Step};
pub use script::script;
pub use text::render;

use crate::cluster::assess::symptoms;
use crate::cluster::{ClusterView, Problem, Severity};
use crate::inventory::{Host, Inventory};
use crate::names::HostName;

/// Everything that is known when the question is asked.
pub struct Case<'a> {
    pub inventory: &'a Inventory,
    pub view: &'a ClusterView,
    /// The hosts that could be looked at from inside.
    pub seen: &'a BTreeMap<HostName, Seen>,
    /// Those we are connected to and that would not tell, and why.
    pub silent: &'a BTreeMap<HostName, String>,
    pub foreign: &'a [Foreign],
}

/// What `status` calls a problem, with the name of its rule.
struct Symptom {
    rule: &'static str,
    problem: Problem,
}

#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    pub cluster: String,
    pub verdict: String,
    /// The worst first; within that from the foundations upwards.
    pub findings: Vec<Finding>,
}

/// What is wrong, why, and what to do.
#[must_use]
pub fn diagnose(case: &Case<'_>) -> Diagnosis {
    let symptoms: Vec<Symptom> = (symptoms(case.view, case.inventory).into_iter())
        .filter(|(_, problem)| problem.severity != Severity::Notice)
        .map(|(rule, problem)| Symptom { rule, problem })
        .collect();
    let mut findings = precedence::order(case, rules::all(case), symptoms);
    findings.sort_by_key(|finding| finding.severity);
    Diagnosis { cluster: case.view.cluster.clone(), verdict: verdict(case.view, &findings), findings }
}

fn verdict(view: &ClusterView, findings: &[Finding]) -> String {
    let hence: usize = findings.iter().map(|finding| finding.consequences.len()).sum();
    match (findings.len(), hence) {
        (0, _) => "nothing found".to_owned(),
        _ if view.is_blind() => "nothing could be asked".to_owned(),
        (1, 0) => "1 finding".to_owned(),
        (1, _) => format!("1 finding, which explains what else is wrong ({hence})"),
        (all, 0) => format!("{all} findings"),
        (all, _) => format!("{all} findings, which explain what else is wrong ({hence})"),
    }
}

impl Case<'_> {
    fn host(&self, name: &HostName) -> Option<&Host> {
        self.inventory.host(name)
    }

    /// `inactive` where systemd says so of a unit.
    fn unit(&self, host: &HostName, unit: &str) -> Option<&str> {
        self.seen.get(host)?.unit(unit)
    }

    fn leads(&self, host: &HostName) -> bool {
        self.view.leader().is_some_and(|leader| leader.host == *host)
    }

    /// A signal has stopped this service's processes.
    fn is_frozen(&self, host: &HostName, name: &str) -> bool {
        self.seen.get(host).is_some_and(|seen| seen.stopped.iter().any(|process| process.name == name))
    }
}
