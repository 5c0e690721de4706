//! The private certificate authority and what it has signed. Issues ([`issue`]), reads ([`read`]) and keeps ([`stored`])
//! certificates; where they go on a host is the roles' business, the file they rest in is the vault's.
//!
//! Completing is idempotent: what is there and still fits is left alone, so a plan made twice is the same plan.

pub mod issue;
pub mod read;
mod stored;
mod wanted;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use wanted::{Wanted, wanted};

use crate::error::{Exit, Fails};
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

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Patroni => "patroni",
            Self::Postgres => "postgres",
            Self::Haproxy => "haproxy",
        }
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

/// Everything there is of certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pki {
    /// Signs what is issued; none without TLS.
    pub authority: Option<Pair>,
    /// Authorities trusted besides (PEM): the former or the coming one, while a rotation goes on.
    pub also_trusted: Vec<String>,
    pub hosts: BTreeMap<HostName, BTreeMap<Purpose, Pair>>,
    /// This program towards etcd and Patroni.
    pub operator: Option<Pair>,
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
        let own = self.authority.iter().map(|pair| pair.certificate.as_str());
        own.chain(self.also_trusted.iter().map(String::as_str)).collect()
    }

    /// Every private key, for the redactor.
    pub fn keys(&self) -> impl Iterator<Item = &Secret> {
        let hosts = self.hosts.values().flat_map(BTreeMap::values);
        self.authority.iter().chain(&self.operator).chain(hosts).map(|pair| &pair.key)
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PkiError {
    #[error("cannot issue a certificate for {subject}")]
    #[diagnostic(
        code(xnat::pki::issue),
        help("check the names and addresses of the hosts, and [tls] names, in the inventory")
    )]
    Issue { subject: String, source: rcgen::Error },
    #[error("{what} is not a certificate in PEM form: {reason}")]
    #[diagnostic(code(xnat::pki::certificate), help("look at it: `openssl x509 -noout -text -in FILE`"))]
    Certificate { what: String, reason: String },
}

impl Fails for PkiError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}
