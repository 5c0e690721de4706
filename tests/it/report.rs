//! Recorded runs, shown by every renderer; [`journal`]: what is kept of a run, and shown again.

mod journal;

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use indicatif::InMemoryTerm;
use insta::assert_snapshot;
use jiff::Timestamp;
use xnat_provision::names::HostName;
use xnat_provision::report::human::{Human, Motion};
use xnat_provision::report::journal::Recording;
use xnat_provision::report::json::Json;
use xnat_provision::report::look::{Colour, Glyphs, Look};
use xnat_provision::report::plain::Plain;
use xnat_provision::report::state::RunState;
use xnat_provision::report::{Event, Kind, Outcome, Renderer};

const MONO: Look = Look { colour: Colour::Off, glyphs: Glyphs::Unicode };

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/report").join(name)
}

fn events(name: &str) -> Vec<Event> {
    Recording::read(&fixture(name)).expect("a good fixture").events
}

/// A writer that can be looked into.
#[derive(Clone, Default)]
pub struct Paper(Arc<Mutex<Vec<u8>>>);

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("UTF-8")
    }
}

/// Show events to a renderer, and the end if it is wanted.
pub fn play(renderer: &mut dyn Renderer, events: &[Event], end: Option<&Path>) {
    let mut state = RunState::default();
    for event in events {
        NOW.set(event.at);
        state.apply(event);
        renderer.event(event, &state).expect("shown");
    }
    if let Some(journal) = end {
        renderer.finish(&state, Some(journal)).expect("shown");
    }
}

thread_local! {
    static NOW: Cell<Timestamp> = const { Cell::new(Timestamp::UNIX_EPOCH) };
}

/// The screen after some of the events; with the end when it is all of them.
fn screen(name: &str, until: impl Fn(&Event) -> bool, (rows, columns): (u16, u16), look: Look) -> String {
    let all = events(name);
    let last = all.iter().position(until);
    let shown = last.map_or(all.len(), |at| at + 1);
    let term = InMemoryTerm::new(rows, columns);
    let mut human = Human::new(term.clone(), look, Motion::Stepped(|| NOW.get()));
    play(&mut human, &all[..shown], last.is_none().then_some(Path::new("STATE/events.jsonl")));
    term.contents()
}

fn never(_: &Event) -> bool {
    false
}

fn plain(name: &str) -> String {
    let paper = Paper::default();
    play(&mut Plain::new(paper.clone()), &events(name), Some(Path::new("STATE/events.jsonl")));
    paper.text()
}

#[test]
fn a_log_of_a_good_run() {
    let text = plain("good.jsonl");
    assert!(!text.contains(['\r', '\u{1b}']));
    assert_snapshot!(text, @r"
    10:15:30Z | run 20260412T101530Z-3f9c, 2026-04-12
    10:15:30Z | apply of cluster xnat: db1, db2, db3, lb1 (xnat-provision 0.1.0)
    10:15:30Z db1 | connected to root@10.0.0.11 in 0.1 s
    10:15:30Z db2 | connected to root@10.0.0.12 in 0.1 s
    10:15:30Z db3 | connected to root@10.0.0.13 in 0.1 s
    10:15:30Z lb1 | connected to root@10.0.0.14 in 0.1 s
    10:15:30Z db1 | debian 12, amd64, 4 processors, 7945 MiB of memory
    10:15:30Z db2 | debian 12, amd64, 4 processors, 7945 MiB of memory
    10:15:30Z db3 | debian 12, amd64, 4 processors, 7945 MiB of memory
    10:15:30Z lb1 | debian 12, amd64, 1 processor, 7945 MiB of memory
    10:15:30Z | plan: 8 changes on 4 hosts
    10:15:34Z | 3 stages: Install packages, Start etcd, Start HAProxy
    10:15:34Z | [1/3] Install packages: db1, db2, db3, lb1
    10:15:34Z db1 | Install packages
    10:15:34Z db2 | Install packages
    10:15:34Z db3 | Install packages
    10:15:34Z lb1 | Install packages
    10:15:37Z lb1 | changed package haproxy: installed 2.6.12-1+deb12u2
    10:15:37Z lb1 | Install packages: done in 2.8 s
    10:15:37Z lb1 | ok, 1 change in 2.8 s
    10:15:40Z db1 | changed package etcd-server: installed 3.4.23-4+b4
    10:15:40Z db1 | Install packages: done in 6.2 s
    10:15:40Z db1 | ok, 1 change in 6.2 s
    10:15:41Z db2 | changed package etcd-server: installed 3.4.23-4+b4
    10:15:41Z db2 | Install packages: done in 6.2 s
    10:15:41Z db2 | ok, 1 change in 6.2 s
    10:15:41Z db3 | changed package etcd-server: installed 3.4.23-4+b4
    10:15:41Z db3 | Install packages: done in 6.2 s
    10:15:41Z db3 | ok, 1 change in 6.2 s
    10:15:41Z | [1/3] Install packages: ok, 4 changes in 8.3 s
    10:15:41Z | [2/3] Start etcd: db1, db2, db3
    10:15:41Z db1 | Write the configuration
    10:15:41Z db2 | Write the configuration
    10:15:41Z db3 | Write the configuration
    10:15:42Z db1 | changed file /etc/etcd/etcd.yml: created, 0640 root:etcd
    10:15:42Z db1 | Write the configuration: done in 0.1 s
    10:15:42Z db2 | changed file /etc/etcd/etcd.yml: created, 0640 root:etcd
    10:15:42Z db2 | Write the configuration: done in 0.1 s
    10:15:42Z db3 | changed file /etc/etcd/etcd.yml: created, 0640 root:etcd
    10:15:42Z db3 | Write the configuration: done in 0.1 s
    10:15:42Z db3 | warning: the clock is 3 s behind this machine
    10:15:42Z db3 | try: set up time synchronisation: ssh root@10.0.0.13 'apt-get install chrony'
    10:15:42Z | Wait for the etcd quorum
    10:15:43Z | waiting for the etcd quorum: 1 of 3 members answer (1 s)
    10:15:46Z | waiting for the etcd quorum: 2 of 3 members answer, db3: connection refused (4 s)
    10:15:47Z | Wait for the etcd quorum: done in 4.7 s
    10:15:47Z | [2/3] Start etcd: ok, 3 changes in 5.2 s
    10:15:47Z | [3/3] Start HAProxy: lb1
    10:15:47Z lb1 | Write the configuration
    10:15:47Z lb1 | changed file /etc/haproxy/haproxy.cfg: content
    10:15:48Z lb1 | Write the configuration: done in 0.3 s
    10:15:48Z lb1 | Restart HAProxy: skipped, a reload is enough
    10:15:48Z | [3/3] Start HAProxy: ok, 1 change in 1.1 s
    + 8 changes on 4 hosts in 35 s, 1 warning
    ");
}

#[test]
fn a_log_of_a_failed_run() {
    let text = plain("failed.jsonl");
    assert_snapshot!(text.lines().skip_while(|l| !l.contains("failed")).collect::<Vec<_>>().join("\n"), @r#"
    10:15:40Z db2 | failed: cannot install etcd-server, patroni, postgresql-15: apt-get exited with 100
    10:15:40Z db1 | changed package etcd-server: installed 3.4.23-4+b4
    10:15:40Z db1 | Install packages: done in 6.2 s
    10:15:40Z db1 | ok, 1 change in 6.2 s
    10:15:41Z db3 | changed package etcd-server: installed 3.4.23-4+b4
    10:15:41Z db3 | Install packages: done in 6.2 s
    10:15:41Z db3 | ok, 1 change in 6.2 s
    10:15:41Z | [1/3] Install packages: failed, 3 changes in 8.3 s
    x db2 failed (stage "Install packages"): cannot install etcd-server, patroni, postgresql-15: apt-get exited with 100
        because: /var has 12 MiB free, 210 MiB are needed
        try:     make room on the host: ssh root@10.0.0.12 'df -h /var; apt-get clean'
        code:    xnat::engine::action
        last 2 lines of output:
          | Reading package lists...
          | E: You don't have enough free space in /var/cache/apt/archives/.
    x 1 of 4 hosts failed after 13 s, 3 changes on 3 hosts
    Everything that happened: STATE/events.jsonl
    Show it again:            xnat-provision history show 20260412T101530Z-3f9c
    "#);
}

#[test]
fn json_lines_are_the_journal_s_lines() {
    let paper = Paper::default();
    play(&mut Json::new(paper.clone()), &events("good.jsonl"), Some(Path::new("STATE")));
    assert_eq!(paper.text(), fs::read_to_string(fixture("good.jsonl")).expect("read"));
}

#[test]
fn the_terminal_while_hosts_are_at_work() {
    let unpacking = |event: &Event| matches!(&event.kind, Kind::OutputLine { line } if line.starts_with("Unpacking"));
    assert_snapshot!(screen("good.jsonl", unpacking, (24, 120), MONO), @r"
    ~ lb1  changed package haproxy: installed 2.6.12-1+deb12u2
    [1/3] Install packages  00:10
      ⠙ db1  Install packages (5 s) · Unpacking etcd-server (3.4.23-4+b4) over a line that is much longer than a narrow te…
      ⠙ db2  Install packages (5 s) · Reading package lists...
      ⠙ db3  Install packages (5 s)
      ✓ lb1  ok, 1 change
    ");
    assert_snapshot!(screen("good.jsonl", unpacking, (24, 60), MONO), @r"
    ~ lb1  changed package haproxy: installed 2.6.12-1+deb12u2
    [1/3] Install packages  00:10
      ⠙ db1  Install packages (5 s) · Unpacking etcd-server (3…
      ⠙ db2  Install packages (5 s) · Reading package lists...
      ⠙ db3  Install packages (5 s)
      ✓ lb1  ok, 1 change
    ");
}

#[test]
fn the_terminal_while_the_cluster_is_waited_for() {
    let waiting = |event: &Event| matches!(event.kind, Kind::Waiting { seconds: 4, .. });
    assert_snapshot!(screen("good.jsonl", waiting, (24, 60), MONO), @r"
    ~ lb1  changed package haproxy: installed 2.6.12-1+deb12u2
    ~ db1  changed package etcd-server: installed 3.4.23-4+b4
    ~ db2  changed package etcd-server: installed 3.4.23-4+b4
    ~ db3  changed package etcd-server: installed 3.4.23-4+b4
    ✓ [1/3] Install packages: ok, 4 changes in 8.3 s
    ~ db1  changed file /etc/etcd/etcd.yml: created, 0640 root…
    ~ db2  changed file /etc/etcd/etcd.yml: created, 0640 root…
    ~ db3  changed file /etc/etcd/etcd.yml: created, 0640 root…
    ! db3  warning: the clock is 3 s behind this machine
        try: set up time synchronisation: ssh root@10.0.0.13 'ap
    t-get install chrony'
    [2/3] Start etcd  00:16
      ⠸ cluster  Wait for the etcd quorum (4 s) · 2 of 3 membe…
        db1      waiting
        db2      waiting
        db3      waiting
    ");
}

#[test]
fn the_terminal_after_a_good_run() {
    assert_snapshot!(screen("good.jsonl", never, (40, 100), MONO), @r"
    ~ lb1  changed package haproxy: installed 2.6.12-1+deb12u2
    ~ db1  changed package etcd-server: installed 3.4.23-4+b4
    ~ db2  changed package etcd-server: installed 3.4.23-4+b4
    ~ db3  changed package etcd-server: installed 3.4.23-4+b4
    ✓ [1/3] Install packages: ok, 4 changes in 8.3 s
    ~ db1  changed file /etc/etcd/etcd.yml: created, 0640 root:etcd
    ~ db2  changed file /etc/etcd/etcd.yml: created, 0640 root:etcd
    ~ db3  changed file /etc/etcd/etcd.yml: created, 0640 root:etcd
    ! db3  warning: the clock is 3 s behind this machine
        try: set up time synchronisation: ssh root@10.0.0.13 'apt-get install chrony'
    ✓ [2/3] Start etcd: ok, 3 changes in 5.2 s
    ~ lb1  changed file /etc/haproxy/haproxy.cfg: content
    ✓ [3/3] Start HAProxy: ok, 1 change in 1.1 s
    ✓ 8 changes on 4 hosts in 35 s, 1 warning
    ");
}

#[test]
fn the_terminal_after_a_failed_run() {
    let ascii = Look { glyphs: Glyphs::Ascii, ..MONO };
    assert_snapshot!(screen("failed.jsonl", never, (40, 100), MONO), @r#"
    ~ lb1  changed package haproxy: installed 2.6.12-1+deb12u2
    ✗ db2  failed: cannot install etcd-server, patroni, postgresql-15: apt-get exited with 100
    ~ db1  changed package etcd-server: installed 3.4.23-4+b4
    ~ db3  changed package etcd-server: installed 3.4.23-4+b4
    ✗ [1/3] Install packages: failed, 3 changes in 8.3 s
    ✗ db2 failed (stage "Install packages"): cannot install etcd-server, patroni, postgresql-15:
        apt-get exited with 100
        because: /var has 12 MiB free, 210 MiB are needed
        try:     make room on the host: ssh root@10.0.0.12 'df -h /var; apt-get clean'
        code:    xnat::engine::action
        last 2 lines of output:
          | Reading package lists...
          | E: You don't have enough free space in /var/cache/apt/archives/.
    ✗ 1 of 4 hosts failed after 13 s, 3 changes on 3 hosts
    Everything that happened: STATE/events.jsonl
    Show it again:            xnat-provision history show 20260412T101530Z-3f9c
    "#);
    assert!(screen("failed.jsonl", never, (40, 100), ascii).is_ascii());
}

#[test]
fn a_failed_host_stays_in_sight_while_the_others_go_on() {
    let after = |event: &Event| event.seq == 25;
    assert_snapshot!(screen("failed.jsonl", after, (24, 80), MONO), @r"
    ~ lb1  changed package haproxy: installed 2.6.12-1+deb12u2
    ✗ db2  failed: cannot install etcd-server, patroni, postgresql-15: apt-get exi…
    ~ db1  changed package etcd-server: installed 3.4.23-4+b4
    [1/3] Install packages  00:10
        db1  waiting
      ✗ db2  failed: cannot install etcd-server, patroni, postgresql-15: apt-get e…
      ⠧ db3  Install packages (6 s)
      ✓ lb1  ok, 1 change
    ");
}

#[test]
fn nothing_is_wider_than_the_terminal_or_higher() {
    for columns in [20, 40, 60, 80, 200] {
        for until in 0..60 {
            let shown = screen("good.jsonl", |event| event.seq == until, (12, columns), MONO);
            let live: Vec<_> = shown.lines().collect();
            assert!(live.iter().all(|line| console::measure_text_width(line) <= usize::from(columns)));
            assert!(live.len() <= 12);
        }
    }
}

#[test]
fn colours_add_nothing_to_the_words() {
    let coloured = Look { colour: Colour::On, ..MONO };
    assert_eq!(screen("failed.jsonl", never, (40, 100), coloured), screen("failed.jsonl", never, (40, 100), MONO));
}

#[test]
fn many_hosts_on_a_low_terminal() {
    let names: Vec<HostName> = (1..=30).map(|n| HostName::new(format!("node{n}"))).collect();
    let event = |seq: u64, host: Option<&HostName>, kind: Kind| Event {
        run: "r".to_owned(),
        seq,
        at: Timestamp::UNIX_EPOCH,
        host: host.cloned(),
        stage: Some("Install packages".to_owned()),
        kind,
    };
    let mut all = vec![event(0, None, Kind::StageStarted { hosts: names.clone() })];
    all.extend(
        names[..28]
            .iter()
            .map(|n| event(1, Some(n), Kind::HostFinished { outcome: Outcome::Ok, changed: 0, millis: 5 })),
    );
    all.push(event(2, Some(&names[29]), Kind::StepStarted { title: "Install packages".to_owned() }));
    let term = InMemoryTerm::new(10, 40);
    let mut human = Human::new(term.clone(), MONO, Motion::Stepped(|| NOW.get()));
    play(&mut human, &all, None);
    assert_snapshot!(term.contents(), @r"
    Install packages  00:00
      ✓ node1   ok, no changes
      ✓ node2   ok, no changes
      ✓ node3   ok, no changes
      ✓ node4   ok, no changes
      ✓ node5   ok, no changes
        node29  waiting
      ⠋ node30  Install packages
        and 23 hosts more
    ");
}

#[test]
fn a_replay_gives_the_same_state() {
    let state = RunState::replay(&events("failed.jsonl"));
    assert_eq!(state.failures.len(), 1);
    assert_eq!(state.failures[0].output.len(), 2, "the output the host printed before it failed");
    assert_eq!(state.changed, 3);
    assert_eq!(state.finished.map(|finish| finish.outcome), Some(Outcome::Failed));
    assert_eq!(state.numbered("Start etcd"), Some((2, 3)));
}

#[test]
fn events_of_a_newer_version_are_passed_over() {
    let line = r#"{"run":"r","seq":1,"at":"2026-04-12T10:15:30Z","kind":"moon_landed","crater":{"name":"Tycho"}}"#;
    assert_eq!(serde_json::from_str::<Event>(line).expect("read").kind, Kind::Unknown);
}
