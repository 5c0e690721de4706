//! `upgrade --system` and `--reboot`: what else is installed on a host, which of our services have loaded something of it,
//! and whether its machine has to be restarted.

use std::collections::{BTreeMap, BTreeSet};

use super::{Groups, Selection, Steps};
use crate::cluster::ClusterView;
use crate::engine::{Newest, Question, System};
use crate::inventory::{Component, Inventory};
use crate::names::HostName;
use crate::resource::{Resource, Unit};
use crate::workflow::rolling::{HAND_OVER, names};
use crate::workflow::stage::Stage;
use crate::workflow::survey::{Desired, Survey};

/// What a host is asked besides our own packages.
pub fn question(
    groups: &Groups,
    stages: &BTreeMap<Stage, Vec<Resource>>,
    pinned: &[String],
    what: &Selection,
) -> Question {
    let units = stages.values().flatten().filter_map(service);
    let units = units.map(|unit| (unit.name.clone(), unit.packages.clone())).collect();
    Question {
        groups: groups.values().cloned().collect(),
        system: what.system.then(|| System { pinned: pinned.to_vec(), units }),
        restart: what.reboot,
        ..Question::default()
    }
}

/// A unit that runs something of a package.
fn service(resource: &Resource) -> Option<&Unit> {
    match resource {
        Resource::Unit(unit) if !unit.packages.is_empty() => Some(unit),
        _ => None,
    }
}

/// Machines that are restarted, and why: those that ask for it, and those that get a new kernel.
pub fn reboots(answers: &BTreeMap<HostName, Newest>, steps: &Steps, what: &Selection) -> BTreeMap<HostName, String> {
    let kernel = |host: &HostName| {
        let mut steps = steps.get(host).into_iter().flat_map(BTreeMap::values).flatten();
        let kernel = steps.find(|step| step.name.starts_with("linux-image-"));
        kernel.map(|step| format!("a new kernel comes with {} {}", step.name, step.to))
    };
    let why =
        |(host, newest): (&HostName, &Newest)| Some((host.clone(), newest.restart.clone().or_else(|| kernel(host))?));
    answers.iter().filter(|_| what.reboot).filter_map(why).collect()
}

/// A service has to be restarted for whatever it has loaded. One whose machine is restarted afterwards has not.
pub fn count_what_is_loaded(
    desired: &mut Desired,
    answers: &BTreeMap<HostName, Newest>,
    reboots: &BTreeMap<HostName, String>,
) {
    for (host, newest) in answers.iter().filter(|(host, _)| !reboots.contains_key(*host)) {
        for resource in desired.get_mut(host).into_iter().flat_map(BTreeMap::values_mut).flatten() {
            let Resource::Unit(unit) = resource else { continue };
            let loaded = newest.uses.get(&unit.name).into_iter().flatten();
            let more: BTreeSet<String> = loaded.filter(|name| !unit.packages.contains(name)).cloned().collect();
            unit.packages.extend(more);
        }
    }
}

/// What a person should know besides.
pub fn kept_back(answers: &BTreeMap<HostName, Newest>) -> Vec<String> {
    let told = answers.iter().filter(|(_, newest)| !newest.kept_back.is_empty());
    told.map(|(host, newest)| {
        format!("{host} keeps back {}: apt would have to remove something for it", newest.kept_back.join(", "))
    })
    .collect()
}

/// Say in the plan which machines are restarted, and who notices.
pub fn describe(survey: &mut Survey, inventory: &Inventory) {
    if survey.reboots.is_empty() {
        return;
    }
    let members = inventory.with(Component::Postgres).count();
    let leads = |view: &ClusterView| view.leader().is_some_and(|leader| survey.reboots.contains_key(&leader.host));
    let mut lines = vec![format!(
        "Then the machines are restarted, one at a time, each when the cluster is healthy: {}.",
        names(&survey.reboots.keys().cloned().collect::<Vec<_>>())
    )];
    lines.extend(survey.reboots.iter().map(|(host, why)| format!("  {host}: {why}")));
    if leads(&survey.view) {
        let pause = survey.plan.stages.iter_mut().zip(Stage::ALL).find(|(_, stage)| *stage == Stage::Postgres);
        if members > 1 {
            lines.push(format!("  The leader comes last and hands over first: writes pause for about {HAND_OVER} s."));
        } else {
            lines
                .push("  There is no other PostgreSQL: nobody can read or write until the machine is back.".to_owned());
        }
        if let Some((stage, _)) = pause {
            stage.write_pause_seconds = stage.write_pause_seconds.max(if members > 1 { HAND_OVER } else { BOOTING });
        }
    }
    survey.plan.notes.extend(lines);
}

/// How long a machine takes to come back: minutes for one with much memory to test.
const BOOTING: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Step;
    use crate::resource::{OnChange, Restart};

    fn step(name: &str) -> Step {
        Step { name: name.to_owned(), from: "1".to_owned(), to: "2".to_owned() }
    }

    #[test]
    fn machines_are_restarted_for_a_kernel_or_because_they_ask_and_only_when_wanted() {
        let hosts = ["db1", "db2", "db3"].map(HostName::from);
        let asks = Newest { restart: Some("it asks for it".to_owned()), ..Newest::default() };
        let answers =
            [(hosts[0].clone(), asks), (hosts[1].clone(), Newest::default()), (hosts[2].clone(), Newest::default())];
        let answers = BTreeMap::from(answers);
        let of = |name| BTreeMap::from([(Stage::Packages, vec![step(name)])]);
        let steps =
            Steps::from([(hosts[1].clone(), of("linux-image-amd64")), (hosts[2].clone(), of("linux-libc-dev"))]);
        let wanted = Selection { reboot: true, ..Selection::default() };
        let found: Vec<String> =
            reboots(&answers, &steps, &wanted).into_iter().map(|(host, why)| format!("{host}: {why}")).collect();
        assert_eq!(found, ["db1: it asks for it", "db2: a new kernel comes with linux-image-amd64 2"]);
        assert!(reboots(&answers, &steps, &Selection::default()).is_empty());
    }

    #[test]
    fn what_is_loaded_counts_as_the_packages_of_the_unit_unless_its_machine_is_restarted() {
        let unit = |name: &str, packages: &[&str]| {
            Resource::Unit(Unit {
                name: name.to_owned(),
                enabled: true,
                running: true,
                watch: Vec::new(),
                on_change: OnChange::Restart,
                restart_watch: Vec::new(),
                packages: packages.iter().map(ToString::to_string).collect(),
                restart: Restart::Now,
                timeout: std::time::Duration::from_secs(60),
            })
        };
        let of_host = || {
            BTreeMap::from([(Stage::Haproxy, vec![unit("haproxy.service", &["haproxy"]), unit("other.service", &[])])])
        };
        let mut desired = Desired::from([("lb1".into(), of_host()), ("lb2".into(), of_host())]);
        let uses = BTreeMap::from([(
            "haproxy.service".to_owned(),
            BTreeSet::from(["haproxy".to_owned(), "libssl3".to_owned()]),
        )]);
        let newest = Newest { uses, ..Newest::default() };
        let answers = BTreeMap::from([("lb1".into(), newest.clone()), ("lb2".into(), newest)]);
        let reboots = BTreeMap::from([("lb2".into(), "it asks for it".to_owned())]);
        count_what_is_loaded(&mut desired, &answers, &reboots);
        let packages = |host: &str| {
            let Resource::Unit(unit) = &desired[&HostName::from(host)][&Stage::Haproxy][0] else { panic!("a unit") };
            unit.packages.clone()
        };
        assert_eq!(packages("lb1"), ["haproxy", "libssl3"]);
        assert_eq!(packages("lb2"), ["haproxy"]);
    }
}
