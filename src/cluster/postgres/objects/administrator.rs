//! Looks at the roles and the database as superuser, and performs changes. Knows nothing of what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::{Attributes, Database, DatabaseChange, DatabaseState, Objects, RoleState, SchemaState, State};
use crate::approval::Approved;
use crate::cluster::postgres::settings::{Settings, settings};
use crate::cluster::postgres::{DEADLINE, Login, SUPERUSER, SqlError, connect, within};
use crate::secret::Secret;
use crate::transport::Transport;

/// A superuser on the leader.
pub struct Administrator<'a> {
    pub transport: &'a dyn Transport,
    /// To the database `postgres`.
    pub login: Login<'a>,
}

/// Extensions and schema of the application's database.
type Contents = (BTreeSet<String>, Option<SchemaState>);

/// CREATE DATABASE makes a checkpoint, and an extension may run a long script.
const CHANGE_DEADLINE: Duration = Duration::from_secs(60);

/// Keeps what is sent out of the server's log and pg_stat_statements (as Patroni does for the same statements), and
/// does not wait for a synchronous standby that may not be there yet.
pub const DISCREET: &str = "SET log_statement TO 'none'; SET log_min_duration_statement TO -1;
SET log_min_error_statement TO 'panic'; SET pg_stat_statements.track_utility TO 'off'; SET pgaudit.log TO 'none';
SET synchronous_commit TO 'local'";

const ROLES: &str = "SELECT rolname, rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls,
       rolpassword,
       array(SELECT f FROM unnest($2::text[]) f WHERE has_function_privilege(pg_authid.oid, f, 'EXECUTE'))
  FROM pg_authid WHERE rolname = ANY($1::text[])";

const STREAMING: &str =
    "SELECT application_name FROM pg_stat_replication WHERE usename = $1 AND state = 'streaming' ORDER BY 1";

const CREATE_SLOT: &str = "SELECT pg_create_physical_replication_slot($1::text::name, true)";

const DATABASE: &str = "SELECT pg_get_userbyid(datdba)::text, pg_encoding_to_char(encoding)::text, datcollate::text,
       datctype::text,
       EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) a
                WHERE a.grantee = 0 AND a.privilege_type = 'CONNECT')
  FROM pg_database WHERE datname = $1";

const SCHEMA: &str = "SELECT coalesce((SELECT has_schema_privilege(r.oid, n.oid, 'CREATE')
                   FROM pg_roles r WHERE r.rolname = $1), false),
       EXISTS (SELECT FROM aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a
                WHERE a.grantee = 0 AND a.privilege_type = 'CREATE')
  FROM pg_namespace n WHERE nspname = 'public'";

impl Administrator<'_> {
    /// What there is of what is wanted.
    pub async fn observe(&self, desired: &Objects) -> Result<State, SqlError> {
        Ok(self.look(desired).await?.0)
    }

    /// The same and the server's parameters, in two sessions at once. Neither waits for the other, so a host that allows
    /// one at a time is enough.
    pub async fn look(&self, desired: &Objects) -> Result<(State, Settings), SqlError> {
        let ((mut state, settings), inside) = futures::try_join!(self.outside(desired), self.inside(desired))?;
        if let (Some(database), Some((extensions, schema))) = (&mut state.database, inside) {
            (database.extensions, database.schema) = (extensions, schema);
        }
        Ok((state, settings))
    }

    async fn outside(&self, desired: &Objects) -> Result<(State, Settings), SqlError> {
        let client = connect(self.transport, &self.login).await?;
        let reading = async {
            let (superuser, roles, database, settings) = futures::try_join!(
                superuser(&client),
                roles(&client, desired),
                database(&client, &desired.database.name),
                settings(&client)
            )?;
            Ok((State { superuser, roles, database }, settings))
        };
        within(DEADLINE, &self.login.place(), "read roles, databases and parameters", reading).await
    }

    /// None while there is no such database.
    async fn inside(&self, desired: &Objects) -> Result<Option<Contents>, SqlError> {
        let Database { name, owner, .. } = &desired.database;
        let client = match connect(self.transport, &Login { database: name, ..self.login.clone() }).await {
            Ok(client) => client,
            Err(error) if error.is_no_database() => return Ok(None),
            Err(error) => return Err(error),
        };
        let reading = contents(&client, owner);
        within(DEADLINE, &self.login.place(), "read the application's database", reading).await.map(Some)
    }

    /// The standbys that stream from here as this role.
    pub async fn streaming_as(&self, role: &str) -> Result<Vec<String>, SqlError> {
        let client = connect(self.transport, &self.login).await?;
        let reading = async {
            let rows = client.query(STREAMING, &[&role]).await?;
            rows.iter().map(|row| row.try_get(0)).collect()
        };
        within(DEADLINE, &self.login.place(), "read who streams", reading).await
    }

    /// A replication slot that keeps WAL from now on, unless it is there.
    pub async fn create_slot(&self, approved: &Approved, name: &str) -> Result<(), SqlError> {
        approved.still_holds()?;
        let client = connect(self.transport, &self.login).await?;
        let making = async {
            match client.query(CREATE_SLOT, &[&name]).await {
                Err(error) if error.code() == Some(&SqlState::DUPLICATE_OBJECT) => Ok(()),
                made => made.map(drop),
            }
        };
        within(DEADLINE, &self.login.place(), &format!("create the replication slot {name}"), making).await
    }

    /// Make one change.
    pub async fn perform(&self, approved: &Approved, change: &DatabaseChange) -> Result<(), SqlError> {
        approved.still_holds()?;
        let client = connect(self.transport, &Login { database: change.database(), ..self.login.clone() }).await?;
        within(CHANGE_DEADLINE, &self.login.place(), &change.to_string(), async {
            client.batch_execute(DISCREET).await?;
            for statement in change.statements() {
                client.batch_execute(statement.expose()).await?;
            }
            Ok(())
        })
        .await
    }
}

async fn roles(client: &Client, desired: &Objects) -> Result<BTreeMap<String, RoleState>, Error> {
    let wanted = desired.roles.iter().map(|r| r.name.as_str());
    let names: Vec<&str> = wanted.chain(desired.departed.iter().copied()).collect();
    let functions: Vec<&str> = desired.roles.iter().flat_map(|r| &r.functions).map(String::as_str).collect();
    let rows = client.query_typed(ROLES, &[(&names, Type::TEXT_ARRAY), (&functions, Type::TEXT_ARRAY)]).await?;
    rows.iter()
        .map(|row| {
            let attributes = Attributes {
                login: row.try_get(1)?,
                superuser: row.try_get(2)?,
                create_db: row.try_get(3)?,
                create_role: row.try_get(4)?,
                replication: row.try_get(5)?,
                bypass_rls: row.try_get(6)?,
            };
            let verifier = row.try_get::<_, Option<String>>(7)?.map(Secret::new);
            let functions = row.try_get::<_, Vec<String>>(8)?.into_iter().collect();
            Ok((row.try_get(0)?, RoleState { attributes, verifier, functions }))
        })
        .collect()
}

async fn database(client: &Client, name: &str) -> Result<Option<DatabaseState>, Error> {
    let Some(row) = client.query_typed_opt(DATABASE, &[(&name, Type::TEXT)]).await? else { return Ok(None) };
    Ok(Some(DatabaseState {
        owner: row.try_get(0)?,
        encoding: row.try_get(1)?,
        collate: row.try_get(2)?,
        ctype: row.try_get(3)?,
        public_connect: row.try_get(4)?,
        extensions: BTreeSet::new(),
        schema: None,
    }))
}

async fn superuser(client: &Client) -> Result<Option<Secret>, Error> {
    let password = "SELECT rolpassword FROM pg_authid WHERE rolname = $1";
    let row = client.query_typed_one(password, &[(&SUPERUSER, Type::TEXT)]).await?;
    Ok(row.try_get::<_, Option<String>>(0)?.map(Secret::new))
}

async fn contents(client: &Client, owner: &str) -> Result<Contents, Error> {
    let owner: [(&(dyn ToSql + Sync), Type); 1] = [(&owner, Type::TEXT)];
    let (extensions, schema) = futures::try_join!(
        client.query_typed("SELECT extname::text FROM pg_extension", &[]),
        client.query_typed_opt(SCHEMA, &owner),
    )?;
    let extensions = extensions.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let schema = match schema {
        Some(row) => Some(SchemaState { owner_creates: row.try_get(0)?, public_creates: row.try_get(1)? }),
        None => None,
    };
    Ok((extensions, schema))
}
