//! The PostgreSQL whose database is to be moved in, and XNAT, which uses it.

use super::super::model::{Component, Reach};
use super::super::problem::Problem;
use super::super::raw;
use super::{Context, ssh, vault};

/// Whatever is wrong with it.
pub(super) fn servers(context: &Context<'_>) -> Vec<Problem> {
    let raw::Migrate { source, single } = &context.raw.migrate;
    let both = [("migrate.source", source), ("migrate.single", single)];
    both.into_iter().filter_map(|(table, one)| Some(server(context, table, one.as_ref()?))).flatten().collect()
}

fn server(context: &Context<'_>, table: &str, source: &raw::Source) -> Vec<Problem> {
    let at = |key: &str, problem: Problem| problem.at(context.places.value(&format!("{table}.{key}")), "");
    let mut problems: Vec<Problem> = bad_fingerprints(context, table, (&source.fingerprint.0, &source.address));
    problems.extend(itself(context, source).map(|problem| at("address", problem)));
    problems.extend(password(source).map(|problem| at("password", problem)));
    problems.extend(of_ssh(source).map(|(key, problem)| at(key, problem)));
    problems
}

fn bad_fingerprints(context: &Context<'_>, table: &str, (all, address): (&[String], &str)) -> Vec<Problem> {
    let bad = all.iter().enumerate().filter(|(_, text)| !ssh::is_fingerprint(text));
    let problem = |(nth, text): (usize, &String)| {
        let place = context.places.value(&format!("{table}.fingerprint[{nth}]"));
        Problem::error("xnat::inventory::bad_fingerprint", format!("\"{text}\" is not an SSH fingerprint"))
            .at(place, "")
            .help(ssh::fingerprint_help(text, address))
    };
    bad.map(problem).collect()
}

/// Whatever is wrong with XNAT's machines.
pub(super) fn xnat(context: &Context<'_>) -> Vec<Problem> {
    let raw::Xnat { host, unit, properties, page, .. } = &context.raw.xnat;
    let mut problems = Vec::new();
    for (index, one) in host.iter().enumerate() {
        problems.extend(bad_fingerprints(context, &format!("xnat.host[{index}]"), (&one.fingerprint.0, &one.address)));
    }
    let bad = |key: &str, message: String, help: &str| {
        let place = context.places.value(&format!("xnat.{key}"));
        Problem::error("xnat::inventory::bad_xnat", message).at(place, "").help(help)
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '@' | ':');
    if unit.is_empty() || unit.starts_with('-') || !unit.chars().all(plain) {
        problems.push(bad(
            "unit",
            format!("\"{unit}\" is no name of a unit"),
            "see `systemctl list-units` there: \"tomcat9\"",
        ));
    }
    if !properties.starts_with('/') {
        let help = "such as \"/data/xnat/home/config/xnat-conf.properties\"";
        problems.push(bad("properties", format!("\"{properties}\" is no absolute path"), help));
    }
    let printable = |c: char| c.is_ascii_graphic();
    if !page.starts_with('/') || !page.chars().all(printable) {
        problems.push(bad(
            "page",
            format!("\"{page}\" is no path of a page"),
            "it begins with `/`, such as \"/xnat/\"",
        ));
    }
    problems
}

/// It cannot be what it is to be moved into.
fn itself(context: &Context<'_>, source: &raw::Source) -> Option<Problem> {
    let inventory = context.inventory;
    let mut members = inventory.with(Component::Postgres).filter(|host| host.address == source.address);
    let host = members.next().filter(|_| source.port == inventory.postgresql.port && source.container.is_none())?;
    let message = format!("that server is {}, a member of this cluster", host.name);
    let help = "it is another PostgreSQL than the cluster's; one on a member's machine needs another port";
    Some(Problem::error("xnat::inventory::source_is_member", message).help(help))
}

fn password(source: &raw::Source) -> Option<Problem> {
    let bad =
        |message: String, help: &str| Some(Problem::error("xnat::inventory::source_password", message).help(help));
    let forms = "password = { env = \"VARIABLE\" }, { file = \"PATH\" } or { command = \"pass show xnat/old\" }";
    match (&source.password, source.reach) {
        (None, Reach::Tcp) => bad(format!("the password of {} is missing", source.user), forms),
        (Some(_), Reach::Ssh) => bad(
            "with reach = \"ssh\" no password is used".to_owned(),
            "leave it out: whoever owns the socket is let in",
        ),
        (Some(one), Reach::Tcp) => vault::unclear(one).and_then(|what| bad(format!("the password {what}"), forms)),
        (None, Reach::Ssh) => None,
    }
}

fn of_ssh(source: &raw::Source) -> Option<(&'static str, Problem)> {
    let bad = |key, message: String, help: &str| {
        Some((key, Problem::error("xnat::inventory::bad_source", message).help(help)))
    };
    if source.reach == Reach::Tcp && source.container.is_some() {
        return bad(
            "container",
            "a container is reached by ssh only".to_owned(),
            "leave out reach, or leave out container and give the port the container publishes",
        );
    }
    if let Some(user) = &source.sudo_as {
        if source.reach == Reach::Tcp || source.container.is_some() {
            let message = "sudo is for a socket on the machine itself".to_owned();
            return bad(
                "sudo_as",
                message,
                "leave it out: over the network nobody needs it, and only root enters a container",
            );
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !user.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || !user.chars().all(plain) {
            return bad(
                "sudo_as",
                format!("\"{user}\" is no name of a user"),
                "the socket's owner, such as \"postgres\"",
            );
        }
    }
    if !source.socket.starts_with('/') {
        let message = format!("\"{}\" is no absolute path", source.socket);
        return bad("socket", message, "the directory that has `.s.PGSQL.5432`, such as \"/var/run/postgresql\"");
    }
    let name = source.container.as_deref().unwrap_or("x");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plain) {
        return bad(
            "container",
            format!("\"{name}\" cannot be the name of a container"),
            "see `docker ps`, `podman ps`",
        );
    }
    None
}
