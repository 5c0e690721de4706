//! Patroni's REST API (3.0.2 and 4.x). Reading needs nothing; changing the configuration takes [`Approved`].

use std::collections::BTreeMap;
use std::fmt;

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::{CallError, Http, Place};
use super::view::Gather;
use crate::approval::Approved;
use crate::error::one_line;
use crate::inventory::{Component, Host};
use crate::names::HostName;

const RUNNING: &str = "running";
const STREAMING: &str = "streaming";

/// Who may change things through the REST API.
pub const USER: &str = "patroni";

/// What a member is, whatever this Patroni calls it (`master` until 4.0).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Role {
    Leader,
    /// Leads a cluster that itself follows another one.
    StandbyLeader,
    Replica,
    SyncStandby,
    QuorumStandby,
    Other(String),
}

impl Role {
    pub fn leads(&self) -> bool {
        matches!(self, Self::Leader | Self::StandbyLeader)
    }
    pub fn synchronous(&self) -> bool {
        matches!(self, Self::SyncStandby | Self::QuorumStandby)
    }
}

impl From<String> for Role {
    fn from(text: String) -> Self {
        match text.as_str() {
            "leader" | "master" | "primary" | "promoted" => Self::Leader,
            "standby_leader" => Self::StandbyLeader,
            "replica" | "demoted" => Self::Replica,
            "sync_standby" => Self::SyncStandby,
            "quorum_standby" => Self::QuorumStandby,
            _ => Self::Other(text),
        }
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        match role {
            Role::Leader => "leader".into(),
            Role::StandbyLeader => "standby_leader".into(),
            Role::Replica => "replica".into(),
            Role::SyncStandby => "sync_standby".into(),
            Role::QuorumStandby => "quorum_standby".into(),
            Role::Other(text) => text,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from(self.clone()).replace('_', " "))
    }
}

/// How far behind a replica is, from the positions in etcd (up to `loop_wait` old).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Lag {
    Bytes(u64),
    Unknown,
}

impl TryFrom<Value> for Lag {
    type Error = String;
    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::Number(n) => n.as_u64().map(Self::Bytes).ok_or_else(|| format!("a lag of {n}")),
            Value::String(text) if text == "unknown" => Ok(Self::Unknown),
            other => Err(format!("a lag of {other}")),
        }
    }
}

impl From<Lag> for Value {
    fn from(lag: Lag) -> Self {
        match lag {
            Lag::Bytes(bytes) => bytes.into(),
            Lag::Unknown => "unknown".into(),
        }
    }
}

/// `GET /cluster`: the cluster as this member reads it from etcd.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    pub members: Vec<Listed>,
    /// Maintenance mode: nothing fails over.
    #[serde(default)]
    pub pause: bool,
}

impl Cluster {
    pub fn leader(&self) -> Option<&Listed> {
        self.members.iter().find(|m| m.role.leads())
    }
    pub fn member(&self, name: &HostName) -> Option<&Listed> {
        self.members.iter().find(|m| &m.name == name)
    }
}

/// A member in `GET /cluster`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    pub name: HostName,
    pub role: Role,
    /// `running`; for a replica of Patroni >= 3.1 `streaming` or `in archive recovery`; `stopped`, `creating replica`, …
    pub state: String,
    #[serde(default)]
    pub api_url: Option<String>,
    #[serde(default)]
    pub timeline: Option<u64>,
    /// None for the leader.
    #[serde(default)]
    pub lag: Option<Lag>,
    #[serde(default)]
    pub pending_restart: bool,
    /// Parameter → old and new value (Patroni >= 4.0).
    #[serde(default)]
    pub pending_restart_reason: BTreeMap<String, Value>,
    #[serde(default)]
    pub tags: BTreeMap<String, Value>,
}

/// `GET /patroni`: what a member says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Whether it speaks TLS.
    #[serde(default)]
    pub tls: bool,
    pub role: Role,
    pub state: String,
    /// As PostgreSQL counts: 150018 is 15.18.
    #[serde(default)]
    pub server_version: Option<u32>,
    #[serde(default)]
    pub timeline: Option<u64>,
    /// Who streams from it.
    #[serde(default)]
    pub replication: Vec<Sender>,
    /// Of a replica, since Patroni 3.1: `streaming`.
    #[serde(default)]
    pub replication_state: Option<String>,
    /// It sees no leader.
    #[serde(default)]
    pub cluster_unlocked: bool,
    #[serde(default)]
    pub failsafe_mode_is_active: bool,
    /// Parameters wait for a restart of its PostgreSQL.
    #[serde(default)]
    pub pending_restart: bool,
    /// It has heard of maintenance mode.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pause: bool,
    /// When it reached etcd last, seconds since 1970.
    #[serde(default)]
    pub dcs_last_seen: Option<i64>,
    pub patroni: Software,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Software {
    pub version: String,
    pub scope: String,
}

/// A WAL sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    pub application_name: String,
    pub state: String,
    pub sync_state: String,
}

/// A client of the member on one host. Without secrets it can read and not write.
pub fn client<'a>(gather: &Gather<'a>, host: &'a Host) -> Result<Http<'a>, String> {
    let place = Place {
        service: "Patroni",
        unit: "patroni",
        host: host.name.clone(),
        port: gather.inventory.patroni.rest_port,
    };
    let login = gather.secrets.map(|secrets| (USER, &secrets.rest_api));
    let transport = gather.transport(&host.name)?;
    Ok(Http { transport, place, address: &host.address, scheme: gather.scheme()?, login })
}

pub async fn about(http: &Http<'_>) -> Result<About, CallError> {
    let reply = http.get("/patroni").await?;
    Ok(About { tls: reply.tls, ..http.json(&reply)? })
}

pub async fn cluster(http: &Http<'_>) -> Result<Cluster, CallError> {
    http.json(&http.get("/cluster").await?)
}

/// The configuration all members share, kept in etcd.
pub async fn config(http: &Http<'_>) -> Result<Value, CallError> {
    http.json(&http.get("/config").await?)
}

/// Change the shared configuration: `null` removes a key. Returns the new one.
pub async fn patch_config(http: &Http<'_>, approved: &Approved, patch: &Value) -> Result<Value, CallError> {
    approved.still_holds()?;
    http.json(&http.call(Method::PATCH, "/config", Some(patch)).await?)
}

/// Have a member see at once what has come about, and not only in its next turn: what it answers to a change that is none.
pub async fn look_again(http: &Http<'_>, approved: &Approved) -> Result<(), CallError> {
    patch_config(http, approved, &json!({ "xnat_provision": null })).await.map(drop)
}

/// Have a member read its files again. Patroni answers before it has done so.
pub async fn reload(http: &Http<'_>, approved: &Approved) -> Result<(), CallError> {
    approved.still_holds()?;
    http.accepted(&http.call(Method::POST, "/reload", None).await?)
}

/// Ask the leader to hand over. What comes of it is to be seen in the cluster: Patroni answers when it is done or when it
/// loses patience, and by then we may have.
pub async fn switchover(http: &Http<'_>, approved: &Approved, to: &HostName) -> Result<(), CallError> {
    moved(http, approved, "/switchover", &json!({ "leader": http.place.host, "candidate": to })).await
}

/// Make that replica the leader, be there another one or not. Any member can be asked.
pub async fn failover(http: &Http<'_>, approved: &Approved, to: &HostName) -> Result<(), CallError> {
    moved(http, approved, "/failover", &json!({ "candidate": to })).await
}

async fn moved(http: &Http<'_>, approved: &Approved, path: &str, request: &Value) -> Result<(), CallError> {
    approved.still_holds()?;
    match http.call(Method::POST, path, Some(request)).await {
        Err(CallError::Silent { .. }) => Ok(()),
        Err(error) => Err(error),
        // "Switchover status unknown"
        Ok(reply) if reply.status == 503 => Ok(()),
        Ok(reply) => http.accepted(&reply),
    }
}

/// Have a replica throw away its data and copy the leader's. Patroni answers before it has done so.
pub async fn reinitialize(http: &Http<'_>, approved: &Approved) -> Result<(), CallError> {
    approved.still_holds()?;
    // also when it is in the middle of something else, which is why one asks for this
    http.accepted(&http.call(Method::POST, "/reinitialize", Some(&json!({ "force": true }))).await?)
}

/// Have a member restart its PostgreSQL. As with a switchover, what came of it is to be seen in the cluster. While it is at
/// something else it takes no order: for waits, that is the reason to show meanwhile.
pub async fn restart(http: &Http<'_>, approved: &Approved) -> Result<Result<(), CallError>, String> {
    if let Err(overtaken) = approved.still_holds() {
        return Ok(Err(overtaken.into()));
    }
    match http.call(Method::POST, "/restart", Some(&json!({}))).await {
        Err(CallError::Silent { .. }) => Ok(Ok(())),
        Err(error) => Ok(Err(error)),
        // "switchover: demote already in progress"
        Ok(reply) if reply.status == 503 && reply.body.contains("in progress") => Err(reply.body.trim().to_owned()),
        Ok(reply) => Ok(http.accepted(&reply)),
    }
}

/// For waits: this very host leads and runs. Otherwise the reason to show meanwhile.
pub async fn led(gather: &Gather<'_>, host: &HostName) -> Result<(), String> {
    let host = gather.inventory.host(host).ok_or_else(|| format!("there is no host {host}"))?;
    let seen = cluster(&client(gather, host)?).await.map_err(|error| one_line(&error))?;
    let leader = running(&seen)?;
    if leader.name == host.name { Ok(()) } else { Err(format!("{} leads, and not {}", leader.name, host.name)) }
}

/// What Patroni calls the replication slot that it makes for a member.
pub fn slot(member: &HostName) -> String {
    member.as_str().to_lowercase().replace(['-', '.'], "_")
}

/// Who leads and runs, asking whoever answers.
pub async fn leader(gather: &Gather<'_>) -> Result<HostName, String> {
    running(&ask_any(gather).await?).map(|leader| leader.name.clone())
}

/// For waits: a leader runs, and these hosts are members that stream from it (or lead). Otherwise the reason to show
/// meanwhile.
pub async fn streaming(gather: &Gather<'_>, hosts: &[HostName]) -> Result<(), String> {
    let cluster = ask_any(gather).await?;
    running(&cluster)?;
    let unsure = |member: &Listed| member.state == RUNNING && !member.role.leads();
    if !hosts.iter().filter_map(|host| cluster.member(host)).any(unsure) {
        return whole(&cluster, hosts, &[]);
    }
    // Whoever a replica streams from knows. One whose PostgreSQL starts keeps that question waiting for seconds.
    let up = cluster.members.iter().filter(|member| matches!(member.state.as_str(), RUNNING | STREAMING));
    let told = futures::future::join_all(up.map(|member| async {
        let host = gather.inventory.host(&member.name)?;
        about(&client(gather, host).ok()?).await.ok()
    }))
    .await;
    whole(&cluster, hosts, &told.into_iter().flatten().collect::<Vec<_>>())
}

/// The first answer there is: they all read the same from etcd.
async fn ask_any(gather: &Gather<'_>) -> Result<Cluster, String> {
    let mut reason = "no host of the inventory runs PostgreSQL".to_owned();
    for host in gather.inventory.with(Component::Postgres) {
        let answer = match client(gather, host) {
            Ok(http) => cluster(&http).await.map_err(|error| one_line(&error)),
            Err(reason) => Err(reason),
        };
        match answer {
            Ok(cluster) => return Ok(cluster),
            Err(why) => reason = why,
        }
    }
    Err(reason)
}

fn running(cluster: &Cluster) -> Result<&Listed, String> {
    let leader = cluster.leader().ok_or("there is no leader yet")?;
    match leader.state.as_str() {
        RUNNING => Ok(leader),
        state => Err(format!("{} has the leader lock and is {state}", leader.name)),
    }
}

fn whole(cluster: &Cluster, hosts: &[HostName], about: &[About]) -> Result<(), String> {
    running(cluster)?;
    for host in hosts {
        let member = cluster.member(host).ok_or_else(|| format!("{host} has not joined yet"))?;
        if !member.role.leads() && !streams(member, about) {
            return Err(format!("{} is {} and does not stream yet", member.name, member.state));
        }
    }
    Ok(())
}

/// Does a replica stream? Patroni 3.0 calls it `running` either way, so the list of WAL senders of whoever it streams from decides.
pub fn streams(member: &Listed, about: &[About]) -> bool {
    let sender = |s: &Sender| s.application_name == member.name.as_str() && s.state == "streaming";
    member.state == STREAMING || (member.state == RUNNING && about.iter().any(|a| a.replication.iter().any(sender)))
}
