//! What happened between two looks at a cluster, in the words of the field. Pure: two views in, sentences out. One
//! function per subject. What could not be asked in one of them is no change of what was asked about.

mod member;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::answer::{Answer, Seen};
use super::etcd;
use super::grid::{Mood, targets};
use super::haproxy::PRIMARY;
use super::view::ClusterView;
use crate::names::HostName;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub mood: Mood,
    pub text: String,
}

fn good(text: impl Into<String>) -> Change {
    Change { mood: Mood::Good, text: text.into() }
}
fn odd(text: impl Into<String>) -> Change {
    Change { mood: Mood::Odd, text: text.into() }
}
fn bad(text: impl Into<String>) -> Change {
    Change { mood: Mood::Bad, text: text.into() }
}

type Subject = fn(&ClusterView, &ClusterView) -> Vec<Change>;

const SUBJECTS: [Subject; 7] =
    [hosts, maintenance, member::leader, member::members, etcd_leader, etcd_members, balancers];

/// From the foundations upwards, as the rules of `assess`.
#[must_use]
pub fn changes(before: &ClusterView, after: &ClusterView) -> Vec<Change> {
    SUBJECTS.iter().flat_map(|subject| subject(before, after)).collect()
}

fn hosts(before: &ClusterView, after: &ClusterView) -> Vec<Change> {
    let lost = after.unreachable.iter().filter(|(host, _)| !before.unreachable.contains_key(*host));
    let back = before.unreachable.keys().filter(|host| !after.unreachable.contains_key(*host));
    let lost = lost.map(|(host, why)| bad(format!("{host} cannot be reached: {why}")));
    lost.chain(back.map(|host| good(format!("{host} is reached again")))).collect()
}

fn maintenance(before: &ClusterView, after: &ClusterView) -> Vec<Change> {
    match (before.paused.known(), after.paused.known()) {
        (Some(false), Some(true)) => vec![odd("maintenance mode began: nothing fails over")],
        (Some(true), Some(false)) => vec![good("maintenance mode ended")],
        _ => Vec::new(),
    }
}

/// A service of a host that stopped or began to serve.
fn service<T>(name: &str, host: &HostName, (before, after): (&Answer<T>, &Answer<T>)) -> Option<Change> {
    match (before, after) {
        (Answer::Down(_), Answer::Known(_)) => Some(good(format!("{name} on {host} is up"))),
        (Answer::Known(_) | Answer::Unknown(_), Answer::Down(why)) => {
            Some(bad(format!("{name} on {host} is down: {why}")))
        }
        _ => None,
    }
}

/// What both looks saw, by host.
fn pairs<'a, T>(before: &'a [Seen<T>], after: &'a [Seen<T>]) -> Vec<(&'a HostName, &'a Answer<T>, &'a Answer<T>)> {
    let before: BTreeMap<_, _> = before.iter().map(|seen| (&seen.host, &seen.answer)).collect();
    after.iter().filter_map(|seen| Some((&seen.host, *before.get(&seen.host)?, &seen.answer))).collect()
}

fn etcd_leader(before: &ClusterView, after: &ClusterView) -> Vec<Change> {
    let known = |view: &ClusterView| view.etcd.iter().any(|seen| seen.answer.known().is_some());
    let leader = |view: &ClusterView| {
        let seen = view.etcd.iter().filter_map(|seen| Some((seen.host.clone(), seen.answer.known()?)));
        // one that was cut off may still believe in its old term
        seen.filter(|(_, member)| member.is_leader()).map(|(host, member)| (member.raft_term, host)).max()
    };
    match (leader(before), leader(after)) {
        _ if !(known(before) && known(after)) => Vec::new(),
        (was, Some((term, host))) if was.as_ref().is_none_or(|(_, was)| *was != host) => {
            vec![good(format!("{host} leads etcd (term {term})"))]
        }
        (Some((_, was)), None) => vec![bad(format!("{was} does not lead etcd any more, and nobody does"))],
        _ => Vec::new(),
    }
}

fn etcd_members(before: &ClusterView, after: &ClusterView) -> Vec<Change> {
    let mut changes = Vec::new();
    for (host, was, is) in pairs(&before.etcd, &after.etcd) {
        changes.extend(service("etcd", host, (was, is)));
        if let (Some(was), Some(is)) = (was.known(), is.known()) {
            changes.extend(etcd_member(host, was, is));
        }
    }
    changes
}

fn etcd_member(host: &HostName, was: &etcd::Member, is: &etcd::Member) -> Vec<Change> {
    let mut changes = Vec::new();
    match (was.healthy, is.healthy) {
        (true, false) => changes.push(bad(format!("etcd on {host} is not healthy"))),
        (false, true) => changes.push(good(format!("etcd on {host} is healthy again"))),
        _ => {}
    }
    if was.learner && !is.learner {
        changes.push(good(format!("etcd on {host} votes now")));
    }
    let raised = is.alarms.iter().filter(|alarm| !was.alarms.contains(alarm));
    changes.extend(raised.map(|alarm| bad(format!("etcd on {host} complains: {alarm}"))));
    let ended = was.alarms.iter().filter(|alarm| !is.alarms.contains(alarm));
    changes.extend(ended.map(|alarm| good(format!("etcd on {host} does not complain any more: {alarm}"))));
    changes
}

fn balancers(before: &ClusterView, after: &ClusterView) -> Vec<Change> {
    let mut changes = Vec::new();
    for (host, was, is) in pairs(&before.haproxy, &after.haproxy) {
        changes.extend(service("HAProxy", host, (was, is)));
        let writes = |answer: &Answer<Vec<_>>| answer.known().map(|servers| targets(servers, PRIMARY));
        match (writes(was), writes(is)) {
            (Some(was), Some(is)) if was != is && is.is_empty() => {
                changes.push(bad(format!("HAProxy on {host} sends writes nowhere")));
            }
            (Some(was), Some(is)) if was != is => changes.push(good(format!("HAProxy on {host} sends writes to {is}"))),
            _ => {}
        }
    }
    changes
}
