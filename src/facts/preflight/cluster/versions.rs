//! Versions of etcd and Patroni: with each other, and on all hosts alike.

use std::collections::BTreeMap;

use super::super::catalogue;
use super::super::{Finding, Severity};
use crate::facts::Facts;
use crate::inventory::{Component, Inventory};
use crate::names::HostName;

type Version = (u32, u32, u32);

/// The numbers at the beginning of a Debian version: `3.5.16-4`, `4.0.7-3~deb13u1`.
fn version(text: &str) -> Option<Version> {
    let text = text.rsplit(':').next()?;
    let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    let mut parts = numbers.split('.').map(str::parse::<u32>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next().and_then(Result::ok).unwrap_or(0)))
}

/// etcd's answer to a login has changed in these, and Patroni before 4.1.1 does not understand it.
fn needs_new_patroni(etcd: Version) -> bool {
    match (etcd.0, etcd.1) {
        (3, 4) => etcd.2 >= 42,
        (3, 5) => etcd.2 >= 28,
        (3, 6) => etcd.2 >= 9,
        (major, minor) => (major, minor) > (3, 6),
    }
}

pub(super) fn check(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>) -> Vec<Finding> {
    let of = |component, package: &'static str| {
        let hosts: Vec<(HostName, Version)> = inventory
            .with(component)
            .filter_map(|host| {
                let seen = facts.get(&host.name)?.examination.as_ref()?;
                Some((host.name.clone(), version(seen.version(package)?)?))
            })
            .collect();
        hosts
    };
    let (etcd, patroni) = (of(Component::Etcd, "etcd-server"), of(Component::Postgres, "patroni"));
    let mut found: Vec<Finding> = bad_pair(&etcd, &patroni).into_iter().collect();
    // Patches within a series are updated one host at a time.
    found.extend(mixed("etcd", &etcd, |(major, minor, _)| (major, minor)));
    found.extend(mixed("Patroni", &patroni, |(major, _, _)| (major, 0)));
    found
}

fn bad_pair(etcd: &[(HostName, Version)], patroni: &[(HostName, Version)]) -> Option<Finding> {
    let (_, etcd) = etcd.iter().find(|(_, version)| needs_new_patroni(*version))?;
    let (host, patroni) = patroni.iter().find(|(_, version)| *version < (4, 1, 1))?;
    Some(Finding {
        host: host.clone(),
        severity: Severity::Warn,
        check: &catalogue::KNOWN_BAD_PAIR,
        message: format!("Patroni {} and etcd {} do not go together where etcd has users", told(patroni), told(etcd)),
        help: "hold etcd below that version under [packages] pins, or take Patroni 4.1.1 or newer".to_owned(),
    })
}

fn told((major, minor, patch): &Version) -> String {
    format!("{major}.{minor}.{patch}")
}

fn mixed(what: &str, hosts: &[(HostName, Version)], series: fn(Version) -> (u32, u32)) -> Vec<Finding> {
    let Some((first, reference)) = hosts.first() else { return Vec::new() };
    let odd = hosts.iter().filter(|(_, version)| series(*version) != series(*reference));
    odd.map(|(host, version)| Finding {
        host: host.clone(),
        severity: Severity::Warn,
        check: &catalogue::MIXED_VERSIONS,
        message: format!("{what} is {} here and {} on {first}", told(version), told(reference)),
        help: "use the same release and the same package sources on all hosts".to_owned(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{needs_new_patroni, version};

    #[test]
    fn versions_are_read() {
        assert_eq!(version("3.5.16-4"), Some((3, 5, 16)));
        assert_eq!(version("4.0.7-3~deb13u1"), Some((4, 0, 7)));
        assert_eq!(version("1:3.0.2+git-1"), Some((3, 0, 2)));
        assert_eq!(version("new"), None);
    }

    #[test]
    fn the_pairs_that_are_known_are_known() {
        assert!(needs_new_patroni((3, 4, 42)) && needs_new_patroni((3, 5, 28)) && needs_new_patroni((3, 7, 0)));
        assert!(!needs_new_patroni((3, 4, 23)) && !needs_new_patroni((3, 5, 16)) && !needs_new_patroni((3, 6, 8)));
    }
}
