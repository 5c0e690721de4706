//! What a database holds, in a few numbers that every PostgreSQL from 9.6 on computes alike: of each table the rows and a
//! sum over them that does not depend on their order; of sequences and large objects what is in them. Two that differ in
//! one byte differ here (but for control characters, 1 and 2, that were moved about in a row).
//!
//! Rows are written as text and that is hashed: by `hashtextextended`, which cannot change since it says in which part of a
//! table a row lies, or, where the servers do not have it or do not agree on it, by md5, at three times the time. Neither is
//! a protection against somebody who makes collisions on purpose, and none is needed: nobody attacks a copy by its rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::quote::{identifier, literal};

/// Everything that has a say in how values are written as text. The search path makes names come with their schemas.
pub const SETTINGS: &str = "SET search_path TO pg_catalog; SET TimeZone TO 'UTC'; SET DateStyle TO 'ISO, YMD';
SET IntervalStyle TO 'postgres'; SET bytea_output TO 'hex'; SET lc_monetary TO 'C'; SET lc_numeric TO 'C';
SET lc_time TO 'C'; SET xmloption TO 'content'; SET row_security TO off; SET statement_timeout TO 0;
SET lock_timeout TO 0; SET idle_in_transaction_session_timeout TO 0; SET tcp_keepalives_idle TO 60;
SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('transaction_timeout', 'idle_session_timeout')";

/// From this version on the text of a float says all there is in it.
const EXACT_FLOATS: u32 = 120_000;

/// How floats are written, so that two servers agree. An older one cannot write them exactly, so both round, and the
/// floats' own bytes are added (`Table::floats`).
pub fn floats(older: u32) -> &'static str {
    if rounds(older) { "SET extra_float_digits TO 0" } else { "SET extra_float_digits TO 1" }
}

/// Whether a version cannot write floats exactly.
pub fn rounds(version: u32) -> bool {
    version < EXACT_FLOATS
}

/// How rows are summed up, on both sides alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// The older of the two servers' versions.
    pub older: u32,
    /// By the servers' own hash, which takes that floats are written exactly.
    pub hashed: bool,
}

impl Measure {
    /// What both servers have to answer alike for that.
    pub const PROBE: &'static str = "SELECT pg_catalog.getdatabaseencoding()::text, pg_catalog.hashtextextended('any text' COLLATE pg_catalog.\"C\", 0)";

    /// Whether there is a hash that both may have.
    pub fn may_be_hashed(older: u32) -> bool {
        !rounds(older)
    }
}

/// The tables whose rows are compared, as one JSON document: all but those of the system, of extensions and of other
/// servers. Views have nothing of their own, and materialised ones are made anew from their tables. What is divided by a
/// hash is one table, since where a row goes follows from numbers that differ between servers.
pub fn tables(version: u32) -> String {
    let (hashed, below) = if version >= HASHED { (HASH_ROOTS, BELOW_HASH) } else { ("", "") };
    TABLES.replace("/* hash roots */", hashed).replace("/* below hash */", below)
}

/// From this version on tables can be divided by a hash.
const HASHED: u32 = 110_000;
const HASH_ROOTS: &str = "OR (c.relkind = 'p' AND EXISTS (SELECT FROM pg_partitioned_table p WHERE p.partrelid = c.oid AND p.partstrat = 'h'))";
const BELOW_HASH: &str = "AND NOT EXISTS (WITH RECURSIVE up AS (
          SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = c.oid
          UNION SELECT i.inhparent FROM pg_inherits i JOIN up ON i.inhrelid = up.inhparent)
        SELECT FROM up JOIN pg_partitioned_table p ON p.partrelid = up.inhparent AND p.partstrat = 'h')";

const TABLES: &str = "SELECT coalesce(json_agg(json_build_object(
    'schema', n.nspname, 'name', c.relname, 'bytes', pg_table_size(c.oid), 'whole', c.relkind = 'p',
    'columns', (SELECT coalesce(json_agg(a.attname), '[]') FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'floats', (SELECT coalesce(json_agg(json_build_object('name', a.attname,
                   'array', b.oid IN (1021, 1022), 'double', b.oid = 701) ORDER BY a.attnum), '[]')
                 FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                 JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND b.oid IN (700, 701, 1021, 1022))
  ) ORDER BY pg_table_size(c.oid) DESC, n.nspname, c.relname), '[]')::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE (c.relkind = 'r' /* hash roots */) AND c.relpersistence <> 't'
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' /* below hash */
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')";

/// All sequences but those of extensions.
pub const SEQUENCES: &str = "SELECT n.nspname::text, c.relname::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 1, 2";

/// Whether materialised views have been filled. What is in them is older than their tables in the source, and as new as
/// those in a copy, so it is not compared.
pub const VIEWS: &str = "SELECT n.nspname::text, c.relname::text, c.relispopulated
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'm' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

/// Large objects: how many there are and what is in them, in pieces, so that none has to fit into memory; and whose they
/// are. What was never written in the middle of one reads as zeros, and is written as such by a copy.
pub const LARGE_OBJECTS: &str = "WITH o AS MATERIALIZED_ (
    SELECT m.oid, coalesce((SELECT p.pageno::bigint * (current_setting('block_size')::int / 4) + length(p.data)
                              FROM pg_largeobject p WHERE p.loid = m.oid ORDER BY p.pageno DESC LIMIT 1), 0) AS size,
           pg_get_userbyid(m.lomowner)::text AS owner,
           (SELECT string_agg(t, ',' ORDER BY t COLLATE \"C\")
              FROM unnest(coalesce(m.lomacl, acldefault('L', m.lomowner))::text[]) t) AS acl,
           obj_description(m.oid, 'pg_largeobject') AS comment
      FROM pg_largeobject_metadata m),
  h AS MATERIALIZED_ (
    SELECT md5(convert_to(o.oid || ':' || piece || ':' || o.size || ':' ||
                          md5(lo_get(o.oid, piece, 4194304)), 'UTF8')) AS h
      FROM o, generate_series(0::bigint, o.size, 4194304::bigint) piece)
SELECT (SELECT count(*) FROM o)::bigint,
       (SELECT coalesce(sum(('x' || left(h, 16))::bit(64)::bigint), 0)::text FROM h),
       (SELECT coalesce(sum(('x' || left(h, 16))::bit(64)::bigint), 0)::text
          FROM (SELECT md5(convert_to(concat_ws(':', oid, owner, coalesce(acl, '-'), comment), 'UTF8')) AS h FROM o) s)";

/// For a server of this version; before 12 every such part was made once without a word.
pub fn large_objects(version: u32) -> String {
    LARGE_OBJECTS.replace("MATERIALIZED_", if version >= EXACT_FLOATS { "MATERIALIZED" } else { "" })
}

/// A table, and what has to be known to sum it up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Table {
    pub schema: String,
    pub name: String,
    pub bytes: i64,
    pub columns: Vec<String>,
    /// With everything below it.
    whole: bool,
    floats: Vec<Float>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Float {
    name: String,
    array: bool,
    double: bool,
}

impl Table {
    /// As people and reports write it.
    pub fn title(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }

    /// Rows and sum; as a rule of the table alone, since those below it are tables themselves. Columns come by their names:
    /// in a table that inherits, a copy may have them in another order.
    pub fn sum(&self, measure: Measure) -> String {
        let alias = identifier(&self.alias());
        let mut names: Vec<&String> = self.columns.iter().collect();
        names.sort();
        let columns: Vec<String> = names.iter().map(|name| format!("{alias}.{}", identifier(name))).collect();
        let number = if measure.hashed { hash(&columns) } else { self.md5(&columns, measure.older) };
        format!("SELECT count(*)::bigint, coalesce(sum({number}), 0)::text FROM {} AS {alias}", self.place())
    }

    /// Half of it: 64 bits do not come out the same by accident, and twice that takes noticeably longer.
    fn md5(&self, columns: &[String], older: u32) -> String {
        let alias = identifier(&self.alias());
        let mut row = format!("convert_to(ROW({})::text, 'UTF8')", columns.join(", "));
        if rounds(older) {
            for float in &self.floats {
                let column = format!("{alias}.{}", identifier(&float.name));
                let bytes = match (float.array, float.double) {
                    (true, _) => format!("array_send({column})"),
                    // of which there are several, and one text
                    (false, true) => format!("CASE WHEN {column} <> 'NaN' THEN float8send({column}) END"),
                    (false, false) => format!("CASE WHEN {column} <> 'NaN' THEN float4send({column}) END"),
                };
                row = format!("{row} || coalesce({bytes}, '')");
            }
        }
        format!("('x' || left(md5({row}), 16))::bit(64)::bigint")
    }

    /// What of it is its own, as a statement has it.
    pub fn place(&self) -> String {
        let only = if self.whole { "" } else { "ONLY " };
        format!("{only}{}", self.title())
    }

    /// A name for the table that none of its columns has.
    fn alias(&self) -> String {
        let mut alias = "whole row".to_owned();
        while self.columns.contains(&alias) {
            alias.push('_');
        }
        alias
    }
}

/// A function takes a hundred arguments, and each column is three.
const AT_ONCE: usize = 30;

/// Of a row written as text: a column after the other, each with an end, and with a mark where there is nothing.
fn hash(columns: &[String]) -> String {
    let each = |column: &String| format!("{column}, CASE WHEN {column} IS NULL THEN E'\\x02' END, E'\\x01'");
    let some = |columns: &[String]| format!("concat({})", columns.iter().map(each).collect::<Vec<_>>().join(", "));
    let parts: Vec<String> = columns.chunks(AT_ONCE).map(some).collect();
    let text = match parts.as_slice() {
        [] => "''".to_owned(),
        [one] => one.clone(),
        many => format!("concat({})", many.join(", ")),
    };
    format!("hashtextextended({text} COLLATE \"C\", 0)")
}

/// Where sequences stand, many with one question.
pub fn sequences(names: &[(String, String)]) -> String {
    let each = names.iter().map(|(schema, name)| {
        let (place, label) = (format!("{}.{}", identifier(schema), identifier(name)), literal(&title(schema, name)));
        format!("SELECT {label}::text, last_value::text || CASE WHEN is_called THEN '' ELSE ' (not called)' END FROM {place}")
    });
    each.collect::<Vec<_>>().join(" UNION ALL ")
}

/// As in [`Table::title`].
pub fn title(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// Of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    pub rows: i64,
    pub sum: String,
}

/// Of all large objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeObjects {
    pub count: i64,
    pub sum: String,
    /// Owners, grants and comments.
    pub owners: String,
}

/// Of a whole database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fingerprint {
    /// By which of the two ways the rows were summed up.
    pub hashed: bool,
    pub tables: BTreeMap<String, Rows>,
    pub sequences: BTreeMap<String, String>,
    pub large_objects: LargeObjects,
    /// Materialised views, and whether each is filled.
    pub views: BTreeMap<String, bool>,
}

/// One thing that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `table "public"."xdat_user"`
    pub what: String,
    pub source: String,
    pub target: String,
}

impl Fingerprint {
    /// Of the rows of everything.
    pub fn rows(&self) -> i64 {
        self.tables.values().map(|table| table.rows).sum()
    }

    /// How another one differs from this, table by table.
    pub fn differences(&self, copy: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        each(&self.tables, &copy.tables, |name, source, target| {
            let told = |side: Option<&Rows>, other: Option<&Rows>| match (side, other) {
                (None, _) => "not there".to_owned(),
                (Some(side), Some(other)) if side.rows == other.rows => format!("{} rows, other content", side.rows),
                (Some(side), _) => format!("{} rows", side.rows),
            };
            found.push(Difference {
                what: format!("table {name}"),
                source: told(source, target),
                target: told(target, source),
            });
        });
        each(&self.sequences, &copy.sequences, |name, source, target| {
            let told =
                |side: Option<&String>| side.map_or_else(|| "not there".to_owned(), |value| format!("at {value}"));
            found.push(Difference { what: format!("sequence {name}"), source: told(source), target: told(target) });
        });
        each(&self.views, &copy.views, |name, source, target| {
            let told = |side: Option<&bool>| match side {
                None => "not there",
                Some(true) => "filled",
                Some(false) => "never filled",
            };
            let (source, target) = (told(source).to_owned(), told(target).to_owned());
            found.push(Difference { what: format!("materialised view {name}"), source, target });
        });
        found.extend(self.large_objects.difference(&copy.large_objects));
        found
    }
}

impl LargeObjects {
    fn difference(&self, copy: &Self) -> Option<Difference> {
        if self == copy {
            return None;
        }
        let what =
            if (&self.sum, self.count) == (&copy.sum, copy.count) { "owners, grants or comments" } else { "content" };
        let told = |side: &Self| format!("{} of them, {what} {}", side.count, short(side, what));
        Some(Difference { what: "large objects".to_owned(), source: told(self), target: told(copy) })
    }
}

/// Enough of a digest to see that it is another one.
fn short(objects: &LargeObjects, what: &str) -> String {
    let digest = if what == "content" { &objects.sum } else { &objects.owners };
    digest.chars().take(12).collect()
}

/// Names on either side whose values are not the same.
fn each<'a, T: PartialEq>(
    source: &'a BTreeMap<String, T>,
    target: &'a BTreeMap<String, T>,
    mut differs: impl FnMut(&'a str, Option<&'a T>, Option<&'a T>),
) {
    for (name, value) in source {
        let other = target.get(name);
        if other != Some(value) {
            differs(name, Some(value), other);
        }
    }
    for (name, value) in target.iter().filter(|(name, _)| !source.contains_key(*name)) {
        differs(name, None, Some(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str]) -> Table {
        let json = serde_json::json!({
            "schema": "odd \"schema\"", "name": "t", "bytes": 1, "whole": false, "columns": columns,
            "floats": [{ "name": "f", "array": false, "double": true }, { "name": "fs", "array": true, "double": false }],
        });
        serde_json::from_value(json).expect("a table")
    }

    const MD5: Measure = Measure { older: 170_000, hashed: false };

    #[test]
    fn a_hashed_row_has_an_end_after_each_column_and_a_mark_for_nothing() {
        let sum = table(&["b", "a"]).sum(Measure { hashed: true, ..MD5 });
        let text = "hashtextextended(concat(\"whole row\".\"a\", CASE WHEN \"whole row\".\"a\" IS NULL THEN E'\\x02' END, E'\\x01', \"whole row\".\"b\", ";
        assert!(sum.contains(text), "{sum}");
        assert!(table(&[]).sum(Measure { hashed: true, ..MD5 }).contains("hashtextextended('' COLLATE"));
        let many: Vec<String> = (0..95).map(|number| format!("c{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let sum = table(&many).sum(Measure { hashed: true, ..MD5 });
        assert!(sum.contains("hashtextextended(concat(concat(") && sum.matches("concat(").count() == 5, "{sum}");
    }

    #[test]
    fn columns_come_by_their_names_and_none_is_taken_for_the_table() {
        let sum = table(&["b", "a"]).sum(MD5);
        assert!(sum.ends_with("FROM ONLY \"odd \"\"schema\"\"\".\"t\" AS \"whole row\""), "{sum}");
        assert!(sum.contains("ROW(\"whole row\".\"a\", \"whole row\".\"b\")::text"), "{sum}");
        assert!(table(&["whole row"]).sum(MD5).contains("ROW(\"whole row_\".\"whole row\")::text"));
    }

    #[test]
    fn floats_of_older_servers_are_compared_by_their_bytes() {
        let sum = table(&["f", "fs"]).sum(Measure { older: 110_000, ..MD5 });
        assert!(sum.contains("THEN float8send(\"whole row\".\"f\") END, '')"), "{sum}");
        assert!(sum.contains("coalesce(array_send(\"whole row\".\"fs\"), '')"), "{sum}");
        assert!(!table(&["f", "fs"]).sum(MD5).contains("send"));
        assert_ne!(floats(110_000), floats(120_000));
    }

    #[test]
    fn whatever_differs_is_named() {
        let rows = |rows, sum: &str| Rows { rows, sum: sum.to_owned() };
        let source = Fingerprint {
            hashed: false,
            tables: [("a".to_owned(), rows(1, "x")), ("b".to_owned(), rows(2, "y"))].into(),
            sequences: [("s".to_owned(), "4".to_owned())].into(),
            large_objects: LargeObjects { count: 1, sum: "12".into(), owners: "o".into() },
            views: [("v".to_owned(), true)].into(),
        };
        assert_eq!(source.differences(&source.clone()), []);
        let mut copy = source.clone();
        copy.tables.insert("a".into(), rows(1, "z"));
        copy.tables.remove("b");
        copy.tables.insert("c".into(), rows(0, "0"));
        copy.sequences.insert("s".into(), "5".into());
        copy.large_objects.owners = "p".into();
        copy.views.insert("v".into(), false);
        let told: Vec<String> = source
            .differences(&copy)
            .into_iter()
            .map(|it| format!("{}: {} / {}", it.what, it.source, it.target))
            .collect();
        assert_eq!(
            told,
            [
                "table a: 1 rows, other content / 1 rows, other content",
                "table b: 2 rows / not there",
                "table c: not there / 0 rows",
                "sequence s: at 4 / at 5",
                "materialised view v: filled / never filled",
                "large objects: 1 of them, owners, grants or comments o / 1 of them, owners, grants or comments p",
            ]
        );
    }
}
