//! The leader's side of it in SQL: the database the copy is made in, the roles it needs, and its taking the place of the
//! application's. What was made and is not kept can be told: the databases by their names, the roles by their comments.

use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Client;

use super::look::who;
use super::{MigrateError, Moving};
use crate::approval::Approved;
use crate::cluster::Gather;
use crate::cluster::postgres::objects::{Database, DatabaseChange};
use crate::cluster::postgres::{Login, administrator, connect, server};
use crate::engine::dump::DumpError;
use crate::engine::{Fleet, HostError};
use crate::error::one_line;
use crate::inventory::Host;
use crate::migrate::roles::{self, MARK, Server};
use crate::names::HostName;
use crate::quote::{identifier, literal};
use crate::report::Kind;

/// Where the copy is made.
pub const INCOMING: &str = "xnat_provision_incoming";
/// Where the source's schema is restored to be compared.
pub const SCRATCH: &str = "xnat_provision_schema";

/// Between two looks at how far a restore is, and two tries to rename what somebody is still in.
const PAUSE: Duration = Duration::from_secs(2);
const TRIES: u32 = 30;

/// Keeps passwords out of the server's log, and waits for no replica: there may be none yet.
const DISCREET: &str = "SET log_statement TO 'none'; SET log_min_duration_statement TO -1;
SET log_min_error_statement TO 'panic'; SET synchronous_commit TO 'local'";

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
    let major = 0;
    let port = gather.inventory.postgresql.port;
    let workshop = crate::engine::dump::Workshop { fleet, approved, leader: &leader.name, major, port, jobs: 1 };
    workshop.clean().await?;
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
        roles::wanted(&looked.theirs, &looked.ours, (INCOMING, &looked.verifiers))
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

    /// Roles and settings of the source, and of the copy.
    pub async fn both(&self) -> Result<(Server, Server), MigrateError> {
        self.both_of(INCOMING).await
    }

    pub async fn both_in_place(&self) -> Result<(Server, Server), MigrateError> {
        self.both_of(&self.moving.gather().inventory.database.name).await
    }

    async fn both_of(&self, name: &str) -> Result<(Server, Server), MigrateError> {
        let failed = |reason| MigrateError::failed("compare the roles", reason);
        let database = &self.moving.looked.database;
        let source = self.moving.foreign.connect(database).await?;
        let target = self.session("postgres").await?;
        Ok((who(&source, database).await.map_err(failed)?, who(&target, name).await.map_err(failed)?))
    }

    /// The copy is the application's database from now on. What was there before is dropped when it was empty; otherwise it
    /// is kept, and this is its name now.
    pub async fn swap(&self) -> Result<Option<String>, MigrateError> {
        let session = self.session("postgres").await?;
        let name = &self.moving.gather().inventory.database.name;
        let failed = |error: tokio_postgres::Error| {
            MigrateError::failed("look for the application's database", one_line(&error))
        };
        let there = session.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name]).await.map_err(failed)?;
        let keep = self.moving.looked.target.database_has_tables;
        let former = format!("{}_before_{}", short(name), Timestamp::now().strftime("%Y%m%d%H%M%S"));
        let mut statements = Vec::new();
        if there.is_some() {
            statements.push(format!("ALTER DATABASE {} RENAME TO {}", identifier(name), identifier(&former)));
        }
        statements.push(format!("ALTER DATABASE {INCOMING} RENAME TO {}", identifier(name)));
        // one string is one transaction: either both have their new names, or none has
        let renames = statements.join("; ");
        let ended = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ({}, '{INCOMING}')",
            literal(name)
        );
        let mut tries = 0;
        loop {
            execute(&session, self.approved(), &ended).await?;
            match execute(&session, self.approved(), &renames).await {
                Ok(()) => break,
                Err(error) if tries >= TRIES => return Err(error),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(PAUSE / 10).await;
        }
        for statement in self.wanted().finally {
            execute(&session, self.approved(), &statement).await?;
        }
        if there.is_some() && !keep {
            execute(&session, self.approved(), &format!("DROP DATABASE {} WITH (FORCE)", identifier(&former))).await?;
        }
        Ok((there.is_some() && keep).then_some(former))
    }
}

/// A name may have 63 characters, and something is added.
fn short(name: &str) -> &str {
    &name[..name.len().min(40)]
}

async fn session(gather: &Gather<'_>, leader: &Host, database: &str) -> Result<Client, MigrateError> {
    let transport = gather
        .transport(&leader.name)
        .map_err(|reason| MigrateError::failed(format!("reach {}", HostName::as_str(&leader.name)), reason))?;
    Ok(connect(transport, &Login { database, ..server::superuser(gather, leader) }).await?)
}

/// A statement that changes something. The error names what was tried, unless that holds a password.
async fn execute(session: &Client, approved: &Approved, statement: &str) -> Result<(), MigrateError> {
    approved.still_holds().map_err(HostError::from)?;
    let what = if statement.contains("PASSWORD") { "make a role" } else { statement };
    session.batch_execute(statement).await.map_err(|error| MigrateError::failed(what, one_line(&error)))
}
