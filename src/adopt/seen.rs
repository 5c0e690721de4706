//! A host's answer, made of what the script printed. Judges nothing.

use super::etcd::Etcd;
use super::haproxy::Haproxy;
use super::patroni::Patroni;
use crate::error::{Exit, Fails};
use crate::facts::{self, Answers, Facts, FactsError};

/// One host: what it is, and what runs there.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub facts: Facts,
    pub patroni: Option<Patroni>,
    /// Why there is no Patroni to be seen, where something stood in the way.
    pub problems: Vec<String>,
    pub etcd: Option<Etcd>,
    pub haproxy: Option<Haproxy>,
    /// This program's own rules for the host's firewall.
    pub firewall: Vec<String>,
    /// The package manager's, if this program has set one.
    pub proxy: Option<String>,
    /// This program has added package repositories.
    pub repositories: bool,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SeenError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Facts(#[from] FactsError),
    #[error("the host's answer about what runs there is cut off")]
    #[diagnostic(code(xnat::adopt::truncated), help("run it again; it may be that the host was too busy"))]
    Truncated,
    #[error("the host's answer about its {what} makes no sense: {reason}")]
    #[diagnostic(code(xnat::adopt::nonsense), help("report this as a bug, with that configuration"))]
    Nonsense { what: &'static str, reason: String },
}

impl Fails for SeenError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

impl Seen {
    pub fn parse(output: &str) -> Result<Self, SeenError> {
        let facts = facts::parse(output)?;
        let answers = Answers::of(output);
        if answers.all("adopt") != ["begin", "end"] {
            return Err(SeenError::Truncated);
        }
        let patroni = answers.one("patroni_found").map(serde_json::from_str);
        let patroni = patroni.transpose().map_err(|error| nonsense("Patroni", &error))?;
        let lines = |key| answers.all(key).iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        Ok(Self {
            facts,
            patroni,
            problems: lines("patroni_problem"),
            etcd: Etcd::read(&answers).map_err(|error| nonsense("etcd", &error))?,
            haproxy: Haproxy::read(&answers),
            firewall: lines("firewall"),
            proxy: answers.one("proxy").map(str::to_owned),
            repositories: answers.one("repositories").is_some(),
        })
    }
}

fn nonsense(what: &'static str, reason: &dyn std::error::Error) -> SeenError {
    SeenError::Nonsense { what, reason: reason.to_string() }
}
