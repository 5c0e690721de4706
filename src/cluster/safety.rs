//! How many members a quorum needs and how many it can lose, and who is not a member yet. Pure.

use super::view::ClusterView;
use crate::inventory::{Component, Inventory};

/// The smallest number of voters that can decide anything.
pub const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// How many of the members that are up now may go down before nothing can be decided any more.
/// None when there is no quorum now.
pub const fn may_lose(voters: usize, up: usize) -> Option<usize> {
    up.checked_sub(majority(voters))
}

/// Hosts of the inventory that no running etcd has for a member, and the members there are. Told by peer address: a
/// member that has never started has no name yet. Nobody is new while no etcd answers.
pub fn new_etcd_members(view: &ClusterView, inventory: &Inventory) -> (Vec<String>, Vec<String>) {
    let known: Vec<_> = view.etcd.iter().filter_map(|seen| seen.answer.known()).flat_map(|m| &m.membership).collect();
    let authority = |address: &str| format!("://{}", super::http::authority(address, inventory.etcd.peer_port));
    let is_member =
        |address: &str| known.iter().flat_map(|listed| &listed.peer_urls).any(|url| url.ends_with(&authority(address)));
    let hosts = inventory.with(Component::Etcd);
    let (members, new): (Vec<_>, Vec<_>) = hosts.partition(|host| known.is_empty() || is_member(&host.address));
    let names = |hosts: Vec<&crate::inventory::Host>| hosts.iter().map(|host| host.name.to_string()).collect();
    (names(new), names(members))
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
