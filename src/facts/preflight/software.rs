//! Packages: what the release has, what apt would install, what dpkg was left with.

use super::{Finding, Subject, catalogue};
use crate::facts::{Examination, PackageFacts};
use crate::inventory::{Component, PackageSource, Synchronous, distribution_postgresql};

/// Patroni's major version in each release's own packages.
fn distribution_patroni(codename: &str) -> Option<u32> {
    match codename {
        "bookworm" | "noble" => Some(3),
        "trixie" => Some(4),
        "jammy" => Some(2),
        _ => None,
    }
}

/// What the distribution ships against what the inventory asks for.
pub(super) fn release(subject: &Subject<'_>) -> Vec<Finding> {
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
            &catalogue::NO_SUCH_POSTGRESQL,
            format!("{codename} has PostgreSQL {postgresql}, not {version}"),
            "leave [postgresql] version out, or add a [[packages.repository]] that has it",
        ));
    }
    if inventory.patroni.synchronous == Synchronous::Quorum && patroni < 4 {
        found.push(subject.refuse(
            &catalogue::NO_QUORUM,
            format!("{codename} has Patroni {patroni}, and synchronous = \"quorum\" needs 4.0"),
            "use synchronous = \"on\", or add a [[packages.repository]] with a newer Patroni",
        ));
    }
    found
}

/// Programs this cluster is made of, by the beginnings of their packages' names.
const OURS: [&str; 6] = ["etcd", "patroni", "haproxy", "postgresql", "python3-etcd", "libpq"];

pub(super) fn packages(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let mut found = Vec::new();
    let (held, odd): (Vec<&PackageFacts>, Vec<&PackageFacts>) =
        seen.odd_packages.iter().partition(|package| package.status.starts_with('h'));
    let broken: Vec<&str> =
        odd.iter().filter(|package| is_broken(&package.status)).map(|package| package.name.as_str()).collect();
    if !broken.is_empty() {
        let message = format!("{} is unpacked and not configured, or half installed", broken.join(", "));
        let help = "finish it: `dpkg --configure -a`, then `apt-get -f install`; see more with `dpkg --audit`";
        found.push(subject.warn(&catalogue::HALF_INSTALLED, message, help));
    }
    for package in held.iter().filter(|package| OURS.iter().any(|ours| package.name.starts_with(ours))) {
        let name = &package.name;
        let help = format!("`apt-mark unhold {name}`; to keep a version, say so under [packages] pins");
        found.push(match package.status.get(1..2) {
            Some("i") => {
                subject.advise(&catalogue::HELD_PACKAGE, format!("{name} is on hold, and never updated"), help)
            }
            _ => subject.refuse(
                &catalogue::HELD_PACKAGE,
                format!("{name} is on hold without being installed: apt refuses to install it"),
                help,
            ),
        });
    }
    found
}

/// The second letter is the state: half configured, half installed, unpacked, waiting for or with triggers; a third one
/// says that it must be installed again.
fn is_broken(status: &str) -> bool {
    status.get(1..2).is_some_and(|state| "FHUWt".contains(state)) || status.len() > 2
}

pub(super) fn missing(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    if matches!(subject.inventory.packages.source, PackageSource::Bundle(_)) {
        return Vec::new();
    }
    if !seen.package_lists {
        let help = "`apt-get update`; apply does it before it installs anything";
        return vec![subject.advise(&catalogue::NO_PACKAGE_LISTS, "apt has no lists of packages", help)];
    }
    // What a repository has is known only once it is there.
    if !matches!(subject.inventory.packages.source, PackageSource::Distribution) {
        return Vec::new();
    }
    let needed = needed(subject);
    let missing: Vec<&str> = needed.into_iter().filter(|name| seen.version(name).is_none()).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let message = format!("apt knows no version of {}", missing.join(", "));
    let help = format!(
        "see `apt-cache policy {}` and the sources in /etc/apt; then `apt-get update`, or add a [[packages.repository]]",
        missing.join(" ")
    );
    vec![subject.refuse(&catalogue::PACKAGE_MISSING, message, help)]
}

/// A PostgreSQL of a certain version is judged by `release`.
fn needed(subject: &Subject<'_>) -> Vec<&'static str> {
    let of = |component: &Component| match component {
        Component::Etcd => &["etcd-server", "etcd-client"][..],
        Component::Postgres => &["patroni", "python3-etcd"],
        Component::Haproxy => &["haproxy"],
    };
    subject.host.components.iter().flat_map(of).copied().collect()
}

pub(super) fn locale(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let locale = &subject.inventory.database.locale;
    let given = ["C", "POSIX", "C.UTF-8", "C.utf8"].contains(&locale.as_str());
    if given || seen.locale != Some(false) || !subject.has(Component::Postgres) {
        return Vec::new();
    }
    let message = format!("it knows nothing of the locale {locale}");
    vec![subject.refuse(
        &catalogue::UNKNOWN_LOCALE,
        message,
        "mend `locale` under [database]; see what there is with `ls /usr/share/i18n/locales`",
    )]
}
