//! Numbers and names as findings have them.

use crate::migrate::found::{Listed, Role};
use crate::report::text::count;

pub(super) const MB: u64 = 1 << 20;
pub(super) const GB: u64 = 1 << 30;

/// So many are named.
pub(super) const NAMED: usize = 10;

/// None where there are none.
pub(super) fn some(all: impl Iterator<Item = String>) -> Option<String> {
    let all: Vec<String> = all.collect();
    (!all.is_empty()).then(|| first(&all, all.len() as u64))
}

pub(super) fn names<'a>(roles: impl Iterator<Item = &'a Role>) -> Option<String> {
    some(roles.map(|role| role.name.clone()))
}

pub(super) fn listed(tables: &Listed) -> String {
    let named: Vec<String> = tables.first.iter().map(|one| full(&one.schema, &one.name)).collect();
    first(&named, tables.count)
}

pub(super) fn first(named: &[String], number: u64) -> String {
    let shown = &named[..named.len().min(NAMED)];
    match number.saturating_sub(shown.len() as u64) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

pub(super) fn full(schema: &str, name: &str) -> String {
    format!("{schema}.{name}")
}

pub(super) fn told(number: u64, noun: &str) -> String {
    count(number as usize, noun)
}

/// `en_US.UTF-8` and `en_US.utf8` are one.
pub(super) fn plain(name: &str) -> String {
    name.replace('-', "").to_lowercase()
}

pub(super) fn size(bytes: u64) -> String {
    match bytes {
        ..MB => format!("{} kB", bytes.div_ceil(1024)),
        MB..GB => format!("{} MB", bytes.div_ceil(MB)),
        GB.. => format!("{:.1} GB", bytes as f64 / GB as f64),
    }
}
