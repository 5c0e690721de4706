//! How long it takes, and which ways there are.

use super::Target;
use super::server::{major, spoken};
use super::space::SCARCE;
use super::words::{GB, size, told};
use crate::migrate::found::Found;
use crate::migrate::physical::{self, Physical};
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
    let by_stream = high > WINDOW && stream.is_empty();
    let by_logical = high > WINDOW && logical.is_empty() && !by_stream;
    let dump = match by_logical || by_stream {
        true => format!("{window}, which is long"),
        false => format!("{window}; takes any older version, locale and build, and leaves the source as it was"),
    };
    vec![
        ("dump", !by_logical && !by_stream, format!("pg_dump and pg_restore: {dump}")),
        ("stream", by_stream, other(&streaming(source), &stream)),
        ("logical", by_logical, other(&following(source, (low, high)), &logical)),
    ]
}

fn other(what: &str, against: &[String]) -> String {
    let against = if against.is_empty() { String::new() } else { format!(". Not here: {}", against.join("; ")) };
    format!("{what}{against}")
}

fn streaming(source: &Found) -> String {
    let others = source.physical.as_ref().map_or(0, |physical| physical.databases.len().saturating_sub(1));
    let others = match others {
        0 => String::new(),
        number => format!(
            ", also {} that {} there",
            told_plural(number, "other database"),
            if number == 1 { "is" } else { "are" }
        ),
    };
    format!(
        "standbys of the source on every member, which take the place of all that the cluster has: nobody can write for about 20 s, whatever the size; all of the source comes along{others}"
    )
}

fn told_plural(number: usize, what: &str) -> String {
    told(u64::try_from(number).unwrap_or(u64::MAX), what)
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

/// The cluster's own, which a copy would have beside or in the place of the source's.
const OF_THE_CLUSTER: [&str; 4] = ["replicator", "replicator_next", "rewind", "rewind_next"];

/// Why the source's files cannot become the cluster's.
pub fn against_stream(source: &Found, target: &Target) -> Vec<String> {
    let (server, from, to) = (&source.server, source.server.version_num, target.version_num);
    if major(from) != major(to) {
        return vec![format!("it takes the same major version, and these are {} and {}", spoken(from), spoken(to))];
    }
    let mut against = Vec::new();
    if server.in_recovery {
        against.push("it is a standby".to_owned());
    }
    if source.is_musl() {
        against.push("the source was built with musl, so indexes of texts would be out of order".to_owned());
    }
    if let (Some(theirs), Some(ours)) = (&source.physical, &target.physical) {
        against.extend(physical::against(theirs, ours));
        against.extend(of_the_whole_server(theirs));
        if theirs.superuser == target.owner {
            against.push(format!(
                "{} made it and can do everything, also in its copy, where it would be no more than the application's role",
                target.owner
            ));
        }
    }
    let name = &source.database.name;
    let taken = |physical: &Physical| *name != target.database && physical.databases.contains(&target.database);
    if name == "postgres" {
        against.push("the application uses the database postgres, which the cluster needs for itself".to_owned());
    } else if source.physical.as_ref().is_some_and(taken) {
        against.push(format!("it has another database that is called {}, as the cluster's", target.database));
    }
    against.extend(streams(source, target.members));
    let taken: Vec<&str> =
        source.roles.all.iter().map(|role| role.name.as_str()).filter(|name| OF_THE_CLUSTER.contains(name)).collect();
    if !taken.is_empty() {
        against.push(format!("it has roles that are called as the cluster's own: {}", taken.join(", ")));
    }
    against
}

/// Each member has the whole server beside the cluster's data.
pub fn no_room(source: &Found, target: &Target) -> Option<String> {
    let bytes = source.physical.as_ref()?.bytes;
    let small = |free: &Option<u64>| free.is_some_and(|free| free.saturating_mul(10) < bytes.saturating_mul(11));
    let mut full: Vec<&str> = Vec::from_iter(small(&target.free_bytes).then_some("the leader"));
    full.extend(target.replicas_free.iter().filter(|(_, free)| small(free)).map(|(name, _)| name.as_str()));
    let told = || format!("all its files take {}, and there is no room for them on {}", size(bytes), full.join(", "));
    (!full.is_empty()).then(told)
}

const OF_PATRONI: &str = "Patroni runs it, and drops replication slots that it does not know";

/// Of what is not in the application's database and comes along all the same.
fn of_the_whole_server(source: &Physical) -> Vec<String> {
    let mut against = Vec::new();
    if !source.tablespaces.is_empty() {
        against.push(format!("it has tablespaces, which the members do not have: {}", source.tablespaces.join(", ")));
    }
    if source.run_by_patroni {
        against.push(OF_PATRONI.to_owned());
    }
    if source.subscriptions > 0 {
        let number = told(source.subscriptions, "subscription");
        against.push(format!("it subscribes to another server ({number}), and its copy would, too"));
    }
    if !source.unlogged_that_fire.is_empty() {
        against.push(format!(
            "rows of unlogged tables are copied, and triggers (or rules) of these would fire (ENABLE ALWAYS or REPLICA): {}",
            source.unlogged_that_fire.join(", ")
        ));
    }
    if source.prepared > 0 {
        let number = told(source.prepared, "prepared transaction");
        against.push(format!("{number} would wait in the copy, too"));
    }
    against
}

/// Whether it lets as many standbys in.
fn streams(source: &Found, members: usize) -> Vec<String> {
    let (server, members) = (&source.server, i64::try_from(members).unwrap_or(i64::MAX));
    let mut against = Vec::new();
    if !matches!(server.wal_level.as_str(), "replica" | "logical") {
        let level = &server.wal_level;
        against.push(format!("its wal_level is {level:?}: set it to replica in its postgresql.conf, and restart it"));
    }
    if server.free_slots < members {
        against.push(format!(
            "it has too few replication slots left: raise max_replication_slots by {members}, and restart it"
        ));
    }
    // two each: one copies, and one streams meanwhile
    if server.free_senders < 2 * members {
        against
            .push(format!("it has too few WAL senders left: raise max_wal_senders by {}, and restart it", 2 * members));
    }
    if source.physical.as_ref().is_some_and(|physical| !physical.may_replicate) {
        against.push("the login may not stream: ALTER ROLE … REPLICATION".to_owned());
    }
    if !server.hba.is_empty() && !server.hba.iter().any(|line| line.databases.iter().any(|name| name == "replication"))
    {
        against.push("no line of its pg_hba.conf lets anybody in for replication".to_owned());
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
    if source.physical.as_ref().is_some_and(|physical| physical.run_by_patroni) {
        against.push(OF_PATRONI.to_owned());
    }
    if source.free_bytes.is_some_and(|free| free < SCARCE) {
        against.push("its disk has less than 1 GiB left, which WAL that is kept for the copy would fill".to_owned());
    }
    if source.tables.always_fire > 0 {
        let number = told(source.tables.always_fire, "trigger");
        against.push(format!("{number} (or rules) would fire in the copy, too (ENABLE ALWAYS or REPLICA)"));
    }
    against
}
