//! The hosts themselves: away, frozen, full, out of time.

use super::super::Case;
use super::super::evidence::{FileSystem, Seen};
use super::super::finding::Finding;
use super::ours;
use crate::cluster::assess::size;
use crate::names::HostName;

pub fn unreachable(case: &Case<'_>) -> Vec<Finding> {
    let leaves = |host: &HostName| case.inventory.leaving.iter().any(|one| one.name == *host);
    let tell = |(host, reason): (&HostName, &String)| {
        Finding::warning("host-unreachable", format!("{host} cannot be reached"))
            .on([host])
            .because("the host or the way to it is down; what runs there is not known")
            .seen(host, reason)
            .run("try it by hand", format!("ssh {host} uptime"))
    };
    case.view.unreachable.iter().filter(|(host, _)| !leaves(host)).map(tell).collect()
}

/// Findings that rest on what a host says of itself are missing then.
pub fn silent(case: &Case<'_>) -> Vec<Finding> {
    let tell = |(host, reason): (&HostName, &String)| {
        Finding::warning("host-not-examined", format!("{host} could not be looked at from inside"))
            .on([host])
            .seen(host, reason)
            .run("see whether a shell works", format!("ssh {host} uptime"))
    };
    case.silent.iter().map(tell).collect()
}

/// Whether somebody still watches it is not known here.
pub fn drill(case: &Case<'_>) -> Vec<Finding> {
    let tell = |(host, seen): (&HostName, &Seen)| {
        let shown = seen.drill.as_ref()?;
        let finding = Finding::warning("drill", format!("{host} is what a drill has made of it"))
            .on([host])
            .because("a drill goes on, or was killed before it could undo its fault; a timer on the host does that within minutes")
            .seen(host, shown);
        Some(finding.run_on(
            host,
            "end it now, if no drill goes on",
            "systemctl start xnat-drill-undo.service; systemctl stop xnat-drill-undo.timer; rm -f /var/lib/postgresql/*/xnat-drill-full.*",
        ))
    };
    case.seen.iter().filter_map(tell).collect()
}

/// In seconds; what the way to a host takes is in the figures.
const APART: f64 = 5.0;

pub fn clocks(case: &Case<'_>) -> Vec<Finding> {
    let skews = case.seen.iter().filter_map(|(host, seen)| Some((host, seen.facts.skew()?)));
    let mut skews: Vec<(&HostName, f64)> = skews.collect();
    skews.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let (Some((slow, least)), Some((fast, most))) = (skews.first(), skews.last()) else { return Vec::new() };
    if most - least <= APART {
        return Vec::new();
    }
    let mut finding = Finding::warning("clocks", format!("the clock of {fast} is {:.0} s ahead of that of {slow}", most - least))
        .on([*fast, *slow])
        .because("the hosts do not have their time from the same servers; certificates may be not yet or no longer valid, and logs do not match");
    for (host, skew) in &skews {
        finding = finding.seen(host, format!("{skew:+.1} s against this machine"));
    }
    vec![finding.run_on(fast, "see where it has its time from", "timedatectl timesync-status")]
}

/// Process, finding, and what people call it.
const SERVICES: [(&str, &str, &str); 4] = [
    ("etcd", "etcd-frozen", "etcd"),
    ("patroni", "patroni-frozen", "Patroni"),
    ("postgres", "postgresql-frozen", "PostgreSQL"),
    ("haproxy", "haproxy-frozen", "HAProxy"),
];

/// Patroni does not notice while its own session stands (patroni issue 1371), and neither does systemd.
pub fn frozen(case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (host, seen) in case.seen {
        for (process, id, called) in SERVICES {
            let of = seen.stopped.iter().filter(|stopped| stopped.name == process);
            let pids: Vec<String> = of.map(|stopped| stopped.pid.to_string()).collect();
            if pids.is_empty() {
                continue;
            }
            let pids = pids.join(" ");
            let mut finding = Finding::critical(id, format!("{called} on {host} is stopped in its tracks"))
                .on([host])
                .because("a signal stopped its processes (SIGSTOP: a person, a debugger, a snapshot tool); the kernel goes on taking connections for it, and nobody answers")
                .seen(host, format!("in state T: {process}, {pids}"));
            if process == "postgres" {
                let answer =
                    case.view.members.iter().find(|member| member.host == *host).and_then(|m| m.server.reason());
                finding = finding.seen_if(host, answer);
            }
            found.push(finding.run_on(host, "let it go on", &format!("kill -CONT {pids}")));
        }
    }
    found
}

/// A segment of WAL: with less, the next one cannot be made.
const SEGMENT_KIB: u64 = 16 * 1024;
/// Below both of these it is about to be full.
const LOW_PERCENT: u64 = 5;
const LOW_KIB: u64 = 2 * 1024 * 1024;

pub fn disks(case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (host, seen) in case.seen {
        let mut told: Vec<(u64, u64)> = Vec::new();
        // The most particular path last: it is the one to be named of a file system that carries several.
        for disk in seen.file_systems.iter().rev() {
            if !told.contains(&(disk.kib, disk.free_kib)) {
                told.push((disk.kib, disk.free_kib));
                found.extend(disk_of(case, (host, seen), disk));
            }
        }
    }
    found
}

fn disk_of(case: &Case<'_>, (host, seen): (&HostName, &Seen), disk: &FileSystem) -> Option<Finding> {
    let FileSystem { path, kib, free_kib, free_inodes } = disk;
    let no_inodes = free_inodes.is_some_and(|free| free < 10);
    let room = format!("{} of {} are free", size(free_kib * 1024), size(kib * 1024));
    let finding = if *free_kib < SEGMENT_KIB {
        Finding::critical("disk-full", format!("the disk of {path} on {host} is full"))
            .seen(host, format!("{path}: {room}"))
    } else if no_inodes {
        Finding::critical("disk-full", format!("no more files can be made in {path} on {host}"))
            .seen(host, format!("{path}: no inodes are free, although {room}"))
    } else if *free_kib < LOW_KIB && free_kib * 100 < kib * LOW_PERCENT {
        Finding::warning("disk-nearly-full", format!("the disk of {path} on {host} is nearly full"))
            .seen(host, format!("{path}: {room}"))
    } else {
        return None;
    };
    let full = ["postgresql", "etcd", "patroni"]
        .iter()
        .find_map(|service| seen.said(service, &["No space left", "no space left"]));
    let finding = finding.on([host]).seen_if(host, full.map(|line| &line.text));
    let finding = kept_wal(case, finding, path).run_on(
        host,
        "see what takes it, and make room; nothing in pg_wal may be removed by hand",
        &format!("du -xh --max-depth=4 {path} | sort -h | tail -n 15"),
    );
    Some(finding.run("then see whether everybody comes back by itself", ours("doctor", case.inventory)))
}

/// The usual reason: WAL that is kept for somebody who does not fetch it.
fn kept_wal(case: &Case<'_>, finding: Finding, path: &str) -> Finding {
    if !path.starts_with("/var/lib/postgresql") {
        return finding.because("what writes there fails or ends until there is room");
    }
    let host = finding.hosts.first().cloned();
    let slots =
        host.as_ref().and_then(|host| case.seen.get(host)).map(|seen| seen.slots.as_slice()).unwrap_or_default();
    let Some((host, slot)) = host.zip(slots.iter().filter(|slot| !slot.active).max_by_key(|slot| slot.kept)) else {
        return finding.because("PostgreSQL ends where it cannot write its WAL");
    };
    finding
        .because(format!("PostgreSQL ends where it cannot write its WAL; probably it keeps too much of it for the slot {}, which nobody reads", slot.name))
        .seen(&host, format!("slot {}: not active, {} of WAL are kept for it", slot.name, size(slot.kept)))
}
