//! `certs`: which certificates there are, whether services show them, and new ones.

mod rotate;
mod status;

use std::path::PathBuf;

use serde_json::json;

use super::connect::ConnectArgs;
use super::{Failure, Globals, out};
use crate::error::Exit;
use crate::inventory::Inventory;
use crate::pki::{self, read::Uses};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Every certificate: whose, for what, until when, where, and whether the service really shows it
    #[command(
        after_help = "Exit status: 0 all is well, 4 one has ended or a service shows another one, 3 a host could not be reached, 2 a mistake in the inventory."
    )]
    Status(StatusArgs),
    /// Which certificates somebody else has to sign, for [tls] certificates; connects to nothing
    Wanted {
        /// The inventory
        #[arg(value_name = "INVENTORY", default_value = "inventory.toml")]
        inventory: PathBuf,
    },
    /// New certificates, or a new authority, without an interruption
    #[command(
        after_help = "Exit status: as `apply`. Cut anywhere, the same command goes on where it was; an `apply` in between does no harm."
    )]
    Rotate(rotate::Args),
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// The inventory
    #[arg(value_name = "INVENTORY", default_value = "inventory.toml")]
    inventory: PathBuf,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    match args.what {
        What::Status(args) => status::run(args, globals).await,
        What::Wanted { inventory } => {
            list_wanted(&Inventory::load(&inventory, globals.assets.as_deref())?.inventory, globals)
        }
        What::Rotate(args) => rotate::run(args, globals).await,
    }
}

/// What to hand to the people of an authority.
fn list_wanted(inventory: &Inventory, globals: &Globals) -> Result<Exit, Failure> {
    let wanted = pki::wanted(inventory);
    let own = [None].into_iter().filter(|_| !wanted.is_empty());
    let rows: Vec<[String; 4]> = wanted
        .iter()
        .map(Some)
        .chain(own)
        .map(|one| {
            let (certificate, key) = pki::files(one);
            let names = one.map(|one| one.public_names().collect::<Vec<_>>().join(", ")).unwrap_or_default();
            let uses = one.map_or(Uses { server: false, client: true }, |one| one.purpose.uses());
            let uses = [("serverAuth", uses.server), ("clientAuth", uses.client)];
            let uses: Vec<&str> = uses.iter().filter(|(_, needed)| *needed).map(|(name, _)| *name).collect();
            [certificate, key, names, uses.join(", ")]
        })
        .collect();
    let header = ["certificate", "key", "names", "uses"];
    if globals.json {
        let object = |[certificate, key, names, uses]: &[String; 4]| json!({ "certificate": certificate, "key": key, "names": split(names), "uses": split(uses) });
        out::json(&rows.iter().map(object).collect::<Vec<_>>())?;
    } else {
        out::text(&out::table(&header, &rows))?;
    }
    Ok(Exit::Ok)
}

fn split(list: &str) -> Vec<&str> {
    list.split(", ").filter(|word| !word.is_empty()).collect()
}
