//! From what was recorded to figures.

use serde::{Deserialize, Serialize};

use super::record::{Recording, Role, longest_gap};
use crate::names::HostName;

/// Of one run, in milliseconds since the fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    pub write_gap: Option<u64>,
    pub read_gap: Option<u64>,
    /// For how long nobody with a new connection could write.
    pub connect_gap: Option<u64>,
    /// Until Patroni or a HAProxy was seen to know of it.
    pub detected: Option<u64>,
    /// Until another member took writes.
    pub promoted: Option<u64>,
    /// Until a HAProxy sent writes there.
    pub switched: Option<u64>,
    /// Until all was well again, since it was undone (or since the fault, if it was over by itself).
    pub healed: Option<u64>,
    /// Until the old leader answered as a replica, since it was undone (or since the fault, if it was over by itself).
    pub rejoined: Option<u64>,
    pub acknowledged: u64,
    pub lost: u64,
    pub unacknowledged: u64,
    pub unknown: u64,
    /// For how long two members took writes at once.
    pub two_writable: u64,
    pub timelines: Vec<u32>,
    pub leader_before: Option<HostName>,
    pub leader_after: Option<HostName>,
}

pub fn figures(seen: &Recording) -> Figures {
    let since = |at: u64| at.saturating_sub(seen.injected);
    let before = seen.lock.iter().filter(|span| span.from <= seen.injected).find_map(|span| span.seen.0.clone());
    let after = seen.lock.last().and_then(|span| span.seen.0.clone());
    let over = |at: u64| at.saturating_sub(seen.undone.unwrap_or(seen.injected));
    let other = |host: &HostName| Some(host) != before.as_ref();
    let later = |at: u64| at >= seen.injected;
    let unlocked =
        seen.lock.iter().filter(|span| later(span.from) && span.seen.0 != before).map(|span| span.from).min();
    let routes = seen.balancers.values().flatten();
    let left = |hosts: &[HostName]| before.as_ref().is_some_and(|before| !hosts.contains(before));
    let dropped = routes.clone().filter(|span| later(span.from) && left(&span.seen.0)).map(|span| span.from).min();
    let writable = seen.servers.iter().filter(|(host, _)| other(host)).flat_map(|(_, spans)| spans);
    let promoted =
        writable.filter(|span| later(span.from) && span.seen.role == Role::Writable).map(|span| span.from).min();
    let switched = routes.filter(|span| later(span.from) && span.seen.0.iter().any(other)).map(|span| span.from).min();
    let old = before.iter().filter(|_| before != after).flat_map(|host| seen.servers.get(host)).flatten();
    // one that demoted itself while nobody was there to follow follows nobody yet
    let ended = seen.undone.unwrap_or(seen.injected);
    let rejoined = old.filter(|span| span.from >= ended && span.seen.role == Role::Replica).map(|span| span.from).min();
    let mut timelines: Vec<u32> = seen.servers.values().flatten().filter_map(|span| span.seen.timeline).collect();
    timelines.sort_unstable();
    timelines.dedup();
    Figures {
        write_gap: longest_gap(&seen.writes, seen.injected).map(|(_, length)| length),
        read_gap: longest_gap(&seen.reads, seen.injected).map(|(_, length)| length),
        connect_gap: longest_gap(&seen.connects, seen.injected).map(|(_, length)| length),
        detected: unlocked.into_iter().chain(dropped).min().map(since),
        promoted: promoted.map(since),
        switched: switched.map(since),
        healed: seen.healed.map(over),
        rejoined: rejoined.map(over),
        acknowledged: seen.ledger.acknowledged,
        lost: seen.ledger.lost,
        unacknowledged: seen.ledger.unacknowledged,
        unknown: seen.ledger.unknown,
        two_writable: two_writable(seen),
        timelines,
        leader_before: before,
        leader_after: after,
    }
}

/// A member was writable from the first to the last time in a row it said so; where two such times meet, both were.
fn two_writable(seen: &Recording) -> u64 {
    let mut spans: Vec<(&HostName, u64, u64)> = Vec::new();
    for (host, server) in &seen.servers {
        let writable = server.iter().filter(|span| span.seen.role == Role::Writable);
        spans.extend(writable.map(|span| (host, span.from, span.to)));
    }
    let mut longest = 0;
    for (index, (host, from, to)) in spans.iter().enumerate() {
        for (_, other_from, other_to) in spans.iter().skip(index + 1).filter(|(other, ..)| other != host) {
            longest = longest.max((*to).min(*other_to).saturating_sub((*from).max(*other_from)));
        }
    }
    longest
}

/// Of several runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    pub least: u64,
    pub median: u64,
    pub most: u64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut values: Vec<u64> = values.into_iter().collect();
        values.sort_unstable();
        let middle = values.len() / 2;
        // of an even number the one between the two
        let lower = values.get(values.len().checked_sub(1)? / 2)?;
        let median = lower.midpoint(values[middle]);
        Some(Self { least: *values.first()?, median, most: *values.last()? })
    }
}
