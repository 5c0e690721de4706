//! How many members a quorum needs and how many it can lose, ([`membership`]) who is not a member yet, ([`departure`]) who leaves, and ([`restart`])
//! whose turn it is to go down and whether that is safe now. Pure.

pub mod departure;
pub mod failover;
pub mod membership;
pub mod restart;

use super::view::{ClusterView, Member};
use crate::inventory::Inventory;
use crate::names::HostName;

/// The smallest number of voters that can decide anything.
pub const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// How many of the members that are up now may go down before nothing can be decided any more.
/// None when there is no quorum now.
pub const fn may_lose(voters: usize, up: usize) -> Option<usize> {
    up.checked_sub(majority(voters))
}

/// For how many seconds longer than somebody else a member's Patroni has not heard from etcd, once that is more than
/// Patroni itself puts up with. It may answer us and be a good replica all the same; but it would not take over before.
pub fn waits_for_etcd(view: &ClusterView, inventory: &Inventory, member: &Member) -> Option<i64> {
    let heard = |member: &Member| member.patroni.known().and_then(|about| about.dcs_last_seen);
    let newest = view.members.iter().filter_map(heard).max()?;
    let seconds = newest - heard(member)?;
    let patience = i64::from(inventory.patroni.loop_wait + inventory.patroni.retry_timeout);
    (seconds > patience).then_some(seconds)
}

/// A member of the running etcd whose data is gone: started anew it would be refused, "already bootstrapped".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostMember {
    pub host: HostName,
    /// A host whose member follows a leader, to give the commands on.
    pub through: HostName,
    pub id: String,
}

/// Which of the hosts without etcd data were members that have been up.
pub fn lost_etcd_members(view: &ClusterView, inventory: &Inventory, empty: &[HostName]) -> Vec<LostMember> {
    let led = |seen: &&super::Seen<super::etcd::Member>| seen.answer.known().is_some_and(|m| m.leader.is_some());
    let Some(through) = view.etcd.iter().find(led) else { return Vec::new() };
    let lost = |name: &HostName| {
        let listed = membership::line(membership::listed(view), inventory, inventory.host(name)?)?;
        let lost = || LostMember { host: name.clone(), through: through.host.clone(), id: listed.id.clone() };
        listed.started.then(lost)
    };
    empty.iter().filter_map(lost).collect()
}

/// Hosts whose etcd belongs to another cluster than the one that has a leader, with the two ids.
pub fn etcd_strangers(view: &ClusterView) -> Vec<(HostName, String, String)> {
    let known = || view.etcd.iter().filter_map(|seen| Some((&seen.host, seen.answer.known()?)));
    let followers = |id: &str| known().filter(|(_, m)| m.leader.is_some() && m.cluster_id == id).count();
    let Some((_, ours)) = known().max_by_key(|(_, member)| followers(&member.cluster_id)) else { return Vec::new() };
    let strangers = known().filter(|(_, member)| member.cluster_id != ours.cluster_id);
    strangers.map(|(host, member)| (host.clone(), member.cluster_id.clone(), ours.cluster_id.clone())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn two_majorities_always_share_a_member(voters in 1usize..100) {
            prop_assert!(2 * majority(voters) > voters);
            prop_assert!(majority(voters) <= voters);
        }

        #[test]
        fn losing_what_may_be_lost_keeps_a_majority_and_one_more_does_not(voters in 1usize..100, down in 0usize..100) {
            let up = voters.saturating_sub(down);
            match may_lose(voters, up) {
                Some(spare) => {
                    prop_assert!(up - spare >= majority(voters));
                    prop_assert!(up - spare - 1 < majority(voters));
                }
                None => prop_assert!(up < majority(voters)),
            }
        }
    }

    #[test]
    fn an_even_count_tolerates_no_more_than_the_odd_one_below_it() {
        assert_eq!((may_lose(3, 3), may_lose(4, 4), may_lose(5, 5)), (Some(1), Some(1), Some(2)));
        assert_eq!((may_lose(3, 2), may_lose(3, 1), may_lose(1, 1)), (Some(0), None, Some(0)));
    }
}
