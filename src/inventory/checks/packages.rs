//! Packages: pins, proxy, repositories; and the assets directory.

use std::collections::BTreeSet;

use super::super::model::Synchronous;
use super::super::problem::Problem;
use super::Context;

pub(super) fn pins(context: &Context<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (package, version) in &context.inventory.packages.pins {
        let path = format!("packages.pins.{package}");
        let name_is_good = package.len() > 1
            && package.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b))
            && package.starts_with(|c: char| c.is_ascii_alphanumeric());
        let stem = version.strip_suffix('*').unwrap_or(version);
        let version_is_good = stem.starts_with(|c: char| c.is_ascii_digit())
            && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b".+:~-".contains(&b));
        if !name_is_good {
            let problem =
                Problem::error("xnat::inventory::bad_pin", format!("\"{package}\" cannot be the name of a package"));
            problems
                .push(problem.at(context.places.key(&path), "").help("use the name `apt list` shows, such as patroni"));
        }
        if !version_is_good {
            let problem =
                Problem::error("xnat::inventory::bad_pin", format!("\"{version}\" cannot be a package version"));
            let help = format!(
                "use one that `apt-cache policy {package}` shows, or the start of it and a `*`: {package} = \"4.0.*\""
            );
            problems.push(problem.at(context.places.value(&path), "").help(help));
        }
        if package == "patroni"
            && version.starts_with("3.")
            && context.inventory.patroni.synchronous == Synchronous::Quorum
        {
            let message = format!("synchronous = \"quorum\" needs Patroni 4.0, and it is pinned at {version}");
            let problem = Problem::error("xnat::inventory::quorum_needs_4", message);
            let problem =
                problem.at(context.places.value("patroni.synchronous"), "").at(context.places.value(&path), "");
            problems.push(problem.help("use synchronous = \"on\", or pin patroni at \"4.*\""));
        }
    }
    problems
}

pub(super) fn proxy(context: &Context<'_>) -> Vec<Problem> {
    let Some(proxy) = &context.inventory.packages.proxy else { return Vec::new() };
    is_http(proxy).map_or_else(
        || {
            let problem = Problem::error("xnat::inventory::bad_url", format!("\"{proxy}\" is not the URL of a proxy"));
            vec![problem.at(context.places.value("packages.proxy"), "").help("write it as http://host:port")]
        },
        |()| Vec::new(),
    )
}

/// Enough to tell a URL from a host name; no blanks or quotes, since it becomes part of an apt configuration.
fn is_http(text: &str) -> Option<()> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    let good = rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && !rest.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '\'' || c == ';');
    good.then_some(())
}

pub(super) fn repositories(context: &Context<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    for (index, repository) in context.raw.packages.repository.iter().enumerate() {
        let place = |field: &str| context.places.value(&format!("packages.repository[{index}].{field}"));
        let is_given = |field: &str| context.places.is_whole(&format!("packages.repository[{index}].{field}"));
        let plain = !repository.name.is_empty()
            && repository.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if is_given("name") && !plain {
            let problem = Problem::error(
                "xnat::inventory::bad_name",
                format!("\"{}\" cannot be the name of a repository", repository.name),
            );
            problems.push(
                problem
                    .at(place("name"), "")
                    .help("use lower-case letters, digits and `-`: it names a file in /etc/apt"),
            );
        } else if is_given("name") && !names.insert(&repository.name) {
            let problem = Problem::error(
                "xnat::inventory::duplicate",
                format!("two repositories are called \"{}\"", repository.name),
            );
            problems.push(problem.at(place("name"), "again here").help("give one of them another name"));
        }
        if is_given("url") && is_http(&repository.url).is_none() {
            let problem = Problem::error(
                "xnat::inventory::bad_url",
                format!("\"{}\" is not the URL of a repository", repository.url),
            );
            problems.push(problem.at(place("url"), "").help("write it as https://host/path"));
        }
        problems.extend(key(context, index).map(|problem| problem.at(place("key_file"), "")));
    }
    problems
}

fn key(context: &Context<'_>, index: usize) -> Option<Problem> {
    let path = format!("packages.repository[{index}].key_file");
    if let Some(why) = context.around.unreadable.get(&path) {
        let problem = Problem::error("xnat::inventory::unreadable_file", format!("cannot read the signing key: {why}"));
        return Some(
            problem.help(
                "mend the path; it is relative to this file. The repository's documentation says where its key is",
            ),
        );
    }
    let text = context.around.keys.get(&index)?;
    (!text.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----")).then(|| {
        let problem = Problem::error("xnat::inventory::bad_key", "this file holds no armoured PGP public key");
        problem.help("turn a binary key into text with `gpg --enarmor < key.gpg > key.asc`")
    })
}

pub(super) fn assets(context: &Context<'_>) -> Vec<Problem> {
    let Some(why) = context.around.unreadable.get("assets") else { return Vec::new() };
    let directory = context.around.assets.as_ref().map(|assets| assets.display().to_string()).unwrap_or_default();
    let problem = Problem::error(
        "xnat::inventory::unreadable_file",
        format!("cannot read the assets directory {directory}: {why}"),
    );
    let problem = problem.at(context.places.has("assets").then(|| context.places.value("assets")).flatten(), "");
    vec![problem.help("mend the path; make a directory to start from with `xnat-provision assets export DIR`")]
}
