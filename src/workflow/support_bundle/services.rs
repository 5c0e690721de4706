//! What the services of a cluster answer, word for word.

use futures::future::join_all;
use hyper::Method;
use serde_json::{Value, json};

use super::Bundle;
use crate::cluster::http::{CallError, Http};
use crate::cluster::{Gather, etcd, haproxy, patroni};
use crate::error::one_line;
use crate::inventory::{Component, Host};

type Client = for<'a> fn(&Gather<'a>, &'a Host) -> Result<Http<'a>, String>;

/// Each question: whom, the path, and the name of the answer in the archive.
const QUESTIONS: [(Component, Client, Method, &str, &str); 7] = [
    (Component::Etcd, etcd::client, Method::POST, "/v3/maintenance/status", "etcd-status.json"),
    (Component::Etcd, etcd::client, Method::POST, "/v3/cluster/member/list", "etcd-members.json"),
    (Component::Postgres, patroni::client, Method::GET, "/patroni", "patroni.json"),
    (Component::Postgres, patroni::client, Method::GET, "/cluster", "patroni-cluster.json"),
    (Component::Postgres, patroni::client, Method::GET, "/config", "patroni-config.json"),
    (Component::Postgres, patroni::client, Method::GET, "/history", "patroni-history.json"),
    (Component::Haproxy, haproxy::client, Method::GET, "/stats;csv", "haproxy.csv"),
];

/// Everybody is asked everything at once; hosts that are not connected are not asked.
pub async fn add(bundle: &mut Bundle, gather: &Gather<'_>) {
    let connected = |host: &&Host| gather.connections.contains_key(&host.name);
    let questions = QUESTIONS
        .iter()
        .flat_map(|question| gather.inventory.with(question.0).filter(connected).map(move |host| (host, question)));
    let asked = questions.map(|(host, (_, client, method, path, name))| async move {
        let answer = match client(gather, host) {
            Ok(http) => ask(&http, method.clone(), path).await.map_err(|error| one_line(&error)),
            Err(reason) => Err(reason),
        };
        (host, format!("{method} {path} on {}", host.name), name, answer)
    });
    for (host, source, name, answer) in join_all(asked).await {
        match answer {
            Ok(text) => bundle.add(&format!("hosts/{}/{name}", host.name), &source, &text),
            Err(why) => bundle.miss(&source, &why),
        }
    }
}

/// The body whatever the status, since Patroni on a replica answers 503 and all the same; JSON is made readable.
async fn ask(http: &Http<'_>, method: Method, path: &str) -> Result<String, CallError> {
    // not linearizable: without a quorum it would hang
    let body = (method == Method::POST).then(|| json!({ "linearizable": false }));
    let reply = http.call(method, path, body.as_ref()).await?;
    let readable = serde_json::from_str::<Value>(&reply.body).ok();
    let readable = readable.and_then(|value| serde_json::to_string_pretty(&value).ok());
    Ok(readable.map_or(reply.body, |text| text + "\n"))
}
