//! New passwords while a client writes: cut in every phase, with a member that starts again in between, and gone on with.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use crate::site::Site;
use crate::writer::Writer;

/// Nothing is restarted, so nobody waits.
const PAUSE: Duration = Duration::from_secs(2);

/// Every printable ASCII character that is not a letter or a digit, and what SQL, YAML, HAProxy and a shell make something of.
const NASTY: &str = r##" !"#$%&'()*+,-./:;<=>?@[\]^_`{|}~ $(id) {{ x }} %n --"##;

#[test]
fn passwords_are_exchanged_under_a_writer_whatever_the_cut_on_debian_12() {
    exchanged("rotate12", (&["--hosts", "4", "--suite", "bookworm"], "admin"));
}

#[test]
fn passwords_are_exchanged_under_a_writer_whatever_the_cut_on_debian_13() {
    exchanged("rotate13", (&["--hosts", "3", "--suite", "trixie"], "root"));
}

fn exchanged(test: &str, lab: (&[&str], &'static str)) {
    let site = Site::new(test, lab);
    for (name, value) in site.poisons() {
        let value = if name == "application" { value } else { format!("{value}{NASTY}") };
        site.set_secret(name, &value);
    }
    site.run(&["apply", "--yes"]).expect(0);
    let writer = Writer::start(&site, &site.hosts("postgres")[0]);
    for phase in ["introduce", "move", "change", "return"] {
        cut(&site, phase);
        a_replica_comes_back(&site, phase);
    }
    site.run(&["secrets", "rotate", "--yes"]).expect(0);
    site.run(&["plan"]).expect(0);
    let ledger = writer.stop();
    assert!(ledger.count() > 100, "the writer wrote {} rows", ledger.count());
    assert_eq!(ledger.lost(&site), Vec::<u64>::new());
    let pause = ledger.longest_pause();
    println!("longest pause of {} writes: {pause:?}", ledger.count());
    assert!(pause < PAUSE, "nobody could write for {pause:?}");
    the_former_are_refused(&site);
    only_the_real_roles_are_left(&site);
}

/// SIGKILL in the first step whose vault has this phase, once a host or the database was told of it.
fn cut(site: &Site, phase: &str) {
    let mut run = site.spawn(&["--json", "secrets", "rotate", "--yes"]);
    let events = BufReader::new(run.stdout.take().expect("it is piped")).lines();
    let mut here = false;
    let told = events.map_while(Result::ok).any(|line| {
        here |= line.contains("new passwords are under way") && line.contains(words(phase));
        here && line.contains("\"change_applied\"")
    });
    run.kill().expect("it runs");
    run.wait().expect("it was started here");
    assert!(told, "a host was told of the phase {phase}");
    let planned = site.run(&["plan"]);
    assert!(planned.stderr.contains(words(phase)), "{phase}: {}", planned.stderr);
}

fn words(phase: &str) -> &'static str {
    match phase {
        "introduce" => "PostgreSQL gets a second login",
        "move" => "the members move to the second login",
        "change" => "the passwords are changed",
        _ => "the members return to their own login",
    }
}

/// Its files are all it has: Patroni and PostgreSQL start anew and must find their way to the leader.
fn a_replica_comes_back(site: &Site, phase: &str) {
    let replica = replica(site);
    site.lab.ssh(&replica, "systemctl restart patroni").expect(0);
    let receiver = "psql -XAtqc 'SELECT status FROM pg_stat_wal_receiver'";
    let wait = format!(
        "for i in $(seq 120); do su postgres -c \"{receiver}\" | grep -q streaming && exit 0; sleep 0.5; done; exit 1"
    );
    let waited = site.lab.ssh(&replica, &wait);
    assert_eq!(waited.status, 0, "{replica} is locked out, cut in the phase {phase}: {}", waited.stderr);
}

fn replica(site: &Site) -> String {
    let recovers = |host: &String| {
        let asked = site.lab.ssh(host, "su postgres -c \"psql -XAtqc 'SELECT pg_is_in_recovery()'\"");
        asked.expect(0).stdout.trim() == "t"
    };
    site.hosts("postgres").into_iter().find(recovers).expect("a replica")
}

fn the_former_are_refused(site: &Site) {
    let (leader, port) = (site.address(&site.hosts("haproxy")[0]), site.number("/inventory/haproxy/primary_port"));
    let client = &site.hosts("postgres")[0];
    let (_, former) = site.poisons().into_iter().find(|(name, _)| *name == "application").expect("it is there");
    let psql = format!("PGPASSWORD={former} psql -XAtq -h {leader} -p {port} -U xnat xnat -c 'SELECT 1'");
    let refused = site.lab.ssh(client, &psql);
    assert!(refused.stderr.contains("password authentication failed"), "{} {}", refused.stdout, refused.stderr);
    site.psql(port, "SELECT 1").expect(0);
    for (_, value) in site.poisons() {
        for host in site.hosts("postgres") {
            let found = site.lab.ssh(&host, &format!("grep -rlF -- {value} /etc /var/lib/postgresql/*.pgpass"));
            assert_eq!(found.stdout, "", "a former password is still on {host}");
        }
    }
    let state = site.state().display().to_string();
    for (_, value) in site.poisons() {
        let found = std::process::Command::new("grep").args(["-rlF", &value, &state]).output().expect("grep runs");
        assert!(found.stdout.is_empty(), "a former password is in the journal");
    }
}

fn only_the_real_roles_are_left(site: &Site) {
    let sql = "SELECT string_agg(rolname, chr(32) ORDER BY rolname) FROM pg_roles WHERE oid >= 16384 OR oid = 10";
    let asked = site.lab.ssh(&replica(site), &format!("su postgres -c \"psql -XAtqc '{sql}'\"")).expect(0);
    assert_eq!(asked.stdout.trim(), "postgres replicator rewind xnat");
}
