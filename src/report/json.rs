//! For programs: JSON lines, one event each, as [`super::Event`] serialises. The shape is stable: fields and kinds may be
//! added, none changes its meaning. The same lines are in the journal.

use std::io::{self, Write};
use std::path::Path;

use super::Renderer;
use super::event::Event;
use super::state::RunState;

pub struct Json<W> {
    out: W,
}

impl<W: Write> Json<W> {
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> Renderer for Json<W> {
    fn event(&mut self, event: &Event, _state: &RunState) -> io::Result<()> {
        self.out.write_all(&line(event)?)?;
        self.out.flush()
    }

    fn finish(&mut self, _state: &RunState, _journal: Option<&Path>) -> io::Result<()> {
        self.out.flush()
    }
}

/// An event as a line of JSON, to be written at once so that a killed run leaves whole lines.
pub fn line(event: &Event) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    Ok(line)
}
