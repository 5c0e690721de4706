//! etcd's JSON gateway (3.4 and 3.5): what a member says of itself, and whether the members form a quorum.
//! Reads, but for the membership.

use std::time::Duration;

use hyper::Method;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::answer::{Answer, Seen};
use super::http::{CallError, Http, Place, Reply, Scheme, authority};
use super::view::Gather;
use super::{keys, safety};
use crate::approval::Approved;
use crate::error::one_line;
use crate::inventory::{Component, Host, Inventory};
use crate::names::HostName;

/// What one member says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// In hexadecimal, as etcdctl prints it.
    pub id: String,
    pub cluster_id: String,
    /// The id of the leader it follows; none while there is none.
    pub leader: Option<String>,
    /// Whether it speaks TLS to clients.
    #[serde(default)]
    pub tls: bool,
    /// Whether plain clients are heard; with TLS it is only asked while members reach each other plainly.
    #[serde(default)]
    pub plain: bool,
    pub healthy: bool,
    pub learner: bool,
    pub version: String,
    pub db_size: u64,
    /// What of that is used; the rest is of what was deleted, and comes back with a defragmentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_size_in_use: Option<u64>,
    pub raft_index: u64,
    pub raft_term: u64,
    /// Its own complaints: `NOSPACE`, `CORRUPT`, …
    pub alarms: Vec<String>,
    /// The membership as this member knows it (not necessarily the newest).
    pub membership: Vec<Listed>,
}

/// A line of the member list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub id: String,
    /// Empty until the member has started for the first time.
    pub name: String,
    pub peer_urls: Vec<String>,
    pub learner: bool,
    /// It has been up once, and told the others where clients find it.
    #[serde(default)]
    pub started: bool,
}

impl Member {
    pub fn is_leader(&self) -> bool {
        self.leader.as_deref() == Some(self.id.as_str())
    }

    /// What it complains of may be something else, such as that it sees no leader.
    pub fn raises_alarm(&self) -> bool {
        alarming(&self.alarms)
    }
}

fn alarming(words: &[String]) -> bool {
    words.iter().any(|word| ["alarm:", "NOSPACE", "CORRUPT"].iter().any(|alarm| word.contains(alarm)))
}

/// A client of the member on one host.
pub fn client<'a>(gather: &Gather<'a>, host: &'a Host) -> Result<Http<'a>, String> {
    let place =
        Place { service: "etcd", unit: "etcd", host: host.name.clone(), port: gather.inventory.etcd.client_port };
    let transport = gather.transport(&host.name)?;
    Ok(Http { transport, place, address: &host.address, scheme: gather.scheme()?, login: None })
}

/// For people: how it is called on that host.
pub fn etcdctl(inventory: &Inventory, host: &Host) -> String {
    let place = authority(&host.address, inventory.etcd.client_port);
    if !inventory.tls.enabled {
        return format!("ETCDCTL_API=3 etcdctl --endpoints http://{place}");
    }
    let files = "--cacert /etc/etcd/tls/ca.pem --cert /etc/etcd/tls/server.pem --key /etc/etcd/tls/server-key.pem";
    format!("ETCDCTL_API=3 etcdctl --endpoints https://{place} {files}")
}

/// Ask a member everything about itself, in parallel.
pub async fn ask(http: &Http<'_>, inventory: &Inventory) -> Result<Member, CallError> {
    // Not linearizable: without a quorum it would hang, and then most of all we want to know.
    let (nothing, local) = (json!({}), json!({ "linearizable": false }));
    let (status, health, list) = futures::try_join!(
        http.call(Method::POST, "/v3/maintenance/status", Some(&nothing)),
        http.get("/health"),
        http.call(Method::POST, "/v3/cluster/member/list", Some(&local)),
    )?;
    let tls = status.tls;
    let status: wire::Status = http.json(&status)?;
    let healthy = says_healthy(&health) || (!alarming(&status.errors) && reads_by_quorum(http, inventory).await);
    let membership = http.json::<wire::MemberList>(&list).map(|list| list.members).unwrap_or_default();
    let membership: Vec<Listed> = membership.into_iter().map(Listed::from).collect();
    let converting = membership.iter().flat_map(|listed| &listed.peer_urls).any(|url| url.starts_with("http://"));
    let plain = !tls || (converting && plain_answer(http).await.is_ok());
    Ok(Member {
        id: format!("{:x}", status.header.member_id),
        cluster_id: format!("{:x}", status.header.cluster_id),
        leader: (status.leader != 0).then(|| format!("{:x}", status.leader)),
        tls,
        plain,
        healthy,
        learner: status.learner,
        version: status.version,
        db_size: status.db_size,
        db_size_in_use: (status.db_size_in_use > 0).then_some(status.db_size_in_use),
        raft_index: status.raft_index,
        raft_term: status.raft_term,
        alarms: status.errors,
        membership,
    })
}

/// It answers 503 when it is not, in the same shape. It gives itself one second for a read by quorum, which a busy machine
/// may miss: who hears "no" tries such a read.
fn says_healthy(reply: &Reply) -> bool {
    serde_json::from_str::<wire::Health>(&reply.body).is_ok_and(|health| health.health == "true")
}

/// As Patroni does, which gives each of three members a third of its patience.
async fn reads_by_quorum(http: &Http<'_>, inventory: &Inventory) -> bool {
    let patience = Duration::from_secs(inventory.patroni.retry_timeout.into()) / 3;
    let read = json!({ "key": keys::key(&inventory.cluster, "leader") });
    let answer = tokio::time::timeout(patience, http.call(Method::POST, "/v3/kv/range", Some(&read))).await;
    answer.is_ok_and(|reply| reply.is_ok_and(|reply| http.accepted(&reply).is_ok()))
}

/// The same question as in [`ask`], as a client without TLS puts it.
async fn plain_answer(http: &Http<'_>) -> Result<(), CallError> {
    let (place, scheme) = (http.place.clone(), Scheme::Plain);
    let plain = Http { transport: http.transport, place, address: http.address, scheme, login: None };
    plain.accepted(&plain.call(Method::POST, "/v3/maintenance/status", Some(&json!({}))).await?)
}

/// For waits: the member of that host serves clients that come without TLS. Otherwise the reason to show meanwhile.
pub async fn hears_plainly(gather: &Gather<'_>, host: &HostName) -> Result<(), String> {
    let host = gather.inventory.host(host).ok_or_else(|| format!("there is no host {host}"))?;
    plain_answer(&client(gather, host)?).await.map_err(|error| one_line(&error))
}

/// Tell the cluster where the others reach a member from now on.
pub async fn move_peer(
    http: &Http<'_>,
    approved: &Approved,
    member: &Listed,
    urls: &[String],
) -> Result<(), CallError> {
    approved.still_holds()?;
    let request = json!({ "ID": number_of(member), "peerURLs": urls });
    http.accepted(&http.call(Method::POST, "/v3/cluster/member/update", Some(&request)).await?)
}

/// Have the cluster expect one more member, which does not vote until it is promoted.
pub async fn add_learner(http: &Http<'_>, approved: &Approved, url: &str) -> Result<(), CallError> {
    approved.still_holds()?;
    let request = json!({ "peerURLs": [url], "isLearner": true });
    http.accepted(&http.call(Method::POST, "/v3/cluster/member/add", Some(&request)).await?)
}

/// Have the cluster count on a member no more. Its etcd ends by itself.
pub async fn remove(http: &Http<'_>, approved: &Approved, member: &Listed) -> Result<(), CallError> {
    approved.still_holds()?;
    let request = json!({ "ID": number_of(member) });
    http.accepted(&http.call(Method::POST, "/v3/cluster/member/remove", Some(&request)).await?)
}

/// Whether a member that is on none of our hosts answers any of them, in whatever way.
pub async fn answers(gather: &Gather<'_>, member: &Listed) -> bool {
    let addresses = member.peer_urls.iter().filter_map(|url| address(url));
    let asked = addresses.flat_map(|address| {
        let from = gather.inventory.with(Component::Etcd).filter_map(|host| client(gather, host).ok());
        from.map(move |http| async move {
            let asked = Http { address, ..http }.get("/health").await;
            !matches!(asked, Err(CallError::Refused { .. } | CallError::Open { .. } | CallError::NoConnection { .. }))
        })
    });
    futures::future::join_all(asked).await.contains(&true)
}

/// `10.0.0.1` of `https://10.0.0.1:2380`.
fn address(url: &str) -> Option<&str> {
    let (host, _) = url.split_once("://")?.1.rsplit_once(':')?;
    Some(host.trim_start_matches('[').trim_end_matches(']'))
}

/// Let a learner vote. etcd refuses while it has not caught up.
pub async fn promote(http: &Http<'_>, approved: &Approved, member: &Listed) -> Result<(), CallError> {
    approved.still_holds()?;
    let request = json!({ "ID": number_of(member) });
    http.accepted(&http.call(Method::POST, "/v3/cluster/member/promote", Some(&request)).await?)
}

/// As the gateway wants it; people read it in hexadecimal.
fn number_of(member: &Listed) -> String {
    u64::from_str_radix(&member.id, 16).unwrap_or_default().to_string()
}

/// Where the quorum stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quorum {
    pub voters: usize,
    pub healthy: usize,
    pub leader: Option<HostName>,
}

/// The quorum is there and every member of the inventory takes part; otherwise the reason to show while waiting.
pub async fn quorum(gather: &Gather<'_>) -> Result<Quorum, String> {
    standing(&seen(gather, gather.inventory.with(Component::Etcd).collect()).await)
}

/// The quorum is there, with every member that can be reached: what can be done while a host is down.
pub async fn majority(gather: &Gather<'_>) -> Result<Quorum, String> {
    let all: Vec<&Host> = gather.inventory.with(Component::Etcd).collect();
    let voters = all.len();
    let reached = all.into_iter().filter(|host| gather.connections.contains_key(&host.name)).collect();
    // whom they follow may be one that we cannot reach
    standing_of(&seen(gather, reached).await, voters)
}

async fn seen(gather: &Gather<'_>, hosts: Vec<&Host>) -> Vec<Seen<Member>> {
    let members = futures::future::join_all(hosts.into_iter().map(|host| async {
        let answer = match client(gather, host) {
            Ok(http) => Answer::from(ask(&http, gather.inventory).await),
            Err(reason) => Answer::Unknown(reason),
        };
        Seen { host: host.name.clone(), answer }
    }));
    members.await
}

/// [`quorum`], from answers already there.
pub fn standing(members: &[Seen<Member>]) -> Result<Quorum, String> {
    standing_of(members, members.len())
}

fn standing_of(members: &[Seen<Member>], voters: usize) -> Result<Quorum, String> {
    let healthy = members.iter().filter(|m| m.answer.known().is_some_and(|m| m.healthy)).count();
    let leader = members.iter().find(|m| m.answer.known().is_some_and(Member::is_leader)).map(|m| m.host.clone());
    let quorum = Quorum { voters, healthy, leader };
    if let Some(seen) = members.iter().find(|m| m.answer.reason().is_some()) {
        return Err(seen.answer.reason().unwrap_or_default().to_owned());
    }
    if let Some(seen) = members.iter().find(|m| m.answer.known().is_some_and(|m| !m.healthy)) {
        return Err(format!("etcd on {} says it is not healthy", seen.host));
    }
    let led = members.iter().any(|m| m.answer.known().is_some_and(|member| member.leader.is_some()));
    if !led || healthy < safety::majority(quorum.voters) {
        return Err(format!("{healthy} of {} etcd members are healthy and there is no leader", quorum.voters));
    }
    Ok(quorum)
}

impl From<wire::Listed> for Listed {
    fn from(listed: wire::Listed) -> Self {
        Self {
            id: format!("{:x}", listed.id),
            name: listed.name,
            peer_urls: listed.peer_urls,
            learner: listed.learner,
            started: !listed.client_urls.is_empty(),
        }
    }
}

/// The gateway's JSON: 64-bit numbers are strings, and what is zero or false is left out.
mod wire {
    use super::{Deserialize, number};

    #[derive(Deserialize)]
    pub struct Header {
        #[serde(default, deserialize_with = "number")]
        pub cluster_id: u64,
        #[serde(default, deserialize_with = "number")]
        pub member_id: u64,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct Status {
        pub header: Header,
        #[serde(default)]
        pub version: String,
        #[serde(default, deserialize_with = "number")]
        pub db_size: u64,
        #[serde(default, deserialize_with = "number")]
        pub db_size_in_use: u64,
        #[serde(default, deserialize_with = "number")]
        pub leader: u64,
        #[serde(default, deserialize_with = "number")]
        pub raft_index: u64,
        #[serde(default, deserialize_with = "number")]
        pub raft_term: u64,
        #[serde(default, rename = "isLearner")]
        pub learner: bool,
        #[serde(default)]
        pub errors: Vec<String>,
    }

    #[derive(Deserialize)]
    pub struct Health {
        pub health: String,
    }

    #[derive(Deserialize)]
    pub struct MemberList {
        #[serde(default)]
        pub members: Vec<Listed>,
    }

    #[derive(Deserialize)]
    pub struct Listed {
        #[serde(rename = "ID", deserialize_with = "number")]
        pub id: u64,
        #[serde(default)]
        pub name: String,
        #[serde(default, rename = "peerURLs")]
        pub peer_urls: Vec<String>,
        #[serde(default, rename = "clientURLs")]
        pub client_urls: Vec<String>,
        #[serde(default, rename = "isLearner")]
        pub learner: bool,
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}
