//! Between the hosts: names that mean different machines, ports that cannot be reached.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Case;
use super::super::finding::Finding;
use super::{list, ours};
use crate::facts::Reach;
use crate::facts::reach::{self, Target};
use crate::names::HostName;

/// A name that is an address in the inventory must mean the same machine everywhere.
pub fn names(case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for host in &case.inventory.hosts {
        let resolved =
            |seen: &super::super::Seen| Some(seen.facts.examination.as_ref()?.resolved.get(&host.address)?.join(", "));
        let answers: Vec<(&HostName, String)> =
            case.seen.iter().filter_map(|(at, seen)| Some((at, resolved(seen)?))).collect();
        // What most of them say is probably right.
        let votes = |answer: &str| answers.iter().filter(|(_, other)| other == answer).count();
        let Some((_, usual)) = answers.iter().filter(|(_, a)| !a.is_empty()).max_by_key(|(_, answer)| votes(answer))
        else {
            found.extend(answers.first().map(|(at, _)| unknown_name(&host.address, at)));
            continue;
        };
        for (at, answer) in answers.iter().filter(|(_, answer)| answer != usual) {
            let meant = if answer.is_empty() { "nothing" } else { answer };
            let finding = Finding::critical(
                "name-resolution",
                format!("{} means {meant} on {at}, and {usual} elsewhere", host.address),
            )
            .on([*at])
            .because(format!("probably a wrong line in /etc/hosts of {at}, or another name server"))
            .seen(at, format!("getent ahostsv4 {}: {meant}", host.address))
            .run_on(at, "see where it comes from", &format!("grep -n {} /etc/hosts", host.address))
            .run("or do without names: write IP addresses into the inventory, then", ours("apply", case.inventory));
            found.push(finding);
        }
    }
    found
}

fn unknown_name(name: &str, at: &HostName) -> Finding {
    Finding::critical("name-resolution", format!("no host knows what {name} means"))
        .on([at])
        .because("the inventory calls a host by a name that is neither in DNS nor in /etc/hosts")
        .seen(at, format!("getent ahostsv4 {name}: nothing"))
        .advise("put it into DNS or into /etc/hosts of all hosts, or write IP addresses into the inventory")
}

/// A port that could not be reached, from where, and what came of it.
struct Closed<'a> {
    from: &'a HostName,
    target: Target,
    verdict: &'static str,
}

pub fn ports(case: &Case<'_>) -> Vec<Finding> {
    let (closed, cut_off) = (closed(case), cut_off(case));
    let mut found: Vec<Finding> = cut_off.iter().map(|host| apart(case, host, &closed)).collect();
    let mut by_target: BTreeMap<HostName, Vec<Closed<'_>>> = BTreeMap::new();
    for one in closed {
        if !cut_off.contains(one.from) && !cut_off.contains(&one.target.host) {
            by_target.entry(one.target.host.clone()).or_default().push(one);
        }
    }
    found.extend(by_target.iter().map(|(host, closed)| blocked(case, host, closed)));
    found
}

fn reached<'a>(case: &'a Case<'_>) -> impl Iterator<Item = (&'a HostName, Target, &'a Reach)> {
    case.seen.iter().flat_map(|(from, seen)| {
        let examined = case.host(from).zip(seen.facts.examination.as_ref());
        let targets = examined.map(|(host, examined)| (reach::targets(case.inventory, host), examined));
        targets.into_iter().flat_map(move |(targets, examined)| {
            let answer = move |target: Target| {
                Some((from, examined.reached.get(&target.key())?)).map(|(from, reach)| (from, target, reach))
            };
            targets.into_iter().filter_map(answer)
        })
    })
}

/// A host that is away itself says enough, and a port that is refused is one where nobody listens.
fn closed<'a>(case: &'a Case<'_>) -> Vec<Closed<'a>> {
    let closed = |(from, target, reach): (&'a HostName, Target, &Reach)| {
        let verdict = match reach {
            Reach::Silent => "no answer within 2 s",
            Reach::NoRoute => "no route to it",
            Reach::Forbidden => "forbidden by a packet filter of this host",
            Reach::Failed(_) => "it fails",
            Reach::Open | Reach::Refused | Reach::Unresolved => return None,
        };
        (!case.view.unreachable.contains_key(&target.host)).then_some(Closed { from, target, verdict })
    };
    reached(case).filter_map(closed).collect()
}

/// Hosts that reach nothing of any other one. Where there are only two, it may be either.
fn cut_off(case: &Case<'_>) -> BTreeSet<HostName> {
    let mut ways: BTreeMap<&HostName, BTreeMap<HostName, bool>> = BTreeMap::new();
    for (from, target, reach) in
        reached(case).filter(|(_, target, _)| !case.view.unreachable.contains_key(&target.host))
    {
        *ways.entry(from).or_default().entry(target.host).or_default() |= matches!(reach, Reach::Open | Reach::Refused);
    }
    let alone = ways.iter().filter(|(_, others)| others.len() > 1 && others.values().all(|open| !open));
    alone.map(|(host, _)| (*host).clone()).collect()
}

fn apart(case: &Case<'_>, host: &HostName, closed: &[Closed<'_>]) -> Finding {
    let lines = closed.iter().filter(|one| one.from == host);
    let mut finding = Finding::critical("host-cut-off", format!("{host} reaches none of the other hosts"))
        .on([host])
        .because("probably its network or a packet filter on it: it answers this machine, and nobody else");
    for one in lines.take(3) {
        finding = finding.seen(host, line(one));
    }
    mend(case, finding, host, host)
}

fn blocked(case: &Case<'_>, to: &HostName, closed: &[Closed<'_>]) -> Finding {
    let froms: BTreeSet<&HostName> = closed.iter().map(|one| one.from).collect();
    let services: BTreeSet<&str> = closed.iter().map(|one| one.target.service).collect();
    let rest = services.iter().all(|service| *service == "Patroni");
    let id = if rest { "rest-unreachable" } else { "ports-blocked" };
    let what = format!(
        "{} cannot reach {} of {to}",
        list(froms.iter().copied()),
        services.into_iter().collect::<Vec<_>>().join(", ")
    );
    let finding = if case.leads(to) { Finding::critical(id, what) } else { Finding::warning(id, what) };
    let cause = match closed.iter().all(|one| one.verdict.starts_with("forbidden")) {
        true => "a packet filter of the host that asks forbids it",
        false => "probably a packet filter between them drops it: the host itself can be reached",
    };
    let mut finding = finding.on([to]).on(froms.iter().copied()).because(cause);
    for one in closed {
        finding = finding.seen(one.from, line(one));
    }
    match froms.first() {
        Some(from) => mend(case, finding, from, to),
        None => finding,
    }
}

fn line(one: &Closed<'_>) -> String {
    let Target { host, service, .. } = &one.target;
    format!("{} ({service} of {host}): {}", one.target.key(), one.verdict)
}

fn mend(case: &Case<'_>, finding: Finding, from: &HostName, to: &HostName) -> Finding {
    let finding = finding.run_on(to, "see what filters there are", "nft list ruleset");
    let finding = if from == to { finding } else { finding.run_on(from, "and there", "nft list ruleset") };
    match case.inventory.firewall.enabled {
        true => finding.run("put back the rules of the inventory", ours("apply", case.inventory)),
        false => finding,
    }
}
