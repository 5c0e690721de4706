//! The unit that ends a PostgreSQL which is not alive leaves one alone that is: busy, full, writing, recovering.

use xnat_provision::quote::sh;

use crate::site::Site;

const POSTMASTER: &str = "head -n 1 /var/lib/postgresql/17/*/postmaster.pid";
const PSQL: &str = "sudo -u postgres psql -XAtq";

#[test]
fn a_busy_server_is_left_alone_and_a_hanging_one_comes_back_on_debian_13() {
    let site = Site::new("alive13", (&["--hosts", "1", "--suite", "trixie"], "root"));
    site.run(&["apply", "--yes"]).expect(0);
    let host = site.hosts("postgres").remove(0);
    let on = |command: &str| site.lab.ssh(&host, command);
    let before = on(POSTMASTER).expect(0).stdout;
    no_connection_is_left(&site, &host);
    checkpoints_and_processors_are_busy(&site, &host);
    assert_eq!(on(POSTMASTER).expect(0).stdout, before, "the same server");
    it_recovers_from_a_crash(&site, &host);
    let said = on("journalctl -u xnat-liveness --no-pager -q -o cat").expect(0).stdout;
    assert!(!said.contains("it is killed"), "nobody was killed: {said}");
    what_hangs_is_killed(&site, &host);
    a_new_patroni_knows_it_whatever_its_clock_said(&site, &host);
    site.run(&["plan"]).expect(0);
}

/// As after the clock was set: the time in the file is another one than that of the process. Setting the clock itself
/// takes a machine: `drill::clock`.
fn a_new_patroni_knows_it_whatever_its_clock_said(site: &Site, host: &str) {
    let other = "cd /var/lib/postgresql/17/*/ && cp postmaster.pid /srv/before &&
        printf 1700000000 | dd of=postmaster.pid bs=1 seek=$(head -n 2 postmaster.pid | wc -c) conv=notrunc status=none &&
        ! cmp -s postmaster.pid /srv/before && systemctl kill --signal=KILL --kill-whom=main patroni";
    site.lab.ssh(host, other).expect(0);
    let begun = std::time::Instant::now();
    // the server notes the time when it has begun, so it may be another one by a second or two
    let same = "cd /var/lib/postgresql/17/*/ && by=$(($(sed -n 3p postmaster.pid) - $(sed -n 3p /srv/before))) &&
        [ ${by#-} -le 3 ] && systemctl is-active patroni";
    while site.lab.ssh(host, same).status != 0 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "the file says the time of the process again");
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    site.leader();
    let said = site.lab.ssh(host, "journalctl -u patroni --no-pager -q -o cat").expect(0).stdout;
    assert!(said.contains("the clock was set by") && !said.contains("is not postmaster"), "{said}");
}

/// Takes all there are, for longer than it takes to be called dead, and tries once more.
const ALL: &str = r#"
import psycopg2, time
taken = []
def take():
    try:
        taken.append(psycopg2.connect(dbname="postgres"))
    except psycopg2.OperationalError as error:
        return str(error)
while take() is None:
    pass
time.sleep(12)
print(len(taken), take())
"#;

fn no_connection_is_left(site: &Site, host: &str) {
    let refused = site.lab.ssh(host, &format!("sudo -u postgres python3 -c {}", sh(ALL))).expect(0).stdout;
    assert!(refused.contains("too many clients") || refused.contains("remaining connection slots"), "{refused}");
}

/// More work than processors, and all of it written again and again.
fn checkpoints_and_processors_are_busy(site: &Site, host: &str) {
    let storm = format!(
        "for n in 1 2 3 4 5 6 7 8; do timeout 15 sh -c 'while :; do :; done' & done
         {PSQL} -c 'CREATE TABLE storm AS SELECT n, repeat(n::text, 20) AS t FROM generate_series(1, 300000) n'
         for n in 1 2 3; do {PSQL} -c 'UPDATE storm SET t = t || n' -c CHECKPOINT; done
         wait; {PSQL} -c 'DROP TABLE storm'"
    );
    site.lab.ssh(host, &storm).expect(0);
}

fn it_recovers_from_a_crash(site: &Site, host: &str) {
    let crash = format!(
        "{PSQL} -c 'CREATE TABLE storm AS SELECT n, repeat(n::text, 20) AS t FROM generate_series(1, 1000000) n'
         kill -KILL $({POSTMASTER})
         for n in $(seq 60); do {PSQL} -c 'DROP TABLE storm' 2>/dev/null && exit; sleep 1; done; exit 1"
    );
    site.lab.ssh(host, &crash).expect(0);
}

fn what_hangs_is_killed(site: &Site, host: &str) {
    let hang = format!(
        "old=$({POSTMASTER}); kill -STOP $old
         for n in $(seq 40); do new=$({POSTMASTER}); [ \"$new\" != $old ] && {PSQL} -c 'SELECT 1' && exit; sleep 1; done; exit 1"
    );
    site.lab.ssh(host, &hang).expect(0);
    let said = site.lab.ssh(host, "journalctl -u xnat-liveness --no-pager -q -o cat").expect(0).stdout;
    assert!(said.contains("PostgreSQL (") && said.contains("it is killed"), "{said}");
}
