//! Figures, verdicts and reports of drills, from recordings made up for it.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use jiff::Timestamp;
use xnat_provision::drill::{
    Attempt, Balancer, Bound, Budget, Drill, Entry, Fault, Finding, Ledger, Lock, Note, Recording, Role, Run, Server,
    Setting, Span, Spread, figures, history, html, judge, table,
};
use xnat_provision::names::HostName;

fn host(name: &str) -> HostName {
    HostName::from(name)
}

fn server(from: u64, to: u64, role: Role) -> Span<Server> {
    Span { from, to, seen: Server { role, timeline: (role == Role::Writable).then_some(7) } }
}

fn lock(from: u64, to: u64, holder: Option<&str>) -> Span<Lock> {
    Span { from, to, seen: Lock(holder.map(host)) }
}

/// db1 is lost after 5 s, and db2 takes over.
fn lost_leader() -> Recording {
    let writes = (0..50).map(|n| n * 100).chain((0..60).map(|n| 25_000 + n * 100)).collect();
    let route =
        |from, to, whom: &[&str]| Span { from, to, seen: Balancer(whom.iter().map(|name| host(name)).collect()) };
    Recording {
        injected: 5000,
        undone: Some(28_000),
        healed: Some(33_000),
        ended: 36_000,
        writes,
        reads: (0..360).map(|n| n * 100).collect(),
        connects: vec![1000, 4800, 25_300, 30_000],
        errors: vec![Note { at: 6000, text: "connection <closed>".to_owned() }],
        servers: BTreeMap::from([
            (
                host("db1"),
                vec![
                    server(100, 4900, Role::Writable),
                    server(5100, 30_000, Role::Silent),
                    server(31_000, 36_000, Role::Replica),
                ],
            ),
            (host("db2"), vec![server(100, 24_000, Role::Replica), server(24_500, 36_000, Role::Writable)]),
        ]),
        balancers: BTreeMap::from([(
            host("lb1"),
            vec![route(100, 6000, &["db1"]), route(6500, 24_000, &[]), route(24_900, 36_000, &["db2"])],
        )]),
        lock: vec![lock(100, 22_000, Some("db1")), lock(23_000, 24_000, None), lock(24_100, 36_000, Some("db2"))],
        notes: vec![Note { at: 5000, text: "power-off on db1".to_owned() }],
        ledger: Ledger { acknowledged: 112, lost: 2, unacknowledged: 1, unknown: 0 },
    }
}

fn setting(synchronous: bool) -> Setting {
    Setting {
        cluster: "site".to_owned(),
        program: "0.1.0".to_owned(),
        who: "root@admin".to_owned(),
        reason: Some("yearly test".to_owned()),
        way: "4 write".to_owned(),
        versions: vec!["PostgreSQL 17.6".to_owned()],
        timings: vec![("ttl".to_owned(), "30 s".to_owned())],
        synchronous,
    }
}

fn judged(recording: Recording, synchronous: bool, budget: Budget) -> Drill {
    let runs = vec![Run { figures: figures(&recording), recording }];
    let bound = Some(Bound { millis: 38_500, formula: "ttl 30.0 + loop_wait 5.0 + race 2.0 + HAProxy 1.5".to_owned() });
    let setting = setting(synchronous);
    let findings = judge(Fault::PowerOff, (&setting, bound.as_ref(), budget), &runs);
    let passed = findings.iter().all(|finding| finding.held);
    let finished: Timestamp = "2026-11-28T12:00:36Z".parse().expect("a time");
    let started: Timestamp = "2026-11-28T12:00:00Z".parse().expect("a time");
    Drill { drill: Fault::PowerOff, passed, started, finished, setting, bound, budget, findings, runs }
}

#[test]
fn the_median_of_an_even_number_of_runs_is_between_the_two_in_the_middle() {
    let of = |values: &[u64]| Spread::of(values.iter().copied()).map(|it| (it.least, it.median, it.most));
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[7]), Some((7, 7, 7)));
    assert_eq!(of(&[30, 10]), Some((10, 20, 30)));
    assert_eq!(of(&[5, 1, 9]), Some((1, 5, 9)));
}

#[test]
fn figures_follow_from_what_was_seen() {
    let figures = figures(&lost_leader());
    assert_eq!((figures.write_gap, figures.connect_gap, figures.read_gap), (Some(20_100), Some(20_500), Some(100)));
    // HAProxy noticed first, then the lease ended
    assert_eq!((figures.detected, figures.promoted, figures.switched), (Some(1500), Some(19_500), Some(19_900)));
    assert_eq!(figures.healed, Some(5000), "since it was undone");
    assert_eq!((figures.leader_before, figures.leader_after), (Some(host("db1")), Some(host("db2"))));
    assert_eq!((figures.two_writable, figures.timelines), (0, vec![7]));
}

#[test]
fn who_demotes_itself_follows_when_there_is_somebody_to_follow() {
    let mut recording = lost_leader();
    let demoted = vec![server(100, 4900, Role::Writable), server(20_000, 27_000, Role::Replica)];
    recording.servers.insert(host("db1"), demoted.clone());
    assert_eq!(figures(&recording).rejoined, None, "still cut off");
    recording.servers.insert(host("db1"), [demoted, vec![server(29_500, 36_000, Role::Replica)]].concat());
    assert_eq!(figures(&recording).rejoined, Some(1500));
}

#[test]
fn two_members_that_take_writes_at_once_are_seen_and_fail_the_drill() {
    let mut recording = lost_leader();
    recording.servers.insert(host("db1"), vec![server(100, 26_000, Role::Writable)]);
    let drill = judged(recording, false, Budget::default());
    assert_eq!(drill.runs[0].figures.two_writable, 1500);
    assert!(!drill.passed);
    let told = Finding { held: false, text: "two members took writes at once, for 1.5 s".to_owned() };
    assert_eq!(drill.findings[0], told);
}

#[test]
fn lost_rows_are_allowed_without_synchronous_replication_only_and_within_a_budget() {
    assert!(judged(lost_leader(), false, Budget::default()).passed, "asynchronous");
    assert!(!judged(lost_leader(), true, Budget::default()).passed, "a commit waited for a replica");
    let budget = |lost| Budget { lost: Some(lost), write_gap_millis: None };
    assert!(!judged(lost_leader(), false, budget(1)).passed);
    assert!(judged(lost_leader(), false, budget(2)).passed);
    let short = Budget { write_gap_millis: Some(20_000), lost: None };
    assert!(!judged(lost_leader(), false, short).passed, "20.5 s of 20");
    let mut stranger = lost_leader();
    stranger.ledger.unknown = 1;
    assert!(!judged(stranger, false, Budget::default()).passed, "a row that nobody has sent");
}

#[test]
fn a_leader_that_stays_and_a_cluster_that_does_not_heal_fail() {
    let mut recording = lost_leader();
    recording.lock = vec![lock(100, 36_000, Some("db1"))];
    recording.healed = None;
    let failed: Vec<String> = judged(recording, false, Budget::default())
        .findings
        .into_iter()
        .filter(|finding| !finding.held)
        .map(|finding| finding.text)
        .collect();
    assert_eq!(
        failed[1..],
        ["another member led afterwards in 0 of 1 runs", "not all was well again afterwards, in 1 runs"]
    );
}

#[test]
fn the_table_and_the_history_as_a_person_reads_them() {
    let drill = judged(lost_leader(), false, Budget::default());
    let mut slower = drill.clone();
    slower.runs[0].figures.write_gap = Some(60_000);
    slower.passed = false;
    let at = |text: &str| text.parse().expect("a time");
    let attempt = Attempt {
        drill: "all".to_owned(),
        passed: false,
        started: at("2026-11-29T04:30:00Z"),
        finished: at("2026-11-29T04:30:07Z"),
        failed: "no drill while db2 cannot be reached".to_owned(),
    };
    let kept: Vec<Entry> =
        [drill.clone(), drill.clone(), slower].into_iter().map(|drill| Entry::Done(Box::new(drill))).collect();
    let kept = [kept, vec![Entry::Attempted(attempt)]].concat();
    insta::with_settings!({ snapshot_path => "../fixtures/drill", prepend_module_to_snapshot => false }, {
    assert_snapshot!("table_and_history", format!("{}\n{}", table(&drill), history(&kept)));
    });
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_holds_its_data() {
    let drill = judged(lost_leader(), false, Budget::default());
    let page = html::page(&drill).expect("a page");
    for word in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("connection &lt;closed&gt;"), "what clients were told is escaped");
    assert_eq!(page.matches("<svg").count(), 1);
    let data = page.split("id=\"recording\">").nth(1).and_then(|rest| rest.split("</script>").next()).expect("data");
    let read: Drill = serde_json::from_str(&data.replace("<\\/", "</")).expect("it is JSON");
    assert_eq!(read.runs[0].figures, drill.runs[0].figures);
}
