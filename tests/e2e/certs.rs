//! New certificates and a new authority while a client writes, and an authority of the site's own. What services show is
//! looked at with openssl from outside, as a client would.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::Value;

use crate::harness::Ran;
use crate::site::Site;
use crate::writer::Writer;

/// Members whose authorities change are restarted in turn where a reload is not enough; nobody hands over the lead.
const PAUSE: Duration = Duration::from_secs(10);

#[test]
fn certificates_and_the_authority_are_exchanged_under_a_writer_on_debian_12() {
    let site = Site::new("certs12", (&["--hosts", "4", "--suite", "bookworm"], "admin"));
    site.run(&["apply", "--yes"]).expect(0);
    exchanged(&site);
}

#[test]
fn certificates_and_the_authority_are_exchanged_under_a_writer_on_debian_13() {
    let site = Site::new("certs13", (&["--hosts", "4", "--suite", "trixie"], "root"));
    site.run(&["apply", "--yes"]).expect(0);
    exchanged(&site);
    a_sites_own_authority(&site);
}

fn exchanged(site: &Site) {
    let before = status(site, 0);
    let writer = Writer::start(site, &site.hosts("postgres")[0]);
    leaves(site, &before);
    authority(site);
    let ledger = writer.stop();
    assert!(ledger.count() > 100, "the writer wrote {} rows", ledger.count());
    assert_eq!(ledger.lost(site), Vec::<u64>::new());
    let pause = ledger.longest_pause();
    assert!(pause < PAUSE, "nobody could write for {pause:?}");
    println!("longest pause of {} writes: {pause:?}", ledger.count());
    site.run(&["plan"]).expect(0);
}

fn leaves(site: &Site, before: &[Value]) {
    site.run(&["certs", "rotate", "--yes", "--limit", "db2"]).expect(0);
    let one = status(site, 0);
    for (old, new) in before.iter().zip(&one).filter(|(old, _)| !old["host"].is_null()) {
        assert_eq!(old["digest"] != new["digest"], old["host"] == "db2", "{old} {new}");
    }
    site.run(&["certs", "rotate", "--yes"]).expect(0);
    let all = status(site, 0);
    for (old, new) in one.iter().zip(&all).filter(|(old, _)| !old["host"].is_null()) {
        assert_ne!(old["digest"], new["digest"], "{old}");
    }
    a_service_that_shows_another_one_is_found(site);
}

/// Its file is put back behind our back, as from a backup.
fn a_service_that_shows_another_one_is_found(site: &Site) {
    site.lab
        .ssh("db2", "sh -c 'cd /etc/etcd/tls && cp -p server.pem kept.pem && cp -p server-key.pem kept-key.pem'")
        .expect(0);
    site.run(&["certs", "rotate", "--yes", "--limit", "db2"]).expect(0);
    site.lab
        .ssh("db2", "sh -c 'cd /etc/etcd/tls && mv kept.pem server.pem && mv kept-key.pem server-key.pem'")
        .expect(0);
    let rows = status(site, 4);
    let other: Vec<String> = rows
        .iter()
        .filter(|row| row["served"] == "other")
        .map(|row| format!("{} {}", row["host"], row["purpose"]))
        .collect();
    assert_eq!(other, ["\"db2\" \"etcd\""]);
    site.run(&["apply", "--yes"]).expect(0);
    status(site, 0);
}

fn authority(site: &Site) {
    let former = Former::of(site);
    let before = handed_out(site);
    former.is_let_in(site, true);
    // Nothing has begun.
    site.run(&["certs", "rotate", "--ca", "--finish", "--yes"]).expect(2);
    cut_in_the_first_step(site);
    let told = site.run(&["certs", "rotate", "--ca", "--yes"]).expect(0).stderr;
    assert!(told.contains("certs rotate --ca --finish"), "it says what is left to do:\n{told}");
    let both = handed_out(site);
    assert!(both.matches("BEGIN CERTIFICATE").count() == 2 && both.contains(before.trim()), "{both}");
    every_service(site, |service| {
        assert!(
            !service.is_believed_with(site, &before),
            "{service:?} still shows a certificate of the former authority"
        );
        assert!(service.is_believed_with(site, &both), "{service:?} is believed by clients with the new file");
    });
    former.is_let_in(site, true);
    // A plain apply in between does no harm.
    site.run(&["apply", "--yes"]).expect(0);
    site.run(&["certs", "rotate", "--ca", "--finish", "--yes"]).expect(0);
    let after = handed_out(site);
    assert!(after.matches("BEGIN CERTIFICATE").count() == 1 && !after.contains(before.trim()), "{after}");
    status(site, 0);
    former.is_let_in(site, false);
}

fn handed_out(site: &Site) -> String {
    std::fs::read_to_string(site.file("inventory.ca.pem")).expect("apply hands it out")
}

/// SIGKILL once the vault holds the first step and a host was told of it.
fn cut_in_the_first_step(site: &Site) {
    let mut run = site.spawn(&["--json", "certs", "rotate", "--ca", "--yes"]);
    let events = BufReader::new(run.stdout.take().expect("it is piped")).lines();
    let cut = events.map_while(Result::ok).any(|line| line.contains("\"change_applied\""));
    run.kill().expect("it runs");
    run.wait().expect("it was started here");
    assert!(cut, "a host was told of the new authority");
    let planned = site.run(&["plan"]);
    assert!(planned.stderr.contains("a change of the authority is under way"), "{}", planned.stderr);
}

/// A certificate of the authority that is on its way out, as somebody may have kept it.
struct Former([String; 2]);

impl Former {
    fn of(site: &Site) -> Self {
        let take = |name: &str| {
            let path = site.file(&format!("former-{name}"));
            let text = site.lab.ssh(&site.hosts("etcd")[0], &format!("cat /etc/etcd/tls/{name}")).expect(0).stdout;
            std::fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        Self([take("server.pem"), take("server-key.pem")])
    }

    /// By etcd and by Patroni. (Between members etcd looks at addresses too.)
    fn is_let_in(&self, site: &Site, expected: bool) {
        let [certificate, key] = &self.0;
        for host in site.hosts("etcd") {
            let address = site.address(&host);
            for place in ["2379/version", "8008/patroni"] {
                let url = format!("https://{address}:{place}");
                let asked = run("curl", &["-sk", "--max-time", "5", "--cert", certificate, "--key", key, &url]);
                assert_eq!(asked.status == 0, expected, "{url}: {} {}", asked.stdout, asked.stderr);
            }
        }
    }
}

/// An authority of the site's own, below its root: another change of the authority.
fn a_sites_own_authority(site: &Site) {
    let (former, root) = (handed_out(site), own_authority(site));
    site.append("[tls]\nca_certificate = \"own-ca.pem\"\nca_key = \"own-ca-key.pem\"");
    let refused = site.run(&["plan"]).expect(2);
    assert!(refused.stderr.contains("certs rotate --ca"), "{}", refused.stderr);
    site.run(&["certs", "rotate", "--ca", "--yes"]).expect(0);
    site.run(&["certs", "rotate", "--ca", "--finish", "--yes"]).expect(0);
    every_service(site, |service| {
        assert!(service.is_believed_with(site, &root), "{service:?} shows the way up to the root");
        assert!(!service.is_believed_with(site, &former), "{service:?} is not of the former authority");
    });
    status(site, 0);
    site.run(&["plan"]).expect(0);
}

/// Writes the chain and its key; gives the root.
fn own_authority(site: &Site) -> String {
    let params = |subject: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.use_authority_key_identifier_extension = true;
        params
    };
    let (root_key, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let root = params("Example Root").self_signed(&root_key).expect("signed").pem();
    let issuer = Issuer::from_ca_cert_pem(&root, root_key).expect("an authority");
    let own = params("Example Databases").signed_by(&key, &issuer).expect("signed").pem();
    std::fs::write(site.file("own-ca.pem"), format!("{own}{root}")).expect("written");
    let path = site.file("own-ca-key.pem");
    std::fs::write(&path, key.serialize_pem()).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
    root
}

/// Something that shows a certificate.
#[derive(Debug)]
struct Service {
    address: String,
    port: u16,
}

fn every_service(site: &Site, look: impl Fn(Service)) {
    for (component, ports) in [("etcd", &[2379, 2380][..]), ("postgres", &[8008, 5432]), ("haproxy", &[7000])] {
        for host in site.hosts(component) {
            ports.iter().for_each(|port| look(Service { address: site.address(&host), port: *port }));
        }
    }
}

impl Service {
    /// As a client that has this file of authorities and nothing else.
    fn is_believed_with(&self, site: &Site, authorities: &str) -> bool {
        let file = site.file("believed.pem");
        std::fs::write(&file, authorities).expect("written");
        let (file, place) = (file.display().to_string(), format!("{}:{}", self.address, self.port));
        let mut words = vec!["s_client", "-connect", &place, "-CAfile", &file, "-no-CApath", "-no-CAstore"];
        words.extend(["-verify_return_error", "-verify_ip", &self.address]);
        if self.port == 5432 {
            words.extend(["-starttls", "postgres"]);
        }
        let shown = run("openssl", &words);
        assert!(shown.stdout.contains("CONNECTED"), "{self:?}: {} {}", shown.stdout, shown.stderr);
        shown.stdout.contains("Verify return code: 0 (ok)")
    }
}

fn run(program: &str, words: &[&str]) -> Ran {
    Ran::of(Command::new(program).args(words).stdin(Stdio::null()).output().expect("it is installed"))
}

/// What `certs status` says of every certificate.
fn status(site: &Site, exit: i32) -> Vec<Value> {
    let shown = site.run(&["--json", "certs", "status"]).expect(exit);
    let rows: Vec<Value> = serde_json::from_str(&shown.stdout).expect("it prints JSON");
    let wrong = rows.iter().filter(|row| !row["host"].is_null() && row["served"] != "same").count();
    assert_eq!(wrong > 0, exit != 0, "{}", shown.stdout);
    rows
}
