//! In which order hosts stand: a plan must not see another one than their own configurations have.

use std::collections::BTreeMap;

use super::hosts::Member;

/// In an order in which their own configurations list them, so that a plan sees no other; where several fit, as named.
pub(super) fn ordered(mut members: Vec<Member>) -> Vec<Member> {
    let sequences = sequences(&members);
    let mut done = Vec::new();
    while !members.is_empty() {
        let is_left = |address: &String| members.iter().any(|one| one.address == *address);
        let waits = |member: &Member| {
            let comes = sequences.iter().filter(|sequence| sequence.contains(&member.address));
            let mut before = comes.flat_map(|sequence| sequence.iter().take_while(|one| **one != member.address));
            before.any(is_left)
        };
        // where they contradict each other, as named
        let next = members.iter().position(|member| !waits(member)).unwrap_or(0);
        done.push(members.remove(next));
    }
    done
}

/// Addresses in the order of etcd's hosts in Patroni, of HAProxy's servers, and of the rules for each login.
fn sequences(members: &[Member]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for seen in members.iter().map(|member| &member.seen) {
        if let Some(entrance) = seen.haproxy.as_ref().and_then(|haproxy| haproxy.primary()) {
            all.push(entrance.servers().map(str::to_owned).collect());
        }
        let Some(patroni) = &seen.patroni else { continue };
        all.push(patroni.etcd_hosts());
        let mut rules: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        for line in &patroni.hba {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [_, database, user, network, ..] = words.as_slice() {
                rules.entry((database, user)).or_default().push(network.trim_end_matches("/32").to_owned());
            }
        }
        all.extend(rules.into_values());
    }
    all
}
