//! Why hosts cannot be used, or what was asked for cannot be planned.

use std::collections::BTreeSet;

use crate::bundle::BundleError;
use crate::engine::{HoldError, HostError};
use crate::error::{Exit, Fails};
use crate::facts::preflight;
use crate::names::HostName;
use crate::report::text;
use crate::role::RoleError;
use crate::transport::TransportError;
use crate::workflow::half_made::HalfMade;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SurveyError {
    /// The problems are told host by host before this closes the list.
    #[error("{} cannot be used; nothing was changed", text::count(hosts(problems), "host"))]
    #[diagnostic(
        code(xnat::survey::hosts),
        help("mend what is said about each, or leave them out: --limit and the names of the others")
    )]
    Hosts { problems: Vec<(HostName, HostProblem)> },
    #[error("interrupted while the hosts were read; nothing was changed")]
    #[diagnostic(code(xnat::interrupted))]
    Interrupted,
    #[error("{} already speak TLS, and the inventory says `tls.enabled = false`; nothing was changed", hosts.join(", "))]
    #[diagnostic(
        code(xnat::survey::tls_off),
        help(
            "turning TLS off again is not done: it would send passwords over the network in the clear. Say `enabled = true` under [tls]"
        )
    )]
    TlsOff { hosts: Vec<String> },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Role(#[from] RoleError),
    #[error("there is no host {name} in the inventory{}", suggestion(suggested))]
    #[diagnostic(code(xnat::scope::unknown_host), help("hosts: {}", known.join(", ")))]
    UnknownHost { name: HostName, suggested: Option<String>, known: Vec<String> },
    /// Its form of the files is the one that the cluster does not have yet.
    #[error("{} would be new in an etcd that is still on its way to TLS; nothing was changed", new.join(", "))]
    #[diagnostic(
        code(xnat::survey::joins_plain_etcd),
        help("take the role \"etcd\" away from {} in the inventory until `xnat-provision apply` has converted the others", new.join(", "))
    )]
    JoinsPlainEtcd { new: Vec<String> },
    #[error(transparent)]
    #[diagnostic(transparent)]
    HalfMade(#[from] Box<HalfMade>),
    #[error("{step} needs all of {}, and --limit leaves out {}", all.join(", "), missing.join(", "))]
    #[diagnostic(
        code(xnat::scope::cut),
        help("add the missing hosts to --limit, or leave --limit away for the first run")
    )]
    Cut { step: String, all: Vec<String>, missing: Vec<String> },
}

/// Why one host cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HostProblem {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unreachable(#[from] TransportError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unfit(#[from] preflight::Finding),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lock(#[from] HoldError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bundle(#[from] BundleError),
}

impl Fails for HostProblem {
    fn exit(&self) -> Exit {
        match self {
            Self::Unreachable(error) => error.exit(),
            Self::Host(error) => error.exit(),
            Self::Unfit(_) => Exit::Failed,
            Self::Lock(error) => error.exit(),
            Self::Bundle(error) => error.exit(),
        }
    }
}

impl Fails for SurveyError {
    fn exit(&self) -> Exit {
        match self {
            Self::Hosts { problems } => {
                problems.iter().map(|(_, problem)| problem.exit()).max().unwrap_or(Exit::Failed)
            }
            Self::Interrupted => Exit::Interrupted,
            Self::Role(error) => error.exit(),
            Self::JoinsPlainEtcd { .. } | Self::HalfMade(_) | Self::TlsOff { .. } => Exit::Failed,
            Self::UnknownHost { .. } | Self::Cut { .. } => Exit::Usage,
        }
    }
}

fn hosts(problems: &[(HostName, HostProblem)]) -> usize {
    problems.iter().map(|(host, _)| host).collect::<BTreeSet<_>>().len()
}

fn suggestion(name: &Option<String>) -> String {
    name.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}
