//! The database of a PostgreSQL that is not the cluster's is moved in: looked at, rehearsed under a writer, cut off in every
//! way, moved, proven the same, and given back. It is one of everything that a dump can get wrong
//! (`tests/fixtures/migrate/xnat-like.sql`), of a release older than the cluster's.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::browser;
use crate::harness::Ran;
use crate::origin::{FIRE_ONCE, Origin, nothing_is_left, on_the_leader, sql_on};
use crate::site::Site;

/// Differences that are planted in the copy, all of them to be found; the others are tried one at a time by hand.
const PLANTED: [(&str, &str); 12] = [
    ("bytea-one-byte", "table \"public\".\"types_bytea\""),
    ("float8-17th-digit", "table \"public\".\"types_float\""),
    ("row-multiplicity-moved", "table \"public\".\"no_key\""),
    ("text-trailing-space", "table \"public\".\"types_text\""),
    ("lo-one-byte", "large objects"),
    ("sequence-off-by-one", "sequence \"public\".\"hibernate_sequence\""),
    ("grant-table", "object TABLE xnat_projectdata; Type: ACL"),
    ("trigger-disabled", "object triggered audit_enabled; Type: TRIGGER"),
    ("function-body", "object label_of(integer); Type: FUNCTION"),
    ("comment-table", "object TABLE xdat_user; Type: COMMENT"),
    ("database-setting", "settings of the database"),
    ("cluster-role-membership", "memberships of the role Odd Role"),
];

pub fn differences(ran: &Ran) -> Vec<String> {
    let record: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let all = record["differences"].as_array().expect("a list");
    all.iter().map(|it| it["what"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_database_of_debian_11_is_moved_in_and_proven_the_same() {
    let origin = Origin::up("migfrom11", ("bullseye", "13"));
    let site = Site::new("migto13", (&["--hosts", "3", "--suite", "trixie"], "root"));
    site.run(&["apply", "--yes"]).expect(0);
    site.append(&origin.table());
    it_is_looked_at(&site);
    it_is_rehearsed_under_a_writer(&site, &origin);
    site.append(&origin.run_xnat());
    a_killed_run_is_told_and_given_up(&site, &origin);
    an_interrupted_run_opens_the_source_again(&site, &origin);
    it_can_be_followed(&site, &origin);
    a_killed_run_that_follows_leaves_nothing(&site, &origin);
    it_is_moved_under_a_writer(&site, &origin);
    what_is_planted_is_found(&site);
    it_is_given_back(&site, &origin);
    what_was_written_since_is_carried_back(&site, &origin);
}

fn it_is_looked_at(site: &Site) {
    let checked = site.run(&["migrate", "check"]).expect(0).stdout;
    for piece in ["can be moved in", "PostgreSQL 13.", "large objects come along", "event triggers come along"] {
        assert!(checked.contains(piece), "{piece:?} is not in:\n{checked}");
    }
    let document: Value =
        serde_json::from_str(&site.run(&["migrate", "check", "--json"]).expect(0).stdout).expect("JSON");
    assert_eq!(document["methods"][0]["method"], "dump");
    site.run(&["migrate", "verify", "--yes"]).expect(4);
    site.run(&["migrate", "resume", "--confirm", site.lab.name()]).expect(4);
    site.run(&["migrate", "abort", "--yes"]).expect(4);
}

fn it_is_rehearsed_under_a_writer(site: &Site, origin: &Origin) {
    let writer = origin.write();
    let rehearsed = site.run(&["migrate", "rehearse", "--yes", "--jobs", "2"]).expect(0).stdout;
    assert!(rehearsed.starts_with("Rehearsal passed: the copy is the same as the source"), "{rehearsed}");
    let refused = origin.shell("cat /srv/refused");
    let acknowledged = writer.end();
    assert!(acknowledged.len() > 20 && refused.is_empty(), "{} rows, {refused}", acknowledged.len());
    nothing_is_left(site);
    let kept = site.state().join("xnat-provision").join(site.lab.name()).join("migrations");
    let reports = std::fs::read_dir(kept).expect("reports").flatten().map(|entry| entry.path());
    let page = reports.filter(|path| path.extension().is_some_and(|it| it == "html")).max().expect("a page");
    browser::look_at(&page, "migration");
}

/// A run that is about to restore. It listens for a terminal that goes away, whatever who started the tests ignores.
fn under_way(site: &Site) -> Child {
    let run = site.spawn_listening(&["migrate", "run", "--confirm", site.lab.name()]);
    let begun = Instant::now();
    let leader = site.leader();
    let there = ("postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = 'xnat_provision_incoming'");
    while sql_on(&site.lab, &leader, there).expect(0).stdout.trim() == "0" {
        assert!(begun.elapsed() < Duration::from_secs(120), "nothing is restored");
        std::thread::sleep(Duration::from_millis(100));
    }
    run
}

fn a_killed_run_is_told_and_given_up(site: &Site, origin: &Origin) {
    let mut run = under_way(site);
    run.kill().expect("killed");
    run.wait().expect("ended");
    assert!(origin.is_read_only());
    let status = site.run(&["status"]);
    assert!(status.stdout.contains("may be read-only since"), "{}", status.stdout);
    given_up(site);
    assert!(!origin.is_read_only());
    let as_before = origin.settings_of_xnat();
    assert!(as_before.contains("datasource.url = jdbc:postgresql://localhost/xnat"), "{as_before}");
    nothing_is_left(site);
    assert!(!site.run(&["status"]).expect(0).stdout.contains("cut off"));
}

fn given_up(site: &Site) {
    site.run_after_the_killed(&["migrate", "abort", "--yes"]).expect(0);
}

fn finished(site: &Site) {
    site.run_after_the_killed(&["migrate", "resume", "--confirm", site.lab.name()]).expect(0);
}

/// By a terminal that goes away, which is as a first Ctrl-C.
fn an_interrupted_run_opens_the_source_again(site: &Site, origin: &Origin) {
    let run = under_way(site);
    let sent = Command::new("kill").args(["-HUP", &run.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let ended = Ran::of(run.wait_with_output().expect("it ends")).expect(130);
    assert!(ended.stderr.contains("the source can be written to again"), "{}", ended.stderr);
    assert!(!origin.is_read_only());
    origin.settings_of_xnat();
    nothing_is_left(site);
}

/// The source needs a setting, and triggers must not fire in the copy.
fn it_can_be_followed(site: &Site, origin: &Origin) {
    let words = ["migrate", "rehearse", "--yes", "--method", "logical"];
    let refused = site.run(&words).expect(4).stderr;
    assert!(refused.contains("its wal_level is") && refused.contains("would fire in the copy"), "{refused}");
    origin.can_be_followed();
    origin.sql("xnat", FIRE_ONCE);
    let writer = origin.write();
    let rehearsed = site.run(&words).expect(0).stdout;
    assert!(rehearsed.starts_with("Rehearsal passed: the copy is the same as the source"), "{rehearsed}");
    let refused = origin.shell("cat /srv/refused");
    writer.end();
    assert_eq!(refused, "");
    origin.nothing_follows();
    nothing_is_left(site);
}

/// The source keeps for the copy what it has not read, until somebody says that there is none.
fn a_killed_run_that_follows_leaves_nothing(site: &Site, origin: &Origin) {
    let mut run = site.spawn(&["migrate", "run", "--method", "logical", "--confirm", site.lab.name()]);
    let begun = Instant::now();
    let follows = ("postgres", "SELECT count(*) FROM pg_subscription");
    let leader = site.leader();
    while sql_on(&site.lab, &leader, follows).expect(0).stdout.trim() == "0" {
        assert!(begun.elapsed() < Duration::from_secs(120), "it is not followed");
        std::thread::sleep(Duration::from_millis(100));
    }
    run.kill().expect("killed");
    run.wait().expect("ended");
    assert!(!origin.is_read_only());
    let status = site.run(&["status"]);
    assert!(status.stdout.contains("keeps its WAL for it"), "{}", status.stdout);
    given_up(site);
    origin.nothing_follows();
    origin.settings_of_xnat();
    nothing_is_left(site);
}

fn it_is_moved_under_a_writer(site: &Site, origin: &Origin) {
    let writer = origin.write();
    let words = ["migrate", "run", "--method", "logical", "--confirm", site.lab.name()];
    let moved = site.run(&words).expect(0).stdout;
    origin.nothing_follows();
    for piece in [
        "Migration passed: the copy is the same as the source",
        "Other applications may be switched now",
        "datasource.url=jdbc:",
    ] {
        assert!(moved.contains(piece), "{piece:?} is not in:\n{moved}");
    }
    let acknowledged = writer.end();
    assert!(origin.is_read_only());
    let settings = origin.settings_of_xnat();
    let port = site.number("/inventory/haproxy/primary_port");
    for piece in [
        "# the cafM-i's^M",
        &format!(":{port}/xnat?targetServerType=primary"),
        "datasource.password=",
        "site.name=ours",
    ] {
        assert!(settings.contains(piece), "{piece:?} is not in:\n{settings}");
    }
    assert!(!moved.contains(&site.application_password()));
    let others = on_the_leader(site, ("xnat", "SELECT count(*) FROM public.events WHERE id > 100000"));
    assert!(others.trim().parse::<u64>().expect("a number") > 5, "{others} of the others");
    none_is_lost(site, &acknowledged, 20);
    site.run(&["plan"]).expect(0);
    site.run(&["migrate", "run", "--confirm", site.lab.name()]).expect(4);
    // only XNAT's part can have been cut off
    site.run(&["migrate", "resume", "--confirm", site.lab.name()]).expect(0);
    assert_eq!(origin.settings_of_xnat(), settings);
    site.run(&["migrate", "abort", "--yes"]).expect(4);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let elsewhere = ("XDG_STATE_HOME", elsewhere.path().to_str().expect("a text"));
    let refused = site.run_with(elsewhere, &["migrate", "abort", "--yes"]).expect(4);
    assert!(refused.stderr.contains("was moved in from xnat on"), "{}", refused.stderr);
    assert_eq!(differences(&site.run(&["migrate", "verify", "--yes", "--json"]).expect(0)), [] as [&str; 0]);
}

/// Of what the writer was told is there, which is more than so many rows.
pub fn none_is_lost(site: &Site, acknowledged: &[u64], than: usize) {
    let there = on_the_leader(site, ("xnat", "SELECT id FROM public.writer_ledger WHERE id > 0 ORDER BY 1"));
    let there: Vec<u64> = there.lines().map(|line| line.parse().expect("a number")).collect();
    let lost: Vec<&u64> = acknowledged.iter().filter(|id| !there.contains(id)).collect();
    assert!(acknowledged.len() > than && lost.is_empty(), "{} acknowledged, lost: {lost:?}", acknowledged.len());
}

fn plants() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/migrate/plants.sql");
    let text = std::fs::read_to_string(path).expect("it is there");
    let mut lines = text.lines();
    let mut all = BTreeMap::new();
    while let Some(line) = lines.next() {
        if let Some(plant) = line.strip_prefix("-- plant: ") {
            let name = plant.split(' ').next().expect("a name").to_owned();
            all.insert(name, lines.next().expect("a statement").to_owned());
        }
    }
    all
}

fn what_is_planted_is_found(site: &Site) {
    let plants = plants();
    for (name, _) in PLANTED {
        on_the_leader(site, ("xnat", &plants[name]));
    }
    let found = differences(&site.run(&["migrate", "verify", "--yes", "--json"]).expect(4));
    for (name, what) in PLANTED {
        assert!(found.iter().any(|it| it.starts_with(what)), "{name}: {what} is not in {found:#?}");
    }
    assert_eq!(found.len(), PLANTED.len(), "{found:#?}");
}

fn it_is_given_back(site: &Site, origin: &Origin) {
    let refused = site.run(&["migrate", "rollback", "--yes"]).expect(4);
    assert!(refused.stderr.contains("the cluster has rows that the source does not have"), "{}", refused.stderr);
    assert!(origin.is_read_only());
    site.run(&["migrate", "rollback", "--yes", "--lose-newer-writes"]).expect(0);
    assert!(!origin.is_read_only());
    assert!(origin.settings_of_xnat().contains("datasource.url = jdbc:postgresql://localhost/xnat"));
    site.run(&["migrate", "rollback", "--yes"]).expect(4);
    // and once more: what is there now has tables, and is kept
    let moved = site.run(&["migrate", "run", "--confirm", site.lab.name()]).expect(0).stdout;
    assert!(moved.contains("HAS TABLES: it is kept under another name"), "{moved}");
    let kept =
        on_the_leader(site, ("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'xnat\\_before\\_%'"));
    assert_eq!(kept.trim(), "1");
    site.run(&["plan"]).expect(0);
}

/// Every kind of change, of tables that are divided, inherited, computed and numbered by themselves.
const SINCE: &str = "INSERT INTO public.events (id, at, kind, payload)
  VALUES (990001, '2020-05-05', 'login', 'since'), (990002, '2021-05-05', 'other', E'a\\tb\\\\n');
UPDATE public.types_float SET f8 = 0.1::float8 + 0.2::float8 WHERE id = (SELECT min(id) FROM public.types_float);
DELETE FROM public.types_bytea WHERE id = (SELECT max(id) FROM public.types_bytea);
INSERT INTO public.hashed VALUES (990001, 'since');
INSERT INTO public.identity_always (t) VALUES ('since');
INSERT INTO public.generated (id, a, b) VALUES (990001, 7, NULL);
INSERT INTO public.resource (id) VALUES (990001);
INSERT INTO public.\"Table With Spaces\" (\"Id Nr\", \"per%cent\") VALUES (990001, 'since');
SELECT nextval('public.hibernate_sequence');
SELECT lo_put(900001, 5, '\\xff'), lo_from_bytea(910001, '\\x0102'), lo_unlink(900002);
ALTER LARGE OBJECT 900003 OWNER TO xnat; GRANT SELECT ON LARGE OBJECT 910001 TO readers;
CREATE TABLE public.made_since (id integer)";

/// What it comes to, as both sides say it.
fn told_since() -> String {
    let tables =
        ["events", "types_float", "types_bytea", "hashed", "identity_always", "generated", "audit_log", "resource"];
    let sums = tables.iter().chain(["\"Table With Spaces\""].iter()).map(|table| {
        format!("SELECT '{table}', count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM public.{table} t;\n")
    });
    let objects = "SELECT oid, pg_get_userbyid(lomowner), md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1;
SELECT last_value FROM public.hibernate_sequence";
    sums.chain([objects.to_owned()]).collect()
}

fn what_was_written_since_is_carried_back(site: &Site, origin: &Origin) {
    on_the_leader(site, ("xnat", SINCE));
    let refused = site.run(&["migrate", "rollback", "--yes"]).expect(4);
    assert!(refused.stderr.contains("--carry-back"), "{}", refused.stderr);
    let refused = site.run(&["migrate", "rollback", "--yes", "--carry-back"]).expect(4);
    assert!(refused.stderr.contains("made_since"), "it cannot be carried: {}", refused.stderr);
    origin.sql("postgres", "ALTER DATABASE xnat RESET default_transaction_read_only");
    let words = ["migrate", "rollback", "--yes", "--carry-back", "--lose-newer-writes"];
    let refused = site.run(&words).expect(4);
    assert!(refused.stderr.contains("somebody writes to the source"), "{}", refused.stderr);
    origin.sql("postgres", "ALTER DATABASE xnat SET default_transaction_read_only TO on");
    let unit = "/etc/systemd/system/tomcat9.service";
    origin.shell(&format!(
        "sed -i.kept 's,^ExecStart=.*,Type=oneshot\\nExecStart=/bin/false,' {unit} && systemctl daemon-reload"
    ));
    let back = site.run(&words).expect(1);
    assert!(!origin.is_read_only(), "XNAT alone does not go on");
    let status = site.run(&["status"]).stdout;
    assert!(status.contains("going back to") && status.contains("was cut off"), "{status}");
    origin.shell(&format!("mv {unit}.kept {unit} && systemctl daemon-reload"));
    site.run(&["migrate", "rollback", "--yes"]).expect(0);
    assert!(back.stderr.contains("not carried back: table \"public\".\"made_since\""), "{}", back.stderr);
    assert!(!origin.is_read_only());
    assert!(origin.settings_of_xnat().contains("datasource.url = jdbc:postgresql://localhost/xnat"));
    assert_eq!(origin.sql("xnat", &told_since()), on_the_leader(site, ("xnat", &told_since())));
    let granted = origin.sql("xnat", "SELECT lomacl::text FROM pg_largeobject_metadata WHERE oid = 910001");
    assert!(granted.contains("readers=r"), "{granted}");
}

/// The oldest that can be followed, in a container: it writes floats otherwise, and its large tables' parts are published one
/// by one.
#[test]
fn the_oldest_that_can_be_followed_is_moved_in() {
    let origin = Origin::of_10("migfrom10");
    let site = Site::new("migto10", (&["--hosts", "1", "--suite", "trixie"], "root"));
    site.run(&["apply", "--yes"]).expect(0);
    let without = site.read();
    site.append(&origin.table_of_container("another"));
    let absent = site.run(&["migrate", "check"]).expect(1);
    assert!(absent.stderr.contains("nothing listens on port 5432"), "{}", absent.stderr);
    site.write(&without);
    site.append(&origin.table_of_container("xnat-db"));
    let checked = site.run(&["migrate", "check"]).expect(0).stdout;
    assert!(checked.contains("in podman xnat-db: can be moved in"), "{checked}");
    origin.sql("xnat", FIRE_ONCE);
    origin.sql(
        "xnat",
        "CREATE TABLE public.parts (id integer, t text) PARTITION BY RANGE (id);
        CREATE TABLE public.part_1 PARTITION OF public.parts (PRIMARY KEY (id)) FOR VALUES FROM (0) TO (10);
        CREATE TABLE public.part_2 PARTITION OF public.parts FOR VALUES FROM (10) TO (20);
        INSERT INTO public.parts SELECT g, 'one' FROM generate_series(0, 19) g",
    );
    let changed = "UPDATE public.parts SET t = t || '.'; INSERT INTO public.writer_ledger SELECT coalesce(max(id), 0) + 1 FROM public.writer_ledger;
        UPDATE public.types_float SET f8 = f8 + 0.1, f4 = f4 + 0.1::real WHERE id = 7;
        UPDATE public.types_time SET tz = now(), i = '1 day 00:00:01.5' WHERE id = 1; SELECT nextval('public.hibernate_sequence');
        INSERT INTO public.no_key VALUES (4, 'w'); SELECT lo_from_bytea(0, 'of the writer')";
    let run = site.spawn(&["migrate", "run", "--method", "logical", "--confirm", site.lab.name()]);
    let begun = Instant::now();
    let copied = ("postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = 'xnat_provision_incoming'");
    while sql_on(&site.lab, &site.leader(), copied).expect(0).stdout.trim() == "0" {
        assert!(begun.elapsed() < Duration::from_secs(120), "nothing is restored");
        origin.sql("xnat", changed);
    }
    let moved = Ran::of(run.wait_with_output().expect("it ends")).expect(0).stdout;
    assert!(moved.contains("Migration passed: the copy is the same as the source"), "{moved}");
    origin.nothing_follows();
    assert!(origin.is_read_only());
    let parts = "SELECT string_agg(id || t, ' ' ORDER BY id) FROM public.parts";
    assert_eq!(origin.sql("xnat", parts), on_the_leader(&site, ("xnat", parts)));
    site.run(&["migrate", "verify", "--yes"]).expect(0);
    site.run(&["migrate", "rollback", "--yes"]).expect(0);
    assert!(!origin.is_read_only());
}

/// Under a writer, which is cut off by it; and the run is killed when the copy has its place.
#[test]
fn a_run_that_is_cut_off_at_its_end_is_finished_from_13_to_15() {
    let origin = Origin::up("migfrom13", ("bullseye", "13"));
    let site = Site::new("migto15", (&["--hosts", "1", "--suite", "bookworm"], "root"));
    site.run(&["apply", "--yes"]).expect(0);
    site.append(&origin.table_of_dba());
    site.append(&origin.run_xnat());
    let leader = site.leader();
    let writer = origin.write();
    let mut run = under_way(&site);
    // a cluster that is not well is what it waits for then
    site.lab.ssh(&leader, "systemctl stop haproxy").expect(0);
    let begun = Instant::now();
    let beside = ("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'xnat_provision_incoming'");
    while sql_on(&site.lab, &leader, beside).expect(0).stdout.trim() != "0" {
        assert!(begun.elapsed() < Duration::from_secs(180), "it does not take its place");
        std::thread::sleep(Duration::from_millis(100));
    }
    run.kill().expect("killed");
    run.wait().expect("ended");
    let acknowledged = writer.end();
    site.lab.ssh(&leader, "systemctl start haproxy").expect(0);
    assert!(origin.is_read_only());
    let status = site.run(&["status"]);
    assert!(status.stdout.contains("was cut off when the copy took its place"), "{}", status.stdout);
    assert!(!origin.is_xnat_there());
    finished(&site);
    assert!(origin.settings_of_xnat().contains("targetServerType=primary"));
    assert!(!site.run(&["status"]).expect(0).stdout.contains("cut off"));
    site.run(&["plan"]).expect(0);
    none_is_lost(&site, &acknowledged, 0);
    let of_all_parts =
        "SELECT count(*) > 0 FROM pg_statistic WHERE starelid = 'public.events'::regclass AND stainherit";
    assert_eq!(on_the_leader(&site, ("xnat", of_all_parts)).trim(), "t");
    assert_eq!(differences(&site.run(&["migrate", "verify", "--yes", "--json"]).expect(0)), [] as [&str; 0]);
    site.run(&["migrate", "rollback", "--yes"]).expect(0);
    assert!(!origin.is_read_only());
}

/// Over the network, with a password, from one major version to the same one.
#[test]
fn a_database_is_moved_in_over_the_network_on_debian_12() {
    let origin = Origin::up("migfrom12", ("bookworm", "15"));
    let mut site = Site::new("migto12", (&["--hosts", "1", "--suite", "bookworm"], "root"));
    site.run(&["apply", "--yes"]).expect(0);
    origin.sql("postgres", "ALTER ROLE postgres PASSWORD 'of: the\\source'; ALTER SYSTEM SET listen_addresses TO '*'");
    origin.speaks_tls_only();
    let address = origin.said("address");
    let table = format!(
        "[migrate.source]\naddress = \"{address}\"\nreach = \"tcp\"\npassword = {{ env = \"SOURCE_PASSWORD\" }}\n"
    );
    site.append(&table);
    let wrong = site.run_with(("SOURCE_PASSWORD", "another"), &["migrate", "check"]).expect(1);
    assert!(wrong.stderr.contains("did not let postgres in"), "{}", wrong.stderr);
    site.variables = vec![("SOURCE_PASSWORD", "of: the\\source")];
    site.run(&["migrate", "check"]).expect(0);
    site.run(&["migrate", "rehearse", "--yes"]).expect(0);
    origin.can_be_followed();
    origin.sql("xnat", FIRE_ONCE);
    site.run(&["migrate", "rehearse", "--yes", "--method", "logical"]).expect(0);
    origin.nothing_follows();
    nothing_is_left(&site);
    let moved = site.run(&["migrate", "run", "--confirm", site.lab.name()]).expect(0).stdout;
    assert!(moved.contains("Migration passed") && !moved.contains("the\\source"), "{moved}");
    assert!(origin.is_read_only());
    site.run(&["migrate", "verify", "--yes"]).expect(0);
    site.run(&["migrate", "rollback", "--yes"]).expect(0);
    assert!(!origin.is_read_only());
    it_leads_out_again(&site, &origin);
}

/// Into a server that has none of its roles, and once more, over what is there then.
fn it_leads_out_again(site: &Site, origin: &Origin) {
    let version = origin.version;
    origin.shell(&format!("pg_createcluster {version} single --port 5433 --start"));
    let words = ["migrate", "to-single", "--confirm", site.lab.name()];
    site.run(&words).expect(2);
    site.append(&origin.table().replace("[migrate.source]", "[migrate.single]\nport = 5433"));
    let single = |sql: &str| origin.shell(&format!("runuser -u postgres -- psql -qXAt -p 5433 -c \"{sql}\" xnat"));
    let copied = site.run(&words).expect(0).stdout;
    for piece in ["Copy passed: the copy is the same as the source", "datasource.url=jdbc:postgresql://", ":5433/xnat"]
    {
        assert!(copied.contains(piece), "{piece:?} is not in:\n{copied}");
    }
    let roles = "SELECT count(*) FROM pg_roles WHERE rolname IN ('xnat', 'readers', 'Odd Role')";
    assert_eq!(single(roles).trim(), "3");
    single("CREATE TABLE public.made_since (id integer)");
    let copied = site.run(&words).expect(0).stdout;
    assert!(copied.contains("IS THERE ALREADY: it is kept under another name"), "{copied}");
    let names =
        single("SELECT string_agg(regexp_replace(datname, '_[0-9]+', '_N'), ' ' ORDER BY datname) FROM pg_database");
    assert_eq!(names.trim(), "postgres template0 template1 xnat xnat_before_N");
    let marked = "SELECT count(*) FROM pg_roles WHERE shobj_description(oid, 'pg_authid') LIKE 'xnat-provision%'";
    assert_eq!(single(marked).trim(), "0");
    site.run(&["plan"]).expect(0);
}
