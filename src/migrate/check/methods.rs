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
    let long = high > WINDOW;
    let by_stream = long && stream.is_empty();
    let by_logical = long && !by_stream && logical.is_empty();
    let dump = match by_stream || by_logical {
        true => format!("{window}, which is long; it is the only way that this program goes today"),
        false => format!("{window}; takes any older version, locale and build, and leaves the source as it was"),
    };
    vec![
        ("dump", !(by_stream || by_logical), format!("pg_dump and pg_restore: {dump}")),
        ("stream", by_stream, other("a standby of the source that is promoted: seconds without writing", &stream)),
        ("logical", by_logical, other("logical replication: seconds without writing", &logical)),
    ]
}

pub(super) fn other(what: &str, against: &[String]) -> String {
    let against = if against.is_empty() { String::new() } else { format!(". Not here: {}", against.join("; ")) };
    format!("{what}{against}. This program does not do it today")
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

pub(super) fn against_logical(source: &Found) -> Vec<String> {
    let (keyless, large) = (source.tables.without_primary_key.count, source.objects.large_objects);
    let mut against = Vec::new();
    if source.server.version_num < 100_000 {
        against.push("the source cannot publish before version 10".to_owned());
    }
    if keyless > 0 {
        against.push(format!("{} without a primary key", told(keyless, "table")));
    }
    if large > 0 {
        against.push(format!("{}, which it does not copy", told(large, "large object")));
    }
    against
}
