//! Who joins a running etcd, and how far each has come: read off the membership, so that a run that was cut off goes on.

use super::super::etcd::{Listed, Member};
use super::super::http::authority;
use super::super::view::ClusterView;
use crate::inventory::{Component, Host, Inventory};
use crate::names::HostName;

/// A host of the inventory that is no voting member of the running etcd yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    pub host: HostName,
    pub progress: Progress,
    /// Everybody etcd will list when the member starts: one that starts with another list is refused.
    pub initial_cluster: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The others do not know it.
    New,
    /// The others expect it, and it has not come up.
    Added,
    /// It runs and does not vote.
    Learner,
}

/// The membership as the member knows it that is furthest; nothing while none answers. A learner cannot tell.
pub fn listed(view: &ClusterView) -> &[Listed] {
    let known = view.etcd.iter().filter_map(|seen| seen.answer.known());
    let newest = known.filter(|member| !member.membership.is_empty()).max_by_key(|member: &&Member| member.raft_index);
    newest.map(|member| member.membership.as_slice()).unwrap_or_default()
}

/// How many members vote: by the membership, or while nobody can tell it as many as there should be.
pub fn voters(view: &ClusterView) -> usize {
    match listed(view).iter().filter(|one| !one.learner).count() {
        0 => view.etcd.len(),
        voters => voters,
    }
}

/// How many members vote and are well.
pub fn working(view: &ClusterView) -> usize {
    working_without(view, "")
}

/// The same without the member of that id.
pub fn working_without(view: &ClusterView, id: &str) -> usize {
    let works = |member: &Member| member.healthy && member.leader.is_some() && !member.learner && member.id != id;
    view.etcd.iter().filter(|seen| seen.answer.known().is_some_and(works)).count()
}

/// The line of a host, told by its peer address: a member that has never started has no name yet.
pub fn line<'a>(listed: &'a [Listed], inventory: &Inventory, host: &Host) -> Option<&'a Listed> {
    let authority = format!("://{}", authority(&host.address, inventory.etcd.peer_port));
    listed.iter().find(|one| one.peer_urls.iter().any(|url| url.ends_with(&authority)))
}

/// Those that join, in the order in which they do: whoever is on its way first, since etcd takes one learner at a time.
/// Nobody while no etcd answers.
pub fn joining(view: &ClusterView, inventory: &Inventory) -> Vec<Joining> {
    let listed = listed(view);
    if listed.is_empty() {
        return Vec::new();
    }
    let progress = |host: &Host| match line(listed, inventory, host) {
        None => Some(Progress::New),
        Some(line) if line.name.is_empty() => Some(Progress::Added),
        Some(line) => line.learner.then_some(Progress::Learner),
    };
    let mut hosts: Vec<(&Host, Progress)> =
        inventory.with(Component::Etcd).filter_map(|host| Some((host, progress(host)?))).collect();
    hosts.sort_by_key(|(_, progress)| *progress == Progress::New);
    let mut members = listed.to_vec();
    let join = |(host, progress): (&Host, Progress)| {
        if progress == Progress::New {
            members.push(expected(inventory, host));
        }
        Joining { host: host.name.clone(), progress, initial_cluster: initial_cluster(&members, inventory) }
    };
    hosts.into_iter().map(join).collect()
}

/// Where the others will reach a new member.
pub fn peer_url(inventory: &Inventory, host: &Host) -> String {
    format!("{}://{}", inventory.scheme(), authority(&host.address, inventory.etcd.peer_port))
}

/// A member as etcd will list it.
fn expected(inventory: &Inventory, host: &Host) -> Listed {
    let (name, peer_urls) = (host.name.to_string(), vec![peer_url(inventory, host)]);
    Listed { id: String::new(), name, peer_urls, learner: true, started: false }
}

/// As etcd's option has it, sorted so that two of the same members are the same text. etcd compares the addresses; a
/// member without a name only needs one.
pub fn initial_cluster(members: &[Listed], inventory: &Inventory) -> String {
    let etcd = || inventory.with(Component::Etcd);
    let mut all: Vec<String> = Vec::new();
    for member in members {
        let own = std::slice::from_ref(member);
        let host = etcd().find(|host| line(own, inventory, host).is_some());
        let name = match (member.name.as_str(), host) {
            ("", Some(host)) => host.name.as_str(),
            ("", None) => member.id.as_str(),
            (name, _) => name,
        };
        all.extend(member.peer_urls.iter().map(|url| format!("{name}={url}")));
    }
    all.sort();
    all.join(",")
}
