//! Replication: who streams, how far behind, on which timeline, and who keeps WAL.

use super::finding::{Finding, State};
use super::{Case, Check, sql};
use crate::cluster::assess::size;
use crate::cluster::patroni::{self, Lag};
use crate::cluster::postgres::literal;
use crate::cluster::postgres::vitals::{Slot, Vitals};
use crate::inventory::Synchronous;
use crate::names::HostName;

pub const CHECKS: [Check; 5] = [
    Check { id: "replication-streaming", title: "every replica streams", rules: &["replicas"], look: streaming },
    Check { id: "replication-lag", title: "no replica is far behind", rules: &["lag"], look: lag },
    Check {
        id: "replication-timelines",
        title: "all members are on one timeline",
        rules: &["timelines"],
        look: timelines,
    },
    Check {
        id: "replication-synchronous",
        title: "there is a synchronous standby where one is wanted",
        rules: &["synchronous"],
        look: synchronous,
    },
    Check {
        id: "replication-slots",
        title: "no slot keeps 64 MB of WAL or more that nobody fetches, or loses any",
        rules: &[],
        look: slots,
    },
];

/// Less than four segments of WAL are nothing to speak of: a replica that restarts leaves that behind.
const KEPT: i64 = 64 << 20;

fn streaming(case: &Case<'_>) -> Vec<Finding> {
    if let Some(why) = case.view.paused.reason() {
        return vec![Finding::unknown(why)];
    }
    let replicas = case.view.members.iter().filter(|member| member.follows());
    let (streaming, others): (Vec<_>, Vec<_>) = replicas.partition(|member| case.view.streams(member));
    let mut findings: Vec<Finding> = streaming.iter().map(|member| Finding::ok("streams").on(&member.host)).collect();
    // `status` says so of those of whom it is known
    if case.view.leader().is_none_or(|leader| leader.server.known().is_none()) {
        let unknown = |host: &HostName| Finding::unknown(format!("nobody says whether {host} streams")).on(host);
        findings.extend(others.into_iter().map(|member| unknown(&member.host)));
    }
    findings
}

fn lag(case: &Case<'_>) -> Vec<Finding> {
    if let Some(why) = case.view.paused.reason() {
        return vec![Finding::unknown(why)];
    }
    let replicas = case.view.members.iter().filter(|member| member.follows());
    let judge = |member| match case.view.lag(member) {
        Some(Lag::Bytes(bytes)) => Finding::ok(size(bytes)),
        Some(Lag::Unknown) | None => Finding::unknown(format!("nobody says how far {} is behind", member.host)),
    };
    replicas.map(|member| judge(member).on(&member.host)).collect()
}

/// As PostgreSQL itself has it; Patroni's word on it may be old.
fn timelines(case: &Case<'_>) -> Vec<Finding> {
    let (leader, current) = match case.leader() {
        Ok((leader, vitals)) => (leader, vitals.timeline),
        Err(unknown) => return vec![unknown],
    };
    case.each_member(|host, vitals| {
        // One that receives nothing has none; that it does not stream is said elsewhere.
        let (Some(timeline), Some(current)) = (vitals.timeline, current) else { return Vec::new() };
        let finding = match timeline == current {
            true => Finding::ok(timeline.to_string()),
            false => Finding::warning(format!(
                "PostgreSQL on {host} receives timeline {timeline}, and the leader {leader} writes {current}"
            )),
        };
        let reinit = case.ours(&format!("reinit {host}"));
        vec![finding.on(host).fix(format!("see whether it catches up; otherwise rebuild it: {reinit}"))]
    })
}

fn synchronous(case: &Case<'_>) -> Vec<Finding> {
    if case.inventory.patroni.synchronous == Synchronous::Off {
        return vec![Finding::ok("not wanted")];
    }
    if let Err(unknown) = case.leader() {
        return vec![unknown];
    }
    // a single member has nobody to wait for; whether there should be one, `status` knows
    let server = case.view.leader().and_then(|leader| Some((&leader.host, leader.server.known()?)));
    let Some((leader, server)) = server else { return vec![Finding::unknown("the leader does not say who follows")] };
    let waits = |sync: &str| matches!(sync, "sync" | "quorum");
    let by_server: Vec<&str> =
        server.standbys.iter().filter(|s| waits(&s.sync)).map(|standby| standby.name.as_str()).collect();
    let by_patroni = case.view.members.iter().any(|m| m.listed.as_ref().is_some_and(|l| l.role.synchronous()));
    match (by_server.is_empty(), by_patroni) {
        (false, _) => vec![Finding::ok(by_server.join(", "))],
        (true, false) => Vec::new(),
        (true, true) => vec![
            Finding::warning(format!("Patroni names a synchronous standby, and PostgreSQL on {leader} waits for none"))
                .on(leader)
                .fix(format!("see what it waits for, {}", sql(leader, "SHOW synchronous_standby_names"))),
        ],
    }
}

fn slots(case: &Case<'_>) -> Vec<Finding> {
    case.each_member(|host, vitals| {
        let ill: Vec<Finding> = vitals.slots.iter().filter_map(|slot| kept(case, (host, vitals), slot)).collect();
        if !ill.is_empty() {
            return ill;
        }
        let most = vitals.slots.iter().map(|slot| slot.kept).max().unwrap_or(0);
        vec![Finding::ok(format!("at most {}", bytes(most))).on(host)]
    })
}

/// On a replica Patroni keeps slots that nobody reads, and moves them on.
fn kept(case: &Case<'_>, (host, vitals): (&HostName, &Vitals), slot: &Slot) -> Option<Finding> {
    let wal = slot.wal.as_deref().unwrap_or("nothing reserved");
    let lost = wal == "lost";
    let endangered = wal == "unreserved";
    let idle = !slot.active && !vitals.in_recovery && slot.kept >= KEPT;
    if !(lost || endangered || idle) {
        return None;
    }
    let (name, kept) = (&slot.name, bytes(slot.kept));
    let text = match () {
        () if lost => format!("the WAL that the slot {name} on {host} was to keep is gone"),
        () if slot.active => format!("the slot {name} on {host} keeps {kept} of WAL and is about to lose it"),
        () => format!("the slot {name} on {host} keeps {kept} of WAL ({wal}) that nobody fetches"),
    };
    // as long as the disk has room
    let state = if idle && slot.kept >= room(case, host) { State::Critical } else { State::Warning };
    let drop = sql(host, &format!("SELECT pg_drop_replication_slot({})", literal(name)));
    let fix = match case.inventory.hosts.iter().find(|replica| is_of(slot, &replica.name)) {
        Some(replica) => format!("see why {} does not fetch it: {}", replica.name, case.ours("doctor")),
        None => format!("if nobody needs it any more, drop it, {drop}"),
    };
    Some(Finding::new(state, text).on(host).fix(fix))
}

fn is_of(slot: &Slot, member: &HostName) -> bool {
    patroni::slot(member) == slot.name
}

/// What is free where the WAL is.
fn room(case: &Case<'_>, host: &HostName) -> i64 {
    let disks = case.measured.hosts.get(host).and_then(|look| look.known()).map(|look| look.disks.as_slice());
    let wal = disks.unwrap_or_default().iter().find(|disk| disk.paths.iter().any(|path| path.ends_with("/pg_wal")));
    wal.map_or(i64::MAX, |disk| disk.free.try_into().unwrap_or(i64::MAX))
}

fn bytes(count: i64) -> String {
    size(count.try_into().unwrap_or(0))
}
