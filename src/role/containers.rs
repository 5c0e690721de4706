//! What is different where the members of a cluster are containers and not hosts (`render`): little, so that the same
//! templates serve both.

use serde::Serialize;

/// How containers find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Containers {
    pub enabled: bool,
    /// Where members are let in from, in pg_hba.conf's words: their addresses are not known beforehand.
    pub network: &'static str,
    /// What makes a member's name one that can be looked up whole, for HAProxy, whose own look-ups know no search list.
    pub domain: &'static str,
}

impl Containers {
    /// Hosts.
    pub const NONE: Self = Self { enabled: false, network: "", domain: "" };
    /// All on one network of Docker's.
    pub const COMPOSE: Self = Self { enabled: true, network: "samenet", domain: "" };
    /// Each node has a network of its own, and a member may be on any. (HAProxy takes the namespace from its environment.)
    pub const KUBERNETES: Self = Self { enabled: true, network: "all", domain: ".${POD_NAMESPACE}.svc.cluster.local" };
}
