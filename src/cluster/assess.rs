//! Is the cluster healthy, and if not, what is wrong and what to try? Pure: a view and an inventory in, a judgement
//! out. One function per rule. What could not be asked is never called down.

mod rules;

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

impl Problem {
    fn new(severity: Severity, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self { severity, text: text.into(), help: help.into() }
    }
}

/// Judge a view against the inventory.
#[must_use]
pub fn assess(view: &ClusterView, inventory: &Inventory) -> Health {
    let mut problems = rules::all(view, inventory);
    // Stable: within a severity the order of the rules, which is from the foundations upwards.
    problems.sort_by_key(|p| p.severity);
    let healthy = problems.iter().all(|p| p.severity == Severity::Notice);
    let verdict = match problems.first() {
        _ if healthy => well(view),
        _ if view.is_blind() => "unknown: nothing could be asked".to_owned(),
        Some(worst) => {
            let count = problems.iter().filter(|p| p.severity != Severity::Notice).count();
            let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
            let word = if worst.severity == Severity::Critical { "NOT HEALTHY" } else { "degraded" };
            format!("{word}: {}{more}", worst.text)
        }
        None => well(view),
    };
    Health { healthy, verdict, problems }
}

fn well(view: &ClusterView) -> String {
    let leader = view.leader().map_or("none", |m| m.host.as_str());
    let replicas: Vec<_> = view.members.iter().filter_map(|m| m.listed.as_ref()).filter(|l| !l.role.leads()).collect();
    let worst = replicas.iter().filter_map(|l| l.lag).fold(Some(0), |worst, lag| match (worst, lag) {
        (Some(worst), Lag::Bytes(bytes)) => Some(bytes.max(worst)),
        _ => None,
    });
    let lag = worst.map_or_else(|| "unknown".to_owned(), size);
    match replicas.len() {
        0 => format!("healthy: leader {leader}, no replicas"),
        1 => format!("healthy: leader {leader}, 1 replica streaming, lag {lag}"),
        count => format!("healthy: leader {leader}, {count} replicas streaming, lag {lag}"),
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

/// A size as Patroni takes it in `lag=`: bytes, or with a unit (binary, any case). None when it is not one.
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "kb" => 10,
        "mb" => 20,
        "gb" => 30,
        "tb" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_go_both_ways() {
        assert_eq!([0, 1, 2048, 16 << 20, 3 << 40].map(size), ["0", "1 B", "2.0 kB", "16.0 MB", "3.0 TB"]);
        assert_eq!(
            ["0", "1048576", "16MB", "1 kb", "1GB", "x", "5 parsecs"].map(bytes),
            [Some(0), Some(1 << 20), Some(16 << 20), Some(1024), Some(1 << 30), None, None]
        );
    }
}
