//! Any error as an event: its message, what it was caused by, and what to try, without repeating itself.

use miette::Diagnostic;

use super::event::Kind;

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

/// The chain of sources, leaving out those that the text before them holds already.
fn causes(error: &dyn Diagnostic) -> Vec<String> {
    let mut told = error.to_string();
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !told.contains(&text) {
            told = text.clone();
            causes.push(text);
        }
        source = cause.source();
    }
    causes
}
