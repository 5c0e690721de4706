//! `vault`: what is in the file of secrets, changes to it, and other keys for it. A value is shown on request only, one at a
//! time, and taken from standard input or the terminal, never from the command line.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::connect::Terminal;
use super::edit;
use super::opened::Opened;
use super::{Failure, Globals, out};
use crate::error::{Exit, Fails};
use crate::inventory::Inventory;
use crate::report::Redactor;
use crate::secret::Secret;
use crate::vault::{self, Means, Opens, Rekeyed, Secrets};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the secrets and where they come from; print the value of one that is named
    #[command(after_help = NAMES)]
    Show {
        /// Whose value to print; without it, all are listed and no value is shown
        #[arg(value_name = "NAME")]
        first: Option<String>,
        /// The inventory [default: inventory.toml]
        #[arg(value_name = "INVENTORY")]
        second: Option<PathBuf>,
    },
    /// Give one secret another value, from standard input or asked for; what runs is not changed
    #[command(after_help = NAMES)]
    Set {
        name: String,
        /// The inventory
        #[arg(default_value = "inventory.toml")]
        inventory: PathBuf,
    },
    /// Edit all of it with $VISUAL or $EDITOR; what runs is not changed
    Edit {
        /// The inventory
        #[arg(default_value = "inventory.toml")]
        inventory: PathBuf,
    },
    /// Encrypt it anew as the inventory says now: another passphrase, identity or recipients, from plain text, or back
    #[command(
        after_help = "A passphrase to open it is taken from XNAT_VAULT_PASSPHRASE, a new one from XNAT_VAULT_NEW_PASSPHRASE; both are asked for otherwise."
    )]
    Rekey {
        /// An identity that opens it now, when the inventory names the new one already
        #[arg(long, value_name = "FILE")]
        old_identity: Vec<PathBuf>,
        /// The inventory
        #[arg(default_value = "inventory.toml")]
        inventory: PathBuf,
    },
    /// Make an identity: a file that opens vaults without a passphrase. Prints its recipient (age1…), which is public
    Identity {
        /// The file to make; its directory is made when it is missing
        file: PathBuf,
    },
}

const NAMES: &str = "Names: superuser, replication, rewind, rest_api, application, statistics.";

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum Refusal {
    #[error("there is no secret called {name}")]
    #[diagnostic(code(xnat::vault::unknown_name), help("{NAMES}"))]
    Unknown { name: String },
    #[error("the inventory says that {name} is kept elsewhere: {place}")]
    #[diagnostic(
        code(xnat::vault::elsewhere),
        help("change it there; or take its line under [secrets] out of the inventory first")
    )]
    Elsewhere { name: String, place: String },
    #[error("no value was given for {name}: standard input is empty")]
    #[diagnostic(
        code(xnat::vault::no_value),
        help("such as: openssl rand -hex 16 | xnat-provision vault set {name} INVENTORY")
    )]
    NoValue { name: String },
    #[error("the two values differ; nothing was changed")]
    #[diagnostic(code(xnat::vault::values_differ), help("try again"))]
    Differ,
    #[error("cannot read the value from standard input")]
    #[diagnostic(code(xnat::vault::stdin), help("it must be text in UTF-8"))]
    Stdin(#[source] std::io::Error),
}

impl Fails for Refusal {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    match args.command {
        Command::Show { first, second } => show(first, second, globals),
        Command::Set { name, inventory } => set(&name, &inventory, globals),
        Command::Edit { inventory } => {
            let mut opened = Opened::of(&inventory, globals)?;
            opened.must_exist()?;
            if edit::edit(&mut opened.vault, &opened.secrets, opened.terminal.as_ref()).await? {
                told(&opened.vault.path(), "changed", globals)?;
            } else {
                out::text("nothing was changed\n")?;
            }
            Ok(Exit::Ok)
        }
        Command::Rekey { old_identity, inventory } => rekey(&inventory, &old_identity, globals),
        Command::Identity { file } => {
            let recipient = vault::make_identity(&file)?;
            match globals.json {
                true => out::json(&json!({ "file": file, "recipient": recipient })),
                false => out::text(&format!("{recipient}\n")),
            }?;
            Ok(Exit::Ok)
        }
    }
}

/// Where a secret is taken from, in words.
fn source(opened: &Opened, name: &str) -> String {
    match opened.inventory.secrets.get(name) {
        Some(reference) => vault::place(reference),
        None if opened.vault.exists() => "the vault".to_owned(),
        None => "not made yet".to_owned(),
    }
}

fn show(first: Option<String>, second: Option<PathBuf>, globals: &Globals) -> Result<Exit, Failure> {
    // `vault show INVENTORY` and `vault show NAME` are both meant to work.
    let (name, inventory) = match (first, second) {
        (Some(only), None) if Secrets::names().all(|known| known != only) => (None, Some(PathBuf::from(only))),
        other => other,
    };
    let opened = Opened::of(&inventory.unwrap_or_else(|| PathBuf::from("inventory.toml")), globals)?;
    let Some(name) = name else { return list(&opened, globals) };
    let secret = opened.secrets.named(&name).ok_or_else(|| Refusal::Unknown { name: name.clone() })?;
    if !opened.inventory.secrets.contains_key(&name) {
        opened.must_exist()?;
    }
    match globals.json {
        true => out::json(&json!({ "name": name, "value": secret.expose() })),
        false => out::text(&format!("{}\n", secret.expose())),
    }?;
    Ok(Exit::Ok)
}

fn list(opened: &Opened, globals: &Globals) -> Result<Exit, Failure> {
    let secrets: Vec<(&str, String)> = Secrets::names().map(|name| (name, source(opened, name))).collect();
    let keys = opened.secrets.pki.keys().count();
    if globals.json {
        let list: Vec<Value> = secrets.iter().map(|(name, from)| json!({ "name": name, "from": from })).collect();
        out::json(
            &json!({ "path": opened.vault.path(), "exists": opened.vault.exists(), "secrets": list, "keys": keys }),
        )?;
        return Ok(Exit::Ok);
    }
    let mut text: String = secrets.iter().map(|(name, from)| format!("{name:<12} {from}\n")).collect();
    if keys > 0 {
        text.push_str(&format!("and {keys} private keys with their certificates\n"));
    }
    out::text(&text)?;
    Ok(Exit::Ok)
}

fn set(name: &str, inventory: &Path, globals: &Globals) -> Result<Exit, Failure> {
    if Secrets::names().all(|known| known != name) {
        return Err(Refusal::Unknown { name: name.to_owned() }.into());
    }
    let mut opened = Opened::of(inventory, globals)?;
    if let Some(reference) = opened.inventory.secrets.get(name) {
        let place = vault::place(reference);
        return Err(Refusal::Elsewhere { name: name.to_owned(), place }.into());
    }
    let value = value(name, opened.terminal.as_ref())?;
    vault::usable(name, &value)?;
    let existed = opened.vault.exists();
    opened.secrets.generate_missing()?;
    if let Some(secret) = opened.secrets.named_mut(name) {
        *secret = value;
    }
    opened.vault.keep(&opened.secrets)?;
    told(&opened.vault.path(), if existed { "changed" } else { "made" }, globals)?;
    Ok(Exit::Ok)
}

/// The new value, from whatever is at standard input.
fn value(name: &str, terminal: &Terminal) -> Result<Secret, Failure> {
    let mut stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        let nobody = || Refusal::NoValue { name: name.to_owned() };
        let first = Means::ask(terminal, &format!("new value of {name}")).ok_or_else(nobody)?;
        let again = Means::ask(terminal, "the same again").ok_or_else(nobody)?;
        return if first == again { Ok(first) } else { Err(Refusal::Differ.into()) };
    }
    let mut text = Zeroizing::new(String::new());
    stdin.read_to_string(&mut text).map_err(Refusal::Stdin)?;
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        return Err(Refusal::NoValue { name: name.to_owned() }.into());
    }
    Ok(Secret::new(value))
}

/// What was done, and that a cluster knows nothing of it yet.
fn told(path: &Path, what: &str, globals: &Globals) -> Result<(), Failure> {
    let old = vault::old(path);
    if globals.json {
        out::json(&json!({ "path": path, "done": what }))?;
        return Ok(());
    }
    let kept =
        if what == "changed" { format!("; the version before is kept as {}", old.display()) } else { String::new() };
    out::text(&format!(
        "{what} {}{kept}\nA cluster that runs still has the former values, until a command changes it: `apply`.\n",
        path.display()
    ))?;
    Ok(())
}

fn rekey(inventory: &Path, former: &[PathBuf], globals: &Globals) -> Result<Exit, Failure> {
    let inventory = Inventory::load(inventory, globals.assets.as_deref())?.inventory;
    let terminal = Terminal::of(&globals.answers, &Redactor::default());
    let done = vault::rekey(&inventory, terminal.clone(), &terminal.redactor, former)?;
    let Rekeyed { path, opens, old } = &done;
    let opens = match opens {
        Opens::Passphrase => vec!["passphrase".to_owned()],
        Opens::Recipients(all) => all.clone(),
        Opens::Owner => vec!["plain text".to_owned()],
    };
    if globals.json {
        out::json(&json!({ "path": path, "opens": opens, "old": old }))?;
        return Ok(Exit::Ok);
    }
    let old = old.as_ref().map_or_else(String::new, |old| {
        format!(
            "{} is the version before, which the former key still opens: remove it when this one works\n",
            old.display()
        )
    });
    out::text(&format!("wrote {}, opened by: {}\n{old}", path.display(), opens.join(", ")))?;
    Ok(Exit::Ok)
}
