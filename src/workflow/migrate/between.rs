//! Rows go from one database to another as they are: a table whole, where a sequence stands, large objects. What comes
//! there has been through all checks where it comes from, so triggers do not fire and keys are not looked at. Each end is a
//! session in a transaction; who begins them ends them.

use std::collections::BTreeMap;

use futures::{SinkExt, TryStreamExt};
use tokio_postgres::{Client, Error, Row};

use super::MigrateError;
use super::sums::{measure, prepare};
use crate::error::one_line;
use crate::migrate::fingerprint::{self, Measure, Table};
use crate::migrate::objects::{self, Object};
use crate::quote::literal;
use crate::report::{Kind, Reporter};

/// Triggers fire for clients, and keys are looked at; what comes here has been through all of that. `postgres` may say so.
pub(super) const WRITE: &str = "SET default_transaction_read_only TO off; SET session_replication_role TO replica;
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
pub(super) const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Who cannot have a lock for so long is told so.
const PATIENCE: &str = "SET lock_timeout TO '60s'";

/// Columns that are not computed from others, as a JSON list; and all, with their types.
const COLUMNS: &str = "SELECT coalesce(json_agg(a.attname ORDER BY a.attnum)
                 FILTER (WHERE coalesce(to_jsonb(a) ->> 'attgenerated', '') = ''), '[]')::text,
       coalesce(string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attname), '')
  FROM pg_attribute a WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped";

/// What would do something all the same, at a table or a part of it.
const FIRES: &str = "WITH RECURSIVE part AS (SELECT $1::text::regclass::oid AS oid
                     UNION SELECT i.inhrelid FROM pg_inherits i JOIN part ON i.inhparent = part.oid)
  SELECT EXISTS (SELECT FROM pg_trigger JOIN part ON tgrelid = part.oid WHERE tgenabled IN ('A', 'R'))
      OR EXISTS (SELECT FROM pg_rewrite JOIN part ON ev_class = part.oid WHERE ev_enabled IN ('A', 'R'))";

pub(super) type Objects = BTreeMap<u32, Object>;

/// Both ends, each in a transaction of its own.
pub(super) struct Between<'a> {
    pub reporter: &'a Reporter,
    measure: Measure,
    /// What is said when it comes to nothing.
    refused: fn(&str, String) -> MigrateError,
    pub from: Client,
    pub into: Client,
    /// The tables of each, by their titles.
    pub mine: BTreeMap<String, Table>,
    pub theirs: BTreeMap<String, Table>,
}

impl<'a> Between<'a> {
    /// Each session with its server's version.
    pub async fn new(
        (from, mine): (Client, u32),
        (into, theirs): (Client, u32),
        reporter: &'a Reporter,
        refused: fn(&str, String) -> MigrateError,
    ) -> Result<Self, MigrateError> {
        let failed = |what: &str, error: &Error| refused(what, one_line(error));
        let prepared = async {
            let measure = measure((&from, mine), (&into, theirs)).await?;
            futures::try_join!(prepare(&from, measure.older), prepare(&into, measure.older))?;
            futures::try_join!(from.batch_execute(PATIENCE), into.batch_execute(PATIENCE))?;
            Ok(measure)
        };
        let measure = prepared.await.map_err(|error| failed("begin", &error))?;
        let tables = async |side: &Client, version: u32| {
            let what = "read about the tables";
            let asked = side.query_one(&fingerprint::tables(version), &[]).await;
            let all: String = asked.and_then(|row| row.try_get(0)).map_err(|error| failed(what, &error))?;
            let all: Vec<Table> = serde_json::from_str(&all).map_err(|error| refused(what, error.to_string()))?;
            Ok::<_, MigrateError>(all.into_iter().map(|table| (table.title(), table)).collect())
        };
        let (mine, theirs) = futures::try_join!(tables(&from, mine), tables(&into, theirs))?;
        Ok(Self { reporter, measure, refused, from, into, mine, theirs })
    }

    fn refused(&self, what: &str, reason: String) -> MigrateError {
        (self.refused)(what, reason)
    }

    pub fn failed(&self, what: &str, error: &Error) -> MigrateError {
        (self.refused)(what, one_line(error))
    }

    /// All rows of a table, for those that are there.
    pub async fn table(&self, title: &str) -> Result<u64, MigrateError> {
        let what = format!("copy the table {title}");
        let failed = |error: Error| self.failed(&what, &error);
        let (mine, theirs) =
            futures::try_join!(columns(&self.from, title), columns(&self.into, title)).map_err(failed)?;
        if mine.1 != theirs.1 {
            return Err(
                self.refused(&what, format!("its columns are other ones by now: {}; there: {}", mine.1, theirs.1))
            );
        }
        let fires = self.into.query_one(FIRES, &[&title]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
        if fires {
            return Err(self.refused(&what, "it has a trigger or a rule that always fires (ENABLE ALWAYS)".to_owned()));
        }
        let names: Vec<String> =
            serde_json::from_str(&mine.0).map_err(|error| self.refused(&what, format!("its columns: {error}")))?;
        let names: Vec<String> = names.iter().map(|name| crate::quote::identifier(name)).collect();
        let names = names.join(", ");
        // a table may have none
        let listed = if names.is_empty() { String::new() } else { format!("({names})") };
        let gone = || self.refused(&what, "it is gone meanwhile".to_owned());
        let (mine, theirs) = (self.mine.get(title).ok_or_else(gone)?, self.theirs.get(title).ok_or_else(gone)?);
        let rows = async {
            self.into.batch_execute(&format!("DELETE FROM {}", theirs.place())).await?;
            // floats in full
            self.from.batch_execute("SET extra_float_digits TO 3").await?;
            let from = self.from.copy_out(&format!("COPY (SELECT {names} FROM {}) TO STDOUT", mine.place())).await?;
            let into = self.into.copy_in(&format!("COPY {title} {listed} FROM STDIN")).await?;
            let (mut from, mut into) = (std::pin::pin!(from), std::pin::pin!(into));
            while let Some(some) = from.try_next().await? {
                into.feed(some).await?;
            }
            let rows = into.finish().await?;
            self.from.batch_execute(fingerprint::floats(self.measure.older)).await?;
            Ok(rows)
        };
        let rows = rows.await.map_err(failed)?;
        if !self.is_same((mine, theirs)).await.map_err(failed)? {
            return Err(self.refused(&what, "it does not come out the same".to_owned()));
        }
        self.told(format!("table {title}"), format!("has the rows of the other side, {rows}")).await;
        Ok(rows)
    }

    /// Whether both sides have the same rows in it.
    pub async fn is_same(&self, (mine, theirs): (&Table, &Table)) -> Result<bool, Error> {
        let (mine, theirs) = (mine.sum(self.measure), theirs.sum(self.measure));
        let (mine, theirs) = futures::try_join!(self.from.query_one(&mine, &[]), self.into.query_one(&theirs, &[]))?;
        let read = |row: &Row| Ok::<(i64, String), Error>((row.try_get(0)?, row.try_get(1)?));
        Ok(read(&mine)? == read(&theirs)?)
    }

    /// Where it stands.
    pub async fn sequence(&self, title: &str) -> Result<i64, Error> {
        let row = self.from.query_one(&format!("SELECT last_value, is_called FROM {title}"), &[]).await?;
        let (value, called): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
        let set = format!("SELECT setval({}::regclass, {value}, {called})", literal(title));
        self.into.batch_execute(&set).await?;
        Ok(value)
    }

    /// Those that are not the same. How many.
    pub async fn objects(&self, mine: &Objects) -> Result<usize, MigrateError> {
        let what = "copy large objects";
        let failed = |error: Error| self.failed(what, &error);
        let theirs = known(&self.into).await.map_err(failed)?;
        let changes = objects::changes(mine, &theirs);
        for change in &changes {
            self.into.batch_execute(&change.statements()).await.map_err(failed)?;
            let oid = change.oid();
            for piece in change.pieces() {
                let copied = async {
                    let asked =
                        self.from.query_one("SELECT lo_get($1, $2, $3)", &[&oid, &piece, &objects::PIECE]).await;
                    let bytes: Vec<u8> = asked?.try_get(0)?;
                    self.into.execute("SELECT lo_put($1, $2, $3)", &[&oid, &piece, &bytes]).await
                };
                copied.await.map_err(failed)?;
            }
        }
        let theirs = known(&self.into).await.map_err(failed)?;
        if !objects::changes(mine, &theirs).is_empty() {
            return Err(self.refused(what, "they do not come out the same".to_owned()));
        }
        self.told("large objects".to_owned(), format!("{} are as on the other side", changes.len())).await;
        Ok(changes.len())
    }

    pub async fn told(&self, resource: String, summary: String) {
        self.reporter.emit(Kind::ChangeApplied { resource, summary, millis: 0 }).await;
    }
}

async fn columns(side: &Client, title: &str) -> Result<(String, String), Error> {
    let row = side.query_one(COLUMNS, &[&title]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// All large objects of a database, by their numbers.
pub(super) async fn known(side: &Client) -> Result<Objects, Error> {
    let rows = side.query(objects::LOOK, &[]).await?;
    let read = |row: &Row| {
        let (size, content, owner) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        Ok((row.try_get(0)?, Object { size, content, owner, grants: row.try_get(4)?, comment: row.try_get(5)? }))
    };
    rows.iter().map(read).collect()
}
