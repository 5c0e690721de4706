//! What is on the wire: nobody without a certificate, nothing in the clear, and a failover over TLS. curl and openssl are
//! run from this machine, as a stranger in the hosts' network would.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::Ran;
use crate::site::Site;

#[test]
fn nothing_is_in_the_clear_on_debian_12() {
    verified("tls12", "bookworm");
}

#[test]
fn nothing_is_in_the_clear_on_debian_13() {
    verified("tls13", "trixie");
}

fn verified(test: &str, suite: &str) {
    let site = Site::new(test, (&["--hosts", "4", "--suite", suite], "admin"));
    site.run(&["apply", "--yes"]).expect(0);
    let wire = Wire::of(&site);
    wire.etcd_wants_a_certificate();
    wire.patroni_tells_everybody_and_obeys_few();
    wire.the_statistics_page_is_encrypted();
    wire.clients_verify_and_are_verified();
    wire.replication_is_encrypted();
    wire.patronictl_is_obeyed();
    wire.the_leader_goes_on_without_etcd();
    wire.a_failover_works();
    wire.replication_is_encrypted();
    another_authority_is_refused(&site);
    one_ssh_session_at_a_time_is_enough(&site);
}

struct Wire<'a> {
    site: &'a Site,
    members: Vec<String>,
    /// The file that clients are given.
    authorities: String,
    /// A member's own certificate and key, taken from it, to see that the refusals are for want of one.
    pair: [String; 2],
}

fn run(program: &str, arguments: &[&str]) -> Ran {
    Ran::of(Command::new(program).args(arguments).stdin(std::process::Stdio::null()).output().expect("it is installed"))
}

impl<'a> Wire<'a> {
    fn of(site: &'a Site) -> Self {
        let take = |name: &str| {
            let path = site.file(name);
            let text = site.lab.ssh("db1", &format!("cat /etc/patroni/tls/{name}")).expect(0).stdout;
            std::fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        let members = site.hosts("postgres").iter().map(|host| site.address(host)).collect();
        let authorities = site.file("inventory.ca.pem").display().to_string();
        Self { site, members, authorities, pair: [take("patroni.pem"), take("patroni-key.pem")] }
    }

    fn curl(&self, arguments: &[&str]) -> Ran {
        let always = ["--silent", "--show-error", "--http1.1", "--max-time", "10", "--cacert", &self.authorities];
        run("curl", &[&always, arguments].concat())
    }

    fn with_certificate(&self, arguments: &[&str]) -> Ran {
        let [certificate, key] = &self.pair;
        self.curl(&[&["--cert", certificate, "--key", key], arguments].concat())
    }

    /// The status of an answer.
    fn status(&self, arguments: &[&str]) -> String {
        let answered = self.curl(&[&["--output", "/dev/null", "--write-out", "%{http_code}"], arguments].concat());
        answered.expect(0).stdout
    }

    fn etcd_wants_a_certificate(&self) {
        for member in &self.members {
            let health = format!("https://{member}:2379/health");
            let version = format!("https://{member}:2380/version");
            // With one it answers; its peers' port only to the host that the certificate is of.
            assert!(self.with_certificate(&[&health]).expect(0).stdout.contains("true"));
            for url in [&health, &version] {
                let refused = self.curl(&[url]);
                assert!(refused.status != 0 && refused.stdout.is_empty(), "{url}: {refused:?}");
                let plain = self.curl(&[&url.replace("https", "http")]);
                assert!(!plain.stdout.contains('{'), "{url} in the clear: {plain:?}");
            }
            for port in [2379, 2380] {
                let place = format!("{member}:{port}");
                let shown = run("openssl", &["s_client", "-connect", &place, "-CAfile", &self.authorities, "-ign_eof"]);
                assert!(shown.stdout.contains("Verify return code: 0 (ok)"), "{place}: {shown:?}");
                assert!(shown.stderr.contains("alert"), "{place} takes a client without a certificate: {shown:?}");
                let old = run("openssl", &["s_client", "-connect", &place, "-tls1_1"]);
                assert_ne!(old.status, 0, "{place} speaks TLS 1.1: {old:?}");
            }
        }
    }

    fn patroni_tells_everybody_and_obeys_few(&self) {
        for member in &self.members {
            let url = |path: &str| format!("https://{member}:8008/{path}");
            assert_eq!(self.status(&[&url("patroni")]), "200");
            for (method, path) in
                [("PATCH", "config"), ("POST", "failsafe"), ("POST", "switchover"), ("POST", "restart")]
            {
                let asked = self.curl(&["--request", method, "--data", "{}", &url(path)]).expect(0);
                assert_eq!(asked.stdout, "client certificate required", "{method} {path}");
            }
            // A certificate alone is not enough.
            let asked = self.with_certificate(&["--request", "PATCH", "--data", "{}", &url("config")]).expect(0);
            assert_eq!(asked.stdout, "no auth header received");
            let plain = self.curl(&[&url("patroni").replace("https", "http")]);
            assert_ne!(plain.status, 0, "in the clear: {plain:?}");
        }
    }

    fn the_statistics_page_is_encrypted(&self) {
        let place = format!("{}:{}", self.site.address("lb1"), self.site.number("/inventory/haproxy/stats_port"));
        assert_eq!(self.status(&[&format!("https://{place}/stats")]), "401", "it wants a password");
        let plain = self.curl(&[&format!("http://{place}/stats")]);
        assert!(plain.status != 0 || !plain.stdout.contains("Statistics"), "in the clear: {plain:?}");
    }

    /// The application through HAProxy, from a member, with what a client was given.
    fn psql(&self, settings: &str, place: (&str, u64)) -> Ran {
        let (host, port) = place;
        let password = self.site.application_password();
        let connection = format!("host={host} port={port} user=xnat dbname=xnat connect_timeout=5 {settings}");
        self.site.lab.ssh("db1", &format!("PGPASSWORD={password} psql -XAtqc 'SELECT 42' \"{connection}\""))
    }

    fn put(&self, path: &str, file: &Path) {
        let text = std::fs::read_to_string(file).expect("it is there");
        self.site.lab.ssh("db1", &format!("cat >{path} <<'END'\n{text}END\n")).expect(0);
    }

    fn clients_verify_and_are_verified(&self) {
        let (key, stranger) = (self.site.file("stranger.key"), self.site.file("stranger.pem"));
        let (key, file) = (key.display().to_string(), stranger.display().to_string());
        let make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
        run("openssl", &[&make, ["-keyout", &key, "-out", &file].as_slice()].concat()).expect(0);
        self.put("/tmp/ours.pem", Path::new(&self.authorities));
        self.put("/tmp/stranger.pem", &stranger);
        let balancer = self.site.address("lb1");
        for port in ["primary_port", "replica_port"] {
            let through = (balancer.as_str(), self.site.number(&format!("/inventory/haproxy/{port}")));
            let good = self.psql("sslmode=verify-full sslrootcert=/tmp/ours.pem", through).expect(0);
            assert_eq!(good.stdout, "42\n");
            let wrong = self.psql("sslmode=verify-full sslrootcert=/tmp/stranger.pem", through).expect(2);
            assert!(wrong.stderr.contains("certificate verify failed"), "{}", wrong.stderr);
            let plain = self.psql("sslmode=disable", through).expect(2);
            assert!(plain.stderr.contains("no encryption"), "{}", plain.stderr);
        }
        for member in &self.members {
            let place = (member.as_str(), self.site.number("/inventory/postgresql/port"));
            for mode in ["require", "disable"] {
                let superuser = self.psql(&format!("user=postgres dbname=postgres sslmode={mode}"), place).expect(2);
                assert!(superuser.stderr.contains("no pg_hba.conf entry"), "{}", superuser.stderr);
            }
        }
    }

    fn replication_is_encrypted(&self) {
        let sql = "SELECT usename, ssl, version >= 'TLSv1.2' FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE backend_type = 'walsender'";
        let psql = format!("cd / && runuser -u postgres -- psql -XAtqc \"{sql}\"");
        let shown = self.site.lab.ssh(&self.site.leader(), &psql).expect(0).stdout;
        assert_eq!(shown, "replicator|t|t\n".repeat(self.members.len() - 1));
    }

    /// The administrator's own tool shows a certificate, whichever member it has to ask.
    fn patronictl_is_obeyed(&self) {
        for (wanted, paused) in [("pause", true), ("resume", false)] {
            let said = self.site.lab.ssh("db2", &format!("patronictl {wanted} --wait")).expect(0);
            assert!(said.stdout.contains("Success"), "{}{}", said.stdout, said.stderr);
            let status: Value = serde_json::from_str(&self.site.run(&["status", "--json"]).stdout).expect("JSON");
            assert_eq!(status["view"]["paused"]["known"], paused, "{status:#}");
        }
    }

    /// Failsafe mode: without etcd a leader asks all other members whether it may go on, and they want its certificate.
    fn the_leader_goes_on_without_etcd(&self) {
        let leader = self.site.leader();
        let etcd = |verb: &str| {
            for host in self.site.hosts("etcd") {
                self.site.lab.ssh(&host, &format!("systemctl {verb} etcd --no-block")).expect(0);
            }
        };
        etcd("stop");
        let url = format!("https://{}:8008/patroni", self.site.address(&leader));
        let active = || {
            let answer: Value = serde_json::from_str(&self.curl(&[&url]).stdout).unwrap_or_default();
            // the older Patroni says "master"
            answer["failsafe_mode_is_active"] == true && (answer["role"] == "primary" || answer["role"] == "master")
        };
        let goes_on = (0..300).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(200));
            active()
        });
        let log = || self.site.lab.ssh(&leader, "journalctl -u patroni -n 30 --no-pager").stdout;
        assert!(goes_on, "the leader does not go on: {}", log());
        let port = self.site.number("/inventory/haproxy/primary_port");
        self.site.psql(port, "create table without_etcd (v int)").expect(0);
        let status = self.site.run(&["status"]).expect(4).stdout;
        assert!(status.contains(&format!("{leader} takes writes in failsafe mode")), "{status}");
        etcd("start");
        assert_eq!(self.site.leader(), leader, "nobody took over");
    }

    /// The leader's power fails: another one leads, and the old one finds its way back.
    fn a_failover_works(&self) {
        let old = self.site.leader();
        self.site.lab.command(&["fault", &old, "kill"]).expect(0);
        let look = || self.site.run(&["status", "--json"]).stdout;
        let led = |status: String| {
            let status: Value = serde_json::from_str(&status).expect("status --json prints JSON");
            let members = status["view"]["members"].as_array().expect("members").clone();
            members.iter().any(|member| member["listed"]["role"] == "leader" && member["host"] != old.as_str())
        };
        assert!((0..200).any(|_| led(look())), "nobody took over: {}", look());
        self.site.lab.command(&["fault", &old, "start"]).expect(0);
        assert_ne!(self.site.leader(), old);
    }
}

/// Reading everything takes more than one script at a time, where the host allows it.
fn one_ssh_session_at_a_time_is_enough(site: &Site) {
    let limit = "echo 'MaxSessions 1' >/etc/ssh/sshd_config.d/one.conf && systemctl reload ssh";
    site.lab.ssh("db1", limit).expect(0);
    site.run(&["plan"]).expect(0);
    // what was talked to on the hosts has ended with the connection
    let gone = || site.lab.ssh("db1", "pgrep -x perl").status == 1;
    assert!((0..100).any(|_| gone()), "the relay to PostgreSQL's socket still runs");
}

/// With the right passwords and another authority, the members would be cut off from each other.
fn another_authority_is_refused(site: &Site) {
    let good = std::fs::read(site.secrets()).expect("it is there");
    site.run_with(("EDITOR", r"sed -i '/^\[pki/,$d'"), &["vault", "edit"]).expect(0);
    let refused = site.run(&["apply", "--yes"]).expect(1);
    assert!(refused.stderr.contains("an authority that is not in"), "{}", refused.stderr);
    std::fs::write(site.secrets(), good).expect("written");
    site.run(&["plan"]).expect(0);
}
