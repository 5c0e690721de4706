//! Changed parameters that only a restart takes up: whose PostgreSQL has to restart for them, and who goes first. Pure.

use super::cluster_plan::{self, Known};
use crate::cluster::postgres::{self, Order};
use crate::cluster::{ClusterView, patroni};
use crate::inventory::Component;
use crate::names::HostName;
use crate::role;

/// Members to be restarted by their Patroni; nobody else on the host is touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restarts {
    pub hosts: Vec<HostName>,
    pub order: Order,
}

impl Restarts {
    pub fn none() -> Self {
        Self { hosts: Vec::new(), order: Order::ReplicasFirst }
    }

    /// Everybody for a change that is to be made, and otherwise those who have heard of one and wait: after a run that was
    /// cut off, or when a person has changed something.
    pub fn of(known: Known<'_>) -> Self {
        let Some(inside) = known.inside.filter(|_| known.started.postgres) else { return Self::none() };
        let differing = cluster_plan::shared_differences(known.inventory, known.view);
        let everybody = !postgres::needs_restart(&differing, &inside.settings).is_empty();
        let all = known.inventory.with(Component::Postgres).map(|host| &host.name);
        let due = all.filter(|host| {
            known.scope.includes(host) && (everybody || waits(known.view, host) || altered(known.view, host))
        });
        let order = postgres::order(&role::dynamic_config(known.inventory), &inside.settings);
        Self { hosts: due.cloned().collect(), order }
    }
}

/// Whether ALTER SYSTEM has set something on this member that only a restart takes back.
fn altered(view: &ClusterView, host: &HostName) -> bool {
    view.altered().any(|(on, altered)| on == host && altered.iter().any(|one| one.restarts))
}

/// Whether this member says that parameters wait for a restart.
pub fn waits(view: &ClusterView, host: &HostName) -> bool {
    about(view, host).is_some_and(|about| about.pending_restart)
}

pub fn about<'a>(view: &'a ClusterView, host: &HostName) -> Option<&'a patroni::About> {
    view.members.iter().find(|member| &member.host == host)?.patroni.known()
}
