//! What the cluster's own roles have beyond their need. `objects` puts attributes back; a membership somebody may have
//! given on purpose, so it is told with the way to end it, and left.

use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use super::identifier;
use super::objects::Warning;
use crate::names::HostName;
use crate::quote;
use crate::vault::rotation::{REPLICATOR, REWINDER};

/// A role that can do more than it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excess {
    pub role: String,
    /// `SUPERUSER`
    pub attributes: Vec<String>,
    /// Roles whose rights it has, or can take.
    pub member_of: Vec<String>,
}

/// Several may have granted the same membership.
const EXCESS: &str = "SELECT rolname::text,
       array_remove(ARRAY[CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
                          CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END,
                          CASE WHEN rolreplication AND rolname <> ALL ($2::text[]) THEN 'REPLICATION' END], NULL),
       array(SELECT DISTINCT pg_get_userbyid(roleid)::text FROM pg_auth_members WHERE member = r.oid ORDER BY 1)
  FROM pg_roles r WHERE rolname = ANY ($1::text[]) ORDER BY 1";

/// Look at the members' roles and the application's.
pub async fn excess(client: &Client, application: &str) -> Result<Vec<Excess>, Error> {
    let replicators = [REPLICATOR.real, REPLICATOR.second];
    let names = [REPLICATOR.real, REPLICATOR.second, REWINDER.real, REWINDER.second, application];
    let rows = client
        .query_typed(EXCESS, &[(&names.as_slice(), Type::TEXT_ARRAY), (&replicators.as_slice(), Type::TEXT_ARRAY)])
        .await?;
    let all = rows
        .iter()
        .map(|row| Ok(Excess { role: row.try_get(0)?, attributes: row.try_get(1)?, member_of: row.try_get(2)? }));
    let all = all.collect::<Result<Vec<Excess>, Error>>()?;
    Ok(all.into_iter().filter(|one| !one.attributes.is_empty() || !one.member_of.is_empty()).collect())
}

impl Excess {
    /// What nobody but a person can judge; `leader` is where it can be ended.
    pub fn membership(&self, leader: &HostName) -> Option<Warning> {
        if self.member_of.is_empty() {
            return None;
        }
        let granted: Vec<String> = self.member_of.iter().map(|role| identifier(role)).collect();
        let revoke = format!("REVOKE {} FROM {}", granted.join(", "), identifier(&self.role));
        let command = format!("sudo -u postgres psql -c {}", quote::sh(&revoke));
        Some(Warning {
            text: format!("role {} is a member of {}, which it does not need", self.role, self.member_of.join(", ")),
            help: format!("end it on {leader}: `{command}`"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_is_told_with_the_statement_that_ends_it() {
        let member_of = vec!["pg_read_all_data".to_owned(), "o'x\"y".to_owned()];
        let excess = Excess { role: "replicator".to_owned(), attributes: Vec::new(), member_of };
        let warning = excess.membership(&HostName::new("db1")).expect("it is a member");
        assert_eq!(warning.text, "role replicator is a member of pg_read_all_data, o'x\"y, which it does not need");
        insta::assert_snapshot!(warning.help, @r#"end it on db1: `sudo -u postgres psql -c 'REVOKE "pg_read_all_data", "o'\''x""y" FROM "replicator"'`"#);
        assert_eq!(Excess { member_of: Vec::new(), ..excess }.membership(&HostName::new("db1")), None);
    }
}
