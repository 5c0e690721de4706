//! For commands that say themselves what came of them: warnings, and nothing else.

use std::io::{self, Write};
use std::path::Path;

use super::Renderer;
use super::event::{Event, Kind};
use super::lines::sentence;
use super::state::RunState;

pub struct Warnings<W> {
    out: W,
}

impl<W: Write> Warnings<W> {
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> Renderer for Warnings<W> {
    fn event(&mut self, event: &Event, state: &RunState) -> io::Result<()> {
        if !matches!(event.kind, Kind::Warned { .. } | Kind::Interrupted) {
            return Ok(());
        }
        let Some(said) = sentence(&event.kind, None, state) else { return Ok(()) };
        let who = event.host.as_ref().map(|host| format!("{host}: ")).unwrap_or_default();
        writeln!(self.out, "{who}{}", said.text)?;
        said.more.iter().try_for_each(|line| writeln!(self.out, "  {line}"))?;
        self.out.flush()
    }

    fn finish(&mut self, _state: &RunState, _journal: Option<&Path>) -> io::Result<()> {
        self.out.flush()
    }
}
