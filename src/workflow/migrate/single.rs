//! The other way: the application's database is copied out of the cluster into a single PostgreSQL, and compared as it is
//! in a move. The cluster is only read: in a snapshot for the copy, and as it is then for the comparison, by which whoever
//! has written meanwhile is found.

use super::bridge::Bridge;
use super::comparing::{password, told};
use super::end::{End, INCOMING, SCRATCH, both, execute, other_passwords};
use super::look::{System, free, system, verifiers, who};
use super::place::{clean, made, scratch};
use super::source::Snapshot;
use super::sums::{measure, of_a_database, of_a_foreign};
use super::{Clock, Compared, MigrateError, Moved, server_of};
use crate::cluster::Gather;
use crate::cluster::postgres::foreign::Foreign;
use crate::engine::Fleet;
use crate::engine::dump::{At, Way, Workshop};
use crate::error::one_line;
use crate::inventory::Host;
use crate::migrate::roles::{self, MARK, Server, Stage, Wanted};
use crate::report::text::mebibytes;
use crate::secret::Secret;
use crate::workflow::Operation;

/// What a server is, and the database the session is in.
const LOOK: &str = "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
       pg_database_size(current_database()),
       (SELECT coalesce(array_agg(extname::text), '{}') FROM pg_extension),
       (SELECT coalesce(array_agg(name::text), '{}') FROM pg_available_extensions),
       EXISTS (SELECT FROM pg_database WHERE datname = $1)";

/// Both sides, before anything is done.
pub struct Single {
    /// Of the single one, and of the cluster.
    pub version: u32,
    pub cluster_version: u32,
    pub bytes: u64,
    /// There is a database of that name.
    pub is_there: bool,
    /// Roles that will be made.
    pub made: Vec<String>,
    /// Why it cannot be done.
    pub stops: Vec<String>,
    ours: Server,
    theirs: Server,
    verifiers: Vec<(String, Secret)>,
}

struct Seen {
    version: u32,
    standby: bool,
    bytes: u64,
    extensions: Vec<String>,
    available: Vec<String>,
    is_there: bool,
    system: Option<System>,
}

/// Look at both.
pub async fn single(
    gather: &Gather<'_>,
    (foreign, leader): (&Foreign<'_>, &Host),
    fleet: &Fleet,
) -> Result<Single, MigrateError> {
    let failed = |reason: String| MigrateError::failed("look at both servers", reason);
    let (name, database) = (&gather.inventory.database.name, &foreign.source().database);
    let (ours, theirs) = (End::Leader(gather, leader), End::Foreign(foreign));
    let (here, there) = futures::try_join!(ours.session(name), theirs.session("postgres"))?;
    let (mine, its) = futures::try_join!(seen(&here, name), seen(&there, database)).map_err(failed)?;
    let ours = who(&here, name).await.map_err(failed)?.unwrap_or_default();
    let mut theirs = who(&there, "postgres").await.map_err(failed)?.unwrap_or_default();
    // roles that an earlier one has left go before this one makes them
    theirs.roles.retain(|role| role.comment.as_deref() != Some(MARK));
    let verifiers = verifiers(&here).await.map_err(|error| failed(one_line(&error)))?;
    let made = roles::wanted((&ours, &theirs), ("", &[]), its.version).made;
    let mut stops = stops(&mine, &its);
    let free = free(fleet, &leader.name).await?;
    // about half of it, and what the database itself needs meanwhile
    if free < mine.bytes {
        let (free, bytes) = (mebibytes(free), mebibytes(mine.bytes));
        stops
            .push(format!("the leader has {free} free for the dump of {bytes}, and needs as much as it is to be safe"));
    }
    let (version, cluster_version, bytes) = (its.version, mine.version, mine.bytes);
    let is_there = its.is_there;
    Ok(Single { version, cluster_version, bytes, is_there, made, stops, ours, theirs, verifiers })
}

async fn seen(session: &tokio_postgres::Client, database: &str) -> Result<Seen, String> {
    let reading = async {
        let row = session.query_one(LOOK, &[&database]).await?;
        let (version, bytes): (i32, i64) = (row.try_get(0)?, row.try_get(2)?);
        let (version, bytes) = (version.unsigned_abs(), bytes.unsigned_abs());
        let (extensions, available) = (row.try_get(3)?, row.try_get(4)?);
        let (standby, is_there) = (row.try_get(1)?, row.try_get(5)?);
        Ok(Seen { version, standby, bytes, extensions, available, is_there, system: None })
    };
    let seen = reading.await.map_err(|error: tokio_postgres::Error| one_line(&error))?;
    Ok(Seen { system: Some(system(session).await?), ..seen })
}

fn stops(mine: &Seen, its: &Seen) -> Vec<String> {
    let mut stops = Vec::new();
    let (ours, theirs) = (mine.version / 10_000, its.version / 10_000);
    if mine.system == its.system {
        stops.push("it is this cluster itself, by its system identifier and timeline".to_owned());
    }
    if its.standby {
        stops.push("it is a standby: name the server that it follows".to_owned());
    }
    if theirs != ours {
        stops.push(format!("it is PostgreSQL {theirs}: it takes the cluster's major version, {ours}"));
    }
    let missing: Vec<&str> =
        mine.extensions.iter().filter(|name| !its.available.contains(name)).map(String::as_str).collect();
    if !missing.is_empty() {
        stops.push(format!("it does not have the extensions {}", missing.join(", ")));
    }
    stops
}

/// One copy out of the cluster.
pub struct Leaving<'a> {
    pub operation: Operation<'a>,
    pub foreign: &'a Foreign<'a>,
    pub leader: &'a Host,
    pub looked: &'a Single,
    pub jobs: usize,
}

impl Leaving<'_> {
    /// The stages.
    pub async fn run(&self) -> Result<Moved, MigrateError> {
        let mut clock = Clock::new(&self.operation);
        let (approved, there) = (self.operation.approved, self.there());
        let _mine = self.alone().await?;
        let workshop = self.workshop();
        let prepared = async {
            clean(&self.operation.gather, self.leader, (self.operation.fleet, approved)).await?;
            there.remove(approved).await?;
            Ok::<_, MigrateError>(workshop.begin().await?)
        };
        clock.stage("Prepare", prepared).await?;
        let result = self.copy(&mut clock, &workshop).await;
        let good = result.as_ref().is_ok_and(|compared| compared.differences.is_empty());
        let name = &self.foreign.source().database;
        let swapped = match good {
            true => Some(clock.stage("Put it in its place", there.swap(approved, name, self.wanted().finally)).await),
            false => None,
        };
        let here = clean(&self.operation.gather, self.leader, (self.operation.fleet, approved));
        let tidied = clock.timed("Tidy up", here).await;
        let removed = match &swapped {
            Some(Ok(_)) => Ok(()),
            _ => clock.timed("Remove the copy", there.remove(approved)).await,
        };
        let mut compared = result?;
        let kept = swapped.transpose()?.flatten();
        removed?;
        if good {
            let after = async {
                tidied?;
                both((self.here(), self.database()), (there, name)).await
            };
            let (ours, theirs) = after.await.map_err(|error| MigrateError::There { reason: one_line(&error) })?;
            compared.differences.extend(roles::differences(&ours, &theirs, (&self.looked.made, Stage::Finished)));
        } else {
            tidied?;
        }
        Ok(Moved { phases: clock.phases, compared, in_place: good, kept, opened: None })
    }

    /// Nobody else makes a copy on that server for as long as this session lives.
    async fn alone(&self) -> Result<tokio_postgres::Client, MigrateError> {
        let session = self.there().session("postgres").await?;
        let asked = session.query_one("SELECT pg_try_advisory_lock(hashtext('xnat-provision'))", &[]).await;
        match asked.and_then(|row| row.try_get(0)) {
            Ok(true) => Ok(session),
            Ok(false) => {
                Err(MigrateError::failed("make a copy there", "another run of this program makes one on that server"))
            }
            Err(error) => Err(MigrateError::failed("make a copy there", one_line(&error))),
        }
    }

    async fn copy(&self, clock: &mut Clock<'_>, workshop: &Workshop<'_>) -> Result<Compared, MigrateError> {
        let Operation { approved, reporter, fleet, cancel, .. } = &self.operation;
        let snapshot = Snapshot::take(self.here(), self.database()).await?;
        let bridge = Bridge::open(self.foreign, &[fleet.connections[&self.leader.name].as_ref()]).await?;
        let (there, wanted, server) = (self.there(), self.wanted(), server_of(self.foreign));
        let work = async {
            clock.stage("Make the roles", self.roles(&wanted)).await?;
            let dump = workshop.dump((workshop.here(), self.database()), &snapshot.name);
            clock.stage("Dump the cluster's database", dump).await?;
            let restore = workshop.restore((At::There(&server), INCOMING));
            clock.stage("Restore", there.watched((self.looked.bytes, reporter), restore)).await?;
            clock.stage("Analyze", workshop.analyze((At::There(&server), INCOMING))).await?;
            clock.stage("Settings and grants", there.set(approved, &wanted)).await?;
            clock.stage("Compare", self.compare(workshop)).await
        };
        let done = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(MigrateError::Interrupted),
            done = bridge.while_open(work) => done,
        };
        bridge.close().await;
        done
    }

    /// Roles first: one of them owns the database the copy is made in.
    async fn roles(&self, wanted: &Wanted) -> Result<(), MigrateError> {
        let (approved, there) = (self.operation.approved, self.there());
        there.make_roles(approved, wanted).await?;
        let session = there.session("postgres").await?;
        let owner = &self.operation.gather.inventory.database.owner;
        for change in made(&self.operation.gather, (INCOMING, owner)) {
            for statement in change.statements() {
                execute(&session, approved, statement.expose()).await?;
            }
        }
        Ok(())
    }

    async fn compare(&self, workshop: &Workshop<'_>) -> Result<Compared, MigrateError> {
        let Operation { gather, approved, reporter, .. } = &self.operation;
        let (mine, its) = (self.looked.cluster_version, self.looked.version);
        let (here, there) = (self.here().session(self.database()).await?, self.foreign.connect(INCOMING).await?);
        let measured = measure((&here, mine), (&there, its)).await;
        let measure = measured.map_err(|error| MigrateError::failed("see how rows are compared", one_line(&error)))?;
        let server = server_of(self.foreign);
        let schemas = workshop.compare_schemas((&server, INCOMING, None), (SCRATCH, self.database()), Way::Out);
        let told_here = ("the cluster's database", *reporter);
        let told_there = ("the copy", *reporter);
        let (source, target, schemas) = futures::try_join!(
            of_a_database((gather, self.leader), (self.database(), None), (mine, measure), told_here),
            of_a_foreign((self.foreign, INCOMING), self.jobs, None, (its, measure), told_there),
            scratch((gather, self.leader), approved, schemas)
        )?;
        let here = (self.here(), self.database());
        let (ours, theirs) = both(here, (self.there(), INCOMING)).await?;
        let made = &self.looked.made;
        let mut compared = Compared { objects: schemas.objects, roles: ours.roles.len(), ..Compared::default() };
        compared.differences = source.differences(&target);
        compared.differences.extend(told(&schemas));
        compared.differences.extend(roles::differences(&ours, &theirs, (made, Stage::Copied)));
        let others = other_passwords(here, self.there(), made).await?;
        compared.differences.extend(others.iter().map(|role| password(role)));
        (compared.source, compared.target) = (source, target);
        Ok(compared)
    }

    fn here(&self) -> End<'_> {
        End::Leader(&self.operation.gather, self.leader)
    }

    fn there(&self) -> End<'_> {
        End::Foreign(self.foreign)
    }

    /// The application's.
    fn database(&self) -> &str {
        &self.operation.gather.inventory.database.name
    }

    fn wanted(&self) -> Wanted {
        let Single { ours, theirs, verifiers, version, .. } = self.looked;
        roles::wanted((ours, theirs), (INCOMING, verifiers), *version)
    }

    fn workshop(&self) -> Workshop<'_> {
        let Operation { gather, fleet, approved, .. } = &self.operation;
        let (major, port) = (self.looked.cluster_version / 10_000, gather.inventory.postgresql.port);
        Workshop { fleet, approved, leader: &self.leader.name, major, port, jobs: self.jobs }
    }
}
