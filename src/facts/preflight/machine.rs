//! The machine itself: system, memory, disk, clock, address.

use super::{Refusal, Subject};
use crate::inventory::{Component, PackageSource, Synchronous, distribution_postgresql};

/// os-release's ID, VERSION_ID and how people call it. The first two are tested on every change.
const SUPPORTED: [(&str, &str, &str); 4] = [
    ("debian", "12", "Debian 12 (bookworm)"),
    ("debian", "13", "Debian 13 (trixie)"),
    ("ubuntu", "22.04", "Ubuntu 22.04 (untested)"),
    ("ubuntu", "24.04", "Ubuntu 24.04 (untested)"),
];

/// Patroni's major version in each release's own packages.
fn distribution_patroni(codename: &str) -> Option<u32> {
    match codename {
        "bookworm" | "noble" => Some(3),
        "trixie" => Some(4),
        "jammy" => Some(2),
        _ => None,
    }
}

const GIB: u64 = 1 << 20;
const MIB: u64 = 1 << 10;

pub(super) fn root(subject: &Subject<'_>) -> Vec<Refusal> {
    if subject.facts.uid == 0 {
        return Vec::new();
    }
    let message = format!("commands run as user {}, not as root", subject.facts.uid);
    vec![subject.refuse(
        "xnat::preflight::not_root",
        message,
        "leave `become` out of the inventory, or log in as root: [ssh] user = \"root\"",
    )]
}

pub(super) fn system(subject: &Subject<'_>) -> Vec<Refusal> {
    let facts = subject.facts;
    let mut found = Vec::new();
    match SUPPORTED.iter().find(|(os, release, _)| *os == facts.os && *release == facts.release) {
        None => {
            let what = match (facts.os.as_str(), facts.release.as_str()) {
                ("", _) => "an unknown system (no /etc/os-release)".to_owned(),
                (os, "") => format!("{os} without a release number (testing or unstable)"),
                (os, release) => format!("{os} {release}"),
            };
            let names: Vec<&str> = SUPPORTED.iter().map(|(_, _, name)| *name).collect();
            let help = format!("use a host with one of {}", names.join(", "));
            found.push(subject.refuse(
                "xnat::preflight::unsupported_system",
                format!("it runs {what}, which is not supported"),
                help,
            ));
        }
        Some((_, _, name)) if name.ends_with("(untested)") => found.push(subject.warn(
            "xnat::preflight::untested_system",
            format!("it runs {}, on which this tool is not tested", name.trim_end_matches(" (untested)")),
            "rehearse on a machine that does not matter, or use Debian 12 or 13",
        )),
        Some(_) => {}
    }
    if !["amd64", "arm64"].contains(&facts.arch.as_str()) && facts.package_manager.is_some() {
        let message = format!("its architecture {} is not supported", facts.arch);
        found.push(subject.refuse(
            "xnat::preflight::unsupported_architecture",
            message,
            "use a host with amd64 or arm64",
        ));
    }
    found
}

pub(super) fn init(subject: &Subject<'_>) -> Vec<Refusal> {
    if subject.facts.systemd.is_some() {
        return Vec::new();
    }
    vec![subject.refuse(
        "xnat::preflight::no_systemd",
        "systemd is not its process 1",
        "use a machine or a system container that boots systemd; see with `ps -p 1`. Application containers (Docker) will not do",
    )]
}

pub(super) fn package_manager(subject: &Subject<'_>) -> Vec<Refusal> {
    let supported = SUPPORTED.iter().any(|(os, _, _)| *os == subject.facts.os);
    // On another system the missing apt is no news.
    if subject.facts.package_manager.is_none() && supported {
        let help = "install it, or use another host; see with `command -v apt-get`";
        return vec![subject.refuse("xnat::preflight::no_apt", "there is no apt-get", help)];
    }
    if subject.facts.packages_interrupted {
        // An `apply` that has something to install waits for the one and finishes the other.
        return vec![subject.warn(
            "xnat::preflight::packages_interrupted",
            "dpkg is at work, or an earlier installation of packages was cut off in the middle",
            "apply goes on from there when it installs packages; otherwise finish it on the host: `dpkg --configure -a`",
        )];
    }
    Vec::new()
}

pub(super) fn memory(subject: &Subject<'_>) -> Vec<Refusal> {
    let postgres = subject.host.components.contains(&Component::Postgres);
    // A virtual machine sold with 512 MiB shows about 460.
    let least = if postgres { 448 * MIB } else { 192 * MIB };
    let have = subject.facts.memory_kib;
    if have < least {
        let message = format!("it has {} of memory, and its roles need {}", human(have), human(least));
        return vec![subject.refuse("xnat::preflight::little_memory", message, "give it more memory, or fewer roles")];
    }
    if postgres && have < GIB * 9 / 10 {
        let message = format!("{} of memory is little for a database server", human(have));
        return vec![subject.warn("xnat::preflight::little_memory", message, "give it 2 GiB or more before real use")];
    }
    Vec::new()
}

/// What an installation takes: measured 223 MB unpacked and 55 MiB of downloads for a database host, and as much again
/// for an empty cluster and its first WAL.
pub(super) fn space(subject: &Subject<'_>) -> Vec<Refusal> {
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
    let ours = installed(subject);
    let tell = |(path, least, free): (&str, u64, u64)| {
        let message = format!("{path} has {} free, and {} are needed", human(free), human(least));
        let help = format!("make room; see what takes it with `du -xh --max-depth=2 {path} | sort -h | tail`");
        match ours {
            // A member that runs already is not to be cut off from its own repair.
            true => subject.warn("xnat::preflight::little_space", message, help),
            false => subject.refuse("xnat::preflight::little_space", message, help),
        }
    };
    short.into_iter().map(tell).collect()
}

/// Whether this host is a member of this cluster already.
fn installed(subject: &Subject<'_>) -> bool {
    subject.facts.patroni.values().any(|scope| *scope == subject.inventory.cluster)
        || subject.facts.etcd_data.contains(&subject.inventory.etcd.data_dir)
}

/// Leases are measured by durations, so a wrong clock breaks no failover; but apt refuses lists "from the future",
/// certificates are not valid yet, and logs of several hosts cannot be read side by side.
pub(super) fn clock(subject: &Subject<'_>) -> Vec<Refusal> {
    let skew = subject.facts.epoch - subject.now;
    let direction = if skew > 0 { "ahead of" } else { "behind" };
    let message = format!("its clock is {} {direction} this machine's", seconds(skew.unsigned_abs()));
    let help = "set it on the host: `timedatectl set-ntp true` (package systemd-timesyncd), and see that this machine's is right";
    match skew.unsigned_abs() {
        0..=5 => Vec::new(),
        6..=60 => vec![subject.warn("xnat::preflight::clock", message, help)],
        _ => vec![subject.refuse("xnat::preflight::clock", message, help)],
    }
}

pub(super) fn address(subject: &Subject<'_>) -> Vec<Refusal> {
    let address = &subject.host.address;
    let is_ip = address.parse::<std::net::IpAddr>().is_ok();
    if !is_ip || subject.facts.addresses.is_empty() || subject.facts.addresses.contains(address) {
        return Vec::new();
    }
    let own: Vec<&str> =
        subject.facts.addresses.iter().map(String::as_str).filter(|address| !address.starts_with("127.")).collect();
    let message = format!("{address} is not an address of this machine; it has {}", own.join(", "));
    let help = "mend `address` in the inventory; behind NAT give the inner address there, and the outer one as ssh = { host = \"…\" }";
    vec![subject.warn("xnat::preflight::foreign_address", message, help)]
}

/// What the distribution ships against what the inventory asks for.
pub(super) fn software(subject: &Subject<'_>) -> Vec<Refusal> {
    let (inventory, facts) = (subject.inventory, subject.facts);
    let codename = facts.codename.as_str();
    let shipped = distribution_postgresql(codename).zip(distribution_patroni(codename));
    let Some((postgresql, patroni)) = shipped else { return Vec::new() };
    let from_distribution = matches!(inventory.packages.source, PackageSource::Distribution);
    if !subject.host.components.contains(&Component::Postgres) || !from_distribution {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Some(version) = inventory.postgresql.version.filter(|version| *version != postgresql) {
        found.push(subject.refuse(
            "xnat::preflight::no_such_postgresql",
            format!("{codename} has PostgreSQL {postgresql}, not {version}"),
            "leave [postgresql] version out, or add a [[packages.repository]] that has it",
        ));
    }
    if inventory.patroni.synchronous == Synchronous::Quorum && patroni < 4 {
        found.push(subject.refuse(
            "xnat::preflight::no_quorum",
            format!("{codename} has Patroni {patroni}, and synchronous = \"quorum\" needs 4.0"),
            "use synchronous = \"on\", or add a [[packages.repository]] with a newer Patroni",
        ));
    }
    found
}

fn human(kib: u64) -> String {
    if kib >= 10 * GIB { format!("{} GiB", kib / GIB) } else { format!("{} MiB", kib / MIB) }
}

fn seconds(count: u64) -> String {
    match count {
        0..=180 => format!("{count} s"),
        181..=10_800 => format!("{} min", count / 60),
        10_801..=259_200 => format!("{} h", count / 3600),
        _ => format!("{} days", count / 86_400),
    }
}
