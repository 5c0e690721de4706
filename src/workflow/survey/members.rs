//! Who joins the cluster, who leaves it, and who is in it without being in the inventory.

use super::{SurveyError, Surveyor};
use crate::cluster::safety::departure::{self, Departure};
use crate::cluster::safety::membership::{self, Joining};
use crate::cluster::{ClusterView, etcd};
use crate::engine::Fleet;
use crate::inventory::Component;
use crate::names::HostName;
use crate::role::Transition;
use crate::workflow::conversion;

impl Surveyor<'_> {
    /// Who joins etcd, if nothing stands against it. All its hosts have to be in scope: their firewalls let it in, and
    /// everybody hears of it.
    pub(super) fn joining(
        &self,
        view: &ClusterView,
        transition: Option<Transition>,
    ) -> Result<Vec<Joining>, SurveyError> {
        let joining = membership::joining(view, self.inventory);
        let names = || joining.iter().map(|one| one.host.to_string()).collect();
        if joining.is_empty() || !joining.iter().any(|one| self.scope.includes(&one.host)) {
            return Ok(Vec::new());
        }
        let (all, missing) = self.cut(Component::Etcd);
        if !missing.is_empty() {
            return Err(SurveyError::Cut { step: "a new member of etcd".to_owned(), all, missing });
        }
        let plain = self.inventory.tls.enabled && !conversion::plain_peers(view, self.inventory).is_empty();
        if plain || transition.is_some() {
            return Err(SurveyError::JoinsPlainEtcd { new: names() });
        }
        Ok(joining)
    }

    /// Who is taken out, and who runs without being in the inventory.
    pub(super) async fn departures(
        &self,
        fleet: &Fleet,
        view: &ClusterView,
    ) -> Result<(Vec<Departure>, Vec<HostName>), SurveyError> {
        let reached: Vec<HostName> = fleet.connections.keys().cloned().collect();
        let (gone, mut strangers) = (departure::departures(view, self.inventory, &reached), Vec::new());
        strangers.extend(departure::strangers(view, self.inventory, &reached).cloned());
        let unreachable = fleet.reasons();
        let gather = self.gather(fleet, &unreachable);
        let mut departures = Vec::new();
        for one in gone {
            let alive = match &one.etcd {
                Some(member) if !one.reached => etcd::answers(&gather, member).await,
                _ => false,
            };
            if alive { strangers.push(one.host) } else { departures.push(one) }
        }
        strangers.sort();
        strangers.dedup();
        departures.retain(|one| !strangers.contains(&one.host));
        let still_in = |one: &&Departure| one.reached && (one.leads || one.etcd.is_some());
        let cut = departures.iter().filter(still_in).find(|one| !self.scope.includes(&one.host));
        if let Some(one) = cut {
            let (all, missing) = (vec![one.host.to_string()], vec![one.host.to_string()]);
            return Err(SurveyError::Cut { step: "leaving the cluster".to_owned(), all, missing });
        }
        Ok((departures, strangers))
    }
}
