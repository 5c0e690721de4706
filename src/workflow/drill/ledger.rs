//! The drill's own database: made before, compared and removed afterwards. The application's is not touched.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::DrillError;
use super::log::Log;
use crate::cluster::Gather;
use crate::cluster::postgres::{Login, connect, identifier, server};
use crate::error::one_line;
use crate::names::HostName;
use crate::workflow::Operation;

pub use crate::inventory::DRILL_DATABASE as DATABASE;

pub(super) struct Ledger<'a> {
    pub operation: &'a Operation<'a>,
}

impl Ledger<'_> {
    /// One that a killed drill has left is in the way.
    pub async fn create(&self, leader: &HostName) -> Result<(), DrillError> {
        let gather = &self.operation.gather;
        let failed = |reason| DrillError::Database { done: "made", reason };
        self.operation.approved.still_holds().map_err(|error| failed(error.to_string()))?;
        let owner = identifier(&gather.inventory.database.owner);
        let server = session(gather, leader, "postgres").await.map_err(failed)?;
        execute(&server, &format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")).await.map_err(failed)?;
        execute(&server, &format!("CREATE DATABASE {DATABASE} OWNER {owner}")).await.map_err(failed)?;
        let own = session(gather, leader, DATABASE).await.map_err(failed)?;
        let table = format!("CREATE TABLE ledger (n bigint PRIMARY KEY); ALTER TABLE ledger OWNER TO {owner}");
        execute(&own, &table).await.map_err(failed)
    }

    pub async fn compare(&self, gather: &Gather<'_>, leader: &HostName, log: &Log<'_>) -> Result<(), DrillError> {
        let failed = |reason| DrillError::Database { done: "read", reason };
        let own = session(gather, leader, DATABASE).await.map_err(failed)?;
        let rows = own.query("SELECT n FROM ledger", &[]).await.map_err(|error| failed(one_line(&error)))?;
        let there: BTreeSet<u64> = rows.iter().filter_map(|row| u64::try_from(row.get::<_, i64>(0)).ok()).collect();
        let (next, acknowledged) = log.rows();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        log.with(|seen| {
            seen.ledger.acknowledged = count(acknowledged.len());
            seen.ledger.lost = count(acknowledged.difference(&there).count());
            let others = there.difference(&acknowledged);
            (seen.ledger.unacknowledged, seen.ledger.unknown) =
                others.fold(
                    (0, 0),
                    |(sent, unknown), row| if *row <= next { (sent + 1, unknown) } else { (sent, unknown + 1) },
                );
        });
        Ok(())
    }

    pub async fn remove(&self, gather: &Gather<'_>, leader: &HostName) -> Result<(), DrillError> {
        let failed = |reason| DrillError::Database { done: "removed", reason };
        self.operation.approved.still_holds().map_err(|error| failed(error.to_string()))?;
        let server = session(gather, leader, "postgres").await.map_err(failed)?;
        execute(&server, &format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")).await.map_err(failed)
    }
}

async fn session(gather: &Gather<'_>, host: &HostName, database: &'static str) -> Result<Client, String> {
    let host = gather.inventory.host(host).ok_or_else(|| format!("{host} is not in the inventory"))?;
    let login = Login { database, ..server::superuser(gather, host) };
    connect(gather.transport(&host.name)?, &login).await.map_err(|error| one_line(&error))
}

async fn execute(session: &Client, sql: &str) -> Result<(), String> {
    session.batch_execute(sql).await.map_err(|error| one_line(&error))
}
