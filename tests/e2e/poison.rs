//! Looks for secrets where they must not be. The hosts' processes are visible from here, so one sampler sees them all.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::site::Site;

/// What processes were seen with.
#[derive(Default)]
pub struct Seen {
    pub command_lines: BTreeSet<String>,
    pub environments: BTreeSet<String>,
}

/// Reads every process' command line and environment over and over until stopped.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Sampler {
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::Relaxed) {
                look(&mut seen);
                // a rate, not a wait: often enough for a short-lived psql, seldom enough to leave the processors alone
                std::thread::sleep(Duration::from_millis(20));
            }
            seen
        });
        Self { stop, thread }
    }

    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the sampler does not panic")
    }
}

impl Seen {
    pub fn places(&self) -> Vec<(String, String)> {
        let joined = |texts: &BTreeSet<String>| texts.iter().cloned().collect::<Vec<_>>().join("\n");
        vec![
            ("a command line".to_owned(), joined(&self.command_lines)),
            ("an environment".to_owned(), joined(&self.environments)),
        ]
    }
}

fn look(seen: &mut Seen) {
    let processes = std::fs::read_dir("/proc").expect("Linux has it").flatten();
    let numbers = processes.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()));
    for process in numbers.map(|entry| entry.path()) {
        // a process may be gone by now
        let read = |name: &str| std::fs::read(process.join(name)).ok();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace('\0', " ");
        seen.command_lines.extend(read("cmdline").map(text));
        seen.environments.extend(read("environ").map(text));
    }
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

/// Every secret of a site, with a name to tell it by.
pub struct Poison {
    values: Vec<(String, String)>,
}

impl Poison {
    /// The passwords the site has chosen and every line of every private key in its vault.
    pub fn of(site: &Site) -> Self {
        let copy = site.file("vault-as-text");
        let editor = format!("sh -c 'cp \"$1\" {}' sh", copy.display());
        let edited = site.run_with(("EDITOR", &editor), &["vault", "edit"]).expect(0);
        assert_eq!(edited.stdout, "nothing was changed\n");
        let text = std::fs::read_to_string(&copy).expect("the editor copied it");
        std::fs::remove_file(&copy).expect("removed");
        let mut values: Vec<(String, String)> =
            site.poisons().into_iter().map(|(name, value)| (format!("the password {name}"), value)).collect();
        assert!(values.iter().all(|(_, value)| text.contains(value)), "the vault has the passwords");
        let keys = text.split("-----BEGIN PRIVATE KEY-----").skip(1).enumerate();
        for (number, rest) in keys {
            let body = rest.split("-----END PRIVATE KEY-----").next().unwrap_or_default();
            let lines = body.lines().map(str::trim).filter(|line| line.len() >= 40);
            // The first line begins as that of every such key does.
            values.extend(lines.map(|line| (format!("private key {number}"), line[line.len() - 36..].to_owned())));
        }
        assert!(values.len() > 20, "the vault has private keys");
        Self { values }
    }

    /// The secrets that are in these texts, as they are or in base64, and where.
    pub fn found(&self, places: &[(String, String)]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (place, text) in places {
            assert!(!text.is_empty(), "{place} was looked at and is empty");
            for (name, value) in &self.values {
                if forms(value).iter().any(|form| text.contains(form)) {
                    found.insert(format!("{name} is in {place}"));
                }
            }
        }
        found
    }

    /// The files of a host that hold a secret, wherever they are, and whether its journal shows one.
    pub fn files(&self, site: &Site, host: &str) -> BTreeSet<String> {
        let patterns: Vec<String> = self.values.iter().flat_map(|(_, value)| forms(value)).collect();
        let script = format!(
            "set -eu; umask 077; list=$(mktemp -p /run); cat >\"$list\" <<'END'\n{}\nEND\n\
             # What it finds nothing in is no failure.\n\
             grep -rlFs -f \"$list\" --devices=skip /etc /home /opt /root /srv /tmp /usr/local /var || true\n\
             grep -rlFs -f \"$list\" --devices=skip --exclude=\"${{list##*/}}\" /run || true\n\
             journalctl --no-pager -q | grep -qF -f \"$list\" && echo the journal || true\n\
             rm \"$list\"",
            patterns.join("\n")
        );
        site.lab.ssh(host, &script).expect(0).stdout.lines().map(str::to_owned).collect()
    }
}

/// As it is, and in base64 wherever it falls into the groups of three bytes.
fn forms(value: &str) -> Vec<String> {
    let aligned = |before: usize| {
        let encoded = STANDARD.encode(format!("{}{value}", "\0".repeat(before)));
        let skip = [0, 2, 3][before];
        encoded[skip..(before + value.len()) * 8 / 6].to_owned()
    };
    vec![value.to_owned(), aligned(0), aligned(1), aligned(2)]
}

/// A check that cannot fail proves nothing.
#[test]
fn a_planted_leak_is_seen() {
    let sampler = Sampler::start();
    let mut leak = std::process::Command::new("sh")
        .args(["-c", "sleep 1; : PlantedPassword"])
        .env("PLANTED", "PlantedEnvironment")
        .spawn()
        .expect("it runs");
    leak.wait().expect("it ends");
    let poison = Poison {
        values: vec![
            ("argv".to_owned(), "PlantedPassword".to_owned()),
            ("environ".to_owned(), "PlantedEnvironment".to_owned()),
            ("neither".to_owned(), "PlantedNowhere".to_owned()),
        ],
    };
    let found = poison.found(&sampler.stop().places());
    let wanted = ["argv is in a command line", "environ is in an environment"];
    assert_eq!(found, BTreeSet::from(wanted.map(str::to_owned)));
}
