//! The same major version is moved in by standbys of the source on every member, which take the place of the cluster's data:
//! rehearsed and moved under a writer, failing and killed in the middle, finished, proven the same, and given back.

use std::time::{Duration, Instant};

use crate::origin::{Origin, on_the_leader};
use crate::site::Site;

const PASSWORD: (&str, &str) = ("SOURCE_PASSWORD", "of: the\\source");

#[test]
fn the_source_is_followed_on_every_member() {
    let origin = Origin::up("streamfrom", ("bookworm", "15"));
    let mut site = Site::new("streamto", (&["--hosts", "3", "--suite", "bookworm"], "root"));
    site.run(&["apply", "--yes"]).expect(0);
    let inventory = site.read();
    site.append(&origin.table());
    what_the_cluster_needs_is_refused(&site, &origin);
    it_is_rehearsed_under_a_writer(&site, &origin);
    let xnat = origin.run_xnat();
    site.write(&inventory);
    site.append(&xnat);
    site.append(&over_the_network(&origin));
    site.variables = vec![PASSWORD];
    what_fails_before_the_copies_are_in_place_is_taken_back(&site, &origin);
    it_is_moved_under_a_writer(&site, &origin);
    it_is_given_back(&site, &origin);
    it_is_moved_once_more(&site, &origin);
}

/// With a password that has to be escaped wherever it goes.
fn over_the_network(origin: &Origin) -> String {
    origin.sql("postgres", "ALTER ROLE postgres PASSWORD 'of: the\\source'; ALTER SYSTEM SET listen_addresses TO '*'");
    origin.shell(
        "printf 'host all all 0.0.0.0/0 scram-sha-256\\nhost replication all 0.0.0.0/0 scram-sha-256\\n' \
         >>/etc/postgresql/15/main/pg_hba.conf; pg_ctlcluster 15 main restart",
    );
    let address = origin.said("address");
    format!("[migrate.source]\naddress = \"{address}\"\nreach = \"tcp\"\npassword = {{ env = \"SOURCE_PASSWORD\" }}\n")
}

fn what_the_cluster_needs_is_refused(site: &Site, origin: &Origin) {
    origin.sql("postgres", "CREATE ROLE replicator; CREATE DATABASE another");
    let words = ["migrate", "rehearse", "--yes", "--method", "stream"];
    let refused = site.run(&words).expect(4).stderr;
    assert!(refused.contains("roles that are called as the cluster's own: replicator"), "{refused}");
    origin.sql("postgres", "DROP ROLE replicator");
}

fn it_is_rehearsed_under_a_writer(site: &Site, origin: &Origin) {
    let writer = origin.write();
    let rehearsed = site.run(&["migrate", "rehearse", "--yes", "--method", "stream"]).expect(0).stdout;
    assert!(rehearsed.starts_with("Rehearsal passed: copies follow the source"), "{rehearsed}");
    let indexes: u64 = rehearsed
        .lines()
        .find_map(|line| line.trim().strip_prefix("compared: ")?.split(' ').next()?.parse().ok())
        .expect("a number");
    assert!(indexes > 500, "{rehearsed}");
    let refused = origin.shell("cat /srv/refused");
    writer.end();
    assert_eq!(refused, "");
    nothing_follows(site, origin);
    site.run(&["plan"]).expect(0);
}

/// Neither on the source nor on a member is anything left.
pub fn nothing_follows(site: &Site, origin: &Origin) {
    origin.nothing_follows();
    for host in site.hosts("postgres") {
        let left = "ls -d /var/lib/postgresql/.xnat-migrate /var/lib/postgresql/15/.*.incoming \
                    /var/lib/postgresql/15/.*.following /usr/local/lib/xnat-provision/follow-source 2>/dev/null || :";
        assert_eq!(site.lab.ssh(&host, left).expect(0).stdout, "", "{host}");
    }
}

/// Something is where the leader's former data would go.
fn what_fails_before_the_copies_are_in_place_is_taken_back(site: &Site, origin: &Origin) {
    let (leader, before) = (site.leader(), format!("/var/lib/postgresql/15/.{}.before", site.lab.name()));
    site.lab.ssh(&leader, &format!("mkdir {before}")).expect(0);
    let failed = site.run(&run(site)).expect(1);
    for piece in ["taking the cluster's former data up again", "is not held", "can be written to again"] {
        assert!(failed.stderr.contains(piece), "{piece:?} is not in:\n{}", failed.stderr);
    }
    assert!(!origin.is_read_only());
    origin.settings_of_xnat();
    site.lab.ssh(&leader, &format!("rmdir {before}-*")).expect(0);
    nothing_follows(site, origin);
    it_is_well(site);
}

fn run(site: &Site) -> [&str; 6] {
    ["migrate", "run", "--method", "stream", "--confirm", site.lab.name()]
}

/// Killed when the leader leads with its copy, which is the point of no return.
fn it_is_moved_under_a_writer(site: &Site, origin: &Origin) {
    let writer = origin.write();
    let leader = site.leader();
    let mut run = site.spawn(&run(site));
    let in_place = format!(
        "cd / && test -e /var/lib/postgresql/15/{}/xnat-complete && \
         runuser -u postgres -- psql -XAtqc 'SELECT pg_is_in_recovery()' | grep -q f",
        site.lab.name()
    );
    let begun = Instant::now();
    while site.lab.ssh(&leader, &in_place).status != 0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "no copy is in its place");
        std::thread::sleep(Duration::from_millis(50));
    }
    run.kill().expect("killed");
    run.wait().expect("ended");
    let acknowledged = writer.end();
    let status = site.run(&["status"]).stdout;
    assert!(status.contains("while the copies took the place of the cluster's data"), "{status}");
    let refused = site.run_after_the_killed(&["migrate", "abort", "--yes"]).expect(4);
    assert!(refused.stderr.contains("a copy is in its place already, and was used"), "{}", refused.stderr);
    let moved = site.run(&["migrate", "resume", "--confirm", site.lab.name()]).expect(0).stdout;
    for piece in ["Migration passed: the copy is the same as the source", "Other applications may be switched now"] {
        assert!(moved.contains(piece), "{piece:?} is not in:\n{moved}");
    }
    assert!(!moved.contains("the\\source") && !moved.contains(&site.application_password()));
    assert!(origin.is_read_only());
    let port = site.number("/inventory/haproxy/primary_port");
    let settings = origin.settings_of_xnat();
    assert!(settings.contains(&format!(":{port}/xnat?targetServerType=primary")), "{settings}");
    let there = on_the_leader(site, ("xnat", "SELECT id FROM public.writer_ledger WHERE id > 0 ORDER BY 1"));
    let there: Vec<u64> = there.lines().map(|line| line.parse().expect("a number")).collect();
    let lost: Vec<&u64> = acknowledged.iter().filter(|id| !there.contains(id)).collect();
    assert!(acknowledged.len() > 20 && lost.is_empty(), "{} acknowledged, lost: {lost:?}", acknowledged.len());
    let comes_along = "SELECT count(*) FROM pg_database WHERE datname = 'another'";
    assert_eq!(on_the_leader(site, ("postgres", comes_along)).trim(), "1");
    let unlogged = "SELECT count(*) > 0 FROM public.unlogged";
    assert_eq!(on_the_leader(site, ("xnat", unlogged)).trim(), "t");
    nothing_follows(site, origin);
    site.run(&["plan"]).expect(0);
    it_is_well(site);
}

/// What members say of their timelines is as old as their last turn.
pub fn it_is_well(site: &Site) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if site.run(&["status"]).status == 0 {
            return;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    site.run(&["status"]).expect(0);
}

fn it_is_given_back(site: &Site, origin: &Origin) {
    site.run(&["migrate", "verify", "--yes"]).expect(0);
    site.run(&["migrate", "rollback", "--yes"]).expect(0);
    assert!(!origin.is_read_only());
    assert!(origin.settings_of_xnat().contains("datasource.url = jdbc:postgresql://localhost/xnat"));
}

/// Without being cut off, over what the first one has left, which is kept.
fn it_is_moved_once_more(site: &Site, origin: &Origin) {
    let moved = site.run(&run(site)).expect(0).stdout;
    for piece in [
        "which HAS TABLES in xnat, has OTHER DATABASES (another), which are not in the cluster any more then,",
        "Migration passed: the copy is the same as the source",
        "The source was read-only for",
        ".before-",
    ] {
        assert!(moved.contains(piece), "{piece:?} is not in:\n{moved}");
    }
    assert!(origin.is_read_only());
    nothing_follows(site, origin);
    it_is_well(site);
}
