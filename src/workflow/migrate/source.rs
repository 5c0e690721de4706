//! The source: a snapshot of it, and its being read-only for as long as the copy takes its place.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::MigrateError;
use super::end::End;
use crate::approval::Approved;
use crate::cluster::postgres::foreign::Foreign;
use crate::engine::HostError;
use crate::engine::wait::{Wait, WaitError};
use crate::error::one_line;
use crate::quote::{identifier, literal};
use crate::report::Reporter;

/// What all sessions see alike for as long as this one lives.
pub(super) struct Snapshot {
    pub name: String,
    session: Client,
}

const SNAPSHOT: &str =
    "SET statement_timeout TO 0; SET lock_timeout TO 0; SET idle_in_transaction_session_timeout TO 0;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Sessions of others in the database that began before it was made read-only: those that came later can only read. Who has
/// no port is no client but the server itself. `$1` is when it was made so.
const OTHERS: &str =
    "SELECT coalesce(usename, '')::text || ' from ' || coalesce(host(client_addr), 'the machine itself')
       || CASE WHEN application_name <> '' THEN ' (' || application_name || ')' ELSE '' END,
       pg_terminate_backend(pid)
  FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND client_port IS NOT NULL
   AND application_name <> 'xnat-provision' AND backend_start < $1::text::timestamptz";

/// Those that were prepared before can be committed by who may only read.
const PREPARED: &str = "SELECT string_agg(quote_literal(gid), ', ' ORDER BY prepared) FROM pg_prepared_xacts WHERE database = current_database()";

/// Whoever was cut off while he made it read-only may do so yet, when he waits for a lock or for a standby. `$1` is how he says it.
const CLOSING: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
 WHERE pid <> pg_backend_pid() AND query = $1 AND state = 'active'";
/// So long he may take to end.
const ENDING: Duration = Duration::from_secs(10);

const FROZEN: &str = "SELECT EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
                WHERE d.datname = current_database() AND s.setrole = 0
                  AND 'default_transaction_read_only=on' = ANY (s.setconfig))";

impl Snapshot {
    pub async fn take(of: End<'_>, database: &str) -> Result<Self, MigrateError> {
        Self::begun(of, database, SNAPSHOT).await
    }

    /// The same as another session has.
    pub async fn shared(of: End<'_>, database: &str, with: &str) -> Result<Self, MigrateError> {
        Self::begun(of, database, &format!("{SNAPSHOT}; SET TRANSACTION SNAPSHOT {}", literal(with))).await
    }

    /// The session it lives as long as.
    pub fn session(&self) -> &Client {
        &self.session
    }

    async fn begun(of: End<'_>, database: &str, how: &str) -> Result<Self, MigrateError> {
        let session = of.session(database).await?;
        let taking = async {
            session.batch_execute(how).await?;
            session.query_one("SELECT pg_export_snapshot()::text", &[]).await?.try_get(0)
        };
        let name = taking.await.map_err(|error| MigrateError::failed("take a snapshot", one_line(&error)))?;
        Ok(Self { name, session })
    }
}

/// Is it read-only by default, as [`freeze`] leaves it?
pub async fn frozen(foreign: &Foreign<'_>) -> Result<bool, MigrateError> {
    let session = foreign.connect(&foreign.source().database).await?;
    let asked = session.query_one(FROZEN, &[]).await.and_then(|row| row.try_get(0));
    asked.map_err(|error| MigrateError::failed("ask whether the source is read-only", one_line(&error)))
}

/// Somebody may have opened it meanwhile, and written what was compared already.
pub(super) async fn still_frozen(foreign: &Foreign<'_>) -> Result<(), MigrateError> {
    match frozen(foreign).await? {
        true => Ok(()),
        false => {
            let reason = "somebody has opened the source since it was made read-only, and may have written to it";
            Err(MigrateError::failed("put the copy in its place", reason))
        }
    }
}

fn closing(database: &str) -> String {
    format!("ALTER DATABASE {} SET default_transaction_read_only TO on", identifier(database))
}

/// Nobody writes any more: what is not a superuser and does not ask for it cannot, and whoever is there has to come again.
pub async fn freeze(
    foreign: &Foreign<'_>,
    (approved, reporter, cancel): (&Approved, &Reporter, &crate::engine::Cancel),
) -> Result<(), MigrateError> {
    approved.still_holds().map_err(HostError::from)?;
    let database = &foreign.source().database;
    let session = foreign.connect(database).await?;
    let failed = |error: tokio_postgres::Error| MigrateError::failed("make the source read-only", one_line(&error));
    session.batch_execute("SET default_transaction_read_only TO off").await.map_err(failed)?;
    session.batch_execute(&closing(database)).await.map_err(failed)?;
    let wait = Wait {
        what: "everybody to have left the source".to_owned(),
        deadline: Duration::from_secs(60),
        interval: Duration::from_millis(500),
        help: String::new(),
    };
    let now = session.query_one("SELECT clock_timestamp()::text", &[]).await.map_err(failed)?;
    let now: String = now.try_get(0).map_err(failed)?;
    let alone = || async {
        let others = session.query(OTHERS, &[&now]).await.map_err(|error| one_line(&error))?;
        let who: Vec<String> = others.iter().filter_map(|row| row.try_get(0).ok()).collect();
        if who.is_empty() { Ok(()) } else { Err(who.join(", ")) }
    };
    match wait.until(reporter, cancel, alone).await {
        Ok(()) => nothing_is_prepared(&session).await,
        Err(WaitError::Deadline { reason, .. }) => {
            let sessions = reason.split(", ").count();
            Err(MigrateError::NotQuiet { database: database.clone(), sessions, who: reason })
        }
        Err(error) => Err(error.into()),
    }
}

/// Whoever commits one of them writes, and nobody would look for it any more.
async fn nothing_is_prepared(session: &Client) -> Result<(), MigrateError> {
    let failed = |reason: String| MigrateError::failed("make the source read-only", reason);
    let prepared: Option<String> = session
        .query_one(PREPARED, &[])
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|error| failed(one_line(&error)))?;
    match prepared {
        None => Ok(()),
        Some(names) => Err(failed(format!(
            "it has prepared transactions, which can be committed at any time: {names}. End them there (COMMIT PREPARED, ROLLBACK PREPARED)"
        ))),
    }
}

/// It can be written to again.
pub async fn thaw(foreign: &Foreign<'_>, before: Option<&str>, approved: &Approved) -> Result<(), MigrateError> {
    approved.still_holds().map_err(HostError::from)?;
    undo(foreign, before).await
}

/// The same for who has just made it read-only, and comes to nothing. That is no change of the cluster, so its locks do not
/// matter: a run that has lost one has to be able to do this all the more. `before` is what the database itself said of it.
pub async fn undo(foreign: &Foreign<'_>, before: Option<&str>) -> Result<(), MigrateError> {
    let database = &foreign.source().database;
    let session = foreign.connect(database).await?;
    let name = identifier(database);
    let opening = async {
        let begun = Instant::now();
        while session.query_one(CLOSING, &[&closing(database)]).await?.try_get::<_, i64>(0)? > 0
            && begun.elapsed() < ENDING
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if !session.query_one(FROZEN, &[]).await?.try_get::<_, bool>(0)? {
            return Ok(());
        }
        session.batch_execute("SET default_transaction_read_only TO off").await?;
        let set = match before {
            Some(value) => format!("ALTER DATABASE {name} SET default_transaction_read_only TO {}", literal(value)),
            None => format!("ALTER DATABASE {name} RESET default_transaction_read_only"),
        };
        session.batch_execute(&set).await?;
        // whoever came meanwhile could only read for as long as he stays, which is all that a dump wants
        let now: String = session.query_one("SELECT clock_timestamp()::text", &[]).await?.try_get(0)?;
        let but_dumps = format!("{OTHERS} AND application_name NOT IN ('pg_dump', 'pg_dumpall')");
        session.query(&but_dumps, &[&now]).await.map(drop)
    };
    opening
        .await
        .map_err(|error: tokio_postgres::Error| MigrateError::failed("open the source again", one_line(&error)))
}
