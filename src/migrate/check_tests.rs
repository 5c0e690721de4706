//! A healthy source has nothing against it, and each thing that may be amiss is found.

use super::server::{major, spoken};
use super::words::*;
use super::*;
use crate::migrate::found::{
    Column, EventTrigger, Extension, ForeignServer, Function, Hba, Index, Listed, Name, Password, Prepared, Role,
    Setting, Subscription, Table,
};

type Change = fn(&mut Found, &mut Target);

fn healthy() -> (Found, Target) {
    let mut source = Found::default();
    source.server.version_num = 130_011;
    source.server.version = "PostgreSQL 13.11 on x86_64-pc-linux-gnu".to_owned();
    source.server.max_connections = 100;
    source.server.wal_level = "logical".to_owned();
    (source.server.free_slots, source.server.free_senders) = (10, 10);
    source.database.name = "xnat".to_owned();
    source.database.owner = "xnat".to_owned();
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
        database: "xnat".to_owned(),
        owner: "xnat".to_owned(),
        free_bytes: Some(100 * GB),
        replicas_free: vec![("db2".to_owned(), Some(100 * GB))],
        hba: Vec::new(),
        connection: "hostssl",
        through: vec!["10.0.0.11/32".to_owned(), "10.0.0.12/32".to_owned()],
        max_connections: 100,
        database_has_tables: false,
        members: 3,
        physical: None,
        settings: ["work_mem", "search_path", "default_transaction_read_only"].map(str::to_owned).into(),
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

fn line(kind: &str, user: &str, address: &str) -> Hba {
    Hba { kind: kind.to_owned(), users: vec![user.to_owned()], ..hba(address, "scram-sha-256") }
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
    assert_eq!(
        ids,
        ["version", "disk", "replicas-disk", "tables", "encoding", "locale", "extension-versions", "clients"]
    );
}

#[test]
fn what_would_fail_stops() {
    let cases: [(&str, Change); 12] = [
        ("replicas-disk", |_, target| target.replicas_free[0].1 = Some(10 * GB)),
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
        ("types", |source, _| source.tables.gone_types = vec![column("reltime[]"), column("tinterval")]),
    ];
    for (id, change) in cases {
        assert_eq!(ill(&after(change)), [(id, Severity::Stops)]);
    }
}

#[test]
fn what_somebody_should_know_is_told() {
    let cases: [(&str, Change); 31] = [
        ("read-only", |source, _| {
            let setting = "default_transaction_read_only=on".to_owned();
            source.database.settings.push(Setting { role: None, setting });
        }),
        ("occupied", |_, target| target.database_has_tables = true),
        ("disk", |_, target| target.free_bytes = Some(14 * GB)),
        ("disk", |_, target| target.free_bytes = None),
        ("replicas-disk", |_, target| target.replicas_free[0].1 = Some(12 * GB)),
        ("replicas-disk", |_, target| target.replicas_free[0].1 = None),
        ("source-disk", |source, _| source.free_bytes = Some(GB / 2)),
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
fn who_comes_from_elsewhere_and_has_no_way_in_is_named_with_the_line_that_makes_one() {
    let change: Change = |source, target| {
        source.server.hba.push(Hba { users: vec!["all".to_owned()], ..hba("10.0.0.0/8", "md5") });
        source.roles.all.push(role("Odd Role", Password::Scram));
        // PostgreSQL never sees this one
        target.hba.push(line("hostssl", "Odd Role", "10.0.0.0/30"));
        target.hba.push(line("hostssl", "report", "10.0.0.8/29"));
        for rest in [role("replicator", Password::Scram), role("nologin", Password::None)] {
            source.roles.all.push(rest);
        }
    };
    let findings = after(change);
    let found = findings.iter().find(|it| it.id == "not-let-in").expect("it is told");
    assert_eq!((found.severity, found.evidence.as_str()), (Severity::Look, "Odd Role"));
    let lines = "hostssl xnat \"Odd Role\" 10.0.0.11/32 scram-sha-256; hostssl xnat \"Odd Role\" 10.0.0.12/32";
    assert!(found.todo.contains(lines), "{}", found.todo);
    let let_in = after(|source, target| {
        source.server.hba.push(Hba { users: vec!["report".to_owned()], ..hba("10.0.0.0/8", "md5") });
        target.hba.push(line("host", "\"report\"", "all"));
    });
    assert_eq!(ill(&let_in), [("clients", Severity::Look)]);
}

#[test]
fn settings_that_are_gone_stop_a_move_and_roles_that_may_write_are_named() {
    let (mut source, target) = healthy();
    let setting = |role: &str, setting: &str| Setting { role: Some(role.to_owned()), setting: setting.to_owned() };
    source.database.settings.push(Setting { role: None, setting: "app.key=1".to_owned() });
    source.database.role_settings = vec![
        setting("report", "Work_Mem=1GB"),
        setting("report", "role=readers"),
        setting("report", "vacuum_defer_cleanup_age=5"),
        setting("postgres", "old_snapshot_threshold=1"),
        setting("etl", "default_transaction_read_only=off"),
        setting("web", "default_transaction_read_only=on"),
    ];
    let findings = judge(&source, &target);
    let found = |id: &str| findings.iter().find(|it| it.id == id).map(|it| (it.severity, it.evidence.as_str()));
    assert_eq!(found("settings-unknown"), Some((Severity::Stops, "vacuum_defer_cleanup_age of report")));
    assert_eq!(found("writers"), Some((Severity::Look, "etl")));
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
    methods.iter().filter(|(_, yes, _)| *yes).map(|(name, ..)| *name).collect()
}

#[test]
fn a_dump_is_recommended_unless_it_takes_too_long() {
    assert_eq!(recommended(|_, _| {}), ["dump"]);
    assert_eq!(recommended(|source, _| source.database.bytes = 500 * GB), ["logical"]);
    let cannot: Change = |source, _| {
        source.database.bytes = 500 * GB;
        source.server.wal_level = "replica".to_owned();
    };
    assert_eq!(recommended(cannot), ["dump"]);
}

#[test]
fn a_source_is_followed_when_it_can_be() {
    let (source, _) = healthy();
    assert_eq!(against_logical(&source), [] as [&str; 0]);
    type Spoilt = fn(&mut Found);
    let against: [(&str, Spoilt); 9] = [
        ("less than 1 GiB left", |source| source.free_bytes = Some(GB / 2)),
        ("Patroni runs it", |source| {
            source.physical = Some(Physical { run_by_patroni: true, ..Physical::default() });
        }),
        ("a standby", |source| source.server.in_recovery = true),
        ("theirs would not follow: postgis", |source| source.tables.kept_by_extensions = vec!["postgis".to_owned()]),
        ("before version 10", |source| source.server.version_num = 90_624),
        ("wal_level", |source| source.server.wal_level = "replica".to_owned()),
        ("slot", |source| source.server.free_slots = 0),
        ("sender", |source| source.server.free_senders = 0),
        ("1 trigger (or rules)", |source| source.tables.always_fire = 1),
    ];
    for (piece, change) in against {
        let (mut source, target) = healthy();
        change(&mut source);
        let found = against_logical(&source);
        assert!(found.len() == 1 && found[0].contains(piece), "{piece}: {found:?}");
        assert!(methods(&source, &target)[2].2.contains(&format!("Not here: {}", found[0])));
    }
}

/// Of the same version as the cluster, whose files it could run.
fn alike() -> (Found, Target) {
    let (mut source, mut target) = healthy();
    (source.server.version_num, target.version_num) = (170_004, 170_005);
    let physical = Physical {
        superuser: "postgres".to_owned(),
        may_replicate: true,
        databases: vec!["xnat".to_owned()],
        ..Physical::default()
    };
    (source.physical, target.physical) = (Some(physical.clone()), Some(physical));
    (source, target)
}

#[test]
fn why_a_source_cannot_be_followed_by_standbys_is_said() {
    fn physical(source: &mut Found) -> &mut Physical {
        source.physical.as_mut().expect("it was asked")
    }
    let (source, target) = alike();
    assert_eq!(against_stream(&source, &target), [] as [&str; 0]);
    assert_eq!(against_stream(&healthy().0, &target).len(), 1, "another major version is enough");
    type Case = (&'static str, fn(&mut Found));
    let against: [Case; 15] = [
        ("a standby", |source| source.server.in_recovery = true),
        ("musl", |source| source.server.version = "PostgreSQL 17.4 on x86_64-pc-linux-musl".to_owned()),
        ("wal_level is \"minimal\"", |source| source.server.wal_level = "minimal".to_owned()),
        ("raise max_replication_slots by 3", |source| source.server.free_slots = 2),
        ("raise max_wal_senders by 6", |source| source.server.free_senders = 5),
        ("pg_hba.conf", |source| source.server.hba = vec![hba("0.0.0.0/0", "scram-sha-256")]),
        ("called as the cluster's own: rewind", |source| source.roles.all.push(role("rewind", Password::None))),
        ("the database postgres", |source| source.database.name = "postgres".to_owned()),
        ("another database that is called xnat", |source| source.database.name = "imaging".to_owned()),
        ("may not stream", |source| physical(source).may_replicate = false),
        ("tablespaces", |source| physical(source).tablespaces = vec!["fast".to_owned()]),
        ("1 subscription", |source| physical(source).subscriptions = 1),
        ("1 prepared transaction", |source| physical(source).prepared = 1),
        ("Patroni runs it", |source| physical(source).run_by_patroni = true),
        ("no more than the application's role", |source| physical(source).superuser = "xnat".to_owned()),
    ];
    for (piece, change) in against {
        let (mut source, target) = alike();
        change(&mut source);
        let found = against_stream(&source, &target);
        assert!(found.len() == 1 && found[0].contains(piece), "{piece}: {found:?}");
    }
}

#[test]
fn standbys_are_recommended_where_a_dump_takes_a_night() {
    let (mut source, target) = alike();
    source.database.bytes = 5000 * GB;
    let recommended = |source: &Found| {
        let ways = methods(source, &target);
        ways.into_iter().filter(|(_, recommended, _)| *recommended).map(|(name, ..)| name).collect::<Vec<_>>()
    };
    assert_eq!(recommended(&source), ["stream"]);
    source.physical.as_mut().expect("it was asked").prepared = 1;
    assert_eq!(recommended(&source), ["logical"]);
    source.server.wal_level = "replica".to_owned();
    assert_eq!(recommended(&source), ["dump"]);
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
