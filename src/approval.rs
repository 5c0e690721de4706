//! The token without which nothing on a host can be changed.
//!
//! `Host::perform` and the writing halves of the cluster clients take `&Approved`; only [`Approved::by_operator`] makes
//! one, and only `cli/confirm.rs` may call it (a layering test holds that). So a dry run cannot change anything by mistake.
//! An approval ends with the locks it was given under: whoever uses one asks [`Approved::still_holds`] first, and another
//! layering test refuses functions that take an approval and ignore it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Exit, Fails};
use crate::names::HostName;

/// A host gives its lock away when it has not heard from us for so long.
pub const LEASE: Duration = Duration::from_secs(30);

/// How much of the lease is not used: what is begun just before its end must have been sent by then.
const MARGIN: Duration = Duration::from_secs(5);

/// Proof that somebody saw a plan and said yes, good for as long as the run holds its locks.
#[derive(Debug)]
pub struct Approved {
    standing: Standing,
}

impl Approved {
    /// To be called where the answer of the administrator (or `--yes`) is read, and nowhere else.
    pub fn by_operator(standing: Standing) -> Self {
        Self { standing }
    }

    /// To be asked right before every change.
    pub fn still_holds(&self) -> Result<(), Overtaken> {
        self.standing.check(Moment::now())
    }
}

/// The locks a run has on hosts, as far as this machine knows: none lost, and each confirmed within its lease. Clones
/// are the same locks.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<Mutex<Locks>>);

#[derive(Debug, Default)]
struct Locks {
    confirmed: BTreeMap<HostName, Moment>,
    lost: Option<Overtaken>,
}

/// Another run may have begun: this one must not change anything any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("this run does not hold the lock on {host} any more ({why}) and changes nothing more")]
#[diagnostic(
    code(xnat::lock::lost),
    help(
        "another run may be at work: `ssh {host} cat /run/xnat-provision/holder` says which; then run the same command again, it goes on from here"
    )
)]
pub struct Overtaken {
    pub host: HostName,
    pub why: String,
}

impl Fails for Overtaken {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// A point in time by both clocks: one does not run while the machine sleeps, the other can be set.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    steady: Instant,
    wall: SystemTime,
}

impl Moment {
    pub fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    /// By the clock that says more.
    fn since(&self, earlier: Self) -> Duration {
        let steady = self.steady.saturating_duration_since(earlier.steady);
        // a wall clock that was set back says nothing
        steady.max(self.wall.duration_since(earlier.wall).unwrap_or_default())
    }
}

impl Standing {
    /// The host has heard what was said at `said`.
    pub fn confirm(&self, host: &HostName, said: Moment) {
        self.locks().confirmed.insert(host.clone(), said);
    }

    /// The lock is gone; the first loss is the one that is told.
    pub fn lose(&self, host: &HostName, why: impl Into<String>) {
        self.locks().lost.get_or_insert(Overtaken { host: host.clone(), why: why.into() });
    }

    /// Given back: no longer missed.
    pub fn release(&self, host: &HostName) {
        self.locks().confirmed.remove(host);
    }

    fn check(&self, now: Moment) -> Result<(), Overtaken> {
        let mut locks = self.locks();
        let late = locks.confirmed.iter().find(|(_, said)| now.since(**said) + MARGIN > LEASE);
        let late = late.map(|(host, said)| Overtaken {
            host: host.clone(),
            why: format!("nothing was heard from it for {} s", now.since(*said).as_secs()),
        });
        if locks.lost.is_none() {
            // it stays lost when the host is heard again: in between others may have come and gone
            locks.lost = late;
        }
        locks.lost.clone().map_or(Ok(()), Err)
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(seconds: u64) -> Moment {
        let now = Moment::now();
        Moment { steady: now.steady + Duration::from_secs(seconds), ..now }
    }

    #[test]
    fn an_approval_ends_with_the_lease_and_does_not_come_back() {
        let standing = Standing::default();
        let approved = Approved::by_operator(standing.clone());
        approved.still_holds().expect("no locks, nothing lost");
        standing.confirm(&"db1".into(), Moment::now());
        standing.check(later(20)).expect("within the lease");
        let lost = standing.check(later(26)).expect_err("too late");
        assert_eq!(
            lost.to_string(),
            "this run does not hold the lock on db1 any more (nothing was heard from it for 26 s) and changes nothing more"
        );
        standing.confirm(&"db1".into(), Moment::now());
        approved.still_holds().expect_err("once lost is lost");
    }

    #[test]
    fn a_machine_that_slept_knows_it_by_the_wall_clock() {
        let standing = Standing::default();
        let now = Moment::now();
        standing.confirm(&"db1".into(), now);
        let set_back = Moment { wall: now.wall - Duration::from_secs(3600), ..now };
        standing.check(set_back).expect("a clock that was set back");
        let woken = Moment { wall: now.wall + Duration::from_secs(3600), ..now };
        standing.check(woken).expect_err("it slept for an hour");
    }

    #[test]
    fn what_was_given_back_is_not_missed_and_the_first_loss_is_told() {
        let standing = Standing::default();
        standing.confirm(&"db1".into(), Moment::now());
        standing.release(&"db1".into());
        standing.check(later(3600)).expect("nothing is held");
        standing.lose(&"db2".into(), "the host ended it");
        standing.lose(&"db3".into(), "the connection was lost");
        assert_eq!(standing.check(Moment::now()).expect_err("lost").host, "db2".into());
    }
}
