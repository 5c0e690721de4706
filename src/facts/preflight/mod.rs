//! Can this host do what the inventory wants of it? Pure: facts in, findings out, before anything is changed.

pub mod catalogue;
mod cluster;
mod kernel;
mod machine;
mod network;
mod occupied;
mod ports;
mod services;
mod software;
mod storage;

use std::collections::BTreeMap;
use std::fmt;

use miette::Diagnostic;
use serde::Serialize;

use super::{Examination, Facts};
use crate::inventory::{Component, Host, Inventory};
use crate::names::HostName;
use catalogue::Check;

pub use services::NEEDRESTART_FILE;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is changed on any host while this is so.
    Refuse,
    /// It works, but somebody should know.
    Warn,
    /// It could be better. `check` says so, other commands do not.
    Advise,
}

/// One reason why a host cannot work, or is worth a look.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Finding {
    pub host: HostName,
    pub severity: Severity,
    pub check: &'static Check,
    pub message: String,
    pub help: String,
}

impl Diagnostic for Finding {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.check.id))
    }
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Refuse => miette::Severity::Error,
            Severity::Warn => miette::Severity::Warning,
            Severity::Advise => miette::Severity::Advice,
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
}

impl Subject<'_> {
    fn refuse(&self, check: &'static Check, message: impl Into<String>, help: impl Into<String>) -> Finding {
        self.say((Severity::Refuse, check), message.into(), help.into())
    }
    fn warn(&self, check: &'static Check, message: impl Into<String>, help: impl Into<String>) -> Finding {
        self.say((Severity::Warn, check), message.into(), help.into())
    }
    fn advise(&self, check: &'static Check, message: impl Into<String>, help: impl Into<String>) -> Finding {
        self.say((Severity::Advise, check), message.into(), help.into())
    }
    /// What a new host is refused for; a member that runs already is not to be cut off from its own repair.
    fn refuse_new(&self, check: &'static Check, message: impl Into<String>, help: impl Into<String>) -> Finding {
        let severity = if self.installed() { Severity::Warn } else { Severity::Refuse };
        self.say((severity, check), message.into(), help.into())
    }
    fn say(&self, (severity, check): (Severity, &'static Check), message: String, help: String) -> Finding {
        Finding { host: self.host.name.clone(), severity, check, message, help }
    }
    fn has(&self, component: Component) -> bool {
        self.host.components.contains(&component)
    }
    /// Whether this host is a member of this cluster already.
    fn installed(&self) -> bool {
        self.facts.patroni.values().any(|scope| *scope == self.inventory.cluster)
            || self.facts.etcd_data.contains(&self.inventory.etcd.data_dir)
    }
}

type Rule = fn(&Subject<'_>) -> Vec<Finding>;
/// A rule about what only the closer look shows.
type CloseRule = fn(&Subject<'_>, &Examination) -> Vec<Finding>;

const RULES: &[Rule] = &[
    machine::root,
    machine::system,
    machine::init,
    machine::package_manager,
    machine::memory,
    storage::space,
    machine::clock,
    machine::address,
    software::release,
    ports::taken,
    occupied::databases,
    occupied::coordination,
];

const CLOSE_RULES: &[CloseRule] = &[
    software::packages,
    software::missing,
    software::locale,
    storage::inodes,
    storage::mounts,
    storage::fsync,
    services::units,
    services::time,
    services::restarts,
    services::ssh,
    services::sudo,
    services::firewall,
    services::confinement,
    network::names,
    network::paths,
    ports::ephemeral,
    kernel::memory,
    kernel::buffers,
    kernel::keepalive,
    kernel::limits,
    kernel::devices,
];

/// Everything about one host. Refusals come first.
pub fn check(inventory: &Inventory, host: &Host, facts: &Facts) -> Vec<Finding> {
    let subject = Subject { inventory, host, facts };
    let mut all: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&subject)).collect();
    if let Some(seen) = &facts.examination {
        all.extend(CLOSE_RULES.iter().flat_map(|rule| rule(&subject, seen)));
    }
    all.sort_by_key(|one| one.severity);
    all
}

/// Everything about all hosts that facts are known of, alone and together.
pub fn check_all(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>) -> Vec<Finding> {
    let mut all = cluster::check(inventory, facts);
    for host in &inventory.hosts {
        all.extend(facts.get(&host.name).into_iter().flat_map(|facts| check(inventory, host, facts)));
    }
    all.sort_by_key(|one| one.severity);
    all
}
