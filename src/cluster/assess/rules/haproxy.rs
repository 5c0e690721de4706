//! Rules about HAProxy: does it agree with Patroni?

use super::{apply, critical, log, warning};
use crate::cluster::answer::Answer;
use crate::cluster::assess::Problem;
use crate::cluster::haproxy::{PRIMARY, REPLICAS, Server};
use crate::cluster::http::authority;
use crate::cluster::maintenance;
use crate::cluster::view::{ClusterView, Member};
use crate::inventory::Inventory;
use crate::names::HostName;

pub fn balancers(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let mut problems = Vec::new();
    for seen in &view.haproxy {
        match &seen.answer {
            Answer::Known(servers) => problems.extend(balancer(&seen.host, servers, view, inventory)),
            Answer::Down(reason) => problems
                .push(critical(format!("HAProxy on {} is down: {reason}", seen.host), log(&seen.host, "haproxy"))),
            Answer::Unknown(_) => {}
        }
    }
    problems
}

fn balancer(host: &HostName, servers: &[Server], view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let up = |section: &str| -> Vec<&str> {
        servers.iter().filter(|s| s.section == section && s.up).map(|s| s.name.as_str()).collect()
    };
    let address = |host: &HostName| inventory.host(host).map_or(host.as_str(), |h| &h.address).to_owned();
    let scheme = inventory.scheme();
    let page = format!("see its page: {scheme}://{}/stats", authority(&address(host), inventory.haproxy.stats_port));
    let mut problems = writes(host, &up(PRIMARY), view, &page);
    if let Some(problem) = problems.last_mut().filter(|_| up(PRIMARY).is_empty())
        && let Some(leader) = view.leader()
    {
        let rest = authority(&address(&leader.host), inventory.patroni.rest_port);
        let trust = if inventory.tls.enabled { " --cacert /etc/haproxy/tls/ca.pem" } else { "" };
        problem.help =
            format!("see whether {host} reaches Patroni: `ssh {host} curl -i{trust} {scheme}://{rest}/primary`");
    }
    let held = servers.iter().filter(|server| server.is_held_back());
    problems.extend(held.map(|server| {
        let text = format!(
            "HAProxy on {host} sends no clients to {} ({}): it was told so ({})",
            server.name, server.section, server.status
        );
        warning(text, apply(inventory))
    }));
    let reads = |m: &&Member| m.follows() && view.streams(m) && maintenance::of_member(m).is_none();
    let streaming = view.members.iter().filter(reads).count();
    if streaming > 0 && up(REPLICAS).is_empty() {
        let text = format!("HAProxy on {host} has no server for reads, although {} streaming", are(streaming));
        problems.push(warning(text, page));
    }
    problems
}

fn are(replicas: usize) -> String {
    if replicas == 1 { "1 replica is".to_owned() } else { format!("{replicas} replicas are") }
}

/// Where writes go against where they should go.
fn writes(host: &HostName, primary: &[&str], view: &ClusterView, page: &str) -> Vec<Problem> {
    let to = primary.join(", ");
    let text = match view.leader() {
        // It is right, and the leader is the problem.
        Some(leader) if primary.is_empty() && matches!(leader.patroni, Answer::Down(_)) => return Vec::new(),
        None if primary.is_empty() || !view.members_known() => return Vec::new(),
        Some(leader) if primary == [leader.host.as_str()] => return Vec::new(),
        Some(leader) if primary.is_empty() => {
            format!("HAProxy on {host} has no server for writes, although {} is leader", leader.host)
        }
        Some(leader) => format!("HAProxy on {host} sends writes to {to}, and the leader is {}", leader.host),
        None => format!("HAProxy on {host} sends writes to {to}, and there is no leader"),
    };
    vec![critical(text, page)]
}
