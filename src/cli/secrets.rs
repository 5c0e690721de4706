//! `secrets rotate`: new passwords, in steps between which every member's login works. Each step is an ordinary apply whose
//! vault has another phase of the rotation.

use std::path::PathBuf;

use super::apply::Request;
use super::confirm::Ask;
use super::connect::ConnectArgs;
use super::session::{Need, Opening, Session, Target};
use super::{Failure, Globals};
use crate::engine::Scrutiny;
use crate::error::{Exit, Fails};
use crate::quote;
use crate::report::{Kind, Show};
use crate::vault::Secrets;
use crate::vault::rotation::{Phase, Rotation, Step};
use crate::workflow::Scope;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// New passwords, carried to PostgreSQL, Patroni and HAProxy without an interruption
    #[command(
        after_help = "Exit status: as `apply`. Cut anywhere, the same command goes on where it was; an `apply` in between does no harm."
    )]
    Rotate(RotateArgs),
}

#[derive(Debug, clap::Args)]
struct RotateArgs {
    /// The names of some passwords (all that are in the vault when none is named), then the inventory
    #[arg(value_name = "NAME | INVENTORY")]
    words: Vec<String>,
    #[command(flatten)]
    connect: ConnectArgs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("there is no password named {name}")]
#[diagnostic(code(xnat::secrets::unknown), help("there are {}", Secrets::names().collect::<Vec<_>>().join(", ")))]
struct Unknown {
    name: String,
}

impl Fails for Unknown {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// The last word is the inventory, unless it is a name.
fn names_and_inventory(mut words: Vec<String>) -> Result<(Vec<String>, PathBuf), Unknown> {
    let is_name = |word: &String| Secrets::names().any(|name| name == word);
    let inventory = words.pop_if(|word| !is_name(word)).unwrap_or_else(|| "inventory.toml".to_owned());
    match words.iter().find(|word| !is_name(word)) {
        Some(name) => Err(Unknown { name: name.clone() }),
        None => Ok((words, inventory.into())),
    }
}

/// One run after the other, until nothing is under way any more.
pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let What::Rotate(RotateArgs { words, connect, yes }) = args.what;
    let (names, inventory) = names_and_inventory(words)?;
    let target = Target { inventory, connect };
    let ask = if yes { Ask::SaidYes } else { Ask::Terminal };
    let mut step = Step::Begin(names);
    loop {
        let (exit, under_way) = take(step, &target, (ask, globals)).await?;
        if exit != Exit::Ok || !under_way {
            return Ok(exit);
        }
        step = Step::Next;
    }
}

/// One step, and whether there is another one after it.
async fn take(step: Step, target: &Target, (ask, globals): (Ask, &Globals)) -> Result<(Exit, bool), Failure> {
    let show = if globals.json { Show::Json } else { Show::detect() };
    let opening =
        Opening { command: "secrets rotate", show, globals, secrets: Need::Yes, scrutiny: Scrutiny::NewHosts };
    let mut session = Session::open_for(target, opening, step).await?;
    let under_way = session.secrets.rotation.clone();
    if let Some(event) = under_way.as_ref().and_then(|rotation| about_clients(rotation, target)) {
        session.reporter.emit(event).await;
    }
    let scope = Scope { limit: Vec::new(), parallel: None };
    let result = Request::new(ask, globals, &scope).run(&mut session).await;
    Ok((session.finish(result).await?, under_way.is_some()))
}

/// Whoever has the application's password must hear of it before it changes.
fn about_clients(rotation: &Rotation, target: &Target) -> Option<Kind> {
    let concerned = rotation.names().contains("application");
    let message = match rotation.phase {
        Phase::Introduce => {
            "the application's password will be another one: connections that stand go on, new ones will need the new password"
        }
        Phase::Change => {
            "the application's password changes with this step: connections that stand go on, new ones need the new password"
        }
        Phase::Move | Phase::Return => return None,
    };
    let help = format!(
        "then put the new one into XNAT's configuration (datasource.password): `xnat-provision vault show application {}`",
        quote::path(&target.inventory)
    );
    concerned.then(|| Kind::Warned { message: message.to_owned(), help: Some(help) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_before_the_inventory() {
        let parse = |words: &[&str]| names_and_inventory(words.iter().map(ToString::to_string).collect());
        let good = [
            (&[][..], (&[][..], "inventory.toml")),
            (&["x.toml"], (&[], "x.toml")),
            (&["rewind"], (&["rewind"], "inventory.toml")),
            (&["rewind", "superuser", "x.toml"], (&["rewind", "superuser"], "x.toml")),
        ];
        for (words, (names, inventory)) in good {
            let parsed = parse(words).expect("good");
            assert_eq!(parsed, (names.iter().map(ToString::to_string).collect(), PathBuf::from(inventory)));
        }
        let refused = parse(&["rewnid", "x.toml"]).expect_err("no such name");
        assert_eq!(refused.to_string(), "there is no password named rewnid");
    }
}
