//! What a foreign database will meet in the cluster: what has to be put right first, what somebody should look at, and
//! what is well. One small rule for each; all are told at once, since whoever moves a site has one night for it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::found::{Column, Found, Hba, Listed, Password, Role};
use crate::report::text::{count, duration, printable};

/// The worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It would fail, or lose something.
    Stops,
    /// It works; somebody has to know.
    Look,
    Fine,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Self::Stops => "stop",
            Self::Look => "look",
            Self::Fine => "fine",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// For programs: it stays the same.
    pub id: &'static str,
    pub severity: Severity,
    pub title: String,
    pub evidence: String,
    /// Empty where there is nothing to do.
    pub todo: String,
}

impl Finding {
    fn new(severity: Severity, id: &'static str, title: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self { id, severity, title: title.into(), evidence: evidence.into(), todo: String::new() }
    }
    fn stops(id: &'static str, title: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(Severity::Stops, id, title, evidence)
    }
    fn look(id: &'static str, title: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(Severity::Look, id, title, evidence)
    }
    fn fine(id: &'static str, title: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(Severity::Fine, id, title, evidence)
    }
    fn todo(mut self, todo: impl Into<String>) -> Self {
        self.todo = todo.into();
        self
    }
}

/// The cluster it is to come into.
#[derive(Clone, Debug)]
pub struct Target {
    pub version_num: u32,
    pub encoding: String,
    pub locale: String,
    /// With their default versions.
    pub available_extensions: BTreeMap<String, String>,
    /// That are there already.
    pub roles: Vec<String>,
    /// The application's role.
    pub owner: String,
    /// On the leader's file system with the data.
    pub free_bytes: Option<u64>,
    pub max_connections: u32,
    pub database_has_tables: bool,
}

type Rule = fn(&Found, &Target) -> Option<Finding>;

/// In the order in which what is equally bad is told.
const RULES: [Rule; 36] = [
    version,
    recovery,
    read_only,
    occupied,
    disk,
    largest,
    encoding,
    locale,
    collation_version,
    missing_extensions,
    extension_versions,
    c_functions,
    languages,
    gone_types,
    with_oids,
    prepared,
    subscriptions,
    publications,
    large_objects,
    taken_roles,
    superusers,
    passwords,
    tablespaces,
    unlogged,
    invalid_indexes,
    event_triggers,
    foreign_servers,
    row_security,
    settings,
    clients,
    without_password,
    connections,
    primary_keys,
    partitions,
    generated_columns,
    materialized_views,
];

/// Everything there is to say, the worst first.
pub fn judge(source: &Found, target: &Target) -> Vec<Finding> {
    let mut findings: Vec<Finding> = RULES.iter().filter_map(|rule| rule(source, target)).collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn version(source: &Found, target: &Target) -> Option<Finding> {
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
fn major(version_num: u32) -> (u32, u32) {
    match version_num {
        ..100_000 => (version_num / 10_000, version_num / 100 % 100),
        _ => (version_num / 10_000, 0),
    }
}

/// `9.6.24`, `17.5`.
fn spoken(version_num: u32) -> String {
    match major(version_num) {
        (first, second) if version_num < 100_000 => format!("{first}.{second}.{}", version_num % 100),
        (first, _) => format!("{first}.{}", version_num % 10_000),
    }
}

fn recovery(source: &Found, _: &Target) -> Option<Finding> {
    let evidence =
        "pg_is_in_recovery() is true: it only follows another server, and cannot be made read-only for the move";
    let todo = "name the server that it follows, or promote it";
    source.server.in_recovery.then(|| Finding::stops("recovery", "the source is a standby", evidence).todo(todo))
}

fn read_only(source: &Found, _: &Target) -> Option<Finding> {
    let evidence =
        "default_transaction_read_only is on for the database: a move that was cut off, or somebody's own doing";
    let todo = "if it was a move, take it back with `migrate abort`; else see who set it, and why";
    source.is_read_only().then(|| Finding::look("read-only", "the source is read-only already", evidence).todo(todo))
}

fn occupied(_: &Found, target: &Target) -> Option<Finding> {
    let evidence =
        "the cluster's database has tables: it is kept under another name, and the move asks for a typed yes";
    let todo = "see that nobody needs what is in it";
    let finding = || Finding::look("occupied", "the cluster's database is not empty", evidence).todo(todo);
    target.database_has_tables.then(finding)
}

fn disk(source: &Found, target: &Target) -> Option<Finding> {
    let bytes = source.database.bytes;
    let title = "room on the leader's disk";
    let todo = "make room there, and as much for the copy on every replica";
    let Some(free) = target.free_bytes else {
        let evidence = format!("the source has {}; what is free on the leader is not known", size(bytes));
        return Some(Finding::look("disk", title, evidence).todo(todo));
    };
    let evidence = format!(
        "the source has {}, free are {}; the copy takes about as much, its dump about half of that",
        size(bytes),
        size(free)
    );
    let tenfold = free.saturating_mul(10);
    Some(match tenfold {
        _ if tenfold < bytes.saturating_mul(12) => Finding::stops("disk", title, evidence).todo(todo),
        _ if tenfold < bytes.saturating_mul(15) => Finding::look("disk", title, evidence).todo(todo),
        _ => Finding::fine("disk", title, evidence),
    })
}

fn largest(source: &Found, _: &Target) -> Option<Finding> {
    let tables = &source.tables;
    let largest = tables.largest.iter().take(5);
    let largest = some(largest.map(|table| format!("{} {}", full(&table.schema, &table.name), size(table.bytes))))?;
    let evidence = format!("{} with {}; the largest: {largest}", told(tables.count, "table"), size(tables.bytes));
    Some(Finding::fine("tables", "what takes the time", evidence))
}

fn encoding(source: &Found, target: &Target) -> Option<Finding> {
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

fn locale(source: &Found, target: &Target) -> Option<Finding> {
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

fn collation_version(source: &Found, _: &Target) -> Option<Finding> {
    let (made, now) = (source.database.collation_version.as_ref()?, source.database.actual_collation_version.as_ref()?);
    let title = "the source's rules for sorting have changed since it was made";
    let evidence = format!("version {made} when it was made, {now} now: its indexes of texts may be out of order");
    let todo = "look for duplicates that a unique index did not keep out: the restore would stop at them \
                (`REINDEX DATABASE` on the source finds them)";
    (made != now).then(|| Finding::look("collation-version", title, evidence).todo(todo))
}

fn missing_extensions(source: &Found, target: &Target) -> Option<Finding> {
    let missing = source.objects.extensions.iter().filter(|one| !target.available_extensions.contains_key(&one.name));
    let evidence = some(missing.map(|one| format!("{} {}", one.name, one.version)))?;
    let todo = "install their packages on every member, or drop on the source what nobody needs: `DROP EXTENSION …`";
    Some(Finding::stops("extensions-missing", "extensions that the cluster's members do not have", evidence).todo(todo))
}

/// Those that the cluster has.
fn extension_versions(source: &Found, target: &Target) -> Option<Finding> {
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

fn c_functions(source: &Found, _: &Target) -> Option<Finding> {
    let functions = source.objects.c_functions.iter();
    let functions = functions.map(|one| format!("{} ({})", full(&one.schema, &one.name), one.library));
    let title = "functions in C that belong to no extension";
    let todo =
        "put their libraries on every member, or drop them on the source: the restore cannot make them otherwise";
    Some(Finding::stops("c-functions", title, some(functions)?).todo(todo))
}

fn languages(source: &Found, _: &Target) -> Option<Finding> {
    let languages = source.objects.languages.iter();
    let evidence = some(languages.map(|(name, number)| format!("{} in {name}", told(*number, "function"))))?;
    let todo = "install the languages' packages on every member, as postgresql-plperl-N or postgresql-plpython3-N";
    Some(Finding::look("languages", "functions in languages that are packages of their own", evidence).todo(todo))
}

/// Gone in 12 are the old types for times, and a column cannot be `unknown` since 10.
fn gone_types(source: &Found, target: &Target) -> Option<Finding> {
    let gone = |column: &&Column| target.version_num >= 120_000 || column.kind == "unknown";
    let columns = source.tables.gone_types.iter().filter(gone);
    let columns = columns.map(|one| format!("{}.{} ({})", full(&one.schema, &one.table), one.column, one.kind));
    let todo = "change them on the source: `ALTER TABLE … ALTER COLUMN … TYPE timestamptz` (interval, tstzrange, text)";
    Some(
        Finding::stops("types", "columns of types that the cluster's version does not have", some(columns)?).todo(todo),
    )
}

fn with_oids(source: &Found, target: &Target) -> Option<Finding> {
    let tables = &source.tables.with_oids;
    let todo = "see that nobody reads the column oid of these; if one does, copy it into a column of its own first";
    let finding = || Finding::look("with-oids", "tables lose their hidden column oid", listed(tables)).todo(todo);
    (tables.count > 0 && target.version_num >= 120_000).then(finding)
}

fn prepared(source: &Found, _: &Target) -> Option<Finding> {
    let prepared = source.objects.prepared.iter();
    let evidence = some(prepared.map(|one| format!("{} of {}, since {}", one.gid, one.owner, one.since)))?;
    let todo =
        "end each: `COMMIT PREPARED '…'` or `ROLLBACK PREPARED '…'`; a dump has nothing of them, and they hold locks";
    Some(Finding::stops("prepared", "transactions wait to be committed", evidence).todo(todo))
}

fn subscriptions(source: &Found, _: &Target) -> Option<Finding> {
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

fn publications(source: &Found, _: &Target) -> Option<Finding> {
    let todo = "see who subscribes to them: after the move each has to subscribe to the cluster anew";
    let evidence = some(source.objects.publications.iter().cloned())?;
    Some(Finding::look("publications", "publications come along, their subscribers do not", evidence).todo(todo))
}

fn large_objects(source: &Found, _: &Target) -> Option<Finding> {
    let (number, bytes) = (source.objects.large_objects, source.objects.large_object_bytes);
    let evidence = format!(
        "{} with {}. Never run vacuumlo: XNAT keeps their numbers in columns of texts, where it finds none, so it \
         would remove them all",
        told(number, "large object"),
        size(bytes)
    );
    (number > 0).then(|| Finding::fine("large-objects", "large objects come along", evidence))
}

fn taken_roles(source: &Found, target: &Target) -> Option<Finding> {
    let taken = source.roles.all.iter().filter(|role| {
        role.name != "postgres"
            && role.name != target.owner
            && target.roles.contains(&role.name)
            && matters(source, role)
    });
    let todo = "see that they mean the same on both sides; if not, rename one: `ALTER ROLE … RENAME TO …`";
    let evidence = format!("{}: they stay what they are here, with the passwords they have here", names(taken)?);
    Some(Finding::look("roles-taken", "roles that the cluster has already", evidence).todo(todo))
}

/// The application's own is the cluster's, and ordinary; others are made as they are.
fn superusers(source: &Found, target: &Target) -> Option<Finding> {
    let superusers = source.roles.all.iter().filter(|role| role.superuser);
    let superusers = superusers.filter_map(|role| match &role.name {
        name if *name == target.owner => Some(format!("{name} is an ordinary role here")),
        name if !target.roles.contains(name) => Some(format!("{name} becomes one of the whole cluster")),
        _ => None,
    });
    let todo = "see what they need to be superusers for: the application may miss what only a superuser can do, and \
                the others can do anything here; take it from those who do not need it: `ALTER ROLE … NOSUPERUSER`";
    Some(Finding::look("superusers", "superusers of the source", some(superusers)?).todo(todo))
}

/// One that the server keeps as it was typed becomes one for SCRAM on its way.
fn passwords(source: &Found, target: &Target) -> Option<Finding> {
    let weak = source.roles.all.iter().filter(|role| {
        let ours = role.name == target.owner || target.roles.contains(&role.name);
        role.login && role.password == Password::Md5 && !ours
    });
    let evidence = format!("{}: md5 hashes are of no use to SCRAM, the only way in here", names(weak)?);
    let todo = "set each again, on the cluster after the move: `ALTER ROLE … PASSWORD '…'`";
    Some(Finding::look("passwords", "roles that cannot log in with the password they have", evidence).todo(todo))
}

/// Who may connect, or has something to do with this database.
fn matters(source: &Found, role: &Role) -> bool {
    role.login || source.roles.in_database.contains(&role.name)
}

fn tablespaces(source: &Found, _: &Target) -> Option<Finding> {
    let evidence = some(source.objects.tablespaces.iter().cloned())?;
    let todo = "see that the file system with the cluster's data is large and fast enough for all of it";
    Some(Finding::look("tablespaces", "what is in other tablespaces comes into the default one", evidence).todo(todo))
}

fn unlogged(source: &Found, _: &Target) -> Option<Finding> {
    let tables = &source.tables.unlogged;
    let todo = "make those whose data matters ordinary ones: `ALTER TABLE … SET LOGGED`";
    let title = "tables that are empty after every failover, since replicas have nothing of them";
    (tables.count > 0).then(|| Finding::look("unlogged", title, listed(tables)).todo(todo))
}

fn invalid_indexes(source: &Found, _: &Target) -> Option<Finding> {
    let unique = |unique: bool| if unique { " (unique)" } else { "" };
    let indexes = source.objects.invalid_indexes.iter();
    let evidence = some(indexes.map(|one| format!("{}{}", full(&one.schema, &one.name), unique(one.unique))))?;
    let todo = "drop those nobody needs, and build the others on the source: `REINDEX INDEX …` (which finds the \
                duplicates that keep a unique one from being built)";
    Some(Finding::look("invalid-indexes", "indexes that were never finished, and are in no dump", evidence).todo(todo))
}

fn event_triggers(source: &Found, _: &Target) -> Option<Finding> {
    let triggers = source.objects.event_triggers.iter();
    let evidence = some(triggers.map(|one| format!("{} on {}, of {}", one.name, one.event, one.owner)))?;
    let todo = "see whether each should work here: they are made last, belong to a superuser, and fire for all who \
                change a schema, this program too";
    Some(Finding::look("event-triggers", "event triggers come along", evidence).todo(todo))
}

fn foreign_servers(source: &Found, _: &Target) -> Option<Finding> {
    let logins = |number: u64| told(number, "user mapping");
    let servers = source.objects.foreign_servers.iter();
    let evidence = some(servers.map(|one| format!("{} ({}, {})", one.name, one.wrapper, logins(one.mappings))))?;
    let todo = "see that every member reaches them; passwords in user mappings are copied as they are";
    Some(Finding::look("foreign-servers", "servers that this database asks", evidence).todo(todo))
}

fn row_security(source: &Found, _: &Target) -> Option<Finding> {
    let tables = &source.tables.row_security;
    let evidence = format!("{}: a superuser makes the dump, so all rows and all policies are in it", listed(tables));
    (tables.count > 0).then(|| Finding::fine("row-security", "tables with row security", evidence))
}

/// Only their names: a value may be a secret.
fn settings(source: &Found, _: &Target) -> Option<Finding> {
    let settings = source.database.settings.iter().filter_map(|one| {
        let (name, _) = one.setting.split_once('=')?;
        let whose = one.role.as_ref().map(|role| format!(" for {role}")).unwrap_or_default();
        (name != "default_transaction_read_only").then(|| format!("{name}{whose}"))
    });
    Some(Finding::fine("settings", "settings of the database come along", some(settings)?))
}

fn clients(source: &Found, _: &Target) -> Option<Finding> {
    let clients = &source.clients;
    let allowed = some(strangers(source).filter_map(from));
    let connected = some(clients.addresses.iter().cloned());
    if clients.sessions == 0 && allowed.is_none() {
        return Some(Finding::fine("clients", "nobody else is connected", "no sessions, and no rule for other hosts"));
    }
    let connected = connected.map(|from| format!(" from {from}")).unwrap_or_default();
    let allowed = allowed.map(|allowed| format!("; let in are {allowed}")).unwrap_or_default();
    let evidence = format!("{}{connected}{allowed}", told(clients.sessions, "session"));
    let todo = "have each connect to HAProxy, over TCP: PostgreSQL sees HAProxy's address instead of theirs, so let \
                those in that are missing in the inventory and at the firewall";
    Some(Finding::look("clients", "clients have to find the cluster", evidence).todo(todo))
}

fn without_password(source: &Found, _: &Target) -> Option<Finding> {
    let passwords = ["scram-sha-256", "md5", "password"];
    let rules = strangers(source).filter(|rule| !passwords.contains(&rule.method.as_str()));
    let evidence = some(rules.filter_map(|rule| Some(format!("{} from {}", rule.method, from(rule)?))))?;
    let todo = "give those who log in that way a password: the cluster lets nobody in without";
    Some(Finding::look("without-password", "clients may log in without a password there", evidence).todo(todo))
}

/// Rules that let other hosts in.
fn strangers(source: &Found) -> impl Iterator<Item = &Hba> {
    source.server.hba.iter().filter(|rule| {
        let here = ["127.0.0.1", "::1", "localhost", "samehost"];
        let other = rule.address.as_ref().is_some_and(|address| !here.contains(&address.as_str()));
        let replication = rule.databases.iter().all(|database| database == "replication");
        rule.kind.starts_with("host") && other && rule.method != "reject" && !replication
    })
}

fn from(rule: &Hba) -> Option<String> {
    let mask = rule.netmask.as_ref().map(|mask| format!("/{mask}")).unwrap_or_default();
    Some(format!("{}{mask}", rule.address.as_ref()?))
}

fn connections(source: &Found, target: &Target) -> Option<Finding> {
    let (there, here) = (source.server.max_connections, target.max_connections);
    let sessions = source.clients.sessions;
    let evidence =
        format!("max_connections is {there} there, {here} here; now there are {}", told(sessions, "session"));
    let todo = "see how many the clients' pools may open, and raise max_connections in the inventory if they need it";
    let finding = || Finding::look("connections", "fewer clients fit in than there", evidence).todo(todo);
    (here < there || u64::from(here) < sessions).then(finding)
}

fn primary_keys(source: &Found, _: &Target) -> Option<Finding> {
    let tables = &source.tables.without_primary_key;
    let evidence = format!("{}: a dump does without", listed(tables));
    (tables.count > 0).then(|| Finding::fine("primary-keys", "tables without a primary key", evidence))
}

fn partitions(source: &Found, _: &Target) -> Option<Finding> {
    let number = source.tables.partitioned;
    let evidence = told(number, "table");
    (number > 0).then(|| Finding::fine("partitions", "tables with partitions come along", evidence))
}

fn generated_columns(source: &Found, _: &Target) -> Option<Finding> {
    let number = source.tables.generated_columns;
    let evidence = format!("{}, computed anew here", told(number, "column"));
    (number > 0).then(|| Finding::fine("generated-columns", "generated columns come along", evidence))
}

fn materialized_views(source: &Found, _: &Target) -> Option<Finding> {
    let number = source.tables.materialized_views;
    let evidence = format!("{}, filled anew at the end of the restore", told(number, "view"));
    (number > 0).then(|| Finding::fine("materialized-views", "materialized views come along", evidence))
}

const MB: u64 = 1 << 20;
const GB: u64 = 1 << 30;

/// How long nobody can write, at the least and at the most. Roughly: it depends on both servers and the way between.
pub fn seconds(source: &Found) -> (u64, u64) {
    let (bytes, tables) = (source.database.bytes, source.tables.count);
    let at = |each: u64| 10 + bytes.saturating_mul(each).div_ceil(GB) + tables.saturating_mul(2).div_ceil(1000);
    (at(15), at(40))
}

/// Longer than this is no maintenance window.
const WINDOW: u64 = 4 * 3600;

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

fn other(what: &str, against: &[String]) -> String {
    let against = if against.is_empty() { String::new() } else { format!(". Not here: {}", against.join("; ")) };
    format!("{what}{against}. This program does not do it today")
}

fn against_stream(source: &Found, target: &Target) -> Vec<String> {
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

fn against_logical(source: &Found) -> Vec<String> {
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

/// Where texts begin: after the severity.
const INDENT: &str = "      ";

/// For people: a block for each finding, and a line for each that is fine.
pub fn text(findings: &[Finding]) -> String {
    findings.iter().map(block).collect()
}

fn block(finding: &Finding) -> String {
    let (title, evidence) = (bare(&finding.title), bare(&finding.evidence));
    let word = finding.severity.word();
    match finding.severity {
        Severity::Fine => format!("{word}  {title}: {evidence}\n"),
        _ => format!("{word}  {title}\n{INDENT}{evidence}\n{INDENT}do: {}\n", bare(&finding.todo)),
    }
}

/// In one line: a foreign database's names may have anything in them.
fn bare(text: &str) -> String {
    printable(text).replace('\n', " ")
}

/// So many are named.
const NAMED: usize = 10;

/// None where there are none.
fn some(all: impl Iterator<Item = String>) -> Option<String> {
    let all: Vec<String> = all.collect();
    (!all.is_empty()).then(|| first(&all, all.len() as u64))
}

fn names<'a>(roles: impl Iterator<Item = &'a Role>) -> Option<String> {
    some(roles.map(|role| role.name.clone()))
}

fn listed(tables: &Listed) -> String {
    let named: Vec<String> = tables.first.iter().map(|one| full(&one.schema, &one.name)).collect();
    first(&named, tables.count)
}

fn first(named: &[String], number: u64) -> String {
    let shown = &named[..named.len().min(NAMED)];
    match number.saturating_sub(shown.len() as u64) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn full(schema: &str, name: &str) -> String {
    format!("{schema}.{name}")
}

fn told(number: u64, noun: &str) -> String {
    count(number as usize, noun)
}

/// `en_US.UTF-8` and `en_US.utf8` are one.
fn plain(name: &str) -> String {
    name.replace('-', "").to_lowercase()
}

fn size(bytes: u64) -> String {
    match bytes {
        ..MB => format!("{} kB", bytes.div_ceil(1024)),
        MB..GB => format!("{} MB", bytes.div_ceil(MB)),
        GB.. => format!("{:.1} GB", bytes as f64 / GB as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::super::found::{
        EventTrigger, Extension, ForeignServer, Function, Index, Name, Prepared, Setting, Subscription, Table,
    };
    use super::*;

    type Change = fn(&mut Found, &mut Target);

    fn healthy() -> (Found, Target) {
        let mut source = Found::default();
        source.server.version_num = 130_011;
        source.server.version = "PostgreSQL 13.11 on x86_64-pc-linux-gnu".to_owned();
        source.server.max_connections = 100;
        source.database.name = "xnat".to_owned();
        source.database.bytes = 10 * GB;
        source.database.encoding = "UTF8".to_owned();
        source.database.collate = "en_US.utf8".to_owned();
        source.database.ctype = "en_US.utf8".to_owned();
        source.database.provider = "libc".to_owned();
        source.tables.count = 500;
        source.tables.largest.push(Table { bytes: 3 * GB, ..table("xdat_history") });
        source.objects.extensions.push(extension("plpgsql", "1.0"));
        source.roles.all = vec![
            Role { superuser: true, ..role("postgres", Password::None) },
            role("xnat", Password::Md5),
            role("report", Password::Scram),
        ];
        source.roles.in_database = vec!["report".to_owned(), "xnat".to_owned()];
        let target = Target {
            version_num: 170_005,
            encoding: "UTF8".to_owned(),
            locale: "en_US.UTF-8".to_owned(),
            available_extensions: BTreeMap::from([("plpgsql".to_owned(), "1.0".to_owned())]),
            roles: vec!["postgres".to_owned(), "xnat".to_owned()],
            owner: "xnat".to_owned(),
            free_bytes: Some(100 * GB),
            max_connections: 100,
            database_has_tables: false,
        };
        (source, target)
    }

    fn table(name: &str) -> Table {
        Table { schema: "public".to_owned(), name: name.to_owned(), ..Table::default() }
    }

    fn role(name: &str, password: Password) -> Role {
        Role { name: name.to_owned(), login: true, password, ..Role::default() }
    }

    fn extension(name: &str, version: &str) -> Extension {
        Extension { name: name.to_owned(), version: version.to_owned(), schema: "public".to_owned() }
    }

    fn one() -> Listed {
        Listed { count: 1, first: vec![Name { schema: "public".to_owned(), name: "one".to_owned() }] }
    }

    fn column(kind: &str) -> Column {
        Column { kind: kind.to_owned(), ..Column::default() }
    }

    fn hba(address: &str, method: &str) -> Hba {
        let databases = vec!["all".to_owned()];
        let (address, method) = (Some(address.to_owned()), method.to_owned());
        Hba { kind: "host".to_owned(), databases, address, method, ..Hba::default() }
    }

    fn after(change: Change) -> Vec<Finding> {
        let (mut source, mut target) = healthy();
        change(&mut source, &mut target);
        judge(&source, &target)
    }

    fn ill(findings: &[Finding]) -> Vec<(&'static str, Severity)> {
        let ill = findings.iter().filter(|finding| finding.severity != Severity::Fine);
        ill.map(|finding| (finding.id, finding.severity)).collect()
    }

    #[test]
    fn what_is_healthy_is_fine() {
        let findings = after(|_, _| {});
        assert!(ill(&findings).is_empty(), "{findings:?}");
        let ids: Vec<&str> = findings.iter().map(|finding| finding.id).collect();
        assert_eq!(ids, ["version", "disk", "tables", "encoding", "locale", "extension-versions", "clients"]);
    }

    #[test]
    fn what_would_fail_stops() {
        let cases: [(&str, Change); 12] = [
            ("version", |_, target| target.version_num = 120_003),
            ("version", |source, _| source.server.version_num = 90_524),
            ("recovery", |source, _| source.server.in_recovery = true),
            ("disk", |_, target| target.free_bytes = Some(11 * GB)),
            ("extensions-missing", |source, _| source.objects.extensions.push(extension("postgis", "3.1"))),
            ("c-functions", |source, _| source.objects.c_functions.push(Function::default())),
            ("types", |source, _| source.tables.gone_types.push(column("abstime"))),
            ("types", |source, _| source.tables.gone_types.push(column("unknown"))),
            ("prepared", |source, _| source.objects.prepared.push(Prepared::default())),
            ("subscriptions", |source, _| {
                source.objects.subscriptions.push(Subscription { enabled: true, ..Subscription::default() });
            }),
            ("disk", |source, _| source.database.bytes = 1000 * GB),
            ("types", |source, _| source.tables.gone_types = vec![column("reltime[]"), column("tinterval")]),
        ];
        for (id, change) in cases {
            assert_eq!(ill(&after(change)), [(id, Severity::Stops)]);
        }
    }

    #[test]
    fn what_somebody_should_know_is_told() {
        let cases: [(&str, Change); 28] = [
            ("read-only", |source, _| {
                let setting = "default_transaction_read_only=on".to_owned();
                source.database.settings.push(Setting { role: None, setting });
            }),
            ("occupied", |_, target| target.database_has_tables = true),
            ("disk", |_, target| target.free_bytes = Some(14 * GB)),
            ("disk", |_, target| target.free_bytes = None),
            ("encoding", |source, _| source.database.encoding = "SQL_ASCII".to_owned()),
            ("encoding", |_, target| target.encoding = "LATIN1".to_owned()),
            ("locale", |source, _| source.server.version = "PostgreSQL 13.11 on x86_64-pc-linux-musl".to_owned()),
            ("locale", |source, _| source.database.collate = "C".to_owned()),
            ("locale", |source, _| source.database.provider = "icu".to_owned()),
            ("collation-version", |source, _| {
                source.database.collation_version = Some("2.31".to_owned());
                source.database.actual_collation_version = Some("2.36".to_owned());
            }),
            ("extension-versions", |_, target| {
                target.available_extensions.insert("plpgsql".to_owned(), "2.0".to_owned());
            }),
            ("languages", |source, _| {
                source.objects.languages.insert("plperl".to_owned(), 2);
            }),
            ("with-oids", |source, _| source.tables.with_oids = one()),
            ("subscriptions", |source, _| source.objects.subscriptions.push(Subscription::default())),
            ("publications", |source, _| source.objects.publications.push("all".to_owned())),
            ("roles-taken", |_, target| target.roles.push("report".to_owned())),
            ("superusers", |source, _| source.roles.all[1].superuser = true),
            ("superusers", |source, _| source.roles.all[2].superuser = true),
            ("passwords", |source, _| source.roles.all[2].password = Password::Md5),
            ("tablespaces", |source, _| source.objects.tablespaces.push("fast".to_owned())),
            ("unlogged", |source, _| source.tables.unlogged = one()),
            ("invalid-indexes", |source, _| source.objects.invalid_indexes.push(Index::default())),
            ("event-triggers", |source, _| source.objects.event_triggers.push(EventTrigger::default())),
            ("foreign-servers", |source, _| source.objects.foreign_servers.push(ForeignServer::default())),
            ("clients", |source, _| source.clients.sessions = 3),
            ("clients", |source, _| source.server.hba.push(hba("10.0.0.7", "md5"))),
            ("connections", |_, target| target.max_connections = 50),
            ("connections", |source, _| source.server.max_connections = 500),
        ];
        for (id, change) in cases {
            assert_eq!(ill(&after(change)), [(id, Severity::Look)]);
        }
    }

    #[test]
    fn what_only_wants_to_be_said_is_fine() {
        let cases: [(&str, Change); 6] = [
            ("large-objects", |source, _| source.objects.large_objects = 7),
            ("row-security", |source, _| source.tables.row_security = one()),
            ("primary-keys", |source, _| source.tables.without_primary_key = one()),
            ("partitions", |source, _| source.tables.partitioned = 1),
            ("generated-columns", |source, _| source.tables.generated_columns = 1),
            ("materialized-views", |source, _| source.tables.materialized_views = 1),
        ];
        for (id, change) in cases {
            let findings = after(change);
            assert!(ill(&findings).is_empty(), "{findings:?}");
            assert!(findings.iter().any(|finding| finding.id == id), "{id}");
        }
    }

    #[test]
    fn whoever_logs_in_without_a_password_is_told_of() {
        let findings = after(|source, _| {
            let rules = [hba("10.0.0.7", "trust"), hba("10.0.0.8", "reject"), hba("127.0.0.1", "trust")];
            source.server.hba.extend(rules);
        });
        assert_eq!(ill(&findings), [("clients", Severity::Look), ("without-password", Severity::Look)]);
        assert_eq!(findings[1].evidence, "trust from 10.0.0.7");
    }

    #[test]
    fn values_of_settings_are_not_shown() {
        let findings = after(|source, _| {
            let setting = "app.key=hunter2".to_owned();
            source.database.settings.push(Setting { role: Some("report".to_owned()), setting });
        });
        let settings = findings.iter().find(|finding| finding.id == "settings").expect("settings");
        assert_eq!((settings.severity, settings.evidence.as_str()), (Severity::Fine, "app.key for report"));
    }

    #[test]
    fn the_worst_is_first() {
        let findings = after(|source, target| {
            target.database_has_tables = true;
            source.objects.prepared.push(Prepared::default());
        });
        let severities: Vec<Severity> = findings.iter().map(|finding| finding.severity).collect();
        assert_eq!(severities[..3], [Severity::Stops, Severity::Look, Severity::Fine]);
        assert!(severities.is_sorted());
    }

    #[test]
    fn versions_are_spoken_as_people_do() {
        assert_eq!([90_624, 100_023, 170_005].map(spoken), ["9.6.24", "10.23", "17.5"]);
        assert!(major(90_624) < major(100_000) && major(170_005) == major(170_001));
    }

    #[test]
    fn time_grows_with_bytes_and_tables() {
        let (mut source, _) = healthy();
        assert_eq!(seconds(&source), (161, 411));
        (source.database.bytes, source.tables.count) = (0, 0);
        assert_eq!(seconds(&source), (10, 10));
    }

    fn recommended(change: Change) -> Vec<&'static str> {
        let (mut source, mut target) = healthy();
        change(&mut source, &mut target);
        let methods = methods(&source, &target);
        assert_eq!(methods.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), ["dump", "stream", "logical"]);
        assert!(methods[1..].iter().all(|(_, _, why)| why.ends_with("This program does not do it today")));
        methods.iter().filter(|(_, yes, _)| *yes).map(|(name, ..)| *name).collect()
    }

    #[test]
    fn a_dump_is_recommended_unless_it_takes_too_long() {
        assert_eq!(recommended(|_, _| {}), ["dump"]);
        assert_eq!(recommended(|source, _| source.database.bytes = 500 * GB), ["logical"]);
        let same: Change = |source, target| {
            source.database.bytes = 500 * GB;
            target.version_num = 130_020;
        };
        assert_eq!(recommended(same), ["stream"]);
        let neither: Change = |source, _| {
            source.database.bytes = 500 * GB;
            source.objects.large_objects = 7;
        };
        assert_eq!(recommended(neither), ["dump"]);
    }

    #[test]
    fn a_text_has_a_block_for_each_and_a_line_for_what_is_fine() {
        let findings = [
            Finding::stops("prepared", "a title", "seen\nover \u{1b}[31mlines").todo("this"),
            Finding::fine("disk", "room", "enough"),
        ];
        let expected = "stop  a title\n      seen over lines\n      do: this\nfine  room: enough\n";
        assert_eq!(text(&findings), expected);
    }

    #[test]
    fn of_many_only_some_are_named() {
        let many = (0..12).map(|number| number.to_string());
        assert_eq!(some(many).as_deref(), Some("0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"));
        assert_eq!(listed(&Listed { count: 70, ..one() }), "public.one and 69 more");
        assert_eq!([0, 5 * MB, 3 * GB / 2].map(size), ["0 kB", "5 MB", "1.5 GB"]);
    }
}
