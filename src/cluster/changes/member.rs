//! PostgreSQL's members: who leads, who streams, what each says of itself.

use super::{Change, bad, good, odd, service};
use crate::cluster::patroni::Listed;
use crate::cluster::view::{ClusterView, Member};

pub fn leader(before: &ClusterView, after: &ClusterView) -> Vec<Change> {
    if !(before.members_known() && after.members_known()) {
        return Vec::new();
    }
    let timeline = |member: &Member| member.listed.as_ref().and_then(|listed| listed.timeline);
    match (before.leader(), after.leader()) {
        (was, Some(is)) if was.is_none_or(|was| was.host != is.host) => {
            let on = timeline(is).map(|timeline| format!(" (timeline {timeline})")).unwrap_or_default();
            vec![good(format!("{} became leader{on}", is.host))]
        }
        (Some(was), Some(is)) if timeline(was) < timeline(is) => {
            vec![odd(format!("{} is on timeline {}", is.host, timeline(is).unwrap_or_default()))]
        }
        (Some(was), None) => vec![bad(format!("{} is not leader any more, and nobody is", was.host))],
        _ => Vec::new(),
    }
}

pub fn members(before: &ClusterView, after: &ClusterView) -> Vec<Change> {
    let known = before.members_known() && after.members_known();
    let mut changes = Vec::new();
    for is in &after.members {
        let Some(was) = before.members.iter().find(|member| member.host == is.host) else { continue };
        changes.extend(service("Patroni", &is.host, (&was.patroni, &is.patroni)));
        changes.extend(service("PostgreSQL", &is.host, (&was.server, &is.server)));
        changes.extend(restarted(was, is));
        if known {
            changes.extend(membership((before, was), (after, is)));
        }
    }
    changes
}

fn restarted(was: &Member, is: &Member) -> Option<Change> {
    let started = |member: &Member| member.server.known().and_then(|server| server.started.clone());
    (started(was)? != started(is)?).then(|| odd(format!("PostgreSQL on {} was started anew", is.host)))
}

fn membership(was: (&ClusterView, &Member), is: (&ClusterView, &Member)) -> Vec<Change> {
    let host = &is.1.host;
    match (&was.1.listed, &is.1.listed) {
        (None, None) => Vec::new(),
        (None, Some(listed)) => vec![good(format!("{host} is a member ({})", listed.role))],
        (Some(_), None) => vec![bad(format!("{host} is no member any more"))],
        (Some(old), Some(new)) => {
            [streaming(was, is), waiting(old, new), tagged(old, new)].into_iter().flatten().collect()
        }
    }
}

/// A replica's way to the leader and back, or another state.
fn streaming(was: (&ClusterView, &Member), is: (&ClusterView, &Member)) -> Option<Change> {
    let host = &is.1.host;
    let streams = |(view, member): (&ClusterView, &Member)| member.follows() && view.streams(member);
    let state = |member: &Member| member.listed.as_ref().map(|listed| listed.state.clone()).unwrap_or_default();
    match (streams(was), streams(is)) {
        (false, true) => Some(good(format!("{host} streams"))),
        (true, false) if is.1.follows() => Some(bad(format!("{host} stopped streaming: {}", state(is.1)))),
        (false, false) if state(was.1) != state(is.1) => Some(odd(format!("{host} is {}", state(is.1)))),
        _ => None,
    }
}

fn waiting(was: &Listed, is: &Listed) -> Option<Change> {
    match (was.pending_restart, is.pending_restart) {
        (false, true) => Some(odd(format!("PostgreSQL on {} waits for a restart", is.name))),
        (true, false) => Some(good(format!("PostgreSQL on {} has no restart pending any more", is.name))),
        _ => None,
    }
}

fn tagged(was: &Listed, is: &Listed) -> Option<Change> {
    let told = |listed: &Listed| listed.tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
    (was.tags != is.tags).then(|| match told(is) {
        none if none.is_empty() => odd(format!("{} has no tags any more", is.name)),
        tags => odd(format!("{} has the tags {}", is.name, tags.join(", "))),
    })
}
