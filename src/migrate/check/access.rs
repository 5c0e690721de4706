//! Who comes from other hosts at the source, and whether the cluster lets them in.

use std::net::IpAddr;

use ipnet::IpNet;

use super::people::strangers;
use super::words::names;
use super::{Finding, Target};
use crate::migrate::found::{Found, Hba, Password, Role};
use crate::migrate::roles::OWN;

/// PostgreSQL sees HAProxy's address instead of theirs: only a line for that lets them in.
pub(super) fn not_let_in(source: &Found, target: &Target) -> Option<Finding> {
    // whatever is in a file there is not known
    if target.hba.iter().any(|line| line.kind.starts_with("include")) {
        return None;
    }
    let absent =
        source.roles.all.iter().filter(|role| comes(source, target, role)).filter(|role| !target.lets_in(role));
    let absent: Vec<&Role> = absent.collect();
    let (database, role) = (name(&target.database), name(&absent.first()?.name));
    let evidence = names(absent.into_iter())?;
    let lines =
        target.through.iter().map(|from| format!("{} {database} {role} {from} scram-sha-256", target.connection));
    let lines = lines.collect::<Vec<_>>().join("; ");
    let todo = format!("add a line for each to `hba` under [postgresql], for the addresses of HAProxy: {lines}");
    let title = "roles that come from other hosts there, and are not let in here";
    Some(Finding::look("not-let-in", title, evidence).todo(todo))
}

/// Some rule there is for it, and it is nobody who is somebody else here.
fn comes(source: &Found, target: &Target, role: &Role) -> bool {
    let of_the_application = [&target.owner, &source.database.owner].contains(&&role.name);
    let database = &source.database.name;
    role.login
        && !role.superuser
        && role.password != Password::None
        && !of_the_application
        && !OWN.contains(&role.name.as_str())
        && strangers(source).any(|rule| is_for(&rule.databases, database) && is_for(&rule.users, &role.name))
}

fn is_for(names: &[String], name: &str) -> bool {
    names.iter().any(|one| one == "all" || one.trim_matches('"') == name)
}

fn name(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

impl Target {
    /// Wherever it comes from, which is a HAProxy.
    fn lets_in(&self, role: &Role) -> bool {
        self.through.iter().all(|from| self.hba.iter().any(|line| self.lets_in_from(line, role, from)))
    }

    fn lets_in_from(&self, line: &Hba, role: &Role, from: &str) -> bool {
        // a group's members are not looked up here
        let group = line.users.iter().any(|user| user.starts_with('+'));
        (line.kind == "host" || line.kind == self.connection)
            && line.method != "reject"
            && is_for(&line.databases, &self.database)
            && (group || is_for(&line.users, &role.name))
            && line.address.as_ref().is_some_and(|address| covers(address, line.netmask.as_deref(), from))
    }
}

/// Names of hosts are not looked up: they may be the ones.
fn covers(address: &str, mask: Option<&str>, from: &str) -> bool {
    let Ok(from) = from.parse::<IpNet>() else { return true };
    let net = match mask.map(|mask| (address.parse::<IpAddr>(), mask.parse::<IpAddr>())) {
        Some((Ok(address), Ok(mask))) => IpNet::with_netmask(address, mask).ok(),
        _ => address.parse::<IpNet>().ok(),
    };
    net.is_none_or(|net| net.contains(&from))
}
