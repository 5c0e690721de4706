//! The SSH client against a real protocol on loopback: russh's own server, running commands with the real `sh`.

mod login;
mod scripts;
mod server;
mod sudo;
mod trust;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use miette::Diagnostic as _;
use russh::keys::PrivateKey;
use tempfile::TempDir;
use xnat_provision::inventory::model::{Escalate, Host, Ssh};
use xnat_provision::secret::Secret;
use xnat_provision::transport::TransportError;
use xnat_provision::transport::ssh::{Environment, NewHostKeys, Nobody, Options, Prompt, SshConnection, SshConnector};

use server::{Server, Setup};

/// A home directory, a key in it, and an inventory's host.
struct Bench {
    home: TempDir,
    key: PrivateKey,
    host_key: PrivateKey,
    _filters: insta::internals::SettingsBindDropGuard,
}

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(home.path().join(".ssh")).expect("created");
        let bench = Self { home, key: server::new_key(), host_key: server::new_key(), _filters: filters() };
        bench.write_key("key", &bench.key);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(".ssh").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    fn write_key(&self, name: &str, key: &PrivateKey) {
        self.write(name, &key.to_openssh(Default::default()).expect("a key"));
    }

    /// A server that takes our key.
    fn setup(&self) -> Setup {
        Setup {
            host_keys: vec![self.host_key.clone()],
            authorized: vec![self.key.public_key().clone()],
            ..Setup::default()
        }
    }

    /// A host at that port, its key pinned, our key named.
    fn host(&self, port: u16) -> Host {
        let mut host = self.stranger(port);
        host.ssh.fingerprints = vec![fingerprint(&self.host_key)];
        host
    }

    /// The same, with nothing known of its key.
    fn stranger(&self, port: u16) -> Host {
        let ssh = Ssh {
            host: "127.0.0.1".into(),
            port: Some(port),
            user: Some("root".into()),
            identity: vec![self.path("key")],
            jump: Vec::new(),
            escalate: Escalate::None,
            fingerprints: Vec::new(),
            known_hosts: None,
            connect_timeout: Duration::from_secs(10),
        };
        let (components, own_roles, tags) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        Host { name: "db1".into(), address: "10.0.0.1".into(), components, own_roles, ssh, tags, leaving: false }
    }

    fn options(&self) -> Options {
        let environment = Environment {
            home: Some(self.home.path().to_owned()),
            user: "tester".into(),
            agent: None,
            global_known_hosts: self.path("global_known_hosts"),
        };
        Options { environment, new_host_keys: NewHostKeys::Refuse, prompt: Arc::new(Nobody), become_password: None }
    }

    fn connector(&self) -> SshConnector {
        SshConnector::new(self.options())
    }

    async fn connect(&self, host: &Host) -> Result<SshConnection, TransportError> {
        self.connector().connect(host).await
    }
}

fn fingerprint(key: &PrivateKey) -> String {
    key.fingerprint(russh::keys::HashAlg::Sha256).to_string()
}

/// Answers every question the same way, and remembers them.
struct Canned {
    answer: &'static str,
    asked: Mutex<Vec<String>>,
}

impl Canned {
    fn new(answer: &'static str) -> Arc<Self> {
        Arc::new(Self { answer, asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("asked").clone()
    }
}

impl Prompt for Canned {
    fn ask(&self, question: &str) -> Option<Secret> {
        self.asked.lock().expect("asked").push(question.to_owned());
        Some(Secret::new(self.answer))
    }
}

/// Message, causes and help as a person reads them.
fn shown(error: &TransportError, home: &Path) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!("\n  because {error}"));
        cause = error.source();
    }
    text.push_str(&format!("\n  [{}] {}", error.code().expect("a code"), error.help().expect("help")));
    text.replace(&home.display().to_string(), "HOME")
}

/// Snapshots without what differs between runs.
fn filters() -> insta::internals::SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("SHA256:[A-Za-z0-9+/]+", "SHA256:…");
    settings.add_filter(r"127\.0\.0\.1", "ADDRESS");
    settings.add_filter(r"\b[0-9]{4,5}\b", "PORT");
    settings.bind_to_scope()
}
