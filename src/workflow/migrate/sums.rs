//! Both sides are summed up, table by table, with several sessions on each and the largest tables first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use futures::future::try_join_all;
use tokio_postgres::Client;

use super::place::INCOMING;
use super::{MigrateError, Moving};
use crate::cluster::Gather;
use crate::cluster::postgres::{Login, connect, server};
use crate::error::one_line;
use crate::inventory::Host;
use crate::migrate::fingerprint::{self, Fingerprint, LargeObjects, Rows, SETTINGS, Table};
use crate::quote::literal;
use crate::report::{Kind, Reporter};

/// Sessions on the leader: as many as a connection allows, less one for what is looked at beside.
const ON_THE_LEADER: usize = 3;
/// So many sequences are asked for at once.
const AT_ONCE: usize = 200;

pub(super) struct Sums<'a> {
    pub moving: &'a Moving<'a>,
}

impl Sums<'_> {
    /// The older of the two versions says how floats are written.
    fn older(&self) -> u32 {
        let looked = self.moving.looked;
        looked.target.version_num.min(looked.source.server.version_num)
    }

    pub async fn of_the_source(&self, snapshot: Option<&str>) -> Result<Fingerprint, MigrateError> {
        let (foreign, database) = (self.moving.foreign, &self.moving.looked.database);
        let sessions = try_join_all((0..self.moving.jobs).map(|_| foreign.connect(database))).await?;
        let versions = (self.moving.looked.source.server.version_num, self.older());
        let reporter = &self.moving.operation.reporter;
        sum_up(&sessions, snapshot, versions, ("the source", reporter)).await
    }

    pub async fn of_the_copy(&self) -> Result<Fingerprint, MigrateError> {
        let (gather, leader) = (self.moving.gather(), self.moving.leader);
        let versions = (self.moving.looked.target.version_num, self.older());
        let reporter = &self.moving.operation.reporter;
        of_a_database((gather, leader), INCOMING, (versions, reporter)).await
    }
}

/// Of the application's database as it is now; `older` is the version of the source it came from.
pub async fn of_the_target(
    (gather, leader): (&Gather<'_>, &Host),
    (version, source): (u32, u32),
    reporter: &Reporter,
) -> Result<Fingerprint, MigrateError> {
    let versions = (version, version.min(source));
    of_a_database((gather, leader), &gather.inventory.database.name, (versions, reporter)).await
}

async fn of_a_database(
    (gather, leader): (&Gather<'_>, &Host),
    database: &str,
    (versions, reporter): ((u32, u32), &Reporter),
) -> Result<Fingerprint, MigrateError> {
    let failed = |reason: String| MigrateError::failed("read the copy", reason);
    // a connection of its own: this run's lock and others' questions need sessions of theirs
    let line = gather.transport(&leader.name).map_err(failed)?.again().await?;
    let login = Login { database, ..server::superuser(gather, leader) };
    let summed = async {
        let sessions = try_join_all((0..ON_THE_LEADER).map(|_| connect(line.as_ref(), &login))).await?;
        sum_up(&sessions, None, versions, ("the copy", reporter)).await
    };
    let summed = summed.await;
    line.close().await;
    summed
}

/// `versions`: the server's own, and the older of the two that are compared.
async fn sum_up(
    sessions: &[Client],
    snapshot: Option<&str>,
    (version, older): (u32, u32),
    (whose, reporter): (&str, &Reporter),
) -> Result<Fingerprint, MigrateError> {
    let failed = |what: String| move |error: tokio_postgres::Error| MigrateError::failed(what, one_line(&error));
    let reading = format!("read {whose}");
    try_join_all(sessions.iter().map(|session| prepare(session, snapshot, older)))
        .await
        .map_err(failed(reading.clone()))?;
    let first = sessions.first().expect("there is a session");
    let document: String = first
        .query_one(&fingerprint::tables(version), &[])
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed(reading.clone()))?;
    let tables: Vec<Table> =
        serde_json::from_str(&document).map_err(|error| MigrateError::failed(&reading, error.to_string()))?;
    let (sequences, large_objects) = beside(first, version).await.map_err(failed(reading.clone()))?;
    let queue = Queue::new(tables);
    let work = try_join_all(sessions.iter().map(|session| queue.work(session, older, whose)));
    let tables = tokio::select! {
        biased;
        done = work => done?,
        never = queue.tell(whose, reporter) => match never {},
    };
    Ok(Fingerprint { tables: tables.into_iter().flatten().collect(), sequences, large_objects })
}

async fn prepare(session: &Client, snapshot: Option<&str>, older: u32) -> Result<(), tokio_postgres::Error> {
    session.batch_execute(SETTINGS).await?;
    session.batch_execute(fingerprint::floats(older)).await?;
    session.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    match snapshot {
        Some(name) => session.batch_execute(&format!("SET TRANSACTION SNAPSHOT {}", literal(name))).await,
        None => Ok(()),
    }
}

/// What is beside the tables.
async fn beside(
    session: &Client,
    version: u32,
) -> Result<(BTreeMap<String, String>, LargeObjects), tokio_postgres::Error> {
    let document: String = session.query_one(fingerprint::SEQUENCES, &[]).await?.try_get(0)?;
    let names: Vec<(String, String)> = serde_json::from_str(&document).unwrap_or_default();
    let mut sequences = BTreeMap::new();
    for some in names.chunks(AT_ONCE) {
        for row in session.query(&fingerprint::sequences(some), &[]).await? {
            sequences.insert(row.try_get(0)?, row.try_get(1)?);
        }
    }
    let row = session.query_one(&fingerprint::large_objects(version), &[]).await?;
    let large_objects = LargeObjects { count: row.try_get(0)?, sum: row.try_get(1)?, owners: row.try_get(2)? };
    Ok((sequences, large_objects))
}

/// Tables that are still to be summed up.
struct Queue {
    left: Mutex<VecDeque<Table>>,
    total: i64,
}

impl Queue {
    fn new(tables: Vec<Table>) -> Self {
        let total = tables.iter().map(|table| table.bytes).sum();
        Self { left: Mutex::new(tables.into()), total }
    }

    fn next(&self) -> Option<Table> {
        self.left.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop_front()
    }

    async fn work(&self, session: &Client, older: u32, whose: &str) -> Result<Vec<(String, Rows)>, MigrateError> {
        let mut done = Vec::new();
        while let Some(table) = self.next() {
            let row = session.query_one(&table.sum(older), &[]).await;
            let rows = row.and_then(|row| Ok(Rows { rows: row.try_get(0)?, sum: row.try_get(1)? }));
            let rows = rows.map_err(|error| {
                MigrateError::failed(format!("read the table {} of {whose}", table.title()), one_line(&error))
            })?;
            done.push((table.title(), rows));
        }
        Ok(done)
    }

    /// From time to time, how many are left.
    async fn tell(&self, whose: &str, reporter: &Reporter) -> std::convert::Infallible {
        let mut seconds = 0;
        loop {
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            seconds += 2;
            let (tables, bytes) = {
                let left = self.left.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                (left.len(), left.iter().map(|table| table.bytes).sum::<i64>())
            };
            let reason = format!("{tables} tables left to begin with, {} of {} MiB", bytes >> 20, self.total >> 20);
            reporter.emit(Kind::Waiting { what: format!("the sums of {whose}"), reason, seconds }).await;
        }
    }
}
