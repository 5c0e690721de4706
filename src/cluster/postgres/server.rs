//! What a member's own PostgreSQL says of itself, whatever Patroni says. Reads only.

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::super::view::Gather;
use super::altered::{Altered, altered};
use super::excess::{Excess, excess};
use super::{DEADLINE, Login, SUPERUSER, SqlError, Way, connect, within};
use crate::cluster::tls::Tls;
use crate::inventory::{Database, Host};
use crate::transport::Transport;

/// A running PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// `15.18`
    pub version: String,
    pub in_recovery: bool,
    /// Whether it speaks TLS.
    #[serde(default)]
    pub tls: bool,
    /// The WAL receiver's state, on a replica: `streaming`.
    pub receiver: Option<String>,
    pub standbys: Vec<Standby>,
    /// How far its WAL goes, in bytes since the beginning: written by the leader, received by a replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<i64>,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// Is the application's database there?
    pub database: bool,
    /// Our roles that can do more than they need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excess: Vec<Excess>,
    /// What somebody set with ALTER SYSTEM.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub altered: Vec<Altered>,
}

/// Who streams from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standby {
    pub name: String,
    pub state: String,
    /// `async`, `sync`, `quorum`, `potential`
    pub sync: String,
    /// Bytes written here and not yet replayed there.
    pub lag: Option<i64>,
}

const ABOUT: &str = "SELECT current_setting('server_version'), pg_is_in_recovery(),
       (SELECT status FROM pg_stat_wal_receiver LIMIT 1),
       EXISTS (SELECT FROM pg_database WHERE datname = $1), current_setting('ssl')::boolean,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery()
                            THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                            ELSE pg_current_wal_lsn() END, '0/0')::bigint,
       pg_postmaster_start_time()::text";

const STANDBYS: &str = "SELECT application_name, coalesce(state, ''), coalesce(sync_state, ''),
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                       replay_lsn)::bigint
  FROM pg_stat_replication ORDER BY 1";

/// The superuser on one member.
pub fn superuser<'a>(gather: &Gather<'a>, host: &'a Host) -> Login<'a> {
    let port = gather.inventory.postgresql.port;
    Login { host: host.name.clone(), port, way: Way::Socket, database: SUPERUSER }
}

/// The application, through the HAProxy of a host; with TLS the server must prove that it is behind that address.
pub fn application<'a>(gather: &Gather<'a>, balancer: &'a Host, port: u16) -> Result<Login<'a>, String> {
    let (inventory, secrets) = (gather.inventory, gather.secrets.ok_or("there are no passwords at hand")?);
    let tls = if inventory.tls.enabled { Tls::of(&secrets.pki)? } else { None };
    let (user, password) = (inventory.database.owner.as_str(), &secrets.application);
    let way = Way::Network { address: &balancer.address, user, password, tls };
    Ok(Login { host: balancer.name.clone(), port, way, database: &inventory.database.name })
}

/// Log in and look.
pub async fn ask(gather: &Gather<'_>, transport: &dyn Transport, login: &Login<'_>) -> Result<Server, SqlError> {
    let place = login.place();
    let client = connect(transport, login).await?;
    within(DEADLINE, &place, "read its state", look(&client, &gather.inventory.database)).await
}

async fn look(client: &Client, database: &Database) -> Result<Server, tokio_postgres::Error> {
    // All four are on their way before the first is answered, and none is prepared first: one round trip.
    let name: [(&(dyn ToSql + Sync), Type); 1] = [(&database.name, Type::TEXT)];
    let (about, standbys, excess, altered) = futures::try_join!(
        client.query_typed_one(ABOUT, &name),
        client.query_typed(STANDBYS, &[]),
        excess(client, &database.owner),
        altered(client),
    )?;
    // `17.5 (Debian 17.5-1.pgdg120+1)` on some builds
    let version: &str = about.try_get(0)?;
    Ok(Server {
        version: version.split(' ').next().unwrap_or_default().to_owned(),
        in_recovery: about.try_get(1)?,
        receiver: about.try_get(2)?,
        database: about.try_get(3)?,
        tls: about.try_get(4)?,
        position: about.try_get(5)?,
        started: about.try_get(6)?,
        excess,
        altered,
        standbys: standbys
            .iter()
            .map(|row| {
                Ok(Standby {
                    name: row.try_get(0)?,
                    state: row.try_get(1)?,
                    sync: row.try_get(2)?,
                    lag: row.try_get(3)?,
                })
            })
            .collect::<Result<_, tokio_postgres::Error>>()?,
    })
}
