//! The application's database.

use super::super::model::Scalar;
use super::super::problem::Problem;
use super::super::suggest;
use super::Context;

/// Roles and databases that exist already or belong to the cluster itself.
const RESERVED_ROLES: [&str; 6] = ["postgres", "replicator", "replicator_next", "rewind", "rewind_next", "patroni"];
const RESERVED_DATABASES: [&str; 3] = ["postgres", "template0", "template1"];
/// Words that need quoting in SQL wherever they stand for a name.
const KEYWORDS: [&str; 14] = [
    "all",
    "any",
    "array",
    "current_user",
    "default",
    "group",
    "none",
    "public",
    "select",
    "session_user",
    "table",
    "to",
    "user",
    "with",
];

pub(super) fn names(context: &Context<'_>) -> Vec<Problem> {
    let database = &context.inventory.database;
    let name = identifier("database", &database.name, &RESERVED_DATABASES);
    let owner = identifier("role", &database.owner, &RESERVED_ROLES);
    let found = [("database.name", name), ("database.owner", owner)].into_iter();
    found.filter_map(|(path, problem)| Some(problem?.at(context.places.value(path), ""))).collect()
}

fn identifier(what: &str, name: &str, reserved: &[&str]) -> Option<Problem> {
    let bad = |why: &str| {
        Problem::error("xnat::inventory::bad_identifier", format!("\"{name}\" cannot be the name of a {what}: {why}"))
    };
    if reserved.contains(&name) || name.starts_with("pg_") {
        return Some(
            bad("it belongs to PostgreSQL or to the cluster itself")
                .help("leave it out to get \"xnat\", or choose another"),
        );
    }
    if KEYWORDS.contains(&name) {
        return Some(bad("it is a word of SQL").help("leave it out to get \"xnat\", or choose another"));
    }
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !starts_well || !plain || name.len() > 63 {
        let tidy = name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let tidy = tidy.trim_start_matches(|c: char| c.is_ascii_digit()).chars().take(63).collect::<String>();
        let tidy = if tidy.is_empty() { "xnat".to_owned() } else { tidy };
        return Some(
            bad("it would need quotes everywhere")
                .help(format!("use lower-case letters, digits and `_`, a letter first, at most 63: \"{tidy}\"")),
        );
    }
    None
}

const ENCODINGS: [&str; 28] = [
    "UTF8",
    "SQL_ASCII",
    "LATIN1",
    "LATIN2",
    "LATIN3",
    "LATIN4",
    "LATIN5",
    "LATIN6",
    "LATIN7",
    "LATIN8",
    "LATIN9",
    "LATIN10",
    "WIN1250",
    "WIN1251",
    "WIN1252",
    "WIN1253",
    "WIN1254",
    "WIN1255",
    "WIN1256",
    "WIN1257",
    "WIN1258",
    "ISO_8859_5",
    "ISO_8859_6",
    "ISO_8859_7",
    "ISO_8859_8",
    "KOI8R",
    "KOI8U",
    "EUC_JP",
];

pub(super) fn encoding_and_locale(context: &Context<'_>) -> Vec<Problem> {
    let database = &context.inventory.database;
    let encoding =
        encoding(&database.encoding).map(|problem| problem.at(context.places.value("database.encoding"), ""));
    let locale = locale(&database.locale, &database.encoding);
    let locale = locale.map(|problem| problem.at(context.places.value("database.locale"), ""));
    encoding.into_iter().chain(locale).collect()
}

fn encoding(encoding: &str) -> Option<Problem> {
    if !ENCODINGS.contains(&encoding) {
        let folded = encoding.to_uppercase().replace('-', "");
        let near = suggest::nearest(&folded, ENCODINGS).unwrap_or("UTF8");
        let message = format!("\"{encoding}\" is not an encoding of PostgreSQL");
        return Some(
            Problem::error("xnat::inventory::bad_encoding", message).help(format!("did you mean \"{near}\"?")),
        );
    }
    (encoding != "UTF8").then(|| {
        let message = format!("XNAT writes Unicode, and {encoding} cannot hold all of it");
        Problem::warning("xnat::inventory::bad_encoding", message).help("leave it out: UTF8")
    })
}

fn locale(locale: &str, encoding: &str) -> Option<Problem> {
    let bad = |message: String| Problem::error("xnat::inventory::bad_locale", message);
    let is_utf8 = locale.to_uppercase().replace('-', "").ends_with(".UTF8");
    if locale.is_empty() || locale.contains(|c: char| !(c.is_ascii_alphanumeric() || "_.-@".contains(c))) {
        let help = "leave it out to get C.UTF-8, or use one that `locale -a` lists, such as \"en_GB.UTF-8\"";
        return Some(bad(format!("\"{locale}\" cannot be a locale")).help(help));
    }
    if is_utf8 && ENCODINGS.contains(&encoding) && encoding != "UTF8" {
        let message = format!("locale \"{locale}\" does not go with encoding {encoding}");
        return Some(bad(message).help("leave the encoding out: UTF8"));
    }
    if ["C", "POSIX", "C.UTF-8", "C.utf8"].contains(&locale) {
        return None;
    }
    let warning =
        Problem::warning("xnat::inventory::locale", format!("the order of \"{locale}\" changes with the C library"));
    Some(warning.help(
        "leave it out to get C.UTF-8, which never changes; otherwise it must exist on every postgres host, and indexes must be rebuilt after each upgrade of the distribution",
    ))
}

pub(super) fn extensions(context: &Context<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let preload = context.inventory.postgresql.parameters.get("shared_preload_libraries");
    for (index, name) in context.inventory.database.extensions.iter().enumerate() {
        let at = context.places.value(&format!("database.extensions[{index}]"));
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if !plain || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            let problem = Problem::error(
                "xnat::inventory::bad_identifier",
                format!("\"{name}\" cannot be the name of an extension"),
            );
            problems.push(problem.at(at, "").help("use a name that `select name from pg_available_extensions` lists"));
        } else if name == "pg_stat_statements" && !matches!(preload, Some(Scalar::Text(list)) if list.contains(name)) {
            let message = "pg_stat_statements collects nothing unless it is loaded when the server starts";
            let problem = Problem::warning("xnat::inventory::extension_not_loaded", message);
            problems.push(
                problem
                    .at(at, "")
                    .help("add to [postgresql.parameters]: shared_preload_libraries = \"pg_stat_statements\""),
            );
        }
    }
    problems
}
