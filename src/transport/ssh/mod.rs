//! SSH with russh: from an inventory's host to a [`SshConnection`]. The way there is
//! `config` (where is it) → `session` (dial, verify the host's key) → `auth` (log in) → `connection` (run, open).

mod algorithms;
mod auth;
mod config;
mod connection;
mod deadline;
mod exec;
mod keys;
mod pipe;
mod prompt;
mod session;
mod spares;
mod sudo;
mod waves;
mod wrap;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use russh::ChannelOpenFailure;

use self::auth::Means;
use self::config::{Target, UserConfig};
use self::keys::KeyStore;
use self::prompt::Asker;
use self::session::Session;
use super::error::TransportError;
use crate::inventory::model::Host;
use crate::secret::Secret;

pub use self::config::Environment;
pub use self::connection::SshConnection;
pub use self::prompt::{Nobody, Prompt};
pub use self::session::NewHostKeys;

/// What the command line decides about connections.
pub struct Options {
    pub environment: Environment,
    pub new_host_keys: NewHostKeys,
    pub prompt: Arc<dyn Prompt>,
    /// Known before anybody is asked.
    pub become_password: Option<Secret>,
}

/// Makes connections. One for a whole run: it remembers passwords, unlocked keys and jump hosts' sessions.
#[derive(Clone)]
pub struct SshConnector(Arc<Shelf>);

struct Shelf {
    config: UserConfig,
    means: Arc<Means>,
    /// Sessions to jump hosts, standing or being made, by the whole way to them.
    hops: Mutex<HashMap<String, Hop>>,
}

type Hop = Shared<BoxFuture<'static, Result<Arc<Session>, Arc<TransportError>>>>;

impl SshConnector {
    pub fn new(options: Options) -> Self {
        let Options { environment, new_host_keys, prompt, become_password } = options;
        let means = Means {
            environment: environment.clone(),
            keys: KeyStore::default(),
            asker: Asker::new(prompt, become_password),
            new_host_keys,
        };
        Self(Arc::new(Shelf { config: UserConfig::load(environment), means: Arc::new(means), hops: Mutex::default() }))
    }

    /// Connect to a host, through its jump hosts if it has any. Takes at most the host's connect timeout for each
    /// machine on the way, not counting the time a person takes to type a password.
    pub async fn connect(&self, host: &Host) -> Result<SshConnection, TransportError> {
        let route = self.0.config.route(host)?;
        let target = &route.target;
        let through = match self.hop(&route.hops) {
            None => None,
            Some(hop) => Some(hop.await.map_err(|source| TransportError::Jump { at: target.at.clone(), source })?),
        };
        let session = Session::open(target, through, &self.0.means).await?;
        Ok(SshConnection::new(session, self, host))
    }

    /// The session at the end of a chain of jump hosts. Hosts with the same chain share it, and those that ask while it
    /// is being made share its failure; later ones try again.
    fn hop(&self, chain: &[Target]) -> Option<Hop> {
        let (last, before) = chain.split_last()?;
        let key = format!("{chain:?}");
        if let Some(hop) = self.hops().get(&key)
            && hop.peek().is_none_or(|made| made.as_ref().is_ok_and(|session| !session.handle.is_closed()))
        {
            return Some(hop.clone());
        }
        let before = self.hop(before);
        let (last, means) = (last.clone(), self.0.means.clone());
        let making = async move {
            let through = match before {
                None => None,
                Some(hop) => Some(hop.await?),
            };
            Session::open(&last, through, &means).await.map(Arc::new).map_err(Arc::new)
        };
        let hop = making.boxed().shared();
        self.hops().insert(key, hop.clone());
        Some(hop)
    }

    fn hops(&self) -> std::sync::MutexGuard<'_, HashMap<String, Hop>> {
        self.0.hops.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Why a server would not open a channel, in words.
fn open_failure(why: &ChannelOpenFailure) -> String {
    match why {
        ChannelOpenFailure::AdministrativelyProhibited => "the SSH server does not allow it".to_owned(),
        ChannelOpenFailure::ConnectFailed => "nothing answers there".to_owned(),
        ChannelOpenFailure::UnknownChannelType => "the SSH server cannot do that".to_owned(),
        ChannelOpenFailure::ResourceShortage => "the SSH server has no more channels".to_owned(),
        ChannelOpenFailure::Other { code, reason } => format!("{reason} (code {code})"),
    }
}
