//! PostgreSQL's version and parameters.

use super::super::model::{PackageSource, Scalar, Synchronous};
use super::super::problem::Problem;
use super::super::suggest;
use super::Context;

/// What the roles and templates are written for.
const OLDEST: u32 = 13;
const NEWEST: u32 = 18;
/// Of Debian 12, Debian 13, Ubuntu 22.04 and 24.04.
const OF_DISTRIBUTIONS: [u32; 4] = [14, 15, 16, 17];

pub(super) fn version(context: &Context<'_>) -> Vec<Problem> {
    let Some(version) = context.inventory.postgresql.version else { return Vec::new() };
    let at = context.places.value("postgresql.version");
    if !(OLDEST..=NEWEST).contains(&version) {
        let message = format!("PostgreSQL {version} is not supported: {OLDEST} to {NEWEST} are");
        let problem = Problem::error("xnat::inventory::postgresql_version", message).at(at, "");
        return vec![
            problem.help("leave `version` out to get the distribution's own: 15 on Debian 12, 17 on Debian 13"),
        ];
    }
    if matches!(context.inventory.packages.source, PackageSource::Distribution) && !OF_DISTRIBUTIONS.contains(&version)
    {
        let message = format!("no supported distribution has PostgreSQL {version} itself");
        let problem = Problem::warning("xnat::inventory::postgresql_version", message).at(at, "");
        return vec![problem.help("add a [[packages.repository]] that has it, or leave `version` out")];
    }
    Vec::new()
}

/// Names of PostgreSQL 15 to 18 (`postgres --describe-config`), to find slips of the finger: Patroni drops a parameter
/// it does not know with no more than a line in its log.
const KNOWN: &str = include_str!("postgresql_parameters.txt");

/// Set by Patroni or by this tool from other keys, and what to use instead. docs/patroni_configuration.rst,
/// "PostgreSQL parameters controlled by Patroni".
const OWNED: [(&str, &str); 17] = [
    ("listen_addresses", "leave it out: who may connect is decided by [postgresql] allow and hba"),
    ("port", "use [postgresql] port = 5432"),
    ("cluster_name", "use [cluster] name = \"xnat\""),
    ("hot_standby", "leave it out: Patroni always has it on, so that replicas can be read"),
    ("wal_log_hints", "leave it out: Patroni always has it on, so that a former leader can be rewound"),
    ("synchronous_standby_names", "use [patroni] synchronous = \"on\", and Patroni chooses the replicas"),
    ("primary_conninfo", "leave it out: Patroni points each replica at the leader"),
    ("primary_slot_name", "leave it out: Patroni makes a slot for each replica"),
    ("promote_trigger_file", "leave it out: Patroni promotes"),
    ("recovery_target_timeline", "leave it out: Patroni follows the newest timeline"),
    ("data_directory", "leave it out: the data is in /var/lib/postgresql/<version>/<cluster>"),
    ("config_file", "put single parameters into [postgresql.parameters]"),
    ("hba_file", "use [postgresql] allow = [\"10.1.0.0/16\"] or hba = [\"…\"]"),
    ("ident_file", "leave it out: it belongs to this tool"),
    ("external_pid_file", "leave it out: it belongs to this tool"),
    ("unix_socket_directories", "leave it out: sockets are in /var/run/postgresql"),
    ("restart_after_crash", "leave it out: Patroni decides who goes on after a crash"),
];

/// Patroni refuses less than this. Same page.
const MINIMA: [(&str, i64); 6] = [
    ("max_connections", 25),
    ("max_locks_per_transaction", 32),
    ("max_worker_processes", 2),
    ("max_wal_senders", 3),
    ("max_replication_slots", 4),
    ("wal_keep_segments", 1),
];

pub(super) fn parameters(context: &Context<'_>) -> Vec<Problem> {
    let parameters = &context.inventory.postgresql.parameters;
    let each = parameters.iter().filter_map(|(name, value)| {
        let problem = spelling(name)
            .or_else(|| owned(name))
            .or_else(|| minimum(name, value))
            .or_else(|| danger(context, name, value));
        Some(problem?.at(context.places.key(&format!("postgresql.parameters.{name}")), ""))
    });
    each.collect()
}

fn spelling(name: &str) -> Option<Problem> {
    let warning = |message: String| Problem::warning("xnat::inventory::unknown_parameter", message);
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if !name.split('.').all(part) || name.split('.').count() > 2 {
        let problem = Problem::error(
            "xnat::inventory::unknown_parameter",
            format!("`{name}` cannot be the name of a PostgreSQL parameter"),
        );
        let tidy = name.replace('-', "_").to_lowercase();
        return Some(problem.help(format!(
            "did you mean `{tidy}`? Write extension.name in quotes: \"pg_stat_statements.max\" = 5000"
        )));
    }
    let folded = name.to_lowercase();
    // `extension.parameter` can be anything.
    if name.contains('.')
        || KNOWN.lines().any(|known| known == folded)
        || OWNED.iter().any(|(owned, _)| *owned == folded)
    {
        return None;
    }
    let problem = warning(format!("PostgreSQL has no parameter `{name}`; Patroni would leave it out"));
    Some(match suggest::nearest(name, KNOWN.lines()) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help("look it up in `select name from pg_settings`, or remove it"),
    })
}

fn owned(name: &str) -> Option<Problem> {
    let (_, instead) = OWNED.into_iter().find(|(owned, _)| name.eq_ignore_ascii_case(owned))?;
    let problem = Problem::error(
        "xnat::inventory::owned_parameter",
        format!("`{name}` cannot be set here: it is not yours but Patroni's"),
    );
    Some(problem.help(instead))
}

fn minimum(name: &str, value: &Scalar) -> Option<Problem> {
    let (_, least) = MINIMA.into_iter().find(|(known, _)| *known == name)?;
    let number = match value {
        Scalar::Integer(number) => *number,
        Scalar::Text(text) => text.parse().ok()?,
        _ => return None,
    };
    if number < least {
        let problem = Problem::error(
            "xnat::inventory::out_of_range",
            format!("`{name}` is {number}, and Patroni refuses less than {least}"),
        );
        return Some(problem.help(format!("raise it to {least} or more, or leave it out")));
    }
    // DBCP's pool of one XNAT node: `datasource.maxActive`-like default of 40, besides superusers, replicas and Patroni.
    (name == "max_connections" && number < 50).then(|| {
        let problem = Problem::warning(
            "xnat::inventory::few_connections",
            format!("{number} connections are few for XNAT, whose pool opens up to 40"),
        );
        problem.help("leave it out, or use at least 40 per XNAT server and 20 besides: max_connections = 100")
    })
}

fn danger(context: &Context<'_>, name: &str, value: &Scalar) -> Option<Problem> {
    let off = matches!(value, Scalar::Bool(false)) || is_text(value, &["off", "false", "no", "0"]);
    let on = matches!(value, Scalar::Bool(true)) || is_text(value, &["on", "true", "yes", "1", "always"]);
    let warning = |message: String, help: &str| {
        Some(Problem::warning("xnat::inventory::dangerous_parameter", message).help(help))
    };
    match name {
        "fsync" | "full_page_writes" if off => warning(
            format!("with `{name}` off, a power failure destroys the database"),
            "remove it; synchronous_commit = \"off\" is the safe way to faster commits",
        ),
        "synchronous_commit" if off && context.inventory.patroni.synchronous != Synchronous::Off => warning(
            "`synchronous_commit` off undoes [patroni] synchronous: commits wait for nobody".into(),
            "remove one of the two",
        ),
        "archive_mode"
            if on
                && !context.inventory.postgresql.parameters.contains_key("archive_command")
                && !context.inventory.postgresql.parameters.contains_key("archive_library") =>
        {
            warning(
                "`archive_mode` without `archive_command` keeps all WAL until the disk is full".into(),
                "add archive_command, or remove archive_mode",
            )
        }
        "password_encryption" if is_text(value, &["md5"]) => {
            warning("md5 passwords can be cracked, and logins here ask for scram-sha-256".into(), "remove it")
        }
        "wal_level" if is_text(value, &["minimal"]) => {
            let problem =
                Problem::error("xnat::inventory::owned_parameter", "with `wal_level` minimal there is no replication");
            Some(problem.help("remove it, or use wal_level = \"logical\""))
        }
        _ => None,
    }
}

fn is_text(value: &Scalar, choices: &[&str]) -> bool {
    matches!(value, Scalar::Text(text) if choices.contains(&text.to_lowercase().as_str()))
}
