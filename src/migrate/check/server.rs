//! The two servers: their versions, space, characters, and what is installed in them.

use super::words::{full, plain, size, some, told};
use super::{Finding, Target};
use crate::migrate::found::Found;

pub(super) fn version(source: &Found, target: &Target) -> Option<Finding> {
    let (from, to) = (source.server.version_num, target.version_num);
    let evidence = format!("PostgreSQL {} there, {} here", spoken(from), spoken(to));
    Some(match (major(from), major(to)) {
        (from, _) if from < (9, 6) => Finding::stops("version", "the source is older than 9.6", evidence)
            .todo("upgrade the source to 9.6 or later first: nothing older was tried"),
        (from, to) if from > to => Finding::stops("version", "the source is newer than the cluster", evidence).todo(
            "make the cluster with that major version or a later one: an older one cannot read a newer one's dump",
        ),
        (from, to) if from == to => Finding::fine("version", "both have the same major version", evidence),
        _ => Finding::fine("version", "a dump goes into a newer version", evidence),
    })
}

/// `(9, 6)`, `(17, 0)`.
pub(super) fn major(version_num: u32) -> (u32, u32) {
    match version_num {
        ..100_000 => (version_num / 10_000, version_num / 100 % 100),
        _ => (version_num / 10_000, 0),
    }
}

/// `9.6.24`, `17.5`.
pub fn spoken(version_num: u32) -> String {
    match major(version_num) {
        (first, second) if version_num < 100_000 => format!("{first}.{second}.{}", version_num % 100),
        (first, _) => format!("{first}.{}", version_num % 10_000),
    }
}

pub(super) fn recovery(source: &Found, _: &Target) -> Option<Finding> {
    let evidence =
        "pg_is_in_recovery() is true: it only follows another server, and cannot be made read-only for the move";
    let todo = "name the server that it follows, or promote it";
    source.server.in_recovery.then(|| Finding::stops("recovery", "the source is a standby", evidence).todo(todo))
}

pub(super) fn read_only(source: &Found, _: &Target) -> Option<Finding> {
    let evidence =
        "default_transaction_read_only is on for the database: a move that was cut off, or somebody's own doing";
    let todo = "if it was a move, take it back with `migrate abort`; else see who set it, and why";
    source.is_read_only().then(|| Finding::look("read-only", "the source is read-only already", evidence).todo(todo))
}

pub(super) fn occupied(_: &Found, target: &Target) -> Option<Finding> {
    let evidence =
        "the cluster's database has tables: it is kept under another name, and the move asks for a typed yes";
    let todo = "see that nobody needs what is in it";
    let finding = || Finding::look("occupied", "the cluster's database is not empty", evidence).todo(todo);
    target.database_has_tables.then(finding)
}

pub(super) fn largest(source: &Found, _: &Target) -> Option<Finding> {
    let tables = &source.tables;
    let largest = tables.largest.iter().take(5);
    let largest = some(largest.map(|table| format!("{} {}", full(&table.schema, &table.name), size(table.bytes))))?;
    let evidence = format!("{} with {}; the largest: {largest}", told(tables.count, "table"), size(tables.bytes));
    Some(Finding::fine("tables", "what takes the time", evidence))
}

pub(super) fn encoding(source: &Found, target: &Target) -> Option<Finding> {
    let (from, to) = (&source.database.encoding, &target.encoding);
    let evidence = format!("{from} there, {to} here");
    Some(match (plain(from).as_str(), plain(to).as_str()) {
        (from, to) if from == to => Finding::fine("encoding", "both have the same encoding", evidence),
        ("sql_ascii", _) => Finding::look("encoding", "nobody has checked the source's characters", evidence).todo(
            "expect the restore to refuse texts that are not what they should be: try it on a copy first, mend them",
        ),
        (_, "utf8") => Finding::fine("encoding", "texts are converted", evidence),
        _ => Finding::look("encoding", "not every character may have its like here", evidence)
            .todo("make the cluster's database with UTF8, which has them all, or try it on a copy first"),
    })
}

pub(super) fn locale(source: &Found, target: &Target) -> Option<Finding> {
    let database = &source.database;
    let build = if source.is_musl() { " (built with musl)" } else { "" };
    let named = database.locale.as_ref().map(|locale| format!(" {locale}")).unwrap_or_default();
    let evidence = format!(
        "{} with {}{named}, characters of {}{build} there; libc with {} here",
        database.collate, database.provider, database.ctype, target.locale
    );
    let same = |locale: &str| plain(locale) == plain(&target.locale);
    let alike = same(&database.collate) && same(&database.ctype) && database.provider == "libc" && !source.is_musl();
    Some(match alike {
        true => Finding::fine("locale", "texts sort by the same locale", evidence),
        false => Finding::look("locale", "texts may sort differently", evidence).todo(
            "nothing, unless somebody relies on the order of ORDER BY or on letters in upper and lower case: indexes \
             are built anew",
        ),
    })
}

pub(super) fn collation_version(source: &Found, _: &Target) -> Option<Finding> {
    let (made, now) = (source.database.collation_version.as_ref()?, source.database.actual_collation_version.as_ref()?);
    let title = "the source's rules for sorting have changed since it was made";
    let evidence = format!("version {made} when it was made, {now} now: its indexes of texts may be out of order");
    let todo = "look for duplicates that a unique index did not keep out: the restore would stop at them \
                (`REINDEX DATABASE` on the source finds them)";
    (made != now).then(|| Finding::look("collation-version", title, evidence).todo(todo))
}

pub(super) fn missing_extensions(source: &Found, target: &Target) -> Option<Finding> {
    let missing = source.objects.extensions.iter().filter(|one| !target.available_extensions.contains_key(&one.name));
    let evidence = some(missing.map(|one| format!("{} {}", one.name, one.version)))?;
    let todo = "install their packages on every member, or drop on the source what nobody needs: `DROP EXTENSION …`";
    Some(Finding::stops("extensions-missing", "extensions that the cluster's members do not have", evidence).todo(todo))
}

/// Those that the cluster has.
pub(super) fn extension_versions(source: &Found, target: &Target) -> Option<Finding> {
    let both = source.objects.extensions.iter();
    let both = both.filter_map(|one| Some((one, target.available_extensions.get(&one.name)?)));
    let (same, other): (Vec<_>, Vec<_>) = both.partition(|(one, version)| one.version == **version);
    let differing = other.into_iter().map(|(one, here)| format!("{} {} there, {here} here", one.name, one.version));
    if let Some(evidence) = some(differing) {
        let title = "extensions come in the cluster's version";
        let todo = "read what changed between the two, above all what an extension that keeps data says of it";
        return Some(Finding::look("extension-versions", title, evidence).todo(todo));
    }
    let evidence = some(same.into_iter().map(|(one, _)| format!("{} {}", one.name, one.version)))?;
    Some(Finding::fine("extension-versions", "extensions are the same here", evidence))
}

pub(super) fn c_functions(source: &Found, _: &Target) -> Option<Finding> {
    let functions = source.objects.c_functions.iter();
    let functions = functions.map(|one| format!("{} ({})", full(&one.schema, &one.name), one.library));
    let title = "functions in C that belong to no extension";
    let todo =
        "put their libraries on every member, or drop them on the source: the restore cannot make them otherwise";
    Some(Finding::stops("c-functions", title, some(functions)?).todo(todo))
}

pub(super) fn languages(source: &Found, _: &Target) -> Option<Finding> {
    let languages = source.objects.languages.iter();
    let evidence = some(languages.map(|(name, number)| format!("{} in {name}", told(*number, "function"))))?;
    let todo = "install the languages' packages on every member, as postgresql-plperl-N or postgresql-plpython3-N";
    Some(Finding::look("languages", "functions in languages that are packages of their own", evidence).todo(todo))
}
