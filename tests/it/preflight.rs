//! Every check of the catalogue is provoked once, by spoiling a cluster that is as good as they come.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use xnat_provision::engine::shell::facts::{Scrutiny, script};
use xnat_provision::facts::preflight::{self, Severity, catalogue};
use xnat_provision::facts::{self, Examination, Facts, Fsync, Listener, PackageFacts, PathFacts, Reach, UnitFacts};
use xnat_provision::inventory::{Inventory, PackageSource, Scalar, Synchronous};
use xnat_provision::names::HostName;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn recorded(name: &str) -> Facts {
    let path = root().join(format!("tests/fixtures/facts/{name}.txt"));
    facts::parse(&fs::read_to_string(path).expect(name)).expect(name)
}

fn inventory(name: &str) -> Inventory {
    Inventory::load(&root().join(name), None).expect(name).inventory
}

/// A cluster, and what is known of its hosts.
struct Site {
    inventory: Inventory,
    facts: BTreeMap<HostName, Facts>,
}

impl Site {
    /// Three database hosts and one with HAProxy, real machines on which nothing is amiss.
    fn good() -> Self {
        let inventory = inventory("inventory/minimal.toml");
        let mut facts = BTreeMap::new();
        for host in &inventory.hosts {
            let mut own = recorded("trixie-examined");
            own.addresses.push(host.address.clone());
            own.machine_id = format!("{:0>32}", host.name.as_str());
            own.asked = Some(own.epoch);
            let seen = own.examination.as_mut().expect("it was examined");
            seen.container = None;
            seen.watchdog = true;
            seen.units.insert("chrony.service".into(), UnitFacts { load: "loaded".into(), active: "active".into() });
            for (path, value) in [("/proc/sys/vm/swappiness", "10"), ("/proc/sys/net/ipv4/tcp_keepalive_time", "600")] {
                seen.settings.insert(path.into(), vec![value.into()]);
            }
            seen.candidates.insert("haproxy".into(), "3.0.11-1".into());
            seen.reached.clear();
            facts.insert(host.name.clone(), own);
        }
        Self { inventory, facts }
    }

    fn host(&mut self, name: &str) -> &mut Facts {
        self.facts.get_mut(&HostName::from(name)).expect(name)
    }
    fn db1(&mut self) -> &mut Facts {
        self.host("db1")
    }
    /// What was seen of db1 at the closer look.
    fn seen(&mut self) -> &mut Examination {
        self.host("db1").examination.as_mut().expect("examined")
    }
    fn set(&mut self, path: &str, value: &str) {
        self.seen().settings.insert(path.into(), vec![value.into()]);
    }
    fn unit(&mut self, name: &str, load: &str, active: &str) {
        self.seen().units.insert(name.into(), UnitFacts { load: load.into(), active: active.into() });
    }
    fn parameter(&mut self, name: &str, value: &str) {
        self.inventory.postgresql.parameters.insert(name.into(), Scalar::Text(value.into()));
    }
    fn odd_package(&mut self, status: &str, name: &str) {
        let package = PackageFacts { status: status.into(), name: name.into(), version: "1".into() };
        self.seen().odd_packages.push(package);
    }
    fn listens(&mut self, port: u16, process: &str, directory: &str) {
        let (process, directory) = (Some(process.to_owned()), Some(directory.to_owned()));
        self.db1().listening.push(Listener { address: "0.0.0.0".into(), port, process, directory });
    }

    fn found(&self) -> Vec<(String, &'static str, Severity)> {
        let all = preflight::check_all(&self.inventory, &self.facts);
        all.into_iter().map(|one| (one.host.to_string(), one.check.name(), one.severity)).collect()
    }
}

type Spoil = fn(&mut Site);

/// Which check finds what, and how bad it is.
#[rustfmt::skip]
const SPOILT: &[(&str, Severity, Spoil)] = &[
    ("not_root", Severity::Refuse, |s| s.db1().uid = 1000),
    ("unsupported_system", Severity::Refuse, |s| s.db1().release = "11".into()),
    ("untested_system", Severity::Warn, |s| (s.db1().os, s.db1().release) = ("ubuntu".into(), "24.04".into())),
    ("unsupported_architecture", Severity::Refuse, |s| s.db1().arch = "riscv64".into()),
    ("no_systemd", Severity::Refuse, |s| s.db1().systemd = None),
    ("no_apt", Severity::Refuse, |s| s.db1().package_manager = None),
    ("packages_interrupted", Severity::Warn, |s| s.db1().packages_interrupted = true),
    ("half_installed", Severity::Warn, |s| s.odd_package("iU", "libfoo")),
    ("held_package", Severity::Refuse, |s| s.odd_package("hn", "patroni")),
    ("held_package", Severity::Advise, |s| s.odd_package("hi", "etcd-server")),
    ("package_missing", Severity::Refuse, |s| { s.seen().candidates.remove("patroni"); }),
    ("no_package_lists", Severity::Advise, |s| s.seen().package_lists = false),
    ("known_bad_pair", Severity::Warn, |s| { s.seen().candidates.insert("etcd-server".into(), "3.5.28-1".into()); }),
    ("mixed_versions", Severity::Warn, |s| { s.seen().installed.insert("etcd-server".into(), "3.4.23-4".into()); }),
    ("no_such_postgresql", Severity::Refuse, |s| s.inventory.postgresql.version = Some(16)),
    ("no_quorum", Severity::Refuse, |s| {
        s.inventory.patroni.synchronous = Synchronous::Quorum;
        for facts in s.facts.values_mut() { (facts.release, facts.codename) = ("12".into(), "bookworm".into()); }
    }),
    ("little_memory", Severity::Refuse, |s| s.db1().memory_kib = 300 << 10),
    ("little_memory", Severity::Warn, |s| s.db1().memory_kib = 800 << 10),
    ("little_space", Severity::Refuse, |s| { s.db1().free_kib.insert("/var".into(), 1024); }),
    ("few_inodes", Severity::Refuse, |s| s.seen().disks.get_mut("/var").expect("it").inodes_free = Some(12)),
    ("read_only", Severity::Refuse, |s| s.seen().disks.get_mut("/var").expect("it").options = vec!["ro".into()]),
    ("noexec", Severity::Refuse, |s| s.seen().disks.get_mut("/var").expect("it").options = vec!["rw".into(), "noexec".into()]),
    ("noexec", Severity::Warn, |s| s.seen().disks.get_mut("/tmp").expect("it").options = vec!["noexec".into()]),
    ("odd_file_system", Severity::Warn, |s| s.seen().disks.get_mut("/var/lib/postgresql").expect("it").kind = "nfs4".into()),
    ("slow_disk", Severity::Warn, |s| s.seen().fsync = Some(Fsync { count: 200, median: 4_000, p99: 38_250 })),
    ("clock", Severity::Refuse, |s| for facts in s.facts.values_mut() { facts.epoch += 7200.0 }),
    ("clock", Severity::Warn, |s| for facts in s.facts.values_mut() { facts.epoch -= 20.0 }),
    ("clocks_apart", Severity::Warn, |s| s.db1().epoch += 4.5),
    ("no_time_sync", Severity::Warn, |s| s.unit("chrony.service", "loaded", "inactive")),
    ("same_machine", Severity::Refuse, |s| s.db1().machine_id = format!("{:0>32}", "db2")),
    ("mixed_postgresql", Severity::Refuse, |s| (s.host("db3").release, s.host("db3").codename) = ("12".into(), "bookworm".into())),
    ("mixed_architecture", Severity::Refuse, |s| s.host("db3").arch = "arm64".into()),
    ("mixed_collation", Severity::Refuse, |s| {
        s.inventory.database.locale = "de_DE.UTF-8".into();
        s.host("db3").examination.as_mut().expect("it").installed.insert("libc6".into(), "2.36-9+deb12u10".into());
    }),
    ("unknown_locale", Severity::Refuse, |s| {
        s.inventory.database.locale = "xx_XX.UTF-8".into();
        s.seen().locale = Some(false);
    }),
    ("foreign_address", Severity::Warn, |s| s.db1().addresses = vec!["192.0.2.1".into()]),
    ("own_name", Severity::Advise, |s| { let own = s.db1().hostname.clone(); s.seen().resolved.insert(own, Vec::new()); }),
    ("no_localhost", Severity::Refuse, |s| { s.seen().resolved.insert("localhost".into(), Vec::new()); }),
    ("unresolved_address", Severity::Refuse, |s| named(s, &[])),
    ("unresolved_address", Severity::Refuse, |s| named(s, &["127.0.1.1"])),
    ("resolved_differently", Severity::Warn, |s| {
        named(s, &["10.0.0.12"]);
        s.host("db3").examination.as_mut().expect("it").resolved.insert("db2.example".into(), vec!["10.0.0.99".into()]);
    }),
    ("mirror_unresolved", Severity::Warn, |s| { s.seen().resolved.insert("deb.debian.org".into(), Vec::new()); }),
    ("blocked_port", Severity::Refuse, |s| { s.seen().reached.insert("10.0.0.12:2380".into(), Reach::Silent); }),
    ("blocked_port", Severity::Refuse, |s| { s.seen().reached.insert("10.0.0.12:8008".into(), Reach::Forbidden); }),
    ("no_route", Severity::Refuse, |s| { s.seen().reached.insert("10.0.0.12:2380".into(), Reach::NoRoute); }),
    ("no_route", Severity::Refuse, |s| { s.seen().reached.insert("10.0.0.12:2380".into(), Reach::Failed("Network is down".into())); }),
    ("path_mtu", Severity::Warn, |s| s.seen().paths = vec![PathFacts { address: "10.0.0.12".into(), bytes: 9000, arrived: false }]),
    ("port_taken", Severity::Refuse, |s| s.listens(8008, "nginx", "/")),
    ("ephemeral_ports", Severity::Warn, |s| s.set("/proc/sys/net/ipv4/ip_local_port_range", "1024\t65535")),
    ("foreign_postgresql", Severity::Refuse, |s| s.listens(5432, "postgres", "/var/lib/postgresql/17/main")),
    ("other_database", Severity::Warn, |s| { s.db1().postgres_data.insert("/var/lib/postgresql/13/old".into(), "13".into()); }),
    ("unmanaged_data", Severity::Refuse, |s| { s.db1().postgres_data.insert("/var/lib/postgresql/17/xnat".into(), "17".into()); }),
    ("other_version", Severity::Refuse, |s| {
        s.db1().patroni.insert("/etc/patroni/xnat/20-member.yml".into(), "xnat".into());
        s.listens(5432, "postgres", "/var/lib/postgresql/15/xnat");
    }),
    ("renamed", Severity::Refuse, |s| { s.db1().patroni.insert("/etc/patroni/xnat/20-member.yml".into(), "old".into()); }),
    ("foreign_patroni", Severity::Refuse, |s| { s.db1().patroni.insert("/etc/patroni/config.yml".into(), "billing".into()); }),
    ("foreign_patroni", Severity::Refuse, |s| {
        s.db1().patroni.insert("/etc/patroni/config.yml".into(), "xnat".into());
        s.db1().patroni_namespace.insert("/etc/patroni/config.yml".into(), "/db/".into());
    }),
    ("foreign_patroni", Severity::Refuse, |s| s.seen().instances.push("patroni@main.service".into())),
    ("foreign_etcd", Severity::Refuse, |s| { s.db1().etcd_data.push("/var/lib/etcd/default".into()); s.listens(2379, "etcd", "/"); }),
    ("other_etcd", Severity::Warn, |s| s.db1().etcd_data.push("/var/lib/etcd/default".into())),
    ("failed_units", Severity::Warn, |s| s.seen().failed_units.push("mnt-images.mount".into())),
    ("masked_unit", Severity::Refuse, |s| s.unit("etcd.service", "masked", "inactive")),
    ("needrestart", Severity::Warn, |s| s.seen().needrestart = true),
    ("automatic_reboot", Severity::Warn, |s| s.seen().automatic_reboot = true),
    ("reboot_required", Severity::Advise, |s| s.seen().reboot_required = true),
    ("swappiness", Severity::Advise, |s| s.set("/proc/sys/vm/swappiness", "60")),
    ("overcommit", Severity::Warn, |s| s.set("/proc/sys/vm/overcommit_memory", "1")),
    ("thp", Severity::Advise, |s| s.set("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never")),
    ("huge_pages", Severity::Refuse, |s| s.parameter("huge_pages", "on")),
    ("huge_pages", Severity::Advise, |s| s.parameter("shared_buffers", "8GB")),
    ("shared_buffers", Severity::Refuse, |s| s.parameter("shared_buffers", "23GB")),
    ("shared_buffers", Severity::Warn, |s| s.parameter("shared_buffers", "16GB")),
    ("keepalive", Severity::Advise, |s| s.set("/proc/sys/net/ipv4/tcp_keepalive_time", "7200")),
    ("open_files", Severity::Warn, |s| s.seen().open_files = Some(1024)),
    ("no_watchdog", Severity::Advise, |s| s.seen().watchdog = false),
    ("selinux", Severity::Warn, |s| s.set("/sys/fs/selinux/enforce", "1")),
    ("apparmor", Severity::Warn, |s| s.set("/sys/kernel/security/apparmor/profiles", "/usr/sbin/haproxy (enforce)")),
    ("firewall", Severity::Advise, |s| s.seen().filters.push("inet filter: type filter hook input priority filter; policy drop;".into())),
    ("firewall", Severity::Advise, |s| s.set("/etc/ufw/ufw.conf", "ENABLED=yes")),
    ("firewall", Severity::Warn, |s| { s.inventory.firewall.enabled = true; s.set("/etc/ufw/ufw.conf", "ENABLED=yes"); }),
    ("ssh_forwarding", Severity::Refuse, |s| { s.seen().sshd.insert("allowtcpforwarding".into(), "no".into()); }),
    ("ssh_sessions", Severity::Warn, |s| { s.seen().sshd.insert("maxsessions".into(), "1".into()); }),
    ("sudo_records", Severity::Warn, |s| s.seen().sudo_log.push("Defaults log_input".into())),
    ("clocksource", Severity::Advise, |s| s.set("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet")),
    ("entropy", Severity::Warn, |s| s.set("/proc/sys/kernel/random/entropy_avail", "20")),
];

/// db2's address is a name, which db1 resolves so; the others know it.
fn named(site: &mut Site, addresses: &[&str]) {
    site.inventory.hosts[1].address = "db2.example".into();
    for facts in site.facts.values_mut() {
        facts.examination.as_mut().expect("it").resolved.insert("db2.example".into(), vec!["10.0.0.12".into()]);
    }
    site.seen().resolved.insert("db2.example".into(), addresses.iter().map(|one| (*one).to_owned()).collect());
}

#[test]
fn nothing_is_found_where_all_is_good() {
    assert_eq!(Site::good().found(), []);
}

#[test]
fn each_check_finds_what_it_is_for() {
    for (id, severity, spoil) in SPOILT {
        let mut site = Site::good();
        spoil(&mut site);
        let found = site.found();
        assert!(found.iter().any(|(_, name, how)| name == id && how == severity), "{id} as {severity:?}: {found:?}");
    }
}

#[test]
fn there_are_enough_checks_and_each_is_provoked_as_badly_as_it_can_be() {
    assert!(catalogue::ALL.len() >= 35);
    let provoked: BTreeSet<&str> = SPOILT.iter().map(|(id, ..)| *id).collect();
    let listed: BTreeSet<&str> = catalogue::ALL.iter().map(|check| check.name()).collect();
    assert_eq!(listed.len(), catalogue::ALL.len(), "an id is there twice");
    assert_eq!(provoked, listed);
    for check in catalogue::ALL {
        let worst = SPOILT.iter().filter(|(id, ..)| *id == check.name()).map(|(_, severity, _)| *severity).min();
        assert_eq!(worst, Some(check.severity), "{}", check.id);
    }
}

#[test]
fn every_finding_says_what_to_do() {
    for (id, _, spoil) in SPOILT {
        let mut site = Site::good();
        spoil(&mut site);
        for finding in preflight::check_all(&site.inventory, &site.facts) {
            assert!(finding.help.len() > 10 && finding.message.len() > 10, "{id}: {finding:?}");
            assert!(!finding.message.ends_with('.'), "{id}: {finding:?}");
        }
    }
}

#[test]
fn a_member_that_runs_is_not_cut_off_from_its_repair() {
    let mut site = Site::good();
    site.db1().patroni.insert("/etc/patroni/xnat/20-member.yml".into(), "xnat".into());
    site.seen().disks.get_mut("/var").expect("it").inodes_free = Some(12);
    assert_eq!(site.found(), [("db1".to_owned(), "few_inodes", Severity::Warn)]);
}

#[test]
fn a_container_is_not_blamed_for_the_machine_below() {
    let mut site = Site::good();
    site.seen().container = Some("systemd-nspawn".into());
    site.seen().watchdog = false;
    site.seen().units.clear();
    site.set("/proc/sys/vm/swappiness", "60");
    assert_eq!(site.found(), []);
}

#[test]
fn ports_of_a_host_that_is_away_are_not_called_blocked() {
    let mut site = Site::good();
    site.seen().reached.insert("10.0.0.12:2380".into(), Reach::Silent);
    site.facts.remove(&HostName::from("db2"));
    assert_eq!(site.found(), []);
}

#[test]
fn what_a_repository_will_bring_is_not_missed() {
    let mut site = Site::good();
    site.seen().candidates.clear();
    site.inventory.packages.source = PackageSource::Repositories(Vec::new());
    assert_eq!(site.found(), []);
}

// ---- the scripts themselves --------------------------------------------------------------------------------------

fn run(script: &str) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("script");
    fs::write(&path, script).expect("written");
    let output = Command::new("sh").arg(&path).output().expect("sh");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_closer_look_is_posix_shell_and_tells_everything() {
    let inventory = inventory("tests/fixtures/inventory/good/loopback.toml");
    let output = run(&script(&inventory, &inventory.hosts[0], Scrutiny::Everything));
    let facts = facts::parse(&output).expect("facts of this machine");
    let seen = facts.examination.expect("it was examined");
    assert!(seen.number("/proc/sys/vm/swappiness").is_some(), "{seen:?}");
    assert_eq!(
        seen.disks.keys().collect::<Vec<_>>(),
        ["/", "/tmp", "/var", "/var/lib/etcd/dev", "/var/lib/postgresql"]
    );
    assert!(seen.resolved.contains_key("localhost"));
    let fsync = seen.fsync.expect("it was measured");
    assert!(fsync.count >= 20 && fsync.median <= fsync.p99, "{fsync:?}");
    let cut = &output[..output.len() - "examine=end\n".len()];
    assert!(facts::parse(cut).is_err(), "an answer that is cut off is not taken for a whole one");
}

/// On a host with the file that every run leaves, nothing but the short probe is run.
#[test]
fn a_host_that_is_known_is_asked_the_short_way() {
    let inventory = inventory("inventory/minimal.toml");
    let text = script(&inventory, &inventory.hosts[0], Scrutiny::NewHosts);
    let here = root().join("Cargo.toml").display().to_string();
    let text = text.replace(facts::PREPARED, &here);
    assert!(text.contains(&here), "the script asks for the file");
    assert_eq!(facts::parse(&run(&text)).expect("facts").examination, None);
    let base = fs::read_to_string(root().join("roles/base.toml")).expect("the role");
    assert!(base.contains(facts::PREPARED), "which the role of every host writes");
}

#[test]
fn open_refused_and_long_packets_are_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let open = listener.local_addr().expect("address").port();
    let closed = {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        gone.local_addr().expect("address").port()
    };
    let path = root().join("src/facts/reach.pl");
    let targets = [format!("127.0.0.1:{open}"), format!("127.0.0.1:{closed}")];
    let output = Command::new("perl").arg(path).args(targets).output().expect("perl");
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    let mut expected = [format!("reach=127.0.0.1:{open} open"), format!("reach=127.0.0.1:{closed} refused")];
    expected.sort();
    assert_eq!(lines, expected);
}
