//! What the promoted copy of the leader is made: the cluster's, with its roles, under the name the inventory has; and what a
//! standby does not have of its server.

use serde_json::json;
use tokio_postgres::Error;

use super::MigrateError;
use super::between::{Between, READ, WRITE};
use super::end::execute;
use super::follow::titles;
use super::stream::Streaming;
use crate::cluster::postgres::SUPERUSER;
use crate::cluster::postgres::objects::{Attributes, DatabaseChange, State, desired, diff_members};
use crate::error::one_line;
use crate::migrate::fingerprint::SEQUENCES;
use crate::migrate::roles::MOVED_IN;
use crate::quote::{identifier, literal};

/// So many sequences are asked for at once.
const AT_ONCE: usize = 200;
/// Tables, or sequences, that are in no WAL.
const UNLOGGED: &str =
    "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = '{kind}' AND c.relpersistence = 'u' AND n.nspname !~ '^pg_' ORDER BY 1, 2";

impl Streaming<'_> {
    /// What the promoted copy is told, as lines of JSON.
    pub(super) async fn changes(&self) -> Result<Vec<String>, MigrateError> {
        let (inventory, looked) = (self.moving.gather().inventory, self.moving.looked);
        let wanted = desired(inventory, self.moving.secrets);
        let everything = Attributes {
            login: true,
            superuser: true,
            create_db: true,
            create_role: true,
            replication: true,
            bypass_rls: true,
        };
        let role = SUPERUSER.to_owned();
        let mut statements = Vec::new();
        if !looked.source.roles.all.iter().any(|role| role.name == SUPERUSER) {
            statements.push(format!("CREATE ROLE {SUPERUSER}"));
        }
        let superuser = [
            DatabaseChange::SetAttributes { role: role.clone(), attributes: everything },
            DatabaseChange::SetPassword { role, password: wanted.superuser.clone() },
        ];
        // nobody has these roles yet
        for change in superuser.into_iter().chain(diff_members(&wanted, &State::default())) {
            statements.extend(change.statements().iter().map(|sql| sql.expose().to_owned()));
        }
        let (theirs, ours) = (&looked.database, &inventory.database.name);
        statements.push(format!("ALTER DATABASE {} RESET default_transaction_read_only", identifier(theirs)));
        statements.push(format!(
            "ALTER DATABASE {} SET {MOVED_IN} TO {}",
            identifier(theirs),
            literal(&self.moving.mark)
        ));
        let of = |database: &str, sql: String| json!({ "database": database, "sql": sql }).to_string();
        // before it has another name
        let mut lines = vec![of(theirs, self.sequences().await?)];
        if theirs != ours {
            statements.push(format!("ALTER DATABASE {} RENAME TO {}", identifier(theirs), identifier(ours)));
        }
        lines.extend(statements.into_iter().map(|sql| of(SUPERUSER, sql)));
        Ok(lines)
    }

    /// Where they stand. WAL has them some numbers ahead.
    async fn sequences(&self) -> Result<String, MigrateError> {
        let failed = |error: Error| MigrateError::failed("read the source's sequences", one_line(&error));
        let session = self.moving.foreign.connect(&self.moving.looked.database).await?;
        let all = titles(&session, SEQUENCES, &[]).await.map_err(failed)?;
        let mut sql = String::new();
        for some in all.chunks(AT_ONCE) {
            let asked: Vec<String> = some
                .iter()
                .map(|title| format!("SELECT {}::text, last_value, is_called FROM {title}", literal(title)))
                .collect();
            for row in session.query(&asked.join(" UNION ALL "), &[]).await.map_err(failed)? {
                let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
                let (title, value, called): (String, i64, bool) = read().map_err(failed)?;
                let title = literal(&title);
                sql.push_str(&format!("SELECT pg_catalog.setval({title}::pg_catalog.regclass, {value}, {called});\n"));
            }
        }
        Ok(sql)
    }

    /// What is in no WAL, and empty in a copy that was a standby at its start.
    pub(super) async fn copy_the_rest(&self) -> Result<(), MigrateError> {
        let (looked, moving) = (self.moving.looked, self.moving);
        let failed = |error: Error| MigrateError::failed("copy what standbys do not have", one_line(&error));
        let from = (moving.foreign.connect(&looked.database).await?, looked.source.server.version_num);
        let into = moving.cluster().session(&moving.gather().inventory.database.name).await?;
        let into = (into, looked.target.version_num);
        let refused = |what: &str, reason| MigrateError::failed(what, reason);
        let between = Between::new(from, into, moving.operation.reporter, refused).await?;
        between.from.batch_execute(READ).await.map_err(failed)?;
        execute(&between.into, moving.operation.approved, WRITE).await?;
        let listed = async |kind: &str| titles(&between.from, &UNLOGGED.replace("{kind}", kind), &[]).await;
        let untouched =
            async |asked: String| -> Result<bool, Error> { between.into.query_one(&asked, &[]).await?.try_get(0) };
        // what somebody has written since stays
        for title in listed("r").await.map_err(failed)? {
            let empty = untouched(format!("SELECT NOT EXISTS (SELECT FROM {title})")).await.map_err(failed)?;
            if empty && between.mine.contains_key(&title) {
                between.table(&title).await?;
            }
        }
        for title in listed("S").await.map_err(failed)? {
            if untouched(format!("SELECT NOT is_called FROM {title}")).await.map_err(failed)? {
                between.sequence(&title).await.map_err(failed)?;
            }
        }
        execute(&between.into, moving.operation.approved, "COMMIT").await
    }
}
