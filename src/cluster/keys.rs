//! Patroni's keys in etcd, while no Patroni runs: what its cluster is, is told anew when its PostgreSQL has become another
//! one. Whatever has been configured stays.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{CallError, Http};
use super::maintenance;
use crate::approval::Approved;
use crate::names::HostName;

/// Of one PostgreSQL with one system identifier; Patroni writes all of them again.
const IDENTITY: [&str; 8] =
    ["initialize", "history", "leader", "status", "optime/leader", "sync", "failover", "failsafe"];

/// What etcd answers to the question for a key.
#[derive(Deserialize)]
pub(super) struct Range {
    #[serde(default)]
    pub kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
pub(super) struct KeyValue {
    #[serde(default)]
    pub value: String,
    #[serde(default)]
    pub mod_revision: String,
}

impl KeyValue {
    pub fn decoded(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.value).ok()
    }
}

pub(super) fn key(cluster: &str, name: &str) -> String {
    STANDARD.encode(format!("/service/{cluster}/{name}"))
}

/// What a key holds.
async fn find(http: &Http<'_>, key: &str) -> Result<Option<Vec<u8>>, CallError> {
    let reply = http.call(Method::POST, "/v3/kv/range", Some(&json!({ "key": key }))).await?;
    Ok(http.json::<Range>(&reply)?.kvs.into_iter().next().and_then(|found| found.decoded()))
}

/// Who has the leader lock.
pub async fn leader(http: &Http<'_>, cluster: &str) -> Result<Option<HostName>, CallError> {
    Ok(find(http, &key(cluster, "leader")).await?.map(|name| HostName::new(String::from_utf8_lossy(&name))))
}

/// Nothing is known of the PostgreSQL there was.
pub async fn forget(http: &Http<'_>, approved: &Approved, cluster: &str) -> Result<(), CallError> {
    approved.still_holds()?;
    let delete = |name: &&str| json!({ "requestDeleteRange": { "key": key(cluster, name) } });
    // every key that begins with it: `0` comes after `/`
    let members = json!({ "key": key(cluster, "members/"), "range_end": key(cluster, "members0") });
    let deletes = IDENTITY.iter().map(delete).chain([json!({ "requestDeleteRange": members })]);
    let body = json!({ "success": deletes.collect::<Vec<_>>() });
    http.accepted(&http.call(Method::POST, "/v3/kv/txn", Some(&body)).await?)
}

/// Maintenance mode ends, with its note.
pub async fn resume(http: &Http<'_>, approved: &Approved, cluster: &str) -> Result<(), CallError> {
    approved.still_holds()?;
    let place = key(cluster, "config");
    let found = find(http, &place).await?;
    let Some(Value::Object(mut config)) = found.and_then(|text| serde_json::from_slice(&text).ok()) else {
        return Ok(());
    };
    let ended = maintenance::ended();
    let before = config.len();
    config.retain(|name, _| ended.get(name).is_none());
    if config.len() == before {
        return Ok(());
    }
    let value = STANDARD.encode(Value::Object(config).to_string());
    http.accepted(&http.call(Method::POST, "/v3/kv/put", Some(&json!({ "key": place, "value": value }))).await?)
}
