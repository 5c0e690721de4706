//! What a drill that was killed has left behind: the timers that would end its fault, later.

use super::DrillError;
use super::inflict::{END, LEFT, run};
use crate::approval::Approved;
use crate::engine::{Fleet, for_each_host};
use crate::names::HostName;
use crate::transport::Script;

/// Hosts on which a fault goes on.
pub async fn left(fleet: &Fleet) -> Vec<HostName> {
    let hosts: Vec<HostName> = fleet.connections.keys().cloned().collect();
    let parallel = hosts.len();
    let look =
        async |host: HostName| fleet.connections[&host].run(Script::as_root("look for a drill's fault", LEFT)).await;
    let asked = for_each_host(hosts, parallel, look).await;
    // whoever cannot be asked cannot be helped here either, and the drill itself will not begin without it
    asked
        .into_iter()
        .filter(|(_, said)| said.as_ref().is_ok_and(|said| said.stdout.contains("left")))
        .map(|(host, _)| host)
        .collect()
}

/// End it now.
pub async fn end(fleet: &Fleet, approved: &Approved, host: &HostName) -> Result<(), DrillError> {
    run((fleet, approved), host, ("end a fault", END)).await
}
