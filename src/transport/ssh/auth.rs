//! Logging in: keys named for the host (from the agent, then from their files), the agent's other keys, the usual key
//! files, then password and keyboard-interactive. Whatever is tried is remembered for the error message.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse as Interactive};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::{AgentClient, AgentStream};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet, Signer};

use super::super::error::TransportError;
use super::config::{Environment, Target};
use super::deadline::Deadline;
use super::keys::{KeyFile, KeyStore};
use super::prompt::{Asker, Question};
use super::session::{Client, Farewell, NewHostKeys};
use crate::secret::Secret;

/// What `ssh` tries when nothing names a key.
const USUAL_KEYS: &[&str] = &[".ssh/id_ed25519", ".ssh/id_ecdsa", ".ssh/id_rsa"];
/// Rounds of questions a server may put to us before we take it for broken.
const INTERACTIVE_ROUNDS: usize = 8;

/// What we log in with; one for all hosts.
pub(super) struct Means {
    pub environment: Environment,
    pub keys: KeyStore,
    pub asker: Asker,
    pub new_host_keys: NewHostKeys,
}

type Agent = AgentClient<Box<dyn AgentStream + Send + Unpin>>;
type In = Result<bool, TransportError>;

pub(super) async fn log_in(
    handle: &mut Handle<Client>,
    target: &Target,
    means: &Means,
    (deadline, farewell): (&mut Deadline, &Farewell),
) -> Result<(), TransportError> {
    let mut login =
        Login { handle, target, means, deadline, farewell, tried: Vec::new(), accepts: None, offered: Vec::new() };
    if login.with_keys().await? || login.with_password().await? || login.with_questions().await? {
        return Ok(());
    }
    Err(login.failure())
}

struct Login<'a> {
    handle: &'a mut Handle<Client>,
    target: &'a Target,
    means: &'a Means,
    deadline: &'a mut Deadline,
    farewell: &'a Farewell,
    tried: Vec<String>,
    /// What the server last said it would take; unknown before the first attempt.
    accepts: Option<MethodSet>,
    offered: Vec<PublicKey>,
}

impl Login<'_> {
    fn user(&self) -> String {
        self.target.at.user.clone()
    }

    fn may(&self, method: MethodKind) -> bool {
        !self.handle.is_closed() && self.accepts.as_ref().is_none_or(|accepts| accepts.contains(&method))
    }

    /// Note what came of an attempt.
    fn result(&mut self, what: String, result: Result<AuthResult, String>) -> bool {
        match result {
            Ok(AuthResult::Success) => return true,
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                self.tried.push(if partial_success { format!("{what} (taken, but not enough)") } else { what });
                // A session that ended answers with an empty list.
                if !self.handle.is_closed() || self.accepts.is_none() {
                    self.accepts = Some(remaining_methods);
                }
            }
            Err(error) => self.tried.push(format!("{what} ({error})")),
        }
        false
    }

    async fn with_keys(&mut self) -> In {
        let named = self.target.identities.clone();
        let mut named_public = Vec::new();
        for path in &named {
            named_public.extend(self.means.keys.public(path).await);
        }
        let mut agent = self.agent().await?;
        let identities = match &mut agent {
            Some(agent) => self.agent_identities(agent).await?,
            None => Vec::new(),
        };
        let is_named =
            |identity: &AgentIdentity| named_public.iter().any(|k| k.key_data() == identity.public_key().key_data());
        let (first, rest): (Vec<_>, Vec<_>) = identities.into_iter().partition(is_named);
        if self.with_agent(agent.as_mut(), first).await? || self.with_files(&named).await? {
            return Ok(true);
        }
        if !self.target.identities_only && self.with_agent(agent.as_mut(), rest).await? {
            return Ok(true);
        }
        if named.is_empty() { self.with_files(&self.usual_keys()).await } else { Ok(false) }
    }

    fn usual_keys(&self) -> Vec<PathBuf> {
        let home = self.means.environment.home.as_deref().unwrap_or(Path::new("/"));
        USUAL_KEYS.iter().map(|name| home.join(name)).filter(|path| path.exists()).collect()
    }

    async fn agent(&mut self) -> Result<Option<Agent>, TransportError> {
        let Some(socket) = &self.means.environment.agent else { return Ok(None) };
        let connecting = AgentClient::connect_uds(socket);
        match self.deadline.hold("talking to the SSH agent", connecting).await? {
            Ok(agent) => Ok(Some(agent.dynamic())),
            Err(error) => {
                self.tried.push(format!("the agent at {} ({error})", socket.display()));
                Ok(None)
            }
        }
    }

    async fn agent_identities(&mut self, agent: &mut Agent) -> Result<Vec<AgentIdentity>, TransportError> {
        if let Some(binding) = self.handle.agent_session_binding() {
            // Agents older than OpenSSH 8.9 do not know this; then there is nothing it could restrict.
            let _unknown = self.deadline.hold("talking to the SSH agent", agent.bind_session(binding, false)).await?;
        }
        match self.deadline.hold("talking to the SSH agent", agent.request_identities()).await? {
            Ok(identities) => Ok(identities),
            Err(error) => {
                self.tried.push(format!("the agent ({error})"));
                Ok(Vec::new())
            }
        }
    }

    async fn with_agent(&mut self, agent: Option<&mut Agent>, identities: Vec<AgentIdentity>) -> In {
        let Some(agent) = agent else { return Ok(false) };
        for identity in identities {
            if !self.may(MethodKind::PublicKey) {
                break;
            }
            let key = identity.public_key().into_owned();
            let what = format!("the agent's key {} {}", key.fingerprint(HashAlg::Sha256), identity.comment());
            let Some(hash) = self.hash_for(&key.algorithm(), &what).await? else { continue };
            let user = self.user();
            let result = match identity {
                AgentIdentity::PublicKey { .. } => {
                    let trying = self.handle.authenticate_publickey_with(user, key.clone(), hash, agent);
                    self.deadline.hold("logging in", trying).await?
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    let trying = self.handle.authenticate_certificate_with(user, certificate, hash, agent);
                    self.deadline.hold("logging in", trying).await?
                }
            };
            self.offered.push(key);
            if self.result(what.trim_end().to_owned(), result.map_err(|error| error.to_string())) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn with_files(&mut self, paths: &[PathBuf]) -> In {
        for path in paths {
            if !self.may(MethodKind::PublicKey) {
                break;
            }
            let file = match self.means.keys.read(path).await {
                Ok(file) => file,
                Err(reason) => return Err(self.key_error(path, reason)),
            };
            let done = match file {
                KeyFile::Missing => {
                    self.tried.push(format!("the key {} (no such file)", path.display()));
                    false
                }
                KeyFile::Unlocked(key) => self.with_file(path, key).await?,
                KeyFile::Locked(key) => self.with_locked_file(path, &key).await?,
            };
            if done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn with_file(&mut self, path: &Path, key: Arc<PrivateKey>) -> In {
        if self.was_offered(key.public_key()) {
            return Ok(false);
        }
        let what = format!("the key {}", path.display());
        let Some(hash) = self.hash_for(&key.algorithm(), &what).await? else { return Ok(false) };
        self.offered.push(key.public_key().clone());
        let trying =
            self.handle.authenticate_publickey(self.target.at.user.clone(), PrivateKeyWithHashAlg::new(key, hash));
        let result = self.deadline.hold("logging in", trying).await?;
        Ok(self.result(what, result.map_err(|error| error.to_string())))
    }

    /// Ask for the passphrase only when the server would take the key.
    async fn with_locked_file(&mut self, path: &Path, key: &PrivateKey) -> In {
        let public = key.public_key().clone();
        let what = format!("the key {}", path.display());
        if self.was_offered(&public) {
            return Ok(false);
        }
        let Some(hash) = self.hash_for(&public.algorithm(), &what).await? else { return Ok(false) };
        let mut sign_here = SignHere;
        let trying = self.handle.authenticate_publickey_with(self.target.at.user.clone(), public, hash, &mut sign_here);
        match self.deadline.hold("logging in", trying).await? {
            Ok(refused) => Ok(self.result(what, Ok(refused))),
            Err(WouldTakeIt) => match self.means.keys.unlock(path, key, &self.means.asker).await {
                Ok(key) => self.with_file(path, key).await,
                Err(reason) => {
                    self.tried.push(format!("{what} ({reason})"));
                    Ok(false)
                }
            },
        }
    }

    fn was_offered(&self, key: &PublicKey) -> bool {
        self.offered.iter().any(|offered| offered.key_data() == key.key_data())
    }

    /// The hash to sign with: for RSA the best the server knows, and SHA-1 never. `None`: leave the key out.
    async fn hash_for(&mut self, algorithm: &Algorithm, what: &str) -> Result<Option<Option<HashAlg>>, TransportError> {
        if !matches!(algorithm, Algorithm::Rsa { .. }) {
            return Ok(Some(None));
        }
        let best = self.deadline.hold("logging in", self.handle.best_supported_rsa_hash()).await?;
        match best {
            Ok(Some(None)) => {
                self.tried.push(format!("{what} (the server knows RSA with SHA-1 only, which we do not use)"));
                Ok(None)
            }
            Ok(Some(best)) => Ok(Some(best)),
            // It did not say; every server of the last ten years can do this one.
            Ok(None) => Ok(Some(Some(HashAlg::Sha512))),
            Err(_) => Err(self.lost()),
        }
    }

    async fn with_password(&mut self) -> In {
        self.learn_methods().await?;
        if !self.may(MethodKind::Password) {
            return Ok(false);
        }
        let Some(password) = self.password().await else {
            self.tried.push("a password (there is no terminal to ask for it)".to_owned());
            return Ok(false);
        };
        let trying = self.handle.authenticate_password(self.target.at.user.clone(), password.expose());
        let result = self.deadline.hold("logging in", trying).await?;
        Ok(self.result("the password".to_owned(), result.map_err(|error| error.to_string())))
    }

    async fn password(&self) -> Option<Secret> {
        self.means.asker.ask(Question::Login { user: self.user() }).await
    }

    /// When nothing has been tried yet, nobody has told us what the server takes.
    async fn learn_methods(&mut self) -> Result<(), TransportError> {
        if self.accepts.is_none() {
            let asking = self.handle.authenticate_none(self.target.at.user.clone());
            if let Ok(AuthResult::Failure { remaining_methods, .. }) = self.deadline.hold("logging in", asking).await? {
                self.accepts = Some(remaining_methods);
            }
        }
        Ok(())
    }

    async fn with_questions(&mut self) -> In {
        if !self.may(MethodKind::KeyboardInteractive) {
            return Ok(false);
        }
        let starting = self.handle.authenticate_keyboard_interactive_start(self.target.at.user.clone(), None);
        let mut reply = self.deadline.hold("logging in", starting).await?;
        for _ in 0..INTERACTIVE_ROUNDS {
            let prompts = match reply {
                Ok(Interactive::Success) => return Ok(true),
                Ok(Interactive::InfoRequest { prompts, .. }) => prompts,
                Ok(Interactive::Failure { remaining_methods, partial_success }) => {
                    let result = AuthResult::Failure { remaining_methods, partial_success };
                    return Ok(self.result("keyboard-interactive".to_owned(), Ok(result)));
                }
                Err(_) => return Err(self.lost()),
            };
            let mut answers = Vec::new();
            for prompt in prompts {
                match self.answer(&prompt.prompt).await {
                    Some(answer) => answers.push(answer.expose().to_owned()),
                    None => {
                        self.tried.push("keyboard-interactive (there is no terminal to ask on)".to_owned());
                        return Ok(false);
                    }
                }
            }
            let answering = self.handle.authenticate_keyboard_interactive_respond(answers);
            reply = self.deadline.hold("logging in", answering).await?;
        }
        self.tried.push("keyboard-interactive (it kept asking)".to_owned());
        Ok(false)
    }

    /// The password is asked for once for all hosts; anything else (a code from a token) each time.
    async fn answer(&self, prompt: &str) -> Option<Secret> {
        if prompt.to_lowercase().contains("password") {
            return self.password().await;
        }
        self.means.asker.ask_now(format!("{}: {}", self.target.at, prompt.trim())).await
    }

    fn key_error(&self, path: &Path, reason: String) -> TransportError {
        TransportError::Key { at: self.target.at.clone(), path: path.to_owned(), reason }
    }

    fn lost(&self) -> TransportError {
        let (at, reason) = (self.target.at.clone(), self.farewell.reason());
        TransportError::Lost { at, doing: "logging in".to_owned(), reason }
    }

    fn failure(self) -> TransportError {
        let accepts = match &self.accepts {
            _ if self.handle.is_closed() => format!("no more attempts ({})", self.farewell.reason()),
            Some(methods) if !methods.is_empty() => methods.iter().map(String::from).collect::<Vec<_>>().join(", "),
            _ => "nothing".to_owned(),
        };
        TransportError::Auth { at: self.target.at.clone(), tried: self.tried, accepts }
    }
}

/// "Signs" with a locked key: only finds out whether the server wants that key's signature.
struct SignHere;

/// The server would take the key.
struct WouldTakeIt;

impl From<russh::SendError> for WouldTakeIt {
    fn from(_: russh::SendError) -> Self {
        // The session is gone; the attempt that follows will say so.
        Self
    }
}

impl Signer for SignHere {
    type Error = WouldTakeIt;

    async fn auth_sign(&mut self, _: &AgentIdentity, _: Option<HashAlg>, _: Vec<u8>) -> Result<Vec<u8>, WouldTakeIt> {
        Err(WouldTakeIt)
    }
}
