//! How many of what: what a cluster of this shape survives, and what it does not.

use super::super::model::Component;
use super::super::problem::Problem;
use super::Context;

pub(super) fn etcd_members(context: &Context<'_>) -> Vec<Problem> {
    let members = context.with(Component::Etcd);
    if !roles_are_known(context) {
        return Vec::new();
    }
    let warning = |code, message: String| label_all(context, Problem::warning(code, message), &members, "etcd");
    match members.len() {
        0 => {
            let problem = Problem::error("xnat::inventory::no_etcd", "no host has the role \"etcd\"");
            vec![problem.at(context.places.key("host"), "none of these").help(
                "give it to three hosts: roles = [\"etcd\", \"postgres\"]; without etcd Patroni cannot elect a leader",
            )]
        }
        1 => vec![
            warning("xnat::inventory::few_etcd_members", "one etcd member: when its host is down, there is no failover".into())
                .help("give the role \"etcd\" to three hosts; a small machine will do for the third. One is for development only"),
        ],
        2 => vec![
            warning(
                "xnat::inventory::few_etcd_members",
                "two etcd members survive no failure: when either host is down, there is no quorum and no failover".into(),
            )
            .help("give the role \"etcd\" to a third host; a small machine will do. Two are worse than one"),
        ],
        even if even.is_multiple_of(2) => vec![
            warning(
                "xnat::inventory::even_etcd_members",
                format!("{even} etcd members survive no more failures than {}: {}", even - 1, (even - 1) / 2),
            )
            .help(format!("take \"etcd\" from one host, or give it to one more: an odd number, {} or {}", even - 1, even + 1)),
        ],
        many if many > 7 => vec![
            warning("xnat::inventory::many_etcd_members", format!("{many} etcd members make every write slower"))
                .help("use three or five: five survive two failures"),
        ],
        _ => Vec::new(),
    }
}

pub(super) fn postgres_members(context: &Context<'_>) -> Vec<Problem> {
    let members = context.with(Component::Postgres);
    if !roles_are_known(context) {
        return Vec::new();
    }
    match members.len() {
        0 => {
            let problem = Problem::error("xnat::inventory::no_postgres", "no host has the role \"postgres\"");
            vec![
                problem
                    .at(context.places.key("host"), "none of these")
                    .help("give it to two or three hosts: roles = [\"postgres\"]; this is where the database runs"),
            ]
        }
        1 => {
            let message = "one PostgreSQL server: there is no replica to take over, for development only";
            let problem = Problem::warning("xnat::inventory::no_replica", message);
            vec![
                label_all(context, problem, &members, "postgres")
                    .help("give the role \"postgres\" to a second host before anything that matters is in it"),
            ]
        }
        _ => Vec::new(),
    }
}

pub(super) fn haproxy_hosts(context: &Context<'_>) -> Vec<Problem> {
    if !roles_are_known(context) || !context.with(Component::Haproxy).is_empty() || context.raw.host.is_empty() {
        return Vec::new();
    }
    let problem = Problem::warning(
        "xnat::inventory::no_haproxy",
        "no host has the role \"haproxy\": clients must find the leader themselves",
    );
    vec![problem.at(context.places.key("host"), "none of these").help(
        "give it to a host, best to the one XNAT runs on: roles = [\"haproxy\"]; or list every server in XNAT's JDBC URL with targetServerType=primary",
    )]
}

fn label_all(context: &Context<'_>, problem: Problem, hosts: &[usize], role: &str) -> Problem {
    hosts.iter().fold(problem, |problem, host| problem.at(context.places.value(&context.role_path(*host, role)), ""))
}

/// False when hosts or roles were left out for mistakes: counting what is left would mislead.
fn roles_are_known(context: &Context<'_>) -> bool {
    let complete = (0..context.raw.host.len()).all(|index| context.places.is_whole(&format!("host[{index}].roles")));
    let every_role_known = context
        .inventory
        .hosts
        .iter()
        .flat_map(|host| &host.own_roles)
        .all(|role| context.around.own_roles.contains(role.as_str()));
    complete && every_role_known && !context.places.pruned.contains("host")
}
