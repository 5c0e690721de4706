//! Names, and the length of packets. Ports of other hosts are `cluster`'s: both ends must be known for them.

use super::{Finding, Subject, catalogue};
use crate::facts::Examination;
use crate::inventory::PackageSource;

pub(super) fn names(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let unknown = |name: &str| seen.resolved.get(name).is_some_and(Vec::is_empty);
    let mut found = Vec::new();
    let own = subject.facts.hostname.as_str();
    if unknown(own) {
        let help = format!("`echo '127.0.1.1 {own}' >>/etc/hosts`");
        found.push(subject.advise(
            &catalogue::OWN_NAME,
            format!("its own name {own} does not resolve: sudo waits for it"),
            help,
        ));
    }
    if seen.resolved.get("localhost").is_some_and(|all| !all.iter().any(|address| address == "127.0.0.1")) {
        let help = "`echo '127.0.0.1 localhost' >>/etc/hosts`";
        found.push(subject.refuse(&catalogue::NO_LOCALHOST, "localhost is not 127.0.0.1", help));
    }
    let sites: Vec<&str> = seen.sites.iter().map(String::as_str).filter(|site| unknown(site)).collect();
    let bundle = matches!(subject.inventory.packages.source, PackageSource::Bundle(_));
    if !sites.is_empty() && !bundle && !seen.apt_proxy && subject.inventory.packages.proxy.is_none() {
        let servers = seen.settings.get("/etc/resolv.conf").into_iter().flatten();
        let servers: Vec<&str> =
            servers.filter_map(|line| line.trim().strip_prefix("nameserver ")).map(str::trim).collect();
        let asked = if servers.is_empty() {
            "no name server is set".to_owned()
        } else {
            format!("asked {}", servers.join(", "))
        };
        let message = format!("packages come from {}, which does not resolve ({asked})", sites.join(", "));
        let help = "mend /etc/resolv.conf, or set a proxy: [packages] proxy; see `getent hosts` with that name";
        found.push(subject.warn(&catalogue::MIRROR_UNRESOLVED, message, help));
    }
    found.extend(addresses(subject, seen));
    found
}

/// The addresses in the inventory that are names.
fn addresses(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let mut found = Vec::new();
    for host in &subject.inventory.hosts {
        let Some(addresses) = seen.resolved.get(&host.address) else { continue };
        let help =
            format!("use the IP address of {} in the inventory, or add it to /etc/hosts on every host", host.name);
        if addresses.is_empty() {
            let message = format!("{}, the address of {}, does not resolve here", host.address, host.name);
            found.push(subject.refuse(&catalogue::UNRESOLVED_ADDRESS, message, help));
        } else if let Some(own) = addresses.iter().find(|address| address.starts_with("127.")) {
            let message =
                format!("{}, the address of {}, is {own} here: it leads back to this host", host.address, host.name);
            found.push(subject.refuse(&catalogue::UNRESOLVED_ADDRESS, message, help));
        }
    }
    found
}

pub(super) fn paths(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let lost = seen.paths.iter().filter(|path| !path.arrived);
    let tell = |path: &crate::facts::PathFacts| {
        let other = subject.inventory.hosts.iter().find(|host| host.address == path.address);
        let other = other.map_or(path.address.as_str(), |host| host.name.as_str());
        let message = format!("packets of {} bytes do not get to {other}, shorter ones do", path.bytes);
        let help = format!(
            "set the same MTU on all interfaces between them: `ip link` on both; try it with `ping -M do -s {} {}`",
            path.bytes.saturating_sub(28),
            path.address
        );
        subject.warn(&catalogue::PATH_MTU, message, help)
    };
    lost.map(tell).collect()
}
