//! Who leaves the cluster, what of them is left in it, and whether it can do without them.

use super::super::answer::Answer;
use super::super::etcd::Listed;
use super::super::view::ClusterView;
use super::{majority, membership};
use crate::inventory::Inventory;
use crate::names::HostName;

/// Somebody who is to be taken out of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Of a host of the inventory, or as etcd calls it.
    pub host: HostName,
    /// Its line in the membership, while it is a member of etcd.
    pub etcd: Option<Listed>,
    /// It leads.
    pub leads: bool,
    /// Its host can be told to stop what runs there.
    pub reached: bool,
}

/// Hosts that leave and can be reached, and members of etcd that are on no host of the inventory.
pub fn departures(view: &ClusterView, inventory: &Inventory, reached: &[HostName]) -> Vec<Departure> {
    let listed = membership::listed(view);
    let leads = |host: &HostName| view.leader().is_some_and(|leader| &leader.host == host);
    let leaving: Vec<_> = inventory.leaving.iter().filter(|host| reached.contains(&host.name)).collect();
    let told = leaving.iter().map(|host| Departure {
        host: host.name.clone(),
        etcd: membership::line(listed, inventory, host).cloned(),
        leads: leads(&host.name),
        reached: true,
    });
    let ours = |one: &Listed| {
        let own = std::slice::from_ref(one);
        inventory
            .hosts
            .iter()
            .chain(leaving.iter().copied())
            .any(|host| membership::line(own, inventory, host).is_some())
    };
    let strangers = listed.iter().filter(|one| !one.name.is_empty() && !ours(one)).map(|one| {
        let host = HostName::from(one.name.as_str());
        Departure { leads: leads(&host), host, etcd: Some(one.clone()), reached: false }
    });
    told.chain(strangers).collect()
}

/// The view as it will be when they are gone from etcd.
pub fn without(view: &ClusterView, departures: &[Departure]) -> ClusterView {
    let mut view = view.clone();
    let goes = |one: &Listed| departures.iter().filter_map(|gone| gone.etcd.as_ref()).any(|gone| gone.id == one.id);
    for seen in &mut view.etcd {
        if let Answer::Known(member) = &mut seen.answer {
            member.membership.retain(|one| !goes(one));
        }
    }
    view
}

/// Members of Patroni's cluster that are on no host of the inventory, or on one that leaves and cannot be reached.
pub fn strangers<'a>(
    view: &'a ClusterView,
    inventory: &'a Inventory,
    reached: &'a [HostName],
) -> impl Iterator<Item = &'a HostName> {
    let leaves = |host: &HostName| inventory.known(host).is_some() && reached.contains(host);
    view.members.iter().filter(move |member| !member.in_inventory && !leaves(&member.host)).map(|member| &member.host)
}

/// Why etcd cannot do without that member, if it cannot: those that stay have to decide alone.
pub fn needed(view: &ClusterView, member: &Listed) -> Option<String> {
    let voters = membership::voters(view) - usize::from(!member.learner);
    let working = membership::working_without(view, &member.id);
    let name = &member.name;
    match voters {
        0 => Some(format!("{name} is the only member of etcd")),
        _ if working < majority(voters) => Some(format!(
            "etcd cannot do without {name}: of the {voters} members that stay {working} work, and {} are needed",
            majority(voters)
        )),
        _ => None,
    }
}
