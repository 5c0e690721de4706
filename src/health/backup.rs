//! What there would be if all went wrong: archived WAL, a backup, and a rehearsal of it.

use jiff::Timestamp;

use super::finding::Finding;
use super::measured::Drill;
use super::{Case, Check, logged, sql};
use crate::cluster::postgres::vitals::Archiver;
use crate::names::HostName;

pub const CHECKS: [Check; 3] = [
    Check { id: "archiving", title: "WAL is archived where it should be", rules: &[], look: archiving },
    Check {
        id: "backup",
        title: "WAL was archived within a day: no other backup is known to this program",
        rules: &[],
        look: backup,
    },
    Check {
        id: "drill",
        title: "a failure was rehearsed within 90 days, and the last rehearsal passed",
        rules: &[],
        look: drill,
    },
];

const DAY: f64 = 86_400.0;
/// After so many days a rehearsal says little of today.
const STALE: f64 = 90.0;

/// Only the leader archives.
fn archiver<'a>(case: &'a Case<'_>) -> Result<(&'a HostName, &'a Archiver), Finding> {
    case.leader().map(|(host, vitals)| (host, &vitals.archiver))
}

fn archiving(case: &Case<'_>) -> Vec<Finding> {
    let (host, archiver) = match archiver(case) {
        Ok(archiver) => archiver,
        Err(unknown) => return vec![unknown],
    };
    let finding = match (archiver.enabled, archiver.is_failing()) {
        (false, _) => Finding::ok("archive_mode is off"),
        (true, false) => Finding::ok("no failure since the last success"),
        (true, true) => {
            let wal = archiver.wal.as_deref().unwrap_or("WAL");
            Finding::critical(format!("PostgreSQL on {host} cannot archive {wal}: all WAL is kept until it can"))
                .fix(format!("see what archive_command says: {}", logged(case, host, "archive")))
        }
    };
    vec![finding.on(host)]
}

/// Backups are not this program's; archived WAL is all it can see of them.
fn backup(case: &Case<'_>) -> Vec<Finding> {
    let (host, archiver) = match archiver(case) {
        Ok(archiver) => archiver,
        Err(unknown) => return vec![unknown],
    };
    let finding = match (archiver.enabled, archiver.archived) {
        (true, Some(seconds)) if seconds < DAY => Finding::ok(format!("WAL archived {:.0} min ago", seconds / 60.0)),
        (true, Some(seconds)) => Finding::notice(format!("the last WAL was archived {:.0} days ago", seconds / DAY))
            .fix(format!("see whether anything was written since, {}", sql(host, "SELECT * FROM pg_stat_archiver"))),
        (true, None) => Finding::notice("no WAL was archived yet, and no other backup is known to this program")
            .fix(format!("see how it goes, {}", sql(host, "SELECT * FROM pg_stat_archiver"))),
        (false, _) => Finding::notice("no backup that this program knows of: archive_mode is off")
            .fix("replicas are no backup, they repeat every mistake: back the database up, and try to restore it"),
    };
    vec![finding.on(host)]
}

fn drill(case: &Case<'_>) -> Vec<Finding> {
    match &case.measured.drill {
        Ok(last) => vec![rehearsed(last.as_ref(), case.measured.now).fix(case.ours("drill all --safe"))],
        Err(why) => vec![Finding::unknown(format!("whether there was a drill is not known: {why}"))],
    }
}

/// What the last drill says of how ready one is.
fn rehearsed(last: Option<&Drill>, now: Timestamp) -> Finding {
    let Some(last @ Drill { drill, finished, passed, .. }) = last else {
        return Finding::notice("no failure was ever rehearsed from this machine");
    };
    let days = now.duration_since(*finished).as_secs_f64() / DAY;
    match passed {
        false => Finding::warning(format!("the last drill ({drill}, {days:.0} days ago) failed: {}", last.reason())),
        true if days > STALE => Finding::notice(format!("the last drill ({drill}) is {days:.0} days ago")),
        true => Finding::ok(format!("{drill}, {days:.0} days ago")),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::finding::State;
    use super::*;

    #[test]
    fn a_drill_counts_for_a_while_if_it_passed() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 1000);
        let ended = |days: i64, passed: bool| {
            let finished = now - SignedDuration::from_hours(24 * days);
            let kept = serde_json::json!({ "drill": "power-off", "finished": finished, "passed": passed });
            serde_json::from_value(kept).expect("a drill")
        };
        let state = |last: Option<Drill>| rehearsed(last.as_ref(), now).state;
        assert_eq!(state(None), State::Notice);
        assert_eq!(state(Some(ended(3, true))), State::Ok);
        assert_eq!(state(Some(ended(91, true))), State::Notice);
        assert_eq!(state(Some(ended(91, false))), State::Warning);
    }
}
