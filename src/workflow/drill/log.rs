//! What is recorded while a drill lasts, and told as it happens.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::drill::{Note, Recording};
use crate::engine::Cancel;
use crate::engine::wait::{Wait, WaitError};
use crate::report::text::printable;
use crate::report::{Kind, Reporter};

pub(super) struct Log<'a> {
    begun: Instant,
    reporter: &'a Reporter,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    seen: Recording,
    next: u64,
    acknowledged: BTreeSet<u64>,
}

impl<'a> Log<'a> {
    pub fn begin(reporter: &'a Reporter) -> Self {
        Self { begun: Instant::now(), reporter, kept: Mutex::default() }
    }

    /// Milliseconds since the beginning.
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no row has had.
    pub fn next_row(&self) -> u64 {
        let mut kept = self.kept();
        kept.next += 1;
        kept.next
    }

    pub fn acknowledged(&self, row: u64) {
        let now = self.now();
        let mut kept = self.kept();
        kept.acknowledged.insert(row);
        kept.seen.writes.push(now);
    }

    /// A row of somebody who has connected for it.
    pub fn connected(&self, row: u64) {
        let now = self.now();
        let mut kept = self.kept();
        kept.acknowledged.insert(row);
        kept.seen.connects.push(now);
    }

    pub fn with<T>(&self, change: impl FnOnce(&mut Recording) -> T) -> T {
        change(&mut self.kept().seen)
    }

    pub fn mark(&self, change: impl FnOnce(&mut Recording, u64)) {
        let now = self.now();
        self.with(|seen| change(seen, now));
    }

    pub fn failed(&self, text: String) {
        let at = self.now();
        // what servers say goes into the report
        let text = self.reporter.redactor().clean(&printable(&text)).into_owned();
        self.with(|seen| seen.errors.push(Note { at, text }));
    }

    /// Something happened: it is told at once.
    pub async fn tell(&self, text: String) {
        let at = self.now();
        self.with(|seen| seen.notes.push(Note { at, text: text.clone() }));
        self.reporter.emit(Kind::Observed { text, millis: at }).await;
    }

    pub fn rows(&self) -> (u64, BTreeSet<u64>) {
        let kept = self.kept();
        (kept.next, kept.acknowledged.clone())
    }

    pub async fn first_writes(&self, cancel: &Cancel) -> Result<(), WaitError> {
        let wait = Wait {
            what: "clients to write and read".to_owned(),
            deadline: Duration::from_secs(30),
            interval: Duration::from_millis(100),
            help: "see `xnat-provision status`: does HAProxy find the leader?".to_owned(),
        };
        let come = || async {
            let kept = self.kept();
            let last = || kept.seen.errors.last().map_or("nothing yet", |note| note.text.as_str()).to_owned();
            if kept.seen.writes.is_empty() || kept.seen.reads.is_empty() { Err(last()) } else { Ok(()) }
        };
        wait.until(self.reporter, cancel, come).await
    }

    /// Clients go on meanwhile, which is what is waited for.
    pub async fn rest(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    pub fn end(self) -> Recording {
        let ended = self.now();
        let mut seen = self.kept.into_inner().unwrap_or_else(PoisonError::into_inner).seen;
        seen.ended = ended;
        // several clients, each in its own order
        seen.writes.sort_unstable();
        seen.reads.sort_unstable();
        seen
    }
}
