//! `status`: asks every service of every host once (or again and again), prints the judgement, changes nothing.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::connect::ConnectArgs;
use super::opened::Opened;
use super::out::{self, OutputError, Reader};
use super::{Failure, Globals};
use crate::cluster::table::render;
use crate::cluster::{ClusterView, Gather, Health, assess, gather};
use crate::engine::{Dialer, Fleet};
use crate::error::{Exit, Fails};
use crate::inventory::Inventory;
use crate::report::{Redactor, Reporter};
use crate::transport::ssh::SshConnector;
use crate::vault::Secrets;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The inventory
    #[arg(value_name = "FILE", default_value = "inventory.toml")]
    inventory: PathBuf,
    /// Look again every SECS seconds (2 when not given) until Ctrl-C
    #[arg(long, value_name = "SECS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Waiting for a signal is not possible.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot wait for Ctrl-C")]
#[diagnostic(code(xnat::status::signal), help("leave out `--watch` and use `watch xnat-provision status`"))]
struct NoSignals(#[source] std::io::Error);

impl Fails for NoSignals {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let inventory = Inventory::load(&args.inventory, globals.assets.as_deref())?.inventory;
    let Opened { inventory, secrets, terminal, .. } = Opened::with_supplied(inventory, globals)?;
    let redactor = terminal.redactor.clone();
    let mut watcher = Watcher {
        connector: args.connect.connector(&terminal)?,
        inventory,
        secrets,
        fleet: Fleet::default(),
        reporter: Reporter::muted(),
        redactor,
    };
    let form = if globals.json { Form::Json } else { Form::Text };
    let exit = match args.watch {
        None => {
            let (view, health) = watcher.look().await;
            out::text(&watcher.redactor.clean(&document(&view, &health, form)?))?;
            exit(&view, &health)
        }
        Some(seconds) => watch(&mut watcher, Duration::from_secs(seconds), form).await?,
    };
    watcher.fleet.close(&watcher.reporter).await;
    Ok(exit)
}

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

fn document(view: &ClusterView, health: &Health, form: Form) -> Result<String, OutputError> {
    match form {
        Form::Text => Ok(render(view, health, out::look())),
        Form::Json => out::json_text(&json!({
            "cluster": view.cluster,
            "healthy": health.healthy,
            "verdict": health.verdict,
            "problems": health.problems,
            "view": view,
        })),
    }
}

/// Keeps connections between looks, and tries those again that failed.
struct Watcher {
    connector: SshConnector,
    inventory: Inventory,
    secrets: Secrets,
    fleet: Fleet,
    reporter: Reporter,
    /// For what hosts say of themselves.
    redactor: Redactor,
}

impl Watcher {
    async fn look(&mut self) -> (ClusterView, Health) {
        let parallel = self.inventory.hosts.len();
        let dialer = Dialer { connector: &self.connector, parallel, reporter: &self.reporter };
        self.fleet.connect(&self.inventory, dialer).await;
        let view = gather(&Gather {
            inventory: &self.inventory,
            connections: &self.fleet.connections,
            unreachable: &self.fleet.reasons(),
            secrets: self.secrets.real(),
        })
        .await;
        // A connection over which nothing could be asked is lost; the next look makes a new one.
        self.fleet.connections.retain(|host, _| view.heard_from(host));
        let health = assess(&view, &self.inventory);
        (view, health)
    }
}

/// Look again and again until a signal comes or nobody reads any more; the last thing seen decides how to exit.
async fn watch(watcher: &mut Watcher, every: Duration, form: Form) -> Result<Exit, Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(NoSignals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(NoSignals)?;
    let mut screen = Screen::open(form)?;
    let mut last = Exit::Unreachable;
    loop {
        tokio::select! {
            (view, health) = watcher.look() => {
                last = exit(&view, &health);
                if screen.show(&watcher.redactor.clean(&document(&view, &health, form)?))? == Reader::Gone {
                    return Ok(last);
                }
            }
            _ = interrupt.recv() => return Ok(last),
            _ = terminate.recv() => return Ok(last),
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = interrupt.recv() => return Ok(last),
            _ = terminate.recv() => return Ok(last),
        }
    }
}

/// A terminal's alternate screen, redrawn in place; elsewhere one text after the other. When it is dropped the terminal
/// is as it was before, with the last text on it.
struct Screen {
    alternate: bool,
    last: String,
}

impl Screen {
    fn open(form: Form) -> Result<Self, OutputError> {
        let alternate = form == Form::Text && std::io::stdout().is_terminal();
        if alternate {
            // Alternate screen, no cursor.
            out::text("\x1b[?1049h\x1b[?25l")?;
        }
        Ok(Self { alternate, last: String::new() })
    }

    fn show(&mut self, text: &str) -> Result<Reader, OutputError> {
        let between = if self.last.is_empty() { "" } else { "\n" };
        text.clone_into(&mut self.last);
        if !self.alternate {
            return out::text(&format!("{between}{text}"));
        }
        // Home, every line with the rest of the old one erased, then what is below. What does not fit stays away:
        // scrolling would take the verdict with it.
        let rows = console::Term::stdout().size_checked().map_or(usize::MAX, |(rows, _)| rows.into());
        let lines: Vec<&str> = text.lines().take(rows.saturating_sub(1)).collect();
        out::text(&format!("\x1b[H{}\x1b[K\n\x1b[J", lines.join("\x1b[K\n")))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.alternate {
            // a terminal that cannot be written to any more is gone: there is nothing to put right
            out::text(&format!("\x1b[?25h\x1b[?1049l{}", self.last)).ok();
        }
    }
}
