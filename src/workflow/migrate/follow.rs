//! The copy follows the source by logical replication, so that the application is stopped only for what comes last: a
//! publication and a slot there, a subscription here, all of one name, and all gone afterwards. Tables whose rows cannot be
//! told apart, large objects and sequences are not followed; they are copied when nobody writes any more.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Error, Row};

use super::between::{Between, READ, WRITE, known};
use super::end::{ALONE, End, INCOMING, SCRATCH, execute};
use super::place::Place;
use super::{CATCHING_UP, MigrateError, Moving, server_of, source};
use crate::approval::Approved;
use crate::cluster::postgres::foreign::Foreign;
use crate::engine::HostError;
use crate::engine::dump::{Way, Workshop, conninfo};
use crate::engine::wait::{Wait, WaitError};
use crate::error::one_line;
use crate::migrate::fingerprint::{SEQUENCES, title};
use crate::migrate::roles::Stage;
use crate::quote::{identifier, literal};
use crate::transport::Stream;

/// So little is left when the application is stopped: what is written in a moment.
const NEAR: i64 = 4 << 20;
/// Of what was changed, so much is named.
const NAMED: usize = 5;
/// Whoever still reads the slot is told to end, and has so long.
const ENDING: Duration = Duration::from_secs(60);
/// From this version on a partitioned table is published as one.
const AS_ROOTS: u32 = 130_000;
/// Subscriptions count their errors by then, and run as whoever made them.
const COUNTS_ERRORS: u32 = 15;
const AS_ITS_OWNER: u32 = 16;
/// So many without anything coming through are enough; without a count, so long.
const ERRORS: i64 = 3;
const WITHOUT_PROGRESS: Duration = Duration::from_secs(15 * 60);
/// Whoever reads the slot comes again every five seconds; so long nobody is it who will.
const UNREAD: Duration = Duration::from_secs(180);
/// A backlog takes its time.
const FOLLOWING: Duration = Duration::from_secs(7 * 24 * 3600);

/// Tables whose rows can be told apart, as a publication lists them: not those of the system, of extensions, unlogged ones,
/// or those of which a part cannot. An UPDATE of any other one that is published would fail on the source; that is why a
/// table with parts needs a primary key, which parts that are made later have too. What is computed is not published, so it
/// tells no rows apart.
const KEYED: &str = "WITH RECURSIVE keyed AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind, c.relispartition
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
     AND (c.relreplident = 'f' AND c.relkind = 'r' AND NOT c.relispartition
          AND NOT EXISTS (SELECT FROM pg_attribute a
                           WHERE a.attrelid = c.oid AND coalesce(to_jsonb(a) ->> 'attgenerated', '') <> '')
          OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
                        AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
                                           AND coalesce(to_jsonb(a) ->> 'attgenerated', '') <> '')
                        AND CASE c.relreplident WHEN 'd' THEN i.indisprimary
                              WHEN 'i' THEN i.indisreplident AND c.relkind = 'r' AND NOT c.relispartition END))
     AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
), below AS (
  SELECT oid AS root, oid FROM keyed WHERE relkind = 'p'
  UNION SELECT b.root, i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.oid
)
SELECT c.nspname::text, c.relname::text FROM keyed c
 WHERE {kind} AND NOT EXISTS (SELECT FROM below b WHERE b.root = c.oid AND b.oid NOT IN (SELECT oid FROM keyed))
 ORDER BY 1, 2";
const ROOTS: &str = "NOT c.relispartition";
/// Where a row goes in a table divided by a hash is not the same on both sides.
const LEAVES: &str = "c.relkind = 'r' AND NOT EXISTS (WITH RECURSIVE up AS (
          SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = c.oid
          UNION SELECT i.inhparent FROM pg_inherits i JOIN up ON i.inhrelid = up.inhparent)
        SELECT FROM up JOIN pg_partitioned_table p ON p.partrelid = up.inhparent WHERE p.partstrat = 'h')";

/// Tables that are published, with their parts.
const PUBLISHED: &str = "WITH RECURSIVE published AS (
    SELECT r.prrelid AS oid FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = $1
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN published u ON i.inhparent = u.oid
      JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition)
  SELECT n.nspname::text, c.relname::text
    FROM published p JOIN pg_class c ON c.oid = p.oid JOIN pg_namespace n ON n.oid = c.relnamespace";

/// Materialised views, those first that others are made of.
const VIEWS: &str = "SELECT n.nspname::text, c.relname::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'm' AND {which} AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY c.oid";
/// As a restore has it; otherwise the session is as the database's settings make it.
const AS_A_RESTORE: &str = "SET session_replication_role TO replica; SET default_transaction_read_only TO off;
SET statement_timeout TO 0; SET lock_timeout TO 0; SET idle_in_transaction_session_timeout TO 0";

/// How much of what there is now the slot has not handed over, how far it is, and whether the source has thrown away what
/// it needs.
const BEHIND: &str = "SELECT pg_wal_lsn_diff({now}, confirmed_flush_lsn)::bigint, active,
       pg_wal_lsn_diff(confirmed_flush_lsn, '0/0')::bigint, coalesce(to_jsonb(s) ->> 'wal_status', '') = 'lost'
  FROM pg_replication_slots s WHERE slot_name = $1";
/// Something after everything that was committed, also by whoever did not wait for the disk.
const MARK: &str = "SET default_transaction_read_only TO off; SET synchronous_commit TO local;
SELECT pg_logical_emit_message(true, 'xnat_provision', '')";

/// A database's own settings may put anybody's functions before PostgreSQL's.
const PLAIN: &str = "SET search_path TO pg_catalog";
/// Event triggers are not to see what is made for this alone.
const UNSEEN: &str = "SET search_path TO pg_catalog; SET session_replication_role TO replica;
SET default_transaction_read_only TO off";

/// What all three are called, and nobody else's: another cluster may follow the same source. Members that follow by stream
/// have a slot each, with a number after it.
pub(super) fn name(system: i64) -> String {
    // as PostgreSQL writes it
    format!("xnat_provision_{}", system as u64)
}

/// Whether something of that is on the source: as long as it is, the source keeps what was not read.
pub async fn followed(foreign: &Foreign<'_>, system: i64) -> Result<bool, MigrateError> {
    let session = plain(End::Foreign(foreign), &foreign.source().database).await?;
    is_followed(&session, &name(system)).await
}

async fn is_followed(session: &Client, name: &str) -> Result<bool, MigrateError> {
    let failed = |error: Error| MigrateError::failed("look for a replication slot on the source", one_line(&error));
    if version(session).await.map_err(failed)? < 100_000 {
        return Ok(false);
    }
    let asked = "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name ~ ('^' || $1 || '(_[0-9]+)?$'))
                     OR EXISTS (SELECT FROM pg_publication WHERE pubname = $1)";
    session.query_one(asked, &[&name]).await.and_then(|row| row.try_get(0)).map_err(failed)
}

/// A session in which names are what they are.
async fn plain(end: End<'_>, database: &str) -> Result<Client, MigrateError> {
    let session = end.session(database).await?;
    let set = session.batch_execute(PLAIN).await;
    set.map_err(|error| MigrateError::failed(format!("begin in {database}"), one_line(&error)))?;
    Ok(session)
}

async fn version(session: &Client) -> Result<u32, Error> {
    let row = session.query_one("SELECT current_setting('server_version_num')::bigint", &[]).await?;
    Ok(u32::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default())
}

/// The source is as it was before it was followed.
pub async fn unfollow(foreign: &Foreign<'_>, system: i64, approved: &Approved) -> Result<(), MigrateError> {
    approved.still_holds().map_err(HostError::from)?;
    leave_alone(foreign, system).await
}

/// The same for who has just begun, and comes to nothing: that is no change of the cluster, so its locks do not matter.
pub async fn leave_alone(foreign: &Foreign<'_>, system: i64) -> Result<(), MigrateError> {
    let session = plain(End::Foreign(foreign), &foreign.source().database).await?;
    let name = name(system);
    let failed = |error: Error| MigrateError::failed("remove the replication slot from the source", one_line(&error));
    // one that still waits for a lock would come about when nobody looks any more
    let asking = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE pid <> pg_backend_pid() AND position('CREATE PUBLICATION ' || $1 in query) = 1";
    session.query(asking, &[&name]).await.map_err(failed)?;
    if !is_followed(&session, &name).await? {
        return Ok(());
    }
    session.batch_execute(UNSEEN).await.map_err(failed)?;
    let begun = Instant::now();
    let ended = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
                  WHERE slot_name ~ ('^' || $1 || '(_[0-9]+)?$') AND active";
    let drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
                 WHERE slot_name ~ ('^' || $1 || '(_[0-9]+)?$')";
    loop {
        session.query(ended, &[&name]).await.map_err(failed)?;
        match session.query(drop, &[&name]).await {
            Ok(_) => break,
            // whoever reads it has not ended yet
            Err(error) if begun.elapsed() > ENDING => return Err(failed(error)),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    session.batch_execute(&format!("DROP PUBLICATION IF EXISTS {name}")).await.map_err(failed)
}

impl End<'_> {
    /// The copy here, if there is one, follows nobody any more.
    pub(super) async fn unsubscribe(&self, approved: &Approved) -> Result<(), MigrateError> {
        let asked = "SELECT subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
                      WHERE d.datname = $1";
        let found = self.session("postgres").await?.query(asked, &[&INCOMING]).await;
        let names = found.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>());
        let names = names.map_err(|error| MigrateError::failed("look for a subscription", one_line(&error)))?;
        if names.is_empty() {
            return Ok(());
        }
        let session = self.session(INCOMING).await?;
        execute(&session, approved, ALONE).await?;
        execute(&session, approved, UNSEEN).await?;
        for name in names.iter().map(|name| identifier(name)) {
            execute(&session, approved, &format!("ALTER SUBSCRIPTION {name} DISABLE")).await?;
            // its slot is removed by whoever can reach the source
            execute(&session, approved, &format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")).await?;
            execute(&session, approved, &format!("DROP SUBSCRIPTION {name}")).await?;
        }
        Ok(())
    }
}

/// How far the source has written, with everything that was committed until now: as it says it, and in bytes.
pub(super) async fn position(foreign: &Foreign<'_>, approved: &Approved) -> Result<(String, i64), MigrateError> {
    approved.still_holds().map_err(HostError::from)?;
    let session = plain(End::Foreign(foreign), &foreign.source().database).await?;
    let asked = async {
        session.batch_execute(MARK).await?;
        let asked = "SELECT lsn::text, pg_wal_lsn_diff(lsn, '0/0')::bigint FROM pg_current_wal_lsn() AS lsn";
        let row = session.query_one(asked, &[]).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    };
    asked.await.map_err(|error: Error| MigrateError::failed("ask the source how far it is", one_line(&error)))
}

/// From the publication until the source is left alone again.
pub(super) struct Following<'a> {
    pub moving: &'a Moving<'a>,
}

impl Following<'_> {
    fn name(&self) -> String {
        name(self.moving.looked.system)
    }

    fn approved(&self) -> &Approved {
        self.moving.operation.approved
    }

    fn version(&self) -> u32 {
        self.moving.looked.source.server.version_num
    }

    async fn there(&self) -> Result<Client, MigrateError> {
        plain(End::Foreign(self.moving.foreign), &self.moving.looked.database).await
    }

    /// From the snapshot on everything is kept for the copy. The publication comes first: what was written before there was
    /// one could not be read.
    pub async fn begin(&self, workshop: &Workshop<'_>) -> Result<source::Snapshot, MigrateError> {
        let server = server_of(self.moving.foreign);
        workshop.let_in(&server).await?;
        self.publish().await?;
        let database = &self.moving.looked.database;
        let name = self.name();
        let making = workshop.slot((&server, database), &name);
        let (snapshot, holder): (String, Box<dyn Stream>) = tokio::select! {
            biased;
            () = self.moving.operation.cancel.cancelled() => return Err(MigrateError::Interrupted),
            made = making => made?,
        };
        let own = source::Snapshot::shared(End::Foreign(self.moving.foreign), database, &snapshot).await;
        drop(holder);
        own
    }

    /// While nobody reads yet what the source keeps for the copy. Whatever fails for another reason says so itself.
    pub async fn while_it_is_kept<T>(
        &self,
        work: impl Future<Output = Result<T, MigrateError>>,
    ) -> Result<T, MigrateError> {
        let until_it_is_not = async {
            loop {
                tokio::time::sleep(LOOK).await;
                if let Ok(Some(reason)) = self.is_not_kept().await {
                    return reason;
                }
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            reason = until_it_is_not => Err(MigrateError::failed("follow the source", reason)),
        }
    }

    async fn is_not_kept(&self) -> Result<Option<String>, MigrateError> {
        let failed = |error: Error| MigrateError::failed("look at the replication slot", one_line(&error));
        let asked = "SELECT coalesce(to_jsonb(s) ->> 'wal_status', '') = 'lost'
                       FROM pg_replication_slots s WHERE slot_name = $1";
        let session = self.there().await?;
        let Some(row) = session.query_opt(asked, &[&self.name()]).await.map_err(failed)? else {
            return Ok(Some(GONE.to_owned()));
        };
        if row.try_get(0).map_err(failed)? {
            return Ok(Some(LOST.to_owned()));
        }
        let directory = session.query_one("SELECT current_setting('data_directory')", &[]).await.map_err(failed)?;
        let directory: String = directory.try_get(0).map_err(failed)?;
        // its machine may allow one session only
        drop(session);
        let free = self.moving.foreign.free(&directory).await;
        Ok(free.filter(|free| *free < ROOM).map(|_| FULL.to_owned()))
    }

    async fn publish(&self) -> Result<(), MigrateError> {
        let failed = |error: Error| MigrateError::failed("publish the source's tables", one_line(&error));
        let as_roots = self.version() >= AS_ROOTS;
        let session = self.there().await?;
        let keyed = KEYED.replace("{kind}", if as_roots { ROOTS } else { LEAVES });
        let tables = titles(&session, &keyed, &[]).await.map_err(failed)?;
        let tables: Vec<String> = tables.into_iter().map(|title| format!("ONLY {title}")).collect();
        let tables = if tables.is_empty() { String::new() } else { format!(" FOR TABLE {}", tables.join(", ")) };
        let with = if as_roots { " WITH (publish_via_partition_root)" } else { "" };
        self.approved().still_holds().map_err(HostError::from)?;
        // whoever has locked a table keeps it from being published
        session.batch_execute(&format!("{UNSEEN}; SET lock_timeout TO '60s'")).await.map_err(failed)?;
        session.batch_execute(&format!("CREATE PUBLICATION {}{tables}{with}", self.name())).await.map_err(failed)
    }

    /// Until there is hardly anything that the copy does not have, and the replicas have what it has.
    pub async fn follow(&self, place: &Place<'_>) -> Result<(), MigrateError> {
        self.subscribe().await?;
        // that it does follow is seen by what was written until now
        let until = Until { near: 0, position: Some(self.position().await?), patience: CATCHING_UP };
        self.until("the copy to have what was written meanwhile", until).await?;
        let until = Until { near: NEAR, position: None, patience: CATCHING_UP };
        self.until("the copy to have caught up", until).await?;
        self.moving.replicas(place).await
    }

    /// How far the source has written.
    async fn position(&self) -> Result<String, MigrateError> {
        Ok(position(self.moving.foreign, self.approved()).await?.0)
    }

    /// A schema or a role that has been changed would be found when nobody can write any more, and for nothing.
    pub async fn nothing_else_has_changed(
        &self,
        place: &Place<'_>,
        workshop: &Workshop<'_>,
    ) -> Result<(), MigrateError> {
        let server = server_of(self.moving.foreign);
        let theirs = (&server, self.moving.looked.database.as_str(), None);
        let schemas = place.scratch(workshop.compare_schemas(theirs, (SCRATCH, INCOMING), Way::In)).await?;
        let ours = |name: &str| name.contains(&self.name());
        let objects = schemas.differ.iter().map(|(_, name)| name.clone()).filter(|name| !ours(name));
        let (_, roles) = self.moving.roles(place, Stage::Copied).await?;
        let changed: Vec<String> = objects.chain(roles.into_iter().map(|it| it.what)).take(NAMED).collect();
        match changed.is_empty() {
            true => Ok(()),
            false => {
                let reason = format!("something was changed there since the copy was made: {}", changed.join(", "));
                Err(MigrateError::failed("follow the source", reason))
            }
        }
    }

    async fn subscribe(&self) -> Result<(), MigrateError> {
        let server = server_of(self.moving.foreign);
        let major = self.moving.major;
        let mut with = format!("create_slot = false, copy_data = false, slot_name = {}", literal(&self.name()));
        if major >= AS_ITS_OWNER {
            with.push_str(", run_as_owner = true");
        }
        let name = self.name();
        let connection = literal(&conninfo(&server, &self.moving.looked.database));
        let session = self.moving.cluster().session(INCOMING).await?;
        execute(&session, self.approved(), UNSEEN).await?;
        // it came with the dump, and is the source's
        execute(&session, self.approved(), &format!("DROP PUBLICATION IF EXISTS {name}")).await?;
        let subscribe = format!("CREATE SUBSCRIPTION {name} CONNECTION {connection} PUBLICATION {name} WITH ({with})");
        execute(&session, self.approved(), &subscribe).await
    }

    /// Nobody writes any more: the copy gets the last of it, and what was not followed; then the source is left alone.
    pub async fn finish(&self) -> Result<(), MigrateError> {
        let until = Until { near: 0, position: Some(self.position().await?), patience: WITHOUT_PROGRESS };
        self.until("the copy to have everything", until).await?;
        let failed = |error: Error| MigrateError::failed("ask the source what it publishes", one_line(&error));
        let published = titles(&self.there().await?, PUBLISHED, &[&self.name()]).await.map_err(failed)?;
        self.moving.cluster().unsubscribe(self.approved()).await?;
        unfollow(self.moving.foreign, self.moving.looked.system, self.approved()).await?;
        self.copy_the_rest(&published).await
    }

    /// Until so little is left. Whoever is stuck does not wait for ever.
    async fn until(&self, what: &str, Until { near, position, patience }: Until) -> Result<(), MigrateError> {
        let name = self.name();
        let (there, here) = (self.there().await?, plain(self.moving.cluster(), INCOMING).await?);
        let now =
            position.map_or_else(|| "pg_current_wal_lsn()".to_owned(), |lsn| format!("{}::pg_lsn", literal(&lsn)));
        let asked = BEHIND.replace("{now}", &now);
        let wait = Wait {
            what: what.to_owned(),
            deadline: FOLLOWING,
            interval: Duration::from_millis(250),
            help: "see the log of PostgreSQL on the leader".to_owned(),
        };
        let errors = match self.moving.major {
            COUNTS_ERRORS.. => {
                "SELECT apply_error_count, pg_is_in_recovery() FROM pg_stat_subscription_stats WHERE subname = $1"
            }
            _ => "SELECT 0::bigint, pg_is_in_recovery() FROM pg_subscription WHERE subname = $1",
        };
        let best = Mutex::new(Best::default());
        let look = || async {
            let read = async {
                let counted = here.query_one(errors, &[&name]).await?;
                if counted.try_get(1)? {
                    return Ok(Err(FOLLOWS));
                }
                let Some(row) = there.query_opt(&asked, &[&name]).await? else { return Ok(Err(GONE)) };
                if row.try_get(3)? {
                    return Ok(Err(LOST));
                }
                let (behind, active, at) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
                Ok::<Result<Seen, &str>, Error>(Ok(Seen { behind, active, at, errors: counted.try_get(0)? }))
            };
            match read.await {
                Err(error) => Ok(Err(one_line(&error))),
                Ok(Err(over)) => Ok(Err(over.to_owned())),
                Ok(Ok(seen)) if seen.active && seen.behind <= near => Ok(Ok(())),
                Ok(Ok(seen)) => {
                    let mut best = best.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    if best.is_stuck(&seen, patience) { Ok(Err(STUCK.to_owned())) } else { Err(seen.to_string()) }
                }
            }
        };
        let told = (self.moving.operation.reporter, self.moving.operation.cancel);
        let followed = wait.until(told.0, told.1, look).await.map_err(|error| match error {
            WaitError::Cancelled { .. } => MigrateError::Interrupted,
            error => error.into(),
        })?;
        followed.map_err(|reason| MigrateError::failed("follow the source", reason))
    }

    /// What logical replication leaves out.
    async fn copy_the_rest(&self, published: &[String]) -> Result<(), MigrateError> {
        let from = (self.there().await?, self.version());
        let into = (self.moving.cluster().session(INCOMING).await?, self.moving.looked.target.version_num);
        let refused = |what: &str, reason| MigrateError::failed(what, reason);
        let between = Between::new(from, into, self.moving.operation.reporter, refused).await?;
        let failed = |error: Error| between.failed("copy what was not followed", &error);
        between.from.batch_execute(READ).await.map_err(failed)?;
        execute(&between.into, self.approved(), WRITE).await?;
        let rest = between.mine.iter().filter(|(title, _)| !published.contains(title));
        // one that was made meanwhile is found when both sides are compared
        for (title, mine, theirs) in rest.filter_map(|(title, mine)| Some((title, mine, between.theirs.get(title)?))) {
            if !between.is_same((mine, theirs)).await.map_err(failed)? {
                between.table(title).await?;
            }
        }
        let mine = known(&between.from).await.map_err(failed)?;
        between.objects(&mine).await?;
        execute(&between.into, self.approved(), "COMMIT").await?;
        let filled = titles(&between.from, &VIEWS.replace("{which}", "c.relispopulated"), &[]).await.map_err(failed)?;
        let views = titles(&between.into, &VIEWS.replace("{which}", "true"), &[]).await.map_err(failed)?;
        self.fill(&views, &filled).await?;
        let sequences = titles(&between.from, SEQUENCES, &[]).await.map_err(failed)?;
        let there = titles(&between.into, SEQUENCES, &[]).await.map_err(failed)?;
        for title in sequences.iter().filter(|title| there.contains(title)) {
            between.sequence(title).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Materialised views were filled when the copy was made. Those of the source that are filled are filled anew.
    async fn fill(&self, views: &[String], filled: &[String]) -> Result<(), MigrateError> {
        let session = self.moving.cluster().session(INCOMING).await?;
        execute(&session, self.approved(), AS_A_RESTORE).await?;
        for title in views {
            let none = if filled.contains(title) { "" } else { " WITH NO DATA" };
            execute(&session, self.approved(), &format!("REFRESH MATERIALIZED VIEW {title}{none}")).await?;
        }
        Ok(())
    }
}

/// So little of what there is now, or of what there was then, is to be left; and who sees nothing come through for so long
/// gives up.
struct Until {
    near: i64,
    position: Option<String>,
    patience: Duration,
}

struct Seen {
    behind: i64,
    /// Somebody reads the slot.
    active: bool,
    /// How far it was read.
    at: i64,
    errors: i64,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nobody = if self.active { "" } else { ", and nobody reads them now" };
        write!(f, "{} KiB are left{nobody}", self.behind.max(0) >> 10)
    }
}

/// When something came through last, how many errors there were by then, and since when nobody reads.
struct Best {
    at: i64,
    when: Instant,
    errors: i64,
    unread: Option<Instant>,
}

impl Default for Best {
    fn default() -> Self {
        Self { at: 0, when: Instant::now(), errors: 0, unread: None }
    }
}

impl Best {
    fn is_stuck(&mut self, seen: &Seen, patience: Duration) -> bool {
        if seen.at > self.at {
            *self = Self { at: seen.at, when: Instant::now(), errors: seen.errors, unread: None };
        }
        self.unread = if seen.active { None } else { self.unread.or_else(|| Some(Instant::now())) };
        let unread = self.unread.is_some_and(|since| since.elapsed() > UNREAD);
        seen.errors >= self.errors + ERRORS || unread || self.when.elapsed() > patience
    }
}

/// Between two looks at what the source keeps, and what its disk is to have left.
const LOOK: Duration = Duration::from_secs(10);
const ROOM: u64 = 1 << 30;
const GONE: &str =
    "its replication slot is gone: somebody has dropped it, or whoever runs that server does not know it";
const FOLLOWS: &str = "another member leads now, and the copy is on the one that led";
const FULL: &str =
    "its disk has less than 1 GiB left, which the WAL it keeps for the copy would fill: it keeps none any more";
const STUCK: &str = "the leader's server cannot take what the source sends: its log says why (a table that was changed \
                     meanwhile, most likely, or no connection to the source)";
const LOST: &str = "the source has thrown away what the copy had not read yet: its max_slot_wal_keep_size is too small (or \
                    idle_replication_slot_timeout, of 18)";

/// Tables or sequences, as people and reports write them.
pub(super) async fn titles(
    session: &Client,
    asked: &str,
    with: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<Vec<String>, Error> {
    let read = |row: &Row| Ok(title(row.try_get(0)?, row.try_get(1)?));
    session.query(asked, with).await?.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sees_nothing_come_through_is_stuck_after_some_errors_or_some_time() {
        let seen = |at, errors| Seen { behind: 5, active: true, at, errors };
        let mut best = Best::default();
        assert!(!best.is_stuck(&seen(7, 1), WITHOUT_PROGRESS));
        assert!(!best.is_stuck(&seen(7, 3), WITHOUT_PROGRESS));
        assert!(!best.is_stuck(&seen(8, 4), WITHOUT_PROGRESS), "something came through");
        assert!(!best.is_stuck(&seen(8, 6), WITHOUT_PROGRESS));
        assert!(best.is_stuck(&seen(8, 7), WITHOUT_PROGRESS));
        assert!(best.is_stuck(&seen(8, 4), Duration::ZERO));
    }

    #[test]
    fn two_clusters_are_told_apart_and_a_number_is_never_negative() {
        assert_eq!(name(7), "xnat_provision_7");
        assert_eq!(name(-1), "xnat_provision_18446744073709551615");
    }
}
