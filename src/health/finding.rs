//! What a check comes to: its state, the numbers that show it, and what to do.

use serde::Serialize;

use crate::cluster::Severity;
use crate::names::HostName;

/// The worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Clients cannot use the database or soon will not, or data is in danger.
    Critical,
    /// It works, with less safety than it should have.
    Warning,
    /// It could not be looked at, which is not the same as being well.
    Unknown,
    /// Worth knowing; all is well.
    Notice,
    Ok,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Notice => "notice",
            Self::Ok => "ok",
        }
    }

    /// As plugins of Nagios end: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
    pub fn number(self) -> u8 {
        match self {
            Self::Ok | Self::Notice => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    pub fn is_well(self) -> bool {
        self >= Self::Notice
    }
}

impl From<Severity> for State {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Critical => Self::Critical,
            Severity::Warning => Self::Warning,
            Severity::Notice => Self::Notice,
        }
    }
}

/// What one check found at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub state: State,
    /// None for what is of the whole cluster.
    pub host: Option<HostName>,
    pub evidence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    pub fn new(state: State, evidence: impl Into<String>) -> Self {
        Self { state, host: None, evidence: evidence.into(), fix: None }
    }
    pub fn ok(evidence: impl Into<String>) -> Self {
        Self::new(State::Ok, evidence)
    }
    pub fn notice(evidence: impl Into<String>) -> Self {
        Self::new(State::Notice, evidence)
    }
    pub fn warning(evidence: impl Into<String>) -> Self {
        Self::new(State::Warning, evidence)
    }
    pub fn critical(evidence: impl Into<String>) -> Self {
        Self::new(State::Critical, evidence)
    }
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::new(State::Unknown, reason)
    }
    pub fn on(mut self, host: &HostName) -> Self {
        self.host = Some(host.clone());
        self
    }
    /// What to do about it, unless it is well.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        if self.state != State::Ok {
            self.fix = Some(fix.into());
        }
        self
    }
}

/// How bad a figure is that should be low.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub warning: f64,
    pub critical: f64,
}

impl Limits {
    pub fn judge(self, value: f64) -> State {
        match value {
            _ if value >= self.critical => State::Critical,
            _ if value >= self.warning => State::Warning,
            _ => State::Ok,
        }
    }
}
