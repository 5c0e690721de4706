//! `status`: asks every service of every host once (or again and again), prints the judgement, changes nothing.

mod drilled;
mod full_screen;
mod signals;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::connect::{ConnectArgs, Terminal};
use super::opened::Opened;
use super::out::{self, OutputError};
use super::{Failure, Globals};
use crate::cluster::table::render;
use crate::cluster::{ClusterView, Gather, Health, assess, gather};
use crate::engine::{Dialer, Fleet};
use crate::error::Exit;
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::report::Reporter;
use crate::transport::Transport;
use crate::transport::ssh::SshConnector;
use crate::vault::Secrets;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The inventory
    #[arg(value_name = "FILE", default_value = "inventory.toml")]
    inventory: PathBuf,
    /// Look again every SECS seconds (2 when not given), on a terminal with the whole screen: `q` leaves, `?` says more
    #[arg(long, value_name = "SECS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let inventory = Inventory::load(&args.inventory, globals.assets.as_deref())?.inventory;
    let Opened { inventory, secrets, terminal, .. } = Opened::with_supplied(inventory, globals)?;
    let watcher = Watcher {
        connector: args.connect.connector(&terminal)?,
        inventory,
        secrets,
        reporter: Reporter::muted(),
        terminal,
        drilled: drilled::Drilled::default(),
    };
    let mut fleet = Fleet::default();
    let form = if globals.json { Form::Json } else { Form::Text };
    let exit = match args.watch {
        None => {
            let (view, health) = watcher.look(&mut fleet).await;
            out::text(&watcher.document((&view, &health), form)?)?;
            exit(&view, &health)
        }
        Some(seconds) if form == Form::Text && full_screen::is_possible() => {
            full_screen::watch((&watcher, &mut fleet), Duration::from_secs(seconds)).await?
        }
        Some(seconds) => watch::watch((&watcher, &mut fleet), Duration::from_secs(seconds), form).await?,
    };
    fleet.close(&watcher.reporter).await;
    Ok(exit)
}

type Connections = BTreeMap<HostName, Arc<dyn Transport>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
}

fn exit(view: &ClusterView, health: &Health) -> Exit {
    match health.healthy {
        true => Exit::Ok,
        false if view.is_blind() => Exit::Unreachable,
        false => Exit::Unhealthy,
    }
}

/// What a look takes.
struct Watcher {
    connector: SshConnector,
    inventory: Inventory,
    secrets: Secrets,
    reporter: Reporter,
    terminal: Arc<Terminal>,
    drilled: drilled::Drilled,
}

impl Watcher {
    /// Keeps connections between looks, and tries those again that failed.
    async fn look(&self, fleet: &mut Fleet) -> (ClusterView, Health) {
        fleet.connect(&self.inventory, self.dialer()).await;
        let seen = self.ask(&fleet.connections, &fleet.reasons()).await;
        // A connection over which nothing could be asked is lost; the next look makes a new one.
        fleet.connections.retain(|host, _| seen.0.heard_from(host));
        seen
    }

    fn dialer(&self) -> Dialer<'_> {
        Dialer { connector: &self.connector, parallel: self.inventory.hosts.len(), reporter: &self.reporter }
    }

    async fn ask(&self, connections: &Connections, unreachable: &BTreeMap<HostName, String>) -> (ClusterView, Health) {
        let (inventory, secrets) = (&self.inventory, self.secrets.real());
        let view = gather(&Gather { inventory, connections, unreachable, secrets }).await;
        let mut health = assess(&view, inventory);
        health.problems.extend(self.drilled.told(&inventory.cluster));
        health.problems.extend(super::migrate::told(&inventory.cluster));
        (view, health)
    }

    fn document(&self, (view, health): (&ClusterView, &Health), form: Form) -> Result<String, OutputError> {
        let text = match form {
            Form::Text => render(view, health, out::look()),
            Form::Json => json_document(view, health)?,
        };
        // hosts say what they like of themselves
        Ok(self.terminal.redactor.clean(&text).into_owned())
    }
}

pub(super) fn json_document(view: &ClusterView, health: &Health) -> Result<String, OutputError> {
    out::json_text(&json!({
        "cluster": view.cluster,
        "healthy": health.healthy,
        "verdict": health.verdict,
        "problems": health.problems,
        "view": view,
    }))
}
