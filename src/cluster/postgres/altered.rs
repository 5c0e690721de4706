//! Parameters that somebody has set with ALTER SYSTEM. PostgreSQL reads them after the files that Patroni writes, so they
//! win over what all members share.

use std::fmt;

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::{DEADLINE, SqlError, connect, identifier, server, within};
use crate::approval::Approved;
use crate::cluster::view::Gather;
use crate::inventory::Host;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Altered {
    pub name: String,
    /// Not of texts: there may be a password in one.
    pub value: Option<String>,
    /// Only a restart takes it back.
    pub restarts: bool,
}

impl fmt::Display for Altered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

const ALTERED: &str = "SELECT f.name, CASE WHEN s.vartype <> 'string' THEN f.setting END,
       coalesce(s.context = 'postmaster', false)
  FROM pg_file_settings f LEFT JOIN pg_settings s ON lower(s.name) = lower(f.name)
 WHERE f.sourcefile LIKE '%/postgresql.auto.conf' AND f.name IS NOT NULL ORDER BY f.name";

pub async fn altered(client: &Client) -> Result<Vec<Altered>, tokio_postgres::Error> {
    let rows = client.query_typed(ALTERED, &[]).await?;
    let altered = |row: &tokio_postgres::Row| {
        Ok(Altered { name: row.try_get(0)?, value: row.try_get(1)?, restarts: row.try_get(2)? })
    };
    rows.iter().map(altered).collect()
}

/// Take one back. It holds until the member's files are read again.
pub async fn reset(gather: &Gather<'_>, approved: &Approved, host: &Host, altered: &[Altered]) -> Result<(), SqlError> {
    approved.still_holds()?;
    let login = server::superuser(gather, host);
    let place = login.place();
    // whoever was seen to have set something was reached
    let Ok(transport) = gather.transport(&host.name) else { return Ok(()) };
    let client = connect(transport, &login).await?;
    for one in altered {
        // one by one: ALTER SYSTEM refuses to be part of a transaction
        let sql = format!("ALTER SYSTEM RESET {}", identifier(&one.name));
        within(DEADLINE, &place, &format!("reset {}", one.name), client.batch_execute(&sql)).await?;
    }
    Ok(())
}
