//! What was written to the cluster since a move goes back to the source: tables that are no longer the same, whole, with
//! sequences and large objects. It is one transaction there, which ends well only when all of that is the same on both
//! sides. Nobody can write to the cluster meanwhile: its tables are locked for as long as our session lives, and no longer.
//! The schema is not carried, and triggers there do not fire.

use std::collections::BTreeMap;

use futures::{SinkExt, TryStreamExt};
use tokio_postgres::{Client, Error};

use super::end::End;
use super::sums::{Sums, of_the_target, prepare};
use super::{AboutToSwitch, Compared, MigrateError, Moving};
use crate::engine::HostError;
use crate::error::one_line;
use crate::migrate::fingerprint::{self, Difference, Table};
use crate::migrate::objects::{self, Object};
use crate::quote::literal;
use crate::report::Kind;

/// Triggers fire for clients, and keys are looked at; what comes here has been through all of that. `postgres` may say so.
const WRITE: &str = "SET default_transaction_read_only TO off; SET session_replication_role TO replica;
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
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

/// Its rows are gone after a failover, which nobody has done on purpose.
const UNLOGGED: &str = "SELECT relpersistence = 'u' FROM pg_class WHERE oid = $1::text::regclass";

/// What went back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub tables: usize,
    pub rows: u64,
    pub sequences: usize,
    pub large_objects: usize,
}

/// Of what differs, whose rows these are: the others are of the schema, and stay behind.
pub fn is_rows(difference: &Difference) -> bool {
    let there = |side: &str| side != "not there";
    let of_both = there(&difference.source) && there(&difference.target);
    let what = difference.what.as_str();
    what == "large objects" || of_both && (what.starts_with("table ") || what.starts_with("sequence "))
}

type Objects = BTreeMap<u32, Object>;

/// Both ends, each in a transaction of its own.
struct Way<'a> {
    moving: &'a Moving<'a>,
    here: Client,
    there: Client,
    /// The tables of each, by their titles.
    mine: BTreeMap<String, Table>,
    theirs: BTreeMap<String, Table>,
}

impl Moving<'_> {
    /// `compared` is what was found when both were compared, after the application was stopped. What the source is about to
    /// hold is written down before it does.
    pub async fn carry_back(
        &self,
        compared: &Compared,
        about_to_hold: &AboutToSwitch<'_>,
    ) -> Result<Carried, MigrateError> {
        self.operation.approved.still_holds().map_err(HostError::from)?;
        let way = self.way().await?;
        let named = |kind: &'static str| {
            let rows = compared.differences.iter().filter(|it| is_rows(it));
            rows.filter_map(move |it| it.what.strip_prefix(kind))
        };
        let carried = async {
            let mut carried = Carried::default();
            self.nobody_has_written(compared).await?;
            for title in named("table ") {
                if let Some(rows) = way.table(title).await? {
                    carried.rows += rows;
                    carried.tables += 1;
                }
            }
            let mine = known(&way.here).await.map_err(|error| failed("read the cluster's large objects", &error))?;
            if compared.source.large_objects != compared.target.large_objects {
                carried.large_objects = way.objects(&mine).await?;
            }
            way.objects_are_the_same(&mine).await?;
            Ok::<_, MigrateError>(carried)
        };
        // whatever ends it here, the sessions end with it, and so does the transaction
        let mut carried = tokio::select! {
            biased;
            () = self.operation.cancel.cancelled() => {
                return Err(refused("carry rows back", "interrupted".to_owned()));
            }
            carried = carried => carried?,
        };
        way.nobody_waits().await?;
        self.operation.approved.still_holds().map_err(HostError::from)?;
        about_to_hold(&compared.target)
            .map_err(|reason| refused("write down what the source is about to hold", reason))?;
        // sequences stay whatever becomes of the rest, so they come last
        for title in named("sequence ") {
            way.sequence(title).await?;
            carried.sequences += 1;
        }
        way.there.batch_execute("COMMIT").await.map_err(|error| unsure("end it", &error))?;
        Ok(carried)
    }

    async fn way(&self) -> Result<Way<'_>, MigrateError> {
        let here = self.cluster().await?;
        let there = self.foreign.connect(&self.looked.database).await?;
        let older = Sums { moving: self }.older();
        let prepared = async {
            futures::try_join!(prepare(&here, older), prepare(&there, older))?;
            futures::try_join!(here.batch_execute(PATIENCE), there.batch_execute(PATIENCE))
        };
        prepared.await.map_err(|error| failed("begin", &error))?;
        let (target, source) = (self.looked.target.version_num, self.looked.source.server.version_num);
        let (mine, theirs) = futures::try_join!(tables(&here, target), tables(&there, source))?;
        let all: Vec<&str> = mine.keys().map(String::as_str).collect();
        let begun = async {
            here.batch_execute(READ).await?;
            // before anything is read, so that it is read as it stays
            here.batch_execute(&format!("LOCK TABLE {} IN SHARE MODE", all.join(", "))).await?;
            there.batch_execute(WRITE).await
        };
        begun.await.map_err(|error| failed("lock the cluster's tables", &error))?;
        Ok(Way { moving: self, here, there, mine, theirs })
    }

    /// A session in the application's database.
    async fn cluster(&self) -> Result<Client, MigrateError> {
        End::Leader(self.gather(), self.leader).session(&self.gather().inventory.database.name).await
    }

    async fn nobody_has_written(&self, compared: &Compared) -> Result<(), MigrateError> {
        let versions = (self.looked.target.version_num, self.looked.source.server.version_num);
        let now = of_the_target((self.gather(), self.leader), versions, self.operation.reporter).await?;
        let since = compared.target.differences(&now);
        if since.is_empty() {
            return Ok(());
        }
        let what: Vec<String> = since.into_iter().map(|it| it.what).collect();
        Err(MigrateError::Failed {
            what: "carry rows back".to_owned(),
            reason: format!("somebody goes on writing to the cluster: {}; the source is as it was", what.join(", ")),
            help: "stop whatever writes to the cluster, and type the same command again",
        })
    }
}

impl Way<'_> {
    /// All rows of a table, for those that are there. None of one that keeps none for good.
    async fn table(&self, title: &str) -> Result<Option<u64>, MigrateError> {
        let what = format!("carry the table {title} back");
        let failed = |error: Error| failed(&what, &error);
        let unlogged = self.here.query_one(UNLOGGED, &[&title]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
        if unlogged {
            let message = format!("not carried back: table {title}, which is unlogged: empty after a failover");
            self.moving.operation.reporter.emit(Kind::Warned { message, help: None }).await;
            return Ok(None);
        }
        let (mine, theirs) =
            futures::try_join!(columns(&self.here, title), columns(&self.there, title)).map_err(failed)?;
        if mine.1 != theirs.1 {
            return Err(refused(&what, format!("its columns are other ones by now: {}; there: {}", mine.1, theirs.1)));
        }
        let fires = self.there.query_one(FIRES, &[&title]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
        if fires {
            return Err(refused(&what, "it has a trigger or a rule that always fires (ENABLE ALWAYS)".to_owned()));
        }
        let names: Vec<String> =
            serde_json::from_str(&mine.0).map_err(|error| refused(&what, format!("its columns: {error}")))?;
        let names: Vec<String> = names.iter().map(|name| crate::quote::identifier(name)).collect();
        let names = names.join(", ");
        let gone = || refused(&what, "it is gone meanwhile".to_owned());
        let (mine, theirs) = (self.mine.get(title).ok_or_else(gone)?, self.theirs.get(title).ok_or_else(gone)?);
        let rows = async {
            self.there.batch_execute(&format!("DELETE FROM {}", theirs.place())).await?;
            // floats in full
            self.here.batch_execute("SET extra_float_digits TO 3").await?;
            let from = self.here.copy_out(&format!("COPY (SELECT {names} FROM {}) TO STDOUT", mine.place())).await?;
            let into = self.there.copy_in(&format!("COPY {title} ({names}) FROM STDIN")).await?;
            let (mut from, mut into) = (std::pin::pin!(from), std::pin::pin!(into));
            while let Some(some) = from.try_next().await? {
                into.feed(some).await?;
            }
            let rows = into.finish().await?;
            self.here.batch_execute(fingerprint::floats(self.older())).await?;
            Ok(rows)
        };
        let rows = rows.await.map_err(failed)?;
        let sums = async {
            let (mine, theirs) = (mine.sum(self.older()), theirs.sum(self.older()));
            let (mine, theirs) =
                futures::try_join!(self.here.query_one(&mine, &[]), self.there.query_one(&theirs, &[]))?;
            let read = |row: &tokio_postgres::Row| Ok::<(i64, String), Error>((row.try_get(0)?, row.try_get(1)?));
            Ok((read(&mine)?, read(&theirs)?))
        };
        let (mine, theirs) = sums.await.map_err(failed)?;
        if mine != theirs {
            return Err(refused(&what, "it does not come out the same".to_owned()));
        }
        self.told(format!("table {title}"), format!("has the cluster's {rows} rows")).await;
        Ok(Some(rows))
    }

    fn older(&self) -> u32 {
        Sums { moving: self.moving }.older()
    }

    async fn sequence(&self, title: &str) -> Result<(), MigrateError> {
        let what = format!("carry the sequence {title} back");
        let carried = async {
            let row = self.here.query_one(&format!("SELECT last_value, is_called FROM {title}"), &[]).await?;
            let (value, called): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
            let set = format!("SELECT setval({}::regclass, {value}, {called})", literal(title));
            self.there.batch_execute(&set).await?;
            Ok(value)
        };
        let value = carried.await.map_err(|error: Error| unsure(&what, &error))?;
        self.told(format!("sequence {title}"), format!("is at {value}")).await;
        Ok(())
    }

    /// Those that are not the same. How many.
    async fn objects(&self, mine: &Objects) -> Result<usize, MigrateError> {
        let what = "carry large objects back";
        let failed = |error: Error| failed(what, &error);
        let theirs = known(&self.there).await.map_err(failed)?;
        let changes = objects::changes(mine, &theirs);
        for change in &changes {
            self.there.batch_execute(&change.statements()).await.map_err(failed)?;
            let oid = change.oid();
            for piece in change.pieces() {
                let copied = async {
                    let asked =
                        self.here.query_one("SELECT lo_get($1, $2, $3)", &[&oid, &piece, &objects::PIECE]).await;
                    let bytes: Vec<u8> = asked?.try_get(0)?;
                    self.there.execute("SELECT lo_put($1, $2, $3)", &[&oid, &piece, &bytes]).await
                };
                copied.await.map_err(failed)?;
            }
        }
        let theirs = known(&self.there).await.map_err(failed)?;
        if !objects::changes(mine, &theirs).is_empty() {
            return Err(refused(what, "they do not come out the same".to_owned()));
        }
        self.told("large objects".to_owned(), format!("{} are as in the cluster", changes.len())).await;
        Ok(changes.len())
    }

    /// Whoever has begun to write since waits for our locks, and would have written when they go.
    async fn nobody_waits(&self) -> Result<(), MigrateError> {
        let what = "see that nobody waits to write";
        let asked = "SELECT count(*) FROM pg_stat_activity
                      WHERE backend_type = 'client backend' AND pg_backend_pid() = ANY (pg_blocking_pids(pid))";
        let waiting: i64 = self
            .here
            .query_one(asked, &[])
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|error| failed(what, &error))?;
        match waiting {
            0 => Ok(()),
            _ => Err(refused(what, format!("{waiting} sessions of the cluster wait to write"))),
        }
    }

    /// Large objects cannot be locked against writing: reading them takes the same lock. So they are looked at once more, as
    /// others see them now.
    async fn objects_are_the_same(&self, mine: &Objects) -> Result<(), MigrateError> {
        let what = "see that nobody has written large objects";
        let now = known(&self.moving.cluster().await?).await.map_err(|error| failed(what, &error))?;
        match objects::changes(mine, &now).is_empty() {
            true => Ok(()),
            false => Err(refused(what, "some are other ones than when they were copied".to_owned())),
        }
    }

    async fn told(&self, resource: String, summary: String) {
        self.moving.operation.reporter.emit(Kind::ChangeApplied { resource, summary, millis: 0 }).await;
    }
}

async fn tables(side: &Client, version: u32) -> Result<BTreeMap<String, Table>, MigrateError> {
    let what = "read about the tables";
    let asked = side.query_one(&fingerprint::tables(version), &[]).await;
    let all: String = asked.and_then(|row| row.try_get(0)).map_err(|error| failed(what, &error))?;
    let all: Vec<Table> = serde_json::from_str(&all).map_err(|error| refused(what, error.to_string()))?;
    Ok(all.into_iter().map(|table| (table.title(), table)).collect())
}

async fn columns(side: &Client, title: &str) -> Result<(String, String), Error> {
    let row = side.query_one(COLUMNS, &[&title]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// All large objects of a database, by their numbers.
async fn known(side: &Client) -> Result<Objects, Error> {
    let rows = side.query(objects::LOOK, &[]).await?;
    let read = |row: &tokio_postgres::Row| {
        let (size, content, owner) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        Ok((row.try_get(0)?, Object { size, content, owner, grants: row.try_get(4)?, comment: row.try_get(5)? }))
    };
    rows.iter().map(read).collect()
}

fn failed(what: &str, error: &Error) -> MigrateError {
    refused(what, one_line(error))
}

/// From here on it may have come about.
fn unsure(what: &str, error: &Error) -> MigrateError {
    MigrateError::Failed {
        what: what.to_owned(),
        reason: one_line(error),
        help: "type the same command again: it compares both sides, and goes on from what it finds",
    }
}

fn refused(what: &str, reason: String) -> MigrateError {
    MigrateError::Failed {
        what: what.to_owned(),
        reason: format!("{reason}; the source is as it was"),
        help: "put that right, or go back without those rows: `migrate rollback --lose-newer-writes`",
    }
}
