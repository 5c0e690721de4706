//! `check`: every host is looked at closely, and what can be mended safely is mended like everything else: as a plan that
//! somebody approved.

use std::collections::BTreeMap;
use std::time::Duration;

use super::survey::{HostProblem, SurveyError};
use crate::approval::Approved;
use crate::engine::{
    Cancel, Connector, Converge, ConvergeError, Dialer, Fleet, Host as _, HostError, Interruption, Scrutiny,
    for_each_host,
};
use crate::facts::preflight::{self, Finding, catalogue};
use crate::facts::{Examination, Facts};
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::plan::{Plan, PlannedStage, diff_resources};
use crate::report::{Reporter, failed};
use crate::resource::{Change, Command, File, OnChange, Resource, Restart, Sysctl, Unit};

pub struct Preflight<'a> {
    pub inventory: &'a Inventory,
    pub connector: &'a dyn Connector,
    pub reporter: &'a Reporter,
    pub cancel: &'a Cancel,
}

/// What was seen, and what to think of it.
#[derive(Default)]
pub struct Checked {
    pub facts: BTreeMap<HostName, Facts>,
    /// Hosts that could not be looked at.
    pub unusable: BTreeMap<HostName, HostProblem>,
    pub findings: Vec<Finding>,
}

/// What would be mended, host by host.
pub struct Mending {
    resources: BTreeMap<HostName, Vec<Resource>>,
    pub plan: Plan,
}

impl Preflight<'_> {
    /// Look at every host that answers; those that do not are part of the result.
    pub async fn look(&self, fleet: &mut Fleet) -> Result<Checked, SurveyError> {
        let parallel = self.inventory.hosts.len();
        let dialer = Dialer { connector: self.connector, parallel, reporter: self.reporter };
        let looking = async {
            fleet.connect(self.inventory, dialer).await;
            fleet.gather_facts(self.inventory, Scrutiny::Everything, self.reporter).await
        };
        // Nothing is changed here, so Ctrl-C may end it anywhere.
        let answers = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(SurveyError::Interrupted),
            answers = looking => answers,
        };
        let mut checked = Checked::default();
        for (name, error) in std::mem::take(&mut fleet.unreachable) {
            checked.unusable.insert(name, error.into());
        }
        for (name, answer) in answers {
            match answer {
                Ok(facts) => _ = checked.facts.insert(name, facts),
                Err(error) => _ = checked.unusable.insert(name, error.into()),
            }
        }
        checked.findings = preflight::check_all(self.inventory, &checked.facts);
        Ok(checked)
    }

    /// What would be changed to mend what was found. Changes nothing.
    pub async fn plan(&self, fleet: &Fleet, checked: &Checked) -> Result<Mending, HostError> {
        let mut resources: BTreeMap<HostName, Vec<Resource>> = BTreeMap::new();
        for finding in &checked.findings {
            let Some(seen) = checked.facts.get(&finding.host).and_then(|facts| facts.examination.as_ref()) else {
                continue;
            };
            let all = resources.entry(finding.host.clone()).or_default();
            // two findings may have the same remedy
            all.extend(remedy(finding, seen));
            all.dedup();
        }
        resources.retain(|_, all| !all.is_empty());
        let hosts = differences(fleet, &resources).await?;
        let stage = PlannedStage { title: STAGE.to_owned(), hosts, ..PlannedStage::default() };
        let (cluster, version) = (self.inventory.cluster.clone(), env!("CARGO_PKG_VERSION").to_owned());
        Ok(Mending { resources, plan: Plan { cluster, version, stages: vec![stage], ..Plan::default() } })
    }

    /// Make it so; every host is told of its own failure. Returns how many changes were made.
    pub async fn mend(
        &self,
        fleet: &Fleet,
        mending: &Mending,
        approved: &Approved,
    ) -> Result<usize, Vec<ConvergeError>> {
        let reporter = self.reporter.for_stage(STAGE);
        let names: Vec<HostName> = mending.resources.keys().cloned().collect();
        let parallel = names.len();
        let mend = |name: HostName| {
            let reporter = reporter.for_host(&name);
            async move {
                let Some(host) = fleet.host(&name) else { return Ok(0) };
                let (resources, cancel) = (&mending.resources[&name], self.cancel);
                let (host, interruption, reporter) = (&host, Interruption::Refused, &reporter);
                let converge = Converge { host, resources, approved, interruption, reporter, cancel };
                let result = converge.run().await;
                if let Err(error) = &result {
                    reporter.emit(failed(error, error.output())).await;
                }
                result
            }
        };
        let (mut changed, mut failures) = (0, Vec::new());
        for (_, result) in for_each_host(names, parallel, mend).await {
            match result {
                Ok(count) => changed += count,
                Err(error) => failures.push(error),
            }
        }
        if failures.is_empty() { Ok(changed) } else { Err(failures) }
    }
}

/// How each host differs from its remedies; those that do not are left out.
async fn differences(
    fleet: &Fleet,
    resources: &BTreeMap<HostName, Vec<Resource>>,
) -> Result<BTreeMap<HostName, Vec<Change>>, HostError> {
    let names: Vec<HostName> = resources.keys().cloned().collect();
    let parallel = names.len();
    let differ = |name: HostName| {
        let resources = &resources[&name];
        async move {
            let Some(host) = fleet.host(&name) else { return Ok(Vec::new()) };
            let probes: Vec<_> = resources.iter().flat_map(Resource::probes).collect();
            Ok::<_, HostError>(diff_resources(resources, &host.observe(&probes).await?))
        }
    };
    let mut differing = BTreeMap::new();
    for (name, changes) in for_each_host(names, parallel, differ).await {
        let changes = changes?;
        if !changes.is_empty() {
            differing.insert(name, changes);
        }
    }
    Ok(differing)
}

const STAGE: &str = "Mend what the check found";

/// What mends a finding without a risk, and can be taken back. Most have none: whoever set it may have meant it.
fn remedy(finding: &Finding, seen: &Examination) -> Vec<Resource> {
    let sysctl = |key: &str, value: &str| Resource::Sysctl(Sysctl { key: key.to_owned(), value: value.to_owned() });
    let check = finding.check;
    if check == &catalogue::SWAPPINESS {
        vec![sysctl("vm.swappiness", "10")]
    } else if check == &catalogue::OVERCOMMIT {
        vec![sysctl("vm.overcommit_memory", "0")]
    } else if check == &catalogue::KEEPALIVE {
        let settings = [("time", "600"), ("intvl", "30"), ("probes", "5")];
        settings.map(|(name, value)| sysctl(&format!("net.ipv4.tcp_keepalive_{name}"), value)).to_vec()
    } else if check == &catalogue::NO_TIME_SYNC {
        seen.idle_clock().map(running).into_iter().collect()
    } else if check == &catalogue::PACKAGES_INTERRUPTED || check == &catalogue::HALF_INSTALLED {
        vec![Resource::Command(Command {
            run: "dpkg --configure -a --force-confold".to_owned(),
            unless: "test -z \"$(dpkg --audit)\" && ! ls /var/lib/dpkg/updates/[0-9]*".to_owned(),
            why: "finish what dpkg was cut off in".to_owned(),
        })]
    } else if check == &catalogue::NEEDRESTART {
        vec![needrestart()]
    } else {
        Vec::new()
    }
}

fn running(name: &str) -> Resource {
    Resource::Unit(Unit {
        name: name.to_owned(),
        enabled: true,
        running: true,
        watch: Vec::new(),
        on_change: OnChange::Restart,
        restart_watch: Vec::new(),
        packages: Vec::new(),
        restart: Restart::Now,
        timeout: Duration::from_secs(60),
    })
}

/// needrestart reads every file of its conf.d; a service that matches an entry of 0 is never restarted by itself.
fn needrestart() -> Resource {
    let content = "# xnat-provision: an update of a library is no reason to restart the cluster on all hosts at once.\n\
        $nrconf{override_rc}{qr(^(etcd|patroni|postgresql.*|haproxy)\\.service$)} = 0;\n";
    Resource::File(File {
        path: preflight::NEEDRESTART_FILE.to_owned(),
        content: content.to_owned(),
        owner: "root".to_owned(),
        group: "root".to_owned(),
        mode: 0o644,
        secret: false,
        validate: Some("perl -c \"$1\"".to_owned()),
        frozen_by: None,
    })
}
