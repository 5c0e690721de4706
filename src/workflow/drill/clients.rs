//! Clients as a connection pool has them: each with a session through HAProxy, and a new one, to the next HAProxy, when it
//! is lost. Their settings are those that this program recommends for XNAT.

use std::convert::Infallible;
use std::time::Duration;

use futures::future::join_all;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use super::ledger::DATABASE;
use super::log::Log;
use crate::cluster::Gather;
use crate::cluster::postgres::{self, Login, server};
use crate::error::one_line;
use crate::inventory::{Component, Host};
use crate::transport::{PATIENCE, resolve};

/// As in the JDBC URL: `connectTimeout=4`, `socketTimeout=900`.
const CONNECT: Duration = Duration::from_secs(4);
const ANSWER: Duration = Duration::from_secs(900);
const WRITERS: usize = 4;
const READERS: usize = 2;
/// They connect anew for every row: what is amiss with a server may show in that only.
const NEWCOMERS: usize = 1;
/// Between two statements of a client, and between two tries to connect.
const PAUSE: Duration = Duration::from_millis(20);
const AGAIN: Duration = Duration::from_millis(100);
/// Between two newcomers.
const SELDOM: Duration = Duration::from_millis(200);

/// How HAProxy is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Direct,
    /// From HAProxy's own host.
    ThroughSsh,
}

impl Route {
    /// Directly when every HAProxy can be.
    pub async fn of(gather: &Gather<'_>) -> Self {
        let port = gather.inventory.haproxy.primary_port;
        let tries = gather.inventory.with(Component::Haproxy).map(|host| dial(&host.address, port));
        if join_all(tries).await.iter().all(Result::is_ok) { Self::Direct } else { Self::ThroughSsh }
    }

    pub fn told(self, gather: &Gather<'_>) -> String {
        let names: Vec<&str> = gather.inventory.with(Component::Haproxy).map(|host| host.name.as_str()).collect();
        let way = match self {
            Self::Direct => "directly from this machine",
            Self::ThroughSsh => "through the SSH connections, since this machine does not reach its port",
        };
        format!(
            "{WRITERS} write, {READERS} read and {NEWCOMERS} connects anew for every row, through HAProxy on {}, {way}",
            names.join(", ")
        )
    }
}

async fn dial(address: &str, port: u16) -> Result<TcpStream, String> {
    let connecting = async { TcpStream::connect(&*resolve::addresses(address, port).await?).await };
    match timeout(CONNECT, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection within {} s", CONNECT.as_secs())),
    }
}

pub(super) struct Clients<'a> {
    pub gather: &'a Gather<'a>,
    pub route: Route,
    pub log: &'a Log<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Write,
    Read,
    Connect,
}

impl Clients<'_> {
    pub async fn go_on(&self) -> Infallible {
        let all = std::iter::repeat_n(Does::Write, WRITERS).chain(std::iter::repeat_n(Does::Read, READERS));
        let all = all.chain(std::iter::repeat_n(Does::Connect, NEWCOMERS));
        let all = all.enumerate().map(|(number, does)| self.client(number, does));
        join_all(all).await.into_iter().next().unwrap_or_else(|| unreachable!("there are clients, and none ever ends"))
    }

    async fn client(&self, number: usize, does: Does) -> Infallible {
        let balancers: Vec<&Host> = self.gather.inventory.with(Component::Haproxy).collect();
        // a pool tries its URL's hosts from the first on
        let mut hosts = balancers.iter().cycle();
        loop {
            let Some(balancer) = hosts.next() else {
                sleep(AGAIN).await;
                continue;
            };
            match self.connect(balancer, does).await {
                Ok(session) => {
                    if let Err(ended) = self.work(&session, does).await {
                        self.log.failed(format!("client {number} through {}: {ended}", balancer.name));
                    }
                    hosts = balancers.iter().cycle();
                }
                Err(reason) => {
                    self.log.failed(format!("client {number} cannot connect to {}: {reason}", balancer.name));
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// Until the session is lost, and how it was; a newcomer leaves by itself.
    async fn work(&self, session: &Client, does: Does) -> Result<(), String> {
        loop {
            let row = self.log.next_row();
            let sql = match does {
                Does::Write | Does::Connect => format!("INSERT INTO ledger VALUES ({row})"),
                Does::Read => "SELECT count(*) FROM ledger WHERE n = 1".to_owned(),
            };
            match timeout(ANSWER, session.batch_execute(&sql)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(one_line(&error)),
                Err(_) => return Err(format!("no answer within {} s", ANSWER.as_secs())),
            }
            match does {
                Does::Write => self.log.acknowledged(row),
                Does::Read => self.log.mark(|seen, now| seen.reads.push(now)),
                Does::Connect => {
                    self.log.connected(row);
                    sleep(SELDOM).await;
                    return Ok(());
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn connect(&self, balancer: &Host, does: Does) -> Result<Client, String> {
        let haproxy = &self.gather.inventory.haproxy;
        let port = if does == Does::Read { haproxy.replica_port } else { haproxy.primary_port };
        let login = Login { database: DATABASE, ..server::application(self.gather, balancer, port)? };
        let session = async {
            match self.route {
                Route::Direct => {
                    let stream = dial(&balancer.address, port).await?;
                    postgres::over(Box::new(stream), &login, PATIENCE).await.map_err(|error| one_line(&error))
                }
                Route::ThroughSsh => {
                    let transport = self.gather.transport(&balancer.name)?;
                    postgres::connect(transport, &login).await.map_err(|error| one_line(&error))
                }
            }
        };
        timeout(CONNECT, session).await.unwrap_or_else(|_| Err(format!("no session within {} s", CONNECT.as_secs())))
    }
}
