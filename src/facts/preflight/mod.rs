//! Can this host do what the inventory wants of it? Pure: facts in, reasons out, before anything is changed.

mod cluster;
mod machine;
mod occupied;

use std::fmt;

use miette::Diagnostic;
use serde::Serialize;

use super::Facts;
use crate::inventory::{Host, Inventory};
use crate::names::HostName;

pub use cluster::check as check_cluster;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is changed on any host while this is so.
    Refuse,
    /// It works, but somebody should know.
    Warn,
}

/// One reason why a host cannot work, or is worth a look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub host: HostName,
    pub severity: Severity,
    pub code: &'static str,
    pub message: String,
    pub help: String,
}

impl Diagnostic for Refusal {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Refuse => miette::Severity::Error,
            Severity::Warn => miette::Severity::Warning,
        })
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }
}

/// What a rule looks at.
struct Subject<'a> {
    inventory: &'a Inventory,
    host: &'a Host,
    facts: &'a Facts,
    /// This machine's clock when the facts were taken.
    now: i64,
}

impl Subject<'_> {
    fn refuse(&self, code: &'static str, message: impl Into<String>, help: impl Into<String>) -> Refusal {
        self.say(Severity::Refuse, code, message.into(), help.into())
    }
    fn warn(&self, code: &'static str, message: impl Into<String>, help: impl Into<String>) -> Refusal {
        self.say(Severity::Warn, code, message.into(), help.into())
    }
    fn say(&self, severity: Severity, code: &'static str, message: String, help: String) -> Refusal {
        Refusal { host: self.host.name.clone(), severity, code, message, help }
    }
}

/// Everything about one host. `now` is this machine's clock (seconds since 1970) half way between asking for the facts
/// and getting them. Refusals come first.
pub fn check(inventory: &Inventory, host: &Host, facts: &Facts, now: i64) -> Vec<Refusal> {
    let subject = Subject { inventory, host, facts, now };
    let rules: [fn(&Subject<'_>) -> Vec<Refusal>; 12] = [
        machine::root,
        machine::system,
        machine::init,
        machine::package_manager,
        machine::memory,
        machine::space,
        machine::clock,
        machine::address,
        machine::software,
        occupied::ports,
        occupied::databases,
        occupied::coordination,
    ];
    let mut all: Vec<Refusal> = rules.iter().flat_map(|rule| rule(&subject)).collect();
    all.sort_by_key(|one| one.severity);
    all
}
