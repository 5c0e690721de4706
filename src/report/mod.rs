//! Events and everything that renders them. Work emits [`event::Event`]s into one bounded channel; `state` folds them,
//! and human, plain, JSON and journal read events and state. Nothing else prints.
//!
//! ```text
//! Reporter::emit ─redact→ channel(256) ─→ audience: number, journal, fold into RunState, render
//! ```

mod audience;
pub mod error;
pub mod event;
mod failure;
pub mod frame;
pub mod human;
pub mod journal;
pub mod json;
pub mod lines;
pub mod look;
mod origin;
pub mod plain;
pub mod record;
pub mod redact;
mod region;
pub mod state;
pub mod summary;
pub mod text;
mod warnings;

use std::io::{self, IsTerminal};
use std::path::Path;

pub use audience::{Finished, Options, Running, Show, start};
pub use error::ReportError;
pub use event::{Event, InventoryFile, Kind, Outcome, Reporter, millis_since};
pub use failure::failed;
pub use origin::Origin;
pub use record::{Ended, Record};
pub use redact::{Redactor, Registration};

use human::{Human, Motion};
use journal::Recording;
use look::Look;
use state::RunState;

/// Shows a run to somebody. Told every event, with the state that already holds it.
pub trait Renderer: Send {
    fn event(&mut self, event: &Event, state: &RunState) -> io::Result<()>;
    /// The run is over; `journal` is the file that has all of it.
    fn finish(&mut self, state: &RunState, journal: Option<&Path>) -> io::Result<()>;
}

/// Show a recorded run again, on standard output: it is what was asked for.
pub fn replay(recording: &Recording, path: &Path, show: Show) -> Result<(), ReportError> {
    let mut renderer: Box<dyn Renderer> = match show {
        Show::Json => Box::new(json::Json::new(io::stdout())),
        Show::Plain => Box::new(plain::Plain::new(io::stdout())),
        Show::Warnings => Box::new(warnings::Warnings::new(io::stdout())),
        Show::Terminal if !io::stdout().is_terminal() => Box::new(plain::Plain::new(io::stdout())),
        Show::Terminal => Box::new(Human::new(console::Term::buffered_stdout(), Look::of_terminal(), Motion::Still)),
    };
    let mut state = RunState::default();
    let mut show_all = || -> io::Result<()> {
        for event in &recording.events {
            state.apply(event);
            renderer.event(event, &state)?;
        }
        renderer.finish(&state, Some(path))
    };
    audience::unless_reader_left(show_all()).map_err(|source| ReportError::Output { source })
}
