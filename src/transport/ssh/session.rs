//! An SSH session that stands: dialled (directly or through another session), the host's key verified, logged in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use russh::client::{self, ChannelOpenHandle, DisconnectReason, Msg};
use russh::keys::{Algorithm, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Channel, Disconnect};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::super::Stream;
use super::super::error::{At, TransportError};
use super::super::known_hosts::{self, HostKeys, Verdict};
use super::super::resolve;
use super::algorithms;
use super::auth::{self, Means};
use super::config::Target;
use super::deadline::Deadline;
use super::spares::Spares;

/// What to do with the key of a host nothing is known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewHostKeys {
    Refuse,
    /// Write it down and trust it from now on. A key that *changed* is refused all the same.
    Accept,
}

/// A logged-in session. Jump hosts' sessions are shared and live as long as something goes through them.
pub(super) struct Session {
    pub at: At,
    pub handle: client::Handle<Client>,
    pub farewell: Farewell,
    pub listeners: Listeners,
    pub spares: Spares,
    /// Keeps the session we go through alive.
    _through: Option<Arc<Session>>,
}

/// Why a session ended, once it has.
#[derive(Clone, Default)]
pub(super) struct Farewell(Arc<Mutex<Option<String>>>);

impl Farewell {
    pub(super) fn reason(&self) -> String {
        let reason = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        reason.unwrap_or_else(|| "the host closed it".to_owned())
    }

    fn set(&self, reason: String) {
        *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(reason);
    }
}

/// Who takes the streams that others open to a socket of the host's.
#[derive(Clone, Default)]
pub(super) struct Listeners(Arc<Mutex<HashMap<String, Taker>>>);

type Taker = mpsc::Sender<Box<dyn Stream>>;

impl Listeners {
    pub(super) fn add(&self, socket: &str, taker: Taker) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(socket.to_owned(), taker);
    }

    /// Nobody comes any more.
    fn end(&self) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
    }

    fn taker(&self, socket: &str) -> Option<Taker> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get(socket).cloned()
    }
}

impl Session {
    pub(super) async fn open(
        target: &Target,
        through: Option<Arc<Session>>,
        means: &Means,
    ) -> Result<Self, TransportError> {
        let mut deadline = Deadline::new(target.at.clone(), target.timeout);
        let farewell = Farewell::default();
        let listeners = Listeners::default();
        let ears = (&farewell, &listeners);
        let mut handle = shake_hands(target, through.as_deref(), means, (&mut deadline, ears)).await?;
        auth::log_in(&mut handle, target, means, (&mut deadline, &farewell)).await?;
        let (at, spares) = (target.at.clone(), Spares::default());
        Ok(Self { at, handle, farewell, listeners, spares, _through: through })
    }

    /// A session in which that runs.
    pub(super) async fn command(&self, command: &str) -> Result<Channel<Msg>, russh::Error> {
        let channel = self.handle.channel_open_session().await?;
        channel.exec(true, command).await?;
        Ok(channel)
    }

    /// To an address and port, as the host sees it.
    pub(super) async fn stream(&self, host: &str, port: u16) -> Result<Channel<Msg>, russh::Error> {
        self.handle.channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0).await
    }

    pub(super) fn lost(&self, doing: &str) -> TransportError {
        TransportError::Lost { at: self.at.clone(), doing: doing.to_owned(), reason: self.farewell.reason() }
    }

    pub(super) async fn goodbye(&self) {
        // It may be gone already; either way we are done with it.
        let _gone = self.handle.disconnect(Disconnect::ByApplication, "done", "en").await;
    }
}

/// Dial and agree on keys. A server has several host keys and shows one: when pinned fingerprints do not have that one,
/// it is asked for its other kinds before it is refused.
async fn shake_hands(
    target: &Target,
    through: Option<&Session>,
    means: &Means,
    (deadline, (farewell, listeners)): (&mut Deadline, (&Farewell, &Listeners)),
) -> Result<client::Handle<Client>, TransportError> {
    let check = Arc::new(HostKeyCheck::new(target, means)?);
    let mut kinds = algorithms::host_keys_preferring(&check.keys.algorithms());
    let mut seen: Vec<String> = Vec::new();
    loop {
        let stream = match through {
            None => dial(target, deadline).await?,
            Some(session) => dial_through(session, target, deadline).await?,
        };
        let client = Client { check: check.clone(), farewell: farewell.clone(), listeners: listeners.clone() };
        let connecting = client::connect_stream(algorithms::client_config(&kinds), stream, client);
        match deadline.hold("agreeing on keys", connecting).await? {
            Ok(handle) => return Ok(handle),
            Err(Broken::NotPinned { kind, fingerprint }) => {
                seen.push(fingerprint);
                kinds.retain(|other| !algorithms::same_kind(other, &kind));
            }
            Err(Broken::Protocol(russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, .. })) if !seen.is_empty() => {
                kinds.clear();
            }
            Err(broken) => return Err(broken.at(target)),
        }
        if kinds.is_empty() {
            return Err(TransportError::PinMismatch {
                at: target.at.clone(),
                seen,
                pinned: target.fingerprints.clone(),
            });
        }
    }
}

/// A TCP connection to the first of the name's addresses that answers; the time left is shared between them.
async fn dial(target: &Target, deadline: &mut Deadline) -> Result<Box<dyn Stream>, TransportError> {
    let at = || target.at.clone();
    let looking_up = resolve::addresses(&target.at.address, target.at.port);
    let addresses = deadline.hold("looking up its address", looking_up).await?;
    let addresses = addresses.map_err(|source| TransportError::Name { at: at(), source })?;
    let mut failure = TransportError::Name { at: at(), source: std::io::Error::other("the name has no address") };
    for (index, address) in addresses.iter().enumerate() {
        let share = deadline.left() / u32::try_from(addresses.len() - index).unwrap_or(1);
        let connecting = tokio::time::timeout(share, TcpStream::connect(address));
        failure = match deadline.hold("connecting", connecting).await {
            Ok(Ok(Ok(stream))) => {
                stream.set_nodelay(true).map_err(|source| TransportError::Unreachable { at: at(), source })?;
                return Ok(Box::new(stream));
            }
            Ok(Ok(Err(source))) => match source.kind() {
                std::io::ErrorKind::ConnectionRefused => TransportError::Refused { at: at() },
                std::io::ErrorKind::TimedOut => timed_out(target),
                _ => TransportError::Unreachable { at: at(), source },
            },
            Ok(Err(_)) | Err(_) => timed_out(target),
        };
    }
    Err(failure)
}

fn timed_out(target: &Target) -> TransportError {
    TransportError::Timeout { at: target.at.clone(), doing: "connecting", after: target.timeout }
}

async fn dial_through(
    hop: &Session,
    target: &Target,
    deadline: &mut Deadline,
) -> Result<Box<dyn Stream>, TransportError> {
    let opening = hop.stream(&target.at.address, target.at.port);
    match deadline.hold("connecting through the jump host", opening).await? {
        Ok(channel) => Ok(Box::new(channel.into_stream())),
        Err(russh::Error::ChannelOpenFailure(why)) => Err(TransportError::JumpRefused {
            at: target.at.clone(),
            through: hop.at.to_string(),
            reason: super::open_failure(&why),
        }),
        Err(_) => {
            Err(TransportError::Jump { at: target.at.clone(), source: Arc::new(hop.lost("opening a connection")) })
        }
    }
}

/// What a host's key is held against.
struct HostKeyCheck {
    at: At,
    /// As known hosts files call it.
    name: String,
    fingerprints: Vec<String>,
    files: Vec<std::path::PathBuf>,
    keys: HostKeys,
    new: NewHostKeys,
    pinnable: bool,
}

/// Held while a key is looked up and written down, so that several connections do not write it several times.
static LEARNING: Mutex<()> = Mutex::new(());

impl HostKeyCheck {
    fn new(target: &Target, means: &Means) -> Result<Self, TransportError> {
        let name = known_hosts::lookup_name(&target.at.address, target.at.port);
        // Pinned fingerprints stand alone: the files do not count then.
        let files = if target.fingerprints.is_empty() { target.known_hosts.clone() } else { Vec::new() };
        let keys = Self::load(&target.at, &name, &files)?;
        let fingerprints = target.fingerprints.clone();
        Ok(Self {
            at: target.at.clone(),
            name,
            fingerprints,
            files,
            keys,
            new: means.new_host_keys,
            pinnable: !target.is_jump,
        })
    }

    fn load(at: &At, name: &str, files: &[std::path::PathBuf]) -> Result<HostKeys, TransportError> {
        HostKeys::load(name, files).map_err(|e| TransportError::KnownHosts {
            at: at.clone(),
            path: e.path,
            source: e.source,
        })
    }

    fn check(&self, key: &PublicKey) -> Result<(), Broken> {
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        if !self.fingerprints.is_empty() {
            // Some tools print the padding of the base64, ours and OpenSSH's do not.
            let pinned = self.fingerprints.iter().any(|pin| pin.trim_end_matches('=') == fingerprint);
            return if pinned { Ok(()) } else { Err(Broken::NotPinned { kind: key.algorithm(), fingerprint }) };
        }
        match self.keys.judge(key) {
            Verdict::Unknown if self.new == NewHostKeys::Accept => self.learn(key, &fingerprint),
            verdict => self.conclude(verdict, key.algorithm(), fingerprint),
        }
    }

    fn conclude(&self, verdict: Verdict, kind: Algorithm, fingerprint: String) -> Result<(), Broken> {
        let (at, name) = (self.at.clone(), self.name.clone());
        let algorithm = kind.to_string();
        Err(Broken::Refused(match verdict {
            Verdict::Known => return Ok(()),
            Verdict::Unknown => {
                let searched = self.files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(" or ");
                TransportError::HostKeyUnknown { at, name, algorithm, fingerprint, searched, pinnable: self.pinnable }
            }
            Verdict::Changed { file, line } => {
                TransportError::HostKeyChanged { at, name, algorithm, fingerprint, file, line }
            }
            Verdict::Revoked { file, line } => TransportError::HostKeyRevoked { at, file, line },
        }))
    }

    fn learn(&self, key: &PublicKey, fingerprint: &str) -> Result<(), Broken> {
        let _one_at_a_time = LEARNING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let keys = Self::load(&self.at, &self.name, &self.files).map_err(Broken::Refused)?;
        let Some(file) = self.files.first() else {
            return self.conclude(Verdict::Unknown, key.algorithm(), fingerprint.to_owned());
        };
        match keys.judge(key) {
            Verdict::Unknown => known_hosts::learn(&self.name, key, file).map_err(|source| {
                Broken::Refused(TransportError::KnownHosts { at: self.at.clone(), path: file.clone(), source })
            }),
            verdict => self.conclude(verdict, key.algorithm(), fingerprint.to_owned()),
        }
    }
}

/// Our ear in a session: says yes or no to the host's key, remembers why the session ended.
pub(super) struct Client {
    check: Arc<HostKeyCheck>,
    farewell: Farewell,
    listeners: Listeners,
}

/// What can break a session while it is being made.
#[derive(Debug)]
pub(super) enum Broken {
    Protocol(russh::Error),
    NotPinned { kind: Algorithm, fingerprint: String },
    Unsound,
    Refused(TransportError),
}

impl From<russh::Error> for Broken {
    fn from(error: russh::Error) -> Self {
        Self::Protocol(error)
    }
}

impl Broken {
    fn at(self, target: &Target) -> TransportError {
        let at = target.at.clone();
        let reason = match self {
            Self::Refused(error) => return error,
            Self::NotPinned { fingerprint, .. } => {
                return TransportError::PinMismatch {
                    at,
                    seen: vec![fingerprint],
                    pinned: target.fingerprints.clone(),
                };
            }
            Self::Unsound => "it offers only chacha20-poly1305 and no strict key exchange (CVE-2023-48795)".to_owned(),
            Self::Protocol(error) => return from_protocol(at, error),
        };
        TransportError::Handshake { at, reason }
    }
}

fn from_protocol(at: At, error: russh::Error) -> TransportError {
    match error {
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            let kind = format!("{kind:?}").to_lowercase();
            TransportError::Handshake {
                at,
                reason: format!("no common {kind} algorithm, it offers {}", theirs.join(", ")),
            }
        }
        error if hung_up(&error) => {
            let reason = "it closed the connection at once (too many connections, or a firewall?)".to_owned();
            TransportError::Lost { at, doing: "agreeing on keys".to_owned(), reason }
        }
        russh::Error::IO(source) => TransportError::Unreachable { at, source },
        error => TransportError::Handshake { at, reason: error.to_string() },
    }
}

/// The several ways russh says that the other side closed the connection.
fn hung_up(error: &russh::Error) -> bool {
    match error {
        russh::Error::Disconnect | russh::Error::HUP => true,
        russh::Error::IO(error) => {
            matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset)
        }
        _ => false,
    }
}

impl client::Handler for Client {
    type Error = Broken;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Broken> {
        self.check.check(&key.public_key()).map(|()| true)
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &russh::Names,
        _: &mut client::Session,
    ) -> Result<(), Broken> {
        if algorithms::is_sound(names) { Ok(()) } else { Err(Broken::Unsound) }
    }

    /// What nobody listens for is refused, by dropping `reply`.
    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        socket: &str,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Broken> {
        if let Some(taker) = self.listeners.taker(socket)
            && let Ok(place) = taker.try_reserve()
        {
            reply.accept().await;
            place.send(Box::new(channel.into_stream()));
        }
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Broken>) -> Result<(), Broken> {
        self.listeners.end();
        match reason {
            DisconnectReason::ReceivedDisconnect(said) => {
                self.farewell.set(format!("the host said goodbye: {}", said.message));
                Ok(())
            }
            DisconnectReason::Error(error) => {
                self.farewell.set(match &error {
                    Broken::Protocol(russh::Error::KeepaliveTimeout) => "the host stopped answering".to_owned(),
                    Broken::Protocol(error) if hung_up(error) => "the host closed it".to_owned(),
                    Broken::Protocol(error) => error.to_string(),
                    error => format!("{error:?}"),
                });
                Err(error)
            }
        }
    }
}
