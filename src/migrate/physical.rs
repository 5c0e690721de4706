//! Whether one server can run another one's files: how they were built, and how their libraries sort. One question to each
//! of them, for a superuser, from version 13 on, which says the version of what sorts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The first version that is asked.
pub const SINCE: u32 = 130_000;

/// One row with one text. `{…}` for what came with 15.
const LOOK: &str = "WITH used AS (
  SELECT DISTINCT c.collname, c.collprovider, coalesce(c.collcollate, '') AS locale
    FROM pg_index i CROSS JOIN LATERAL unnest(i.indcollation) AS u (oid) JOIN pg_collation c ON c.oid = u.oid
   WHERE c.collprovider IN ('c', 'i') AND c.collname NOT IN ('C', 'POSIX')
)
SELECT json_build_object(
  'build', json_build_object(
    'block_size', current_setting('block_size'), 'wal_block_size', current_setting('wal_block_size'),
    'segment_size', current_setting('segment_size'), 'max_identifier_length', current_setting('max_identifier_length'),
    'max_index_keys', current_setting('max_index_keys'), 'wal_segment_size', current_setting('wal_segment_size'), 'machine', substring(version() FROM ' on ([^-, ]+)')),
  'superuser', (SELECT rolname FROM pg_roles WHERE oid = 10),
  'may_replicate', (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user),
  'bytes', (SELECT sum(pg_database_size(oid))::bigint FROM pg_database),
  'databases', (SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM pg_database
                 WHERE NOT datistemplate AND datname <> 'postgres'),
  'subscriptions', (SELECT count(*) FROM pg_subscription WHERE subenabled),
  'run_by_patroni', EXISTS (SELECT FROM pg_stat_activity WHERE application_name ~ '^Patroni'),
  'archives', current_setting('archive_mode') <> 'off',
  'prepared', (SELECT count(*) FROM pg_prepared_xacts),
  'unlogged_that_fire', (SELECT coalesce(json_agg(c.oid::regclass::text ORDER BY 1), '[]') FROM pg_class c
     WHERE c.relpersistence = 'u' AND (
       EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgenabled IN ('A', 'R'))
       OR EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = c.oid AND w.ev_enabled IN ('A', 'R')))),
  'tablespaces', (SELECT coalesce(json_agg(spcname ORDER BY spcname), '[]') FROM pg_tablespace WHERE spcname !~ '^pg_'),
  'altered', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pg_file_settings
               WHERE sourcefile ~ 'postgresql[.]auto[.]conf$'),
  'locales', (SELECT coalesce(json_agg(DISTINCT locale ORDER BY locale), '[]') FROM (
      SELECT datcollate AS locale FROM pg_database WHERE {database_of_libc}
      UNION SELECT datctype FROM pg_database
      UNION SELECT locale FROM used WHERE collprovider = 'c') AS l),
  'libc', (SELECT max(pg_collation_actual_version(oid)) FROM pg_collation
            WHERE collprovider = 'c' AND collname !~* '^(C|POSIX|ucs_basic)($|[.])'),
  'icu_is_used', EXISTS (SELECT FROM used WHERE collprovider = 'i') OR {database_of_icu},
  'icu', (SELECT max(pg_collation_actual_version(oid)) FROM pg_collation WHERE collname = 'und-x-icu')
)::text";

const PIECES: [(&str, &str, &str); 2] = [
    ("{database_of_libc}", "datlocprovider = 'c'", "true"),
    ("{database_of_icu}", "EXISTS (SELECT FROM pg_database WHERE datlocprovider = 'i')", "false"),
];
const WITH_PROVIDERS: u32 = 150_000;

/// The question to a server of this version.
pub fn look(version_num: u32) -> String {
    PIECES.iter().fold(LOOK.to_owned(), |sql, (mark, then, before)| {
        sql.replace(mark, if version_num >= WITH_PROVIDERS { then } else { before })
    })
}

/// What a server's files are like.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Physical {
    pub build: Build,
    /// Who made it: its name may be anything.
    pub superuser: String,
    /// Whoever asked may stream WAL.
    pub may_replicate: bool,
    /// All databases together.
    pub bytes: u64,
    /// All but PostgreSQL's own.
    pub databases: Vec<String>,
    /// Enabled, in any database.
    pub subscriptions: u64,
    pub run_by_patroni: bool,
    /// It keeps its WAL elsewhere.
    pub archives: bool,
    pub prepared: u64,
    /// Of the application's database.
    pub unlogged_that_fire: Vec<String>,
    pub tablespaces: Vec<String>,
    /// Set with ALTER SYSTEM.
    pub altered: Vec<String>,
    /// Of libc, that something is sorted by.
    pub locales: BTreeSet<String>,
    /// The version of what sorts by locales other than C; none where there is no such locale.
    pub libc: Option<String>,
    pub icu_is_used: bool,
    pub icu: Option<String>,
}

/// What has to be the same on both sides.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Build {
    pub block_size: String,
    pub wal_block_size: String,
    pub segment_size: String,
    pub wal_segment_size: String,
    pub max_identifier_length: String,
    pub max_index_keys: String,
    pub machine: Option<String>,
}

/// Sorts by code points, whatever the library's version.
pub fn is_plain(locale: &str) -> bool {
    let lower = locale.to_ascii_lowercase();
    matches!(lower.as_str(), "" | "c" | "posix" | "c.utf-8" | "c.utf8")
}

/// Why the cluster cannot run the source's files.
pub fn against(source: &Physical, target: &Physical) -> Vec<String> {
    let mut against = Vec::new();
    if source.build != target.build {
        against.push(format!("the servers were built in another way ({:?}, {:?})", source.build, target.build));
    }
    let sorted: Vec<&str> = source.locales.iter().map(String::as_str).filter(|locale| !is_plain(locale)).collect();
    if !sorted.is_empty() && (source.libc.is_none() || source.libc != target.libc) {
        let version = |libc: &Option<String>| libc.clone().unwrap_or_else(|| "none that tells its version".to_owned());
        against.push(format!(
            "indexes are in the order of {}, which libc of another version may see in another way (the source has {}, the cluster {})",
            sorted.join(", "),
            version(&source.libc),
            version(&target.libc)
        ));
    }
    if source.icu_is_used && (source.icu.is_none() || source.icu != target.icu) {
        let version = |icu: &Option<String>| icu.clone().unwrap_or_else(|| "no".to_owned());
        let (theirs, ours) = (version(&source.icu), version(&target.icu));
        against.push(format!(
            "indexes are in the order of ICU, of another version (the source has {theirs}, the cluster {ours})"
        ));
    }
    against
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted_by(locale: &str, libc: Option<&str>) -> Physical {
        Physical { locales: [locale.to_owned()].into(), libc: libc.map(str::to_owned), ..Physical::default() }
    }

    #[test]
    fn what_sorts_by_code_points_sorts_alike_everywhere() {
        for locale in ["C", "POSIX", "C.UTF-8", "C.utf8", ""] {
            assert_eq!(
                against(&sorted_by(locale, Some("2.31")), &sorted_by("C", None)),
                Vec::<String>::new(),
                "{locale}"
            );
        }
    }

    #[test]
    fn another_library_may_sort_in_another_way() {
        let (old, new) = (sorted_by("en_US.UTF-8", Some("2.31")), sorted_by("C.UTF-8", Some("2.36")));
        let told = against(&old, &new).concat();
        assert!(told.contains("en_US.UTF-8") && told.contains("2.31") && told.contains("2.36"), "{told}");
        assert!(against(&old, &sorted_by("C", Some("2.31"))).is_empty());
        assert!(!against(&old, &sorted_by("C", None)).is_empty(), "the locale is not there");
        assert!(!against(&sorted_by("en_US.UTF-8", None), &sorted_by("C", None)).is_empty(), "nobody knows");
        let icu = |version: &str| Physical { icu_is_used: true, icu: Some(version.to_owned()), ..Physical::default() };
        assert!(against(&icu("153.14"), &icu("153.14")).is_empty());
        assert!(!against(&icu("153.14"), &icu("153.120")).is_empty());
    }

    #[test]
    fn another_build_cannot_read_the_files() {
        let mut other = Physical::default();
        other.build.block_size = "16384".to_owned();
        assert!(against(&Physical::default(), &other).concat().contains("16384"));
    }

    #[test]
    fn every_mark_is_replaced() {
        for version in [130_000, 150_000, 180_000] {
            assert!(!look(version).replace("'{}'", "").contains(['{', '}']), "{version}");
        }
    }
}
