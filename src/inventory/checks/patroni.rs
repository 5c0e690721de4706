//! Patroni's rules: timing, synchronous replication, tags.

use super::super::model::{Component, Scalar, Synchronous};
use super::super::problem::Problem;
use super::super::suggest;
use super::Context;

/// Patroni (3.2 and newer) silently replaces timings that break this rule by others; older ones run with them and can
/// lose the lease while they still retry. docs/dynamic_configuration.rst
pub(super) fn timing(context: &Context<'_>) -> Vec<Problem> {
    let patroni = &context.inventory.patroni;
    let (ttl, loop_wait, retry) = (patroni.ttl, patroni.loop_wait, patroni.retry_timeout);
    let sum = u64::from(loop_wait) + 2 * u64::from(retry);
    let known =
        ["ttl", "loop_wait", "retry_timeout"].iter().all(|key| context.places.is_whole(&format!("patroni.{key}")));
    if sum <= u64::from(ttl) || !known {
        return Vec::new();
    }
    let message = format!(
        "loop_wait + 2 * retry_timeout must not exceed ttl: {loop_wait} + 2 * {retry} = {sum}, and ttl is {ttl}"
    );
    let mut problem = Problem::error("xnat::inventory::patroni_timing", message);
    for (key, value) in [("ttl", ttl), ("loop_wait", loop_wait), ("retry_timeout", retry)] {
        let path = format!("patroni.{key}");
        if context.places.has(&path) {
            problem = problem.at(context.places.value(&path), format!("{key} {value}"));
        }
    }
    let fitting = ttl.saturating_sub(loop_wait) / 2;
    let lower = if fitting >= 3 { format!(", or lower retry_timeout to {fitting}") } else { String::new() };
    vec![problem.help(format!(
        "raise ttl to {sum}{lower}; or leave all three out: preset = \"default\" is 28/5/10, preset = \"fast\" is 20/5/5"
    ))]
}

pub(super) fn synchronous(context: &Context<'_>) -> Vec<Problem> {
    let replicas = context.with(Component::Postgres).len().saturating_sub(1);
    let found = match context.inventory.patroni.synchronous {
        Synchronous::Off => without_effect(context),
        Synchronous::On | Synchronous::Quorum => too_few_replicas(context, replicas),
    };
    let problems = found.into_iter().map(|(key, message, help)| {
        let problem = Problem::warning("xnat::inventory::synchronous", message);
        problem.at(context.places.value(&format!("patroni.{key}")), "").help(help)
    });
    problems.collect()
}

/// Key, message, help.
type Remark = (&'static str, String, &'static str);

fn without_effect(context: &Context<'_>) -> Vec<Remark> {
    let given = ["synchronous_node_count", "synchronous_strict"].into_iter();
    let given = given.filter(|key| context.places.has(&format!("patroni.{key}")));
    let tell = |key| {
        let message = format!("`{key}` has no effect while synchronous replication is off");
        (key, message, "add synchronous = \"on\", or leave it out")
    };
    given.map(tell).collect()
}

fn too_few_replicas(context: &Context<'_>, replicas: usize) -> Vec<Remark> {
    let patroni = &context.inventory.patroni;
    let mut found: Vec<Remark> = Vec::new();
    match replicas {
        0 => found.push((
            "synchronous",
            "synchronous replication without a replica protects nothing".into(),
            "give the role \"postgres\" to a second host, or use synchronous = \"off\"",
        )),
        1 if patroni.synchronous_strict => found.push((
            "synchronous_strict",
            "with one replica and `synchronous_strict`, every restart of the replica stops all writes".into(),
            "give the role \"postgres\" to a third host, or leave `synchronous_strict` out",
        )),
        1 => found.push((
            "synchronous",
            "with one replica, writes wait up to ttl when it dies, and after that they are not replicated".into(),
            "give the role \"postgres\" to a third host; then one replica may fail and nothing is lost",
        )),
        _ => {}
    }
    let count = patroni.synchronous_node_count as usize;
    if replicas > 0 && count > replicas {
        found.push((
            "synchronous_node_count",
            format!("commits cannot wait for {count} replicas: the cluster has {replicas}"),
            "lower it, or give the role \"postgres\" to more hosts",
        ));
    }
    found
}

/// What Patroni knows, and what it expects. docs/yaml_configuration.rst, section tags.
const TAGS: [(&str, TagType); 8] = [
    ("clonefrom", TagType::Bool),
    ("failover_priority", TagType::Number),
    ("noloadbalance", TagType::Bool),
    ("nofailover", TagType::Bool),
    ("nostream", TagType::Bool),
    ("nosync", TagType::Bool),
    ("replicatefrom", TagType::Member),
    ("sync_priority", TagType::Number),
];

#[derive(Clone, Copy)]
enum TagType {
    Bool,
    Number,
    Member,
}

impl TagType {
    fn takes(self, value: &Scalar) -> bool {
        match self {
            Self::Bool => matches!(value, Scalar::Bool(_)),
            Self::Number => matches!(value, Scalar::Integer(number) if *number >= 0),
            Self::Member => matches!(value, Scalar::Text(_)),
        }
    }
    fn wants(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Number => "a whole number from 0",
            Self::Member => "the name of another host",
        }
    }
}

pub(super) fn tags(context: &Context<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, host) in context.inventory.hosts.iter().enumerate() {
        let path = format!("host[{index}].tags");
        if !host.tags.is_empty() && !host.components.contains(&Component::Postgres) {
            let problem =
                Problem::warning("xnat::inventory::tags", format!("the tags of {} have no effect", host.name));
            problems.push(
                problem
                    .at(context.places.key(&path), "")
                    .help("remove them: tags are for hosts with the role \"postgres\""),
            );
            continue;
        }
        for (name, value) in &host.tags {
            let problem = one_tag(context, index, name, value);
            problems.extend(problem.map(|problem| problem.at(context.places.key(&format!("{path}.{name}")), "")));
        }
    }
    problems
}

fn one_tag(context: &Context<'_>, host: usize, name: &str, value: &Scalar) -> Option<Problem> {
    let Some((_, kind)) = TAGS.into_iter().find(|(known, _)| *known == name) else {
        let near = suggest::nearest(name, TAGS.map(|(known, _)| known))?;
        let problem = Problem::warning("xnat::inventory::tags", format!("Patroni has no tag `{name}`"));
        return Some(problem.help(format!("did you mean `{near}`? Tags of your own may have any other name")));
    };
    if !kind.takes(value) {
        let problem = Problem::error("xnat::inventory::tags", format!("the tag `{name}` must be {}", kind.wants()));
        return Some(problem.help("see `tags` in inventory/example.toml"));
    }
    let Scalar::Text(member) = value else { return None };
    let others = context.with(Component::Postgres).into_iter().filter(|other| *other != host);
    let names: Vec<&str> = others.map(|other| context.raw.host[other].name.as_str()).collect();
    if names.contains(&member.as_str()) {
        return None;
    }
    let problem = Problem::error(
        "xnat::inventory::tags",
        format!("no other host with the role \"postgres\" is called \"{member}\""),
    );
    Some(match suggest::nearest(member, names.iter().copied()) {
        Some(near) => problem.help(format!("did you mean \"{near}\"?")),
        None => problem.help(format!("use one of {}", names.join(", "))),
    })
}

pub(super) fn nobody_to_promote(context: &Context<'_>) -> Vec<Problem> {
    let members = context.with(Component::Postgres);
    let barred = |index: &&usize| {
        let tags = &context.inventory.hosts[**index].tags;
        tags.get("nofailover") == Some(&Scalar::Bool(true))
            || tags.get("failover_priority") == Some(&Scalar::Integer(0))
    };
    let free = members.len() - members.iter().filter(barred).count();
    if members.len() < 2 || free >= 2 {
        return Vec::new();
    }
    let message = if free == 0 {
        "every PostgreSQL server has `nofailover`: none may become leader"
    } else {
        "all PostgreSQL servers but one have `nofailover`: when that one dies, nobody takes over"
    };
    let problem = match free {
        0 => Problem::error("xnat::inventory::nofailover", message),
        _ => Problem::warning("xnat::inventory::nofailover", message),
    };
    let labelled = members
        .iter()
        .filter(barred)
        .fold(problem, |problem, index| problem.at(context.places.key(&format!("host[{index}].tags")), ""));
    vec![labelled.help("leave the tag to hosts that must not lead, such as one at a distant site")]
}
