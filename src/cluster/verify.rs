//! The proof at the end: a client writes through each HAProxy's primary port and reads it back through its replica
//! port, as the application, in the application's database. Leaves nothing behind.

pub mod passage;

use std::time::{Duration, Instant};

use tokio_postgres::{Client, Error};

use super::http::Place;
use super::postgres::{DEADLINE, Login, SqlError, connect, identifier, server, within};
use super::view::Gather;
use crate::approval::{Approved, Overtaken};
use crate::error::{Exit, Fails};
use crate::inventory::{Component, Host};

/// How long HAProxy may take to lead where it should, and a row to reach a replica.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks for the row.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two tries of a port.
const CHECKS: Duration = Duration::from_millis(500);

/// What one HAProxy was seen to do, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence(pub String);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum VerifyError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sql(#[from] SqlError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Overtaken(#[from] Overtaken),
    #[error("{0}")]
    #[diagnostic(code(xnat::verify::connection), help("see which hosts answer: `xnat-provision status INVENTORY`"))]
    Connection(String),
    #[error("{place} should lead to {wanted} and led to {found}")]
    #[diagnostic(
        code(xnat::verify::wrong_server),
        help("see what HAProxy and Patroni think of each other: `xnat-provision status INVENTORY`")
    )]
    WrongServer { place: Place, wanted: &'static str, found: String },
    #[error("a row written through {written} did not arrive at {place} within {} s", patience.as_secs())]
    #[diagnostic(
        code(xnat::verify::arrival),
        help("see how far the replicas are behind: `xnat-provision status INVENTORY`")
    )]
    Arrival { place: Place, written: String, patience: Duration },
}

impl Fails for VerifyError {
    fn exit(&self) -> Exit {
        match self {
            Self::Sql(error) => error.exit(),
            Self::Overtaken(error) => error.exit(),
            Self::Connection(_) => Exit::Unreachable,
            Self::WrongServer { .. } | Self::Arrival { .. } => Exit::Unhealthy,
        }
    }
}

/// Write and read through one HAProxy, from its own host. It creates a table and drops it, hence the token.
pub async fn through(gather: &Gather<'_>, host: &Host, approved: &Approved) -> Result<Evidence, VerifyError> {
    approved.still_holds()?;
    // One table per HAProxy, so that two checked at once do not meet, and one left by a killed run is taken over.
    let table = format!("public.{}", identifier(&format!("xnat_provision_check_{}", host.name)));
    let port = gather.inventory.haproxy.primary_port;
    let login = server::application(gather, host, port).map_err(VerifyError::Connection)?;
    let passing = |error: &VerifyError| error.exit() != Exit::Unreachable;
    Check { gather, host, table, login, patience: PATIENCE, passing }.run().await.map(Evidence)
}

struct Check<'a> {
    gather: &'a Gather<'a>,
    host: &'a Host,
    table: String,
    /// How long it may take until it is as it should be.
    patience: Duration,
    /// Whether something may pass by itself.
    passing: fn(&VerifyError) -> bool,
    /// As the application, to the port that is to lead to the leader.
    login: Login<'a>,
}

/// What a port is to lead to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Leader,
    Replica,
}

/// A session through HAProxy.
struct Session {
    client: Client,
    place: Place,
    /// The member behind it.
    server: String,
}

impl Session {
    async fn execute(&self, what: &str, sql: &str) -> Result<(), SqlError> {
        within(DEADLINE, &self.place, what, self.client.batch_execute(sql)).await
    }
}

impl Check<'_> {
    async fn run(&self) -> Result<String, VerifyError> {
        let writer = self.session(Wanted::Leader).await?;
        let result = self.write_and_read(&writer).await;
        // Whatever happened: nothing is left behind. The first error counts.
        let cleaned = writer.execute("remove the test table", &format!("DROP TABLE IF EXISTS {}", self.table)).await;
        let evidence = result?;
        cleaned?;
        Ok(evidence)
    }

    async fn write_and_read(&self, writer: &Session) -> Result<String, VerifyError> {
        let (table, host) = (&self.table, &self.host.name);
        let sql = format!(
            "DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (at timestamptz); INSERT INTO {table} VALUES (now())"
        );
        writer.execute("write", &sql).await?;
        let wrote = format!("wrote through {host}:{} to {}", writer.place.port, writer.server);
        if !self.has_replicas() {
            return Ok(format!("{wrote}; there is no replica to read it from"));
        }
        let start = Instant::now();
        let reader = self.session(Wanted::Replica).await?;
        self.arrival(&reader, &writer.place).await?;
        let millis = start.elapsed().as_millis();
        Ok(format!("{wrote}, read it on {host}:{} from {} after {millis} ms", reader.place.port, reader.server))
    }

    fn has_replicas(&self) -> bool {
        self.gather.inventory.with(Component::Postgres).count() > 1
    }

    /// Wait until the row that was written can be read.
    async fn arrival(&self, reader: &Session, written: &Place) -> Result<(), VerifyError> {
        let start = Instant::now();
        while !within(DEADLINE, &reader.place, "read", self.arrived(&reader.client)).await? {
            if start.elapsed() > self.patience {
                let (place, written, patience) = (reader.place.clone(), written.to_string(), self.patience);
                return Err(VerifyError::Arrival { place, written, patience });
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn arrived(&self, reader: &Client) -> Result<bool, Error> {
        let exists = reader.query_one("SELECT to_regclass($1) IS NOT NULL", &[&self.table]).await?;
        if !exists.try_get::<_, bool>(0)? {
            return Ok(false);
        }
        let row = reader.query_one(&format!("SELECT EXISTS (SELECT FROM {})", self.table), &[]).await?;
        row.try_get(0)
    }

    /// A session through a port. HAProxy may need a check or two after a change until it leads where it should.
    async fn session(&self, wanted: Wanted) -> Result<Session, VerifyError> {
        let start = Instant::now();
        loop {
            let error = match self.look(wanted).await {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            if start.elapsed() > self.patience || !(self.passing)(&error) {
                return Err(error);
            }
            tokio::time::sleep(CHECKS).await;
        }
    }

    async fn look(&self, wanted: Wanted) -> Result<Session, VerifyError> {
        let inventory = self.gather.inventory;
        let port = match wanted {
            Wanted::Leader => inventory.haproxy.primary_port,
            Wanted::Replica => inventory.haproxy.replica_port,
        };
        let place = Place { service: "HAProxy", unit: "haproxy", host: self.host.name.clone(), port };
        let login = Login { port, ..self.login.clone() };
        let transport = self.gather.transport(&self.host.name).map_err(VerifyError::Connection)?;
        let client = connect(transport, &login).await?;
        let (server, in_recovery) = within(DEADLINE, &place, "see which server it is", whoami(&client)).await?;
        let server =
            inventory.with(Component::Postgres).find(|h| h.address == server).map_or(server, |h| h.name.to_string());
        match (wanted, in_recovery) {
            (Wanted::Leader, false) | (Wanted::Replica, true) => Ok(Session { client, place, server }),
            (Wanted::Leader, true) => Err(VerifyError::WrongServer { place, wanted: "the leader", found: server }),
            (Wanted::Replica, false) => Err(VerifyError::WrongServer { place, wanted: "a replica", found: server }),
        }
    }
}

/// The address of the server, and whether it is a replica.
async fn whoami(client: &Client) -> Result<(String, bool), Error> {
    let row = client.query_one("SELECT coalesce(host(inet_server_addr()), ''), pg_is_in_recovery()", &[]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
