//! What is lost when a replica takes over without the leader's handing over?

use super::super::patroni::Lag;
use super::super::view::{ClusterView, Member};
use super::restart;
use crate::inventory::Inventory;
use crate::names::HostName;

/// A hand-over, which loses nothing, would do.
pub fn is_needless(view: &ClusterView, inventory: &Inventory, to: &HostName) -> bool {
    restart::leader_obstacles(view).is_empty() && restart::candidate(view, inventory, Some(to)).is_ok()
}

/// What may be lost, in sentences for whoever decides; or why that host cannot take over at all.
pub fn risk(view: &ClusterView, inventory: &Inventory, to: &HostName) -> Result<String, String> {
    let member = view.members.iter().find(|member| &member.host == to && member.in_inventory);
    let member = member.ok_or_else(|| format!("{to} is no PostgreSQL host of the inventory"))?;
    if member.leads() && member.server.known().is_some_and(|server| !server.in_recovery) {
        return Err(format!("{to} leads already"));
    }
    if !restart::may_lead(inventory, member) {
        return Err(format!("{to} is not to lead: see its tags nofailover and failover_priority"));
    }
    let Some(server) = member.server.known() else {
        return Err(format!("PostgreSQL on {to} does not answer"));
    };
    if !server.in_recovery {
        return Err(format!("{to} takes writes already"));
    }
    let mut sentences = vec![behind(view, member)];
    sentences.extend(ahead(view, member));
    Ok(sentences.join(" "))
}

fn behind(view: &ClusterView, member: &Member) -> String {
    let to = &member.host;
    if restart::synchronous(member) {
        return format!("{to} is a synchronous standby: what was acknowledged is there.");
    }
    let leader = view.leader();
    let writes = leader.filter(|leader| leader.server.known().is_some_and(|server| !server.in_recovery));
    match (view.lag(member), writes) {
        (Some(Lag::Bytes(bytes)), Some(leader)) => {
            format!(
                "{to} is {bytes} bytes behind the leader {}: that, and what it writes until then, is lost.",
                leader.host
            )
        }
        (Some(Lag::Bytes(0)), None) => {
            format!("{to} was not behind when the leader was last seen: what was written after that is lost.")
        }
        (Some(Lag::Bytes(bytes)), None) => format!(
            "{to} was {bytes} bytes behind when the leader was last seen: that, and what was written after it, is lost."
        ),
        (Some(Lag::Unknown) | None, _) => format!("How far {to} is behind is not known: whatever it lacks is lost."),
    }
}

/// Somebody else who has more.
fn ahead(view: &ClusterView, member: &Member) -> Option<String> {
    let received = |member: &Member| member.server.known().filter(|server| server.in_recovery)?.position;
    let ours = received(member)?;
    let others = view.members.iter().filter(|other| other.host != member.host);
    let (best, most) =
        others.filter_map(|other| Some((&other.host, received(other)?))).max_by_key(|(_, most)| *most)?;
    (most > ours).then(|| format!("{best} has received {} bytes more than {}.", most - ours, member.host))
}
