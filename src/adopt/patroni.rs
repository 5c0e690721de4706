//! What a Patroni and its PostgreSQL are set up to do, as `look.py` tells it. Passwords are not among it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::address;

/// Where this program has Patroni's settings, and the root of its keys in etcd.
pub(super) const DIRECTORY: &str = "/etc/patroni/xnat";
pub(super) const NAMESPACE: &str = "/service";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Patroni {
    /// The file or directory with its settings.
    pub path: String,
    pub unit: Option<String>,
    pub running: bool,
    /// Names of variables that set something besides.
    pub variables: Vec<String>,
    pub config: Value,
    /// What all members share; null where nobody told.
    pub dynamic: Value,
    pub members: Vec<Value>,
    /// Of pg_hba.conf.
    pub hba: Vec<String>,
    /// In PEM form, of `patroni` and `postgres`.
    pub certificates: BTreeMap<String, Option<String>>,
    pub server: Option<Server>,
    /// What could not be read.
    pub problems: Vec<String>,
}

/// A PostgreSQL that answers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Server {
    pub version: u32,
    /// In force, of those this program has values for.
    pub parameters: BTreeMap<String, String>,
    pub databases: Vec<Database>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Database {
    pub name: String,
    pub owner: String,
    /// Its owner is one.
    pub superuser: bool,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// `c`: the C library's, `i`: ICU's, `b`: PostgreSQL's own.
    pub provider: Option<String>,
    pub size: u64,
    pub extensions: Vec<String>,
}

impl Patroni {
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        self.config.pointer(pointer)
    }
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.at(pointer)?.as_str()
    }
    pub fn scope(&self) -> &str {
        self.text("/scope").unwrap_or_default()
    }
    pub fn name(&self) -> Option<&str> {
        self.text("/name")
    }
    pub fn namespace(&self) -> String {
        let written = self.text("/namespace").unwrap_or(NAMESPACE);
        format!("/{}", written.trim_matches('/'))
    }
    /// This program has written its settings.
    pub fn is_ours(&self) -> bool {
        self.path == DIRECTORY
    }
    /// By which address others reach it.
    pub fn address(&self) -> Option<String> {
        let addresses = ["/postgresql/connect_address", "/restapi/connect_address"].into_iter();
        let mut hosts = addresses.filter_map(|place| Some(address::of(self.text(place)?)?.0));
        hosts.find(|host| address::is_public(host)).or_else(|| hosts.next())
    }
    pub fn rest_port(&self) -> Option<u16> {
        address::port(self.text("/restapi/listen").or_else(|| self.text("/restapi/connect_address"))?)
    }
    pub fn port(&self) -> Option<u16> {
        address::port(self.text("/postgresql/listen").or_else(|| self.text("/postgresql/connect_address"))?)
    }
    pub fn data_dir(&self) -> Option<&str> {
        self.text("/postgresql/data_dir").map(|path| path.trim_end_matches('/'))
    }
    /// Whether it speaks TLS with whoever asks it.
    pub fn has_tls(&self) -> bool {
        self.text("/restapi/certfile").is_some()
    }
    /// Whether it speaks TLS with etcd.
    pub fn etcd_tls(&self) -> bool {
        self.text("/etcd3/protocol") == Some("https")
    }
    /// Settings of this member alone that are PostgreSQL's.
    pub fn own_parameters(&self) -> BTreeMap<&str, &Value> {
        let all = self.at("/postgresql/parameters").and_then(Value::as_object);
        all.into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect()
    }
    /// The etcd hosts it asks, in their order.
    pub fn etcd_hosts(&self) -> Vec<String> {
        let texts: Vec<&str> = match (self.at("/etcd3/hosts"), self.text("/etcd3/host")) {
            (Some(Value::Array(all)), _) => all.iter().filter_map(Value::as_str).collect(),
            (Some(Value::String(all)), _) => all.split(',').map(str::trim).collect(),
            (_, Some(host)) => vec![host],
            _ => Vec::new(),
        };
        texts.into_iter().filter_map(|text| Some(address::of(text)?.0)).collect()
    }
    /// Where the leader lock is, when that is not etcd's version 3.
    pub fn other_store(&self) -> Option<&'static str> {
        let stores = ["etcd", "consul", "zookeeper", "exhibitor", "kubernetes", "raft"];
        if self.at("/etcd3").is_some() {
            return None;
        }
        stores.into_iter().find(|store| self.config.get(store).is_some())
    }
}
