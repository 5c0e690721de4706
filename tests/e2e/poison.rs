//! Looks for secrets where they must not be. The hosts' processes are visible from here, so one sampler sees them all.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Reads every process' command line over and over until stopped.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Sampler {
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                seen.extend(command_lines());
                // a rate, not a wait: often enough for a short-lived psql, seldom enough to leave the processors alone
                std::thread::sleep(Duration::from_millis(20));
            }
            seen
        });
        Self { stop, thread }
    }

    /// Every command line seen, one a line.
    pub fn stop(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join().expect("the sampler does not panic");
        seen.into_iter().collect::<Vec<_>>().join("\n")
    }
}

fn command_lines() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("Linux has it").flatten();
    let numbers = processes.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()));
    // a process may be gone by now
    let read = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).ok();
    numbers.filter_map(read).map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
}

/// The contents of every file below a directory.
pub fn all_text(directory: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).expect("it is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            text.push_str(&all_text(&path));
        } else {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(&path).expect("readable")));
        }
    }
    text
}

/// A check that cannot fail proves nothing.
#[test]
fn a_planted_leak_is_seen() {
    let sampler = Sampler::start();
    let mut leak =
        std::process::Command::new("sh").args(["-c", "sleep 1; : PlantedPassword"]).spawn().expect("it runs");
    leak.wait().expect("it ends");
    assert!(sampler.stop().contains("PlantedPassword"));
}
