//! Poison: secrets are put into everything that can be said, and must be nowhere in what comes out. The check knows
//! nothing of how redaction works: it decodes what it is shown. Planted leaks prove that it would see one.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use indicatif::InMemoryTerm;
use jiff::Timestamp;
use proptest::prelude::*;
use xnat_provision::inventory::Inventory;
use xnat_provision::names::HostName;
use xnat_provision::report::human::{Human, Motion};
use xnat_provision::report::journal::{Recording, Store};
use xnat_provision::report::json::Json;
use xnat_provision::report::look::Look;
use xnat_provision::report::plain::Plain;
use xnat_provision::report::{
    Event, InventoryFile, Kind, Options, Origin, Outcome, Redactor, Registration, Renderer, Show, start,
};
use xnat_provision::secret::Secret;
use xnat_provision::vault::{self, Means, Secrets, Vault, VaultError};
use xnat_provision::workflow::support_bundle::Bundle;

use crate::report::{Paper, play};

/// The secrets that can be read in a text, whichever way they are written in it.
fn leaks<'a>(text: &str, secrets: &'a [String]) -> Vec<&'a str> {
    let mut readings = Vec::new();
    // JSON may be in a string in JSON.
    let once = unescaped(text);
    for text in [text, &unescaped(&once), &once] {
        readings.extend(read_plainly(text));
        readings.extend(read_as_base64(text));
    }
    let readable = |secret: &&String| readings.iter().any(|reading| contains(reading, secret.as_bytes()));
    secrets.iter().filter(readable).map(String::as_str).collect()
}

fn read_plainly(text: &str) -> Vec<Vec<u8>> {
    let unquoted = text.replace(r"'\''", "'").replace(r#"'"'"'"#, "'").replace("''", "'");
    let spaced = text.replace('+', " ");
    vec![text.into(), unquoted.into_bytes(), percent_decoded(text), percent_decoded(&spaced)]
}

fn read_as_base64(text: &str) -> Vec<Vec<u8>> {
    let mut readings = Vec::new();
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/-_".contains(c);
    for run in text.split(|c| !is_base64(c)).filter(|run| run.len() > 4) {
        let run = run.replace('-', "+").replace('_', "/");
        for skip in 0..4 {
            let whole = (run.len() - skip) / 4 * 4;
            readings.extend(STANDARD.decode(&run[skip..skip + whole]).ok());
            readings.extend(STANDARD_NO_PAD.decode(&run[skip..]).ok());
        }
    }
    readings
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn unescaped(text: &str) -> String {
    let mut chars = text.chars();
    let mut plain = String::new();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes().peekable();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        let rest: Vec<u8> = bytes.clone().take(2).collect();
        let escape = std::str::from_utf8(&rest).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escape {
            Some(value) if byte == b'%' && rest.len() == 2 => {
                decoded.push(value);
                bytes.nth(1);
            }
            _ => decoded.push(byte),
        }
    }
    decoded
}

/// A secret as different programs would print it.
fn forms(secret: &str) -> Vec<String> {
    let json = serde_json::to_string(secret).expect("a string");
    let escaped =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02x}") };
    let mut forms = vec![
        secret.to_owned(),
        json[1..json.len() - 1].to_owned(),
        format!("'{}'", secret.replace('\'', r"'\''")),
        format!("'{}'", secret.replace('\'', "''")),
        secret.bytes().map(escaped).collect(),
    ];
    for before in ["", "u", "us", "user"] {
        forms.push(STANDARD.encode(format!("{before}:{secret}\n")));
        forms.push(URL_SAFE_NO_PAD.encode(format!("{before}{secret}")));
    }
    forms
}

/// Every kind of event, with `text` wherever there is room for a text.
fn kinds(text: &str) -> Vec<Kind> {
    let t = || text.to_owned();
    let hosts = || vec![HostName::new("db1")];
    vec![
        Kind::RunStarted {
            command: t(),
            cluster: t(),
            hosts: hosts(),
            version: t(),
            origin: Some(Origin { user: t(), machine: t(), from: Some(t()), arguments: vec![t()] }),
            inventory: Some(InventoryFile { path: t(), sha256: t() }),
        },
        Kind::Connected { address: t(), user: t(), millis: 1 },
        Kind::FactsGathered { os: t(), release: t(), arch: t(), cpus: 1, memory_kib: 1 },
        Kind::PlanMade { changes: 1, hosts: 1, plan: Some(serde_json::json!({"stages": [{"title": t()}, t()]})) },
        Kind::StagesPlanned { titles: vec![t(), t()] },
        Kind::StageStarted { hosts: hosts() },
        Kind::StepStarted { title: t() },
        Kind::OutputLine { line: t() },
        Kind::Waiting { what: t(), reason: t(), seconds: 1 },
        Kind::ChangeApplied { resource: t(), summary: t(), millis: 1 },
        Kind::StepFinished { title: t(), millis: 1 },
        Kind::StepSkipped { title: t(), why: t() },
        Kind::Warned { message: t(), help: Some(t()) },
        Kind::Failed {
            code: t(),
            message: t(),
            causes: vec![t()],
            help: Some(t()),
            output_tail: text.lines().map(str::to_owned).collect(),
        },
        Kind::HostFinished { outcome: Outcome::Ok, changed: 1, millis: 1 },
        Kind::StageFinished { outcome: Outcome::Failed, changed: 1, millis: 1 },
        Kind::Observed { text: t(), millis: 1500 },
        Kind::Interrupted,
        Kind::Disconnected { round_trips: 2 },
        Kind::RunFinished { outcome: Outcome::Failed, changed: 1, millis: 1 },
    ]
}

/// A new kind must be put into [`kinds`]: this match makes the compiler ask for it.
fn is_in_kinds(kind: &Kind) -> bool {
    match kind {
        Kind::RunStarted { .. } | Kind::Connected { .. } | Kind::FactsGathered { .. } | Kind::PlanMade { .. } => true,
        Kind::StagesPlanned { .. } | Kind::StageStarted { .. } | Kind::StageFinished { .. } => true,
        Kind::HostFinished { .. } | Kind::StepStarted { .. } | Kind::StepFinished { .. } => true,
        Kind::StepSkipped { .. } | Kind::Warned { .. } | Kind::ChangeApplied { .. } | Kind::Waiting { .. } => true,
        Kind::Disconnected { .. }
        | Kind::OutputLine { .. }
        | Kind::Observed { .. }
        | Kind::Failed { .. }
        | Kind::Interrupted
        | Kind::RunFinished { .. } => true,
        Kind::Unknown => false,
    }
}

/// What a run that says all this leaves behind: the journal as text, and what each renderer shows.
async fn everything_said(redactor: Redactor, kinds: Vec<Kind>, stage: &str) -> Vec<(&'static str, String)> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Some(Store::at(directory.path()));
    let (reporter, running) = start(Options { cluster: "xnat".to_owned(), show: Show::Plain, store, redactor });
    let path = running.journal().expect("a journal").to_owned();
    let speaker = reporter.for_host(&"db1".into()).for_stage(stage);
    for kind in kinds {
        assert!(is_in_kinds(&kind));
        speaker.emit(kind).await;
    }
    drop((speaker, reporter));
    let finished = running.finish().await.expect("finished");
    let events = Recording::read(&path).expect("read").events;
    let mut said =
        vec![("journal", fs::read_to_string(&path).expect("read")), ("state", format!("{:?}", finished.state))];
    said.extend(shown(&events));
    // What stands on lines below each other can be put together again.
    said.push(("fields", fields(&events).concat()));
    said
}

fn shown(events: &[Event]) -> Vec<(&'static str, String)> {
    let (plain, json) = (Paper::default(), Paper::default());
    let term = InMemoryTerm::new(500, 500);
    let clock = || Timestamp::UNIX_EPOCH;
    let renderers: [Box<dyn Renderer>; 3] = [
        Box::new(Plain::new(plain.clone())),
        Box::new(Json::new(json.clone())),
        Box::new(Human::new(term.clone(), Look::PLAIN, Motion::Stepped(clock))),
    ];
    for mut renderer in renderers {
        play(renderer.as_mut(), events, Some(Path::new("journal")));
    }
    vec![("plain", plain.text()), ("json", json.text()), ("terminal", term.contents())]
}

/// Every text in the events, one after the other.
fn fields(events: &[Event]) -> Vec<String> {
    fn collect(value: &serde_json::Value, into: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) => into.push(text.replace([' ', '\n'], "")),
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
            serde_json::Value::Object(fields) => fields.values().for_each(|field| collect(field, into)),
            _ => {}
        }
    }
    let mut texts = Vec::new();
    events.iter().for_each(|event| collect(&serde_json::to_value(event).expect("JSON"), &mut texts));
    texts
}

/// Nobody to ask, and nothing in the environment.
struct Nobody;

impl Means for Nobody {
    fn ask(&self, _: &str) -> Option<Secret> {
        None
    }
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

fn open(directory: &Path) -> Result<(Vault, Secrets), VaultError> {
    let inventory = Inventory::load(&directory.join("xnat.toml"), None).expect("a good inventory").inventory;
    let mut vault = Vault::of(&inventory, Arc::new(Nobody), &Redactor::default());
    let secrets = vault.open()?;
    Ok((vault, secrets))
}

/// A new cluster's vault in a directory of its own; the inventory says this besides what it has to.
fn vault_with(settings: &str) -> (tempfile::TempDir, (Vault, Secrets)) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let minimal = include_str!("../../inventory/minimal.toml");
    let inventory = format!("{minimal}\n[vault]\nidentity = \"key.txt\"\n{settings}");
    fs::write(directory.path().join("xnat.toml"), inventory).expect("written");
    vault::make_identity(&directory.path().join("key.txt")).expect("made");
    let (mut vault, mut secrets) = open(directory.path()).expect("nothing there");
    secrets.generate_missing().expect("random");
    vault.keep(&secrets).expect("kept");
    (directory, (vault, secrets))
}

/// The secrets of a new cluster, and one that somebody chose badly.
fn poisons() -> (tempfile::TempDir, Vec<Secret>, Vec<String>) {
    let (directory, made) = vault_with("");
    let made = made.1;
    let own = Secret::new(r#"it's "my" own $ecret & päss/word\"#);
    let secrets: Vec<Secret> = made.each().map(|(_, secret)| secret.clone()).chain([own]).collect();
    let values = secrets.iter().map(|secret| secret.expose().to_owned()).collect();
    (directory, secrets, values)
}

#[tokio::test]
async fn no_secret_is_in_anything_that_is_said() {
    let (_directory, secrets, values) = poisons();
    let redactor = Redactor::default();
    for secret in &secrets {
        assert_eq!(redactor.register(secret), Registration::Masked);
    }
    let text = values.iter().flat_map(|value| forms(value)).collect::<Vec<_>>().join(" | ");
    let said = everything_said(redactor.clone(), kinds(&text), &text).await;
    for (place, said) in &said {
        assert_eq!(leaks(said, &values), Vec::<&str>::new(), "in {place}");
        assert!(said.contains("***"), "{place} says something");
    }
    assert_eq!(leaks(&redactor.clean(&format!("error: {text}")), &values), Vec::<&str>::new());
    for secret in &secrets {
        assert!(!format!("{secret:?} {secret}").contains(secret.expose()));
    }
}

/// The bundle masks whatever is put into it, where it stands and in its manifest.
#[test]
fn no_secret_is_in_a_support_bundle() {
    let (_directory, secrets, values) = poisons();
    let text = values.iter().flat_map(|value| forms(value)).collect::<Vec<_>>().join(" | ");
    let unpacked = |redactor: &Redactor| {
        let mut bundle = Bundle::new("xnat", redactor, "masked".to_owned());
        bundle.add("logs.txt", &text, &text);
        bundle.miss(&text, &text);
        let bytes = bundle.archive().expect("an archive");
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes.as_slice()), &mut all).expect("gzip");
        String::from_utf8_lossy(&all).into_owned()
    };
    let redactor = Redactor::default();
    assert!(!leaks(&unpacked(&redactor), &values).is_empty(), "a leak would be seen");
    for secret in &secrets {
        assert_eq!(redactor.register(secret), Registration::Masked);
    }
    let masked = unpacked(&redactor);
    assert_eq!(leaks(&masked, &values), Vec::<&str>::new());
    assert!(masked.contains("***"));
}

#[tokio::test]
async fn a_planted_leak_is_seen() {
    let (_directory, _, values) = poisons();
    // A made one and the badly chosen one.
    for form in values[5..].iter().flat_map(|value| forms(value)) {
        let said = everything_said(Redactor::default(), kinds(&form), "stage").await;
        for (place, said) in said.iter().filter(|(place, _)| ["journal", "plain", "json", "terminal"].contains(place)) {
            assert!(!leaks(said, &values).is_empty(), "{form} was not seen in {place}");
        }
    }
}

#[test]
fn the_secrets_file_is_not_shown_by_its_errors() {
    let (directory, (vault, made)) = vault_with("encryption = \"none\"\n");
    let values: Vec<String> = made.each().map(|(_, secret)| secret.expose().to_owned()).collect();
    let path = vault.path();
    let good = fs::read_to_string(&path).expect("read");
    // Cut anywhere, or without one of its quotes, or with one more: never shown.
    let broken = (0..good.len()).step_by(3).map(|at| good[..at].to_owned());
    let unquoted = good.match_indices('"').map(|(at, _)| format!("{}{}", &good[..at], &good[at + 1..]));
    for text in broken.chain(unquoted) {
        fs::write(&path, text).expect("written");
        if let Err(error) = open(directory.path()) {
            let plain = format!("{error} {error:?}");
            let shown = format!("{plain} {:?}", miette::Report::new(error));
            let pieces: Vec<String> = values.iter().map(|value| value[..12].to_owned()).collect();
            assert_eq!(leaks(&shown, &pieces), Vec::<&str>::new());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    /// Whatever the secret, however it is written, wherever it stands.
    #[test]
    fn no_registered_secret_survives(
        // Without what the mask is made of, and with something that the words around it have not.
        secret in r#"[ -)+-~äß€]{2,20}[0-9A-Z][ -)+-~äß€]{3,20}"#,
        around in ("[a-z ]{0,9}", "[a-z ]{0,9}"),
        form in 0..13_usize,
        wrap in 16..80_usize,
    ) {
        let redactor = Redactor::default();
        prop_assert_eq!(redactor.register(&Secret::new(secret.as_str())), Registration::Masked);
        let values = [secret.clone()];
        let forms = forms(&secret);
        let written = &forms[form % forms.len()];
        let text = format!("{}{written}{}", around.0, around.1);
        prop_assert!(leaks(&redactor.clean(&text), &values).is_empty(), "{} in {text}", redactor.clean(&text));
        // Base64 is what tools wrap; other texts keep their lines. Only typed passwords are shorter than those of the
        // vault, and we never encode them; of theirs, both pieces can be too short to be known again.
        if secret.len() < vault::SHORTEST {
            return Ok(());
        }
        let encoded: Vec<char> = STANDARD.encode(&text).chars().collect();
        let lines: Vec<String> = encoded.chunks(wrap).map(|line| line.iter().collect()).collect();
        let clean: String = lines.iter().map(|line| redactor.clean(line).into_owned()).collect();
        prop_assert!(leaks(&clean, &values).is_empty(), "{clean} of {lines:?}");
    }
}
