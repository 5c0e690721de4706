//! One of the two servers of a migration, where a copy is made and takes its place. What was made and is not kept can be
//! told: databases by their names, roles by their comments.

use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Client;

use super::MigrateError;
use super::look::{verifiers, who};
use crate::approval::Approved;
use crate::cluster::Gather;
use crate::cluster::postgres::foreign::Foreign;
use crate::cluster::postgres::objects::DISCREET;
use crate::cluster::postgres::{Login, connect, server};
use crate::engine::HostError;
use crate::engine::dump::DumpError;
use crate::error::one_line;
use crate::inventory::Host;
use crate::migrate::roles::{MARK, Server, Wanted};
use crate::names::HostName;
use crate::quote::{identifier, literal};
use crate::report::{Kind, Reporter};
use crate::secret::Secret;

/// Where the copy is made.
pub const INCOMING: &str = "xnat_provision_incoming";
/// Where a schema is restored to be compared.
pub const SCRATCH: &str = "xnat_provision_schema";

/// What is only tidied up waits for no replica, of which there may be none.
pub(super) const ALONE: &str = "SET synchronous_commit TO local";

/// Between two tries to rename what somebody is still in.
const PAUSE: Duration = Duration::from_millis(200);
const TRIES: u32 = 30;
/// Between two looks at how far a restore is.
const LOOK: Duration = Duration::from_secs(2);

/// What would be missed: tables, but those of extensions, and large objects.
const CONTENT: &str = "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'v', 'S', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d
                       WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
   OR EXISTS (SELECT FROM pg_largeobject_metadata)";

const MARKED: &str = "SELECT rolname::text FROM pg_authid WHERE shobj_description(oid, 'pg_authid') = $1 ORDER BY 1";

/// The cluster, by its leader, or the other one.
#[derive(Clone, Copy)]
pub(super) enum End<'a> {
    Leader(&'a Gather<'a>, &'a Host),
    Foreign(&'a Foreign<'a>),
}

/// What a migration that was cut off has left on a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    pub databases: Vec<String>,
    pub roles: Vec<String>,
    /// Members with copies of a source's files.
    pub copies: Vec<HostName>,
}

impl Left {
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.roles.is_empty() && self.copies.is_empty()
    }
}

impl End<'_> {
    /// As its superuser.
    pub async fn session(&self, database: &str) -> Result<Client, MigrateError> {
        match self {
            Self::Foreign(foreign) => Ok(foreign.connect(database).await?),
            Self::Leader(gather, leader) => {
                let transport = gather
                    .transport(&leader.name)
                    .map_err(|reason| MigrateError::failed(format!("reach {}", leader.name), reason))?;
                Ok(connect(transport, &Login { database, ..server::superuser(gather, leader) }).await?)
            }
        }
    }

    pub async fn left(&self) -> Result<Left, MigrateError> {
        let session = self.session("postgres").await?;
        let reading = async {
            let names = [INCOMING, SCRATCH];
            let found =
                session.query("SELECT datname::text FROM pg_database WHERE datname = ANY ($1)", &[&&names[..]]).await?;
            let databases = found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
            let found = session.query(MARKED, &[&MARK]).await?;
            let roles = found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
            Ok::<_, tokio_postgres::Error>(Left { databases, roles, copies: Vec::new() })
        };
        reading.await.map_err(|error| MigrateError::failed("look for what was left", one_line(&error)))
    }

    pub async fn remove(&self, approved: &Approved) -> Result<(), MigrateError> {
        let left = self.left().await?;
        self.unsubscribe(approved).await?;
        let session = self.session("postgres").await?;
        execute(&session, approved, ALONE).await?;
        for database in &left.databases {
            let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(database));
            execute(&session, approved, &drop).await?;
        }
        for role in &left.roles {
            execute(&session, approved, &format!("DROP ROLE IF EXISTS {}", identifier(role))).await?;
        }
        Ok(())
    }

    /// Those of the other side that this one does not have.
    pub async fn make_roles(&self, approved: &Approved, wanted: &Wanted) -> Result<(), MigrateError> {
        let session = self.session("postgres").await?;
        execute(&session, approved, DISCREET).await?;
        for role in &wanted.roles {
            execute(&session, approved, role.expose()).await?;
        }
        self.all(&session, approved, &wanted.memberships).await
    }

    /// What goes with the copy wherever it goes.
    pub async fn set(&self, approved: &Approved, wanted: &Wanted) -> Result<(), MigrateError> {
        self.all(&self.session("postgres").await?, approved, &wanted.settings).await
    }

    async fn all(&self, session: &Client, approved: &Approved, statements: &[String]) -> Result<(), MigrateError> {
        for statement in statements {
            execute(session, approved, statement).await?;
        }
        Ok(())
    }

    /// The copy has the name from now on, and what comes last is done. What had it before has another one, which is given
    /// back.
    pub async fn swap(
        &self,
        approved: &Approved,
        name: &str,
        mut statements: Vec<String>,
    ) -> Result<Option<String>, MigrateError> {
        let session = self.session("postgres").await?;
        let failed = |error: tokio_postgres::Error| {
            MigrateError::failed(format!("look for the database {name}"), one_line(&error))
        };
        let there = session.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name]).await.map_err(failed)?;
        let former = format!("{}{}", before(name), Timestamp::now().strftime(WHEN));
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
                execute(&session, approved, &ended).await?;
                execute(&session, approved, &statements).await
            };
            let Err(error) = changed.await else { break };
            // an answer may be lost of what was done all the same
            let left = self.left().await.map_err(|lost| MigrateError::InPlace {
                reason: format!("whether the copy has taken its place is not known: {}", one_line(&lost)),
            })?;
            if !left.databases.iter().any(|name| name == INCOMING) {
                break;
            }
            if tries >= TRIES {
                return Err(error);
            }
            tries += 1;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(there.map(|_| former))
    }

    /// What has lost the name since then, if it is still there.
    pub async fn former(&self, name: &str, since: Timestamp) -> Result<Option<String>, MigrateError> {
        let asked = "SELECT datname::text FROM pg_database
                      WHERE starts_with(datname, $1) AND substr(datname, length($1) + 1) ~ '^[0-9]{14}$'
                        AND substr(datname, length($1) + 1) >= $2
                      ORDER BY 1 DESC LIMIT 1";
        let since = since.strftime(WHEN).to_string();
        let found = self.session("postgres").await?.query_opt(asked, &[&before(name), &since]).await;
        let found = found.and_then(|row| row.map(|row| row.try_get(0)).transpose());
        found.map_err(|error| MigrateError::failed(format!("look for what {name} was before"), one_line(&error)))
    }

    /// What was there before goes when it is empty; otherwise it is kept, and this is its name.
    pub async fn drop_former(
        &self,
        approved: &Approved,
        former: Option<String>,
    ) -> Result<Option<String>, MigrateError> {
        let Some(former) = former else { return Ok(None) };
        // it was looked at before, and somebody may have been in it since
        if has_content(&self.session(&former).await?).await? {
            return Ok(Some(former));
        }
        let session = self.session("postgres").await?;
        execute(&session, approved, &format!("DROP DATABASE {} WITH (FORCE)", identifier(&former))).await?;
        Ok(None)
    }

    /// A restore into the copy here, and from time to time how far it is.
    pub async fn watched<T>(
        &self,
        (bytes, reporter): (u64, &Reporter),
        work: impl Future<Output = Result<T, DumpError>>,
    ) -> Result<T, MigrateError> {
        tokio::select! {
            biased;
            done = work => Ok(done?),
            never = self.tell(bytes, reporter) => match never {},
        }
    }

    async fn tell(&self, bytes: u64, reporter: &Reporter) -> Infallible {
        // who cannot see how far it is waits all the same: its own end says whether it went well
        let Ok(session) = self.session(INCOMING).await else { return std::future::pending().await };
        let mut seconds = 0;
        loop {
            tokio::time::sleep(LOOK).await;
            seconds += LOOK.as_secs();
            let size = session.query_one("SELECT pg_database_size(current_database())", &[]).await;
            let Ok(size) = size.and_then(|row| row.try_get::<_, i64>(0)) else { return std::future::pending().await };
            let reason = format!("{} of about {} MiB are there", size >> 20, bytes >> 20);
            reporter.emit(Kind::Waiting { what: "the restore".to_owned(), reason, seconds }).await;
        }
    }
}

/// Roles and settings of both servers, each with one of its databases.
pub(super) async fn both(
    (source, database): (End<'_>, &str),
    (target, name): (End<'_>, &str),
) -> Result<(Server, Server), MigrateError> {
    let failed = |reason| MigrateError::failed("compare the roles", reason);
    let (source, target) = (source.session(database).await?, target.session(name).await?);
    let missing = |name: &str| MigrateError::failed("compare the roles", format!("there is no database {name}"));
    let theirs = who(&source, database).await.map_err(failed)?.ok_or_else(|| missing(database))?;
    let ours = who(&target, name).await.map_err(failed)?.ok_or_else(|| missing(name))?;
    Ok((theirs, ours))
}

/// Which of these roles do not have the password in the target that they have in the source.
pub(super) async fn other_passwords(
    (source, database): (End<'_>, &str),
    target: End<'_>,
    of: &[String],
) -> Result<Vec<String>, MigrateError> {
    let failed = |error: tokio_postgres::Error| MigrateError::failed("compare the passwords", one_line(&error));
    let (source, target) = (source.session(database).await?, target.session("postgres").await?);
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

const WHEN: &str = "%Y%m%d%H%M%S";

/// How what had a name before is called, but for the time. A name may have 63 characters, and something is added.
fn before(name: &str) -> String {
    format!("{}_before_", &name[..name.len().min(40)])
}

/// Tables, or large objects.
pub(super) async fn has_content(session: &Client) -> Result<bool, MigrateError> {
    let asked = session.query_one(CONTENT, &[]).await.and_then(|row| row.try_get(0));
    asked.map_err(|error| MigrateError::failed("look into the database", one_line(&error)))
}

/// A statement that changes something. The error names what was tried, unless that holds a password.
pub(super) async fn execute(session: &Client, approved: &Approved, statement: &str) -> Result<(), MigrateError> {
    approved.still_holds().map_err(HostError::from)?;
    let what = if statement.contains("PASSWORD") { "make a role" } else { statement };
    session.batch_execute(statement).await.map_err(|error| MigrateError::failed(what, one_line(&error)))
}
