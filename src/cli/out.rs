//! Standard output: data, and nothing else.

use std::io::{self, Write};

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

/// Whether anybody still reads what is printed: `| head` may be gone, which is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    There,
    Gone,
}

/// Print a text as it is.
pub fn text(text: &str) -> Result<Reader, OutputError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(OutputError::Stdout(error)),
    }
}

/// Print one JSON document.
pub fn json(value: &impl serde::Serialize) -> Result<Reader, OutputError> {
    text(&json_text(value)?)
}

/// One JSON document as [`json`] prints it.
pub fn json_text(value: &impl serde::Serialize) -> Result<String, OutputError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Colours and width as standard output has them: neither when it is not a terminal.
pub fn look() -> Look {
    let width = console::Term::stdout().size_checked().map(|(_, columns)| columns);
    Look { width, paint: if style() == Style::Colour { Paint::Colour } else { Paint::Plain } }
}

/// Whether standard output may be coloured.
pub fn style() -> Style {
    // asks for a terminal, NO_COLOR, CLICOLOR and TERM
    if console::colors_enabled() { Style::Colour } else { Style::Plain }
}

/// A table: as wide as it needs to be, or as the terminal is.
pub fn table<const N: usize>(header: &[&str; N], rows: &[[String; N]]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header.iter());
    if let Some(width) = look().width {
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_width(width);
    }
    rows.iter().for_each(|row| _ = table.add_row(row));
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}
