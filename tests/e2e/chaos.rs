//! Cut anywhere: a run is struck at a point that a seed chooses (the controller killed, its connection cut, a host's power,
//! disk or network gone), and the next `apply` must end with a healthy cluster, an empty plan and every acknowledged row.
//!
//! `make chaos SEED=… N=…` runs as many points as wanted; `make test-all` runs those of [`SEEDS`], `make test` the first few
//! of one release. Every point depends on its
//! own seed only, so that a failing one is repeated by `make chaos SEED=IT N=1`.

mod fault;
mod point;
mod writer;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use fault::Struck;
use point::{Fault, Point, Start};
use writer::Writer;

use crate::site::Site;

/// By release: chosen for their spread over faults, times and kinds of run. One that found a
/// mistake is added to the end and stays.
const SEEDS: [(&str, &[u64]); 2] = [
    ("trixie", &[177, 1, 2, 3, 4, 7, 9, 26, 28, 41, 44, 50, 64]),
    ("bookworm", &[8, 12, 15, 22, 32, 34, 38, 33, 40, 57, 128, 216]),
];

/// A run that was struck must end by itself: it waits for the cluster at most so long.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn cut_anywhere_on_debian_13() {
    cut_anywhere("trixie");
}

#[test]
fn cut_anywhere_on_debian_12() {
    cut_anywhere("bookworm");
}

fn cut_anywhere(suite: &str) {
    let mut points: Vec<Point> = seeds(suite).into_iter().map(Point::of).collect();
    // New clusters last, because their disks may be in memory; bare hosts first, because the rest needs what they become.
    points.sort_by_key(|point| point.start);
    let mut ground = None;
    for point in &points {
        say(&format!("{suite}: {point}"));
        let begun = Instant::now();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(suite, point, &mut ground)));
        if let Err(panic) = result {
            say(&format!("{suite}: {point} failed; again: make chaos SEED={} N=1 SUITE={suite}", point.seed));
            std::panic::resume_unwind(panic);
        }
        say(&format!("{suite}: seed {} is well after {:.0} s", point.seed, begun.elapsed().as_secs_f64()));
    }
}

/// As many as `make test` has time for.
const IN_A_HURRY: usize = 6;

/// `SEED` and `N` from the environment, for one release or both; or the list above, whole or its beginning.
fn seeds(suite: &str) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let Some(first) = number("CHAOS_SEED") else {
        let all = SEEDS.iter().find(|(name, _)| *name == suite).expect("it is in the list").1;
        let whole = std::env::var_os("CHAOS_ALL").is_some();
        return all[..if whole { all.len() } else { IN_A_HURRY.min(all.len()) }].to_vec();
    };
    match std::env::var("CHAOS_SUITE") {
        Ok(only) if only != suite => Vec::new(),
        _ => (first..first + number("CHAOS_N").unwrap_or(1)).collect(),
    }
}

/// Hosts that are used for one point after the other.
struct Ground {
    site: Site,
    original: String,
}

impl Ground {
    fn new(suite: &str, start: Start) -> Self {
        let hosts = (&["--hosts", "3", "--suite", suite][..], "root");
        let of = if start == Start::Bare { Site::bare } else { Site::new };
        let site = of(&format!("chaos-{suite}"), hosts);
        // only then no acknowledged row may be lost, whoever is struck
        site.append("[patroni]\nsynchronous = \"on\"");
        let original = site.read();
        Self { site, original }
    }
}

fn run(suite: &str, point: &Point, ground: &mut Option<Ground>) {
    if point.start == Start::Bare {
        // the old hosts go before the new ones come
        *ground = None;
    }
    let fresh = ground.is_none();
    let ground = ground.get_or_insert_with(|| Ground::new(suite, point.start));
    match point.start {
        Start::Bare => {}
        Start::Living | Start::Wiped if fresh => drop(ground.site.run(&["apply", "--yes"]).expect(0)),
        Start::Living | Start::Wiped => {}
    }
    if point.start == Start::Wiped {
        fault::wipe(&ground.site);
    }
    if point.start == Start::Living {
        let writer = Writer::start(&ground.site);
        change(ground, point);
        cut(&ground.site, point);
        converges(&ground.site, point);
        writer.all_rows_are_there();
    } else {
        fault::prepare(&ground.site, point);
        cut(&ground.site, point);
        converges(&ground.site, point);
    }
}

/// Something for the run to do on every host, in the cluster's shared configuration, or both.
fn change(ground: &Ground, point: &Point) {
    let maxconn = 500 + point.seed % 400;
    let memory = 4096 + point.seed % 1000;
    let text = ground.original.replace("[haproxy]", &format!("[haproxy]\nmaxconn = {maxconn}"));
    ground.site.write(&format!("{text}\n[postgresql]\nparameters = {{ work_mem = \"{memory}kB\" }}\n"));
}

/// One run, struck.
fn cut(site: &Site, point: &Point) {
    let mut run = site.spawn(&["apply", "--yes", "--json"]);
    let (events, said) = (follow(&mut run), drain(&mut run));
    let mut seen = 0;
    while seen < point.event && events.recv_timeout(PATIENCE).is_ok() {
        seen += 1;
    }
    match events.recv_timeout(point.delay) {
        Ok(_) | Err(RecvTimeoutError::Timeout) => say(&format!("  struck after event {seen}")),
        Err(RecvTimeoutError::Disconnected) => say(&format!("  struck when it had ended, after event {seen}")),
    }
    let struck = Struck::strike(site, point, &mut run);
    // A full disk is only a fault when somebody writes to it; the other faults are over at once.
    let lasting = if matches!(point.fault, Fault::Disk(..)) { Duration::from_secs(10) } else { Duration::ZERO };
    let early = ends_within(&mut run, lasting);
    struck.undo(site);
    let Some(status) = early.or_else(|| ends_within(&mut run, PATIENCE)) else {
        run.kill().expect("it still runs");
        let last: Vec<String> = events.try_iter().collect();
        let last = last[last.len().saturating_sub(5)..].join("\n");
        panic!("the struck run hangs:\n{last}\n{}", said.recv().unwrap_or_default());
    };
    say(&format!("  it ended with {status}"));
}

fn ends_within(run: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        let status = run.try_wait().expect("it can be asked");
        if status.is_some() || begun.elapsed() >= patience {
            return status;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Lines of the events, as they come; the end is the end of the run.
fn follow(run: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    let stdout = BufReader::new(run.stdout.take().expect("it is piped"));
    // nobody listens any more once the run is struck, and it must not wait for that
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    receiver
}

fn drain(run: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    let mut stderr = run.stderr.take().expect("it is piped");
    std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| sender.send(text))
    });
    receiver
}

/// Once more, and all is well. After a fault of a host it may still be on its way back when `apply` has nothing left to
/// do, which it says with status 4.
fn converges(site: &Site, point: &Point) {
    let again = site.run(&["apply", "--yes"]);
    let patient = matches!(point.fault, Fault::Power(_) | Fault::Disk(..) | Fault::Partition(..));
    if !(patient && again.status == 4) {
        let again = again.expect(0);
        drop(again);
    }
    let begun = Instant::now();
    let mut status = site.run(&["status"]);
    while status.status != 0 && begun.elapsed() < Duration::from_secs(90) {
        std::thread::sleep(Duration::from_secs(1));
        status = site.run(&["status"]);
    }
    status.expect(0);
    site.run(&["plan"]).expect(0);
}

#[expect(clippy::print_stderr, reason = "the seed and the points are what somebody needs to repeat them")]
fn say(line: &str) {
    eprintln!("chaos: {line}");
}
