//! Names, addresses and roles of hosts.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::problem::Problem;
use super::super::resolve::COMPONENTS;
use super::super::suggest;
use super::{Context, listed};

pub(super) fn cluster_name(context: &Context<'_>) -> Vec<Problem> {
    let name = &context.raw.cluster.name;
    let at = context.places.value("cluster.name");
    if context.places.has("cluster.name") && context.places.is_whole("cluster.name") && !is_label(name) {
        let help = format!("use lower-case letters, digits and `-`, a letter first: name = \"{}\"", tidy(name));
        return vec![bad_name(format!("\"{name}\" cannot be the name of a cluster")).at(at, "").help(help)];
    }
    if name == "main" {
        let problem = bad_name("a cluster cannot be called \"main\"");
        return vec![problem.at(at, "").help(
            "choose another name, such as \"xnat\": /var/lib/postgresql/<version>/main is where Debian puts the cluster it makes by itself",
        )];
    }
    Vec::new()
}

pub(super) fn names(context: &Context<'_>) -> Vec<Problem> {
    let bad = context.raw.host.iter().enumerate().filter(|(_, host)| !host.name.is_empty() && !is_dns_name(&host.name));
    bad.map(|(index, host)| {
        let problem = bad_name(format!("\"{}\" cannot be the name of a host", host.name));
        problem.at(context.places.value(&format!("host[{index}].name")), "").help(format!(
            "it becomes a DNS, etcd and Patroni name: lower-case letters, digits, `-` and `.`, such as name = \"{}\"",
            tidy(&host.name)
        ))
    })
    .chain(context.raw.host.iter().enumerate().filter(|(_, host)| host.name.is_empty()).filter_map(|(index, _)| {
        let path = format!("host[{index}].name");
        (context.places.has(&path) && context.places.is_whole(&path)).then(|| {
            bad_name("a host needs a name").at(context.places.value(&path), "").help("give it one: name = \"db1\"")
        })
    }))
    .collect()
}

pub(super) fn duplicate_names(context: &Context<'_>) -> Vec<Problem> {
    let names = context.raw.host.iter().map(|host| host.name.to_lowercase());
    duplicates(
        context,
        "name",
        names.collect(),
        "give one of them another name; it also names its etcd and Patroni member",
    )
}

pub(super) fn duplicate_addresses(context: &Context<'_>) -> Vec<Problem> {
    let addresses = context.raw.host.iter().map(|host| host.address.to_lowercase());
    let help =
        "one machine is one [[host]] with all its roles: roles = [\"etcd\", \"postgres\"]; otherwise mend one address";
    duplicates(context, "address", addresses.collect(), help)
}

fn duplicates(context: &Context<'_>, field: &str, values: Vec<String>, help: &str) -> Vec<Problem> {
    let mut seen: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, value) in values.iter().enumerate().filter(|(_, value)| !value.is_empty()) {
        seen.entry(value).or_default().push(index);
    }
    let twice = seen.into_iter().filter(|(_, hosts)| hosts.len() > 1);
    twice
        .map(|(value, hosts)| {
            let count = if hosts.len() == 2 { "two".to_owned() } else { hosts.len().to_string() };
            let problem =
                Problem::error("xnat::inventory::duplicate", format!("{count} hosts have the {field} \"{value}\""));
            let labelled = hosts.iter().enumerate().fold(problem, |problem, (nth, index)| {
                let text = if nth == 0 { "first here" } else { "again here" };
                problem.at(context.places.value(&format!("host[{index}].{field}")), text)
            });
            labelled.help(help)
        })
        .collect()
}

pub(super) fn addresses(context: &Context<'_>) -> Vec<Problem> {
    let hosts = context.raw.host.iter().enumerate().filter(|(index, host)| {
        let path = format!("host[{index}].address");
        context.places.has(&path) && context.places.is_whole(&path) && !is_plain_ipv4(&host.address)
            || is_special(&host.address)
    });
    let alone = context.raw.host.len() == 1;
    hosts
        .filter_map(|(index, host)| {
            let problem = address(&host.address, alone)?;
            Some(problem.at(context.places.value(&format!("host[{index}].address")), ""))
        })
        .collect()
}

fn is_plain_ipv4(address: &str) -> bool {
    address.parse::<Ipv4Addr>().is_ok()
}

fn is_special(address: &str) -> bool {
    address.parse::<Ipv4Addr>().is_ok_and(|ip| {
        ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() || ip.is_link_local()
    })
}

fn address(text: &str, alone: bool) -> Option<Problem> {
    let bad =
        |why: &str| Problem::error("xnat::inventory::bad_address", format!("\"{text}\" cannot be an address: {why}"));
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        if ip.is_loopback() && alone {
            let problem =
                Problem::warning("xnat::inventory::loopback", format!("{text} is reachable from this host only"));
            return Some(
                problem.help("give its address in your network if XNAT runs elsewhere: address = \"10.0.0.11\""),
            );
        }
        let help = "give the address by which the other hosts reach this one: address = \"10.0.0.11\"";
        return Some(bad("no other host can reach it there").help(help));
    }
    if text.parse::<Ipv6Addr>().is_ok() || text.starts_with('[') {
        return Some(bad("IPv6 is not supported yet").help("give its IPv4 address: address = \"10.0.0.11\""));
    }
    if let Some((host, _)) = text.split_once('/').filter(|(host, _)| is_plain_ipv4(host)) {
        return Some(bad("it is a network").help(format!("leave the prefix length out: address = \"{host}\"")));
    }
    if let Some((host, port)) = text.rsplit_once(':') {
        let help = format!("write the SSH port beside it: address = \"{host}\" and ssh = {{ port = {port} }}");
        return Some(bad("it has a port").help(help));
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Some(bad("an IPv4 address has four numbers from 0 to 255").help("mend it: address = \"10.0.0.11\""));
    }
    if !is_dns_name(&text.to_lowercase()) {
        return Some(bad("it is neither an IPv4 address nor a host name").help("mend it: address = \"10.0.0.11\""));
    }
    let warning = Problem::warning(
        "xnat::inventory::address_is_a_name",
        format!("the address of this host is the name \"{text}\""),
    );
    Some(warning.help(
        "give its IP address instead: with a name, etcd and Patroni depend on DNS, and a DNS failure becomes a database failure",
    ))
}

/// Other words for the built-in roles that people try.
const SYNONYMS: [(&str, &str); 9] = [
    ("patroni", "postgres"),
    ("postgresql", "postgres"),
    ("pg", "postgres"),
    ("database", "postgres"),
    ("db", "postgres"),
    ("dcs", "etcd"),
    ("lb", "haproxy"),
    ("proxy", "haproxy"),
    ("loadbalancer", "haproxy"),
];

pub(super) fn roles(context: &Context<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, host) in context.raw.host.iter().enumerate() {
        let path = format!("host[{index}].roles");
        if host.roles.is_empty() && context.places.has(&path) && context.places.is_whole(&path) {
            let problem =
                Problem::error("xnat::inventory::no_roles", format!("host \"{}\" has nothing to do", host.name));
            let problem = problem.at(context.places.value(&path), "");
            problems.push(problem.help("give it roles: roles = [\"etcd\", \"postgres\"], or leave the host out"));
        }
        for (nth, role) in host.roles.iter().enumerate() {
            let at = context.places.value(&format!("{path}[{nth}]"));
            if host.roles[..nth].contains(role) {
                let problem =
                    Problem::warning("xnat::inventory::role_twice", format!("role \"{role}\" is listed twice"));
                problems.push(problem.at(at, "").help("leave one out"));
            } else if let Some(problem) = unknown_role(context, role) {
                problems.push(problem.at(at, "not a role"));
            }
        }
    }
    problems
}

fn unknown_role(context: &Context<'_>, role: &str) -> Option<Problem> {
    let own = &context.around.own_roles;
    let built_in = COMPONENTS.map(|(name, _)| name);
    if built_in.contains(&role) || own.contains(role) || context.around.unreadable.contains_key("assets") {
        return None;
    }
    let problem = Problem::error("xnat::inventory::unknown_role", format!("there is no role \"{role}\""));
    let synonym = SYNONYMS.into_iter().find(|(other, _)| *other == role.to_lowercase()).map(|(_, name)| name);
    let known = built_in.into_iter().chain(own.iter().map(String::as_str));
    if let Some(name) = synonym.or_else(|| suggest::nearest(role, known.clone())) {
        return Some(problem.help(format!("did you mean \"{name}\"?")));
    }
    let known: Vec<String> = known.map(|name| format!("\"{name}\"")).collect();
    let own_role = match &context.around.assets {
        Some(assets) => {
            format!("for a role of your own write {}", assets.join("roles").join(format!("{role}.toml")).display())
        }
        None => format!(
            "for a role of your own write DIR/roles/{role}.toml and give assets = \"DIR\" at the top of this file"
        ),
    };
    Some(problem.help(format!("use {}; {own_role}", listed(&known))))
}

fn bad_name(message: impl Into<String>) -> Problem {
    Problem::error("xnat::inventory::bad_name", message)
}

/// One DNS label that starts with a letter: also safe as directory, Patroni scope and etcd token.
fn is_label(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase()) && is_dns_label(name)
}

fn is_dns_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_dns_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_label)
}

/// The nearest name that is allowed.
fn tidy(name: &str) -> String {
    let lower = name.to_lowercase();
    let kept = lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect::<String>();
    let cut = kept.trim_matches('-').trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
    let cut = &cut[..cut.len().min(63)];
    if cut.is_empty() { "xnat".to_owned() } else { cut.to_owned() }
}
