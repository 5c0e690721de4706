//! The machine itself: system, memory, disk, clock, address.

use super::{Finding, Subject, catalogue};
use crate::inventory::Component;

/// os-release's ID, VERSION_ID and how people call it. The first two are tested on every change.
const SUPPORTED: [(&str, &str, &str); 4] = [
    ("debian", "12", "Debian 12 (bookworm)"),
    ("debian", "13", "Debian 13 (trixie)"),
    ("ubuntu", "22.04", "Ubuntu 22.04 (untested)"),
    ("ubuntu", "24.04", "Ubuntu 24.04 (untested)"),
];

pub(super) const GIB: u64 = 1 << 20;
pub(super) const MIB: u64 = 1 << 10;

pub(super) fn root(subject: &Subject<'_>) -> Vec<Finding> {
    if subject.facts.uid == 0 {
        return Vec::new();
    }
    let message = format!("commands run as user {}, not as root", subject.facts.uid);
    vec![subject.refuse(
        &catalogue::NOT_ROOT,
        message,
        "leave `become` out of the inventory, or log in as root: [ssh] user = \"root\"",
    )]
}

pub(super) fn system(subject: &Subject<'_>) -> Vec<Finding> {
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
                &catalogue::UNSUPPORTED_SYSTEM,
                format!("it runs {what}, which is not supported"),
                help,
            ));
        }
        Some((_, _, name)) if name.ends_with("(untested)") => found.push(subject.warn(
            &catalogue::UNTESTED_SYSTEM,
            format!("it runs {}, on which this tool is not tested", name.trim_end_matches(" (untested)")),
            "rehearse on a machine that does not matter, or use Debian 12 or 13",
        )),
        Some(_) => {}
    }
    if !["amd64", "arm64"].contains(&facts.arch.as_str()) && facts.package_manager.is_some() {
        let message = format!("its architecture {} is not supported", facts.arch);
        found.push(subject.refuse(&catalogue::UNSUPPORTED_ARCHITECTURE, message, "use a host with amd64 or arm64"));
    }
    found
}

pub(super) fn init(subject: &Subject<'_>) -> Vec<Finding> {
    if subject.facts.systemd.is_some() {
        return Vec::new();
    }
    vec![subject.refuse(
        &catalogue::NO_SYSTEMD,
        "systemd is not its process 1",
        "use a machine or a system container that boots systemd; see with `ps -p 1`. Application containers (Docker) will not do",
    )]
}

pub(super) fn package_manager(subject: &Subject<'_>) -> Vec<Finding> {
    let supported = SUPPORTED.iter().any(|(os, _, _)| *os == subject.facts.os);
    // On another system the missing apt is no news.
    if subject.facts.package_manager.is_none() && supported {
        let help = "install it, or use another host; see with `command -v apt-get`";
        return vec![subject.refuse(&catalogue::NO_APT, "there is no apt-get", help)];
    }
    if subject.facts.packages_interrupted {
        // An `apply` that has something to install waits for the one and finishes the other.
        return vec![subject.warn(
            &catalogue::PACKAGES_INTERRUPTED,
            "dpkg is at work, or an earlier installation of packages was cut off in the middle",
            "apply goes on from there when it installs packages; otherwise finish it on the host: `dpkg --configure -a`",
        )];
    }
    Vec::new()
}

pub(super) fn memory(subject: &Subject<'_>) -> Vec<Finding> {
    let postgres = subject.host.components.contains(&Component::Postgres);
    // A virtual machine sold with 512 MiB shows about 460.
    let least = if postgres { 448 * MIB } else { 192 * MIB };
    let have = subject.facts.memory_kib;
    if have < least {
        let message = format!("it has {} of memory, and its roles need {}", human(have), human(least));
        return vec![subject.refuse(&catalogue::LITTLE_MEMORY, message, "give it more memory, or fewer roles")];
    }
    if postgres && have < GIB * 9 / 10 {
        let message = format!("{} of memory is little for a database server", human(have));
        return vec![subject.warn(&catalogue::LITTLE_MEMORY, message, "give it 2 GiB or more before real use")];
    }
    Vec::new()
}

/// Leases are measured by durations, so a wrong clock breaks no failover; but apt refuses lists "from the future",
/// certificates are not valid yet, and logs of several hosts cannot be read side by side.
pub(super) fn clock(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(skew) = subject.facts.skew() else { return Vec::new() };
    let direction = if skew > 0.0 { "ahead of" } else { "behind" };
    let message = format!("its clock is {} {direction} this machine's", seconds(skew));
    let help = "set it on the host: `timedatectl set-ntp true` (package systemd-timesyncd), and see that this machine's is right";
    match skew.abs() {
        ..6.0 => Vec::new(),
        ..61.0 => vec![subject.warn(&catalogue::CLOCK, message, help)],
        _ => vec![subject.refuse(&catalogue::CLOCK, message, help)],
    }
}

pub(super) fn address(subject: &Subject<'_>) -> Vec<Finding> {
    let address = &subject.host.address;
    let is_ip = address.parse::<std::net::IpAddr>().is_ok();
    if !is_ip || subject.facts.addresses.is_empty() || subject.facts.addresses.contains(address) {
        return Vec::new();
    }
    let own: Vec<&str> =
        subject.facts.addresses.iter().map(String::as_str).filter(|address| !address.starts_with("127.")).collect();
    let message = format!("{address} is not an address of this machine; it has {}", own.join(", "));
    let help = "mend `address` in the inventory; behind NAT give the inner address there, and the outer one as ssh = { host = \"…\" }";
    vec![subject.warn(&catalogue::FOREIGN_ADDRESS, message, help)]
}

pub(super) fn human(kib: u64) -> String {
    if kib >= 10 * GIB { format!("{} GiB", kib / GIB) } else { format!("{} MiB", kib / MIB) }
}

/// A length of time for people.
pub(super) fn seconds(skew: f64) -> String {
    let count = skew.abs();
    match count {
        ..10.0 => format!("{count:.1} s"),
        ..181.0 => format!("{count:.0} s"),
        ..10_801.0 => format!("{:.0} min", count / 60.0),
        ..259_201.0 => format!("{:.0} h", count / 3600.0),
        _ => format!("{:.0} days", count / 86_400.0),
    }
}
