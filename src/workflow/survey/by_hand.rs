//! What somebody has done to our services by hand in a place that is theirs to use, too: told, and left alone.

use std::collections::{BTreeMap, BTreeSet};

use super::Desired;
use crate::cluster::postgres::objects::Warning;
use crate::names::HostName;
use crate::resource::{Observations, Observed, Probe, Resource};

/// Said in our own drop-ins to be the site's place.
const SITES_OWN: &str = "/zz-site.conf";

/// A line for each, with its hosts.
pub(super) fn warnings(desired: &Desired, observed: &BTreeMap<HostName, Observations>) -> Vec<Warning> {
    let mut found: BTreeMap<Warning, Vec<&str>> = BTreeMap::new();
    for (host, stages) in desired {
        let Some(observed) = observed.get(host) else { continue };
        let resources: Vec<&Resource> = stages.values().flatten().collect();
        for warning in drop_ins(&resources, observed).into_iter().chain(holds(&resources, observed)) {
            found.entry(warning).or_default().push(host.as_str());
        }
    }
    let told = |(Warning { text, help }, hosts): (Warning, Vec<&str>)| Warning {
        text: format!("{text} on {}", hosts.join(", ")),
        help,
    };
    found.into_iter().map(told).collect()
}

/// Those of the distribution are below /usr.
fn drop_ins(resources: &[&Resource], observed: &Observations) -> Vec<Warning> {
    let ours: BTreeSet<&str> = resources
        .iter()
        .filter_map(|resource| if let Resource::File(file) = resource { Some(file.path.as_str()) } else { None })
        .collect();
    let is_theirs = |path: &str| {
        let by_hand = path.starts_with("/etc/") || path.starts_with("/run/");
        by_hand && !ours.contains(path) && !path.ends_with(SITES_OWN)
    };
    let mut warnings = Vec::new();
    for (probe, seen) in observed.iter() {
        let (Probe::Unit { name, .. }, Observed::Unit(unit)) = (probe, seen) else { continue };
        for path in unit.drop_ins.iter().filter(|path| is_theirs(path)) {
            warnings.push(Warning {
                text: format!("somebody has changed {name} with {path}"),
                help: format!("remove it, if it is not wanted; what a site wants to stay goes into {}", site(path)),
            });
        }
    }
    warnings
}

/// The site's place beside a drop-in.
fn site(path: &str) -> String {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    format!("{}{SITES_OWN}", directory.replacen("/run/", "/etc/", 1))
}

fn holds(resources: &[&Resource], observed: &Observations) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for resource in resources {
        let Resource::Package(package) = resource else { continue };
        let name = &package.name;
        let probe = Probe::Package { name: name.clone() };
        if matches!(observed.get(&probe), Some(Observed::Package(state)) if state.held) {
            let help = format!("`upgrade` leaves it as it is; `apt-mark unhold {name}` ends that");
            warnings.push(Warning { text: format!("{name} is on hold"), help });
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{Package, PackageState, Replace, Source, UnitState};
    use crate::workflow::stage::Stage;

    #[test]
    fn what_is_not_ours_is_told_with_all_its_hosts() {
        let package =
            Package { name: "patroni".to_owned(), version: None, replace: Replace::Refused, source: Source::Host };
        let host = |name: &str| {
            (HostName::new(name), BTreeMap::from([(Stage::Packages, vec![Resource::Package(package.clone())])]))
        };
        let desired = Desired::from([host("db1"), host("db2")]);
        let mut seen = Observations::default();
        let held = PackageState { held: true, ..PackageState::default() };
        seen.insert(Probe::Package { name: "patroni".to_owned() }, Observed::Package(held));
        let paths = ["/usr/lib/x.d/a.conf", "/etc/x.d/zz-site.conf", "/run/systemd/system/x.d/b.conf"];
        let unit = UnitState { drop_ins: paths.map(str::to_owned).to_vec(), ..UnitState::default() };
        let probe = Probe::Unit { name: "x.service".to_owned(), files: Vec::new(), packages: Vec::new() };
        seen.insert(probe, Observed::Unit(unit));
        let observed = desired.keys().map(|host| (host.clone(), seen.clone())).collect();
        let told: Vec<(String, String)> =
            warnings(&desired, &observed).into_iter().map(|warning| (warning.text, warning.help)).collect();
        assert_eq!(told[0].0, "patroni is on hold on db1, db2");
        assert_eq!(told[1].0, "somebody has changed x.service with /run/systemd/system/x.d/b.conf on db1, db2");
        assert!(told[1].1.ends_with("goes into /etc/systemd/system/x.d/zz-site.conf"), "{}", told[1].1);
        assert_eq!(told.len(), 2);
    }
}
