//! A host's connection: scripts run on it, with the right privilege and within their time; streams opened through it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use russh::ChannelOpenFailure;
use tokio::sync::Semaphore;

use super::SshConnector;
use super::auth::Means;
use super::exec::{Cut, Exchange, MAX_OUTPUT_MIB, PLAIN, Raw};
use super::pipe::{Begun, Opening, PipeStream};
use super::prompt::Question;
use super::session::Session;
use super::spares::{Purpose, Spares};
use super::sudo::{self, Attempt, Complaint, Mode};
use super::waves::{CountedStream, Waves};
use super::wrap::{Ending, RootCheck, Wrapped};
use crate::inventory::model::{Escalate, Host};
use crate::transport::error::{Endpoint, TransportError};
use crate::transport::{Output, PATIENCE, Privilege, Script, Soon, Stream, Streams, Transport};

/// How long the host may take to connect a stream: what it connects to is itself or its neighbour.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// So many scripts may be talked to at once.
const PIPES: usize = 4;
/// So many streams that others have opened may wait to be taken.
const WAITING: usize = 64;

/// One SSH connection to one host.
pub struct SshConnection {
    session: Session,
    escalate: Escalate,
    /// How sudo works here, as far as is known.
    sudo: Mutex<Mode>,
    /// Held by the script that finds it out: others wait for it, so that a wrong password is tried once. True: found.
    learning: tokio::sync::Mutex<bool>,
    means: Arc<Means>,
    waves: Waves,
    /// Scripts that are talked to: OpenSSH allows ten sessions at once, and others need some too.
    pipes: Arc<Semaphore>,
    /// How it was made, to make another.
    way: (SshConnector, Host),
}

impl std::fmt::Debug for SshConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SshConnection to {}", self.session.at)
    }
}

impl SshConnection {
    pub(super) fn new(session: Session, connector: &SshConnector, host: &Host) -> Self {
        let sudo = Mutex::new(Mode::WithoutPassword);
        let (escalate, means) = (host.ssh.escalate, connector.0.means.clone());
        let learning = tokio::sync::Mutex::default();
        let (waves, pipes) = (Waves::default(), Arc::new(Semaphore::new(PIPES)));
        Self { session, escalate, sudo, learning, means, waves, pipes, way: (connector.clone(), host.clone()) }
    }

    /// The host's name in the inventory, who we are logged in as, and the address and port that were reached.
    pub fn endpoint(&self) -> &Endpoint {
        &self.session.at
    }

    async fn plain(&self, script: &Script, root: RootCheck) -> Result<Output, TransportError> {
        let wrapped = Wrapped::new(script, root);
        let raw = self.in_time(script, self.exchange(PLAIN, &wrapped)).await?;
        match wrapped.unwrap(raw) {
            Ending::Ran(output) => Ok(output),
            Ending::NotRoot => {
                Err(TransportError::NotRoot { at: self.session.at.clone(), title: script.title.clone() })
            }
            Ending::NotStarted(output) => Err(self.not_started(script, &output)),
        }
    }

    async fn exchange(&self, command: &str, wrapped: &Wrapped) -> Result<Raw, Cut> {
        Exchange::start(&self.session, command).await?.finish(wrapped.text.clone()).await
    }

    async fn with_sudo(&self, script: &Script) -> Result<Output, TransportError> {
        let mut learning = self.learning.lock().await;
        if *learning {
            drop(learning);
            return self.with_known_sudo(script).await;
        }
        let output = self.with_known_sudo(script).await?;
        *learning = true;
        Ok(output)
    }

    async fn with_known_sudo(&self, script: &Script) -> Result<Output, TransportError> {
        let mode = self.sudo_mode().clone();
        let password = match mode {
            Mode::Password(password) => password,
            Mode::WrongPassword => return Err(TransportError::SudoPassword { at: self.session.at.clone() }),
            Mode::WithoutPassword => {
                let wrapped = Wrapped::new(script, RootCheck::Needless);
                let raw = self.in_time(script, self.exchange(sudo::WITHOUT_PASSWORD, &wrapped)).await?;
                let output = match wrapped.unwrap(raw) {
                    Ending::Ran(output) => return Ok(output),
                    Ending::NotStarted(output) => output,
                    Ending::NotRoot => return Err(self.not_started(script, &Output::default())),
                };
                match sudo::complaint(output.status, &output.stderr) {
                    Some(Complaint::PasswordRequired) => self.sudo_password().await?,
                    complaint => return Err(self.refused(script, complaint, &output)),
                }
            }
        };
        self.with_sudo_password(script, password).await
    }

    async fn with_sudo_password(
        &self,
        script: &Script,
        password: crate::secret::Secret,
    ) -> Result<Output, TransportError> {
        let wrapped = Wrapped::new(script, RootCheck::Needless);
        let attempt = sudo::run_with_password(&self.session, &password, wrapped.text.clone());
        let raw = match self.in_time(script, attempt).await? {
            Attempt::WrongPassword => {
                *self.sudo_mode() = Mode::WrongPassword;
                return Err(TransportError::SudoPassword { at: self.session.at.clone() });
            }
            Attempt::Ended(raw) => raw,
        };
        match wrapped.unwrap(raw) {
            Ending::Ran(output) => {
                *self.sudo_mode() = Mode::Password(password);
                Ok(output)
            }
            Ending::NotRoot => Err(self.not_started(script, &Output::default())),
            Ending::NotStarted(output) => {
                Err(self.refused(script, sudo::complaint(output.status, &output.stderr), &output))
            }
        }
    }

    fn sudo_mode(&self) -> std::sync::MutexGuard<'_, Mode> {
        self.sudo.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn sudo_password(&self) -> Result<crate::secret::Secret, TransportError> {
        let answer = self.means.asker.ask(Question::Become { user: self.session.at.user.clone() }).await;
        answer.ok_or_else(|| TransportError::NoPrompt {
            at: self.session.at.clone(),
            what: format!("the sudo password of {}", self.session.at.user),
            how: "put it into the environment variable XNAT_SUDO_PASSWORD, or let the user become root without one: `USER ALL=(ALL) NOPASSWD: ALL` in a file under /etc/sudoers.d",
        })
    }

    fn refused(&self, script: &Script, complaint: Option<Complaint>, output: &Output) -> TransportError {
        let at = self.session.at.clone();
        match complaint {
            Some(Complaint::PasswordRequired | Complaint::WrongPassword) => TransportError::SudoPassword { at },
            Some(Complaint::Denied(said)) => TransportError::SudoDenied { at, said },
            Some(Complaint::NeedsTty) => TransportError::SudoTty { at },
            Some(Complaint::Missing) => TransportError::SudoMissing { at },
            None => self.not_started(script, output),
        }
    }

    fn not_started(&self, script: &Script, output: &Output) -> TransportError {
        let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
        let said: String = said.trim().chars().take(200).collect();
        let reason = format!("the login shell ended with status {} and said {said:?}", output.status);
        TransportError::NotStarted { at: self.session.at.clone(), title: script.title.clone(), reason }
    }

    /// Begin a script that goes on. How sudo works here is found out before, by a script that ends.
    async fn begin(&self, script: &Script) -> Result<Box<PipeStream>, TransportError> {
        let sudo =
            script.privilege == Privilege::Root && self.session.at.user != "root" && self.escalate == Escalate::Sudo;
        if sudo && !*self.learning.lock().await {
            self.with_sudo(&Script::as_root("become root", ":")).await?;
        }
        let mode = self.sudo_mode().clone();
        let root = match (script.privilege, self.escalate) {
            (Privilege::Root, Escalate::None) => RootCheck::Here,
            _ => RootCheck::Needless,
        };
        let wrapped = Wrapped::open_ended(script, root);
        let (command, password) = match mode {
            Mode::Password(password) if sudo => {
                (sudo::WITH_PASSWORD, Some((format!("{}\n", password.expose()), sudo::STARTED)))
            }
            _ if sudo => (sudo::WITHOUT_PASSWORD, None),
            _ => (PLAIN, None),
        };
        let permit = self.pipes.clone().acquire_owned().await.expect("nobody closes the semaphore");
        let opening = Opening { command, password, text: wrapped.text.clone(), mark: &wrapped.begin(), permit };
        match self.in_time(script, opening.begin(&self.session)).await? {
            Begun::Running(stream) => Ok(stream),
            Begun::Ended(raw) => Err(match wrapped.unwrap(raw) {
                Ending::NotRoot => TransportError::NotRoot { at: self.session.at.clone(), title: script.title.clone() },
                Ending::Ran(output) => self.not_started(script, &output),
                Ending::NotStarted(output) => {
                    self.refused(script, sudo::complaint(output.status, &output.stderr), &output)
                }
            }),
        }
    }

    /// Within the script's deadline; when it passes the future is dropped, and with it the channel.
    async fn in_time<T>(
        &self,
        script: &Script,
        work: impl Future<Output = Result<T, Cut>>,
    ) -> Result<T, TransportError> {
        let (at, title) = (self.session.at.clone(), script.title.clone());
        match tokio::time::timeout(script.timeout, work).await {
            Err(_) => Err(TransportError::Deadline { at, title, after: script.timeout }),
            Ok(Ok(done)) => Ok(done),
            Ok(Err(Cut::Lost)) => Err(self.session.lost(&title)),
            Ok(Err(Cut::TooMuch)) => Err(TransportError::TooMuchOutput { at, title, limit: MAX_OUTPUT_MIB }),
            Ok(Err(Cut::Refused(reason))) => Err(TransportError::NotStarted { at, title, reason }),
        }
    }
}

#[async_trait]
impl Transport for SshConnection {
    /// Who takes long to be connected to takes long for everything.
    fn patience(&self) -> Duration {
        PATIENCE.max(self.way.1.ssh.connect_timeout / 2)
    }

    async fn run(&self, script: Script) -> Result<Output, TransportError> {
        let _wave = self.waves.enter();
        let root = self.session.at.user == "root";
        match (script.privilege, self.escalate) {
            (Privilege::Login, _) => self.plain(&script, RootCheck::Needless).await,
            (Privilege::Root, _) if root => self.plain(&script, RootCheck::Needless).await,
            (Privilege::Root, Escalate::None) => self.plain(&script, RootCheck::Here).await,
            (Privilege::Root, Escalate::Sudo) => self.with_sudo(&script).await,
        }
    }

    async fn pipe(&self, script: Script) -> Result<Box<dyn Stream>, TransportError> {
        let wave = self.waves.enter();
        let stream = self.begin(&script).await?;
        Ok(Box::new(CountedStream::new(stream, wave)))
    }

    async fn expect(&self, Soon { scripts, streams }: Soon) {
        // with sudo it is sudo that is begun, and that may ask for something
        let plain = self.session.at.user == "root" || self.escalate == Escalate::None;
        let scripts = if plain { scripts } else { 0 };
        let streams = streams.into_iter().map(|(host, port)| Purpose::Stream(host, port));
        let purposes = std::iter::repeat_n(Purpose::Script, scripts).chain(streams);
        join_all(purposes.map(|purpose| Spares::begin(&self.session, purpose))).await;
    }

    async fn open(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, TransportError> {
        let wave = self.waves.enter();
        if let Some(channel) = self.session.spares.take(&Purpose::Stream(host.to_owned(), port)) {
            return Ok(Box::new(CountedStream::new(channel.into_stream(), wave)));
        }
        let opening = self.session.stream(host, port);
        let failed = |reason: String| TransportError::Open {
            at: self.session.at.clone(),
            target: format!("{host}:{port}"),
            reason,
        };
        match tokio::time::timeout(OPEN_TIMEOUT, opening).await {
            Err(_) => Err(failed(format!("no answer within {} s", OPEN_TIMEOUT.as_secs()))),
            Ok(Ok(channel)) => Ok(Box::new(CountedStream::new(channel.into_stream(), wave))),
            Ok(Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed))) => {
                Err(TransportError::NobodyListens { at: self.session.at.clone(), target: format!("{host}:{port}") })
            }
            Ok(Err(russh::Error::ChannelOpenFailure(why))) => Err(failed(super::open_failure(&why))),
            Ok(Err(_)) => Err(self.session.lost(&format!("open {host}:{port}"))),
        }
    }

    async fn listen(&self, socket: &str) -> Result<Streams, TransportError> {
        let _wave = self.waves.enter();
        let (taker, streams) = tokio::sync::mpsc::channel(WAITING);
        self.session.listeners.add(socket, taker);
        let failed =
            |reason: String| TransportError::Listen { at: self.session.at.clone(), socket: socket.to_owned(), reason };
        match tokio::time::timeout(OPEN_TIMEOUT, self.session.handle.streamlocal_forward(socket)).await {
            Err(_) => Err(failed(format!("no answer within {} s", OPEN_TIMEOUT.as_secs()))),
            Ok(Ok(())) => Ok(streams),
            Ok(Err(russh::Error::RequestDenied)) => Err(failed("the SSH server refuses".to_owned())),
            Ok(Err(_)) => Err(self.session.lost(&format!("listen on {socket}"))),
        }
    }

    async fn again(&self) -> Result<Arc<dyn Transport>, TransportError> {
        let (connector, host) = &self.way;
        let connection = connector.connect(host).await?;
        // A password that was typed is not asked for again.
        *connection.sudo_mode() = self.sudo_mode().clone();
        Ok(Arc::new(connection))
    }

    fn round_trips(&self) -> u64 {
        self.waves.round_trips()
    }

    async fn close(&self) {
        self.session.goodbye().await;
    }
}
