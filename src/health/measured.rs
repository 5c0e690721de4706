//! What is known beyond what `status` sees: measured just now, or kept from before. Judges nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::forecast::Samples;
use super::host::Look;
use crate::cluster::Answer;
use crate::cluster::postgres::vitals::Vitals;
use crate::cluster::verify::passage::Passage;
use crate::names::HostName;

#[derive(Clone, Debug)]
pub struct Measured {
    pub now: Timestamp,
    pub hosts: BTreeMap<HostName, Answer<Look>>,
    pub vitals: BTreeMap<HostName, Answer<Vitals>>,
    /// How long each member of etcd takes to have the others agree on a read, in seconds.
    pub agreement: BTreeMap<HostName, Answer<f64>>,
    pub passages: BTreeMap<HostName, Passage>,
    /// What disks held before, or why that is not known.
    pub samples: Result<Samples, String>,
    /// The last drill, or why that is not known.
    pub drill: Result<Option<Drill>, String>,
}

/// What is left of a drill in its file; whatever else is in there is not for us.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Drill {
    pub drill: String,
    pub finished: Timestamp,
    pub passed: bool,
    /// Why it could not be done.
    pub failed: Option<String>,
    #[serde(default)]
    pub findings: Vec<Held>,
}

/// What had to hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Held {
    pub held: bool,
    pub text: String,
}

impl Drill {
    /// The first reason it did not pass.
    pub fn reason(&self) -> &str {
        let broken = self.findings.iter().find(|finding| !finding.held).map(|finding| finding.text.as_str());
        self.failed.as_deref().or(broken).unwrap_or("its report says why")
    }
}
