//! Who is what, asked several times a second: every PostgreSQL itself, every HAProxy, and etcd for the holder of the leader
//! lock. Over connections of their own where the first ones are lost.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use super::log::Log;
use crate::cluster::postgres::{connect, server};
use crate::cluster::{Gather, etcd, haproxy, keys};
use crate::drill::{Balancer, Lock, Recording, Role, Server};
use crate::engine::Connector;
use crate::inventory::{Component, Host};
use crate::names::HostName;
use crate::transport::{Script, Transport};

/// Between two questions to the same.
const OFTEN: Duration = Duration::from_millis(150);
const SELDOM: Duration = Duration::from_millis(300);
/// Who does not answer within this is silent.
const ANSWER: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(4);

const ROLE: &str = "SELECT pg_is_in_recovery(), CASE WHEN NOT pg_is_in_recovery() THEN \
    ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END";

pub(super) struct Watch<'a> {
    pub gather: &'a Gather<'a>,
    pub connector: &'a dyn Connector,
    pub log: &'a Log<'a>,
}

impl Watch<'_> {
    pub async fn go_on(&self) -> Infallible {
        let inventory = self.gather.inventory;
        let servers = join_all(inventory.with(Component::Postgres).map(|host| self.server(host)));
        let balancers = join_all(inventory.with(Component::Haproxy).map(|host| self.balancer(host)));
        let (_, _, never) = futures::join!(servers, balancers, self.lock());
        never
    }

    /// What a server says, from the first time to the last: it was asked before it answered, so that both ends are certain.
    async fn server(&self, host: &Host) -> Infallible {
        let mut way = self.gather.connections.get(&host.name).cloned();
        loop {
            if let Some(transport) = &way
                && let Ok(Ok(session)) =
                    timeout(ANSWER, connect(transport.as_ref(), &server::superuser(self.gather, host))).await
            {
                self.ask_on(host, &session).await;
                continue;
            }
            self.saw_server(host, (self.log.now(), self.log.now()), Server { role: Role::Silent, timeline: None })
                .await;
            way = self.way_that_stands(host, way).await;
            sleep(SELDOM).await;
        }
    }

    /// The machine itself may have been away.
    async fn way_that_stands(&self, host: &Host, way: Option<Arc<dyn Transport>>) -> Option<Arc<dyn Transport>> {
        if let Some(way) = way
            && let Ok(Ok(_)) = timeout(ANSWER, way.run(Script::as_login("see whether it answers", "true\n"))).await
        {
            return Some(way);
        }
        timeout(CONNECT, self.connector.connect(host)).await.ok()?.ok().map(|connection| connection.transport)
    }

    /// Until it does not answer.
    async fn ask_on(&self, host: &Host, session: &Client) {
        loop {
            let asked = self.log.now();
            let Ok(Ok(row)) = timeout(ANSWER, session.query_one(ROLE, &[])).await else { return };
            let answered = self.log.now();
            let (Ok(replica), Ok(timeline)) = (row.try_get::<_, bool>(0), row.try_get::<_, Option<i32>>(1)) else {
                return;
            };
            let role = if replica { Role::Replica } else { Role::Writable };
            let timeline = timeline.and_then(|timeline| u32::try_from(timeline).ok());
            self.saw_server(host, (answered, asked), Server { role, timeline }).await;
            sleep(OFTEN).await;
        }
    }

    async fn saw_server(&self, host: &Host, times: (u64, u64), seen: Server) {
        let text = match seen.role {
            Role::Writable => format!("{} takes writes (timeline {})", host.name, seen.timeline.unwrap_or_default()),
            Role::Replica => format!("{} is a replica", host.name),
            Role::Silent => format!("PostgreSQL on {} does not answer", host.name),
        };
        let news = self.log.with(|log| Recording::saw(log.servers.entry(host.name.clone()).or_default(), times, seen));
        self.tell(news, text).await;
    }

    async fn balancer(&self, host: &Host) -> Infallible {
        loop {
            let asked = self.log.now();
            if let Ok(http) = haproxy::client(self.gather, host)
                && let Ok(Ok(servers)) = timeout(ANSWER, haproxy::ask(&http)).await
            {
                let up = servers.iter().filter(|server| server.section == haproxy::PRIMARY && server.up);
                let up: Vec<HostName> = up.map(|server| HostName::from(server.name.as_str())).collect();
                let names: Vec<&str> = up.iter().map(HostName::as_str).collect();
                let whom = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
                let text = format!("HAProxy on {} sends writes to {whom}", host.name);
                let times = (self.log.now(), asked);
                let news = self.log.with(|log| {
                    Recording::saw(log.balancers.entry(host.name.clone()).or_default(), times, Balancer(up))
                });
                self.tell(news, text).await;
            }
            self.rest_since(asked).await;
        }
    }

    /// From whichever member of etcd answers.
    async fn lock(&self) -> Infallible {
        loop {
            let mut asked = self.log.now();
            for host in self.gather.inventory.with(Component::Etcd) {
                let Ok(http) = etcd::client(self.gather, host) else { continue };
                let cluster = &self.gather.inventory.cluster;
                asked = self.log.now();
                let Ok(Ok(holder)) = timeout(ANSWER, keys::leader(&http, cluster)).await else { continue };
                let text = match &holder {
                    Some(holder) => format!("{holder} has the leader lock"),
                    None => "nobody has the leader lock".to_owned(),
                };
                let now = self.log.now();
                let news = self.log.with(|log| Recording::saw(&mut log.lock, (now, now), Lock(holder)));
                self.tell(news, text).await;
                break;
            }
            self.rest_since(asked).await;
        }
    }

    /// Each of these questions is a handshake: who takes long for it has enough to do.
    async fn rest_since(&self, asked: u64) {
        sleep(SELDOM.max(Duration::from_millis(self.log.now() - asked))).await;
    }

    async fn tell(&self, news: bool, text: String) {
        if news {
            self.log.tell(text).await;
        }
    }
}
