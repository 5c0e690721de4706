//! What is asked once the facts are there: the services of all hosts, and what is inside PostgreSQL.

use std::collections::BTreeMap;

use super::Surveyor;
use crate::cluster::postgres::objects::{self, Objects};
use crate::cluster::postgres::{self, Inside, SqlError};
use crate::cluster::{self, ClusterView, Gather};
use crate::engine::{Fleet, for_each_host};
use crate::facts::Facts;
use crate::inventory::{Component, Host};
use crate::names::HostName;
use crate::transport::Soon;

type Insides = BTreeMap<HostName, Result<Inside, SqlError>>;

impl Surveyor<'_> {
    /// What follows the facts: what the host has, its lock, and three sessions of its PostgreSQL, as it is in itself and
    /// inside two databases. Its certificate is the last to be seen, since PostgreSQL is asked for TLS in its own words.
    pub(super) fn after_facts(&self, host: &Host) -> Soon {
        let (mut scripts, mut streams) = (1 + usize::from(self.claim.is_some()), Vec::new());
        if host.components.contains(&Component::Postgres) {
            scripts += 3;
        }
        if host.components.contains(&Component::Postgres) && self.inventory.tls.enabled {
            streams.push((host.address.clone(), self.inventory.postgresql.port));
        }
        Soon { scripts, streams }
    }

    /// The services, and inside the PostgreSQL that leads. Which one that is, is only known when all have answered; its own
    /// files say it before, and where they turn out to be wrong the others are looked into after all.
    pub(super) async fn ask(&self, fleet: &Fleet, facts: &BTreeMap<HostName, Facts>) -> (ClusterView, Insides) {
        let unreachable = fleet.reasons();
        let gather = self.gather(fleet, &unreachable);
        let led = |name: &HostName| facts.get(name).is_some_and(|facts| !facts.postgres_led.is_empty());
        let members = self.inventory.with(Component::Postgres).map(|host| host.name.clone());
        let (leading, mut others): (Vec<_>, Vec<_>) = members.partition(led);
        let objects = objects::desired(self.inventory, self.secrets);
        let looking = self.look_inside((&gather, &objects), leading);
        let (view, mut inside) = futures::join!(cluster::gather(&gather), looking);
        if let Some(leader) = view.leader() {
            others.retain(|name| *name == leader.host);
        }
        inside.extend(self.look_inside((&gather, &objects), others).await);
        (view, inside)
    }

    /// A member that cannot be looked into is in the view with its reason.
    async fn look_inside(&self, (gather, objects): (&Gather<'_>, &Objects), members: Vec<HostName>) -> Insides {
        let look = |host: &HostName| {
            let host = self.inventory.host(host)?;
            postgres::administrator(gather, host).ok()
        };
        let inside = for_each_host(members, self.inventory.hosts.len(), |name| {
            let administrator = look(&name);
            async move { Some(postgres::look(&administrator?, objects).await) }
        });
        inside.await.into_iter().filter_map(|(name, inside)| Some((name, inside?))).collect()
    }
}
