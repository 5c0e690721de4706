//! Is the cluster healthy, and if not, what is wrong and what to try? Pure: a view and an inventory in, a judgement
//! out. One function per rule. What could not be asked is never called down.

mod rules;

pub use rules::{all_names as rule_names, named as symptoms};

use serde::{Deserialize, Serialize};

use super::patroni::Lag;
use super::view::ClusterView;
use crate::inventory::Inventory;

/// A judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Nothing is wrong that should not be.
    pub healthy: bool,
    /// One line.
    pub verdict: String,
    /// The worst first.
    pub problems: Vec<Problem>,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub severity: Severity,
    pub text: String,
    /// What to try.
    pub help: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Clients cannot use the database, or data is in danger.
    Critical,
    /// It works, with less safety than it should have; or nobody can tell.
    Warning,
    /// Worth knowing; the cluster is healthy all the same.
    Notice,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

impl Problem {
    fn new(severity: Severity, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self { severity, text: text.into(), help: help.into() }
    }
}

/// Judge a view against the inventory.
#[must_use]
pub fn assess(view: &ClusterView, inventory: &Inventory) -> Health {
    let mut problems: Vec<Problem> = rules::named(view, inventory).into_iter().map(|(_, problem)| problem).collect();
    // Stable: within a severity the order of the rules, which is from the foundations upwards.
    problems.sort_by_key(|p| p.severity);
    let healthy = problems.iter().all(|p| p.severity == Severity::Notice);
    let count = |severity| problems.iter().filter(|p| p.severity == severity).count();
    let verdict = match (count(Severity::Critical), count(Severity::Warning)) {
        (0, 0) => format!("healthy: {}", standing(view)),
        _ if view.is_blind() => "unknown: nothing could be asked".to_owned(),
        (0, warnings) => format!("degraded ({}): {}", counted(warnings, "warning"), standing(view)),
        (critical, 0) => format!("NOT HEALTHY ({critical} critical): {}", standing(view)),
        (critical, warnings) => {
            format!("NOT HEALTHY ({critical} critical, {}): {}", counted(warnings, "warning"), standing(view))
        }
    };
    Health { healthy, verdict, problems }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `leader db1, 2 replicas streaming, lag 0`
pub fn standing(view: &ClusterView) -> String {
    if !view.members_known() {
        return "nobody can say who is leader".to_owned();
    }
    let leader = view.leader().map_or_else(|| "no leader".to_owned(), |m| format!("leader {}", m.host));
    let replicas: Vec<_> = view.members.iter().filter(|m| m.follows()).collect();
    let streaming = replicas.iter().filter(|m| view.streams(m)).count();
    let lags = replicas.iter().filter_map(|m| view.lag(m));
    let lag = lags.map(|lag| if let Lag::Bytes(bytes) = lag { Some(bytes) } else { None });
    let lag = lag.collect::<Option<Vec<_>>>().map(|lags| lags.into_iter().max().unwrap_or(0));
    let lag = lag.map_or_else(|| "unknown".to_owned(), size);
    match (replicas.len(), streaming) {
        (0, _) => format!("{leader}, no replicas"),
        (1, 1) => format!("{leader}, 1 replica streaming, lag {lag}"),
        (all, some) if all == some => format!("{leader}, {all} replicas streaming, lag {lag}"),
        (all, some) => format!("{leader}, {some} of {all} replicas streaming, lag {lag}"),
    }
}

/// Bytes for people: `0`, `512 B`, `16.0 MB` (binary units, as PostgreSQL has them).
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes == 0 {
        return "0".to_owned();
    }
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        assert_eq!([0, 1, 2048, 16 << 20, 3 << 40].map(size), ["0", "1 B", "2.0 kB", "16.0 MB", "3.0 TB"]);
    }
}
