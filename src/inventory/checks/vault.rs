//! Where secrets are kept and what opens them.

use super::super::problem::Problem;
use super::super::raw::Reference;
use super::Context;

pub(super) fn recipients(context: &Context<'_>) -> Vec<Problem> {
    let given = context.inventory.vault.recipients.iter().enumerate();
    let bad = given.filter(|(_, text)| text.parse::<age::x25519::Recipient>().is_err());
    let problem = |(nth, text): (usize, &String)| {
        let list = format!("vault.recipients[{nth}]");
        // The text itself is not repeated when it is what must be kept secret.
        let (message, help) = if text.to_uppercase().starts_with("AGE-SECRET-KEY-") {
            let help = "put the public key here, `age1…`, which stands in the identity file as a comment; and make a new \
                        identity if others have seen this file";
            ("this is a private key, not a recipient".to_owned(), help)
        } else {
            (
                format!("\"{text}\" is not an age recipient"),
                "it is what `xnat-provision vault identity FILE` prints: age1…",
            )
        };
        Problem::error("xnat::inventory::bad_recipient", message).at(context.places.value(&list), "").help(help)
    };
    bad.map(problem).collect()
}

pub(super) fn passphrase(context: &Context<'_>) -> Vec<Problem> {
    let vault = &context.inventory.vault;
    let Some(command) = &vault.passphrase_command else { return Vec::new() };
    let place = context.places.value("vault.passphrase_command");
    if command.trim().is_empty() {
        let problem = Problem::error("xnat::inventory::no_command", "passphrase_command is empty").at(place, "");
        return vec![problem.help("give a command that prints the passphrase, such as \"pass show xnat-vault\"")];
    }
    if vault.identity.is_empty() {
        return Vec::new();
    }
    let problem = Problem::error("xnat::inventory::two_keys", "the vault has an identity or a passphrase, not both");
    let problem = problem.at(place, "").at(context.places.value("vault.identity"), "");
    vec![problem.help("leave out passphrase_command, or identity")]
}

pub(super) fn references(context: &Context<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, one) in context.raw.secrets.each() {
        let path = format!("secrets.{name}");
        if !context.places.is_whole(&path) {
            continue;
        }
        let Some(what) = unclear(one) else { continue };
        let problem = Problem::error("xnat::inventory::bad_reference", format!("the secret {name} {what}"));
        let help = format!(
            "exactly one of these: {name} = {{ env = \"VARIABLE\" }}, {{ file = \"PATH\" }} or {{ command = \"pass show xnat\" }}"
        );
        problems.push(problem.at(context.places.value(&path), "").help(help));
    }
    problems
}

/// What is wrong with a reference: it has to say exactly one place.
pub(super) fn unclear(one: &Reference) -> Option<&'static str> {
    let given: Vec<&String> = [&one.env, &one.file, &one.command].into_iter().flatten().collect();
    match given[..] {
        [only] if !only.is_empty() => None,
        [_] => Some("says an empty place"),
        [] => Some("says no place"),
        _ => Some("says several places"),
    }
}
