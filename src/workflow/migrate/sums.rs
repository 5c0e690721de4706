//! Both sides are summed up, table by table, with several sessions on each and the largest tables first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use futures::future::try_join_all;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::{MigrateError, Moving};
use crate::cluster::Gather;
use crate::cluster::postgres::foreign::Foreign;
use crate::cluster::postgres::{Login, connect, server};
use crate::error::one_line;
use crate::inventory::Host;
use crate::migrate::fingerprint::{self, Fingerprint, LargeObjects, Measure, Rows, SETTINGS, Table};
use crate::quote::literal;
use crate::report::{Kind, Reporter};

/// Sessions on the leader: as many as a connection allows, less one for what is looked at beside.
const ON_THE_LEADER: usize = 3;
/// So many sequences are asked for at once.
const AT_ONCE: usize = 200;

pub(super) struct Sums<'a> {
    pub moving: &'a Moving<'a>,
    pub measure: Measure,
}

/// How both sides are summed up: by their own hash where they agree on it.
pub(super) async fn measure(
    (mine, version): (&Client, u32),
    (theirs, its): (&Client, u32),
) -> Result<Measure, tokio_postgres::Error> {
    let older = version.min(its);
    if !Measure::may_be_hashed(older) {
        return Ok(Measure { older, hashed: false });
    }
    let asked = futures::try_join!(mine.query_one(Measure::PROBE, &[]), theirs.query_one(Measure::PROBE, &[]))?;
    let read = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
    let (mine, theirs): ((String, i64), (String, i64)) = (read(&asked.0)?, read(&asked.1)?);
    Ok(Measure { older, hashed: mine == theirs })
}

impl Sums<'_> {
    /// Some floats cannot be compared to their last bit.
    pub fn are_rounded(&self) -> bool {
        fingerprint::rounds(self.measure.older)
    }

    pub async fn of_the_source(&self, snapshot: Option<&str>) -> Result<Fingerprint, MigrateError> {
        let versions = (self.moving.looked.source.server.version_num, self.measure);
        let told = ("the source", self.moving.operation.reporter);
        of_a_foreign((self.moving.foreign, &self.moving.looked.database), self.moving.jobs, snapshot, versions, told)
            .await
    }

    pub async fn of_the_copy(&self, snapshot: Option<&str>) -> Result<Fingerprint, MigrateError> {
        let (gather, leader) = (self.moving.gather(), self.moving.leader);
        let versions = (self.moving.looked.target.version_num, self.measure);
        let reporter = &self.moving.operation.reporter;
        of_a_database((gather, leader), (self.moving.copied(), snapshot), versions, ("the copy", reporter)).await
    }
}

/// Of a database of the other server. `versions` as in [`sum_up`].
pub(super) async fn of_a_foreign(
    (foreign, database): (&Foreign<'_>, &str),
    jobs: usize,
    snapshot: Option<&str>,
    versions: (u32, Measure),
    told: (&str, &Reporter),
) -> Result<Fingerprint, MigrateError> {
    let sessions = try_join_all((0..jobs).map(|_| foreign.connect(database))).await?;
    sum_up(&sessions, snapshot, versions, told).await
}

/// Of the source as it is now, by the measure of servers of its own version.
pub async fn of_the_source(
    foreign: &Foreign<'_>,
    (version, jobs): (u32, usize),
    reporter: &Reporter,
) -> Result<Fingerprint, MigrateError> {
    let measure = Measure { older: version, hashed: Measure::may_be_hashed(version) };
    let told = ("the source", reporter);
    of_a_foreign((foreign, &foreign.source().database), jobs, None, (version, measure), told).await
}

/// Of the application's database as it is now, by the measure of what it is held against.
pub async fn of_the_target(
    (gather, leader): (&Gather<'_>, &Host),
    versions: (u32, Measure),
    reporter: &Reporter,
) -> Result<Fingerprint, MigrateError> {
    of_a_database((gather, leader), (&gather.inventory.database.name, None), versions, ("the copy", reporter)).await
}

/// Of a database of the leader. `versions` as in [`sum_up`].
pub(super) async fn of_a_database(
    (gather, leader): (&Gather<'_>, &Host),
    (database, snapshot): (&str, Option<&str>),
    versions: (u32, Measure),
    told: (&str, &Reporter),
) -> Result<Fingerprint, MigrateError> {
    let failed = |reason: String| MigrateError::failed("read the copy", reason);
    // a connection of its own: this run's lock and others' questions need sessions of theirs
    let line = gather.transport(&leader.name).map_err(failed)?.again().await?;
    let login = Login { database, ..server::superuser(gather, leader) };
    let summed = async {
        let sessions = try_join_all((0..ON_THE_LEADER).map(|_| connect(line.as_ref(), &login))).await?;
        sum_up(&sessions, snapshot, versions, told).await
    };
    let summed = summed.await;
    line.close().await;
    summed
}

/// `versions`: the server's own, and how both that are compared are summed up.
async fn sum_up(
    sessions: &[Client],
    snapshot: Option<&str>,
    (version, measure): (u32, Measure),
    (whose, reporter): (&str, &Reporter),
) -> Result<Fingerprint, MigrateError> {
    let failed = |what: String| move |error: tokio_postgres::Error| MigrateError::failed(what, one_line(&error));
    let reading = format!("read {whose}");
    try_join_all(sessions.iter().map(|session| prepare(session, measure.older)))
        .await
        .map_err(failed(reading.clone()))?;
    let first = sessions.first().expect("there is a session");
    let row = asked(first, snapshot, &fingerprint::tables(version)).await.map_err(failed(reading.clone()))?;
    let tables: Vec<Table> = serde_json::from_str(row.get(0).unwrap_or_default())
        .map_err(|error| MigrateError::failed(&reading, error.to_string()))?;
    first.batch_execute(&begin(snapshot)).await.map_err(failed(reading.clone()))?;
    let beside = beside(first, version).await.map_err(failed(reading.clone()))?;
    first.batch_execute("COMMIT").await.map_err(failed(reading.clone()))?;
    let queue = Queue::new(tables);
    let work = try_join_all(sessions.iter().map(|session| queue.work((session, snapshot), measure, whose)));
    let tables = tokio::select! {
        biased;
        done = work => done?,
        never = queue.tell(whose, reporter) => match never {},
    };
    let tables = tables.into_iter().flatten().collect();
    Ok(Fingerprint { hashed: measure.hashed, tables, ..beside })
}

pub(super) async fn prepare(session: &Client, older: u32) -> Result<(), tokio_postgres::Error> {
    session.batch_execute(SETTINGS).await?;
    session.batch_execute(fingerprint::floats(older)).await
}

/// A transaction of the snapshot. Each question has its own, so that no session holds the locks of thousands of tables.
fn begin(snapshot: Option<&str>) -> String {
    let seen_as = snapshot.map(|name| format!("SET TRANSACTION SNAPSHOT {};", literal(name))).unwrap_or_default();
    format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;{seen_as}")
}

/// One row in one round trip, with its transaction.
async fn asked(
    session: &Client,
    snapshot: Option<&str>,
    question: &str,
) -> Result<SimpleQueryRow, tokio_postgres::Error> {
    let answers = session.simple_query(&format!("{} {question}; COMMIT", begin(snapshot))).await?;
    let row = answers.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    // a sum over no rows is a row, too
    Ok(row.expect("a question without GROUP BY has one row"))
}

/// What is beside the tables.
async fn beside(session: &Client, version: u32) -> Result<Fingerprint, tokio_postgres::Error> {
    let mut beside = Fingerprint { sequences: sequences(session).await?, ..Fingerprint::default() };
    for row in session.query(fingerprint::VIEWS, &[]).await? {
        let name = fingerprint::title(row.try_get(0)?, row.try_get(1)?);
        beside.views.insert(name, row.try_get(2)?);
    }
    let row = session.query_one(&fingerprint::large_objects(version), &[]).await?;
    beside.large_objects = LargeObjects { count: row.try_get(0)?, sum: row.try_get(1)?, owners: row.try_get(2)? };
    Ok(beside)
}

/// How far each has come.
pub(super) async fn sequences(session: &Client) -> Result<BTreeMap<String, String>, tokio_postgres::Error> {
    let mut sequences = BTreeMap::new();
    let names = session.query(fingerprint::SEQUENCES, &[]).await?;
    let names = names.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let names: Vec<(String, String)> = names.collect::<Result<_, tokio_postgres::Error>>()?;
    for some in names.chunks(AT_ONCE) {
        for row in session.query(&fingerprint::sequences(some), &[]).await? {
            sequences.insert(row.try_get(0)?, row.try_get(1)?);
        }
    }
    Ok(sequences)
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

    async fn work(
        &self,
        (session, snapshot): (&Client, Option<&str>),
        measure: Measure,
        whose: &str,
    ) -> Result<Vec<(String, Rows)>, MigrateError> {
        let mut done = Vec::new();
        while let Some(table) = self.next() {
            let failed =
                |reason: String| MigrateError::failed(format!("read the table {} of {whose}", table.title()), reason);
            let row = asked(session, snapshot, &table.sum(measure)).await.map_err(|error| failed(one_line(&error)))?;
            let rows = row.get(0).and_then(|rows| rows.parse().ok());
            let rows = rows.zip(row.get(1)).map(|(rows, sum)| Rows { rows, sum: sum.to_owned() });
            let rows = rows.ok_or_else(|| failed("it does not say how many rows there are".to_owned()))?;
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
