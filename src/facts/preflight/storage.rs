//! Where data and packages go: space, inodes, mounts, and how fast the disk is.

use super::machine::{GIB, MIB, human};
use super::{Finding, Subject, catalogue};
use crate::facts::Examination;
use crate::inventory::Component;

/// What an installation takes: measured 223 MB unpacked and 55 MiB of downloads for a database host, and as much again
/// for an empty cluster and its first WAL.
pub(super) fn space(subject: &Subject<'_>) -> Vec<Finding> {
    let components = &subject.host.components;
    let postgres = components.contains(&Component::Postgres);
    let mut needs = vec![("/", 300 * MIB), ("/tmp", 32 * MIB), ("/var", 300 * MIB)];
    if postgres {
        needs.push(("/var/lib/postgresql", GIB));
    }
    if components.contains(&Component::Etcd) {
        needs.push(("/var/lib/etcd", 512 * MIB));
    }
    let mut short: Vec<(&str, u64, u64)> = needs
        .into_iter()
        .filter_map(|(path, least)| Some((path, least, *subject.facts.free_kib.get(path)?)))
        .filter(|(_, least, free)| free < least)
        .collect();
    // Equal to the KiB means the same file system: say it once, with the greatest need.
    short.sort_by_key(|(_, least, free)| (*free, std::cmp::Reverse(*least)));
    short.dedup_by_key(|(_, _, free)| *free);
    let tell = |(path, least, free): (&str, u64, u64)| {
        let message = format!("{path} has {} free, and {} are needed", human(free), human(least));
        let help = format!("make room; see what takes it with `du -xh --max-depth=2 {path} | sort -h | tail`");
        subject.refuse_new(&catalogue::LITTLE_SPACE, message, help)
    };
    short.into_iter().map(tell).collect()
}

/// Packages of a database host have some 2,700 files.
const INODES: u64 = 10_000;

pub(super) fn inodes(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let disks = seen.disks.iter().filter(|(path, _)| path.as_str() != "/tmp");
    let mut short: Vec<(&String, &str, u64)> = disks
        .filter_map(|(path, disk)| Some((path, disk.mounted_at.as_str(), disk.inodes_free?)))
        .filter(|(_, _, free)| *free < INODES)
        .collect();
    short.dedup_by_key(|(_, mounted_at, _)| *mounted_at);
    let tell = |(path, mounted_at, free): (&String, &str, u64)| {
        let message = format!("{path} has {free} free inodes, and {INODES} are needed");
        let help =
            format!("remove small files; see where they are with `du --inodes -xd3 {mounted_at} | sort -n | tail`");
        subject.refuse_new(&catalogue::FEW_INODES, message, help)
    };
    short.into_iter().map(tell).collect()
}

/// Where programs of packages are run from, and whether it only spoils some packages.
const EXECUTED: [&str; 3] = ["/", "/var", "/tmp"];

pub(super) fn mounts(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, disk) in &seen.disks {
        let (mount, option) = (&disk.mounted_at, |name: &str| disk.options.iter().any(|option| option == name));
        if option("ro") {
            let help = format!(
                "see why with `dmesg | grep -iE 'error|read-only'`, mend it, then `mount -o remount,rw {mount}`"
            );
            let message = format!("{path} is on a file system that is mounted read-only ({mount})");
            found.push(subject.refuse(&catalogue::READ_ONLY, message, help));
        }
        if option("noexec") && EXECUTED.contains(&path.as_str()) {
            let message = format!("no program may be run from {path} ({mount} is mounted noexec)");
            let help = format!("take noexec out of /etc/fstab, then `mount -o remount,exec {mount}`");
            found.push(match path.as_str() {
                "/tmp" => subject.warn(&catalogue::NOEXEC, message, help),
                _ => subject.refuse(&catalogue::NOEXEC, message, help),
            });
        }
        if !EXECUTED.contains(&path.as_str()) && is_odd(&disk.kind) {
            let message = format!("{path} is on {}, which is no place for a database", disk.kind);
            found.push(subject.warn(
                &catalogue::ODD_FILE_SYSTEM,
                message,
                "put it on a local disk; see what is mounted with `findmnt`",
            ));
        }
    }
    found
}

fn is_odd(kind: &str) -> bool {
    ["tmpfs", "ramfs", "nfs", "nfs4", "cifs", "smb3", "9p", "vfat", "exfat"].contains(&kind) || kind.starts_with("fuse")
}

/// etcd's advice: 99 of 100 within this many microseconds.
const FSYNC: u64 = 10_000;

pub(super) fn fsync(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let Some(fsync) = seen.fsync.filter(|fsync| fsync.p99 > FSYNC && subject.has(Component::Etcd)) else {
        return Vec::new();
    };
    let milliseconds = |micros: u64| format!("{}.{} ms", micros / 1000, micros % 1000 / 100);
    let message = format!(
        "the disk for {} needs up to {} for a synced write (99 of 100 of {}; half take {} or less), and etcd wants 10 ms",
        subject.inventory.etcd.data_dir,
        milliseconds(fsync.p99),
        fsync.count,
        milliseconds(fsync.median)
    );
    let help = "give etcd a fast disk of its own (mounted where its data is; before the cluster is made also [etcd] data_dir), or larger timings ([etcd] heartbeat_interval, election_timeout)";
    vec![subject.warn(&catalogue::SLOW_DISK, message, help)]
}
