//! What was seen while a fault lasted. All times are milliseconds since clients began.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::HostName;

/// Everything of one run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Recording {
    pub injected: u64,
    /// When it was taken back, of a fault that lasts.
    pub undone: Option<u64>,
    /// When all was well again.
    pub healed: Option<u64>,
    pub ended: u64,
    /// When rows were acknowledged, and reads answered.
    pub writes: Vec<u64>,
    pub reads: Vec<u64>,
    /// When somebody with a new connection had written a row.
    pub connects: Vec<u64>,
    /// What clients were told when they were not.
    pub errors: Vec<Note>,
    pub servers: BTreeMap<HostName, Vec<Span<Server>>>,
    /// Whom each HAProxy sends writes to.
    pub balancers: BTreeMap<HostName, Vec<Span<Balancer>>>,
    /// Whom Patroni has as leader.
    pub lock: Vec<Span<Lock>>,
    /// What was done, and what happened.
    pub notes: Vec<Note>,
    pub ledger: Ledger,
}

/// The rows, compared with what was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    pub acknowledged: u64,
    /// Acknowledged and not there.
    pub lost: u64,
    /// There and never acknowledged: the answer to them was lost.
    pub unacknowledged: u64,
    /// There and never sent.
    pub unknown: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub at: u64,
    pub text: String,
}

/// The same was seen from the first to the last time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span<T> {
    pub from: u64,
    pub to: u64,
    pub seen: T,
}

/// A PostgreSQL, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    pub role: Role,
    pub timeline: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Writable,
    Replica,
    /// It does not answer.
    Silent,
}

/// Members that writes are sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balancer(pub Vec<HostName>);

/// The holder of the leader lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock(pub Option<HostName>);

impl Recording {
    /// That something was seen: the last span goes on, or another begins.
    pub fn saw<T: PartialEq>(spans: &mut Vec<Span<T>>, (from, to): (u64, u64), seen: T) -> bool {
        match spans.last_mut() {
            Some(last) if last.seen == seen => {
                last.to = to;
                false
            }
            _ => {
                spans.push(Span { from, to, seen });
                true
            }
        }
    }
}

/// The longest time between two neighbours, of those that end after `since`: when it began, and how long it was.
pub fn longest_gap(times: &[u64], since: u64) -> Option<(u64, u64)> {
    let gaps = times.windows(2).filter(|pair| pair[1] >= since).map(|pair| (pair[0], pair[1] - pair[0]));
    gaps.max_by_key(|(_, length)| *length)
}
