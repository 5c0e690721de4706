//! What is in the database that a dump takes along, leaves behind, or makes anew.

use super::words::{full, listed, size, some, told};
use super::{Finding, Target};
use crate::migrate::found::{Column, Found};

/// Gone in 12 are the old types for times, and a column cannot be `unknown` since 10.
pub(super) fn gone_types(source: &Found, target: &Target) -> Option<Finding> {
    let gone = |column: &&Column| target.version_num >= 120_000 || column.kind == "unknown";
    let columns = source.tables.gone_types.iter().filter(gone);
    let columns = columns.map(|one| format!("{}.{} ({})", full(&one.schema, &one.table), one.column, one.kind));
    let todo = "change them on the source: `ALTER TABLE … ALTER COLUMN … TYPE timestamptz` (interval, tstzrange, text)";
    Some(
        Finding::stops("types", "columns of types that the cluster's version does not have", some(columns)?).todo(todo),
    )
}

pub(super) fn with_oids(source: &Found, target: &Target) -> Option<Finding> {
    let tables = &source.tables.with_oids;
    let todo = "see that nobody reads the column oid of these; if one does, copy it into a column of its own first";
    let finding = || Finding::look("with-oids", "tables lose their hidden column oid", listed(tables)).todo(todo);
    (tables.count > 0 && target.version_num >= 120_000).then(finding)
}

pub(super) fn prepared(source: &Found, _: &Target) -> Option<Finding> {
    let prepared = source.objects.prepared.iter();
    let evidence = some(prepared.map(|one| format!("{} of {}, since {}", one.gid, one.owner, one.since)))?;
    let todo =
        "end each: `COMMIT PREPARED '…'` or `ROLLBACK PREPARED '…'`; a dump has nothing of them, and they hold locks";
    Some(Finding::stops("prepared", "transactions wait to be committed", evidence).todo(todo))
}

pub(super) fn subscriptions(source: &Found, _: &Target) -> Option<Finding> {
    let subscriptions = &source.objects.subscriptions;
    let works = |enabled: bool| if enabled { "enabled" } else { "disabled" };
    let evidence = some(subscriptions.iter().map(|one| format!("{} ({})", one.name, works(one.enabled))))?;
    Some(match subscriptions.iter().any(|one| one.enabled) {
        true => Finding::stops("subscriptions", "a subscription writes to the source", evidence)
            .todo("stop it before the move: `ALTER SUBSCRIPTION … DISABLE`; it stays behind"),
        false => Finding::look("subscriptions", "subscriptions stay behind", evidence)
            .todo("after the move, subscribe anew from the cluster where that is still wanted"),
    })
}

pub(super) fn publications(source: &Found, _: &Target) -> Option<Finding> {
    let todo = "see who subscribes to them: after the move each has to subscribe to the cluster anew";
    let evidence = some(source.objects.publications.iter().cloned())?;
    Some(Finding::look("publications", "publications come along, their subscribers do not", evidence).todo(todo))
}

pub(super) fn large_objects(source: &Found, _: &Target) -> Option<Finding> {
    let (number, bytes) = (source.objects.large_objects, source.objects.large_object_bytes);
    let evidence = format!(
        "{} with {}. Never run vacuumlo: XNAT keeps their numbers in columns of texts, where it finds none, so it \
         would remove them all",
        told(number, "large object"),
        size(bytes)
    );
    (number > 0).then(|| Finding::fine("large-objects", "large objects come along", evidence))
}

pub(super) fn tablespaces(source: &Found, _: &Target) -> Option<Finding> {
    let evidence = some(source.objects.tablespaces.iter().cloned())?;
    let todo = "see that the file system with the cluster's data is large and fast enough for all of it";
    Some(Finding::look("tablespaces", "what is in other tablespaces comes into the default one", evidence).todo(todo))
}

pub(super) fn unlogged(source: &Found, _: &Target) -> Option<Finding> {
    let tables = &source.tables.unlogged;
    let todo = "make those whose data matters ordinary ones: `ALTER TABLE … SET LOGGED`";
    let title = "tables that are empty after every failover, since replicas have nothing of them";
    (tables.count > 0).then(|| Finding::look("unlogged", title, listed(tables)).todo(todo))
}

pub(super) fn invalid_indexes(source: &Found, _: &Target) -> Option<Finding> {
    let unique = |unique: bool| if unique { " (unique)" } else { "" };
    let indexes = source.objects.invalid_indexes.iter();
    let evidence = some(indexes.map(|one| format!("{}{}", full(&one.schema, &one.name), unique(one.unique))))?;
    let todo = "drop those nobody needs, and build the others on the source: `REINDEX INDEX …` (which finds the \
                duplicates that keep a unique one from being built)";
    Some(Finding::look("invalid-indexes", "indexes that were never finished, and are in no dump", evidence).todo(todo))
}

pub(super) fn event_triggers(source: &Found, _: &Target) -> Option<Finding> {
    let triggers = source.objects.event_triggers.iter();
    let evidence = some(triggers.map(|one| format!("{} on {}, of {}", one.name, one.event, one.owner)))?;
    let todo = "see whether each should work here: they are made last, belong to a superuser, and fire for all who \
                change a schema, this program too";
    Some(Finding::look("event-triggers", "event triggers come along", evidence).todo(todo))
}

pub(super) fn foreign_servers(source: &Found, _: &Target) -> Option<Finding> {
    let logins = |number: u64| told(number, "user mapping");
    let servers = source.objects.foreign_servers.iter();
    let evidence = some(servers.map(|one| format!("{} ({}, {})", one.name, one.wrapper, logins(one.mappings))))?;
    let todo = "see that every member reaches them; passwords in user mappings are copied as they are";
    Some(Finding::look("foreign-servers", "servers that this database asks", evidence).todo(todo))
}

pub(super) fn row_security(source: &Found, _: &Target) -> Option<Finding> {
    let tables = &source.tables.row_security;
    let evidence = format!("{}: a superuser makes the dump, so all rows and all policies are in it", listed(tables));
    (tables.count > 0).then(|| Finding::fine("row-security", "tables with row security", evidence))
}

/// Only their names: a value may be a secret.
pub(super) fn settings(source: &Found, _: &Target) -> Option<Finding> {
    let settings = source.database.settings.iter().filter_map(|one| {
        let (name, _) = one.setting.split_once('=')?;
        let whose = one.role.as_ref().map(|role| format!(" for {role}")).unwrap_or_default();
        (name != "default_transaction_read_only").then(|| format!("{name}{whose}"))
    });
    Some(Finding::fine("settings", "settings of the database come along", some(settings)?))
}

/// Settings that no server lists.
const HIDDEN: [&str; 2] = ["role", "session_authorization"];

/// Those of extensions have a dot in them, and may be anything.
pub(super) fn unknown_settings(source: &Found, target: &Target) -> Option<Finding> {
    let all = source.database.settings.iter().chain(&source.database.role_settings);
    let unknown = all.filter_map(|one| {
        let (name, _) = one.setting.split_once('=')?;
        // the superuser's own are not for the cluster's
        let is_known = HIDDEN.contains(&name) || target.settings.iter().any(|known| known.eq_ignore_ascii_case(name));
        // the superuser's own are not for the cluster's
        let is_missed = !name.contains('.') && !is_known && one.role.as_deref() != Some("postgres");
        let whose = one.role.as_ref().map_or_else(|| " of the database".to_owned(), |role| format!(" of {role}"));
        is_missed.then(|| format!("{name}{whose}"))
    });
    let title = "settings that the cluster's version does not have";
    let todo = "take them back on the source: `ALTER ROLE … RESET …`, `ALTER DATABASE … RESET …`, `ALTER ROLE … IN DATABASE …`";
    Some(Finding::stops("settings-unknown", title, some(unknown)?).todo(todo))
}

pub(super) fn primary_keys(source: &Found, _: &Target) -> Option<Finding> {
    let tables = &source.tables.without_primary_key;
    let evidence = format!("{}: a dump does without", listed(tables));
    (tables.count > 0).then(|| Finding::fine("primary-keys", "tables without a primary key", evidence))
}

pub(super) fn partitions(source: &Found, _: &Target) -> Option<Finding> {
    let number = source.tables.partitioned;
    let evidence = told(number, "table");
    (number > 0).then(|| Finding::fine("partitions", "tables with partitions come along", evidence))
}

pub(super) fn generated_columns(source: &Found, _: &Target) -> Option<Finding> {
    let number = source.tables.generated_columns;
    let evidence = format!("{}, computed anew here", told(number, "column"));
    (number > 0).then(|| Finding::fine("generated-columns", "generated columns come along", evidence))
}

pub(super) fn materialized_views(source: &Found, _: &Target) -> Option<Finding> {
    let number = source.tables.materialized_views;
    let evidence = format!("{}, filled anew at the end of the restore", told(number, "view"));
    (number > 0).then(|| Finding::fine("materialized-views", "materialized views come along", evidence))
}
