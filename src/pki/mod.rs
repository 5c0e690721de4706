//! The private certificate authority and what it has signed. Issues ([`issue`]), reads ([`read`]), takes what a site
//! brings along (`supplied`), changes from one authority to another (`rotation`) and keeps (`stored`) certificates;
//! where they go on a host is the roles' business, the file they rest in is the vault's.
//!
//! Completing is idempotent: what is there and still fits is left alone, so a plan made twice is the same plan.

mod complete;
mod error;
pub mod issue;
mod judge;
pub mod read;
mod rotation;
mod stored;
mod supplied;
mod wanted;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use complete::{Issued, Why, check_supplied, complete, renewed_before, told};
pub use error::{Fault, PkiError, RotationError};
pub use rotation::{Phase, Step, advance};
pub use supplied::files;
pub use wanted::{Wanted, wanted};

use crate::names::HostName;
use crate::secret::Secret;

/// What a certificate is for. A host has one of each that its components need, so that each key is readable by one
/// service only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// An etcd member, as server and towards its peers.
    Etcd,
    /// Patroni: its REST API, and itself towards etcd and its peers.
    Patroni,
    /// The database server.
    Postgres,
    /// HAProxy's statistics page.
    Haproxy,
}

impl Purpose {
    pub const ALL: [Self; 4] = [Self::Etcd, Self::Patroni, Self::Postgres, Self::Haproxy];

    /// Where roles put it on a host.
    pub fn file(self) -> &'static str {
        match self {
            Self::Etcd => "/etc/etcd/tls/server.pem",
            Self::Patroni => "/etc/patroni/tls/patroni.pem",
            Self::Postgres => "/etc/patroni/tls/postgres.pem",
            Self::Haproxy => "/etc/haproxy/tls/statistics.pem",
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Patroni => "patroni",
            Self::Postgres => "postgres",
            Self::Haproxy => "haproxy",
        }
    }

    /// Whom such a certificate is shown to: these two speak to their own kind.
    pub fn uses(self) -> read::Uses {
        read::Uses { server: true, client: matches!(self, Self::Etcd | Self::Patroni) }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A certificate (PEM, with its chain) and its private key (PKCS #8, PEM).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub certificate: String,
    pub key: Secret,
}

/// Who signs. Of an intermediate authority the certificate holds the way up to the root too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    pub certificate: String,
    pub key: AuthorityKey,
}

/// Where the key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorityKey {
    /// In the vault.
    Kept(Secret),
    /// In a file of the site's, read when the inventory names it, and never copied.
    Elsewhere(Option<Secret>),
}

impl Authority {
    pub fn key(&self) -> Option<&Secret> {
        match &self.key {
            AuthorityKey::Kept(key) => Some(key),
            AuthorityKey::Elsewhere(key) => key.as_ref(),
        }
    }

    /// What a service shows between its own certificate and the root, which others have already.
    fn intermediates(&self) -> Result<String, PkiError> {
        let chain = read::certificates(&self.certificate, "the authority")?;
        Ok(chain.iter().filter(|one| !one.is_self_signed()).map(|one| read::pem(&one.der)).collect())
    }
}

/// Everything there is of certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pki {
    /// Signs what is issued; none without TLS.
    pub authority: Option<Authority>,
    /// Trusted already, and will sign once everybody does: a rotation has begun.
    pub coming: Option<Authority>,
    /// Authorities trusted besides (PEM): the former one, until a rotation ends.
    pub also_trusted: Vec<String>,
    pub hosts: BTreeMap<HostName, BTreeMap<Purpose, Pair>>,
    /// This program towards etcd and Patroni.
    pub operator: Option<Pair>,
    /// Somebody else signed them: they are read from the site's files each time, and not kept.
    pub signed_elsewhere: bool,
}

impl Pki {
    pub fn is_empty(&self) -> bool {
        self.authority.is_none()
    }

    pub fn pair(&self, host: &HostName, purpose: Purpose) -> Option<&Pair> {
        self.hosts.get(host)?.get(&purpose)
    }

    /// Every authority to trust, as one PEM file.
    pub fn trusted(&self) -> String {
        let known = self.authority.iter().chain(&self.coming).map(|authority| authority.certificate.as_str());
        known.chain(self.also_trusted.iter().map(String::as_str)).collect()
    }

    /// Every private key, for the redactor.
    pub fn keys(&self) -> impl Iterator<Item = &Secret> {
        let pairs = self.operator.iter().chain(self.hosts.values().flat_map(BTreeMap::values)).map(|pair| &pair.key);
        self.authority.iter().chain(&self.coming).filter_map(Authority::key).chain(pairs)
    }
}
