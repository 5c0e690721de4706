//! Hosts that answer as recorded: the services' HTTP is played to the real clients.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use xnat_provision::cluster::postgres::server::Server;
use xnat_provision::cluster::{Answer, ClusterView, Gather, Health, assess, gather};
use xnat_provision::inventory::Inventory;
use xnat_provision::names::HostName;
use xnat_provision::secret::Secret;
use xnat_provision::transport::{Endpoint, Output, Script, Stream, Streams, Transport, TransportError};
use xnat_provision::vault::Secrets;

/// One recording: the services' answers, and what the members' PostgreSQL said when asked by the real client.
#[derive(Clone, Deserialize)]
pub struct Recording {
    #[serde(rename = "recorded_from")]
    _from: String,
    /// `address:port/path` → the answer.
    http: BTreeMap<String, Said>,
    servers: BTreeMap<HostName, Answer<Server>>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Said {
    Reply {
        status: u16,
        body: Value,
    },
    /// `refused`, `silent`
    Nothing(String),
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/status")
}

pub fn recording(name: &str) -> Recording {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).expect("the recording");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub fn inventory() -> Inventory {
    let path = folder().join("inventory.toml");
    let mut inventory = Inventory::load(&path, None).expect("a good inventory").inventory;
    // Help repeats the path as it was given.
    inventory.path = "inventory.toml".into();
    inventory
}

pub fn secrets() -> Secrets {
    let secret = |name: &str| Secret::new(format!("{name}-secret"));
    Secrets {
        superuser: secret("super"),
        replication: secret("repl"),
        rewind: secret("rewind"),
        rest_api: secret("rest"),
        application: secret("app"),
        statistics: secret("stats"),
        pki: xnat_provision::pki::Pki::default(),
        rotation: None,
    }
}

/// A host that answers as recorded.
struct Played(Arc<Recording>);

#[async_trait]
impl Transport for Played {
    async fn run(&self, script: Script) -> Result<Output, TransportError> {
        panic!("status runs no scripts, and ran {:?}", script.title)
    }
    async fn open(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, TransportError> {
        let here = format!("{host}:{port}/");
        let target = format!("{host}:{port}");
        let at = Arc::new(Endpoint { host: "played".into(), user: "root".into(), address: host.into(), port: 22 });
        match self.0.http.iter().find(|(key, _)| key.starts_with(&here)) {
            Some((_, Said::Nothing(what))) if what == "refused" => Err(TransportError::NobodyListens { at, target }),
            Some(_) => {
                let (ours, theirs) = tokio::io::duplex(1 << 16);
                tokio::spawn(answer(self.0.clone(), target, theirs));
                Ok(Box::new(ours))
            }
            None => Err(TransportError::Open { at, target, reason: "not recorded".into() }),
        }
    }
    async fn pipe(&self, script: Script) -> Result<Box<dyn Stream>, TransportError> {
        // What PostgreSQL said is put in afterwards.
        let at = Arc::new(Endpoint { host: "played".into(), user: "root".into(), address: "played".into(), port: 22 });
        Err(TransportError::Open { at, target: script.title, reason: "not recorded".into() })
    }

    async fn listen(&self, socket: &str) -> Result<Streams, TransportError> {
        panic!("nobody comes to {socket}")
    }

    async fn again(&self) -> Result<Arc<dyn Transport>, TransportError> {
        panic!("nobody connects anew here")
    }

    fn round_trips(&self) -> u64 {
        0
    }
    async fn close(&self) {}
}

async fn answer(recording: Arc<Recording>, place: String, mut stream: DuplexStream) {
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => request.extend_from_slice(&chunk[..n]),
            _ => return,
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).expect("a path");
    if path.starts_with("/stats") {
        assert!(request.contains("Basic c3RhdHM6c3RhdHMtc2VjcmV0"), "statistics need a password: {request}");
    }
    match recording.http.get(&format!("{place}{path}")) {
        Some(Said::Reply { status, body }) => {
            let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            let reply = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(reply.as_bytes()).await.expect("the client reads");
        }
        // It was silent until the client gave up. Nobody waits for that here: the stream just ends.
        Some(Said::Nothing(_)) => {}
        None => panic!("{place}{path} was not recorded"),
    }
}

pub struct Hosts {
    pub inventory: Inventory,
    secrets: Secrets,
    connections: BTreeMap<HostName, Arc<dyn Transport>>,
    unreachable: BTreeMap<HostName, String>,
}

impl Hosts {
    pub fn new(recording: &Arc<Recording>) -> Self {
        let inventory = inventory();
        let played = |name: &HostName| (name.clone(), Arc::new(Played(recording.clone())) as Arc<dyn Transport>);
        let connections = inventory.hosts.iter().map(|host| played(&host.name)).collect();
        Self { inventory, secrets: secrets(), connections, unreachable: BTreeMap::new() }
    }
    /// Cut hosts off.
    pub fn without(mut self, hosts: &[&str]) -> Self {
        for host in hosts {
            self.connections.remove(&HostName::from(*host));
            self.unreachable.insert(HostName::from(*host), "no answer within 10 s".into());
        }
        self
    }
    pub fn gather(&self) -> Gather<'_> {
        Gather {
            inventory: &self.inventory,
            connections: &self.connections,
            unreachable: &self.unreachable,
            secrets: Some(&self.secrets),
        }
    }
    pub async fn look(&self, recording: &Recording) -> (ClusterView, Health) {
        let mut view = gather(&self.gather()).await;
        for member in &mut view.members {
            // PostgreSQL's protocol is not played; what was recorded of it is put in where the host is reachable.
            if self.connections.contains_key(&member.host)
                && let Some(server) = recording.servers.get(&member.host)
            {
                member.server = server.clone();
            }
        }
        let health = assess(&view, &self.inventory);
        (view, health)
    }
}
