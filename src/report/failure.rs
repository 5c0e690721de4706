//! Any error as an event: its message, what it was caused by, and what to try, without repeating itself.

use miette::Diagnostic;

use super::event::Kind;
use crate::error::causes;

/// The event of a failure; `output_tail` is what the host printed last.
pub fn failed(error: &dyn Diagnostic, output_tail: Vec<String>) -> Kind {
    Kind::Failed {
        code: error.code().map(|code| code.to_string()).unwrap_or_default(),
        message: error.to_string(),
        causes: causes(error),
        help: error.help().map(|help| help.to_string()),
        output_tail,
    }
}
