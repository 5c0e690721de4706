//! Patroni's key `initialize` in etcd: claimed (empty) by the member that creates the cluster, and then the system
//! identifier of its PostgreSQL for ever. One that was claimed by a member that lost its power before it was done keeps
//! all others waiting for ever: Patroni itself never takes it away.

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::http::{CallError, Http};
use super::keys::{Range, key};
use super::view::{ClusterView, Gather};
use crate::approval::Approved;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Initialize {
    /// There has never been such a cluster.
    Absent,
    /// A member is creating it, or was when it lost its power. With the revision of the key: claimed again it has another.
    Claimed { revision: String },
    /// The system identifier of its PostgreSQL.
    Done { system: String },
}

impl Initialize {
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done { .. })
    }
}

#[derive(Deserialize)]
struct Txn {
    #[serde(default)]
    succeeded: bool,
}

const NAME: &str = "initialize";

/// A linearizable read: an answer of "no" can be relied on.
pub async fn read(http: &Http<'_>, cluster: &str) -> Result<Initialize, CallError> {
    let reply = http.call(Method::POST, "/v3/kv/range", Some(&json!({ "key": key(cluster, NAME) }))).await?;
    Ok(meaning(http.json::<Range>(&reply)?))
}

fn meaning(range: Range) -> Initialize {
    match range.kvs.into_iter().next() {
        None => Initialize::Absent,
        Some(kv) if kv.value.is_empty() => Initialize::Claimed { revision: kv.mod_revision },
        Some(kv) => {
            let system = kv.decoded().unwrap_or_default();
            Initialize::Done { system: String::from_utf8_lossy(&system).into_owned() }
        }
    }
}

/// The claim of a member that is not at work any more: no member says that it does anything with PostgreSQL, or leads.
/// The revision of the key. That no host has data is for the caller to know.
pub fn stale(view: &ClusterView) -> Option<&str> {
    let Some(Initialize::Claimed { revision }) = view.initialized.known() else { return None };
    let at_work = view.members.iter().filter_map(|member| member.patroni.known()).any(|about| about.state != "stopped");
    (!at_work && view.leader().is_none()).then_some(revision.as_str())
}

/// Remove the claim that was seen, and no other. False when it is not there any more as it was seen.
pub async fn remove(http: &Http<'_>, approved: &Approved, cluster: &str, revision: &str) -> Result<bool, CallError> {
    approved.still_holds()?;
    let unchanged = json!({ "key": key(cluster, NAME), "target": "MOD", "result": "EQUAL", "modRevision": revision });
    let delete = json!({ "requestDeleteRange": { "key": key(cluster, NAME) } });
    let body = json!({ "compare": [unchanged], "success": [delete] });
    let reply = http.call(Method::POST, "/v3/kv/txn", Some(&body)).await?;
    Ok(http.json::<Txn>(&reply)?.succeeded)
}

/// Is the claim still as it was, and nobody at work? A second look, just before it is removed.
pub async fn still_stale(gather: &Gather<'_>, seen: &str) -> bool {
    let view = super::gather(gather).await;
    stale(&view) == Some(seen)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn of(json: serde_json::Value) -> Initialize {
        meaning(serde_json::from_value(json).expect("etcd's form"))
    }

    #[test]
    fn an_empty_key_is_a_claim_and_no_cluster() {
        assert_eq!(of(json!({})), Initialize::Absent);
        let claimed = of(json!({ "kvs": [{ "key": "aw==", "mod_revision": "17" }] }));
        assert_eq!(claimed, Initialize::Claimed { revision: "17".to_owned() });
        let done = of(json!({ "kvs": [{ "value": STANDARD.encode("7000"), "mod_revision": "18" }] }));
        assert_eq!(done, Initialize::Done { system: "7000".to_owned() });
    }
}
