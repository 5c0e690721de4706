//! Asking a person for passwords and passphrases: once each, for all hosts. How to ask is the command line's affair.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::secret::Secret;

/// Somebody who can be asked. May block for as long as a person thinks.
pub trait Prompt: Send + Sync {
    /// The answer; `None` when there is nobody to ask (no terminal) or they would not say.
    fn ask(&self, question: &str) -> Option<Secret>;
}

/// Nobody there.
#[derive(Debug)]
pub struct Nobody;

impl Prompt for Nobody {
    fn ask(&self, _question: &str) -> Option<Secret> {
        None
    }
}

/// What can be asked. Two hosts with the same question get the same answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    Passphrase(PathBuf),
    Login { user: String },
    Become { user: String },
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passphrase(path) => write!(f, "Passphrase of the key {}", path.display()),
            Self::Login { user } => write!(f, "SSH password of {user} (the same on every host that asks for it)"),
            Self::Become { user } => write!(f, "sudo password of {user} (the same on every host that asks for it)"),
        }
    }
}

/// Remembers the answers of a run.
pub(super) struct Asker {
    prompt: Arc<dyn Prompt>,
    /// The lock is held while somebody is being asked, so that the others wait for that answer.
    answers: Mutex<BTreeMap<Question, Option<Secret>>>,
    /// Known from the start (environment, or asked for up front).
    become_password: Option<Secret>,
}

impl Asker {
    pub(super) fn new(prompt: Arc<dyn Prompt>, become_password: Option<Secret>) -> Self {
        Self { prompt, answers: Mutex::default(), become_password }
    }

    pub(super) async fn ask(&self, question: Question) -> Option<Secret> {
        if let (Question::Become { .. }, Some(password)) = (&question, &self.become_password) {
            return Some(password.clone());
        }
        let mut answers = self.answers.lock().await;
        if let Some(answer) = answers.get(&question) {
            return answer.clone();
        }
        let answer = self.ask_now(question.to_string()).await;
        answers.insert(question, answer.clone());
        answer
    }

    /// A question whose answer is good only once, such as a code from a token.
    pub(super) async fn ask_now(&self, question: String) -> Option<Secret> {
        let prompt = Arc::clone(&self.prompt);
        // A prompt that panics is as good as no answer.
        tokio::task::spawn_blocking(move || prompt.ask(&question)).await.ok().flatten()
    }
}
