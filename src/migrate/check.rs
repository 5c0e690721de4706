//! What a foreign database will meet in the cluster: what has to be put right first, what somebody should look at, and
//! what is well. One small rule for each; all are told at once, since whoever moves a site has one night for it.

mod access;
mod contents;
mod methods;
mod people;
mod server;
mod space;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::found::{Found, Hba};
use super::physical::Physical;
use crate::report::text::printable;

pub use methods::{against_logical, against_stream, methods, no_room, seconds};
pub use server::spoken;

/// The worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It would fail, or lose something.
    Stops,
    /// It works; somebody has to know.
    Look,
    Fine,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Self::Stops => "stop",
            Self::Look => "look",
            Self::Fine => "fine",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// For programs: it stays the same.
    pub id: &'static str,
    pub severity: Severity,
    pub title: String,
    pub evidence: String,
    /// Empty where there is nothing to do.
    pub todo: String,
}

impl Finding {
    fn new(severity: Severity, id: &'static str, title: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self { id, severity, title: title.into(), evidence: evidence.into(), todo: String::new() }
    }
    fn stops(id: &'static str, title: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(Severity::Stops, id, title, evidence)
    }
    fn look(id: &'static str, title: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(Severity::Look, id, title, evidence)
    }
    fn fine(id: &'static str, title: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(Severity::Fine, id, title, evidence)
    }
    fn todo(mut self, todo: impl Into<String>) -> Self {
        self.todo = todo.into();
        self
    }
}

/// The cluster it is to come into.
#[derive(Clone, Debug)]
pub struct Target {
    pub version_num: u32,
    pub encoding: String,
    pub locale: String,
    /// With their default versions.
    pub available_extensions: BTreeMap<String, String>,
    /// That are there already.
    pub roles: Vec<String>,
    /// The application's database, and its role.
    pub database: String,
    pub owner: String,
    /// On the leader's file system with the data.
    pub free_bytes: Option<u64>,
    /// On those of the others, by name.
    pub replicas_free: Vec<(String, Option<u64>)>,
    /// What the inventory has in `pg_hba.conf` for others than the application.
    pub hba: Vec<Hba>,
    /// How such a line begins, and where clients come from: the hosts with HAProxy.
    pub connection: &'static str,
    pub through: Vec<String>,
    pub max_connections: u32,
    pub database_has_tables: bool,
    /// PostgreSQL members, each of which would have a copy that follows.
    pub members: usize,
    pub physical: Option<Physical>,
    /// Names of the settings it knows.
    pub settings: BTreeSet<String>,
}

type Rule = fn(&Found, &Target) -> Option<Finding>;

/// In the order in which what is equally bad is told.
const RULES: [Rule; 42] = [
    server::version,
    server::recovery,
    server::read_only,
    server::occupied,
    space::disk,
    space::replicas,
    space::source,
    server::largest,
    server::encoding,
    server::locale,
    server::collation_version,
    server::missing_extensions,
    server::extension_versions,
    server::c_functions,
    server::languages,
    contents::gone_types,
    contents::with_oids,
    contents::prepared,
    contents::subscriptions,
    contents::publications,
    contents::large_objects,
    people::taken_roles,
    people::owner,
    people::superusers,
    people::passwords,
    contents::tablespaces,
    contents::unlogged,
    contents::invalid_indexes,
    contents::event_triggers,
    contents::foreign_servers,
    contents::row_security,
    contents::settings,
    contents::unknown_settings,
    people::writers,
    people::clients,
    access::not_let_in,
    people::without_password,
    people::connections,
    contents::primary_keys,
    contents::partitions,
    contents::generated_columns,
    contents::materialized_views,
];

/// Everything there is to say, the worst first.
pub fn judge(source: &Found, target: &Target) -> Vec<Finding> {
    let mut findings: Vec<Finding> = RULES.iter().filter_map(|rule| rule(source, target)).collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Where texts begin: after the severity.
const INDENT: &str = "      ";

/// For people: a block for each finding, and a line for each that is fine.
pub fn text(findings: &[Finding]) -> String {
    findings.iter().map(block).collect()
}

fn block(finding: &Finding) -> String {
    let (title, evidence) = (bare(&finding.title), bare(&finding.evidence));
    let word = finding.severity.word();
    match finding.severity {
        Severity::Fine => format!("{word}  {title}: {evidence}\n"),
        _ => format!("{word}  {title}\n{INDENT}{evidence}\n{INDENT}do: {}\n", bare(&finding.todo)),
    }
}

/// In one line: a foreign database's names may have anything in them.
fn bare(text: &str) -> String {
    printable(text).replace('\n', " ")
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
