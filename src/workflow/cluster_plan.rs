//! What will happen to the cluster as a whole: pure, from facts and the view. Told in the plan beside the hosts' changes.

use std::collections::BTreeMap;

use super::rolling::HAND_OVER;
use super::stage::Stage;
use super::survey::Scope;
use super::{conversion, drain, parameters};
use crate::cluster::ClusterView;
use crate::cluster::initialize::{self, Initialize};
use crate::cluster::postgres::{self, Inside};
use crate::cluster::safety::departure::Departure;
use crate::cluster::safety::membership::{Joining, Progress};
use crate::facts::Facts;
use crate::inventory::{Component, Host, Inventory, Scalar};
use crate::names::HostName;
use crate::plan::ClusterChange;
use crate::resource::Effect;
use crate::role::{self, Transition};

/// What has been started before, ever: a cluster that is switched off is not a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    pub etcd: bool,
    pub postgres: bool,
}

impl Started {
    pub fn of(inventory: &Inventory, facts: &BTreeMap<HostName, Facts>, view: &ClusterView) -> Self {
        let etcd = facts.values().any(|facts| facts.etcd_data.contains(&inventory.etcd.data_dir));
        let postgres = facts.values().any(|facts| has_data(inventory, facts));
        let answers = view.etcd.iter().any(|seen| seen.answer.known().is_some());
        let initialized = view.initialized.known().is_some_and(Initialize::is_done);
        Self { etcd: etcd || answers, postgres: postgres || initialized || view.leader().is_some() }
    }
}

/// Where a member on this host keeps its data.
pub fn data_directory(inventory: &Inventory, facts: &Facts) -> Option<String> {
    inventory.postgresql_major(&facts.codename).map(|major| inventory.postgresql_data_dir(major))
}

/// Data of the cluster, as far as the directory tells.
pub fn has_data(inventory: &Inventory, facts: &Facts) -> bool {
    data_directory(inventory, facts)
        .is_some_and(|it| facts.postgres_data.contains_key(&it) && !facts.postgres_unfinished.contains(&it))
}

/// Where a new cluster begins: the first PostgreSQL host of the inventory that may become leader.
pub fn bootstrap_host(inventory: &Inventory) -> Option<&Host> {
    let may_lead = |host: &&Host| host.tags.get("nofailover") != Some(&Scalar::Bool(true));
    inventory.with(Component::Postgres).find(may_lead)
}

/// Where a cluster goes on of which there is the data, and whose etcd is new: the host that led, or the only one with data.
/// Started anywhere else, a copy could win that lacks what the leader wrote at last. More than one may look so.
pub fn resuming<'a>(
    inventory: &'a Inventory,
    facts: &BTreeMap<HostName, Facts>,
    (view, started): (&ClusterView, Started),
) -> Vec<&'a Host> {
    let remembered = match view.initialized.known() {
        Some(initialize) => *initialize != Initialize::Absent,
        None => started.etcd,
    };
    if remembered || view.leader().is_some() {
        return Vec::new();
    }
    let with_data = inventory.with(Component::Postgres);
    let with_data = with_data.filter(|host| facts.get(&host.name).is_some_and(|facts| has_data(inventory, facts)));
    let with_data: Vec<&Host> = with_data.collect();
    let led = |host: &&Host| facts.get(&host.name).is_some_and(|facts| led(inventory, facts));
    let leaders: Vec<&Host> = with_data.iter().copied().filter(led).collect();
    if leaders.is_empty() { with_data } else { leaders }
}

fn led(inventory: &Inventory, facts: &Facts) -> bool {
    data_directory(inventory, facts).is_some_and(|it| facts.postgres_led.contains(&it))
}

const STALE_CLAIM: &str =
    "remove the stale initialize key: a member began to create the cluster and was cut off, and no host has data";

/// What the changes to the cluster follow from.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub inventory: &'a Inventory,
    pub scope: &'a Scope,
    pub facts: &'a BTreeMap<HostName, Facts>,
    pub view: &'a ClusterView,
    /// None when nobody could look inside PostgreSQL.
    pub inside: Option<&'a Inside>,
    pub started: Started,
    /// Whose data a new etcd is to hear of first.
    pub resumes: Option<&'a HostName>,
    pub transition: Option<Transition>,
    pub joining: &'a [Joining],
    pub departures: &'a [Departure],
}

impl Known<'_> {
    /// By stage, in the order in which they will happen.
    pub fn changes(self) -> BTreeMap<Stage, Vec<ClusterChange>> {
        let etcd = if self.started.etcd { self.joins().chain(self.peers()).collect() } else { vec![self.new_etcd()] };
        let postgres = if self.started.postgres { self.existing_postgres() } else { self.new_postgres() };
        BTreeMap::from([
            (Stage::Prepare, self.departs()),
            (Stage::Etcd, etcd),
            (Stage::Postgres, postgres),
            (Stage::Database, self.database()),
            (Stage::Haproxy, self.held_back()),
        ])
    }

    /// What is left to do on the way to TLS, for each member.
    fn peers(self) -> Vec<ClusterChange> {
        let deaf = conversion::deaf(self.view, self.transition).filter(|host| self.scope.includes(host));
        let again = |host: &HostName| quiet(format!("start etcd on {host} again, until it hears plain clients too"));
        if !self.inventory.tls.enabled || self.transition.is_some() {
            return deaf.map(again).collect();
        }
        let plain = conversion::plain_peers(self.view, self.inventory);
        let plain = plain.into_iter().filter(|(host, _)| self.scope.includes(host));
        plain.map(|(host, _)| quiet(format!("the other etcd members reach {host} over TLS"))).collect()
    }

    fn departs(self) -> Vec<ClusterChange> {
        let departs = |one: &Departure| {
            let Departure { host, etcd, leads, reached } = one;
            let hands_over = leads.then(|| {
                format!(
                    "hand over from the leader {host}, which leaves, to a replica: writes pause for about {HAND_OVER} s"
                )
            });
            let removed = etcd.as_ref().map(|_| match reached {
                true => format!("take {host}, which leaves, out of etcd"),
                false if self.inventory.known(host).is_some() => {
                    format!("take {host}, which leaves and does not answer, out of etcd")
                }
                false => format!("take {host} out of etcd: it is not in the inventory, and it does not answer"),
            });
            hands_over.into_iter().chain(removed).map(quiet).collect::<Vec<_>>()
        };
        self.departures.iter().flat_map(departs).collect()
    }

    fn joins(self) -> impl Iterator<Item = ClusterChange> {
        self.joining.iter().map(|Joining { host, progress, .. }| {
            quiet(match progress {
                Progress::New => format!("{host} joins etcd as a learner, and votes when it has caught up"),
                Progress::Added => format!("{host}, which the other etcd members expect, joins them"),
                Progress::Learner => format!("{host} votes in etcd when it has caught up: it is a learner"),
            })
        })
    }

    fn new_etcd(self) -> ClusterChange {
        quiet(format!("form a new etcd cluster of {}", names(self.inventory.with(Component::Etcd))))
    }

    fn new_postgres(self) -> Vec<ClusterChange> {
        let Some(first) = bootstrap_host(self.inventory) else { return Vec::new() };
        let facts = self.facts.get(&first.name);
        let version = facts.and_then(|facts| self.inventory.postgresql_major(&facts.codename));
        let version = version.map(|major| format!(" {major}")).unwrap_or_default();
        let claim = initialize::stale(self.view).map(|_| quiet(STALE_CLAIM.to_owned()));
        let mut changes: Vec<ClusterChange> = claim.into_iter().collect();
        changes.push(quiet(format!("initialise PostgreSQL{version} on {}, with data checksums", first.name)));
        let others = names(self.inventory.with(Component::Postgres).filter(|host| host.name != first.name));
        if !others.is_empty() {
            changes.push(quiet(format!("copy it to {others} as replicas")));
        }
        changes
    }

    fn existing_postgres(self) -> Vec<ClusterChange> {
        let is_new = |host: &&Host| self.facts.get(&host.name).is_some_and(|facts| !has_data(self.inventory, facts));
        let new = names(self.inventory.with(Component::Postgres).filter(is_new));
        let copy = (!new.is_empty()).then(|| quiet(format!("copy PostgreSQL from the leader to {new}")));
        let resumes = self.resumes.map(|host| {
            quiet(format!("go on with the data that is there: {host}, which led, starts first, the others follow it"))
        });
        resumes
            .into_iter()
            .chain(copy)
            .chain(self.shared_configuration())
            .chain(self.altered())
            .chain(self.waiting_parameters())
            .collect()
    }

    /// Without a look inside PostgreSQL nobody can tell which parameters need a restart: `apply` waits for one.
    fn shared_configuration(self) -> Option<ClusterChange> {
        let differing = shared_differences(self.inventory, self.view);
        if differing.is_empty() {
            return None;
        }
        let restarts =
            self.inside.is_some_and(|inside| !postgres::needs_restart(&differing, &inside.settings).is_empty());
        let effect = if restarts { Effect::RollingRestart } else { Effect::Reload };
        let unknown = self.inside.is_none().then(|| UNJUDGED.to_owned());
        let detail = differing.iter().map(ToString::to_string).chain(unknown).collect();
        Some(ClusterChange { title: "change the configuration all members share".to_owned(), detail, effect })
    }

    /// What ALTER SYSTEM has set is not of the inventory, whatever it is.
    fn altered(self) -> impl Iterator<Item = ClusterChange> {
        let all = self.view.altered().filter(|(host, _)| self.scope.includes(host));
        all.map(|(host, altered)| {
            let restarts = altered.iter().any(|one| one.restarts);
            ClusterChange {
                title: format!("reset what ALTER SYSTEM has set on {host}"),
                detail: altered.iter().map(ToString::to_string).collect(),
                effect: if restarts { Effect::RollingRestart } else { Effect::Reload },
            }
        })
    }

    /// What was changed before, by a run that was cut off or by a person, and is not in effect yet.
    fn waiting_parameters(self) -> Option<ClusterChange> {
        let waiting: Vec<&str> = self
            .inventory
            .with(Component::Postgres)
            .map(|host| &host.name)
            .filter(|host| self.scope.includes(host) && parameters::waits(self.view, host))
            .map(HostName::as_str)
            .collect();
        let title = format!("have changed parameters take effect on {}", waiting.join(", "));
        (!waiting.is_empty()).then(|| ClusterChange { title, detail: Vec::new(), effect: Effect::RollingRestart })
    }

    /// Servers that HAProxy was told to send nobody to, by a run that was cut off or by hand.
    fn held_back(self) -> Vec<ClusterChange> {
        let held = drain::drained(self.view).into_iter().filter(|one| self.scope.includes(&one.balancer));
        held.map(|one| quiet(format!("{}: somebody had it stop", one.again()))).collect()
    }

    /// Nothing, when no leader could be asked: see [`unseen_database`].
    fn database(self) -> Vec<ClusterChange> {
        let changes = self.inside.map(|inside| inside.difference.changes.as_slice()).unwrap_or_default();
        changes.iter().map(|change| quiet(change.to_string())).collect()
    }
}

/// Why a change of what all members share has to wait.
pub const UNJUDGED: &str = "no leader can be asked yet which of the parameters need a restart";

/// What the members share and the inventory wants otherwise; nothing, when nobody could be asked.
pub fn shared_differences(inventory: &Inventory, view: &ClusterView) -> Vec<postgres::ConfigChange> {
    let actual = view.config.known();
    actual.map(|actual| postgres::config_diff(&role::dynamic_config(inventory), actual)).unwrap_or_default()
}

/// When no leader can be asked yet, as after a run that was cut off while PostgreSQL started.
pub fn unseen_database(inventory: &Inventory) -> ClusterChange {
    quiet(format!("create what is missing of database {} (no leader can be asked yet)", inventory.database.name))
}

fn quiet(title: String) -> ClusterChange {
    ClusterChange { title, detail: Vec::new(), effect: Effect::Quiet }
}

fn names<'a>(hosts: impl Iterator<Item = &'a Host>) -> String {
    hosts.map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ")
}
