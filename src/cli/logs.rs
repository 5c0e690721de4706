//! `logs`: what the services of all hosts have logged, as one text in the order of time.

use std::path::PathBuf;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::chosen::Chosen;
use super::connect::{ConnectArgs, Terminal, quietly};
use super::out;
use super::{Failure, Globals};
use crate::error::Exit;
use crate::inventory::Inventory;
use crate::report::text::printable;
use crate::report::{Redactor, Reporter};
use crate::workflow::logs::{self, Entry, Logs};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Times are UTC. Exit status: 0 all were asked, 1 failed, 2 a mistake in the inventory or the host names, 3 a host could not be asked."
)]
pub struct Args {
    #[command(flatten)]
    hosts: Chosen,
    /// How far back: "30m", "2h", or a time such as 2026-11-24T17:30Z
    #[arg(long, value_name = "WHEN", default_value = "1h", value_parser = moment)]
    since: Timestamp,
    /// The inventory
    #[arg(value_name = "INVENTORY", default_value = "inventory.toml")]
    inventory: PathBuf,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// A time, or how long ago.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let span: Span =
        text.parse().map_err(|_| "neither a time such as 2026-11-24T17:30Z nor a span such as 2h".to_owned())?;
    // days are a day long only in some time zone
    let now = Timestamp::now().to_zoned_datetime(TimeZone::UTC);
    let at = now.checked_sub(span.abs()).map_err(|error| error.to_string())?;
    Ok(at.timestamp())
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let mut inventory = Inventory::load(&args.inventory, globals.assets.as_deref())?.inventory;
    args.hosts.keep(&mut inventory)?;
    let redactor = Redactor::default();
    let connector = args.connect.connector(&Terminal::of(&globals.answers, &redactor))?;
    let mut fleet = quietly(&inventory, &connector).await;
    let mut logs = logs::read(&fleet, &inventory, args.since).await;
    logs.silent.extend(fleet.reasons());
    fleet.close(&Reporter::muted()).await;
    show(&logs, globals)
}

fn show(logs: &Logs, globals: &Globals) -> Result<Exit, Failure> {
    if globals.json {
        out::json(&logs.entries)?;
    } else {
        out::text(&logs.entries.iter().map(line).collect::<String>())?;
    }
    for host in &logs.cut {
        remark(&format!("{host}: only the newest {} entries; ask for less with --since or --limit", logs::MOST));
    }
    for (host, reason) in &logs.silent {
        remark(&format!("not asked: {host}: {reason}"));
    }
    Ok(if logs.silent.is_empty() { Exit::Ok } else { Exit::Unreachable })
}

pub(super) fn line(entry: &Entry) -> String {
    let Entry { at, host, service, text } = entry;
    let text: Vec<String> = text.lines().map(|line| printable(line).into_owned()).collect();
    let at = at.strftime("%Y-%m-%d %H:%M:%S%.3fZ");
    format!("{at} {host} {}: {}\n", printable(service), text.join("\n    "))
}

#[expect(clippy::print_stderr, reason = "remarks beside the data this command prints")]
fn remark(text: &str) {
    eprintln!("{}", printable(text));
}
