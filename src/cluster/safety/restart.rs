//! May a member go down now, and whose turn is it? Asked again right before each restart, from a fresh view.

use super::super::answer::Answer;
use super::super::etcd;
use super::super::patroni::Lag;
use super::super::view::{ClusterView, Member};
use super::{may_lose, membership, waits_for_etcd};
use crate::inventory::{Component, Inventory, Scalar};
use crate::names::HostName;

/// A replica this close to its leader has nothing left to catch up with.
const CLOSE_BYTES: u64 = 1 << 20;
/// The members are not asked at the same moment, and Patroni keeps writing meanwhile.
const CLOSE_ENTRIES: u64 = 100;

/// Why no member may go down now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The member it is about, if it is about one.
    pub host: Option<HostName>,
    pub kind: Kind,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes away by itself: a replica that catches up, an election.
    Passing,
    /// It is not there: it is down, or it has only just been started and is about to be.
    Silent,
    /// Somebody has to do something about it.
    Lasting,
}

fn passing(host: &HostName, text: String) -> Obstacle {
    Obstacle { host: Some(host.clone()), kind: Kind::Passing, text }
}

fn silent(host: &HostName, text: String) -> Obstacle {
    Obstacle { host: Some(host.clone()), kind: Kind::Silent, text }
}

fn lasting(host: &HostName, text: String) -> Obstacle {
    Obstacle { host: Some(host.clone()), kind: Kind::Lasting, text }
}

/// Which of those that are due comes next: what is broken already first, etcd's leader last, since its restart costs an
/// election.
pub fn etcd_turn(view: &ClusterView, due: &[HostName]) -> Option<HostName> {
    let member =
        |host: &HostName| view.etcd.iter().find(|seen| &seen.host == host).and_then(|seen| seen.answer.known());
    let rank = |host: &&HostName| match member(host) {
        Some(member) if member.is_leader() => 2,
        Some(member) if member.healthy => 1,
        _ => 0,
    };
    due.iter().min_by_key(rank).cloned()
}

/// What speaks against restarting `restarted`: every other voter has to be healthy, caught up, and of one mind about the
/// leader. Without a member to restart: what speaks against calling all of etcd well.
pub fn etcd_obstacles(view: &ClusterView, inventory: &Inventory, restarted: Option<&HostName>) -> Vec<Obstacle> {
    let known: Vec<&etcd::Member> = view.etcd.iter().filter_map(|seen| seen.answer.known()).collect();
    let Some(newest) = known.iter().max_by_key(|member| member.raft_index) else {
        return vec![Obstacle { host: None, kind: Kind::Silent, text: "no etcd member answers".to_owned() }];
    };
    let mut obstacles = Vec::new();
    let others = view.etcd.iter().filter(|seen| Some(&seen.host) != restarted);
    for seen in others {
        match &seen.answer {
            Answer::Known(member) => obstacles.extend(etcd_obstacle(&seen.host, member, newest)),
            Answer::Down(reason) | Answer::Unknown(reason) => obstacles.push(silent(&seen.host, reason.clone())),
        }
    }
    let (voters, ours) =
        (newest.membership.iter().filter(|listed| !listed.learner).count(), inventory.with(Component::Etcd).count());
    if voters > ours {
        let text = format!("etcd has {voters} voting members and the inventory {ours}: the others could not be asked");
        obstacles.push(Obstacle { host: None, kind: Kind::Lasting, text });
    }
    obstacles
}

fn etcd_obstacle(host: &HostName, member: &etcd::Member, newest: &etcd::Member) -> Option<Obstacle> {
    if member.cluster_id != newest.cluster_id {
        return Some(lasting(host, format!("etcd on {host} is in another cluster ({})", member.cluster_id)));
    }
    if member.leader.is_none() {
        return Some(silent(host, format!("etcd on {host} has no leader")));
    }
    if !member.alarms.is_empty() {
        let text = format!("etcd on {host} complains: {}", member.alarms.join(", "));
        // Besides alarms (NOSPACE, CORRUPT), which stay until somebody ends them, it says so when it has no leader.
        let raised = member.alarms.iter().any(|complaint| complaint.contains("alarm:"));
        return Some(if raised { lasting(host, text) } else { silent(host, text) });
    }
    if !member.healthy {
        return Some(silent(host, format!("etcd on {host} says it is not healthy")));
    }
    if member.leader != newest.leader {
        return Some(passing(host, format!("etcd on {host} does not follow the leader yet")));
    }
    let behind = newest.raft_index.saturating_sub(member.raft_index);
    (behind > CLOSE_ENTRIES).then(|| passing(host, format!("etcd on {host} is {behind} entries behind")))
}

/// Which of those that are due comes next: the leader last, so that it is restarted as a replica of one that was
/// restarted before.
pub fn postgres_turn(view: &ClusterView, due: &[HostName]) -> Option<HostName> {
    due.iter().min_by_key(|host| view.leader().is_some_and(|leader| &leader.host == *host)).cloned()
}

/// What speaks against restarting any PostgreSQL member: there has to be one leader, and every other member has to stream
/// from it with next to no lag. That includes the one to be restarted: it may be in the middle of a rewind or a copy.
pub fn postgres_obstacles(view: &ClusterView, inventory: &Inventory) -> Vec<Obstacle> {
    let obstacles = leader_obstacles(view);
    if !obstacles.is_empty() {
        return obstacles;
    }
    let members = view.members.iter().filter(|member| inventory.host(&member.host).is_some());
    members.filter_map(|member| member_obstacle(view, member).or_else(|| late(view, inventory, member))).collect()
}

/// What speaks against any hand-over: without a leader that runs, and an etcd that can decide, nobody can take over.
pub fn leader_obstacles(view: &ClusterView) -> Vec<Obstacle> {
    let whole = |kind, text: &str| vec![Obstacle { host: None, kind, text: text.to_owned() }];
    match view.paused.known() {
        None => return whole(Kind::Silent, "no Patroni answers"),
        Some(true) => {
            return whole(Kind::Lasting, "the cluster is in maintenance mode: end it with `xnat-provision resume`");
        }
        Some(false) => {}
    }
    // Without it nobody could take over, and whoever goes down could not come back as leader.
    let (voters, healthy) = (membership::voters(view), membership::working(view));
    if may_lose(voters, healthy).is_none() {
        return whole(Kind::Silent, &format!("etcd has no quorum: {healthy} of {voters} members are healthy"));
    }
    let Some(leader) = view.leader() else { return whole(Kind::Passing, "there is no leader") };
    let state = leader.listed.as_ref().map_or("unknown", |listed| listed.state.as_str());
    if state != "running" {
        return vec![passing(&leader.host, format!("{} has the leader lock and is {state}", leader.host))];
    }
    Vec::new()
}

fn member_obstacle(view: &ClusterView, member: &Member) -> Option<Obstacle> {
    let host = &member.host;
    if let Answer::Down(reason) | Answer::Unknown(reason) = &member.patroni {
        return Some(silent(host, format!("Patroni on {host}: {reason}")));
    }
    let server = match &member.server {
        Answer::Known(server) => server,
        Answer::Down(reason) => return Some(passing(host, format!("PostgreSQL on {host}: {reason}"))),
        Answer::Unknown(reason) => return Some(silent(host, format!("PostgreSQL on {host}: {reason}"))),
    };
    if member.leads() {
        return server.in_recovery.then(|| passing(host, format!("{host} has the leader lock and does not lead yet")));
    }
    if member.listed.is_none() {
        // Its entry in etcd ends when it has not been there for a while, and comes again with its next round.
        return Some(silent(host, format!("{host} is not a member of the cluster")));
    }
    if !server.in_recovery {
        return Some(passing(host, format!("{host} takes writes without the leader lock")));
    }
    // Its own word: what is in etcd may be from before its restart.
    if server.receiver.as_deref() != Some("streaming") {
        return Some(passing(host, format!("{host} does not stream yet")));
    }
    match view.lag(member) {
        Some(Lag::Bytes(bytes)) if bytes <= CLOSE_BYTES => None,
        Some(Lag::Bytes(bytes)) => Some(passing(host, format!("{host} is {bytes} bytes behind"))),
        Some(Lag::Unknown) | None => Some(passing(host, format!("how far {host} is behind is not known yet"))),
    }
}

/// The lock would be nobody's for as long as it waits: for etcd, or for the end of failsafe mode, which it remembers for a
/// ttl after etcd is back (a hand-over in that time took 22 s in a drill).
fn late(view: &ClusterView, inventory: &Inventory, member: &Member) -> Option<Obstacle> {
    if member.patroni.known().is_some_and(|about| about.failsafe_mode_is_active) {
        let ttl = inventory.patroni.ttl;
        let text = format!(
            "{} still takes the old leader for one in failsafe mode, for {ttl} s after etcd is back at most",
            member.host
        );
        return Some(passing(&member.host, text));
    }
    let seconds = waits_for_etcd(view, inventory, member)?;
    Some(passing(&member.host, format!("Patroni on {} has not heard from etcd for {seconds} s", member.host)))
}

const NOBODY: &str = "no replica may take over from the leader: see the tags nofailover and failover_priority";

/// Who takes over from the leader: a synchronous standby where there is one, otherwise the one least behind; never one
/// that is not to lead.
pub fn successor(view: &ClusterView, inventory: &Inventory) -> Result<HostName, String> {
    let replicas = || view.members.iter().filter(|member| member.follows() && inventory.host(&member.host).is_some());
    let must_be_synchronous = replicas().any(synchronous);
    let fit = replicas().filter(|member| !must_be_synchronous || synchronous(member));
    let ready = |member: &Member| view.streams(member) && late(view, inventory, member).is_none();
    let fit = fit.filter(|member| may_lead(inventory, member) && ready(member));
    let behind = |member: &&Member| match view.lag(member) {
        Some(Lag::Bytes(bytes)) => bytes,
        Some(Lag::Unknown) | None => u64::MAX,
    };
    let best = fit.min_by_key(behind).map(|member| member.host.clone());
    let why = || {
        let late =
            replicas().find_map(|member| late(view, inventory, member)).map(|obstacle| format!(": {}", obstacle.text));
        format!("no replica is ready to take over{}", late.unwrap_or_default())
    };
    best.ok_or_else(|| no_successor(view, inventory).unwrap_or_else(why))
}

/// Whether it could take over if the leader were lost.
pub fn may_take_over(view: &ClusterView, inventory: &Inventory, member: &Member) -> bool {
    member.in_inventory && member.follows() && may_lead(inventory, member) && view.streams(member)
}

/// Who takes over when a person asks for it: the one they name, if it can without losing anything.
pub fn candidate(view: &ClusterView, inventory: &Inventory, named: Option<&HostName>) -> Result<HostName, String> {
    let Some(named) = named else { return successor(view, inventory) };
    let member = view.members.iter().find(|member| &member.host == named && member.in_inventory);
    let member = member.ok_or_else(|| format!("{named} is no PostgreSQL host of the inventory"))?;
    if member.leads() {
        return Err(format!("{named} leads already"));
    }
    if !may_lead(inventory, member) {
        return Err(format!("{named} is not to lead: see its tags nofailover and failover_priority"));
    }
    if !member.follows() || !view.streams(member) {
        return Err(format!("{named} does not stream from the leader"));
    }
    if let Some(obstacle) = late(view, inventory, member) {
        return Err(obstacle.text);
    }
    if !synchronous(member) && view.members.iter().any(synchronous) {
        return Err(format!("{named} is no synchronous standby, and another one is: it has all that was committed"));
    }
    match view.lag(member) {
        Some(Lag::Bytes(bytes)) if bytes <= CLOSE_BYTES => Ok(named.clone()),
        Some(Lag::Bytes(bytes)) => Err(format!("{named} is {bytes} bytes behind")),
        Some(Lag::Unknown) | None => Err(format!("how far {named} is behind is not known")),
    }
}

/// Whether nobody will ever take over, whatever happens meanwhile: the reason, or None.
pub fn no_successor(view: &ClusterView, inventory: &Inventory) -> Option<String> {
    let follows = |member: &&Member| member.in_inventory && !member.leads();
    let fit = view.members.iter().filter(follows).any(|member| may_lead(inventory, member));
    (!fit).then(|| NOBODY.to_owned())
}

pub(super) fn synchronous(member: &Member) -> bool {
    member.listed.as_ref().is_some_and(|listed| listed.role.synchronous())
}

/// By what Patroni was told and by what the inventory says: what was not applied yet counts too.
pub(super) fn may_lead(inventory: &Inventory, member: &Member) -> bool {
    let tags = inventory.host(&member.host).map(|host| &host.tags);
    let wanted = |name, value| tags.is_none_or(|tags| tags.get(name) != Some(&value));
    let listed = member.listed.as_ref().map(|listed| &listed.tags);
    let told = |name, value: serde_json::Value| listed.is_none_or(|tags| tags.get(name) != Some(&value));
    wanted("nofailover", Scalar::Bool(true))
        && wanted("failover_priority", Scalar::Integer(0))
        && told("nofailover", true.into())
        && told("failover_priority", 0.into())
}
