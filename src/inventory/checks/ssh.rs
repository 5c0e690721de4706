//! How hosts are reached.

use std::collections::BTreeMap;

use super::super::model::Escalate;
use super::super::problem::Problem;
use super::super::values::Strings;
use super::{Context, listed};

pub(super) fn fingerprints(context: &Context<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut owners: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, host) in context.raw.host.iter().enumerate() {
        for (nth, text) in host.fingerprint.0.iter().enumerate() {
            owners.entry(text).or_default().push(index);
            if !is_fingerprint(text) {
                let problem =
                    Problem::error("xnat::inventory::bad_fingerprint", format!("\"{text}\" is not an SSH fingerprint"));
                let problem = problem.at(context.places.value(&format!("host[{index}].fingerprint[{nth}]")), "");
                problems.push(problem.help(fingerprint_help(text, &host.address)));
            }
        }
    }
    let shared = owners.into_iter().filter(|(_, hosts)| hosts.windows(2).any(|pair| pair[0] != pair[1]));
    problems.extend(shared.map(|(_, hosts)| {
        let names: Vec<String> = hosts.iter().map(|index| context.raw.host[*index].name.clone()).collect();
        let message = format!("{} have the same host key", listed(&names));
        let problem = Problem::warning("xnat::inventory::shared_host_key", message);
        let labelled = hosts.iter().fold(problem, |problem, index| {
            problem.at(context.places.value(&format!("host[{index}].fingerprint")), "")
        });
        labelled.help(
            "copied machines? make new keys on all but one: `rm /etc/ssh/ssh_host_*; dpkg-reconfigure openssh-server`",
        )
    }));
    problems
}

/// As `ssh-keygen -l` prints it: SHA-256 in base64 without padding.
pub(super) fn is_fingerprint(text: &str) -> bool {
    let Some(digest) = text.strip_prefix("SHA256:") else { return false };
    digest.len() == 43 && digest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

pub(super) fn fingerprint_help(text: &str, address: &str) -> String {
    let see = format!("see it with `ssh-keyscan {address} | ssh-keygen -lf -`, and compare it on the machine itself");
    if text.starts_with("MD5:") || text.matches(':').count() == 15 {
        return format!("use the SHA256 form: {see}");
    }
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("AAAA") {
        return format!("this is the key itself: {see}");
    }
    format!("it is SHA256: and 43 characters: {see}")
}

pub(super) fn jumps(context: &Context<'_>) -> Vec<Problem> {
    let own = context
        .raw
        .host
        .iter()
        .enumerate()
        .filter_map(|(index, host)| Some((format!("host[{index}].ssh.jump"), host.ssh.jump.as_ref()?)));
    let mut problems = Vec::new();
    for (path, Strings(hops)) in std::iter::once(("ssh.jump".to_owned(), &context.raw.ssh.jump)).chain(own) {
        for (nth, hop) in hops.iter().enumerate().filter(|(_, hop)| !is_jump(hop)) {
            let problem = Problem::error("xnat::inventory::bad_jump", format!("\"{hop}\" is not a jump host"));
            let help = if hop.contains(',') {
                let several: Vec<String> = hop.split(',').map(|hop| format!("\"{}\"", hop.trim())).collect();
                format!("write several as a list: jump = [{}]", several.join(", "))
            } else {
                "write it as [user@]host[:port]: jump = \"admin@gate.example.org:22\"".to_owned()
            };
            problems.push(problem.at(context.places.value(&format!("{path}[{nth}]")), "").help(help));
        }
    }
    problems
}

fn is_jump(text: &str) -> bool {
    let (user, rest) = text.split_once('@').map_or((None, text), |(user, rest)| (Some(user), rest));
    let (host, port) = rest.rsplit_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    plain(host) && user.is_none_or(plain) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

pub(super) fn files(context: &Context<'_>) -> Vec<Problem> {
    let ssh = context.around.unreadable.iter().filter(|(place, _)| place.contains("ssh."));
    ssh.map(|(place, why)| {
        let what = if place.ends_with("known_hosts") { "known_hosts file" } else { "key file" };
        let problem = Problem::error("xnat::inventory::unreadable_file", format!("cannot read the {what}: {why}"));
        problem
            .at(context.places.value(place), "")
            .help("mend the path; it is relative to this file, and `~/` is your home directory")
    })
    .collect()
}

pub(super) fn becoming_root(context: &Context<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, host) in context.inventory.hosts.iter().enumerate() {
        let Some(user) = host.ssh.user.as_deref().filter(|user| *user != "root") else { continue };
        let own = format!("host[{index}].ssh.become");
        let place = if context.places.has(&own) { own } else { "ssh.become".to_owned() };
        if host.ssh.escalate == Escalate::None {
            let message = format!("\"{user}\" on {} is not root, and `become = \"none\"` leaves it so", host.name);
            let problem = Problem::error("xnat::inventory::not_root", message).at(context.places.value(&place), "");
            problems.push(problem.help("leave `become` out: sudo is used for users other than root"));
        }
    }
    let user = |place: String, user: &Option<String>| {
        let odd =
            user.as_ref().filter(|user| user.is_empty() || user.contains(|c: char| c.is_whitespace() || c == '@'))?;
        let problem = Problem::error("xnat::inventory::bad_user", format!("\"{odd}\" cannot be a user name"));
        Some(problem.at(context.places.value(&place), "").help("give the login name alone: user = \"admin\""))
    };
    problems.extend(user("ssh.user".into(), &context.raw.ssh.user));
    let hosts = context.raw.host.iter().enumerate();
    problems.extend(hosts.filter_map(|(index, host)| user(format!("host[{index}].ssh.user"), &host.ssh.user)));
    problems
}
