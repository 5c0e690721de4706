//! The whole upgrade on a copy of one member's data, under clients and without them noticing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Major;
use super::error::MajorError;
use crate::names::HostName;

/// Seconds, and how much data it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    pub bytes: u64,
    pub copy: f64,
    pub stop: f64,
    pub initdb: f64,
    pub check: f64,
    pub upgrade: f64,
    pub start: f64,
    pub analyze: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// What a real upgrade would be refused for.
    pub problems: Vec<String>,
    pub notes: Vec<String>,
    pub times: Times,
}

/// Patroni and HAProxy besides: stopping and starting services, and the checks that find the new leader.
const AROUND: f64 = 6.0;

impl Times {
    /// For how long nobody will be able to write.
    pub fn pause(&self) -> Duration {
        Duration::from_secs_f64(self.stop + self.upgrade + self.start + AROUND)
    }
}

impl Major<'_> {
    pub async fn rehearse(&self, on: &HostName) -> Result<Rehearsal, MajorError> {
        self.install().await?;
        let answer = self.at(on, self.step("rehearse the upgrade on a copy", "rehearse")).await;
        self.tidy().await?;
        let unread = |error: serde_json::Error| {
            let (host, reason) = (on.clone(), error.to_string());
            crate::engine::StepError::Failed { host, what: "read what the rehearsal says", reason }
        };
        Ok(serde_json::from_value(answer?).map_err(unread)?)
    }
}
