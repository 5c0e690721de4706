//! Every host of an inventory at once: connections, and why there is none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::fanout::for_each_host;
use super::host::HostError;
use super::remote::RemoteHost;
use crate::facts::{self, Facts};
use crate::inventory::{Host, Inventory};
use crate::names::HostName;
use crate::report::{Kind, Reporter};
use crate::transport::ssh::SshConnector;
use crate::transport::{Script, Transport, TransportError};

/// Makes connections; SSH in production, canned replies in tests.
#[async_trait]
pub trait Connector: Send + Sync {
    async fn connect(&self, host: &Host) -> Result<Arc<dyn Transport>, TransportError>;
}

#[async_trait]
impl Connector for SshConnector {
    async fn connect(&self, host: &Host) -> Result<Arc<dyn Transport>, TransportError> {
        Ok(Arc::new(Self::connect(self, host).await?))
    }
}

/// The hosts that answered, and those that did not.
#[derive(Default)]
pub struct Fleet {
    pub connections: BTreeMap<HostName, Arc<dyn Transport>>,
    pub unreachable: BTreeMap<HostName, TransportError>,
}

impl Fleet {
    /// One connection per host, at most `parallel` handshakes at a time.
    pub async fn connect(
        inventory: &Inventory,
        connector: &dyn Connector,
        (parallel, reporter): (usize, &Reporter),
    ) -> Self {
        let names = inventory.hosts.iter().map(|host| host.name.clone()).collect();
        let connect = |name: HostName| async move {
            let host = inventory.host(&name).expect("the name comes from the inventory");
            let begun = Instant::now();
            let connection = connector.connect(host).await?;
            let event = Kind::Connected {
                address: host.ssh.host.clone(),
                user: host.ssh.user.clone().unwrap_or_default(),
                millis: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            };
            reporter.for_host(&name).emit(event).await;
            Ok(connection)
        };
        let mut fleet = Self { connections: BTreeMap::new(), unreachable: BTreeMap::new() };
        for (name, result) in for_each_host(names, parallel, connect).await {
            match result {
                Ok(connection) => _ = fleet.connections.insert(name, connection),
                Err(error) => _ = fleet.unreachable.insert(name, error),
            }
        }
        fleet
    }

    /// The host as the engine uses it; `None` when it did not answer.
    pub fn host(&self, name: &HostName) -> Option<RemoteHost> {
        self.connections.get(name).map(|transport| RemoteHost::new(name.clone(), transport.clone()))
    }

    /// What every host is: one script each, all at once.
    pub async fn gather_facts(&self, reporter: &Reporter) -> BTreeMap<HostName, Result<Facts, HostError>> {
        let names: Vec<HostName> = self.connections.keys().cloned().collect();
        let limit = names.len();
        for_each_host(names, limit, |name| async move {
            let facts = gather(&name, self.connections[&name].as_ref()).await?;
            let event = Kind::FactsGathered {
                os: facts.os.clone(),
                release: facts.release.clone(),
                arch: facts.arch.clone(),
                cpus: facts.cpus,
                memory_kib: facts.memory_kib,
            };
            reporter.for_host(&name).emit(event).await;
            Ok(facts)
        })
        .await
    }

    /// Close every connection; how often each had to wait for its host is part of the record.
    pub async fn close(&self, reporter: &Reporter) {
        let close = |(name, connection): (&HostName, &Arc<dyn Transport>)| {
            let (reporter, connection) = (reporter.for_host(name), connection.clone());
            async move {
                reporter.emit(Kind::Disconnected { round_trips: connection.round_trips() }).await;
                connection.close().await;
            }
        };
        futures::future::join_all(self.connections.iter().map(close)).await;
    }
}

async fn gather(name: &HostName, transport: &dyn Transport) -> Result<Facts, HostError> {
    let script = Script::as_root("gather facts", facts::PROBE);
    let what = script.title.clone();
    let output =
        transport.run(script).await.map_err(|source| HostError::Transport { host: name.clone(), what, source })?;
    if output.status != 0 {
        let stderr = output.stderr.trim().to_owned();
        return Err(HostError::Observe { host: name.clone(), status: output.status, stderr });
    }
    facts::parse(&output.stdout).map_err(|error| HostError::Answer { host: name.clone(), line: error.to_string() })
}
