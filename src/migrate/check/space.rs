//! Room on the disks of both sides.

use super::words::{size, some};
use super::{Finding, Severity, Target};
use crate::migrate::found::Found;

/// With less the source's server may have no room for what it writes while it is copied.
pub(super) const SCARCE: u64 = 1 << 30;

pub(super) fn disk(source: &Found, target: &Target) -> Option<Finding> {
    let bytes = source.database.bytes;
    let title = "room on the leader's disk";
    let todo = "make room there";
    let Some(free) = target.free_bytes else {
        let evidence = format!("the source has {}; what is free on the leader is not known", size(bytes));
        return Some(Finding::look("disk", title, evidence).todo(todo));
    };
    let evidence = format!(
        "the source has {}, free are {}; the copy takes about as much, its dump about half of that",
        size(bytes),
        size(free)
    );
    let tenfold = free.saturating_mul(10);
    Some(match tenfold {
        _ if tenfold < bytes.saturating_mul(12) => Finding::stops("disk", title, evidence).todo(todo),
        _ if tenfold < bytes.saturating_mul(15) => Finding::look("disk", title, evidence).todo(todo),
        _ => Finding::fine("disk", title, evidence),
    })
}

/// A replica that has no room any more stops, and with it what waits for it.
pub(super) fn replicas(source: &Found, target: &Target) -> Option<Finding> {
    let bytes = source.database.bytes;
    let severity = |free: &Option<u64>| match free.map(|free| free.saturating_mul(10)) {
        None => Severity::Look,
        Some(tenfold) if tenfold < bytes.saturating_mul(11) => Severity::Stops,
        Some(tenfold) if tenfold < bytes.saturating_mul(13) => Severity::Look,
        Some(_) => Severity::Fine,
    };
    let told =
        |(name, free): &(String, Option<u64>)| format!("{name} {}", free.map_or_else(|| "not known".to_owned(), size));
    let free = some(target.replicas_free.iter().map(told))?;
    let evidence = format!("the copy takes about {}; free are: {free}", size(bytes));
    let worst = target.replicas_free.iter().map(|(_, free)| severity(free)).min()?;
    let finding = Finding::new(worst, "replicas-disk", "room on the replicas' disks", evidence);
    Some(if worst == Severity::Fine { finding } else { finding.todo("make room there") })
}

/// What is copied by replication is kept there until the copy has it.
pub(super) fn source(source: &Found, _: &Target) -> Option<Finding> {
    let free = source.free_bytes?;
    let evidence = format!("free are {}; a dump needs none of it, the other methods keep WAL there", size(free));
    let title = "room on the source's disk";
    let todo = "make room there, or stay with a dump, which writes nothing";
    Some(match free < SCARCE {
        true => Finding::look("source-disk", title, evidence).todo(todo),
        false => Finding::fine("source-disk", title, evidence),
    })
}
