//! A cluster that was built without TLS, with data in it and a client that writes, becomes one that speaks nothing else.

use std::time::Duration;

use crate::harness::Ran;
use crate::site::Site;
use crate::writer::Writer;

/// One hand-over, and some HAProxies that learn of it.
const HANDOVER: Duration = Duration::from_secs(10);

#[test]
fn a_plain_cluster_is_converted_under_a_writer_on_debian_13() {
    let site = plain("conv13", &["--hosts", "4", "--suite", "trixie"], "root");
    converted_under_a_writer(&site);
    tls_is_not_turned_off(&site);
}

#[test]
fn a_plain_cluster_is_converted_under_a_writer_on_debian_12() {
    let site = plain("conv12", &["--hosts", "3", "--suite", "bookworm"], "admin");
    converted_under_a_writer(&site);
}

#[test]
fn a_conversion_that_is_killed_in_every_pass_goes_on_on_debian_13() {
    killed_in_every_pass(&plain("cut13", &["--hosts", "3", "--suite", "trixie"], "root"));
}

#[test]
fn a_conversion_that_is_killed_in_every_pass_goes_on_on_debian_12() {
    killed_in_every_pass(&plain("cut12", &["--hosts", "4", "--suite", "bookworm"], "root"));
}

fn plain(test: &str, hosts: &[&str], user: &'static str) -> Site {
    let site = Site::new(test, (hosts, user));
    site.append("[tls]\nenabled = false");
    site.run(&["apply", "--yes"]).expect(0);
    site
}

fn want_tls(site: &Site) {
    site.write(&site.read().replace("[tls]\nenabled = false", "[tls]\nenabled = true"));
}

fn converted_under_a_writer(site: &Site) {
    want_tls(site);
    let planned = site.run(&["plan"]).expect(5);
    assert!(planned.stdout.contains("Conversion to TLS, pass 1 of 3"), "{}", planned.stdout);
    let writer = Writer::start(site, "db1");
    let applied = site.run(&["apply", "--yes"]).expect(0);
    let ledger = writer.stop();
    println!("{} rows, longest pause {:?}\n{}", ledger.count(), ledger.longest_pause(), applied.stdout);
    assert_eq!(ledger.lost(site), Vec::<u64>::new());
    assert!(ledger.longest_pause() < HANDOVER, "nobody wrote for {:?}", ledger.longest_pause());
    nothing_is_plain(site);
}

/// What the services do, asked from a member; and the plan, which is empty.
fn nothing_is_plain(site: &Site) {
    let planned = site.run(&["plan"]).expect(0);
    assert!(planned.stdout.contains("Nothing to change"), "{}", planned.stdout);
    site.run(&["status"]).expect(0);
    for host in site.hosts("etcd") {
        let listening = site.lab.ssh(&host, "cat /etc/etcd/etcd.env").expect(0).stdout;
        assert!(!listening.contains("http://"), "{listening}");
    }
    let address = site.address("db1");
    // No program on a host speaks HTTP from the command line; the shell's own way is enough to see a plain answer.
    let asks = |port: u16| {
        let ask = format!(
            "exec 3<>/dev/tcp/{address}/{port}; printf \"GET /health HTTP/1.0\\r\\n\\r\\n\" >&3; timeout 5 head -c 12 <&3"
        );
        site.lab.ssh("db2", &format!("bash -c '{ask}'")).stdout
    };
    for port in [2379, 2380, 8008] {
        let answer = asks(port);
        assert!(!answer.contains(" 200"), "port {port} answers plainly: {answer:?}");
    }
    let port = site.number("/inventory/haproxy/primary_port");
    let streams = "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)";
    let leader = site.psql(port, "SELECT host(inet_server_addr())").expect(0).stdout;
    let leader = site.hosts("postgres").into_iter().find(|host| site.address(host) == leader.trim());
    let asked = format!("runuser -u postgres -- psql -XAtc \"{streams}\"");
    let seen = site.lab.ssh(&leader.expect("a member"), &asked).expect(0).stdout;
    assert_eq!(seen.trim(), "2|2", "replication is encrypted");
    let members = "ETCDCTL_API=3 etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/etcd/tls/ca.pem \
                   --cert=/etc/etcd/tls/server.pem --key=/etc/etcd/tls/server-key.pem member list";
    let members = site.lab.ssh("db1", members).expect(0).stdout;
    assert!(members.lines().count() == 3 && !members.contains("http://"), "{members}");
}

fn tls_is_not_turned_off(site: &Site) {
    let good = site.read();
    site.write(&good.replace("[tls]\nenabled = true", "[tls]\nenabled = false"));
    let refused = site.run(&["plan"]).expect(1);
    assert!(refused.stderr.contains("already speak TLS"), "{}", refused.stderr);
    site.write(&good);
}

/// The controller dies (SIGKILL) in the middle of each pass, and is started again.
fn killed_in_every_pass(site: &Site) {
    want_tls(site);
    let writer = Writer::start(site, "db1");
    let (etcd, patroni) = ("systemctl show -P ExecMainStartTimestampMonotonic etcd", "ls /etc/patroni/tls/patroni.pem");
    // the first etcd member knows TLS; the first Patroni refuses plain requests; the first etcd member does, too
    let moments = [
        ("db2", "grep -q https:// /etc/etcd/etcd.env".to_owned()),
        ("db2", format!("{patroni} && grep -q certfile /etc/patroni/xnat/30-settings.yml")),
        ("db2", "grep -q 'PEER_URLS=\"https' /etc/etcd/etcd.env".to_owned()),
    ];
    for (host, moment) in moments {
        let mut run = site.spawn(&["apply", "--yes"]);
        let came = (0..3000).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            site.lab.ssh(host, &moment).status == 0 || run.try_wait().expect("it was started here").is_some()
        });
        assert!(came, "the moment {moment} did not come");
        let ended = run.try_wait().expect("it was started here").is_some();
        if !ended {
            run.kill().expect("it runs");
        }
        let said = Ran::of(run.wait_with_output().expect("it was started here"));
        assert!(!ended, "it ended before {moment} with {}:\n{}", said.status, said.stderr);
        println!("killed at {moment}; etcd on {host} since {}", site.lab.ssh(host, etcd).stdout.trim());
    }
    let applied = site.run(&["apply", "--yes"]).expect(0);
    let ledger = writer.stop();
    println!("{} rows, longest pause {:?}\n{}", ledger.count(), ledger.longest_pause(), applied.stdout);
    assert_eq!(ledger.lost(site), Vec::<u64>::new());
    assert!(ledger.longest_pause() < HANDOVER, "nobody wrote for {:?}", ledger.longest_pause());
    nothing_is_plain(site);
}
