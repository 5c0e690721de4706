//! `doctor`: what is wrong with a cluster, why, and what to do about it. Changes nothing.

use std::path::PathBuf;

use super::connect::{ConnectArgs, quietly};
use super::opened::Opened;
use super::out;
use super::{Failure, Globals};
use crate::cluster::{ClusterView, Severity};
use crate::doctor::{Diagnosis, render};
use crate::error::Exit;
use crate::inventory::Inventory;
use crate::report::Reporter;
use crate::workflow::doctor::diagnose;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Changes nothing, and works with whatever answers. Exit status: 0 nothing found, 1 failed, 2 a mistake in the inventory, 3 nothing could be asked, 4 something is wrong."
)]
pub struct Args {
    /// The inventory
    #[arg(value_name = "FILE", default_value = "inventory.toml")]
    inventory: PathBuf,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let inventory = Inventory::load(&args.inventory, globals.assets.as_deref())?.inventory;
    let Opened { inventory, secrets, terminal, .. } = Opened::with_supplied(inventory, globals)?;
    let connector = args.connect.connector(&terminal)?;
    let mut fleet = quietly(&inventory, &connector).await;
    let (view, diagnosis) = diagnose(&fleet, &inventory, &secrets).await;
    fleet.close(&Reporter::muted()).await;
    let text = if globals.json { out::json_text(&diagnosis)? } else { render(&diagnosis, out::look()) };
    out::text(&terminal.redactor.clean(&text))?;
    Ok(exit(&view, &diagnosis))
}

fn exit(view: &ClusterView, diagnosis: &Diagnosis) -> Exit {
    match diagnosis.findings.iter().all(|finding| finding.severity == Severity::Notice) {
        true => Exit::Ok,
        false if view.is_blind() => Exit::Unreachable,
        false => Exit::Unhealthy,
    }
}
