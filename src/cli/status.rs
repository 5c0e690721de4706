//! `status`: asks every service of every host once (or again and again), prints the judgement, changes nothing.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::connect::ConnectArgs;
use super::{Failure, Globals};
use crate::cluster::table::{Look, Paint, render};
use crate::cluster::{ClusterView, Gather, Health, assess, gather};
use crate::error::{Exit, Fails};
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::transport::Transport;
use crate::transport::ssh::SshConnector;
use crate::vault::{self, Secrets};

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
    let secrets = vault::load(&args.inventory)?;
    let mut watcher = Watcher {
        connector: args.connect.connector()?,
        inventory,
        secrets,
        connections: BTreeMap::new(),
        unreachable: BTreeMap::new(),
    };
    let form = if globals.json { Form::Json } else { Form::Text };
    let exit = match args.watch {
        None => {
            let (view, health) = watcher.look().await;
            print(&document(&view, &health, form));
            exit(&view, &health)
        }
        Some(seconds) => watch(&mut watcher, Duration::from_secs(seconds), form).await?,
    };
    join_all(watcher.connections.values().map(|connection| connection.close())).await;
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

fn document(view: &ClusterView, health: &Health, form: Form) -> String {
    match form {
        Form::Text => render(view, health, look()),
        Form::Json => format!(
            "{:#}\n",
            json!({
                "cluster": view.cluster,
                "healthy": health.healthy,
                "verdict": health.verdict,
                "problems": health.problems,
                "view": view,
            })
        ),
    }
}

/// Colours and width as standard output has them: none of either when it is not a terminal.
fn look() -> Look {
    let width = console::Term::stdout().size_checked().map(|(_, columns)| columns);
    Look { width, paint: if console::colors_enabled() { Paint::Colour } else { Paint::Plain } }
}

/// Keeps connections between looks, and tries those again that failed.
struct Watcher {
    connector: SshConnector,
    inventory: Inventory,
    secrets: Option<Secrets>,
    connections: BTreeMap<HostName, Arc<dyn Transport>>,
    unreachable: BTreeMap<HostName, String>,
}

impl Watcher {
    async fn look(&mut self) -> (ClusterView, Health) {
        self.connect().await;
        let view = gather(&Gather {
            inventory: &self.inventory,
            connections: &self.connections,
            unreachable: &self.unreachable,
            secrets: self.secrets.as_ref(),
        })
        .await;
        // A connection over which nothing could be asked is lost; the next look makes a new one.
        self.connections.retain(|host, _| view.heard_from(host));
        let health = assess(&view, &self.inventory);
        (view, health)
    }

    async fn connect(&mut self) {
        let missing = self.inventory.hosts.iter().filter(|host| !self.connections.contains_key(&host.name));
        let made =
            join_all(missing.map(|host| async { (host.name.clone(), self.connector.connect(host).await) })).await;
        self.unreachable.clear();
        for (name, result) in made {
            match result {
                Ok(connection) => {
                    self.connections.insert(name, Arc::new(connection));
                }
                Err(error) => {
                    self.unreachable.insert(name, crate::cluster::one_line(&error));
                }
            }
        }
    }
}

/// Look again and again until a signal comes; the last thing seen decides how to exit.
async fn watch(watcher: &mut Watcher, every: Duration, form: Form) -> Result<Exit, NoSignals> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(NoSignals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(NoSignals)?;
    let mut screen = Screen::open(form);
    let mut last = Exit::Unreachable;
    loop {
        tokio::select! {
            (view, health) = watcher.look() => {
                screen.show(&document(&view, &health, form));
                last = exit(&view, &health);
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
    fn open(form: Form) -> Self {
        let alternate = form == Form::Text && std::io::stdout().is_terminal();
        if alternate {
            // Alternate screen, no cursor.
            print("\x1b[?1049h\x1b[?25l");
        }
        Self { alternate, last: String::new() }
    }

    fn show(&mut self, text: &str) {
        if !self.alternate {
            print(if self.last.is_empty() { "" } else { "\n" });
            print(text);
        } else {
            // Home, every line with the rest of the old one erased, then what is below. What does not fit stays away:
            // scrolling would take the verdict with it.
            let rows = console::Term::stdout().size_checked().map_or(usize::MAX, |(rows, _)| rows.into());
            let lines: Vec<&str> = text.lines().take(rows.saturating_sub(1)).collect();
            print(&format!("\x1b[H{}\x1b[K\n\x1b[J", lines.join("\x1b[K\n")));
        }
        text.clone_into(&mut self.last);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.alternate {
            print(&format!("\x1b[?25h\x1b[?1049l{}", self.last));
        }
    }
}

#[expect(clippy::print_stdout, reason = "the data this command is asked for")]
fn print(text: &str) {
    use std::io::Write;
    print!("{text}");
    // Escape sequences come without a newline.
    if let Err(error) = std::io::stdout().flush() {
        // As println! does: there is nobody left to tell.
        panic!("cannot write to standard output: {error}");
    }
}
