//! A move that is killed in each of its stages, one after the other, until it has come to its end: at any time `status` tells
//! of a source that is read-only, the cluster has the whole copy or nothing of it, and nobody's row is lost.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use crate::migrate::{differences, none_is_lost};
use crate::origin::{Origin, Writer, nothing_is_left, on_the_leader};
use crate::site::Site;

/// What is said of each part of a run when it begins, and how many milliseconds it is let go on then.
const PARTS: [(&str, u64); 13] = [
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
/// Until then the copy is beside the application's database, and the source was made read-only in it.
const IN_PLACE: &str = "Put it in its place";
const READ_ONLY: &str = "Make the roles";

#[test]
fn a_run_is_killed_in_every_part_and_ends_well() {
    let origin = Origin::up("cutfrom", ("bookworm", "15"));
    let site = Site::new("cutto", (&["--hosts", "3", "--suite", "trixie"], "root"));
    site.append("[patroni]\nsynchronous = \"on\"");
    site.run(&["apply", "--yes"]).expect(0);
    site.append(&origin.table());
    site.append(&origin.run_xnat());
    let mut writer = Some(origin.write());
    let mut acknowledged = Vec::new();
    let (begin, resume) = (words("run", &site), words("resume", &site));
    for (number, (part, after)) in PARTS.into_iter().enumerate() {
        killed(&site, if number == 0 { &begin } else { &resume }, (part, after));
        it_is_told(&site, &origin);
        if part == READ_ONLY {
            assert!(origin.is_read_only());
            acknowledged = writer.take().map(Writer::end).unwrap_or_default();
        }
        let before = PARTS[..number].iter().all(|(part, _)| *part != IN_PLACE);
        if before && part != IN_PLACE {
            assert_eq!(tables(&site), 0, "{part}");
        }
        assert!(matches!(tables(&site), 0 | 50..), "{part}");
    }
    let moved = ended(&site, &resume);
    for piece in ["Migration passed: the copy is the same as the source", "was cut off and gone on with", "Report: "] {
        assert!(moved.contains(piece), "{piece:?} is not in:\n{moved}");
    }
    assert!(!site.run(&["status"]).expect(0).stdout.contains("cut off"));
    assert!(origin.settings_of_xnat().contains("targetServerType=primary"));
    none_is_lost(&site, &acknowledged, 0);
    let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')";
    assert_eq!(on_the_leader(&site, ("postgres", synchronous)).trim(), "1");
    assert_eq!(differences(&site.run(&["migrate", "verify", "--yes", "--json"]).expect(0)), [] as [&str; 0]);
    nothing_is_left(&site);
    it_goes_back_in_pieces(&site, &origin);
}

fn words<'a>(verb: &'a str, site: &'a Site) -> Vec<&'a str> {
    vec!["migrate", verb, "--confirm", site.lab.name()]
}

/// What is there under the application's name: nothing, or all of it.
fn tables(site: &Site) -> u64 {
    let asked = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    on_the_leader(site, ("xnat", asked)).trim().parse().expect("a number")
}

/// Nobody who asks can miss that the source is read-only, and why.
fn it_is_told(site: &Site, origin: &Origin) {
    let (read_only, status) = (origin.is_read_only(), site.run(&["status"]).stdout);
    assert!(!read_only || status.contains("cut off"), "{status}");
}

/// As soon as that is said, and so many milliseconds later. Whoever had the locks of the last one has to be forgotten first.
fn killed(site: &Site, words: &[&str], (said, after): (&str, u64)) {
    let begun = Instant::now();
    loop {
        let mut child = site.spawn(words);
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut all = Vec::new();
        let seen = lines.by_ref().map_while(Result::ok).any(|line| {
            all.push(line);
            all.last().is_some_and(|line| line.contains(said))
        });
        if seen {
            std::thread::sleep(Duration::from_millis(after));
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        if seen {
            return;
        }
        let locked = all.iter().any(|line| line.contains("lock"));
        assert!(locked && begun.elapsed() < Duration::from_secs(60), "{said:?} is not said:\n{}", all.join("\n"));
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn ended(site: &Site, words: &[&str]) -> String {
    let begun = Instant::now();
    loop {
        let ran = site.run(words);
        if !ran.stderr.contains("lock") || begun.elapsed() > Duration::from_secs(60) {
            return ran.expect(0).stdout;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// XNAT is stopped; the source can be written to; XNAT's settings are what they were.
fn it_goes_back_in_pieces(site: &Site, origin: &Origin) {
    let words = ["migrate", "rollback", "--yes"];
    for said in ["tomcat9: stop", "as it was before the move"] {
        killed(site, &words, (said, 0));
        let status = site.run(&["status"]).stdout;
        let told = ["when it was to be taken back", "going back to"].iter().any(|words| status.contains(words));
        assert!(told, "{said}: {status}");
    }
    ended(site, &words);
    assert!(!origin.is_read_only());
    assert!(origin.settings_of_xnat().contains("datasource.url = jdbc:postgresql://localhost/xnat"));
    assert!(!site.run(&["status"]).expect(0).stdout.contains("cut off"));
}
