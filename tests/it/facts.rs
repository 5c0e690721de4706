//! Facts from recorded hosts, and what preflight makes of them. `tests/fixtures/facts/README.md` says how they were recorded.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xnat_provision::facts::{self, Facts, FactsError, Listener, preflight};
use xnat_provision::inventory::Inventory;
use xnat_provision::names::HostName;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn recorded(name: &str) -> Facts {
    let path = root().join(format!("tests/fixtures/facts/{name}.txt"));
    facts::parse(&fs::read_to_string(path).expect(name)).expect(name)
}

fn inventory(name: &str) -> Inventory {
    Inventory::load(&root().join(format!("inventory/{name}.toml")), None).expect(name).inventory
}

/// A host as good as they come, to be spoilt by a test.
fn fresh() -> Facts {
    let mut facts = recorded("bookworm-fresh");
    facts.addresses.push("10.0.0.11".into());
    facts
}

/// What preflight says of a host that does everything, on a line each.
fn preflight(facts: &Facts) -> String {
    preflight_in(&inventory("single"), facts)
}

fn preflight_in(inventory: &Inventory, facts: &Facts) -> String {
    let found = preflight::check(inventory, &inventory.hosts[0], facts);
    tell(&found)
}

fn tell(found: &[preflight::Finding]) -> String {
    let lines = found.iter().map(|one| format!("{:?} {}: {one}\n  {}", one.severity, one.host, one.help));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_fresh_host_is_understood() {
    let facts = recorded("bookworm-fresh");
    assert_eq!((facts.os.as_str(), facts.release.as_str(), facts.codename.as_str()), ("debian", "12", "bookworm"));
    assert_eq!((facts.arch.as_str(), facts.systemd, facts.uid), ("amd64", Some(252), 0));
    assert_eq!(facts.package_manager.as_deref(), Some("apt"));
    assert_eq!(facts.machine_id.len(), 32);
    assert_eq!(facts.free_kib.len(), 5);
    let sshd = |address: &str| Listener {
        address: address.into(),
        port: 22,
        process: Some("sshd".into()),
        directory: Some("/".into()),
    };
    assert_eq!(facts.listening, [sshd("0.0.0.0"), sshd("::")]);
    assert!(facts.postgres_data.is_empty() && facts.etcd_data.is_empty() && facts.patroni.is_empty());
    assert_eq!(recorded("trixie-fresh").systemd, Some(257));
}

#[test]
fn a_host_with_the_distributions_services_is_understood() {
    let facts = recorded("trixie-packages");
    assert_eq!(facts.postgres_data, BTreeMap::from([("/var/lib/postgresql/17/main".into(), "17".into())]));
    assert_eq!(facts.etcd_data, ["/var/lib/etcd/default"]);
    let postgres = facts.listening.iter().find(|listener| listener.port == 5432).expect("postgres");
    assert_eq!(postgres.process.as_deref(), Some("postgres"));
    assert_eq!(postgres.directory.as_deref(), Some("/var/lib/postgresql/17/main"));
}

#[test]
fn the_probe_is_posix_shell_and_tells_everything() {
    let output = Command::new("sh").args(["-c", facts::PROBE]).output().expect("sh");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let facts = facts::parse(&String::from_utf8_lossy(&output.stdout)).expect("facts of this machine");
    assert!(!facts.hostname.is_empty() && facts.cpus > 0 && facts.memory_kib > 0 && facts.epoch > 1_700_000_000.0);
    assert!(facts.addresses.contains(&"127.0.0.1".to_owned()));
}

#[test]
fn the_probe_knows_the_processes_of_a_listener() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    let output = Command::new("sh").args(["-c", facts::PROBE]).output().expect("sh");
    let facts = facts::parse(&String::from_utf8_lossy(&output.stdout)).expect("facts");
    let found = facts.listening.iter().find(|one| one.port == port).expect("our listener");
    assert_eq!(found.address, "127.0.0.1");
    assert_eq!(found.directory.as_deref().map(Path::new), std::env::current_dir().ok().as_deref());
}

#[test]
fn what_a_process_calls_itself_is_no_fact() {
    let program = r#"$0 = "x\nhostname=evil"; use IO::Socket::INET;
        my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die; $| = 1;
        print $socket->sockport, "\n"; <STDIN>"#;
    let mut perl = Command::new("perl").args(["-e", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let perl = perl.as_mut().expect("perl");
    let mut port = String::new();
    BufReader::new(perl.stdout.as_mut().expect("a pipe")).read_line(&mut port).expect("a port");
    let output = Command::new("sh").args(["-c", facts::PROBE]).output().expect("sh");
    drop(perl.stdin.take());
    perl.wait().expect("it ends");
    let facts = facts::parse(&String::from_utf8_lossy(&output.stdout)).expect("facts");
    let found = facts.listening.iter().find(|one| one.port.to_string() == port.trim()).expect("its listener");
    assert_eq!(found.process.as_deref(), Some("x?hostname=evil"));
    assert_ne!(facts.hostname, "evil");
}

/// Some kernels do not have what the probe asks first.
#[test]
fn listeners_are_found_either_way() {
    let listeners = ["127.0.0.1:0", "[::1]:0"].map(|place| std::net::TcpListener::bind(place).expect("bind"));
    let here = root().join("src/facts/network.pl");
    let without = "BEGIN { *CORE::GLOBAL::socket = sub (*$$$) { undef } }";
    let told = ["", without].map(|before| {
        let program = format!("{before}{}", fs::read_to_string(&here).expect("readable"));
        let output = Command::new("perl").args(["-e", &program]).output().expect("perl");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    for listener in listeners {
        let port = format!(":{:04X} ", listener.local_addr().expect("address").port());
        let [first, second] = &told;
        let line = first.lines().find(|line| line.contains(&port)).expect("our listener");
        assert!(second.lines().any(|other| other == line), "{line}\n{second}");
        let inode = line.rsplit(' ').next().expect("an inode");
        assert!(told.iter().all(|lines| lines.contains(&format!("holder={inode} "))), "{told:?}");
    }
}

#[test]
fn a_useless_answer_is_named() {
    assert_eq!(facts::parse(""), Err(FactsError::Empty));
    let whole = fs::read_to_string(root().join("tests/fixtures/facts/trixie-fresh.txt")).expect("fixture");
    let cut = &whole[..whole.len() / 2];
    assert!(matches!(facts::parse(cut), Err(FactsError::Truncated { .. })));
    let odd = whole.replace("memory_kib=", "memory_kib=much");
    assert!(matches!(facts::parse(&odd), Err(FactsError::Nonsense { key, .. }) if key == "memory_kib"));
    assert!(facts::parse(&format!("Welcome! Today = Monday\n{whole}")).is_ok(), "a banner does not matter");
}

#[test]
fn a_fresh_host_is_accepted() {
    assert_eq!(preflight(&fresh()), "");
}

#[test]
fn the_distributions_own_database_is_never_touched() {
    let mut facts = recorded("bookworm-packages");
    facts.addresses.push("10.0.0.11".into());
    insta::assert_snapshot!(preflight(&facts), @r##"
    Refuse dev: another PostgreSQL 15 with its data in /var/lib/postgresql/15/main listens on port 5432: the cluster's PostgreSQL needs that port
      see what is in it: `su postgres -c 'psql -p 5432 -l'`. If it is empty, as Debian makes it: `pg_dropcluster --stop 15 main`. If it holds data, take another host for the cluster and migrate the data into it
    Refuse dev: another etcd with its data in /var/lib/etcd/default runs here
      see who uses it: `etcdctl get / --prefix --keys-only --limit 10`. If nobody does, as after installing Debian's package: `systemctl disable --now etcd && mv /var/lib/etcd/default /var/lib/etcd/default.old`. If somebody does, use another host or other ports: [etcd] client_port, peer_port
    "##);
}

#[test]
fn a_database_elsewhere_is_left_alone_with_a_warning() {
    let mut facts = fresh();
    facts.postgres_data.insert("/var/lib/postgresql/13/old".into(), "13".into());
    insta::assert_snapshot!(preflight(&facts), @r##"
    Warn dev: there is another PostgreSQL 13 in /var/lib/postgresql/13/old; it is left alone
      if it starts at boot on port 5432 it will be in the way: `systemctl disable postgresql@13-old`, or if it is empty `pg_dropcluster 13 old`
    "##);
}

#[test]
fn another_patroni_cluster_is_never_taken_over() {
    let mut facts = fresh();
    facts.patroni.insert("/etc/patroni/config.yml".into(), "billing".into());
    insta::assert_snapshot!(preflight(&facts), @r##"
    Refuse dev: it is set up for the Patroni cluster "billing" (/etc/patroni/config.yml), and this is "xnat-dev"
      use another host; or if that cluster is gone: `systemctl disable --now patroni && mv /etc/patroni/config.yml /etc/patroni/config.yml.old`
    "##);
}

#[test]
fn our_own_members_are_not_in_our_way() {
    let mut facts = fresh();
    let cluster = inventory("single").cluster;
    facts.patroni.insert("/etc/patroni/xnat/20-member.yml".into(), cluster.clone());
    facts.postgres_data.insert(format!("/var/lib/postgresql/15/{cluster}"), "15".into());
    facts.etcd_data.push(format!("/var/lib/etcd/{cluster}"));
    for (port, process, directory) in [
        (5432, "postgres", format!("/var/lib/postgresql/15/{cluster}")),
        (8008, "patroni", "/".to_owned()),
        (2379, "etcd", "/".to_owned()),
        (2380, "etcd", "/".to_owned()),
        (5000, "haproxy", "/".to_owned()),
    ] {
        let (process, directory) = (Some(process.to_owned()), Some(directory));
        facts.listening.push(Listener { address: "10.0.0.11".into(), port, process, directory });
    }
    assert_eq!(preflight(&facts), "");
    // a member whose disk is full must still be reachable for its repair
    facts.free_kib.values_mut().for_each(|free| *free = 1024);
    assert!(preflight(&facts).starts_with("Warn"), "{}", preflight(&facts));
}

#[test]
fn a_recorded_member_is_accepted_by_its_own_cluster_and_by_no_other() {
    for (name, cluster) in [("bookworm-member", "facts12"), ("trixie-member", "facts13")] {
        let facts = recorded(name);
        let mut inventory = inventory("single");
        inventory.hosts[0].address.clone_from(&facts.addresses[0]);
        let other = preflight_in(&inventory, &facts);
        let refusals: Vec<&str> = other.lines().filter(|line| line.starts_with("Refuse")).collect();
        let renamed =
            format!("Refuse dev: it is a member of the cluster \"{cluster}\", and the inventory's is \"xnat-dev\"");
        assert_eq!(refusals[0], renamed, "{other}");
        assert!(!other.contains("pg_dropcluster") && !other.contains("mv /"), "nobody is told to remove it: {other}");
        inventory.cluster = cluster.into();
        inventory.etcd.data_dir = format!("/var/lib/etcd/{cluster}");
        assert_eq!(preflight_in(&inventory, &facts), "", "{name}");
        inventory.postgresql.version = Some(16);
        let upgrade = preflight_in(&inventory, &facts);
        assert!(upgrade.contains("and the inventory asks for another major version"), "{upgrade}");
        assert!(!upgrade.contains("pg_dropcluster"), "nobody is told to drop it: {upgrade}");
    }
}

#[test]
fn data_without_its_patroni_is_refused() {
    let mut facts = fresh();
    facts.postgres_data.insert("/var/lib/postgresql/15/xnat-dev".into(), "15".into());
    insta::assert_snapshot!(preflight(&facts), @r##"
    Refuse dev: /var/lib/postgresql/15/xnat-dev holds a database already, and no Patroni of this cluster looks after it
      if it is needed keep it and give the cluster another name; if not, move it away: `mv /var/lib/postgresql/15/xnat-dev /var/lib/postgresql/15/xnat-dev.old`
    "##);
}

#[test]
fn a_machine_that_cannot_work_hears_every_reason() {
    let mut facts = fresh();
    facts.os = "rocky".into();
    facts.release = "9.4".into();
    facts.arch = "riscv64".into();
    facts.systemd = None;
    facts.uid = 1000;
    facts.memory_kib = 300 * 1024;
    facts.free_kib.insert("/var".into(), 100 * 1024);
    facts.free_kib.insert("/var/lib/postgresql".into(), 100 * 1024);
    facts.packages_interrupted = true;
    facts.listening.push(Listener {
        address: "0.0.0.0".into(),
        port: 8008,
        process: Some("nginx".into()),
        directory: None,
    });
    insta::assert_snapshot!(preflight(&facts), @r##"
    Refuse dev: commands run as user 1000, not as root
      leave `become` out of the inventory, or log in as root: [ssh] user = "root"
    Refuse dev: it runs rocky 9.4, which is not supported
      use a host with one of Debian 12 (bookworm), Debian 13 (trixie), Ubuntu 22.04 (untested), Ubuntu 24.04 (untested)
    Refuse dev: its architecture riscv64 is not supported
      use a host with amd64 or arm64
    Refuse dev: systemd is not its process 1
      use a machine or a system container that boots systemd; see with `ps -p 1`. Application containers (Docker) will not do
    Refuse dev: it has 300 MiB of memory, and its roles need 448 MiB
      give it more memory, or fewer roles
    Refuse dev: /var/lib/postgresql has 100 MiB free, and 1024 MiB are needed
      make room; see what takes it with `du -xh --max-depth=2 /var/lib/postgresql | sort -h | tail`
    Refuse dev: nginx listens on port 8008, which Patroni needs
      stop it (`ss -ltnp 'sport = :8008'` shows it), or choose another patroni.rest_port in the inventory
    Warn dev: dpkg is at work, or an earlier installation of packages was cut off in the middle
      apply goes on from there when it installs packages; otherwise finish it on the host: `dpkg --configure -a`
    "##);
}

#[test]
fn clocks_and_addresses_are_compared() {
    let inventory = inventory("single");
    let facts = recorded("trixie-fresh");
    let at = |ahead: f64| {
        let facts = Facts { asked: Some(facts.epoch - ahead), ..facts.clone() };
        tell(&preflight::check(&inventory, &inventory.hosts[0], &facts))
    };
    insta::assert_snapshot!(at(20.0), @r##"
    Warn dev: its clock is 20 s ahead of this machine's
      set it on the host: `timedatectl set-ntp true` (package systemd-timesyncd), and see that this machine's is right
    Warn dev: 10.0.0.11 is not an address of this machine; it has 10.77.103.11
      mend `address` in the inventory; behind NAT give the inner address there, and the outer one as ssh = { host = "…" }
    "##);
    assert!(!at(-5.0).contains("clock"));
    assert!(at(-86_400.0 * 30.0).contains("Refuse dev: its clock is 30 days behind this machine's"));
}

#[test]
fn what_the_release_does_not_have_is_refused() {
    let mut inventory = inventory("single");
    inventory.postgresql.version = Some(17);
    inventory.patroni.synchronous = xnat_provision::inventory::Synchronous::Quorum;
    insta::assert_snapshot!(preflight_in(&inventory, &fresh()), @r##"
    Refuse dev: bookworm has PostgreSQL 15, not 17
      leave [postgresql] version out, or add a [[packages.repository]] that has it
    Refuse dev: bookworm has Patroni 3, and synchronous = "quorum" needs 4.0
      use synchronous = "on", or add a [[packages.repository]] with a newer Patroni
    "##);
}

#[test]
fn hosts_are_compared_with_each_other() {
    let inventory = inventory("minimal");
    let names = ["db1", "db2", "db3"];
    let mut facts: BTreeMap<HostName, Facts> =
        names.iter().map(|name| (HostName::from(*name), recorded("bookworm-fresh"))).collect();
    facts.insert("db3".into(), recorded("trixie-fresh"));
    insta::assert_snapshot!(tell(&preflight::check_all(&inventory, &facts).into_iter().filter(|one| one.check.name() != "foreign_address").collect::<Vec<_>>()), @r##"
    Refuse db2: it has the same machine id as db1: one machine under two names, or a copy
      mend the addresses in the inventory; on a copied machine make a new id and reboot: `rm -f /etc/machine-id /var/lib/dbus/machine-id && systemd-machine-id-setup`
    Refuse db3: PostgreSQL is 17 here and 15 on db1: replicas need the leader's major version
      use the same release on all hosts with the role "postgres", or set [postgresql] version and a [[packages.repository]] that has it
    "##);
}
