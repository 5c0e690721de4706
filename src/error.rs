//! Exit codes, and an error with its causes as text. Errors themselves live beside the code that makes them: one small enum per module,
//! `thiserror` for the text (a lower-case fragment without its source) and `miette::Diagnostic` for code, help and snippets.

use std::error::Error;

/// What the process tells its caller. Every module's error says which one it is, with `fn exit(&self) -> Exit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for is done or was so already.
    Ok = 0,
    /// An operation failed.
    Failed = 1,
    /// Wrong usage or a mistake in the inventory; nothing was touched.
    Usage = 2,
    /// A host could not be reached, or refused us.
    Unreachable = 3,
    /// The cluster is not healthy, or a drill missed its target.
    Unhealthy = 4,
    /// `plan`, `upgrade --plan`: there are changes to make. `bundle diff`: there are differences.
    ChangesPending = 5,
    /// Interrupted by a signal.
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}

/// What an error was caused by, from the outside in. Sources that say the same again are left out.
pub fn causes(error: &dyn Error) -> Vec<String> {
    let mut told = error.to_string();
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !told.contains(&text) {
            told.push_str(&text);
            causes.push(text);
        }
        source = cause.source();
    }
    causes
}

/// An error and its causes in one line.
pub fn one_line(error: &dyn Error) -> String {
    let chain: Vec<String> = std::iter::once(error.to_string()).chain(causes(error)).collect();
    chain.join(": ")
}

/// An error that knows how the process should end because of it.
pub trait Fails: miette::Diagnostic + Send + Sync + 'static {
    fn exit(&self) -> Exit;
}
