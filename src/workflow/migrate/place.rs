//! The leader's side of a move: the database the copy is made in, the roles it needs, its taking the place of the
//! application's, and how far the replicas are.

use jiff::Timestamp;
use tokio_postgres::Client;

use super::end::{ALONE, End, INCOMING, SCRATCH, execute};
use super::{Left, MigrateError, Moving};
use crate::approval::Approved;
use crate::cluster::Gather;
use crate::cluster::postgres::administrator;
use crate::cluster::postgres::objects::{Database, DatabaseChange};
use crate::engine::dump::{DumpError, Workshop};
use crate::engine::{Fleet, for_each_host};
use crate::error::one_line;
use crate::inventory::{Component, Host};
use crate::migrate::roles::{self, MOVED_IN};
use crate::names::HostName;
use crate::quote::{identifier, literal};

pub(super) struct Place<'a> {
    pub moving: &'a Moving<'a>,
}

/// Look for what a migration that was cut off has left on the members.
pub async fn left(gather: &Gather<'_>, leader: &Host, fleet: &Fleet) -> Result<Left, MigrateError> {
    let mut left = End::Leader(gather, leader).left().await?;
    for host in gather.inventory.with(Component::Postgres).map(|host| &host.name) {
        if fleet.connections.contains_key(host) && fleet.has_copies(host).await? {
            left.copies.push(host.clone());
        }
    }
    Ok(left)
}

/// Remove it, with what programs on the leader have left. Data of the cluster's that was set aside before is where this says.
pub(super) async fn clean(
    gather: &Gather<'_>,
    leader: &Host,
    done: (&Fleet, &Approved),
) -> Result<Option<String>, MigrateError> {
    cleaned((gather, leader), done, false).await
}

/// The same when the move is over: a member that was away while copies took the place of the data cannot have its former data
/// any more.
pub async fn clean_up_after(
    gather: &Gather<'_>,
    leader: &Host,
    done: (&Fleet, &Approved),
) -> Result<Option<String>, MigrateError> {
    cleaned((gather, leader), done, true).await
}

async fn cleaned(
    (gather, leader): (&Gather<'_>, &Host),
    (fleet, approved): (&Fleet, &Approved),
    move_is_over: bool,
) -> Result<Option<String>, MigrateError> {
    // who led when it was cut off may follow now
    let members: Vec<HostName> = gather.inventory.with(Component::Postgres).map(|host| host.name.clone()).collect();
    let reached: Vec<HostName> = members.into_iter().filter(|host| fleet.connections.contains_key(host)).collect();
    let parallel = reached.len();
    let port = gather.inventory.postgresql.port;
    let clean = async |host: HostName| {
        // one does not keep the other from being done
        let copies = fleet.remove_copies(&host, (move_is_over, approved)).await;
        Workshop { fleet, approved, leader: &host, major: 0, port, jobs: 1 }.clean().await?;
        Ok::<Option<String>, MigrateError>(copies?)
    };
    let cleaned = for_each_host(reached, parallel, clean).await.into_values();
    // nor does one member keep the leader from being done
    End::Leader(gather, leader).remove(approved).await?;
    let set_aside: Vec<Option<String>> = cleaned.collect::<Result<_, _>>()?;
    Ok(set_aside.into_iter().flatten().next())
}

/// The mark of the application's database, when it was moved in.
pub async fn moved_in(gather: &Gather<'_>, leader: &Host) -> Result<Option<String>, MigrateError> {
    let asked = "SELECT substr(one, length($2) + 2)
                   FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) one
                  WHERE s.setrole = 0 AND d.datname = $1 AND starts_with(one, $2 || '=')";
    let session = End::Leader(gather, leader).session("postgres").await?;
    let found = session.query_opt(asked, &[&gather.inventory.database.name, &MOVED_IN]).await;
    let mark = found.and_then(|row| row.map(|row| row.try_get(0)).transpose());
    mark.map_err(|error| MigrateError::failed("see whether the database was moved in", one_line(&error)))
}

/// The source goes on, so it is no longer one that was moved in.
pub async fn unmark(gather: &Gather<'_>, leader: &Host, approved: &Approved) -> Result<(), MigrateError> {
    let session = End::Leader(gather, leader).session("postgres").await?;
    let name = identifier(&gather.inventory.database.name);
    execute(&session, approved, ALONE).await?;
    execute(&session, approved, &format!("ALTER DATABASE {name} RESET {MOVED_IN}")).await
}

/// An empty database, as the inventory has the application's.
async fn make(
    (gather, leader): (&Gather<'_>, &Host),
    approved: &Approved,
    (name, owner): (&str, &str),
) -> Result<(), MigrateError> {
    let failed = |reason| MigrateError::failed(format!("make the database {name}"), reason);
    let administrator = administrator(gather, leader).map_err(failed)?;
    for change in made(gather, (name, owner)) {
        administrator.perform(approved, &change).await?;
    }
    Ok(())
}

/// What makes one.
pub(super) fn made(gather: &Gather<'_>, (name, owner): (&str, &str)) -> [DatabaseChange; 2] {
    let like = &gather.inventory.database;
    let database = Database {
        name: name.to_owned(),
        owner: owner.to_owned(),
        encoding: like.encoding.clone(),
        locale: like.locale.clone(),
        extensions: Vec::new(),
    };
    [DatabaseChange::CreateDatabase(database), DatabaseChange::RevokeConnect { database: name.to_owned() }]
}

/// With a database on the leader that is gone afterwards.
pub(super) async fn scratch<T>(
    (gather, leader): (&Gather<'_>, &Host),
    approved: &Approved,
    work: impl Future<Output = Result<T, DumpError>>,
) -> Result<T, MigrateError> {
    make((gather, leader), approved, (SCRATCH, "postgres")).await?;
    let done = work.await;
    let session = End::Leader(gather, leader).session("postgres").await?;
    execute(&session, approved, ALONE).await?;
    execute(&session, approved, &format!("DROP DATABASE {SCRATCH} WITH (FORCE)")).await?;
    Ok(done?)
}

impl Place<'_> {
    fn approved(&self) -> &Approved {
        self.moving.operation.approved
    }

    pub fn end(&self) -> End<'_> {
        self.moving.cluster()
    }

    async fn session(&self, database: &str) -> Result<Client, MigrateError> {
        self.end().session(database).await
    }

    /// Nothing of an earlier one, or of this one, is there any more.
    pub async fn clean(&self) -> Result<(), MigrateError> {
        let operation = self.moving.operation;
        clean(self.moving.gather(), self.moving.leader, (operation.fleet, self.approved())).await.map(drop)
    }

    pub async fn create(&self) -> Result<(), MigrateError> {
        let (gather, leader) = (self.moving.gather(), self.moving.leader);
        make((gather, leader), self.approved(), (INCOMING, &gather.inventory.database.owner)).await
    }

    fn wanted(&self) -> roles::Wanted {
        let looked = self.moving.looked;
        roles::wanted((&looked.theirs, &looked.ours), (INCOMING, &looked.verifiers), looked.target.version_num)
    }

    pub async fn roles(&self) -> Result<(), MigrateError> {
        self.end().make_roles(self.approved(), &self.wanted()).await
    }

    pub async fn settings(&self) -> Result<(), MigrateError> {
        self.end().set(self.approved(), &self.wanted()).await
    }

    pub async fn scratch<T>(&self, work: impl Future<Output = Result<T, DumpError>>) -> Result<T, MigrateError> {
        scratch((self.moving.gather(), self.moving.leader), self.approved(), work).await
    }

    /// The copy is the application's database from now on, and its roles are for good. What was there before has another
    /// name, which is given back.
    pub async fn swap(&self) -> Result<Option<String>, MigrateError> {
        let name = &self.moving.gather().inventory.database.name;
        let mut statements = self.wanted().finally;
        let mark = literal(&self.moving.mark);
        statements.push(format!("ALTER DATABASE {INCOMING} SET {MOVED_IN} TO {mark}"));
        self.end().swap(self.approved(), name, statements).await
    }

    pub async fn former(&self, since: Timestamp) -> Result<Option<String>, MigrateError> {
        self.end().former(&self.moving.gather().inventory.database.name, since).await
    }

    pub async fn drop_former(&self, former: Option<String>) -> Result<Option<String>, MigrateError> {
        self.end().drop_former(self.approved(), former).await
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
