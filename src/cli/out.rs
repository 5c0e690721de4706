//! Standard output: data, and nothing else.

use std::io::{self, IsTerminal, Write};

use crate::cluster::table::{Look, Paint};
use crate::error::{Exit, Fails};
use crate::plan::Style;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum OutputError {
    #[error("cannot write to standard output")]
    #[diagnostic(code(xnat::output), help("is the disk it goes to full?"))]
    Stdout(#[source] io::Error),
    #[error("cannot write this as JSON")]
    #[diagnostic(code(xnat::output::json), help("this is a bug; please report it"))]
    Json(#[from] serde_json::Error),
}

impl Fails for OutputError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// Print a text as it is. A reader that has gone away (`| head`) is no error.
pub fn text(text: &str) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(OutputError::Stdout(error)),
        _ => Ok(()),
    }
}

/// Print one JSON document.
pub fn json(value: &impl serde::Serialize) -> Result<(), OutputError> {
    let mut document = serde_json::to_string_pretty(value)?;
    document.push('\n');
    text(&document)
}

/// Colours and width as standard output has them: neither when it is not a terminal.
pub fn look() -> Look {
    let width = console::Term::stdout().size_checked().map(|(_, columns)| columns);
    Look { width, paint: if style() == Style::Colour { Paint::Colour } else { Paint::Plain } }
}

/// Whether standard output may be coloured.
pub fn style() -> Style {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if io::stdout().is_terminal() && !no_color { Style::Colour } else { Style::Plain }
}
