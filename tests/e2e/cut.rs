//! Moves that are killed in each of their parts, one after the other, until they have come to their end: at any time `status`
//! tells of a source that is read-only or keeps its WAL, the cluster has the whole copy or nothing of it, and nobody's row is
//! lost.

use std::time::Duration;

use crate::harness::Ran;
use crate::migrate::{differences, none_is_lost};
use crate::origin::{FIRE_ONCE, Origin, nothing_is_left, on_the_leader};
use crate::site::Site;
use crate::stream::{it_is_well, nothing_follows};

/// What is said of a part of a run when it begins, and how many milliseconds it is let go on then.
type Part = (&'static str, u64);

const DUMP: [Part; 13] = [
    ("Stop XNAT", 0),
    ("Make the source read-only", 30),
    ("Prepare", 20),
    ("Make the roles", 40),
    ("Dump the source", 300),
    ("Restore on the leader", 700),
    ("Analyze", 100),
    ("Settings and grants", 0),
    ("Compare", 400),
    ("Put it in its place", 10),
    ("Make it what the inventory says", 20),
    ("Wait for the replicas", 50),
    ("leads to the cluster", 0),
];
const LOGICAL: [Part; 15] = [
    ("Prepare", 20),
    ("Publish the source", 60),
    ("Dump the source", 300),
    ("Restore on the leader", 700),
    ("Settings and grants", 0),
    ("Follow the source", 200),
    ("Compare schemas and roles", 300),
    ("Stop XNAT", 0),
    ("Make the source read-only", 30),
    ("Take the last of it", 100),
    ("Compare", 400),
    ("Put it in its place", 10),
    ("Make it what the inventory says", 20),
    ("Wait for the replicas", 50),
    ("leads to the cluster", 0),
];
const STREAM: [Part; 14] = [
    ("Prepare", 20),
    ("Copy the source", 400),
    ("Follow the source", 100),
    ("Stop XNAT", 0),
    ("Make the source read-only", 30),
    ("Take the last of it", 50),
    ("Promote the leader's copy", 100),
    ("Shut it down", 50),
    ("Put the copies in their place", 300),
    ("to lead", 0),
    ("members to stream", 300),
    ("wait for HAProxy", 0),
    ("Make it what the inventory says", 20),
    ("Wait for the replicas", 10),
];
/// Until then the copy is beside the application's database.
const IN_PLACE: &str = "Put it in its place";
/// A dump is made of a source that is read-only by then.
const READ_ONLY: (&str, &str) = ("dump", "Make the roles");

fn a_source_and_a_site((from, to): (&str, &str), suite: &str) -> (Origin, Site) {
    let origin = Origin::up(from, ("bookworm", "15"));
    (origin, Site::new(to, (&["--hosts", "3", "--suite", suite], "root")))
}

/// There is a cluster, and its inventory says from where, with XNAT.
fn it_is_to_be_moved(site: &Site, origin: &Origin) {
    site.run(&["apply", "--yes"]).expect(0);
    site.append(&origin.table());
    site.append(&origin.run_xnat());
}

#[test]
fn a_run_is_killed_in_every_part_and_ends_well() {
    let (origin, site) = a_source_and_a_site(("cutfrom", "cutto"), "trixie");
    site.append("[patroni]\nsynchronous = \"on\"");
    it_is_to_be_moved(&site, &origin);
    it_is_killed_in_each((&site, &origin), "dump", &DUMP);
    it_ends_well((&site, &origin));
    let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')";
    assert_eq!(on_the_leader(&site, ("postgres", synchronous)).trim(), "1");
    nothing_is_left(&site);
    it_goes_back_in_pieces(&site, &origin);
}

#[test]
fn a_run_that_follows_is_killed_in_every_part_and_ends_well() {
    let (origin, site) = a_source_and_a_site(("cutlogfrom", "cutlogto"), "trixie");
    it_is_to_be_moved(&site, &origin);
    origin.can_be_followed();
    origin.sql("xnat", FIRE_ONCE);
    it_is_killed_in_each((&site, &origin), "logical", &LOGICAL);
    it_ends_well((&site, &origin));
    origin.nothing_follows();
    nothing_is_left(&site);
}

#[test]
fn a_run_of_standbys_is_killed_in_every_part_and_ends_well() {
    let (origin, site) = a_source_and_a_site(("cutstrfrom", "cutstrto"), "bookworm");
    it_is_to_be_moved(&site, &origin);
    it_is_killed_in_each((&site, &origin), "stream", &STREAM);
    it_ends_well((&site, &origin));
    nothing_follows(&site, &origin);
    it_goes_back_in_pieces(&site, &origin);
    it_is_cut_off_while_it_is_compared(&site, &origin);
    it_goes_on_without_a_member(&site, &origin);
}

#[test]
fn a_run_that_loses_its_disk_its_source_or_its_leader_comes_to_nothing() {
    let (origin, site) = a_source_and_a_site(("lossfrom", "lossto"), "trixie");
    let bulky = "CREATE TABLE public.bulky AS SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 150000) g";
    origin.sql("xnat", bulky);
    site.separate("/var/lib/postgresql");
    it_is_to_be_moved(&site, &origin);
    let (run, leader) = (words("run", &site), site.leader());
    let most = "cd /var/lib/postgresql && \
                fallocate -l $(($(df --output=avail -B1 . | tail -n 1) - 1073741824)) filler";
    site.lab.ssh(&leader, most).expect(0);
    let fill = "head -c 4G /dev/zero >>/var/lib/postgresql/filler || :";
    let full = site.struck(&run, "Restore on the leader", || _ = site.lab.ssh(&leader, fill).expect(0));
    it_came_to_nothing(&full, &origin);
    site.lab.ssh(&leader, "rm /var/lib/postgresql/filler").expect(0);
    it_has_recovered(&site);
    let open = ("postgres", "ALTER DATABASE xnat RESET default_transaction_read_only");
    let opened = site.struck(&run, "Compare", || _ = origin.sql(open.0, open.1));
    assert!(opened.stderr.contains("somebody has opened the source"), "{}", opened.stderr);
    it_came_to_nothing(&opened, &origin);
    it_has_recovered(&site);
    let leader = site.leader();
    let lost =
        site.struck(&run, "Restore on the leader", || _ = site.lab.command(&["fault", &leader, "kill"]).expect(0));
    it_came_to_nothing(&lost, &origin);
    let status = site.run(&["status"]).stdout;
    assert!(status.contains("members may have something of a copy"), "{status}");
    site.lab.command(&["fault", &leader, "start"]).expect(0);
    site.leader();
    site.run_after_the_killed(&["migrate", "abort", "--yes"]).expect(0);
    assert!(!site.run(&["status"]).expect(0).stdout.contains("migration"));
    nothing_is_left(&site);
    it_is_back(&site, &origin);
}

/// A server whose disk was full may go on for a moment, and end then.
fn it_has_recovered(site: &Site) {
    let mut well = 0;
    for _ in 0..120 {
        well = if site.run(&["status"]).status == 0 { well + 1 } else { 0 };
        if well == 5 {
            return;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    site.run(&["status"]).expect(0);
}

fn it_came_to_nothing(ran: &Ran, origin: &Origin) {
    assert!(!matches!(ran.status, 0 | 130), "{}", ran.stderr);
    assert!(ran.stderr.contains("the source can be written to again"), "{}", ran.stderr);
    assert!(!origin.is_read_only() && origin.is_xnat_there());
}

fn words<'a>(verb: &'a str, site: &'a Site) -> Vec<&'a str> {
    vec!["migrate", verb, "--confirm", site.lab.name()]
}

/// Under a writer; what it was told is there has to be there in the end.
fn it_is_killed_in_each((site, origin): (&Site, &Origin), method: &str, parts: &[Part]) {
    let writer = origin.write();
    let mut begin = words("run", site);
    begin.extend(["--method", method]);
    let resume = words("resume", site);
    let mut is_beside = method != "stream";
    for (number, (part, after)) in parts.iter().enumerate() {
        site.killed(if number == 0 { &begin } else { &resume }, (part, *after));
        it_is_told(site, origin);
        assert!((method, *part) != READ_ONLY || origin.is_read_only());
        if method == "stream" {
            continue;
        }
        is_beside &= *part != IN_PLACE;
        if is_beside {
            assert_eq!(tables(site), 0, "{part}");
        }
        assert!(matches!(tables(site), 0 | 50..), "{part}");
    }
    let moved = site.run_after_the_killed(&resume).expect(0).stdout;
    let acknowledged = writer.end();
    assert!(origin.is_read_only());
    // by stream both are compared last
    let mut pieces = vec!["Migration passed: the copy is the same as the source", "Report: "];
    if method != "stream" {
        pieces.push("was cut off and gone on with");
    }
    for piece in pieces {
        assert!(moved.contains(piece), "{piece:?} is not in:\n{moved}");
    }
    none_is_lost(site, &acknowledged, 0);
}

fn it_ends_well((site, origin): (&Site, &Origin)) {
    it_is_well(site);
    assert!(!site.run(&["status"]).expect(0).stdout.contains("cut off"));
    assert!(origin.settings_of_xnat().contains("targetServerType=primary"));
    assert_eq!(differences(&site.run(&["migrate", "verify", "--yes", "--json"]).expect(0)), [] as [&str; 0]);
}

/// What is there under the application's name: nothing, or all of it.
fn tables(site: &Site) -> u64 {
    let asked = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    on_the_leader(site, ("xnat", asked)).trim().parse().expect("a number")
}

/// Nobody who asks can miss that the source is read-only, or keeps what nobody reads, and why.
fn it_is_told(site: &Site, origin: &Origin) {
    let slots = origin.sql("postgres", "SELECT slot_name FROM pg_replication_slots");
    let (read_only, status) = (origin.is_read_only(), site.run(&["status"]).stdout);
    assert!(!read_only || status.contains("read-only"), "{status}");
    let told = ["WAL", "took the place", "is being compared"].iter().any(|words| status.contains(words));
    assert!(slots.is_empty() || told, "{slots}{status}");
}

/// XNAT is stopped; the source can be written to; XNAT's settings are what they were.
fn it_goes_back_in_pieces(site: &Site, origin: &Origin) {
    let words = ["migrate", "rollback", "--yes"];
    for said in ["tomcat9: stop", "as it was before the move"] {
        site.killed(&words, (said, 0));
        let status = site.run(&["status"]).stdout;
        let told = ["when it was to be taken back", "going back to"].iter().any(|words| status.contains(words));
        assert!(told, "{said}: {status}");
    }
    site.run_after_the_killed(&words).expect(0);
    it_is_back(site, origin);
}

fn it_is_back(site: &Site, origin: &Origin) {
    assert!(!origin.is_read_only());
    assert!(origin.settings_of_xnat().contains("datasource.url = jdbc:postgresql://localhost/xnat"));
    assert!(!site.run(&["status"]).expect(0).stdout.contains("cut off"));
}

/// Going back is begun then, and cut off; whoever goes on ends the move, and nothing of the copies is left.
fn it_is_cut_off_while_it_is_compared(site: &Site, origin: &Origin) {
    let mut begin = words("run", site);
    begin.extend(["--method", "stream"]);
    site.killed(&begin, ("Compare", 100));
    site.killed(&["migrate", "rollback", "--yes"], ("tomcat9: stop", 0));
    let status = site.run(&["status"]).stdout;
    assert!(status.contains("is being compared, or was cut off before it was"), "{status}");
    let ended = site.run_after_the_killed(&words("resume", site)).expect(0).stdout;
    assert!(ended.contains("both were not compared"), "{ended}");
    nothing_follows(site, origin);
    it_ends_well((site, origin));
    site.run(&["migrate", "rollback", "--yes"]).expect(0);
    it_is_back(site, origin);
}

/// A member is away while the copies take the place of the cluster's data. When it comes back it must not go on with its own.
fn it_goes_on_without_a_member(site: &Site, origin: &Origin) {
    let mut begin = words("run", site);
    begin.extend(["--method", "stream"]);
    let leader = site.leader();
    site.killed(&begin, ("keep the former data from being started: done", 0));
    let member = site.hosts("postgres").into_iter().find(|host| *host != leader).expect("a replica");
    site.lab.command(&["fault", &member, "kill"]).expect(0);
    let moved = site.run_after_the_killed(&words("resume", site));
    assert!(moved.stdout.contains("Migration passed"), "{}\n{}", moved.stdout, moved.stderr);
    site.run(&["migrate", "rollback", "--yes"]).expect(0);
    let status = site.run(&["status"]).stdout;
    assert!(status.contains("members may have something of a copy"), "{status}");
    site.lab.command(&["fault", &member, "start"]).expect(0);
    let aborted = site.run_after_the_killed(&["migrate", "abort", "--yes"]).expect(0);
    assert!(aborted.stderr.contains("data that the cluster had before is in"), "{}", aborted.stderr);
    site.run(&["apply", "--yes"]).expect(0);
    it_is_well(site);
    nothing_follows(site, origin);
    it_is_back(site, origin);
}
