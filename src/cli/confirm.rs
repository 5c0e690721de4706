//! The one place where an approval is made: a person says yes, here, now, or has said `--yes`.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::approval::Approved;
use crate::error::{Exit, Fails};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ConfirmError {
    #[error("nobody can be asked: this is not a terminal")]
    #[diagnostic(
        code(xnat::confirm::no_terminal),
        help("look at the plan first (`xnat-provision plan`), then run apply with --yes")
    )]
    NoTerminal,
    #[error("cannot read the answer")]
    #[diagnostic(code(xnat::confirm::io))]
    Io(#[from] io::Error),
}

impl Fails for ConfirmError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoTerminal => Exit::Usage,
            Self::Io(_) => Exit::Failed,
        }
    }
}

/// How the approval is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Terminal,
    /// `--yes`
    SaidYes,
}

/// Ask a question; anything but yes is no, and gives no approval.
pub fn approve(ask: Ask, question: &str) -> Result<Option<Approved>, ConfirmError> {
    if ask == Ask::SaidYes {
        return Ok(Some(Approved::by_operator()));
    }
    let input = io::stdin();
    let mut talk = io::stderr();
    if !input.is_terminal() || !talk.is_terminal() {
        return Err(ConfirmError::NoTerminal);
    }
    write!(talk, "{question} [y/N] ")?;
    talk.flush()?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(Some(Approved::by_operator())),
        _ => Ok(None),
    }
}
