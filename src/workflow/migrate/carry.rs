//! What was written to the cluster since a move goes back to the source: tables that are no longer the same, whole, with
//! sequences and large objects. It is one transaction there, which ends well only when all of that is the same on both
//! sides. Nobody can write to the cluster meanwhile: its tables are locked for as long as our session lives, and no longer.
//! The schema is not carried, and triggers there do not fire.

use tokio_postgres::{Client, Error};

use super::between::{Between, Objects, READ, WRITE, known};
use super::sums::of_the_target;
use super::{Compared, MigrateError, Moving};
use crate::engine::HostError;
use crate::error::one_line;
use crate::migrate::fingerprint::{Difference, Fingerprint, Measure};
use crate::migrate::objects;
use crate::report::Kind;

/// Its rows are gone after a failover, which nobody has done on purpose.
const UNLOGGED: &str = "SELECT relpersistence = 'u' FROM pg_class WHERE oid = $1::text::regclass";

/// Writes down what the source is about to hold.
pub type AboutToHold<'a> = dyn Fn(&Fingerprint) -> Result<(), String> + Sync + 'a;

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

/// From the cluster to the source.
struct Way<'a> {
    moving: &'a Moving<'a>,
    between: Between<'a>,
}

impl Moving<'_> {
    /// `compared` is what was found when both were compared, after the application was stopped. What the source is about to
    /// hold is written down before it does.
    pub async fn carry_back(
        &self,
        compared: &Compared,
        about_to_hold: &AboutToHold<'_>,
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
                if way.keeps(title).await? {
                    carried.rows += way.between.table(title).await?;
                    carried.tables += 1;
                }
            }
            let mine =
                known(&way.between.from).await.map_err(|error| failed("read the cluster's large objects", &error))?;
            if compared.source.large_objects != compared.target.large_objects {
                carried.large_objects = way.between.objects(&mine).await?;
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
            let value = way.between.sequence(title).await;
            let value = value.map_err(|error| unsure(&format!("carry the sequence {title} back"), &error))?;
            way.between.told(format!("sequence {title}"), format!("is at {value}")).await;
            carried.sequences += 1;
        }
        way.between.into.batch_execute("COMMIT").await.map_err(|error| unsure("end it", &error))?;
        Ok(carried)
    }

    async fn way(&self) -> Result<Way<'_>, MigrateError> {
        let here = (self.application_session().await?, self.looked.target.version_num);
        let there = (self.foreign.connect(&self.looked.database).await?, self.looked.source.server.version_num);
        let between = Between::new(here, there, self.operation.reporter, refused).await?;
        let all: Vec<&str> = between.mine.keys().map(String::as_str).collect();
        let begun = async {
            between.from.batch_execute(READ).await?;
            // before anything is read, so that it is read as it stays
            between.from.batch_execute(&format!("LOCK TABLE {} IN SHARE MODE", all.join(", "))).await?;
            between.into.batch_execute(WRITE).await
        };
        begun.await.map_err(|error| failed("lock the cluster's tables", &error))?;
        Ok(Way { moving: self, between })
    }

    /// A session in the application's database.
    async fn application_session(&self) -> Result<Client, MigrateError> {
        self.cluster().session(&self.gather().inventory.database.name).await
    }

    async fn nobody_has_written(&self, compared: &Compared) -> Result<(), MigrateError> {
        let (mine, theirs) = (self.looked.target.version_num, self.looked.source.server.version_num);
        let versions = (mine, Measure { older: mine.min(theirs), hashed: compared.target.hashed });
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
    /// Not of a table that keeps no rows for good.
    async fn keeps(&self, title: &str) -> Result<bool, MigrateError> {
        let asked = self.between.from.query_one(UNLOGGED, &[&title]).await.and_then(|row| row.try_get(0));
        let unlogged: bool = asked.map_err(|error| failed(&format!("carry the table {title} back"), &error))?;
        if unlogged {
            let message = format!("not carried back: table {title}, which is unlogged: empty after a failover");
            self.moving.operation.reporter.emit(Kind::Warned { message, help: None }).await;
        }
        Ok(!unlogged)
    }

    /// Whoever has begun to write since waits for our locks, and would have written when they go.
    async fn nobody_waits(&self) -> Result<(), MigrateError> {
        let what = "see that nobody waits to write";
        let asked = "SELECT count(*) FROM pg_stat_activity
                      WHERE backend_type = 'client backend' AND pg_backend_pid() = ANY (pg_blocking_pids(pid))";
        let waiting: i64 = self
            .between
            .from
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
        let now = known(&self.moving.application_session().await?).await.map_err(|error| failed(what, &error))?;
        match objects::changes(mine, &now).is_empty() {
            true => Ok(()),
            false => Err(refused(what, "some are other ones than when they were copied".to_owned())),
        }
    }
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
