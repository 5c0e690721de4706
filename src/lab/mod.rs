//! Throwaway hosts on this machine, to rehearse and to test on: Debian with its own systemd, sshd and IP address each,
//! booted by systemd-nspawn over one shared image, or by QEMU where a container is not enough. Linux and root are needed.
//!
//! Everything a lab makes outside its directory carries a name derived from it, and the state is on disk before anything
//! is made: [`down`] finds and removes it all, whatever happened in between. Nothing here knows what the hosts are for.

mod cgroup;
mod down;
mod error;
mod image;
mod inventory;
mod kernel;
mod keys;
mod machine;
mod network;
mod operate;
mod place;
mod pool;
mod qemu;
mod state;
mod status;
mod tool;
mod up;
mod wait;

pub use down::{Removed, down, down_all};
pub use error::LabError;
pub use operate::{Fault, Power, inflict, set_air_gap, ssh};
pub use state::{AirGap, Link, Phase, Suite};
pub use status::{HostStatus, LabStatus, status};
pub use up::{Hosts, Request, up};

/// Hosts have the addresses from `.11` on, of a network of 254.
pub const MAX_HOSTS: usize = 200;

/// Takes one line about what is going on, for people.
pub type Say<'a> = &'a (dyn Fn(&str) + Sync);

/// A name that can be part of a file name, a host name and an inventory.
pub fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=30).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_that_would_lead_somewhere_else_are_refused() {
        for good in ["lab", "db1", "e2e-17"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "..", "a/b", "-x", "x-", "Lab", ".lock", "ä"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
