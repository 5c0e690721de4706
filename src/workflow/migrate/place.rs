//! The leader's side of it in SQL: the database the copy is made in, the roles it needs, and its taking the place of the
//! application's. What was made and is not kept can be told: the databases by their names, the roles by their comments.

use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Client;

use super::look::{verifiers, who};
use super::{MigrateError, Moving};
use crate::approval::Approved;
use crate::cluster::Gather;
use crate::cluster::postgres::objects::{DISCREET, Database, DatabaseChange};
use crate::cluster::postgres::{Login, administrator, connect, server};
use crate::engine::dump::{DumpError, Workshop};
use crate::engine::{Fleet, HostError, for_each_host};
use crate::error::one_line;
use crate::inventory::{Component, Host};
use crate::migrate::roles::{self, MARK, Server};
use crate::names::HostName;
use crate::quote::{identifier, literal};
use crate::report::Kind;
use crate::secret::Secret;

/// Where the copy is made.
pub const INCOMING: &str = "xnat_provision_incoming";
/// Where the source's schema is restored to be compared.
pub const SCRATCH: &str = "xnat_provision_schema";

/// Between two looks at how far a restore is, and two tries to rename what somebody is still in.
const PAUSE: Duration = Duration::from_secs(2);
const TRIES: u32 = 30;

/// What would be missed: tables, but those of extensions, and large objects.
const CONTENT: &str = "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'v', 'S', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d
                       WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
   OR EXISTS (SELECT FROM pg_largeobject_metadata)";

const MARKED: &str = "SELECT rolname::text FROM pg_authid WHERE shobj_description(oid, 'pg_authid') = $1 ORDER BY 1";

pub(super) struct Place<'a> {
    pub moving: &'a Moving<'a>,
}

/// What a migration that was cut off has left on the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    pub databases: Vec<String>,
    pub roles: Vec<String>,
}

impl Left {
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.roles.is_empty()
    }
}

/// Look for it.
pub async fn left(gather: &Gather<'_>, leader: &Host) -> Result<Left, MigrateError> {
    let session = session(gather, leader, "postgres").await?;
    let reading = async {
        let names = [INCOMING, SCRATCH];
        let found =
            session.query("SELECT datname::text FROM pg_database WHERE datname = ANY ($1)", &[&&names[..]]).await?;
        let databases = found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let found = session.query(MARKED, &[&MARK]).await?;
        let roles = found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        Ok::<_, tokio_postgres::Error>(Left { databases, roles })
    };
    reading.await.map_err(|error| MigrateError::failed("look for what was left", one_line(&error)))
}

/// Remove it, with what programs on the leader have left.
pub async fn clean(
    gather: &Gather<'_>,
    leader: &Host,
    (fleet, approved): (&Fleet, &Approved),
) -> Result<(), MigrateError> {
    // who led when it was cut off may follow now
    let members: Vec<HostName> = gather.inventory.with(Component::Postgres).map(|host| host.name.clone()).collect();
    let reached: Vec<HostName> = members.into_iter().filter(|host| fleet.connections.contains_key(host)).collect();
    let parallel = reached.len();
    let port = gather.inventory.postgresql.port;
    let clean =
        async |host: HostName| Workshop { fleet, approved, leader: &host, major: 0, port, jobs: 1 }.clean().await;
    for cleaned in for_each_host(reached, parallel, clean).await.into_values() {
        cleaned?;
    }
    let left = left(gather, leader).await?;
    let session = session(gather, leader, "postgres").await?;
    for database in &left.databases {
        execute(&session, approved, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(database))).await?;
    }
    for role in &left.roles {
        execute(&session, approved, &format!("DROP ROLE IF EXISTS {}", identifier(role))).await?;
    }
    Ok(())
}

impl Place<'_> {
    fn approved(&self) -> &Approved {
        self.moving.operation.approved
    }

    async fn session(&self, database: &str) -> Result<Client, MigrateError> {
        session(self.moving.gather(), self.moving.leader, database).await
    }

    /// Nothing of an earlier one, or of this one, is there any more.
    pub async fn clean(&self) -> Result<(), MigrateError> {
        clean(self.moving.gather(), self.moving.leader, (self.moving.operation.fleet, self.approved())).await
    }

    pub async fn create(&self) -> Result<(), MigrateError> {
        self.make(INCOMING, &self.moving.gather().inventory.database.owner).await
    }

    async fn make(&self, name: &str, owner: &str) -> Result<(), MigrateError> {
        let gather = self.moving.gather();
        let failed = |reason| MigrateError::failed(format!("make the database {name}"), reason);
        let administrator = administrator(gather, self.moving.leader).map_err(failed)?;
        let like = &gather.inventory.database;
        let database = Database {
            name: name.to_owned(),
            owner: owner.to_owned(),
            encoding: like.encoding.clone(),
            locale: like.locale.clone(),
            extensions: Vec::new(),
        };
        administrator.perform(self.approved(), &DatabaseChange::CreateDatabase(database)).await?;
        let revoke = DatabaseChange::RevokeConnect { database: name.to_owned() };
        Ok(administrator.perform(self.approved(), &revoke).await?)
    }

    fn wanted(&self) -> roles::Wanted {
        let looked = self.moving.looked;
        roles::wanted((&looked.theirs, &looked.ours), (INCOMING, &looked.verifiers), looked.target.version_num)
    }

    /// Those of the source that the cluster does not have.
    pub async fn roles(&self) -> Result<(), MigrateError> {
        let session = self.session("postgres").await?;
        execute(&session, self.approved(), DISCREET).await?;
        let wanted = self.wanted();
        for role in &wanted.roles {
            execute(&session, self.approved(), role.expose()).await?;
        }
        for membership in &wanted.memberships {
            execute(&session, self.approved(), membership).await?;
        }
        Ok(())
    }

    /// What goes with the copy wherever it goes.
    pub async fn settings(&self) -> Result<(), MigrateError> {
        let session = self.session("postgres").await?;
        for statement in self.wanted().settings {
            execute(&session, self.approved(), &statement).await?;
        }
        Ok(())
    }

    /// The restore, and from time to time how far it is.
    pub async fn watched<T>(
        &self,
        bytes: u64,
        work: impl Future<Output = Result<T, DumpError>>,
    ) -> Result<T, MigrateError> {
        tokio::select! {
            biased;
            done = work => Ok(done?),
            never = self.tell(bytes) => match never {},
        }
    }

    async fn tell(&self, bytes: u64) -> Infallible {
        // who cannot see how far it is waits all the same: its own end says whether it went well
        let Ok(session) = self.session(INCOMING).await else { return std::future::pending().await };
        let mut seconds = 0;
        loop {
            tokio::time::sleep(PAUSE).await;
            seconds += PAUSE.as_secs();
            let size = session.query_one("SELECT pg_database_size(current_database())", &[]).await;
            let Ok(size) = size.and_then(|row| row.try_get::<_, i64>(0)) else { return std::future::pending().await };
            let reason = format!("{} of about {} MiB are there", size >> 20, bytes >> 20);
            let what = "the restore".to_owned();
            self.moving.operation.reporter.emit(Kind::Waiting { what, reason, seconds }).await;
        }
    }

    /// With a database beside the copy that is gone afterwards.
    pub async fn scratch<T>(&self, work: impl Future<Output = Result<T, DumpError>>) -> Result<T, MigrateError> {
        self.make(SCRATCH, "postgres").await?;
        let done = work.await;
        let session = self.session("postgres").await?;
        execute(&session, self.approved(), &format!("DROP DATABASE {SCRATCH} WITH (FORCE)")).await?;
        Ok(done?)
    }

    /// Roles and settings of the source, and of this database of the cluster.
    pub async fn both(&self, name: &str) -> Result<(Server, Server), MigrateError> {
        let failed = |reason| MigrateError::failed("compare the roles", reason);
        let database = &self.moving.looked.database;
        let source = self.moving.foreign.connect(database).await?;
        let target = self.session("postgres").await?;
        let theirs = who(&source, database).await.map_err(failed)?;
        let ours = who(&target, name).await.map_err(failed)?;
        let missing =
            || MigrateError::failed("compare the roles", format!("there is no database {name} on the leader"));
        Ok((theirs.ok_or_else(missing)?, ours.ok_or_else(missing)?))
    }

    /// Which of these roles do not have the password that they have in the source.
    pub async fn passwords(&self, of: &[String]) -> Result<Vec<String>, MigrateError> {
        let failed = |error: tokio_postgres::Error| MigrateError::failed("compare the passwords", one_line(&error));
        let source = self.moving.foreign.connect(&self.moving.looked.database).await?;
        let target = self.session("postgres").await?;
        let (theirs, ours) = futures::try_join!(verifiers(&source), verifiers(&target)).map_err(failed)?;
        let kept = |all: &[(String, Secret)], role: &str| {
            all.iter().find(|(name, _)| name == role).map(|(_, verifier)| verifier.expose().to_owned())
        };
        // before version 10 a password could be kept as it is, and is not any more
        let comparable = |verifier: &Option<String>| {
            verifier.as_ref().is_none_or(|text| text.starts_with("md5") || text.starts_with("SCRAM-SHA-256$"))
        };
        let other = |role: &&String| {
            let source = kept(&theirs, role);
            comparable(&source) && source != kept(&ours, role)
        };
        Ok(of.iter().filter(other).cloned().collect())
    }

    /// The copy is the application's database from now on, and its roles are for good. What was there before has another
    /// name, which is given back.
    pub async fn swap(&self) -> Result<Option<String>, MigrateError> {
        let session = self.session("postgres").await?;
        let name = &self.moving.gather().inventory.database.name;
        let failed = |error: tokio_postgres::Error| {
            MigrateError::failed("look for the application's database", one_line(&error))
        };
        let there = session.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name]).await.map_err(failed)?;
        let former = format!("{}_before_{}", short(name), Timestamp::now().strftime("%Y%m%d%H%M%S"));
        let mut statements = self.wanted().finally;
        if there.is_some() {
            statements.push(format!("ALTER DATABASE {} RENAME TO {}", identifier(name), identifier(&former)));
        }
        statements.push(format!("ALTER DATABASE {INCOMING} RENAME TO {}", identifier(name)));
        // one string is one transaction: all of it comes about, or nothing
        let statements = statements.join("; ");
        let ended = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ({}, '{INCOMING}')",
            literal(name)
        );
        let mut tries = 0;
        loop {
            let changed = async {
                let session = self.session("postgres").await?;
                execute(&session, self.approved(), &ended).await?;
                execute(&session, self.approved(), &statements).await
            };
            let Err(error) = changed.await else { break };
            // an answer may be lost of what was done all the same
            let left = left(self.moving.gather(), self.moving.leader).await?;
            if !left.databases.iter().any(|name| name == INCOMING) {
                break;
            }
            if tries >= TRIES {
                return Err(error);
            }
            tries += 1;
            tokio::time::sleep(PAUSE / 10).await;
        }
        Ok(there.map(|_| former))
    }

    /// What was there before goes when it is empty; otherwise it is kept, and this is its name.
    pub async fn drop_former(&self, former: Option<String>) -> Result<Option<String>, MigrateError> {
        let Some(former) = former else { return Ok(None) };
        // it was looked at before, and somebody may have been in it since
        if has_content(&self.session(&former).await?).await? {
            return Ok(Some(former));
        }
        let session = self.session("postgres").await?;
        execute(&session, self.approved(), &format!("DROP DATABASE {} WITH (FORCE)", identifier(&former))).await?;
        Ok(None)
    }

    /// How far the leader has written.
    pub async fn position(&self) -> Result<i64, MigrateError> {
        let asked = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";
        let row = self.session("postgres").await?.query_one(asked, &[]).await;
        row.and_then(|row| row.try_get(0)).map_err(|error| MigrateError::failed("ask the leader", one_line(&error)))
    }

    /// Replicas that have not replayed as far as that.
    pub async fn behind(&self, position: i64) -> Result<Vec<String>, String> {
        let asked = "SELECT application_name || ', ' || pg_size_pretty($1 - pg_wal_lsn_diff(replay_lsn, '0/0')) || ' behind'
                       FROM pg_stat_replication WHERE coalesce(pg_wal_lsn_diff(replay_lsn, '0/0') < $1, true) ORDER BY 1";
        let session = self.session("postgres").await.map_err(|error| one_line(&error))?;
        let rows =
            session.query(&asked.replace("$1", &position.to_string()), &[]).await.map_err(|error| one_line(&error))?;
        Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
    }
}

/// A name may have 63 characters, and something is added.
fn short(name: &str) -> &str {
    &name[..name.len().min(40)]
}

/// Tables, or large objects.
pub(super) async fn has_content(session: &Client) -> Result<bool, MigrateError> {
    let asked = session.query_one(CONTENT, &[]).await.and_then(|row| row.try_get(0));
    asked.map_err(|error| MigrateError::failed("look into the application's database", one_line(&error)))
}

async fn session(gather: &Gather<'_>, leader: &Host, database: &str) -> Result<Client, MigrateError> {
    let transport = gather
        .transport(&leader.name)
        .map_err(|reason| MigrateError::failed(format!("reach {}", leader.name), reason))?;
    Ok(connect(transport, &Login { database, ..server::superuser(gather, leader) }).await?)
}

/// A statement that changes something. The error names what was tried, unless that holds a password.
async fn execute(session: &Client, approved: &Approved, statement: &str) -> Result<(), MigrateError> {
    approved.still_holds().map_err(HostError::from)?;
    let what = if statement.contains("PASSWORD") { "make a role" } else { statement };
    session.batch_execute(statement).await.map_err(|error| MigrateError::failed(what, one_line(&error)))
}
