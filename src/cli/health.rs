//! `health`: every check there is, for people, cron and monitoring. Asks nobody and takes no lock.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::connect::{ConnectArgs, quietly};
use super::opened::Opened;
use super::{Failure, Globals, confirm, out};
use crate::error::{Exit, Fails, one_line};
use crate::files;
use crate::health::{MetricsError, Report, State, nagios, nagios_unknown, prometheus, render};
use crate::inventory::Inventory;
use crate::report::Reporter;
use crate::workflow::health::{Examined, examine};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nobody is asked and no lock is taken: it may run from cron, also beside an apply. Through every HAProxy it makes a table of its own, reads it from a replica, and drops it. Exit status: 0 healthy (notices are no harm), 1 failed, 2 a mistake in the inventory, 3 nothing could be asked, 4 a warning, something critical, or a check that could not be made. With `--format nagios` that of a plugin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, which is also any other failure."
)]
pub struct Args {
    /// The inventory
    #[arg(value_name = "FILE", default_value = "inventory.toml")]
    inventory: PathBuf,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text, conflicts_with = "json")]
    format: Format,
    /// Also write it for Prometheus to this file, all at once: for the textfile collector of its node exporter
    #[arg(long, value_name = "PATH")]
    textfile: Option<PathBuf>,
    /// Write nothing to the database: through HAProxy only connect and read
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The worst first, each with its evidence and what to do
    Text,
    /// A line with figures, then the rest, and the exit status of a plugin
    Nagios,
    /// Prometheus' text format
    Prometheus,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot write {}", path.display())]
#[diagnostic(code(xnat::health::textfile), help("may this user write to that directory, and is there room?"))]
struct TextfileError {
    path: PathBuf,
    source: io::Error,
}

impl Fails for TextfileError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    match looked(&args, globals).await {
        // whoever reads it looks for one line on standard output, and takes a 2 for critical
        Err(failure) if args.format == Format::Nagios => {
            out::text(&nagios_unknown(&one_line(failure.diagnostic.as_ref())))?;
            Ok(plugin(State::Unknown))
        }
        other => other,
    }
}

async fn looked(args: &Args, globals: &Globals) -> Result<Exit, Failure> {
    let inventory = Inventory::load(&args.inventory, globals.assets.as_deref())?.inventory;
    let Opened { inventory, secrets, terminal, .. } = Opened::with_supplied(inventory, globals)?;
    let connector = args.connect.connector(&terminal)?;
    let mut fleet = quietly(&inventory, &connector).await;
    // With the command it is said that a row may be written, unless it says otherwise.
    let approved = (!args.read_only).then(|| confirm::by_typing_the_command(&fleet.standing));
    let examined = examine(&fleet, (&inventory, &secrets), approved.as_ref()).await;
    fleet.close(&Reporter::muted()).await;
    // hosts say what they like of themselves
    let clean = |text: &str| terminal.redactor.clean(text).into_owned();
    if let Some(path) = &args.textfile {
        let failed = |source| TextfileError { path: path.clone(), source };
        textfile(path, &clean(&metrics(&examined)?)).map_err(failed)?;
    }
    let report = &examined.report;
    let text = match args.format {
        Format::Text if globals.json => out::json_text(report)?,
        Format::Text => render(report, out::look()),
        Format::Nagios => nagios(report),
        Format::Prometheus => metrics(&examined)?,
    };
    out::text(&clean(&text))?;
    Ok(if args.format == Format::Nagios { plugin(report.state) } else { exit(report) })
}

fn metrics(examined: &Examined) -> Result<String, MetricsError> {
    prometheus(&examined.report, examined.at)
}

fn exit(report: &Report) -> Exit {
    match report.state {
        _ if report.blind => Exit::Unreachable,
        State::Ok | State::Notice => Exit::Ok,
        State::Critical | State::Warning | State::Unknown => Exit::Unhealthy,
    }
}

/// The numbers plugins end with, whatever ours are called.
fn plugin(state: State) -> Exit {
    match state.number() {
        0 => Exit::Ok,
        1 => Exit::Failed,
        2 => Exit::Usage,
        _ => Exit::Unreachable,
    }
}

/// The collector, which is somebody else, sees the old file or the new one and no half.
fn textfile(path: &Path, text: &str) -> io::Result<()> {
    let file = files::beside(path, text.as_bytes())?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.persist(path)?;
    Ok(())
}
