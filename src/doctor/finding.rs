//! What the doctor says: what is wrong, why, what shows it, what to do, and what follows from it.

use serde::Serialize;

use crate::cluster::Severity;
use crate::names::HostName;
use crate::quote;

#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// For programs: it stays the same.
    pub id: &'static str,
    pub severity: Severity,
    /// Where the cause is.
    pub hosts: Vec<HostName>,
    pub what: String,
    /// None where nothing more was found than the symptom.
    pub cause: Option<String>,
    pub evidence: Vec<Evidence>,
    pub steps: Vec<Step>,
    /// What else is wrong because of it.
    pub consequences: Vec<String>,
}

/// The very line or number, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    pub host: Option<HostName>,
    pub text: String,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    pub what: String,
    /// To be copied.
    pub command: Option<String>,
}

/// Log lines are as long as their writers like.
const LONGEST: usize = 300;

impl Finding {
    pub fn new(id: &'static str, severity: Severity, what: impl Into<String>) -> Self {
        let (what, cause) = (what.into(), None);
        Self { id, severity, hosts: vec![], what, cause, evidence: vec![], steps: vec![], consequences: vec![] }
    }
    pub fn critical(id: &'static str, what: impl Into<String>) -> Self {
        Self::new(id, Severity::Critical, what)
    }
    pub fn warning(id: &'static str, what: impl Into<String>) -> Self {
        Self::new(id, Severity::Warning, what)
    }
    pub fn on<'a>(mut self, hosts: impl IntoIterator<Item = &'a HostName>) -> Self {
        self.hosts.extend(hosts.into_iter().cloned());
        self
    }
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }
    pub fn seen(mut self, host: &HostName, text: impl AsRef<str>) -> Self {
        self.evidence.push(Evidence { host: Some(host.clone()), text: short(text.as_ref()) });
        self
    }
    pub fn seen_if(self, host: &HostName, text: Option<impl AsRef<str>>) -> Self {
        match text {
            Some(text) => self.seen(host, text),
            None => self,
        }
    }
    pub fn advise(mut self, what: impl Into<String>) -> Self {
        self.steps.push(Step { what: what.into(), command: None });
        self
    }
    pub fn run(mut self, what: impl Into<String>, command: impl Into<String>) -> Self {
        self.steps.push(Step { what: what.into(), command: Some(command.into()) });
        self
    }
    /// A command on a host.
    pub fn run_on(self, host: &HostName, what: impl Into<String>, command: &str) -> Self {
        self.run(what, quote::ssh(host, command))
    }
}

fn short(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}
