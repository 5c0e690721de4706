//! Rules about Patroni's members and their PostgreSQL.

use super::{apply, critical, leaves, log, names, notice, patronictl, warning};
use crate::cluster::answer::Answer;
use crate::cluster::assess::{Problem, Severity, size};
use crate::cluster::maintenance::{self, Note};
use crate::cluster::patroni::Lag;
use crate::cluster::postgres::altered::Altered;
use crate::cluster::safety;
use crate::cluster::view::{ClusterView, Member};
use crate::inventory::{Inventory, Size, Synchronous};
use crate::names::HostName;
use crate::quote;

pub fn leader(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let first = view.members.first().map(|m| &m.host);
    let list = || first.map_or_else(|| apply(inventory), |host| patronictl("list", host));
    if let Answer::Down(_) = view.paused {
        if let Some(leader) = goes_on_without_etcd(view) {
            return vec![critical(
                format!(
                    "{leader} takes writes in failsafe mode: nothing fails over, and it stops as soon as it does not reach all other members"
                ),
                "bring etcd back first, and leave PostgreSQL and Patroni alone until then",
            )];
        }
        return vec![critical(
            "no Patroni answers: nobody can say who is leader, and nothing fails over",
            format!("start them: `systemctl start patroni`; where nothing is installed yet, {}", apply(inventory)),
        )];
    }
    match view.leader().map(|leader| (leader, leader.listed.as_ref().map_or("unknown", |l| l.state.as_str()))) {
        Some((_, "running")) => Vec::new(),
        None if !view.members_known() => Vec::new(),
        Some((leader, state)) => vec![critical(
            format!("{} has the leader lock and its PostgreSQL is {state}", leader.host),
            log(&leader.host, "patroni"),
        )],
        None if never_initialised(view) => {
            vec![critical("there is no leader: the cluster has not been initialised yet", apply(inventory))]
        }
        None => {
            vec![critical("there is no leader: nobody can write", format!("see why nobody takes over: {}", list()))]
        }
    }
}

/// The member that leads without a lock, since all others let it: failsafe mode.
fn goes_on_without_etcd(view: &ClusterView) -> Option<&HostName> {
    let leads = |member: &&Member| {
        member.patroni.known().is_some_and(|about| about.failsafe_mode_is_active && about.role.leads())
    };
    view.members.iter().find(leads).map(|member| &member.host)
}

/// It is known that no member ever finished to create the cluster.
fn never_initialised(view: &ClusterView) -> bool {
    view.initialized.known().is_some_and(|key| !key.is_done())
}

/// The dangerous one: what each member says of itself, not what etcd says.
pub fn several_leaders(view: &ClusterView, _: &Inventory) -> Vec<Problem> {
    let claims = |m: &&Member| {
        let patroni = m.patroni.known().is_some_and(|a| a.role.leads() && a.state == "running");
        patroni || m.server.known().is_some_and(|s| !s.in_recovery)
    };
    let leaders: Vec<&HostName> = view.members.iter().filter(claims).map(|m| &m.host).collect();
    if leaders.len() < 2 {
        return Vec::new();
    }
    let keep = view.leader().map_or("none of them", |m| m.host.as_str());
    vec![critical(
        format!("more than one member takes writes: {}; {keep} has the leader lock", names(leaders)),
        "stop Patroni on those without the lock: `systemctl stop patroni`, and compare the data before starting it again",
    )]
}

pub fn missing_members(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    if !view.members_known() || (view.leader().is_none() && never_initialised(view)) {
        return Vec::new();
    }
    let missing = view
        .members
        .iter()
        .filter(|m| m.listed.is_none() && m.patroni.known().is_some())
        .map(|member| warning(format!("{} is not a member of the cluster", member.host), apply(inventory)));
    let strangers = view.members.iter().filter(|m| !m.in_inventory).map(|member| {
        if leaves(inventory, member.host.as_str()) {
            return warning(
                format!("{} is to leave, and is still a member of the cluster", member.host),
                apply(inventory),
            );
        }
        warning(
            format!("{} is a member of the cluster and not in the inventory", member.host),
            "put its [[host]] back, with `leaving = true` if it is to go; or stop its Patroni",
        )
    });
    missing.chain(strangers).collect()
}

/// Whoever waits for etcd while others hear from it cannot take the lock.
pub fn waits(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let tell = |member: &Member| {
        let seconds = safety::waits_for_etcd(view, inventory, member)?;
        let meaning = match (member.leads(), inventory.patroni.failsafe_mode) {
            (false, _) => "could not take over",
            (true, true) => "leads on only while every other member answers it",
            (true, false) => "will not lead for long",
        };
        let text = format!(
            "Patroni on {} has heard nothing from etcd for {seconds} s, and others have: it {meaning}",
            member.host
        );
        Some(warning(text, log(&member.host, "patroni")))
    };
    view.members.iter().filter_map(tell).collect()
}

pub fn silent_patroni(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let mut problems = Vec::new();
    for member in &view.members {
        let host = &member.host;
        match &member.patroni {
            Answer::Down(reason) if member.leads() => problems.push(critical(
                format!("Patroni on the leader {host} is down: {reason}"),
                format!(
                    "another member takes over when its lease ends, within {} s; {}",
                    inventory.patroni.ttl,
                    log(host, "patroni")
                ),
            )),
            Answer::Down(reason) => {
                problems.push(warning(format!("Patroni on {host} is down: {reason}"), log(host, "patroni")));
            }
            Answer::Known(_) | Answer::Unknown(_) => {}
        }
        // Patroni may think PostgreSQL runs while it takes no connection (patroni issue 1371).
        if let (Answer::Down(reason), Answer::Known(about)) = (&member.server, &member.patroni)
            && about.state == "running"
        {
            problems.push(critical(
                format!("Patroni on {host} says PostgreSQL runs, and it does not answer: {reason}"),
                format!("see whether it hangs: `ssh {host} ps -o stat,cmd -u postgres`"),
            ));
        }
    }
    problems
}

/// Only with a leader that works: without one, nobody can stream and the leader is the thing to look at.
pub fn replicas(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let leader = view.leader();
    if leader.is_none_or(|leader| matches!(leader.patroni, Answer::Down(_))) {
        return Vec::new();
    }
    // Patroni 3.0 says "running" of a replica that does not stream, and only the leader can tell: without it, no word.
    let leader_tells = leader.is_some_and(|leader| leader.patroni.known().is_some());
    let told = |m: &&Member| {
        leader_tells || m.server.known().is_some() || m.listed.as_ref().is_some_and(|l| l.state != "running")
    };
    let silent = view.members.iter().filter(|m| m.follows()).filter(told).filter(|m| !view.streams(m));
    silent
        .map(|member| {
            let state = member.listed.as_ref().map_or("unknown", |l| l.state.as_str());
            let mut help = log(&member.host, "patroni");
            // Never to be tried while the leader may be gone: this may be the copy that takes over.
            if leader_tells && matches!(state, "running" | "in archive recovery") {
                help.push_str(&format!("; rebuild it if it cannot catch up: {}", reinit(member, inventory)));
            }
            warning(format!("replica {} does not stream from the leader (its state is: {state})", member.host), help)
        })
        .collect()
}

fn reinit(member: &Member, inventory: &Inventory) -> String {
    format!("`xnat-provision reinit {} {}`", member.host, quote::path(&inventory.path))
}

pub fn lag(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let Some(Size(limit)) = Size::parse(&inventory.haproxy.replica_max_lag) else { return Vec::new() };
    let behind = |member: &Member| match view.lag(member)? {
        Lag::Bytes(lag) if lag > limit => Some(warning(
            format!("replica {} is {} behind, and takes no reads beyond {}", member.host, size(lag), size(limit)),
            format!("see whether it catches up: `xnat-provision status {} --watch`", quote::path(&inventory.path)),
        )),
        Lag::Bytes(_) | Lag::Unknown => None,
    };
    view.members.iter().filter_map(behind).collect()
}

pub fn timelines(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let Some(leader) = view.leader() else { return Vec::new() };
    let timeline = |m: &Member| m.listed.as_ref().and_then(|l| l.timeline);
    let Some(current) = timeline(leader) else { return Vec::new() };
    let apart = view.members.iter().filter_map(|m| timeline(m).filter(|t| *t != current).map(|t| (m, t)));
    apart
        .map(|(member, timeline)| {
            warning(
                format!("{} is on timeline {timeline} and the leader {} on {current}", member.host, leader.host),
                format!("see whether it catches up; otherwise rebuild it: {}", reinit(member, inventory)),
            )
        })
        .collect()
}

pub fn synchronous(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let wanted = inventory.patroni.synchronous != Synchronous::Off;
    let Some(leader) = view.leader() else { return Vec::new() };
    let configured = view.config.known().and_then(|c| c.get("synchronous_mode")).is_some_and(|mode| match mode {
        serde_json::Value::Bool(on) => *on,
        serde_json::Value::String(mode) => mode != "off" && mode != "false",
        _ => false,
    });
    let any = view.members.iter().any(|m| m.listed.as_ref().is_some_and(|l| l.role.synchronous()));
    if !configured || any || !wanted {
        return Vec::new();
    }
    let (severity, effect) = if inventory.patroni.synchronous_strict {
        (Severity::Critical, "every write waits until there is one")
    } else {
        (Severity::Warning, "a failover now could lose the last writes")
    };
    vec![Problem::new(
        severity,
        format!("synchronous mode is on and there is no synchronous standby: {effect}"),
        format!("see which replicas stream: {}", patronictl("list", &leader.host)),
    )]
}

pub fn paused(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    if view.paused.known() != Some(&true) {
        return Vec::new();
    }
    let text = match Note::of(view) {
        Some(note) => format!("maintenance mode {note}; nothing fails over"),
        None => "maintenance mode: nothing fails over".to_owned(),
    };
    let help = format!("when the work is done: `xnat-provision resume {}`", quote::path(&inventory.path));
    vec![warning(text, help)]
}

pub fn maintained(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let spared = |member: &Member| {
        let note = maintenance::of_member(member)?;
        Some(warning(
            format!("{} is in maintenance {note}; no reader is sent to it and nobody fails over to it", member.host),
            format!(
                "when the work is done: `xnat-provision maintenance {} off {}`",
                member.host,
                quote::path(&inventory.path)
            ),
        ))
    };
    view.members.iter().filter_map(spared).collect()
}

pub fn pending_restart(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let waits = |member: &Member| {
        let listed = member.listed.as_ref().filter(|l| l.pending_restart)?;
        let keys: Vec<&str> = listed.pending_restart_reason.keys().map(String::as_str).collect();
        let of = if keys.is_empty() { String::new() } else { format!(" for {}", keys.join(", ")) };
        Some(notice(
            format!("PostgreSQL on {} waits for a restart to take up its new settings{of}", member.host),
            format!(
                "restart it when it suits: `xnat-provision restart --limit {} {}`",
                member.host,
                quote::path(&inventory.path)
            ),
        ))
    };
    view.members.iter().filter_map(waits).collect()
}

/// Somebody may mean it for a while, so it is no warning.
pub fn altered(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let tell = |(host, altered): (&HostName, &[Altered])| {
        let set: Vec<String> = altered.iter().map(ToString::to_string).collect();
        notice(
            format!("ALTER SYSTEM on {host} has set {}, which wins over the inventory", set.join(", ")),
            format!(
                "say it under [postgresql.parameters] to keep it for all members; to take it back, {}",
                apply(inventory)
            ),
        )
    };
    view.altered().map(tell).collect()
}

pub fn database(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let lacks = |m: &&Member| m.server.known().is_some_and(|s| !s.in_recovery && !s.database);
    let text = |m: &Member| format!("the database {} does not exist on the leader {}", inventory.database.name, m.host);
    view.members.iter().filter(lacks).map(|m| critical(text(m), apply(inventory))).collect()
}
