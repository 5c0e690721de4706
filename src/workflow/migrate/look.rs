//! Both sides, before anything is done: what the source has, what the leader has for it, and what becomes of its roles.

use tokio_postgres::Client;

use super::MigrateError;
use crate::cluster::Gather;
use crate::cluster::postgres::foreign::Foreign;
use crate::cluster::postgres::{Login, connect, server};
use crate::engine::{Fleet, HostError};
use crate::error::one_line;
use crate::inventory::Host;
use crate::migrate::check::Target;
use crate::migrate::fingerprint::SETTINGS;
use crate::migrate::found::{self, Found};
use crate::migrate::roles::{self, Server};
use crate::secret::Secret;
use crate::transport::Script;

/// What a look at both sides gives.
pub struct Looked {
    pub source: Found,
    pub target: Target,
    /// The database to move, as the source calls it.
    pub database: String,
    pub theirs: Server,
    pub ours: Server,
    /// What the source keeps instead of passwords.
    pub verifiers: Vec<(String, Secret)>,
    /// Roles that will be made, or were by this migration.
    pub made: Vec<String>,
}

/// A look is no reason to wait for somebody's lock for long.
const PATIENCE: &str = "SET statement_timeout TO '120s'; SET lock_timeout TO '20s'";

const VERSION: &str = "SELECT current_setting('server_version_num')::int";

/// Tables in the database that is to be replaced.
const TABLES: &str = "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))";

/// Look at both, at once.
pub async fn look(
    gather: &Gather<'_>,
    (foreign, leader): (&Foreign<'_>, &Host),
    fleet: &Fleet,
) -> Result<Looked, MigrateError> {
    let (theirs, ours) = futures::try_join!(of_the_source(foreign), of_the_target(gather, leader, fleet))?;
    let (source, server, verifiers) = theirs;
    let (target, ours) = ours;
    let made = roles::wanted(&server, &ours, ("", &[])).made;
    let database = foreign.source().database.clone();
    Ok(Looked { source, target, database, theirs: server, ours, verifiers, made })
}

async fn of_the_source(foreign: &Foreign<'_>) -> Result<(Found, Server, Vec<(String, Secret)>), MigrateError> {
    let database = &foreign.source().database;
    let session = foreign.connect(database).await?;
    let failed = |reason: String| MigrateError::failed("look at the source", reason);
    let reading = async {
        session.batch_execute(SETTINGS).await?;
        session.batch_execute(PATIENCE).await?;
        let version: i32 = session.query_one(VERSION, &[]).await?.try_get(0)?;
        let text = found::look(version.unsigned_abs());
        let document: String = session.query_one(&text, &[]).await?.try_get(0)?;
        let rows = session.query(roles::VERIFIERS, &[]).await?;
        let verifiers = rows.iter().map(|row| Ok((row.try_get(0)?, Secret::new(row.try_get::<_, String>(1)?))));
        Ok::<_, tokio_postgres::Error>((document, verifiers.collect::<Result<Vec<_>, tokio_postgres::Error>>()?))
    };
    let (document, verifiers) = reading.await.map_err(|error| failed(one_line(&error)))?;
    let found = Found::parse(&document).map_err(|error| failed(error.to_string()))?;
    let server = who(&session, database).await.map_err(failed)?;
    Ok((found, server, verifiers))
}

async fn of_the_target(gather: &Gather<'_>, leader: &Host, fleet: &Fleet) -> Result<(Target, Server), MigrateError> {
    let inventory = gather.inventory;
    let failed = |reason: String| MigrateError::failed("look at the leader", reason);
    let transport = gather.transport(&leader.name).map_err(failed)?;
    let login = server::superuser(gather, leader);
    let session = connect(transport, &login).await?;
    let reading = async {
        let version: i32 = session.query_one(VERSION, &[]).await?.try_get(0)?;
        let text = found::look(version.unsigned_abs());
        let document: String = session.query_one(&text, &[]).await?.try_get(0)?;
        Ok::<_, tokio_postgres::Error>((version.unsigned_abs(), document))
    };
    let (version_num, document) = reading.await.map_err(|error| failed(one_line(&error)))?;
    let found = Found::parse(&document).map_err(|error| failed(error.to_string()))?;
    let ours = who(&session, &inventory.database.name).await.map_err(failed)?;
    drop(session);
    let database = &inventory.database;
    let has_tables = match connect(transport, &Login { database: &database.name, ..login }).await {
        Ok(session) => {
            let asked = session.query_one(TABLES, &[]).await.and_then(|row| row.try_get(0));
            asked.map_err(|error| failed(one_line(&error)))?
        }
        Err(error) if error.is_no_database() => false,
        Err(error) => return Err(error.into()),
    };
    let target = Target {
        version_num,
        encoding: database.encoding.clone(),
        locale: database.locale.clone(),
        available_extensions: found.server.available_extensions,
        roles: ours.roles.iter().map(|role| role.name.clone()).collect(),
        owner: database.owner.clone(),
        free_bytes: Some(free(fleet, leader).await?),
        max_connections: found.server.max_connections,
        database_has_tables: has_tables,
    };
    Ok((target, ours))
}

/// Roles, and what is said of a database; a server without that database has the roles all the same.
pub(super) async fn who(session: &Client, database: &str) -> Result<Server, String> {
    session.batch_execute(SETTINGS).await.map_err(|error| one_line(&error))?;
    let row = session.query_opt(roles::LOOK, &[&database]).await.map_err(|error| one_line(&error))?;
    let row = match row {
        Some(row) => row,
        None => session.query_one(roles::LOOK, &[&"postgres"]).await.map_err(|error| one_line(&error))?,
    };
    let document: String = row.try_get(0).map_err(|error| one_line(&error))?;
    serde_json::from_str(&document).map_err(|error| error.to_string())
}

/// Bytes where the leader has its data.
async fn free(fleet: &Fleet, leader: &Host) -> Result<u64, MigrateError> {
    let script = Script::as_root("look for space", "df --output=avail -B1 /var/lib/postgresql | tail -n 1\n");
    let what = script.title.clone();
    let ran = fleet.connections[&leader.name].run(script).await;
    let output = ran.map_err(|source| HostError::Transport { host: leader.name.clone(), what, source })?;
    let free = output.stdout.trim().parse();
    free.map_err(|_| MigrateError::failed("see how much space the leader has", output.stderr.trim()))
}
