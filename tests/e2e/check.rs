//! The preflight on hosts that are spoilt on purpose: each finding is seen, `--fix` mends what it says it mends, and a host
//! as the lab makes it passes.

use serde_json::Value;

use crate::site::Site;

#[test]
fn what_stands_against_a_cluster_is_found_on_debian_12() {
    found("check12", "bookworm");
}

#[test]
fn what_stands_against_a_cluster_is_found_on_debian_13() {
    found("check13", "trixie");
}

fn found(test: &str, suite: &str) {
    let site = Site::bare(test, (&["--hosts", "4", "--suite", suite], "operator"));
    a_fresh_host_passes(&site);
    spoil(&site);
    let spoilt = site.run(&["check", "--json"]).expect(1);
    let document: Value = serde_json::from_str(&spoilt.stdout).expect("JSON and nothing else");
    for (host, id) in FOUND {
        assert!(has(&document, host, id), "{host} {id}:\n{:#}", document["findings"]);
    }
    let refused = site.run(&["plan"]).expect(1);
    assert!(refused.stderr.contains("nginx listens on port 8008"), "{}", refused.stderr);
    mend(&site);
    fixed(&site);
}

/// Hosts as they come: advice, and nothing worse; narrow terminals and pipes alike.
fn a_fresh_host_passes(site: &Site) {
    let fresh = site.run(&["check"]).expect(0);
    assert!(fresh.stdout.contains("CHECKS.md#keepalive"), "{}", fresh.stdout);
    assert!(!fresh.stdout.contains("refused"), "{}", fresh.stdout);
    let document: Value = serde_json::from_str(&site.run(&["check", "--json"]).expect(0).stdout).expect("JSON");
    assert_eq!(document["facts"].as_object().map(serde_json::Map::len), Some(4));
    // Everything each needs was asked, from both sides.
    for (from, to) in [("db1", "db2"), ("db2", "db1"), ("lb1", "db3")] {
        let target = format!("{}:8008", site.address(to));
        let reached = &document["facts"][from]["examination"]["reached"][&target];
        assert_eq!(reached, "refused", "{from} to {target}: nobody listens yet, and the way is free");
    }
}

/// On which host what is found, and by which check.
const FOUND: [(&str, &str); 16] = [
    ("db1", "clock"),
    ("db1", "clocks_apart"),
    ("db1", "port_taken"),
    ("db1", "few_inodes"),
    ("db1", "odd_file_system"),
    ("db1", "blocked_port"),
    ("db1", "path_mtu"),
    ("db2", "masked_unit"),
    ("db2", "held_package"),
    ("db2", "failed_units"),
    ("db2", "firewall"),
    ("db3", "mirror_unresolved"),
    ("db3", "needrestart"),
    ("db3", "noexec"),
    ("db3", "ssh_forwarding"),
    ("lb1", "ephemeral_ports"),
];

/// A process called nginx, on Patroni's port.
const LISTENER: &str = "cp /usr/bin/perl /usr/local/bin/nginx && printf '%s\\n' 'use IO::Socket::INET; \
    my $s = IO::Socket::INET->new(Listen => 64, LocalPort => 8008); sleep;' >/usr/local/lib/listen.pl && \
    systemd-run --quiet --unit fake-nginx /usr/local/bin/nginx /usr/local/lib/listen.pl";

fn run(site: &Site, host: &str, command: &str) {
    site.lab.ssh(host, command).expect(0);
}

fn spoil(site: &Site) {
    let db1 = site.address("db1");
    // The clock of a container is its machine's; what the host says of it can be changed.
    run(
        site,
        "db1",
        "printf '#!/bin/sh\nexec /bin/date -d \"+2 hours\" \"$@\"\n' >/usr/local/bin/date; chmod +x /usr/local/bin/date",
    );
    run(site, "db1", LISTENER);
    run(site, "db1", "mkdir -p /var/lib/postgresql && mount -t tmpfs -o nr_inodes=100 none /var/lib/postgresql");
    // One port in one direction, silently; and packets longer than the others believe.
    run(site, "db2", "apt-get install -q -y nftables >/dev/null");
    let drop = format!(
        "nft add table inet site && nft 'add chain inet site input {{ type filter hook input priority 0; }}' && \
         nft add rule inet site input ip saddr {db1} tcp dport 2380 drop"
    );
    run(site, "db2", &drop);
    run(site, "db2", "ip link set host0 mtu 1400");
    run(site, "db2", "systemctl mask --quiet etcd.service && apt-mark hold patroni");
    run(site, "db2", "systemd-run --quiet --wait --unit broken /bin/false; systemctl is-failed broken");
    run(site, "db3", "cp /etc/resolv.conf /root/ && echo 'nameserver 127.0.0.1' >/etc/resolv.conf");
    run(site, "db3", "mkdir -p /etc/needrestart/conf.d && touch /etc/needrestart/needrestart.conf");
    run(site, "db3", "mount -o remount,noexec /tmp");
    run(site, "db3", "echo 'AllowTcpForwarding no' >/etc/ssh/sshd_config.d/spoilt.conf");
    run(site, "lb1", "echo '1024 65535' >/proc/sys/net/ipv4/ip_local_port_range");
}

/// Everything but what `--fix` is for.
fn mend(site: &Site) {
    run(site, "db1", "rm /usr/local/bin/date && umount /var/lib/postgresql && systemctl stop fake-nginx");
    run(site, "db2", "nft delete table inet site && ip link set host0 mtu 1500");
    run(site, "db2", "systemctl unmask --quiet etcd.service && apt-mark unhold patroni && systemctl reset-failed");
    run(site, "db3", "cat /root/resolv.conf >/etc/resolv.conf && mount -o remount,exec /tmp");
    run(site, "db3", "rm /etc/ssh/sshd_config.d/spoilt.conf");
    run(site, "lb1", "echo '32768 60999' >/proc/sys/net/ipv4/ip_local_port_range");
}

/// A package that is unpacked and no more.
const HALFWAY: &str = "mkdir -p /root/halfway/DEBIAN && printf 'Package: halfway\nVersion: 1\nArchitecture: all\n\
    Maintainer: nobody\nDescription: unpacked\n' >/root/halfway/DEBIAN/control && \
    dpkg-deb --build /root/halfway && dpkg --unpack /root/halfway.deb";

fn fixed(site: &Site) {
    run(site, "db2", HALFWAY);
    let found = site.run(&["check"]).expect(0);
    for text in ["halfway is unpacked", "needrestart may restart", "CHECKS.md#half_installed"] {
        assert!(found.stdout.contains(text), "{text}:\n{}", found.stdout);
    }
    // Nobody can be asked here, so nothing may be changed.
    site.run(&["check", "--fix"]).expect(2);
    run(site, "db2", "dpkg-query -W -f '${db:Status-Abbrev}' halfway | grep -q iU");

    let fixed = site.run(&["check", "--fix", "--yes"]).expect(0);
    let plan =
        ["sysctl net.ipv4.tcp_keepalive_time", "/etc/needrestart/conf.d/xnat.conf", "finish what dpkg was cut off in"];
    for text in plan {
        assert!(fixed.stdout.contains(text), "{text}:\n{}", fixed.stdout);
    }
    assert!(fixed.stdout.ends_with("checks on 4 hosts: all good\n"), "{}", fixed.stdout);
    run(site, "db2", "dpkg-query -W -f '${db:Status-Abbrev}' halfway | grep -q ii");
    // As needrestart reads it.
    run(
        site,
        "db3",
        "perl -e 'our %nrconf; eval do { local(@ARGV, $/) = @ARGV; <> }; die $@ if $@; keys %{$nrconf{override_rc}} == 1 or die' /etc/needrestart/conf.d/xnat.conf",
    );
    let again = site.run(&["check", "--fix", "--yes"]).expect(0);
    assert!(again.stdout.starts_with(char::is_numeric), "nothing is left to do: {}", again.stdout);

    site.lab.command(&["fault", "db3", "kill"]).expect(0);
    let away = site.run(&["check"]).expect(3);
    assert!(away.stdout.contains("checks on 3 hosts: 1 host could not be looked at"), "{}", away.stdout);
    assert!(away.stderr.contains("db3"), "{}", away.stderr);
}

fn has(document: &Value, host: &str, id: &str) -> bool {
    let id = format!("xnat::preflight::{id}");
    document["findings"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["host"] == host && one["id"] == id.as_str()))
}
