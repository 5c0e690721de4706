//! For logs: one line an event, `12:04:07Z db1 | what happened`. The time is UTC, to be laid beside the hosts' own logs;
//! the date is in the first line. No carriage returns, no colours. What commands print is left to the journal.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use super::Renderer;
use super::event::{Event, Kind};
use super::lines::sentence;
use super::look::Look;
use super::state::RunState;
use super::summary::summary;
use crate::names::HostName;

/// While the reason stays the same, waiting is mentioned this often.
const REMIND_SECONDS: u64 = 30;

pub struct Plain<W> {
    out: W,
    /// What each host was last said to wait for, and when.
    waits: BTreeMap<Option<HostName>, (String, u64)>,
}

impl<W: Write> Plain<W> {
    pub fn new(out: W) -> Self {
        Self { out, waits: BTreeMap::new() }
    }

    /// Waiting is polled; a log wants to know when something about it changes.
    fn is_old_news(&mut self, event: &Event) -> bool {
        let Kind::Waiting { what, reason, seconds } = &event.kind else {
            self.waits.remove(&event.host);
            return false;
        };
        let said = format!("{what}: {reason}");
        match self.waits.get(&event.host) {
            Some((before, at)) if *before == said && *seconds < at + REMIND_SECONDS => true,
            _ => {
                self.waits.insert(event.host.clone(), (said, *seconds));
                false
            }
        }
    }
}

impl<W: Write + Send> Renderer for Plain<W> {
    fn event(&mut self, event: &Event, state: &RunState) -> io::Result<()> {
        if let Kind::RunStarted { .. } = event.kind {
            writeln!(self.out, "{} | run {}, {}", event.at.strftime("%TZ"), event.run, event.at.strftime("%F"))?;
        }
        if let Kind::OutputLine { .. } = event.kind {
            return Ok(());
        }
        let Some(said) = sentence(&event.kind, event.stage.as_deref(), state) else { return Ok(()) };
        if self.is_old_news(event) {
            return Ok(());
        }
        let time = event.at.strftime("%TZ").to_string();
        let who = event.host.as_ref().map(|host| format!("{host} ")).unwrap_or_default();
        for line in said.text.lines().chain(said.more.iter().flat_map(|more| more.lines())) {
            writeln!(self.out, "{time} {who}| {line}")?;
        }
        self.out.flush()
    }

    fn finish(&mut self, state: &RunState, journal: Option<&Path>) -> io::Result<()> {
        for line in summary(state, journal, Look::PLAIN, usize::MAX) {
            writeln!(self.out, "{line}")?;
        }
        self.out.flush()
    }
}
