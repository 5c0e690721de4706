//! Roles, database, grants and extensions: what the inventory wants (pure), how a server differs from it (pure), and
//! the SQL that would change it (pure). `administrator` looks and performs. Nothing is ever dropped but the two logins that
//! bridge a change of passwords.
//!
//! Patroni itself makes `replicator` and `rewind` with the same attributes and grants when it bootstraps the first
//! member (patroni/postgresql/bootstrap.py, `post_bootstrap`), so after a bootstrap nothing is left to do for them;
//! they are compared all the same, so that a changed password or a lost grant is repaired.

mod administrator;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{SUPERUSER, identifier, literal, scram};
use crate::inventory::Inventory;
use crate::secret::Secret;
use crate::vault::Secrets;
use crate::vault::rotation::{self, Bridged};

pub use administrator::{Administrator, DISCREET};

/// Streams WAL to the replicas.
pub const REPLICATOR: &str = rotation::REPLICATOR.real;
/// Reads files for pg_rewind.
pub const REWIND: &str = rotation::REWINDER.real;

/// What pg_rewind needs when it is not a superuser (PostgreSQL's documentation of pg_rewind).
const REWIND_FUNCTIONS: [&str; 4] = [
    "pg_catalog.pg_ls_dir(text, boolean, boolean)",
    "pg_catalog.pg_stat_file(text, boolean)",
    "pg_catalog.pg_read_binary_file(text)",
    "pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)",
];

/// Everything wanted inside PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objects {
    /// The superuser's password. It is Patroni that sets it first; it also tells whose cluster this is.
    pub superuser: Secret,
    /// What it was, while it is being changed.
    pub former_superuser: Option<Secret>,
    pub roles: Vec<Role>,
    /// Logins that bridged a change of passwords and are wanted no longer.
    pub departed: Vec<&'static str>,
    pub database: Database,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub attributes: Attributes,
    pub password: Secret,
    /// Functions it may execute.
    pub functions: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    pub login: bool,
    pub superuser: bool,
    pub create_db: bool,
    pub create_role: bool,
    pub replication: bool,
    pub bypass_rls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    pub name: String,
    pub owner: String,
    pub encoding: String,
    pub locale: String,
    pub extensions: Vec<String>,
}

/// What was found on a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// What the server stores instead of the superuser's password.
    pub superuser: Option<Secret>,
    pub roles: BTreeMap<String, RoleState>,
    pub database: Option<DatabaseState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleState {
    pub attributes: Attributes,
    /// What the server stores instead of the password.
    pub verifier: Option<Secret>,
    pub functions: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseState {
    pub owner: String,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// Anybody who can log in may connect, which is PostgreSQL's default.
    pub public_connect: bool,
    pub extensions: BTreeSet<String>,
    /// None when somebody dropped the schema `public`.
    pub schema: Option<SchemaState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaState {
    pub owner_creates: bool,
    /// Anybody may create tables in it, the default until PostgreSQL 14.
    pub public_creates: bool,
}

/// What the inventory wants.
pub fn desired(inventory: &Inventory, secrets: &Secrets) -> Objects {
    let database = &inventory.database;
    let login = Attributes { login: true, ..Attributes::default() };
    let role = |name: &str, password: &Secret| Role {
        name: name.to_owned(),
        attributes: login.clone(),
        password: password.clone(),
        functions: BTreeSet::new(),
    };
    let replicator = |name: &str, password: &Secret| {
        let mut replicator = role(name, password);
        replicator.attributes.replication = true;
        replicator
    };
    let rewind = |name: &str, password: &Secret| {
        let functions = REWIND_FUNCTIONS.map(String::from).into();
        Role { functions, ..role(name, password) }
    };
    let mut roles = vec![replicator(REPLICATOR, &secrets.replication), rewind(REWIND, &secrets.rewind)];
    let second = |of: Bridged| of.bridge(secrets);
    roles.extend(second(rotation::REPLICATOR).map(|login| replicator(login.user, login.password)));
    roles.extend(second(rotation::REWINDER).map(|login| rewind(login.user, login.password)));
    roles.push(role(&database.owner, &secrets.application));
    let mut departed = vec![rotation::REPLICATOR.second, rotation::REWINDER.second];
    departed.retain(|name| roles.iter().all(|role| role.name != *name));
    Objects {
        superuser: secrets.superuser.clone(),
        former_superuser: secrets.former_superuser().cloned(),
        roles,
        departed,
        database: Database {
            name: database.name.clone(),
            owner: database.owner.clone(),
            encoding: database.encoding.clone(),
            locale: database.locale.clone(),
            extensions: database.extensions.clone(),
        },
    }
}

/// What there will be after Patroni's bootstrap, for a plan made before it.
pub fn after_bootstrap(objects: &Objects) -> State {
    let patronis = objects.roles.iter().filter(|role| role.name == REPLICATOR || role.name == REWIND);
    let roles = patronis.map(|role| {
        let verifier = Some(scram::verifier(&role.password));
        let state = RoleState { attributes: role.attributes.clone(), verifier, functions: role.functions.clone() };
        (role.name.clone(), state)
    });
    State { superuser: Some(scram::verifier(&objects.superuser)), roles: roles.collect(), database: None }
}

/// One step towards what is wanted, in an order that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseChange {
    CreateRole(Role),
    SetAttributes { role: String, attributes: Attributes },
    SetPassword { role: String, password: Secret },
    GrantFunctions { role: String, functions: BTreeSet<String> },
    CreateDatabase(Database),
    SetOwner { database: String, owner: String, from: String },
    RevokeConnect { database: String },
    SecureSchema { database: String, owner: String },
    CreateExtension { database: String, name: String },
    DropLogin { role: &'static str },
}

/// What differs and cannot be changed in place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    pub text: String,
    pub help: String,
}

/// What to do, and what to look at.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub changes: Vec<DatabaseChange>,
    pub warnings: Vec<Warning>,
}

/// The superuser has a password, and it is none that we know.
pub fn is_stranger(desired: &Objects, state: &State) -> bool {
    let stored = state.superuser.as_ref().map(Secret::expose);
    let ours = scram::matches(stored, &desired.superuser) || has_former_superuser(desired, state);
    stored.is_some_and(scram::is_verifier) && !ours
}

fn has_former_superuser(desired: &Objects, state: &State) -> bool {
    let stored = state.superuser.as_ref().map(Secret::expose);
    desired.former_superuser.as_ref().is_some_and(|former| scram::matches(stored, former))
}

/// How a server differs from what is wanted.
pub fn diff(desired: &Objects, state: &State) -> Difference {
    let mut difference = Difference::default();
    if has_former_superuser(desired, state) {
        let change = DatabaseChange::SetPassword { role: SUPERUSER.to_owned(), password: desired.superuser.clone() };
        difference.changes.push(change);
    }
    for role in &desired.roles {
        diff_role(role, state.roles.get(&role.name), &mut difference.changes);
    }
    diff_database(&desired.database, state.database.as_ref(), &mut difference);
    let gone = desired.departed.iter().filter(|name| state.roles.contains_key(**name));
    difference.changes.extend(gone.map(|role| DatabaseChange::DropLogin { role }));
    difference
}

/// What the members themselves need, to copy and follow each other.
pub fn diff_members(desired: &Objects, state: &State) -> Vec<DatabaseChange> {
    let mut changes = Vec::new();
    for role in desired.roles.iter().filter(|role| role.name == REPLICATOR || role.name == REWIND) {
        diff_role(role, state.roles.get(&role.name), &mut changes);
    }
    changes
}

fn diff_role(role: &Role, state: Option<&RoleState>, changes: &mut Vec<DatabaseChange>) {
    let granted = match state {
        None => {
            changes.push(DatabaseChange::CreateRole(role.clone()));
            &BTreeSet::new()
        }
        Some(state) => {
            if state.attributes != role.attributes {
                let attributes = role.attributes.clone();
                changes.push(DatabaseChange::SetAttributes { role: role.name.clone(), attributes });
            }
            if !scram::matches(state.verifier.as_ref().map(Secret::expose), &role.password) {
                let password = role.password.clone();
                changes.push(DatabaseChange::SetPassword { role: role.name.clone(), password });
            }
            &state.functions
        }
    };
    let functions: BTreeSet<String> = role.functions.difference(granted).cloned().collect();
    if !functions.is_empty() {
        changes.push(DatabaseChange::GrantFunctions { role: role.name.clone(), functions });
    }
}

fn diff_database(wanted: &Database, state: Option<&DatabaseState>, difference: &mut Difference) {
    let changes = &mut difference.changes;
    let database = wanted.name.clone();
    let owner = wanted.owner.clone();
    let Some(state) = state else {
        changes.push(DatabaseChange::CreateDatabase(wanted.clone()));
        changes.push(DatabaseChange::RevokeConnect { database: database.clone() });
        changes.push(DatabaseChange::SecureSchema { database: database.clone(), owner });
        extend(wanted, &BTreeSet::new(), changes);
        return;
    };
    if state.owner != wanted.owner {
        let from = state.owner.clone();
        changes.push(DatabaseChange::SetOwner { database: database.clone(), owner: owner.clone(), from });
    }
    if state.public_connect {
        changes.push(DatabaseChange::RevokeConnect { database: database.clone() });
    }
    if state.schema.as_ref().is_some_and(|schema| !schema.owner_creates || schema.public_creates) {
        changes.push(DatabaseChange::SecureSchema { database, owner });
    }
    extend(wanted, &state.extensions, changes);
    difference.warnings.extend(unchangeable(wanted, state));
}

fn extend(wanted: &Database, present: &BTreeSet<String>, changes: &mut Vec<DatabaseChange>) {
    for name in wanted.extensions.iter().filter(|name| !present.contains(*name)) {
        changes.push(DatabaseChange::CreateExtension { database: wanted.name.clone(), name: name.clone() });
    }
}

fn unchangeable(wanted: &Database, state: &DatabaseState) -> Option<Warning> {
    let same_encoding = spelling(&wanted.encoding) == spelling(&state.encoding);
    let same_locale = [&state.collate, &state.ctype].into_iter().all(|l| spelling(l) == spelling(&wanted.locale));
    if same_encoding && same_locale {
        return None;
    }
    Some(Warning {
        text: format!(
            "database {} has encoding {} and locale {}/{}, the inventory says {} and {}: that cannot be changed in place",
            wanted.name, state.encoding, state.collate, state.ctype, wanted.encoding, wanted.locale
        ),
        help: format!(
            "set `encoding = \"{}\"` and `locale = \"{}\"` in [database], or dump the database and restore it into a new one",
            state.encoding, state.collate
        ),
    })
}

/// `en_US.UTF-8`, `en_US.utf8` and `UTF8`, `utf-8` are spellings of the same.
fn spelling(name: &str) -> String {
    name.chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect()
}

impl DatabaseChange {
    /// The database to be connected to for it.
    pub fn database(&self) -> &str {
        match self {
            Self::SecureSchema { database, .. } | Self::CreateExtension { database, .. } => database,
            _ => SUPERUSER,
        }
    }

    /// One statement each: some cannot be in a transaction. May hold a SCRAM verifier, so not for logs.
    pub fn statements(&self) -> Vec<Secret> {
        let one = |sql: String| vec![Secret::new(sql)];
        match self {
            Self::CreateRole(role) => one(format!(
                "CREATE ROLE {} WITH {} PASSWORD {}",
                identifier(&role.name),
                role.attributes,
                literal(scram::verifier(&role.password).expose())
            )),
            Self::SetAttributes { role, attributes } => {
                one(format!("ALTER ROLE {} WITH {attributes}", identifier(role)))
            }
            Self::SetPassword { role, password } => {
                one(format!("ALTER ROLE {} PASSWORD {}", identifier(role), literal(scram::verifier(password).expose())))
            }
            Self::GrantFunctions { role, functions } => functions
                .iter()
                .map(|function| Secret::new(format!("GRANT EXECUTE ON FUNCTION {function} TO {}", identifier(role))))
                .collect(),
            Self::CreateDatabase(database) => one(create_database(database)),
            Self::SetOwner { database, owner, .. } => {
                one(format!("ALTER DATABASE {} OWNER TO {}", identifier(database), identifier(owner)))
            }
            Self::RevokeConnect { database } => {
                one(format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", identifier(database)))
            }
            Self::SecureSchema { owner, .. } => vec![
                Secret::new(format!("GRANT ALL ON SCHEMA public TO {}", identifier(owner))),
                Secret::new("REVOKE CREATE ON SCHEMA public FROM PUBLIC"),
            ],
            Self::DropLogin { role } => drop_login(role),
            Self::CreateExtension { name, .. } => one(format!("CREATE EXTENSION IF NOT EXISTS {}", identifier(name))),
        }
    }
}

/// Only what it was given is taken away: were it to own something, PostgreSQL would refuse.
fn drop_login(role: &str) -> Vec<Secret> {
    let role = identifier(role);
    let revoked = REWIND_FUNCTIONS.map(|function| format!("REVOKE EXECUTE ON FUNCTION {function} FROM {role}"));
    revoked.into_iter().chain([format!("DROP ROLE {role}")]).map(Secret::new).collect()
}

/// From template0, which has no objects of its own that could be in the way of another locale.
fn create_database(database: &Database) -> String {
    format!(
        "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LOCALE {}",
        identifier(&database.name),
        identifier(&database.owner),
        literal(&database.encoding),
        literal(&database.locale)
    )
}

/// As SQL has it, every attribute said.
impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.login, "LOGIN"),
            (self.superuser, "SUPERUSER"),
            (self.create_db, "CREATEDB"),
            (self.create_role, "CREATEROLE"),
            (self.replication, "REPLICATION"),
            (self.bypass_rls, "BYPASSRLS"),
        ];
        for (index, (set, word)) in words.into_iter().enumerate() {
            write!(f, "{}{}{word}", if index > 0 { " " } else { "" }, if set { "" } else { "NO" })?;
        }
        Ok(())
    }
}

/// For people. No secrets.
impl fmt::Display for DatabaseChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateRole(role) => write!(f, "create role {}", role.name),
            Self::SetAttributes { role, attributes } => write!(f, "make role {role} {attributes}"),
            Self::SetPassword { role, .. } => write!(f, "set the password of role {role}"),
            Self::GrantFunctions { role, functions } => {
                write!(f, "let role {role} execute {} functions of pg_rewind", functions.len())
            }
            Self::CreateDatabase(d) => {
                write!(f, "create database {}, owned by {} ({}, {})", d.name, d.owner, d.encoding, d.locale)
            }
            Self::SetOwner { database, owner, from } => {
                write!(f, "give database {database} from {from} to {owner}")
            }
            Self::RevokeConnect { database } => write!(f, "let only its owner connect to database {database}"),
            Self::SecureSchema { database, owner } => {
                write!(f, "let {owner} and nobody else create tables in schema public of database {database}")
            }
            Self::DropLogin { role } => write!(f, "remove role {role}, which only bridged a change of passwords"),
            Self::CreateExtension { database, name } => write!(f, "create extension {name} in database {database}"),
        }
    }
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
