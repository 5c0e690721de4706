//! A [`Pki`] as the vault keeps it: a TOML table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Table;

use super::{Authority, AuthorityKey, Pair, Pki, Purpose};
use crate::names::HostName;
use crate::secret::Secret;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPair {
    certificate: String,
    key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredAuthority {
    certificate: String,
    /// Not there when a file of the site's holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Stored {
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<StoredAuthority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coming: Option<StoredAuthority>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also_trusted: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<StoredPair>,
    hosts: BTreeMap<HostName, BTreeMap<Purpose, StoredPair>>,
}

impl From<&Authority> for StoredAuthority {
    fn from(authority: &Authority) -> Self {
        let key = match &authority.key {
            AuthorityKey::Kept(key) => Some(key.expose().to_owned()),
            AuthorityKey::Elsewhere(_) => None,
        };
        Self { certificate: authority.certificate.clone(), key }
    }
}

impl From<StoredAuthority> for Authority {
    fn from(stored: StoredAuthority) -> Self {
        let key = match stored.key {
            Some(key) => AuthorityKey::Kept(Secret::new(key)),
            None => AuthorityKey::Elsewhere(None),
        };
        Self { certificate: stored.certificate, key }
    }
}

impl From<&Pair> for StoredPair {
    fn from(pair: &Pair) -> Self {
        Self { certificate: pair.certificate.clone(), key: pair.key.expose().to_owned() }
    }
}

impl From<StoredPair> for Pair {
    fn from(stored: StoredPair) -> Self {
        Self { certificate: stored.certificate, key: Secret::new(stored.key) }
    }
}

impl Pki {
    /// The table to keep.
    pub fn to_table(&self) -> Result<Table, toml::ser::Error> {
        let kept = !self.signed_elsewhere;
        Table::try_from(Stored {
            authority: self.authority.as_ref().map(StoredAuthority::from),
            coming: self.coming.as_ref().map(StoredAuthority::from),
            also_trusted: self.also_trusted.clone(),
            operator: self.operator.as_ref().filter(|_| kept).map(StoredPair::from),
            hosts: self.hosts.iter().filter(|_| kept).map(|(host, all)| (host.clone(), stored(all))).collect(),
        })
    }

    /// From the table that was kept.
    pub fn from_table(table: Table) -> Result<Self, toml::de::Error> {
        let stored: Stored = table.try_into()?;
        let pairs =
            |pairs: BTreeMap<Purpose, StoredPair>| pairs.into_iter().map(|(purpose, pair)| (purpose, pair.into()));
        Ok(Self {
            authority: stored.authority.map(Authority::from),
            coming: stored.coming.map(Authority::from),
            also_trusted: stored.also_trusted,
            operator: stored.operator.map(Pair::from),
            hosts: stored.hosts.into_iter().map(|(host, all)| (host, pairs(all).collect())).collect(),
            signed_elsewhere: false,
        })
    }
}

fn stored(pairs: &BTreeMap<Purpose, Pair>) -> BTreeMap<Purpose, StoredPair> {
    pairs.iter().map(|(purpose, pair)| (*purpose, pair.into())).collect()
}
