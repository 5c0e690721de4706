//! The hosts' firewall: it is loaded before there is a network, so nothing in it may need one.

use std::net::IpAddr;

use super::super::problem::Problem;
use super::Context;
use super::network::network;

pub(super) fn networks(context: &Context<'_>) -> Vec<Problem> {
    let firewall = &context.inventory.firewall;
    let lists = [("admins", &firewall.admins), ("clients", &firewall.clients)];
    let all = lists.iter().flat_map(|(key, list)| list.iter().enumerate().map(move |(index, text)| (key, index, text)));
    let found = all.filter_map(|(key, index, text)| {
        // Everybody is what these are without being given, so that is no news.
        let problem = network(text).filter(|problem| problem.code == "xnat::inventory::bad_cidr")?;
        Some(problem.at(context.places.value(&format!("firewall.{key}[{index}]")), ""))
    });
    found.collect()
}

/// Rules are loaded before names can be looked up.
pub(super) fn addresses(context: &Context<'_>) -> Vec<Problem> {
    if !context.inventory.firewall.enabled {
        return Vec::new();
    }
    let hosts = context.inventory.hosts.iter().enumerate();
    let names = hosts.filter(|(index, host)| {
        let given = context.places.is_whole(&format!("host[{index}].address"));
        given && !host.address.is_empty() && host.address.parse::<IpAddr>().is_err()
    });
    let problem = |(index, host): (usize, &crate::inventory::Host)| {
        let message = format!("the firewall needs addresses, and \"{}\" is a name", host.address);
        Problem::error("xnat::inventory::firewall_name", message)
            .at(context.places.value(&format!("host[{index}].address")), "")
            .help("write the address the other hosts see, or leave [firewall] out: rules are loaded before there is a network to look names up in")
    };
    names.map(problem).collect()
}

/// A rule is one line of a chain; the host's own `nft` judges the rest before anything is loaded.
pub(super) fn rules(context: &Context<'_>) -> Vec<Problem> {
    let rules = context.inventory.firewall.rules.iter().enumerate();
    let bad = rules.filter(|(_, rule)| rule.chars().any(char::is_control) || unbalanced(rule));
    let problem = |(index, _): (usize, &String)| {
        Problem::error("xnat::inventory::bad_rule", "this is not one nft rule")
            .at(context.places.value(&format!("firewall.rules[{index}]")), "")
            .help("give each rule as a text of its own: rules = [\"ip saddr 10.0.0.5 tcp dport 9100 accept\"]")
    };
    bad.map(problem).collect()
}

/// A brace that closes more than the rule opened would close the chain.
fn unbalanced(rule: &str) -> bool {
    let mut open = 0_i32;
    for letter in rule.chars() {
        open += i32::from(letter == '{') - i32::from(letter == '}');
        if open < 0 {
            return true;
        }
    }
    open != 0
}
