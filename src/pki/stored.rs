//! A [`Pki`] as the vault keeps it: a TOML table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Table;

use super::{Pair, Pki, Purpose};
use crate::names::HostName;
use crate::secret::Secret;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPair {
    certificate: String,
    key: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Stored {
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<StoredPair>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also_trusted: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<StoredPair>,
    hosts: BTreeMap<HostName, BTreeMap<Purpose, StoredPair>>,
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
        Table::try_from(Stored {
            authority: self.authority.as_ref().map(StoredPair::from),
            also_trusted: self.also_trusted.clone(),
            operator: self.operator.as_ref().map(StoredPair::from),
            hosts: self.hosts.iter().map(|(host, all)| (host.clone(), stored(all))).collect(),
        })
    }

    /// From the table that was kept.
    pub fn from_table(table: Table) -> Result<Self, toml::de::Error> {
        let stored: Stored = table.try_into()?;
        let pairs =
            |pairs: BTreeMap<Purpose, StoredPair>| pairs.into_iter().map(|(purpose, pair)| (purpose, pair.into()));
        Ok(Self {
            authority: stored.authority.map(Pair::from),
            also_trusted: stored.also_trusted,
            operator: stored.operator.map(Pair::from),
            hosts: stored.hosts.into_iter().map(|(host, all)| (host, pairs(all).collect())).collect(),
        })
    }
}

fn stored(pairs: &BTreeMap<Purpose, Pair>) -> BTreeMap<Purpose, StoredPair> {
    pairs.iter().map(|(purpose, pair)| (*purpose, pair.into())).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::issue::Issuing;
    use super::super::{Wanted, read};
    use super::*;

    fn wanted(names: &[&str]) -> Vec<Wanted> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        vec![Wanted { host: HostName::new("db1"), purpose: Purpose::Etcd, names }]
    }

    #[test]
    fn complete_once_and_again_only_when_something_changed() {
        let issuing = Issuing { cluster: "xnat", days: 365, now: Timestamp::now() };
        let mut pki = Pki::default();
        assert!(issuing.complete(&mut pki, &wanted(&["10.0.0.1", "db1"])).expect("issued"));
        let first = pki.clone();
        assert!(!issuing.complete(&mut pki, &wanted(&["10.0.0.1", "db1"])).expect("nothing to do"));
        assert_eq!(first, pki);
        let kept = Pki::from_table(pki.to_table().expect("a table")).expect("the same");
        assert_eq!(kept, pki);
        assert!(issuing.complete(&mut pki, &wanted(&["10.0.0.2", "db1"])).expect("issued"));
        assert_eq!(first.authority, pki.authority);
        let pair = pki.pair(&HostName::new("db1"), Purpose::Etcd).expect("there");
        let read = read::certificate(&pair.certificate, "it").expect("readable");
        assert_eq!(read.names, ["10.0.0.2", "db1"]);
        let later = Issuing { now: issuing.now + jiff::SignedDuration::from_hours(24 * 340), ..issuing };
        assert!(later.complete(&mut pki, &wanted(&["10.0.0.2", "db1"])).expect("renewed"));
    }
}
