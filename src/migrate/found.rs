//! What there is in a foreign database: one question, and its answer as types. One question, because then everything
//! in the answer is of the same moment, and because the way to that server may be slow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::physical::Physical;

/// With `{…}` for what is not the same in every version.
const LOOK: &str = "WITH relations AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relrowsecurity, c.reltuples, c.relowner,
         {hasoids} AS hasoids
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
   WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), tables AS (
  SELECT *, coalesce(pg_total_relation_size(oid), 0) AS bytes FROM relations WHERE relkind IN ('r', 'p')
), functions AS (
  SELECT n.nspname, p.proname, p.probin, l.lanname
    FROM pg_proc AS p
    JOIN pg_namespace AS n ON n.oid = p.pronamespace
    JOIN pg_language AS l ON l.oid = p.prolang
   WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
     AND l.lanname NOT IN ('internal', 'sql', 'plpgsql')
     AND NOT EXISTS (SELECT FROM pg_depend AS e
                      WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')
), sessions AS (
  SELECT client_addr FROM pg_stat_activity
   WHERE datname = current_database() AND pid <> pg_backend_pid() AND {client}
)
SELECT json_build_object(
  'server', json_build_object(
    'version_num', current_setting('server_version_num')::int,
    'version', version(),
    'in_recovery', pg_is_in_recovery(),
    'data_checksums', current_setting('data_checksums') = 'on',
    'max_connections', current_setting('max_connections')::int,
    'shared_preload_libraries', current_setting('shared_preload_libraries'),
    'wal_level', current_setting('wal_level'),
    'free_slots', current_setting('max_replication_slots')::int
                  - (SELECT count(*) FROM pg_replication_slots WHERE slot_name !~ '^xnat_provision_'),
    'free_senders', current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication WHERE application_name IS DISTINCT FROM 'xnat-provision'),
    'hba', {hba},
    'available_extensions', (
      SELECT coalesce(json_object_agg(name, coalesce(default_version, '') ORDER BY name), '{}')
        FROM pg_available_extensions)),
  'database', json_build_object(
    'name', d.datname,
    'owner', pg_get_userbyid(d.datdba),
    'bytes', pg_database_size(d.oid),
    'encoding', pg_encoding_to_char(d.encoding),
    'collate', d.datcollate,
    'ctype', d.datctype,
    'provider', {provider},
    'locale', {locale},
    'collation_version', {collation_version},
    'actual_collation_version', {actual_collation_version},
    'settings', (
      SELECT coalesce(json_agg(json_build_object('role', a.rolname, 'setting', c.setting)
                               ORDER BY a.rolname NULLS FIRST, c.setting), '[]')
        FROM pg_db_role_setting AS s
        LEFT JOIN pg_authid AS a ON a.oid = s.setrole, unnest(s.setconfig) AS c (setting)
       WHERE s.setdatabase = d.oid),
    'role_settings', (
      SELECT coalesce(json_agg(json_build_object('role', a.rolname, 'setting', c.setting)
                               ORDER BY a.rolname, c.setting), '[]')
        FROM pg_db_role_setting AS s
        JOIN pg_authid AS a ON a.oid = s.setrole, unnest(s.setconfig) AS c (setting)
       WHERE s.setdatabase = 0)),
  'tables', json_build_object(
    'count', (SELECT count(*) FROM tables),
    'bytes', (SELECT coalesce(sum(bytes), 0) FROM tables),
    'largest', (
      SELECT coalesce(json_agg(json_build_object('schema', nspname, 'name', relname, 'bytes', bytes,
                                                 'rows', greatest(reltuples, 0)::bigint)
                               ORDER BY bytes DESC, nspname, relname), '[]')
        FROM (SELECT * FROM tables ORDER BY bytes DESC, nspname, relname LIMIT 20) AS largest),
    'without_primary_key', {without_primary_key},
    'unlogged', {unlogged},
    'row_security', {row_security},
    'with_oids', {with_oids},
    'partitioned', (SELECT count(*) FROM tables WHERE relkind = 'p'),
    'generated_columns', {generated_columns},
    'gone_types', (
      SELECT coalesce(json_agg(json_build_object('schema', r.nspname, 'table', r.relname, 'column', a.attname,
                                                 'type', format_type(a.atttypid, NULL))
                               ORDER BY r.nspname, r.relname, a.attnum), '[]')
        FROM relations AS r
        JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type AS t ON t.oid = a.atttypid
        JOIN pg_type AS base ON base.oid IN (t.oid, t.typelem, t.typbasetype) AND base.typnamespace = 11
       WHERE r.relkind IN ('r', 'p', 'f', 'c') AND base.typname IN ('abstime', 'reltime', 'tinterval', 'unknown')
          OR r.relkind IN ('v', 'm') AND base.typname IN ('abstime', 'reltime', 'tinterval')),
    'foreign', (SELECT count(*) FROM relations WHERE relkind = 'f'),
    'kept_by_extensions', (
      SELECT coalesce(json_agg(extname ORDER BY extname), '[]') FROM pg_extension WHERE extconfig IS NOT NULL),
    'always_fire', (
      SELECT (SELECT count(*) FROM pg_trigger AS t JOIN relations AS r ON r.oid = t.tgrelid WHERE t.tgenabled IN ('A', 'R'))
           + (SELECT count(*) FROM pg_rewrite AS w JOIN relations AS r ON r.oid = w.ev_class
               WHERE w.ev_enabled IN ('A', 'R'))),
    'materialized_views', (SELECT count(*) FROM relations WHERE relkind = 'm')),
  'objects', json_build_object(
    'extensions', (
      SELECT coalesce(json_agg(json_build_object('name', e.extname, 'version', e.extversion, 'schema', n.nspname)
                               ORDER BY e.extname), '[]')
        FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace),
    'large_objects', (SELECT count(*) FROM pg_largeobject_metadata),
    'large_object_bytes', pg_total_relation_size('pg_largeobject'),
    'invalid_indexes', (
      SELECT coalesce(json_agg(json_build_object('schema', r.nspname, 'name', r.relname, 'unique', i.indisunique)
                               ORDER BY r.nspname, r.relname), '[]')
        FROM pg_index AS i JOIN relations AS r ON r.oid = i.indexrelid
       WHERE r.relkind = 'i' AND NOT (i.indisvalid AND i.indisready)),
    'event_triggers', (
      SELECT coalesce(json_agg(json_build_object('name', t.evtname, 'event', t.evtevent,
                                                 'owner', pg_get_userbyid(t.evtowner)) ORDER BY t.evtname), '[]')
        FROM pg_event_trigger AS t
       WHERE NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = 'pg_event_trigger'::regclass
                                                      AND e.objid = t.oid AND e.deptype = 'e')),
    'foreign_servers', (
      SELECT coalesce(json_agg(json_build_object('name', s.srvname, 'wrapper', w.fdwname, 'mappings',
                                 (SELECT count(*) FROM pg_user_mapping AS m WHERE m.umserver = s.oid))
                               ORDER BY s.srvname), '[]')
        FROM pg_foreign_server AS s JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw),
    'subscriptions', {subscriptions},
    'publications', {publications},
    'prepared', (
      SELECT coalesce(json_agg(json_build_object('gid', gid, 'owner', owner, 'since', prepared::text)
                               ORDER BY prepared), '[]')
        FROM pg_prepared_xacts WHERE database = d.datname),
    'tablespaces', (
      SELECT coalesce(json_agg(s.spcname ORDER BY s.spcname), '[]')
        FROM pg_tablespace AS s
       WHERE s.spcname NOT IN ('pg_default', 'pg_global')
         AND (s.oid = d.dattablespace OR EXISTS (SELECT FROM pg_class AS c WHERE c.reltablespace = s.oid))),
    'languages', (
      SELECT coalesce(json_object_agg(lanname, number ORDER BY lanname), '{}')
        FROM (SELECT lanname, count(*) AS number FROM functions WHERE lanname <> 'c' GROUP BY lanname) AS languages),
    'c_functions', (
      SELECT coalesce(json_agg(json_build_object('schema', nspname, 'name', proname, 'library', coalesce(probin, ''))
                               ORDER BY nspname, proname), '[]')
        FROM functions WHERE lanname = 'c')),
  'roles', json_build_object(
    'all', (
      SELECT coalesce(json_agg(json_build_object(
               'name', rolname, 'superuser', rolsuper, 'login', rolcanlogin,
               'password', CASE WHEN rolpassword IS NULL THEN 'none'
                                WHEN rolpassword LIKE 'SCRAM-SHA-256$%' THEN 'scram'
                                WHEN rolpassword LIKE 'md5%' AND length(rolpassword) = 35 THEN 'md5'
                                ELSE 'clear' END,
               'connection_limit', rolconnlimit, 'valid_until', rolvaliduntil::text) ORDER BY rolname), '[]')
        FROM pg_authid WHERE rolname !~ '^pg_'),
    'memberships', (
      SELECT count(*) FROM pg_auth_members AS m JOIN pg_authid AS a ON a.oid = m.member WHERE a.rolname !~ '^pg_'),
    'in_database', (
      SELECT coalesce(json_agg(a.rolname ORDER BY a.rolname), '[]')
        FROM pg_authid AS a
       WHERE a.rolname !~ '^pg_'
         AND (a.oid = d.datdba OR a.oid IN (SELECT relowner FROM relations)
              OR EXISTS (SELECT FROM pg_shdepend AS s
                          WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = a.oid
                            AND (s.dbid = d.oid OR s.classid = 'pg_database'::regclass AND s.objid = d.oid))))),
  'clients', json_build_object(
    'sessions', (SELECT count(*) FROM sessions),
    'addresses', (
      SELECT coalesce(json_agg(host(client_addr) ORDER BY client_addr), '[]')
        FROM (SELECT DISTINCT client_addr FROM sessions WHERE client_addr IS NOT NULL) AS addresses))
)::text
  FROM pg_database AS d WHERE d.datname = current_database()";

/// What stands for what: the mark, the first version that has it, what it is there, and what it is before.
const PIECES: [(&str, u32, &str, &str); 11] = [
    ("{hasoids}", 120_000, "false", "c.relhasoids"),
    ("{client}", 100_000, "backend_type = 'client backend'", "true"),
    (
        "{hba}",
        100_000,
        "(
      SELECT coalesce(json_agg(json_build_object('kind', type, 'databases', database, 'users', user_name,
                                                 'address', address, 'netmask', netmask, 'method', auth_method)
                               ORDER BY line_number), '[]')
        FROM pg_hba_file_rules WHERE error IS NULL)",
        EMPTY,
    ),
    (
        "{provider}",
        150_000,
        "CASE d.datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' ELSE 'builtin' END",
        "'libc'",
    ),
    // PostgreSQL 17 renamed it
    ("{locale}", 170_000, "d.datlocale", "{icu_locale}"),
    ("{icu_locale}", 150_000, "d.daticulocale", "NULL"),
    ("{collation_version}", 150_000, "d.datcollversion", "NULL"),
    ("{actual_collation_version}", 150_000, "pg_database_collation_actual_version(d.oid)", "NULL"),
    (
        "{generated_columns}",
        120_000,
        "(SELECT count(*) FROM tables AS r JOIN pg_attribute AS a ON a.attrelid = r.oid WHERE a.attgenerated <> '')",
        "0",
    ),
    (
        "{subscriptions}",
        100_000,
        "(
      SELECT coalesce(json_agg(json_build_object('name', subname, 'enabled', subenabled) ORDER BY subname), '[]')
        FROM pg_subscription WHERE subdbid = d.oid)",
        EMPTY,
    ),
    (
        "{publications}",
        100_000,
        "(SELECT coalesce(json_agg(pubname ORDER BY pubname), '[]') FROM pg_publication)",
        EMPTY,
    ),
];

const EMPTY: &str = "'[]'::json";

/// Tables of which only the first are named: there may be thousands.
const LISTED: [(&str, &str); 4] = [
    (
        "{without_primary_key}",
        "relkind = 'r' AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = tables.oid AND i.indisprimary)",
    ),
    ("{unlogged}", "relpersistence = 'u'"),
    ("{row_security}", "relrowsecurity"),
    ("{with_oids}", "hasoids"),
];

const FIRST: &str = "(
      SELECT json_build_object('count', count(*), 'first', coalesce(
               json_agg(json_build_object('schema', nspname, 'name', relname) ORDER BY place)
                 FILTER (WHERE place <= 50), '[]'))
        FROM (SELECT nspname, relname, row_number() OVER (ORDER BY nspname, relname) AS place
                FROM tables WHERE {condition}) AS listed)";

/// The question to a server of this version, for a superuser in the database that is meant: one row with one text. That
/// database's own settings may put anybody's operators before PostgreSQL's: ask with `search_path=pg_catalog`. It waits
/// for whoever has locked a whole table: ask with a `lock_timeout`.
pub fn look(version_num: u32) -> String {
    let listed = LISTED.iter().map(|&(mark, condition)| (mark, FIRST.replace("{condition}", condition)));
    let look = listed.fold(LOOK.to_owned(), |sql, (mark, text)| sql.replace(mark, &text));
    PIECES.iter().fold(look, |sql, &(mark, since, then, before)| {
        sql.replace(mark, if version_num >= since { then } else { before })
    })
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Found {
    pub server: Server,
    pub database: Database,
    pub tables: Tables,
    pub objects: Objects,
    pub roles: Roles,
    pub clients: Clients,
    /// Asked for by itself, and only of versions that may be the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical: Option<Physical>,
    /// Where it has its data, as its machine says: unknown over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
}

impl Found {
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Alpine's C library sorts by bytes, whatever the locale is called.
    pub fn is_musl(&self) -> bool {
        self.server.version.contains("musl")
    }

    /// Whoever connects can only read, unless he says otherwise.
    pub fn is_read_only(&self) -> bool {
        self.read_only_itself().is_some_and(|value| matches!(value, "on" | "true" | "yes" | "1"))
    }

    /// What the database itself says of that.
    pub fn read_only_itself(&self) -> Option<&str> {
        let mut own = self.database.settings.iter().filter(|one| one.role.is_none());
        own.find_map(|one| one.setting.strip_prefix("default_transaction_read_only="))
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Server {
    pub version_num: u32,
    /// What `version()` says: how it was built, too.
    pub version: String,
    pub in_recovery: bool,
    pub data_checksums: bool,
    pub max_connections: u32,
    pub shared_preload_libraries: String,
    pub wal_level: String,
    pub free_slots: i64,
    pub free_senders: i64,
    /// Rules without a mistake; none from 9.6, which cannot tell.
    pub hba: Vec<Hba>,
    /// With their default versions.
    pub available_extensions: BTreeMap<String, String>,
}

/// A line of `pg_hba.conf`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Hba {
    /// `local`, `host`, `hostssl`, …
    pub kind: String,
    pub databases: Vec<String>,
    pub users: Vec<String>,
    pub address: Option<String>,
    pub netmask: Option<String>,
    pub method: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Database {
    pub name: String,
    pub owner: String,
    pub bytes: u64,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// `libc`, `icu` or `builtin`.
    pub provider: String,
    /// Of a provider other than `libc`.
    pub locale: Option<String>,
    /// Of the provider when the database was made, and now; from 15 on.
    pub collation_version: Option<String>,
    pub actual_collation_version: Option<String>,
    pub settings: Vec<Setting>,
    /// Of roles, in whichever database.
    #[serde(default)]
    pub role_settings: Vec<Setting>,
}

/// `ALTER DATABASE … SET`, or `ALTER ROLE … IN DATABASE … SET`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Setting {
    pub role: Option<String>,
    /// `name=value`
    pub setting: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Tables {
    pub count: u64,
    pub bytes: u64,
    pub largest: Vec<Table>,
    pub without_primary_key: Listed,
    pub unlogged: Listed,
    /// Extensions that have tables whose rows a dump takes along.
    pub kept_by_extensions: Vec<String>,
    /// Triggers and rules that fire also for what is replicated.
    pub always_fire: u64,
    pub row_security: Listed,
    pub with_oids: Listed,
    pub partitioned: u64,
    pub generated_columns: u64,
    /// Columns of types that later versions do not have, or do not have for columns.
    pub gone_types: Vec<Column>,
    pub foreign: u64,
    pub materialized_views: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Table {
    pub schema: String,
    pub name: String,
    /// With indexes and what is kept apart from it.
    pub bytes: u64,
    /// As of the last ANALYZE.
    pub rows: u64,
}

/// Tables, of which only the first 50 are named.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Listed {
    pub count: u64,
    pub first: Vec<Name>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Name {
    pub schema: String,
    pub name: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Column {
    pub schema: String,
    pub table: String,
    pub column: String,
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Objects {
    pub extensions: Vec<Extension>,
    pub large_objects: u64,
    pub large_object_bytes: u64,
    pub invalid_indexes: Vec<Index>,
    /// None that an extension brings.
    pub event_triggers: Vec<EventTrigger>,
    pub foreign_servers: Vec<ForeignServer>,
    pub subscriptions: Vec<Subscription>,
    pub publications: Vec<String>,
    /// Transactions that wait for a COMMIT PREPARED.
    pub prepared: Vec<Prepared>,
    /// Other than PostgreSQL's own two.
    pub tablespaces: Vec<String>,
    /// Functions that no extension brings, by their languages, without `internal`, `c`, `sql` and `plpgsql`.
    pub languages: BTreeMap<String, u64>,
    /// That no extension brings.
    pub c_functions: Vec<Function>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Extension {
    pub name: String,
    pub version: String,
    pub schema: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Index {
    pub schema: String,
    pub name: String,
    pub unique: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct EventTrigger {
    pub name: String,
    pub event: String,
    pub owner: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct ForeignServer {
    pub name: String,
    pub wrapper: String,
    /// How many users have a login there.
    pub mappings: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Subscription {
    pub name: String,
    pub enabled: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Prepared {
    pub gid: String,
    pub owner: String,
    pub since: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Function {
    pub schema: String,
    pub name: String,
    pub library: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Roles {
    /// Of the whole server.
    pub all: Vec<Role>,
    /// How often one is a member of another.
    pub memberships: u64,
    /// Those that own something in this database or are granted something there.
    pub in_database: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Role {
    pub name: String,
    pub superuser: bool,
    pub login: bool,
    pub password: Password,
    /// -1: none.
    pub connection_limit: i32,
    pub valid_until: Option<String>,
}

/// How the server keeps it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Password {
    #[default]
    None,
    Md5,
    Scram,
    /// As it was typed, which a server before 10 may have been told to do.
    Clear,
}

/// Who else is connected to this database.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Clients {
    pub sessions: u64,
    /// From where, those over the server's own socket aside.
    pub addresses: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_replaced_in_every_version() {
        for version in [90_600, 100_023, 130_011, 140_000, 150_018, 160_014, 170_005, 180_004] {
            let sql = look(version);
            assert!(!sql.replace("'{}'", "").contains(['{', '}']), "{version}: {sql}");
        }
    }

    #[test]
    fn old_servers_are_not_asked_for_what_they_do_not_know() {
        let old = look(90_624);
        for new in ["pg_hba_file_rules", "backend_type", "pg_subscription", "pg_publication", "datlocprovider"] {
            assert!(!old.contains(new), "{new}");
            assert!(look(180_004).contains(new), "{new}");
        }
        assert!(old.contains("relhasoids") && !look(120_000).contains("relhasoids"));
        assert!(look(160_014).contains("daticulocale") && look(170_005).contains("d.datlocale"));
    }

    #[test]
    fn an_answer_is_read_and_written_as_the_same() {
        let mut found = Found::default();
        found.database.name = "x\"nat\n".to_owned();
        found.server.available_extensions.insert("plpgsql".to_owned(), "1.0".to_owned());
        found.roles.all.push(Role { password: Password::Md5, ..Role::default() });
        let text = serde_json::to_string(&found).expect("JSON");
        assert_eq!(Found::parse(&text).expect("an answer"), found);
    }

    #[test]
    fn what_was_built_with_musl_is_known() {
        let mut found = Found::default();
        found.server.version = "PostgreSQL 16.4 on x86_64-pc-linux-musl, compiled by gcc (Alpine 13.2.1)".to_owned();
        assert!(found.is_musl());
    }

    #[test]
    fn only_a_setting_for_everybody_makes_it_read_only() {
        let mut found = Found::default();
        let setting = "default_transaction_read_only=on".to_owned();
        found.database.settings.push(Setting { role: Some("report".to_owned()), setting: setting.clone() });
        assert!(!found.is_read_only());
        found.database.settings.push(Setting { role: None, setting });
        assert!(found.is_read_only());
    }
}
