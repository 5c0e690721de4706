//! How long nobody can write at most, as the configured timings have it: what is measured stands beside it.

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use crate::inventory::Inventory;

/// A bound and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    pub millis: u64,
    pub formula: String,
}

/// Asking the other members before the lock is taken, of which one may not answer: Patroni waits two seconds for it.
const RACE: u64 = 2000;
/// PostgreSQL stops, or is promoted.
const CHANGE: u64 = 2000;
/// systemd starts a service again, and it is ready.
const AGAIN: u64 = 5000;
/// The liveness unit looks once a second.
const LOOK: u64 = 1000;
/// etcd elects another leader.
const ELECTION: u64 = 2000;

/// None when the fault says nothing about it: then clients cannot write until it is undone.
pub fn bound(fault: Fault, inventory: &Inventory) -> Option<Bound> {
    let (patroni, check) = (&inventory.patroni, &inventory.haproxy.check);
    let seconds = |value: u32| u64::from(value) * 1000;
    let (ttl, wait, retry) = (seconds(patroni.ttl), seconds(patroni.loop_wait), seconds(patroni.retry_timeout));
    let start = seconds(patroni.primary_start_timeout);
    let up = u64::from(check.downinter_ms + check.timeout_ms)
        + u64::from(check.rise.saturating_sub(1)) * u64::from(check.fastinter_ms);
    let sum = |parts: &[(&str, u64)]| {
        let formula = parts.iter().map(|(name, millis)| format!("{name} {:.1}", *millis as f64 / 1000.0));
        Some(Bound { millis: parts.iter().map(|part| part.1).sum(), formula: formula.collect::<Vec<_>>().join(" + ") })
    };
    // it is noticed in the second after the last failure
    let liveness = ("liveness", seconds(patroni.liveness_failures + 1));
    let watched = patroni.liveness_failures > 0;
    let (haproxy, race) = (("HAProxy", up), ("race", RACE));
    match fault {
        Fault::Switchover => sum(&[("stop", CHANGE), ("promote", CHANGE), haproxy]),
        Fault::Replica | Fault::EtcdLeader => sum(&[("election", ELECTION)]),
        Fault::Haproxy => sum(&[("start again", AGAIN)]),
        Fault::KillPatroni => sum(&[("start again", AGAIN), haproxy]),
        Fault::KillPostgres => {
            sum(&[("loop_wait", wait), ("primary_start_timeout", start), ("loop_wait", wait), race, haproxy])
        }
        Fault::KillBoth => {
            sum(&[("start again", AGAIN), ("loop_wait", wait), ("primary_start_timeout", start), race, haproxy])
        }
        Fault::StopPatroni if watched => sum(&[liveness, ("start again", AGAIN), haproxy]),
        Fault::StopPostgres if watched => sum(&[liveness, ("loop_wait", wait), ("start again", AGAIN), haproxy]),
        Fault::ClockBack | Fault::ClockAhead if watched => sum(&[("liveness", LOOK), ("start again", AGAIN), haproxy]),
        Fault::ClockAhead => sum(&[("loop_wait", wait), haproxy]),
        // its machine may be that of etcd's leader, and the next one begins all leases anew
        Fault::PowerOff | Fault::CutOff => {
            sum(&[("etcd's election", ELECTION), ("ttl", ttl), ("loop_wait", wait), race, haproxy])
        }
        Fault::StopPatroni | Fault::ClockBack => sum(&[("ttl", ttl), ("loop_wait", wait), race, haproxy]),
        Fault::CutFromEtcd | Fault::EtcdQuorum if patroni.failsafe_mode => {
            sum(&[("loop_wait", wait), ("retry_timeout", retry), haproxy])
        }
        Fault::CutFromEtcd => sum(&[("ttl", ttl), ("loop_wait", wait), race, haproxy]),
        Fault::CutFromReplicas => sum(&[("ttl", ttl), ("loop_wait", wait), haproxy]),
        Fault::StopPostgres | Fault::CutFromHaproxy | Fault::EtcdQuorum | Fault::DiskFull => None,
    }
}
