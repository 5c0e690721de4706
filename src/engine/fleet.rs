//! Every host of an inventory at once: connections, and why there is none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use jiff::Timestamp;

use super::fanout::for_each_host;
use super::hold::{Claim, Hold, HoldError};
use super::host::HostError;
use super::remote::RemoteHost;
use super::shell::{self, facts::Scrutiny};
use crate::approval::Standing;
use crate::error::one_line;
use crate::facts::{self, Facts};
use crate::inventory::{Host, Inventory};
use crate::names::HostName;
use crate::report::{Kind, Reporter, millis_since};
use crate::transport::ssh::SshConnector;
use crate::transport::{Endpoint, Script, Soon, Transport, TransportError};

/// A connection that stands, and where it leads: `~/.ssh/config` has a word in that, the inventory alone does not tell.
pub struct Connection {
    pub transport: Arc<dyn Transport>,
    pub endpoint: Endpoint,
}

/// Makes connections; SSH in production, canned replies in tests.
#[async_trait]
pub trait Connector: Send + Sync {
    async fn connect(&self, host: &Host) -> Result<Connection, TransportError>;
}

#[async_trait]
impl Connector for SshConnector {
    async fn connect(&self, host: &Host) -> Result<Connection, TransportError> {
        let connection = Self::connect(self, host).await?;
        let endpoint = connection.endpoint().clone();
        Ok(Connection { transport: Arc::new(connection), endpoint })
    }
}

/// How hosts are connected to, and who hears of it.
#[derive(Clone, Copy)]
pub struct Dialer<'a> {
    pub connector: &'a dyn Connector,
    /// At most so many handshakes at a time.
    pub parallel: usize,
    pub reporter: &'a Reporter,
}

impl Dialer<'_> {
    async fn dial(&self, host: &Host) -> Result<Arc<dyn Transport>, TransportError> {
        let begun = Instant::now();
        let Connection { transport, endpoint } = self.connector.connect(host).await?;
        let Endpoint { address, user, .. } = endpoint;
        let event = Kind::Connected { address, user, millis: millis_since(begun) };
        self.reporter.for_host(&host.name).emit(event).await;
        Ok(transport)
    }
}

/// The hosts that answered, and those that did not.
#[derive(Default)]
pub struct Fleet {
    pub connections: BTreeMap<HostName, Arc<dyn Transport>>,
    pub unreachable: BTreeMap<HostName, TransportError>,
    /// The locks this run has.
    pub holds: BTreeMap<HostName, Hold>,
    /// Whether it has them still.
    pub standing: Standing,
    /// At most so many hosts are connected to, or looked at, at a time; all of them unless said.
    pub parallel: Option<usize>,
}

impl Fleet {
    /// Connect to every host of the inventory to which there is no connection yet.
    pub async fn connect(&mut self, inventory: &Inventory, dialer: Dialer<'_>) {
        let missing = inventory.everybody().filter(|host| !self.connections.contains_key(&host.name));
        let missing = missing.map(|host| host.name.clone()).collect();
        let dial = |name: HostName| async move {
            dialer.dial(inventory.known(&name).expect("the name comes from the inventory")).await
        };
        self.unreachable.clear();
        self.parallel = Some(dialer.parallel);
        for (name, result) in for_each_host(missing, dialer.parallel, dial).await {
            match result {
                Ok(transport) => _ = self.connections.insert(name, transport),
                Err(error) => _ = self.unreachable.insert(name, error),
            }
        }
    }

    /// Why hosts could not be connected to, in a line each.
    pub fn reasons(&self) -> BTreeMap<HostName, String> {
        self.unreachable.iter().map(|(name, error)| (name.clone(), one_line(error))).collect()
    }

    /// The host as the engine uses it; `None` when it did not answer.
    pub fn host(&self, name: &HostName) -> Option<RemoteHost> {
        self.connections.get(name).map(|transport| {
            let fence = self.holds.get(name).map(|hold| hold.fence.clone());
            RemoteHost::new(name.clone(), transport.clone(), fence)
        })
    }

    /// Take the locks of hosts, all at once. There is an error for each that was not to be had.
    pub async fn take(&self, hosts: Vec<HostName>, claim: &Claim) -> BTreeMap<HostName, Result<Hold, HoldError>> {
        let limit = hosts.len();
        for_each_host(hosts, limit, |name| async move {
            Hold::take(&name, self.connections[&name].as_ref(), (claim, &self.standing)).await
        })
        .await
    }

    /// Give one lock back, because its host goes away: it would count as lost.
    pub async fn release(&self, name: &HostName) {
        if let Some(hold) = self.holds.get(name) {
            hold.end().await;
        }
    }

    /// What every host is: one script each, all at once.
    pub async fn gather_facts(
        &self,
        inventory: &Inventory,
        scrutiny: Scrutiny,
        reporter: &Reporter,
    ) -> BTreeMap<HostName, Result<Facts, HostError>> {
        self.gather_facts_before(|_| Soon::default(), inventory, scrutiny, reporter).await
    }

    /// The same; `then` says what a host is asked right after that.
    pub async fn gather_facts_before(
        &self,
        then: impl Fn(&Host) -> Soon + Copy,
        inventory: &Inventory,
        scrutiny: Scrutiny,
        reporter: &Reporter,
    ) -> BTreeMap<HostName, Result<Facts, HostError>> {
        let names: Vec<HostName> = self.connections.keys().cloned().collect();
        let limit = self.parallel.unwrap_or(names.len());
        for_each_host(names, limit, |name| async move {
            let host = inventory.known(&name).expect("connections are made to hosts of the inventory");
            let script = shell::facts::script(inventory, host, scrutiny);
            let transport = self.connections[&name].as_ref();
            let (facts, ()) = futures::join!(gather(&name, transport, script), transport.expect(then(host)));
            let facts = facts?;
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

    /// Close every connection, and with it the lock: the host sees that at once, and whoever comes next waits a second for
    /// a lock. How often each had to wait for its host is part of the record.
    pub async fn close(&mut self, reporter: &Reporter) {
        self.holds.clear();
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

async fn gather(name: &HostName, transport: &dyn Transport, text: String) -> Result<Facts, HostError> {
    let script = Script::as_root("gather facts", text);
    let what = script.title.clone();
    let asked = Timestamp::now().as_duration().as_secs_f64();
    let output =
        transport.run(script).await.map_err(|source| HostError::Transport { host: name.clone(), what, source })?;
    if output.status != 0 {
        let stderr = output.stderr.trim().to_owned();
        return Err(HostError::Observe { host: name.clone(), status: output.status, stderr });
    }
    let facts = facts::parse(&output.stdout)
        .map_err(|error| HostError::Answer { host: name.clone(), line: error.to_string() })?;
    Ok(Facts { asked: Some(asked), ..facts })
}
