//! Both sides, before anything is done: what the source has, what the leader has for it, and what becomes of its roles.

use std::net::IpAddr;

use tokio_postgres::Client;

use super::MigrateError;
use super::end::has_content;
use crate::cluster::Gather;
use crate::cluster::postgres::foreign::Foreign;
use crate::cluster::postgres::{Login, SUPERUSER, connect, server};
use crate::engine::{Fleet, HostError};
use crate::error::one_line;
use crate::inventory::hba::fields;
use crate::inventory::{Component, Host, Inventory};
use crate::migrate::check::Target;
use crate::migrate::fingerprint::SETTINGS;
use crate::migrate::found::{self, Found, Hba};
use crate::migrate::physical::{self, Physical};
use crate::migrate::roles::{self, MARK, Role, Server};
use crate::names::HostName;
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
    /// Roles that will be made, or were.
    pub made: Vec<String>,
    /// The cluster, by its system identifier; and the source.
    pub system: i64,
    pub source_system: i64,
}

/// A look is no reason to wait for somebody's lock for long.
const PATIENCE: &str = "SET statement_timeout TO '120s'; SET lock_timeout TO '20s'";

const VERSION: &str = "SELECT current_setting('server_version_num')::int";

/// Look at both, at once.
pub async fn look(
    gather: &Gather<'_>,
    (foreign, leader): (&Foreign<'_>, &Host),
    fleet: &Fleet,
) -> Result<Looked, MigrateError> {
    let (theirs, ours) = futures::try_join!(of_the_source(foreign), of_the_target(gather, leader, fleet))?;
    let ((source, server, verifiers), source_system) = theirs;
    let ((mut target, mut ours), target_system) = ours;
    // roles that an earlier one has left go before this one makes them
    let stays = |role: &Role| role.comment.as_deref() != Some(MARK);
    target.roles.retain(|name| ours.roles.iter().any(|role| role.name == *name && stays(role)));
    ours.roles.retain(stays);
    if source_system == target_system {
        let reason = "it is this cluster itself, by its system identifier and timeline".to_owned();
        return Err(MigrateError::failed("move from the source", reason));
    }
    let made = roles::wanted((&server, &ours), ("", &[]), target.version_num).made;
    let database = foreign.source().database.clone();
    Ok(Looked {
        source,
        target,
        database,
        theirs: server,
        ours,
        verifiers,
        made,
        system: target_system.number,
        source_system: source_system.number,
    })
}

type Theirs = (Found, Server, Vec<(String, Secret)>);

async fn of_the_source(foreign: &Foreign<'_>) -> Result<(Theirs, System), MigrateError> {
    let database = &foreign.source().database;
    let session = foreign.connect(database).await?;
    let failed = |reason: String| MigrateError::failed("look at the source", reason);
    let mut found = found(&session).await.map_err(failed)?;
    let verifiers = verifiers(&session).await.map_err(|error| failed(one_line(&error)))?;
    let server = who(&session, database).await.map_err(failed)?;
    let server = server.ok_or_else(|| failed(format!("there is no database {database}")))?;
    let system = system(&session).await.map_err(failed)?;
    let directory = session.query_one("SELECT current_setting('data_directory')", &[]).await;
    let directory: String = directory.and_then(|row| row.try_get(0)).map_err(|error| failed(one_line(&error)))?;
    // its machine may allow one session only
    drop(session);
    found.free_bytes = foreign.free(&directory).await;
    Ok(((found, server, verifiers), system))
}

async fn of_the_target(
    gather: &Gather<'_>,
    leader: &Host,
    fleet: &Fleet,
) -> Result<((Target, Server), System), MigrateError> {
    let inventory = gather.inventory;
    let failed = |reason: String| MigrateError::failed("look at the leader", reason);
    let transport = gather.transport(&leader.name).map_err(failed)?;
    let login = server::superuser(gather, leader);
    let session = connect(transport, &login).await?;
    let found = found(&session).await.map_err(failed)?;
    let ours = match who(&session, &inventory.database.name).await.map_err(failed)? {
        Some(ours) => ours,
        // the roles are there all the same
        None => who(&session, SUPERUSER).await.map_err(failed)?.unwrap_or_default(),
    };
    let system = system(&session).await.map_err(failed)?;
    let settings = session.query("SELECT name FROM pg_settings", &[]).await;
    let settings = settings.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect());
    let settings = settings.map_err(|error: tokio_postgres::Error| failed(one_line(&error)))?;
    drop(session);
    let database = &inventory.database;
    let has_tables = match connect(transport, &Login { database: &database.name, ..login }).await {
        Ok(session) => has_content(&session).await?,
        Err(error) if error.is_no_database() => false,
        Err(error) => return Err(error.into()),
    };
    let target = Target {
        version_num: found.server.version_num,
        encoding: database.encoding.clone(),
        locale: database.locale.clone(),
        available_extensions: found.server.available_extensions,
        roles: ours.roles.iter().map(|role| role.name.clone()).collect(),
        database: database.name.clone(),
        owner: database.owner.clone(),
        free_bytes: Some(free(fleet, &leader.name).await?),
        replicas_free: replicas_free(inventory, leader, fleet).await,
        hba: inventory.postgresql.hba.iter().filter_map(|line| hba(line)).collect(),
        connection: if inventory.tls.enabled { "hostssl" } else { "host" },
        through: inventory.with(Component::Haproxy).map(|host| hba_address(&host.address)).collect(),
        max_connections: found.server.max_connections,
        database_has_tables: has_tables,
        members: inventory.with(Component::Postgres).count(),
        physical: found.physical,
        settings,
    };
    Ok(((target, ours), system))
}

/// All that a server says of itself and of the database the session is in.
async fn found(session: &Client) -> Result<Found, String> {
    let reading = async {
        session.batch_execute(SETTINGS).await?;
        session.batch_execute(PATIENCE).await?;
        let version: i32 = session.query_one(VERSION, &[]).await?.try_get(0)?;
        let version = version.unsigned_abs();
        let document: String = session.query_one(&found::look(version), &[]).await?.try_get(0)?;
        let physical: Option<String> = match version {
            physical::SINCE.. => Some(session.query_one(&physical::look(version), &[]).await?.try_get(0)?),
            _ => None,
        };
        Ok((document, physical))
    };
    let (document, physical) = reading.await.map_err(|error: tokio_postgres::Error| one_line(&error))?;
    let physical = physical.map(|document| serde_json::from_str::<Physical>(&document)).transpose();
    let found = Found::parse(&document).map_err(|error| error.to_string())?;
    Ok(Found { physical: physical.map_err(|error| error.to_string())?, ..found })
}

/// Which one the cluster is.
pub async fn cluster_system(gather: &Gather<'_>, leader: &Host) -> Result<i64, MigrateError> {
    let failed = |reason: String| MigrateError::failed("look at the leader", reason);
    let transport = gather.transport(&leader.name).map_err(failed)?;
    let found = system(&connect(transport, &server::superuser(gather, leader)).await?).await.map_err(failed)?;
    Ok(found.number)
}

/// A database system, whatever it is called. One that was made from another's files has its number, and goes on in a
/// timeline of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct System {
    pub number: i64,
    timeline: i32,
}

pub(super) async fn system(session: &Client) -> Result<System, String> {
    let asked = "SELECT system_identifier, timeline_id FROM pg_control_system(), pg_control_checkpoint()";
    let read = |row: tokio_postgres::Row| Ok(System { number: row.try_get(0)?, timeline: row.try_get(1)? });
    session.query_one(asked, &[]).await.and_then(read).map_err(|error| one_line(&error))
}

/// What a server keeps instead of passwords.
pub(super) async fn verifiers(session: &Client) -> Result<Vec<(String, Secret)>, tokio_postgres::Error> {
    let rows = session.query(roles::VERIFIERS, &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, Secret::new(row.try_get::<_, String>(1)?)))).collect()
}

/// Roles, and what is said of a database; nothing when there is no such database.
pub(super) async fn who(session: &Client, database: &str) -> Result<Option<Server>, String> {
    session.batch_execute(SETTINGS).await.map_err(|error| one_line(&error))?;
    let row = session.query_opt(roles::LOOK, &[&database]).await.map_err(|error| one_line(&error))?;
    let Some(row) = row else { return Ok(None) };
    let document: String = row.try_get(0).map_err(|error| one_line(&error))?;
    serde_json::from_str(&document).map(Some).map_err(|error| error.to_string())
}

/// Bytes where a member has its data.
pub(super) async fn free(fleet: &Fleet, member: &HostName) -> Result<u64, MigrateError> {
    let script = Script::as_root("look for space", "df --output=avail -B1 /var/lib/postgresql | tail -n 1\n");
    let what = script.title.clone();
    let ran = fleet.connections[member].run(script).await;
    let output = ran.map_err(|source| HostError::Transport { host: member.clone(), what, source })?;
    let free = output.stdout.trim().parse();
    free.map_err(|_| MigrateError::failed(format!("see how much space {member} has"), output.stderr.trim()))
}

/// Who does not say so is told of, and keeps nobody from looking.
async fn replicas_free(inventory: &Inventory, leader: &Host, fleet: &Fleet) -> Vec<(String, Option<u64>)> {
    let replicas = inventory.with(Component::Postgres).map(|host| &host.name).filter(|name| **name != leader.name);
    let asked = replicas.map(async |name| {
        let known = match fleet.connections.contains_key(name) {
            true => free(fleet, name).await.ok(),
            false => None,
        };
        (name.to_string(), known)
    });
    futures::future::join_all(asked).await
}

/// A line of the inventory's, as a server would tell it.
fn hba(line: &str) -> Option<Hba> {
    let fields = fields(line);
    let [kind, databases, users, address, rest @ ..] = &fields[..] else { return None };
    let list = |names: &str| names.split(',').map(str::to_owned).collect();
    let netmask = rest.first().filter(|mask| mask.parse::<IpAddr>().is_ok()).cloned();
    let method = rest.get(usize::from(netmask.is_some())).cloned().unwrap_or_default();
    let (databases, users, address) = (list(databases), list(users), Some(address.clone()));
    Some(Hba { kind: kind.clone(), databases, users, address, netmask, method })
}

/// As `pg_hba.conf` has one.
fn hba_address(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => format!("{address}/32"),
        Ok(IpAddr::V6(_)) => format!("{address}/128"),
        Err(_) => address.to_owned(),
    }
}
