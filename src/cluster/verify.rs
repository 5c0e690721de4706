//! The proof at the end: a client writes through each HAProxy's primary port and reads it back through its replica
//! port, as the application, in the application's database. Leaves nothing behind.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, Error};

use super::http::{DEADLINE, Place};
use super::postgres::{Login, SqlError, connect, identifier, within};
use super::view::Gather;
use crate::approval::Approved;
use crate::error::{Exit, Fails};
use crate::inventory::{Component, Host};

/// How long a row may take to reach a replica.
const ARRIVAL: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(20);

/// What one HAProxy was seen to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence(pub String);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum VerifyError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sql(#[from] SqlError),
    #[error("{0}")]
    #[diagnostic(code(xnat::verify::connection), help("see which hosts answer: `xnat-provision status INVENTORY`"))]
    Connection(String),
    #[error("{place} should lead to {wanted} and led to {found}")]
    #[diagnostic(
        code(xnat::verify::wrong_server),
        help("see what HAProxy and Patroni think of each other: `xnat-provision status INVENTORY`")
    )]
    WrongServer { place: Place, wanted: &'static str, found: String },
    #[error("a row written through {written} did not arrive at {place} within {} s", ARRIVAL.as_secs())]
    #[diagnostic(
        code(xnat::verify::arrival),
        help("see how far the replicas are behind: `xnat-provision status INVENTORY`")
    )]
    Arrival { place: Place, written: String },
}

impl Fails for VerifyError {
    fn exit(&self) -> Exit {
        match self {
            Self::Sql(error) => error.exit(),
            Self::Connection(_) => Exit::Unreachable,
            Self::WrongServer { .. } | Self::Arrival { .. } => Exit::Unhealthy,
        }
    }
}

/// Write and read through one HAProxy, from its own host. It creates a table and drops it, hence the token.
pub async fn through(gather: &Gather<'_>, host: &Host, _approved: &Approved) -> Result<Evidence, VerifyError> {
    let inventory = gather.inventory;
    let transport = gather.transport(&host.name).map_err(VerifyError::Connection)?;
    let secrets = gather.secrets.ok_or_else(|| VerifyError::Connection("there are no passwords at hand".to_owned()))?;
    let primary = Login {
        host: host.name.clone(),
        address: &host.address,
        port: inventory.haproxy.primary_port,
        user: &inventory.database.owner,
        password: &secrets.application,
        database: &inventory.database.name,
    };
    let writer = connect(transport, &primary).await?;
    let check = Check { gather, host, table: table(host), writer: &writer, primary: place(host, primary.port) };
    let result = match check.write().await {
        Ok(written) if inventory.with(Component::Postgres).count() > 1 => {
            let replica = Login { port: inventory.haproxy.replica_port, ..primary.clone() };
            check.read_back(&written, &replica).await
        }
        Ok(written) => {
            Ok(format!("wrote through {}:{} to {written}; no replica to read from", host.name, primary.port))
        }
        Err(error) => Err(error),
    };
    // Whatever happened: nothing is left behind. The first error counts.
    let cleaned = check.execute("remove the test table", &format!("DROP TABLE IF EXISTS {}", check.table)).await;
    let evidence = result?;
    cleaned?;
    Ok(Evidence(evidence))
}

/// One table per HAProxy, so that two checked at once do not meet, and one left by a killed run is taken over.
fn table(host: &Host) -> String {
    format!("public.{}", identifier(&format!("xnat_provision_check_{}", host.name)))
}

fn place(host: &Host, port: u16) -> Place {
    Place { service: "HAProxy", unit: "haproxy", host: host.name.clone(), port }
}

struct Check<'a> {
    gather: &'a Gather<'a>,
    host: &'a Host,
    table: String,
    writer: &'a Client,
    primary: Place,
}

impl Check<'_> {
    async fn execute(&self, what: &str, sql: &str) -> Result<(), SqlError> {
        within(DEADLINE, &self.primary, what, self.writer.batch_execute(sql)).await
    }

    /// Write a row; which server took it.
    async fn write(&self) -> Result<String, VerifyError> {
        let server = self.server(self.writer, &self.primary).await?;
        if server.in_recovery {
            return Err(VerifyError::WrongServer {
                place: self.primary.clone(),
                wanted: "the leader",
                found: server.name,
            });
        }
        let table = &self.table;
        let sql = format!(
            "DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (at timestamptz); INSERT INTO {table} VALUES (now())"
        );
        self.execute("write", &sql).await?;
        Ok(server.name)
    }

    /// Wait for the row at the replica port.
    async fn read_back(&self, written: &str, replica: &Login<'_>) -> Result<String, VerifyError> {
        let start = Instant::now();
        let there = place(self.host, replica.port);
        let transport = self.gather.transport(&self.host.name).map_err(VerifyError::Connection)?;
        let reader = connect(transport, replica).await?;
        let server = self.server(&reader, &there).await?;
        if !server.in_recovery {
            return Err(VerifyError::WrongServer { place: there, wanted: "a replica", found: server.name });
        }
        while !within(DEADLINE, &there, "read", self.arrived(&reader)).await? {
            if start.elapsed() > ARRIVAL {
                return Err(VerifyError::Arrival { place: there, written: self.primary.to_string() });
            }
            tokio::time::sleep(PAUSE).await;
        }
        let host = &self.host.name;
        Ok(format!(
            "wrote through {host}:{} to {written}, read it on {host}:{} from {} after {} ms",
            self.primary.port,
            replica.port,
            server.name,
            start.elapsed().as_millis()
        ))
    }

    async fn arrived(&self, reader: &Client) -> Result<bool, Error> {
        let exists = reader.query_one("SELECT to_regclass($1) IS NOT NULL", &[&self.table]).await?;
        if !exists.try_get::<_, bool>(0)? {
            return Ok(false);
        }
        let row = reader.query_one(&format!("SELECT EXISTS (SELECT FROM {})", self.table), &[]).await?;
        row.try_get(0)
    }

    /// Which member is behind a session.
    async fn server(&self, client: &Client, place: &Place) -> Result<Server, VerifyError> {
        let query = client.query_one("SELECT coalesce(host(inet_server_addr()), ''), pg_is_in_recovery()", &[]);
        let row = within(DEADLINE, place, "see which server it is", query).await?;
        let read = |source| SqlError::Query { place: place.clone(), what: "see which server it is".to_owned(), source };
        let address: String = row.try_get(0).map_err(read)?;
        let host = self.gather.inventory.with(Component::Postgres).find(|h| h.address == address);
        let name = host.map_or(address, |h| h.name.to_string());
        Ok(Server { name, in_recovery: row.try_get(1).map_err(read)? })
    }
}

struct Server {
    name: String,
    in_recovery: bool,
}
