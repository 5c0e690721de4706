//! The one place where an approval is made: a person says yes, here, now, or has said `--yes`.

use std::io::{self, BufRead, IsTerminal, Write};

use tokio::sync::oneshot;

use crate::approval::{Approved, Standing};
use crate::engine::Cancel;
use crate::error::{Exit, Fails};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ConfirmError {
    #[error("nobody can be asked: this is not a terminal")]
    #[diagnostic(
        code(xnat::confirm::no_terminal),
        help("with --yes nobody is asked; what apply would do is shown by `xnat-provision plan`")
    )]
    NoTerminal,
    #[error("nobody can type the name of the cluster: this is not a terminal")]
    #[diagnostic(code(xnat::confirm::no_terminal), help("in a script: `--confirm {cluster}`"))]
    NobodyTypes { cluster: String },
    #[error("the cluster is not called {given:?} but {cluster:?}; nothing was changed")]
    #[diagnostic(code(xnat::confirm::name), help("is this the inventory you mean?"))]
    OtherName { given: String, cluster: String },
    #[error("interrupted at the question; nothing was changed")]
    #[diagnostic(code(xnat::interrupted))]
    Interrupted,
    #[error("cannot read the answer")]
    #[diagnostic(code(xnat::confirm::io))]
    Io(#[from] io::Error),
}

impl Fails for ConfirmError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoTerminal | Self::NobodyTypes { .. } | Self::OtherName { .. } => Exit::Usage,
            Self::Interrupted => Exit::Interrupted,
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

/// Ask a question; anything but yes is no, and gives no approval. It is good while the run holds its locks.
pub async fn approve(
    ask: Ask,
    question: &str,
    (cancel, standing): (&Cancel, &Standing),
) -> Result<Option<Approved>, ConfirmError> {
    if ask == Ask::SaidYes {
        return Ok(Some(Approved::by_operator(standing.clone())));
    }
    let answer = typed(format!("{question} [y/N] "), cancel, || ConfirmError::NoTerminal).await?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(Some(Approved::by_operator(standing.clone()))),
        _ => Ok(None),
    }
}

/// What a person types on the terminal.
async fn typed(
    question: String,
    cancel: &Cancel,
    no_terminal: impl FnOnce() -> ConfirmError,
) -> Result<String, ConfirmError> {
    let mut talk = io::stderr();
    if !io::stdin().is_terminal() || !talk.is_terminal() {
        return Err(no_terminal());
    }
    write!(talk, "{question}")?;
    talk.flush()?;
    let read = || {
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map(|_| answer)
    };
    answer(read, cancel).await
}

/// Whoever types a command for hosts has said with it that it is to be run: a question would only be asked to be
/// answered. It comes with no plan, since nobody here knows what the command does, and with the locks the run holds.
pub fn by_typing_the_command(standing: &Standing) -> Approved {
    Approved::by_operator(standing.clone())
}

/// For what cannot be taken back: the name of the cluster has to be typed, a yes is not enough.
pub struct Naming {
    pub cluster: String,
    /// `--confirm NAME`
    pub given: Option<String>,
}

impl Naming {
    /// A wrong name on the command line is known before anything is looked at.
    pub fn check(&self) -> Result<(), ConfirmError> {
        match &self.given {
            Some(given) if *given != self.cluster => {
                Err(ConfirmError::OtherName { given: given.clone(), cluster: self.cluster.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Anything but the name gives no approval.
    pub async fn approve(
        &self,
        warning: &str,
        (cancel, standing): (&Cancel, &Standing),
    ) -> Result<Option<Approved>, ConfirmError> {
        self.check()?;
        if self.given.is_none() {
            let question = format!("{warning} Type the name of the cluster to go on: ");
            let no_terminal = || ConfirmError::NobodyTypes { cluster: self.cluster.clone() };
            if typed(question, cancel, no_terminal).await?.trim() != self.cluster {
                return Ok(None);
            }
        }
        Ok(Some(Approved::by_operator(standing.clone())))
    }
}

/// What is read, or that it was interrupted. Reading from a terminal goes on after a Ctrl-C, so a thread of its own
/// does it, for which nobody waits when the program ends.
async fn answer<F>(read: F, cancel: &Cancel) -> Result<String, ConfirmError>
where
    F: FnOnce() -> io::Result<String> + Send + 'static,
{
    let (reader, answer) = oneshot::channel();
    // the other end is gone only when nobody wants the answer any more
    std::thread::spawn(move || reader.send(read()).ok());
    tokio::select! {
        () = cancel.cancelled() => Err(ConfirmError::Interrupted),
        answer = answer => Ok(answer.map_err(io::Error::other)??),
    }
}

#[cfg(test)]
mod tests {
    use super::{ConfirmError, answer};
    use crate::engine::Cancel;

    #[tokio::test]
    async fn an_interrupt_ends_the_question() {
        let cancel = Cancel::default();
        assert_eq!(answer(|| Ok("yes\n".to_owned()), &cancel).await.expect("an answer"), "yes\n");
        cancel.cancel();
        let (_open, nothing) = std::sync::mpsc::channel::<String>();
        let never = move || nothing.recv().map_err(std::io::Error::other);
        assert!(matches!(answer(never, &cancel).await, Err(ConfirmError::Interrupted)));
    }
}
