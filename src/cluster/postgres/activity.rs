//! What a leader is busy with, and what makes its stop short.

use std::time::Duration;

use super::{DEADLINE, SqlError, connect, server, within};
use crate::approval::Approved;
use crate::cluster::view::Gather;
use crate::error::one_line;
use crate::inventory::Host;
use crate::names::HostName;

/// A checkpoint writes all that has changed in memory.
const CHECKPOINT_DEADLINE: Duration = Duration::from_secs(600);

/// So long a transaction may be under way when the leader hands over, in seconds.
const LONG_SECONDS: f64 = 300.0;

const LONG: &str = "SELECT pid, coalesce(usename, '')::text, coalesce(nullif(application_name, ''), state)::text,
       extract(epoch FROM clock_timestamp() - xact_start)::bigint
  FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND clock_timestamp() - xact_start > make_interval(secs => $1)
 ORDER BY xact_start";

/// Clients' transactions that have been under way for long, oldest first, in words; or why it cannot be told.
pub async fn long(gather: &Gather<'_>, host: &HostName) -> Result<Vec<String>, String> {
    let host = gather.inventory.known(host).ok_or_else(|| format!("{host} is not in the inventory"))?;
    let login = server::superuser(gather, host);
    let place = login.place();
    let asking = async {
        let client = connect(gather.transport(&host.name).map_err(Failed::Way)?, &login).await?;
        let asking = client.query(LONG, &[&LONG_SECONDS]);
        Ok::<_, Failed>(within(DEADLINE, &place, "see what is under way", asking).await?)
    };
    let rows = asking.await.map_err(Failed::told)?;
    let told = rows.iter().map(|row| {
        let (pid, user, name, age): (i32, String, String, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        Ok(format!("a transaction of {user} ({name}, pid {pid}) has been under way for {} min", age / 60))
    });
    told.collect::<Result<_, tokio_postgres::Error>>().map_err(|error| one_line(&error))
}

enum Failed {
    Way(String),
    Sql(SqlError),
}

impl From<SqlError> for Failed {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl Failed {
    fn told(self) -> String {
        match self {
            Self::Way(reason) => reason,
            Self::Sql(error) => one_line(&error),
        }
    }
}

/// Whoever stops PostgreSQL waits for a checkpoint: after one made now there is little left to write.
pub async fn checkpoint(gather: &Gather<'_>, approved: &Approved, host: &Host) -> Result<(), SqlError> {
    approved.still_holds()?;
    // the caller speaks to this host already
    let Ok(transport) = gather.transport(&host.name) else { return Ok(()) };
    let login = server::superuser(gather, host);
    let client = connect(transport, &login).await?;
    within(CHECKPOINT_DEADLINE, &login.place(), "make a checkpoint", client.batch_execute("CHECKPOINT")).await
}
