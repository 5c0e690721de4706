//! Two services cannot listen on one port of one host.

use std::collections::BTreeMap;

use super::super::model::{Component, Inventory};
use super::super::problem::Problem;
use super::{Context, listed};

/// A port some service of ours wants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    port: u16,
    who: &'static str,
    /// Where it is set.
    key: &'static str,
    component: Component,
}

fn claims(inventory: &Inventory) -> [Claim; 7] {
    let claim = |component, who, key, port| Claim { port, who, key, component };
    let (etcd, postgresql, haproxy) = (&inventory.etcd, &inventory.postgresql, &inventory.haproxy);
    [
        claim(Component::Postgres, "PostgreSQL", "postgresql.port", postgresql.port),
        claim(Component::Postgres, "Patroni's REST API", "patroni.rest_port", inventory.patroni.rest_port),
        claim(Component::Etcd, "etcd's client port", "etcd.client_port", etcd.client_port),
        claim(Component::Etcd, "etcd's peer port", "etcd.peer_port", etcd.peer_port),
        claim(Component::Haproxy, "HAProxy's primary port", "haproxy.primary_port", haproxy.primary_port),
        claim(Component::Haproxy, "HAProxy's replica port", "haproxy.replica_port", haproxy.replica_port),
        claim(Component::Haproxy, "HAProxy's statistics", "haproxy.stats_port", haproxy.stats_port),
    ]
}

pub(super) fn clashes(context: &Context<'_>) -> Vec<Problem> {
    let mut clashes: BTreeMap<(Claim, Claim), Vec<usize>> = BTreeMap::new();
    // A port that was out of range has been replaced by its default: nothing follows from that.
    let claims: Vec<Claim> =
        claims(context.inventory).into_iter().filter(|claim| context.places.is_whole(claim.key)).collect();
    for (index, host) in context.inventory.hosts.iter().enumerate() {
        let here: Vec<Claim> =
            claims.iter().copied().filter(|claim| host.components.contains(&claim.component)).collect();
        for (nth, first) in here.iter().enumerate() {
            for second in here[nth + 1..].iter().filter(|second| second.port == first.port) {
                clashes.entry((*first, *second)).or_default().push(index);
            }
        }
    }
    clashes.into_iter().map(|((first, second), hosts)| clash(context, first, second, &hosts)).collect()
}

fn clash(context: &Context<'_>, first: Claim, second: Claim, hosts: &[usize]) -> Problem {
    let names: Vec<String> = hosts.iter().map(|index| context.raw.host[*index].name.clone()).collect();
    let message = format!("{} and {} both want port {} on {}", first.who, second.who, first.port, listed(&names));
    let mut problem = Problem::error("xnat::inventory::port_clash", message);
    for claim in [first, second].into_iter().filter(|claim| context.places.has(claim.key)) {
        problem = problem.at(context.places.value(claim.key), claim.who);
    }
    // Both are defaults: what can be shown is a host that has both.
    if problem.labels.is_empty() {
        problem = problem
            .at(hosts.first().and_then(|host| context.places.value(&format!("host[{host}].roles"))), "both are here");
    }
    problem.help(way_out(context.inventory, first, second))
}

/// Ports that are free everywhere in this inventory. The later claimant moves, as the entrance is easier to move than
/// the database; HAProxy's two data ports move together, so that they stay neighbours.
fn way_out(inventory: &Inventory, first: Claim, second: Claim) -> String {
    let taken: Vec<u16> = claims(inventory).iter().map(|claim| claim.port).collect();
    let free = |port: &u16| !taken.contains(port);
    if second.key == "haproxy.stats_port"
        || second.component != Component::Haproxy
        || first.component == Component::Haproxy
    {
        let (table, key) = second.key.split_once('.').unwrap_or_default();
        let port = (second.port.saturating_add(1)..u16::MAX).chain(1024..second.port).find(free).unwrap_or(1024);
        return format!("move one of them: [{table}] {key} = {port}");
    }
    // 5000 and 5001 are what Patroni's own examples use.
    let pair = (5000..u16::MAX).step_by(10).find(|port| free(port) && free(&(port + 1))).unwrap_or(5000);
    format!(
        "give HAProxy two free ports: [haproxy] primary_port = {pair}, replica_port = {}; or give it hosts of its own",
        pair + 1
    )
}

pub(super) fn privileged(context: &Context<'_>) -> Vec<Problem> {
    // HAProxy binds its ports before it gives up root; the others never are root.
    let claims = claims(context.inventory).into_iter();
    let low = claims
        .filter(|claim| claim.component != Component::Haproxy && claim.port < 1024 && context.places.has(claim.key));
    low.map(|claim| {
        let message = format!("{} cannot be {}: ports below 1024 are for root", claim.key, claim.port);
        let problem = Problem::error("xnat::inventory::privileged_port", message);
        problem.at(context.places.value(claim.key), "").help(format!("use its usual port: leave `{}` out", claim.key))
    })
    .collect()
}
