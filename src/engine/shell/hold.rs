//! The script that holds a host's lock for a run: it takes it or says who has it, says so, and then lives on what the
//! run sends. When that stays away for longer than the lease, or its input ends, the lock is free again, whatever
//! became of the machine the run was started on.
//!
//! Two files in `/run/xnat-provision`: `lock`, locked with flock by whoever holds it, and `holder`, of which the first
//! line is "NUMBER RUN" (the fence, see [`fenced`]) and the second says who that is, as JSON. `holder` stays when the lock
//! is given back: it goes on fencing off a run that lost its lock and does not know.

use crate::approval::LEASE;
use crate::quote;

/// Which turn at the lock a script belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub number: u64,
    pub run: String,
}

/// What a script says first when the turn is over, on standard output; on standard error, who has the next.
pub const FENCED: &str = "fenced";
const FENCED_STATUS: u32 = 76;

const DIRECTORY: &str = "/run/xnat-provision";

/// Where runs that changed something are remembered on a host: a JSON object in each line.
pub const HISTORY: &str = "/var/lib/xnat-provision/history";
/// So many lines are kept.
const HISTORY_LINES: usize = 400;
/// So much of it is read.
const HISTORY_BYTES: usize = 1 << 20;

/// For `perl -e`: it is in perl-base, which is on every Debian.
const HOLD: &str = include_str!("hold.pl");

/// Take the lock for a run and hold it. Prints "mine NUMBER", or "taken CLAIM" and ends. Then answers each line
/// "N beat", "N note JSON", "N end" with "N done" or "N failed".
pub fn hold(run: &str, claim: &str) -> String {
    hold_in(DIRECTORY, HISTORY, (run, claim))
}

/// For tests: the same in other places.
pub fn hold_in(directory: &str, history: &str, (run, claim): (&str, &str)) -> String {
    let (lease, keep) = (LEASE.as_secs().to_string(), (HISTORY_LINES - 1).to_string());
    let arguments = [HOLD, directory, history, run, claim, &lease, &keep].map(quote::sh);
    format!("exec perl -e {}", arguments.join(" "))
}

/// What the host remembers, a record in each line, oldest first; before that "running RUN" when a run has the lock.
/// Changes nothing; trying the lock does not keep anybody from it, since whoever wants it tries for a second.
pub fn history() -> String {
    history_in(DIRECTORY, HISTORY)
}

/// For tests: the same in other places.
pub fn history_in(directory: &str, history: &str) -> String {
    format!(
        r#"if cd -- {directory} 2>/dev/null && [ -r lock ] && [ -r holder ] && ! flock -n -s lock true; then
  read -r number run <holder
  printf 'running %s\n' "$run"
fi
if [ -e {history} ]; then tail -n {HISTORY_LINES} -- {history} | tail -c {HISTORY_BYTES}; fi"#,
        directory = quote::sh(directory),
        history = quote::sh(history),
    )
}

/// The lines a script begins with that must not run when the turn of its run is over.
pub fn fenced(fence: &Fence) -> String {
    fenced_in(DIRECTORY, fence)
}

/// For tests: the same in another place.
pub fn fenced_in(directory: &str, fence: &Fence) -> String {
    let holder = quote::sh(&format!("{directory}/holder"));
    let ours = quote::sh(&format!("{} {}", fence.number, fence.run));
    format!(
        "holder= theirs=
if [ -r {holder} ]; then {{ read -r holder; read -r theirs; }} <{holder}; fi
[ \"$holder\" = {ours} ] || {{ echo {FENCED}; printf '%s\\n' \"$theirs\" >&2; exit {FENCED_STATUS}; }}"
    )
}
