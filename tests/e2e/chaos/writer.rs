//! Somebody who uses the cluster all the while, and remembers what it acknowledged.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::Ran;
use crate::site::Site;

pub struct Writer {
    client: Client,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<BTreeSet<u64>>>,
}

/// A host's psql, run on this machine: it goes on while the host is off.
#[derive(Clone)]
struct Client {
    root: PathBuf,
    hosts: String,
    password: String,
    port: u64,
}

impl Client {
    fn sql(&self, sql: &str) -> Ran {
        let place = format!("host={} port={} user=xnat dbname=xnat connect_timeout=2", self.hosts, self.port);
        let psql = Command::new("timeout")
            .args(["10", "chroot"])
            .arg(&self.root)
            .args(["psql", "-XAtq", &place, "-c", sql])
            .env("PGPASSWORD", &self.password)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output();
        Ran::of(psql.expect("chroot runs"))
    }
}

impl Writer {
    /// Some rows are acknowledged before this returns.
    pub fn start(site: &Site) -> Self {
        let addresses: Vec<String> = site.hosts("haproxy").iter().map(|host| site.address(host)).collect();
        let client = Client {
            root: site.lab.directory().join("hosts/db1/root"),
            hosts: addresses.join(","),
            password: site.application_password(),
            port: site.number("/inventory/haproxy/primary_port"),
        };
        client.sql("CREATE TABLE IF NOT EXISTS kept (n bigint PRIMARY KEY)").expect(0);
        let first = client.sql("SELECT coalesce(max(n), 0) + 1 FROM kept").expect(0).stdout;
        let mut next: u64 = first.trim().parse().expect("a number");
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, writes) = (Arc::clone(&stop), client.clone());
        let mut kept = BTreeSet::new();
        for _ in 0..3 {
            writes.sql(&format!("INSERT INTO kept VALUES ({next})")).expect(0);
            kept.insert(next);
            next += 1;
        }
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // what is not acknowledged may be there or not, so its number is not used again
                if writes.sql(&format!("INSERT INTO kept VALUES ({next})")).status == 0 {
                    kept.insert(next);
                }
                next += 1;
                // two rows a second are a load that leaves this machine's processors to the test
                std::thread::sleep(Duration::from_millis(500));
            }
            kept
        });
        Self { client, stop, thread: Some(thread) }
    }

    /// Stop, and look for every row that was acknowledged.
    pub fn all_rows_are_there(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let kept = self.thread.take().expect("it is stopped once").join().expect("the writer ended well");
        let begun = Instant::now();
        let mut read = self.client.sql("SELECT n FROM kept");
        while read.status != 0 && begun.elapsed() < Duration::from_secs(30) {
            read = self.client.sql("SELECT n FROM kept");
        }
        let found: BTreeSet<u64> = read.expect(0).stdout.lines().map(|line| line.parse().expect("a number")).collect();
        let lost: Vec<&u64> = kept.difference(&found).collect();
        assert!(lost.is_empty(), "acknowledged rows are lost: {lost:?}");
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
