//! How many members a quorum needs and how many it can lose. Pure arithmetic.

/// The smallest number of voters that can decide anything.
pub const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// How many of the members that are up now may go down before nothing can be decided any more.
/// None when there is no quorum now.
pub const fn may_lose(voters: usize, up: usize) -> Option<usize> {
    up.checked_sub(majority(voters))
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
