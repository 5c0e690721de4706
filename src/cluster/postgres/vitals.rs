//! What wears out or fills up in a member's PostgreSQL, and who it says it is. Reads only, in one session.

use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Error, Row};

use super::{DEADLINE, SqlError, connect, server, within};
use crate::cluster::answer::Answer;
use crate::cluster::view::Gather;
use crate::inventory::Host;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vitals {
    pub in_recovery: bool,
    /// The system identifier in its control file.
    pub system: String,
    /// The one it writes, or receives.
    pub timeline: Option<i64>,
    pub connections: Connections,
    /// Of the database that has it oldest.
    pub transactions: Age,
    pub multixacts: Age,
    pub checksums: Checksums,
    pub slots: Vec<Slot>,
    pub archiver: Archiver,
    /// What keeps rows from being removed the longest, as far as somebody would notice.
    pub holding: Vec<Holding>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    pub used: i64,
    /// Without those that are kept for superusers.
    pub limit: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Age {
    pub database: String,
    pub age: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksums {
    pub enabled: bool,
    pub failures: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    pub name: String,
    pub active: bool,
    /// `reserved`, `extended`, `unreserved`, `lost`; none while it reserves nothing.
    pub wal: Option<String>,
    /// Bytes of WAL that are kept for it.
    pub kept: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Archiver {
    pub enabled: bool,
    /// Seconds since then.
    pub archived: Option<f64>,
    pub failed: Option<f64>,
    /// What could not be archived last.
    pub wal: Option<String>,
}

impl Archiver {
    /// The last thing that happened was a failure.
    pub fn is_failing(&self) -> bool {
        let failed_last = |failed: f64| self.archived.is_none_or(|archived| failed < archived);
        self.enabled && self.failed.is_some_and(failed_last)
    }
}

/// A transaction that keeps rows from being removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holding {
    pub kind: Hold,
    /// Process number, or name of the prepared transaction.
    pub name: String,
    pub user: String,
    pub seconds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    Session,
    Prepared,
}

const ABOUT: &str = "SELECT pg_is_in_recovery(), (SELECT system_identifier::text FROM pg_control_system()),
       CASE WHEN pg_is_in_recovery() THEN (SELECT received_tli::bigint FROM pg_stat_wal_receiver LIMIT 1)
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
       current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
         - coalesce(current_setting('reserved_connections', true), '0')::bigint,
       current_setting('data_checksums')::boolean,
       (SELECT coalesce(sum(checksum_failures), 0)::bigint FROM pg_stat_database),
       current_setting('archive_mode') <> 'off',
       extract(epoch FROM now() - last_archived_time)::float8, extract(epoch FROM now() - last_failed_time)::float8,
       last_failed_wal
  FROM pg_stat_archiver";

const AGES: &str = "(SELECT datname::text, age(datfrozenxid)::bigint FROM pg_database ORDER BY 2 DESC LIMIT 1)
UNION ALL (SELECT datname::text, mxid_age(datminmxid)::bigint FROM pg_database ORDER BY 2 DESC LIMIT 1)";

const SLOTS: &str = "SELECT slot_name::text, active, wal_status, coalesce(pg_wal_lsn_diff(
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
           restart_lsn), 0)::bigint
  FROM pg_replication_slots ORDER BY 1";

/// Beyond a minute; our own sessions do not last.
const HOLDING: &str = "SELECT true, gid::text, owner::text, extract(epoch FROM now() - prepared)::float8
  FROM pg_prepared_xacts WHERE now() - prepared > interval '1 minute'
UNION ALL SELECT false, pid::text, coalesce(usename::text, ''), extract(epoch FROM now() - xact_start)::float8
  FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND now() - xact_start > interval '1 minute'
   AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
 ORDER BY 4 DESC LIMIT 5";

/// Log in to the member of a host and look.
pub async fn ask(gather: &Gather<'_>, host: &Host) -> Answer<Vitals> {
    let transport = match gather.transport(&host.name) {
        Ok(transport) => transport,
        Err(why) => return Answer::Unknown(why),
    };
    let login = server::superuser(gather, host);
    let asking = async {
        let client = connect(transport, &login).await?;
        within(DEADLINE, &login.place(), "read its vital figures", look(&client)).await
    };
    Answer::from(asking.await as Result<Vitals, SqlError>)
}

async fn look(client: &Client) -> Result<Vitals, Error> {
    let about = client.query_one(ABOUT, &[]).await?;
    let ages = client.query(AGES, &[]).await?;
    let age = |row: &Row| Ok(Age { database: row.try_get(0)?, age: row.try_get(1)? });
    let mut ages = ages.iter().map(age).collect::<Result<Vec<Age>, Error>>()?.into_iter();
    let slots = client.query(SLOTS, &[]).await?;
    let holding = client.query(HOLDING, &[]).await?;
    Ok(Vitals {
        in_recovery: about.try_get(0)?,
        system: about.try_get(1)?,
        timeline: about.try_get(2)?,
        connections: Connections { used: about.try_get(3)?, limit: about.try_get(4)? },
        transactions: ages.next().unwrap_or_default(),
        multixacts: ages.next().unwrap_or_default(),
        checksums: Checksums { enabled: about.try_get(5)?, failures: about.try_get(6)? },
        slots: slots.iter().map(slot).collect::<Result<_, Error>>()?,
        archiver: Archiver {
            enabled: about.try_get(7)?,
            archived: about.try_get(8)?,
            failed: about.try_get(9)?,
            wal: about.try_get(10)?,
        },
        holding: holding.iter().map(hold).collect::<Result<_, Error>>()?,
    })
}

fn slot(row: &Row) -> Result<Slot, Error> {
    Ok(Slot { name: row.try_get(0)?, active: row.try_get(1)?, wal: row.try_get(2)?, kept: row.try_get(3)? })
}

fn hold(row: &Row) -> Result<Holding, Error> {
    let kind = if row.try_get(0)? { Hold::Prepared } else { Hold::Session };
    Ok(Holding { kind, name: row.try_get(1)?, user: row.try_get(2)?, seconds: row.try_get(3)? })
}
