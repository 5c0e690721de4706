//! How long it takes, and which ways there are.

use super::Target;
use super::server::{major, spoken};
use super::words::{GB, told};
use crate::migrate::found::Found;
use crate::report::text::duration;

/// How long nobody can write, at the least and at the most. Roughly: it depends on both servers and the way between.
pub fn seconds(source: &Found) -> (u64, u64) {
    let (bytes, tables) = (source.database.bytes, source.tables.count);
    let at = |each: u64| 10 + bytes.saturating_mul(each).div_ceil(GB) + tables.saturating_mul(2).div_ceil(1000);
    (at(15), at(40))
}

/// Longer than this is no maintenance window.
pub(super) const WINDOW: u64 = 4 * 3600;

/// The ways there are: their names, whether one is to be recommended, and why or why not.
pub fn methods(source: &Found, target: &Target) -> Vec<(&'static str, bool, String)> {
    let (low, high) = seconds(source);
    let window = format!("nobody can write for about {} to {}", duration(low * 1000), duration(high * 1000));
    let (stream, logical) = (against_stream(source, target), against_logical(source));
    let by_logical = high > WINDOW && logical.is_empty();
    let dump = match by_logical {
        true => format!("{window}, which is long"),
        false => format!("{window}; takes any older version, locale and build, and leaves the source as it was"),
    };
    vec![
        ("dump", !by_logical, format!("pg_dump and pg_restore: {dump}")),
        (
            "stream",
            false,
            other("a standby of the source that is promoted: seconds without writing", &stream) + NOT_DONE,
        ),
        ("logical", by_logical, other(&following(source, (low, high)), &logical)),
    ]
}

const NOT_DONE: &str = ". This program does not do it today";

fn other(what: &str, against: &[String]) -> String {
    let against = if against.is_empty() { String::new() } else { format!(". Not here: {}", against.join("; ")) };
    format!("{what}{against}")
}

/// Comparing takes about as long as copying, and what is not followed has to be copied then.
fn following(source: &Found, (low, high): (u64, u64)) -> String {
    let keyless = source.tables.without_primary_key.count;
    let rest = [
        (keyless, told(keyless, "table") + " without a primary key"),
        (source.objects.large_objects, told(source.objects.large_objects, "large object")),
    ];
    let rest: Vec<String> = rest.into_iter().filter(|(number, _)| *number > 0).map(|(_, text)| text).collect();
    let rest = if rest.is_empty() { String::new() } else { format!("; {} are copied then", rest.join(" and ")) };
    format!(
        "a copy that follows the source by logical replication: nobody can write while both are compared, about {} to {}{rest}",
        duration(low * 500),
        duration(high * 500)
    )
}

pub(super) fn against_stream(source: &Found, target: &Target) -> Vec<String> {
    let (from, to) = (source.server.version_num, target.version_num);
    let mut against = Vec::new();
    if major(from) != major(to) {
        against.push(format!("it takes the same major version, and these are {} and {}", spoken(from), spoken(to)));
    }
    if source.is_musl() {
        against.push("the source was built with musl, so indexes of texts would be out of order".to_owned());
    }
    against
}

/// Why the source cannot be followed.
pub fn against_logical(source: &Found) -> Vec<String> {
    let server = &source.server;
    if server.version_num < 100_000 {
        return vec!["the source cannot publish before version 10".to_owned()];
    }
    let mut against = Vec::new();
    if server.in_recovery {
        against.push("it is a standby".to_owned());
    }
    let kept = &source.tables.kept_by_extensions;
    if !kept.is_empty() {
        against.push(format!("rows that extensions keep in tables of theirs would not follow: {}", kept.join(", ")));
    }
    if server.wal_level != "logical" {
        against.push(format!(
            "its wal_level is {:?}: set it to logical in its postgresql.conf, and restart it",
            server.wal_level
        ));
    }
    if server.free_slots < 1 {
        against.push("it has no replication slot left: raise max_replication_slots, and restart it".to_owned());
    }
    if server.free_senders < 1 {
        against.push("it has no WAL sender left: raise max_wal_senders, and restart it".to_owned());
    }
    if source.tables.always_fire > 0 {
        let number = told(source.tables.always_fire, "trigger");
        against.push(format!("{number} (or rules) would fire in the copy, too (ENABLE ALWAYS or REPLICA)"));
    }
    against
}
