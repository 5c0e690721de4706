//! Options of every command that connects to hosts, and how a person at a terminal is asked for a password.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::engine::{Dialer, Fleet};
use crate::error::{Exit, Fails};
use crate::inventory::Inventory;
use crate::report::{Redactor, Registration, Reporter};
use crate::secret::Secret;
use crate::transport::ssh::{Environment, NewHostKeys, Options, Prompt, SshConnector};
use crate::vault::Means;

/// Where the sudo password is taken from when it is not asked for.
const BECOME_VARIABLE: &str = "XNAT_SUDO_PASSWORD";

/// How to connect.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connecting")]
pub struct ConnectArgs {
    /// Trust hosts nothing is known of yet and write their keys to known_hosts; a key that changed is refused all the same
    #[arg(long)]
    pub accept_new_host_keys: bool,
    /// Ask for the sudo password at the start [otherwise: XNAT_SUDO_PASSWORD, or asked for when a host wants it]
    #[arg(long)]
    pub ask_become_password: bool,
}

/// `--ask-become-password` without anybody to ask.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot ask for the sudo password: there is no terminal")]
#[diagnostic(
    code(xnat::connect::terminal),
    help("put the password into the environment variable {BECOME_VARIABLE} and leave out `--ask-become-password`")
)]
pub struct NoTerminal;

impl Fails for NoTerminal {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl ConnectArgs {
    /// One connector for the whole run.
    pub fn connector(&self, terminal: &Arc<Terminal>) -> Result<SshConnector, NoTerminal> {
        let become_password = match self.ask_become_password {
            true => Some(Prompt::ask(terminal.as_ref(), "sudo password on the hosts").ok_or(NoTerminal)?),
            false => terminal.variable(BECOME_VARIABLE).map(|value| terminal.masked(Secret::new(value))),
        };
        let prompt = Arc::clone(terminal) as Arc<dyn Prompt>;
        let new_host_keys = if self.accept_new_host_keys { NewHostKeys::Accept } else { NewHostKeys::Refuse };
        let environment = Environment::of_this_process();
        Ok(SshConnector::new(Options { environment, new_host_keys, prompt, become_password }))
    }
}

/// Connections for a command that is no run: nobody is told of them.
pub async fn quietly(inventory: &Inventory, connector: &SshConnector) -> Fleet {
    let mut fleet = Fleet::default();
    let parallel = inventory.everybody().count();
    fleet.connect(inventory, Dialer { connector, parallel, reporter: &Reporter::muted() }).await;
    fleet
}

/// The person at the terminal itself, whatever standard input and output are connected to. What is typed is kept out of
/// all output from then on.
#[derive(Debug, Default)]
pub struct Terminal {
    /// One question at a time.
    asking: Mutex<()>,
    pub redactor: Redactor,
    /// What was typed for the runs before this one. An answer of this one would only be asked for again if it was wrong.
    former: BTreeMap<String, Secret>,
    answers: Answers,
    /// The screen is somebody else's.
    silent: AtomicBool,
}

/// What was typed, by question.
#[derive(Clone, Debug, Default)]
pub struct Answers(Arc<Mutex<BTreeMap<String, Secret>>>);

impl Answers {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Secret>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Terminal {
    /// For one of several runs: nobody types the same twice.
    pub fn of(answers: &Answers, redactor: &Redactor) -> Arc<Self> {
        let former = answers.all().clone();
        Arc::new(Self {
            asking: Mutex::default(),
            redactor: redactor.clone(),
            former,
            answers: answers.clone(),
            silent: AtomicBool::default(),
        })
    }

    /// Ask nothing any more: the screen is full and the keys mean something else.
    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// The secret, which is known to the redactor now. One that is too short to be masked could be guessed anyway.
    fn masked(&self, secret: Secret) -> Secret {
        match self.redactor.register(&secret) {
            Registration::Masked | Registration::TooShort => secret,
        }
    }
}

impl Prompt for Terminal {
    fn ask(&self, question: &str) -> Option<Secret> {
        let _turn = self.asking.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(answer) = self.former.get(question) {
            return Some(self.masked(answer.clone()));
        }
        if self.silent.load(Ordering::Relaxed) {
            return None;
        }
        // An error means there is no terminal, or that the answer was end of file.
        let answer = Secret::new(rpassword::prompt_password(format!("{question}: ")).ok()?);
        self.answers.all().insert(question.to_owned(), answer.clone());
        Some(self.masked(answer))
    }
}

impl Means for Terminal {
    fn ask(&self, question: &str) -> Option<Secret> {
        Prompt::ask(self, question)
    }
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

/// The environment alone, for what is not worth a question.
pub struct Unasked;

impl Means for Unasked {
    fn ask(&self, _question: &str) -> Option<Secret> {
        None
    }
    fn variable(&self, name: &str) -> Option<String> {
        Means::variable(&Terminal::default(), name)
    }
}
