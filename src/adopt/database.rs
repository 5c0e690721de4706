//! Which of a server's databases is the application's.

use super::draft::Table;
use super::hosts::Hosts;
use super::patroni::Database;
use super::{AdoptError, Difference};
use crate::inventory::{self, Inventory};

/// The one that is wanted, or the largest that no superuser owns. None where there is none.
pub(super) fn choose<'a>(
    hosts: &'a Hosts,
    wanted: Option<&str>,
    differences: &mut Vec<Difference>,
) -> Result<Option<&'a Database>, AdoptError> {
    let Some(server) = hosts.server() else {
        return match wanted {
            None => Ok(None),
            Some(wanted) => Err(missing(wanted, "no PostgreSQL could be asked")),
        };
    };
    let mut all: Vec<&Database> = server.databases.iter().filter(|one| one.name != "postgres").collect();
    let known = all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(wanted) = wanted {
        let found = all.into_iter().find(|one| one.name == wanted);
        return found.map(Some).ok_or_else(|| missing(wanted, &format!("its databases are {known}")));
    }
    all.sort_by_key(|one| (one.superuser, std::cmp::Reverse(one.size)));
    let chosen = all.first().filter(|one| !one.superuser).copied();
    let others: Vec<String> = all
        .iter()
        .filter(|one| chosen.is_none_or(|chosen| chosen.name != one.name))
        .map(|one| format!("{} of {}", one.name, one.owner))
        .collect();
    if !others.is_empty() {
        let how = "`--database NAME` takes another one";
        let what = format!("there are other databases, which are left as they are ({how}): {}", others.join(", "));
        differences.push(Difference::of_all(what));
    }
    if chosen.is_none() {
        differences.push(Difference::of_all("it has no database that an application owns; `apply` would make one"));
    }
    Ok(chosen)
}

fn missing(wanted: &str, known: &str) -> AdoptError {
    AdoptError::NoDatabase { wanted: wanted.to_owned(), known: known.to_owned() }
}

pub(super) fn table(database: &Database, defaults: &Inventory, differences: &mut Vec<Difference>) -> Table {
    let inventory::Database { name, owner, encoding, locale, .. } = &defaults.database;
    let mut table = Table::default();
    table.differing("name", Some(database.name.clone()), name.clone());
    table.differing("owner", Some(database.owner.clone()), owner.clone());
    table.differing("encoding", Some(database.encoding.clone()), encoding.clone());
    table.differing("locale", Some(database.collate.clone()), locale.clone());
    table.list("extensions", &database.extensions);
    if database.collate != database.ctype {
        let what = format!(
            "the database {} sorts as {} and has the characters of {}; here one locale says both",
            database.name, database.collate, database.ctype
        );
        differences.push(Difference::of_all(what));
    }
    if let Some(provider) = database.provider.as_deref().filter(|provider| *provider != "c") {
        let whose = if provider == "i" { "ICU" } else { "PostgreSQL itself" };
        differences.push(Difference::of_all(format!("the order of texts in {} is that of {whose}", database.name)));
    }
    table
}
