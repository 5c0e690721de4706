//! Restarting the members of etcd and of PostgreSQL in turn: what the plan says of it, and what stands against it before
//! anything is asked. `apply/rolling.rs` does it, and looks again before each host.

use super::cluster_plan;
use super::parameters::Restarts;
use super::stage::Stage;
use super::survey::Survey;
use crate::cluster::ClusterView;
use crate::cluster::postgres::Order;
use crate::cluster::safety::departure::{self, Departure};
use crate::cluster::safety::restart::{self, Kind, Obstacle};
use crate::inventory::{Component, Inventory};
use crate::names::HostName;
use crate::plan::{Plan, PlannedStage};
use crate::resource::Effect;

/// Nobody can write while the leader hands over: what was measured by clients on lab hosts, rounded up.
pub const HAND_OVER: u64 = 3;
/// … while a PostgreSQL with no other member is restarted, or the leader where it has to come first.
const RESTART: u64 = 5;
/// … while the HAProxy one is connected through is restarted.
const BALANCER: u64 = 2;

/// A step of what is done in turn, and for how many seconds nobody can write because of it.
struct Step {
    line: String,
    pause: u64,
}

fn goes_on(line: String) -> Step {
    Step { line, pause: 0 }
}

/// Say in the plan what is restarted, in which order, who notices, and for how long.
pub fn describe(
    plan: &mut Plan,
    (view, departures): (&ClusterView, &[Departure]),
    inventory: &Inventory,
    restarts: &Restarts,
) {
    for (stage, planned) in Stage::ALL.into_iter().zip(&mut plan.stages) {
        let due = due(planned);
        let steps = match stage {
            Stage::Etcd if !due.is_empty() => etcd(view, inventory, due),
            Stage::Postgres => postgres(view, inventory, (due, restarts)),
            Stage::Haproxy => balancers(planned),
            // Nobody knows when what a site's own role runs can be spared.
            _ => Vec::new(),
        };
        let hands_over = stage == Stage::Prepare && departures.iter().any(|one| one.leads);
        let first = if hands_over { HAND_OVER } else { 0 };
        planned.write_pause_seconds = steps.iter().map(|step| step.pause).fold(first, u64::max);
        planned.rolling = steps.into_iter().map(|step| step.line).collect();
    }
}

/// Hosts whose member has to be restarted.
pub fn due(planned: &PlannedStage) -> Vec<HostName> {
    planned.restarts().map(|(host, _)| host.clone()).collect()
}

/// Whether the plan restarts something on that host that is no member of a cluster.
pub fn goes_down(planned: &PlannedStage, host: &HostName) -> bool {
    planned.hosts.get(host).is_some_and(|changes| changes.iter().any(|change| change.effect == Effect::Restart))
}

fn balancers(planned: &PlannedStage) -> Vec<Step> {
    let down: Vec<HostName> = planned.hosts.keys().filter(|host| goes_down(planned, host)).cloned().collect();
    let line = format!(
        "restart HAProxy on {}, one at a time: clients that are connected through it are cut and have to connect again (about {BALANCER} s)",
        names(&down)
    );
    if down.is_empty() { Vec::new() } else { vec![Step { line, pause: BALANCER }] }
}

fn etcd(view: &ClusterView, inventory: &Inventory, due: Vec<HostName>) -> Vec<Step> {
    let order = names(&in_turn(due, |due| restart::etcd_turn(view, due)));
    vec![goes_on(match inventory.with(Component::Etcd).count() {
        1 => format!(
            "restart etcd on {order}: there is no other member, so nothing can fail over until it is back (some seconds)"
        ),
        2 => format!(
            "restart etcd on {order}, one at a time: two members cannot spare one, so nothing can fail over until it is back (some seconds each)"
        ),
        _ => format!("restart etcd on {order}, one at a time, each when the others are healthy: the database goes on"),
    })]
}

/// Nothing when it takes two runs: then the plan is refused.
fn postgres(view: &ClusterView, inventory: &Inventory, (mut units, restarts): (Vec<HostName>, &Restarts)) -> Vec<Step> {
    let parameters = restarts.hosts.clone();
    match restarts.order {
        _ if parameters.is_empty() => members(view, inventory, units),
        Order::Both => Vec::new(),
        Order::LeaderFirst => {
            let mut lines = members(view, inventory, units);
            lines.extend(leader_first(view, parameters));
            lines
        }
        Order::ReplicasFirst => {
            units.extend(parameters.into_iter().filter(|host| !units.contains(host)).collect::<Vec<_>>());
            members(view, inventory, units)
        }
    }
}

/// For a parameter that no replica may have lower than its leader.
fn leader_first(view: &ClusterView, due: Vec<HostName>) -> Vec<Step> {
    let leads = |host: &HostName| view.leader().is_some_and(|leader| &leader.host == host);
    let (leader, replicas): (Vec<HostName>, Vec<HostName>) = due.into_iter().partition(leads);
    let leader = leader.first().map(|leader| Step {
        line: format!(
            "restart PostgreSQL on the leader {leader} first, since a lower limit has to begin there: nobody can write until it is back (about {RESTART} s)"
        ),
        pause: RESTART,
    });
    leader.into_iter().chain(in_passing(&replicas)).collect()
}

/// Replicas first, and the leader as a replica of one of them.
fn members(view: &ClusterView, inventory: &Inventory, due: Vec<HostName>) -> Vec<Step> {
    let order = in_turn(due, |due| restart::postgres_turn(view, due));
    let leader = view.leader().map(|leader| &leader.host).filter(|leader| order.contains(leader));
    if let (Some(leader), 1) = (leader, inventory.with(Component::Postgres).count()) {
        let line = format!(
            "restart PostgreSQL on {leader}: there is no other member, so nobody can read or write until it is back (about {RESTART} s)"
        );
        return vec![Step { line, pause: RESTART }];
    }
    let replicas: Vec<HostName> = order.iter().filter(|host| Some(*host) != leader).cloned().collect();
    let handed_over = leader.map(|leader| Step {
        line: format!(
            "hand over from the leader {leader} to a replica, then restart {leader} as a replica: writes pause for the hand-over (about {HAND_OVER} s)"
        ),
        pause: HAND_OVER,
    });
    in_passing(&replicas).into_iter().chain(handed_over).collect()
}

fn in_passing(replicas: &[HostName]) -> Option<Step> {
    let line =
        format!("restart PostgreSQL on {}, one at a time, each when all others stream: writes go on", names(replicas));
    (!replicas.is_empty()).then(|| goes_on(line))
}

/// As they would come if nothing changed meanwhile.
fn in_turn(mut due: Vec<HostName>, next: impl Fn(&[HostName]) -> Option<HostName>) -> Vec<HostName> {
    let mut order = Vec::new();
    while let Some(host) = next(&due) {
        due.retain(|other| *other != host);
        order.push(host);
    }
    order
}

/// What keeps the plan from being safe, and does not go away while the run waits for its members' turn. What this plan
/// itself mends, by starting a member that is down, is none. With a newer view: whether a new survey may say otherwise.
pub fn obstacles(survey: &Survey, inventory: &Inventory, newer: Option<&ClusterView>) -> Vec<Obstacle> {
    let view = newer.unwrap_or(&survey.view);
    let mut found = Vec::new();
    let unjudged = survey.blind && !cluster_plan::shared_differences(inventory, &survey.view).is_empty();
    if unjudged && !newer.is_some_and(ClusterView::takes_writes) {
        found.push(Obstacle { host: None, kind: Kind::Silent, text: cluster_plan::UNJUDGED.to_owned() });
    }
    found.extend(departure_obstacles(survey, view, inventory));
    let stay = departure::without(view, &survey.departures);
    for (stage, planned) in Stage::ALL.into_iter().zip(&survey.plan.stages) {
        let due = due(planned);
        let obstacles = match stage {
            Stage::Postgres if due.is_empty() && survey.restarts.hosts.is_empty() => continue,
            Stage::Etcd if due.is_empty() && survey.joining.is_empty() => continue,
            _ if due.is_empty() && !matches!(stage, Stage::Etcd | Stage::Postgres) => continue,
            Stage::Etcd => restart::etcd_obstacles(&stay, inventory, restart::etcd_turn(view, &due).as_ref()),
            Stage::Postgres => postgres_obstacles(view, inventory, (&due, &survey.restarts)),
            _ => continue,
        };
        let joins = |host: &HostName| stage == Stage::Etcd && survey.joining.iter().any(|one| &one.host == host);
        let mended = |obstacle: &Obstacle| {
            let started = |host: &HostName| planned.hosts.contains_key(host) && !due.contains(host);
            obstacle.host.as_ref().is_some_and(|host| started(host) || joins(host))
        };
        let stays = |obstacle: &Obstacle| obstacle.kind != Kind::Passing && !mended(obstacle);
        found.extend(obstacles.into_iter().filter(stays));
    }
    found
}

/// What keeps hosts in the cluster that are to leave it, or are in no inventory.
fn departure_obstacles(survey: &Survey, view: &ClusterView, inventory: &Inventory) -> Vec<Obstacle> {
    let lasting = |host: &HostName, text| Obstacle { host: Some(host.clone()), kind: Kind::Lasting, text };
    let mut found = Vec::new();
    for host in survey.strangers.iter().filter(|host| inventory.known(host).is_none()) {
        found.push(lasting(
            host,
            format!("{host} runs as a member of the cluster and is not in the inventory: {STRANGER}"),
        ));
    }
    for host in survey.strangers.iter().filter(|host| inventory.known(host).is_some()) {
        found.push(lasting(host, format!("{host} is to leave, still runs as a member and cannot be logged in to")));
    }
    for one in &survey.departures {
        let needed = one.etcd.as_ref().and_then(|member| departure::needed(view, member));
        found.extend(needed.map(|text| lasting(&one.host, text)));
        if one.leads {
            let lasts = |obstacle: &Obstacle| obstacle.kind != Kind::Passing;
            found.extend(restart::postgres_obstacles(view, inventory).into_iter().filter(lasts));
            found.extend(restart::no_successor(view, inventory).map(|text| lasting(&one.host, text)));
        }
    }
    if survey.departures.iter().any(|one| one.reached && one.etcd.is_some()) {
        let text = |host| format!("{host} joins etcd, and another host leaves it: first apply the one, then the other");
        found.extend(survey.joining.iter().map(|one| lasting(&one.host, text(&one.host))));
    }
    found
}

/// How to go on with one that was taken out of the inventory too early, or never was in this copy of it.
pub const STRANGER: &str = "put its [[host]] back, with `leaving = true` if it is to go; when it has left, the entry can be deleted. If its machine is dead, Patroni forgets it within half a minute";

fn postgres_obstacles(
    view: &ClusterView,
    inventory: &Inventory,
    (units, restarts): (&[HostName], &Restarts),
) -> Vec<Obstacle> {
    let mut obstacles = restart::postgres_obstacles(view, inventory);
    let in_turn = restarts.order != Order::LeaderFirst;
    let hands_over = view
        .leader()
        .is_some_and(|leader| units.contains(&leader.host) || (in_turn && restarts.hosts.contains(&leader.host)));
    if hands_over && inventory.with(Component::Postgres).count() > 1 {
        let host = view.leader().map(|leader| leader.host.clone());
        let refusal = restart::no_successor(view, inventory);
        obstacles.extend(refusal.map(|text| Obstacle { host, kind: Kind::Lasting, text }));
    }
    obstacles
}

pub fn names(hosts: &[HostName]) -> String {
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}
