//! Rules about HAProxy: does it agree with Patroni?

use super::{critical, log, warning};
use crate::cluster::answer::Answer;
use crate::cluster::assess::Problem;
use crate::cluster::haproxy::{PRIMARY, REPLICAS, Server};
use crate::cluster::view::ClusterView;
use crate::inventory::{Component, Inventory};
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
    let (primary, replicas) = (up(PRIMARY), up(REPLICAS));
    let mut problems = Vec::new();
    let page = format!(
        "see its page: http://{}:{}/",
        inventory.host(host).map_or(host.as_str(), |h| &h.address),
        inventory.haproxy.stats_port
    );
    match view.leader().map(|m| m.host.as_str()) {
        None if primary.is_empty() => {}
        None => problems.extend(view.members_known().then(|| {
            critical(
                format!("HAProxy on {host} sends writes to {}, and there is no leader", primary.join(", ")),
                page.clone(),
            )
        })),
        Some(leader) if primary.is_empty() => problems.push(critical(
            format!("HAProxy on {host} has no server for writes, although {leader} is leader"),
            format!(
                "see whether {host} reaches Patroni: `ssh {host} curl -i http://{leader}:{}/primary`",
                inventory.patroni.rest_port
            ),
        )),
        Some(leader) if primary != [leader] => problems.push(critical(
            format!("HAProxy on {host} sends writes to {}, and the leader is {leader}", primary.join(", ")),
            page.clone(),
        )),
        Some(_) => {}
    }
    let streaming =
        view.members.iter().filter(|m| m.listed.as_ref().is_some_and(|l| !l.role.leads()) && view.streams(m)).count();
    let expected = inventory.with(Component::Postgres).count() > 1 && streaming > 0;
    if expected && replicas.is_empty() {
        problems.push(warning(format!("HAProxy on {host} has no server for reads, although {streaming} stream"), page));
    }
    problems
}
