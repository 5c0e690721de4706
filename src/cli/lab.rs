//! `lab`: throwaway hosts on this machine.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use comfy_table::{Table, presets::NOTHING};

use super::out::{self, OutputError};
use super::{Failure, Globals};
use crate::error::{Exit, Fails};
use crate::lab::{self, AirGap, Fault, Hosts, LabError, LabStatus, Link, Power, Removed, Request, Suite};
use crate::quote;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Boot hosts and write an inventory of them
    Up(Up),
    /// Remove a lab with everything it made
    Down(Down),
    /// Show the labs there are and how their hosts do
    Status {
        /// Only this one
        #[arg(long)]
        name: Option<String>,
    },
    /// Log in to a host with OpenSSH
    Ssh {
        #[command(flatten)]
        lab: Name,
        /// A host, or USER@HOST; the users are root, admin (sudo without password) and operator (sudo with)
        host: String,
        /// Run this there instead of a shell
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Let something happen to a host
    Fault {
        #[command(flatten)]
        lab: Name,
        host: String,
        fault: Fault,
    },
    /// Cut all hosts off from the outside, or connect them again
    AirGap {
        #[command(flatten)]
        lab: Name,
        state: AirGap,
    },
}

#[derive(Debug, clap::Args)]
struct Name {
    /// The lab's name
    #[arg(long, default_value = "lab")]
    name: String,
}

#[derive(Debug, clap::Args)]
struct Up {
    #[command(flatten)]
    lab: Name,
    /// How many hosts: 1 or 3 with everything on each, else three for the database and the rest for HAProxy
    #[arg(long, value_name = "N", default_value_t = 4, conflicts_with = "inventory")]
    hosts: usize,
    /// Take the hosts and all other settings from this inventory; the file itself is left alone
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// The Debian release of the hosts
    #[arg(long, value_enum, default_value = "trixie")]
    suite: Suite,
    /// Hosts have these already, with no service of theirs enabled, instead of being bare
    #[arg(long, value_name = "PACKAGE", value_delimiter = ',', value_parser = package)]
    packages: Vec<String>,
    /// Make these virtual machines instead of containers, with a kernel and a clock of their own; slow where the processor is emulated
    #[arg(long = "machine", value_name = "HOST", value_delimiter = ',')]
    machines: Vec<String>,
    /// Where packages come from, instead of where this machine's apt gets them
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Write the inventory here, instead of into the lab's directory
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Down {
    #[command(flatten)]
    lab: Name,
    /// Remove every lab
    #[arg(long, conflicts_with = "name")]
    all: bool,
}

/// A lab's work is waiting for programs of this machine, so it has a thread of its own.
pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let globals = globals.clone();
    match tokio::task::spawn_blocking(move || dispatch(args.command, &globals)).await {
        Ok(result) => result,
        Err(broken) => std::panic::resume_unwind(broken.into_panic()),
    }
}

fn dispatch(command: Command, globals: &Globals) -> Result<Exit, Failure> {
    match command {
        Command::Up(up) => return bring_up(up, globals),
        Command::Down(down) if down.all => {
            if lab::down_all(&say)?.is_empty() {
                say("there is no lab");
            }
        }
        Command::Down(down) => match lab::down(&down.lab.name, &say)? {
            Removed::Lab => say(&format!("removed the lab {}", down.lab.name)),
            Removed::Nothing => say(&format!("there is no lab {}", down.lab.name)),
        },
        Command::Status { name } => show(&lab::status(name.as_deref())?, globals)?,
        Command::Ssh { lab, host, command } => return Err(log_in(&lab.name, &host, &command)),
        Command::Fault { lab, host, fault } => {
            lab::inflict(&lab.name, &host, fault, &say)?;
            say(&done(&host, fault));
        }
        Command::AirGap { lab, state } => {
            lab::set_air_gap(&lab.name, state, &say)?;
            say(match state {
                AirGap::On => "the hosts reach only each other and this machine",
                AirGap::Off => "the hosts reach the outside",
            });
        }
    }
    Ok(Exit::Ok)
}

/// As Debian's policy has it: lower-case letters, digits, plus, minus and dots, two characters at least.
fn package(text: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    if text.len() > 1 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_allowed) {
        Ok(text.to_owned())
    } else {
        Err("a package is named by lower-case letters, digits, plus, minus and dots".to_owned())
    }
}

fn bring_up(up: Up, globals: &Globals) -> Result<Exit, Failure> {
    let hosts = up.inventory.map_or(Hosts::Count(up.hosts), Hosts::Inventory);
    let request = Request {
        name: up.lab.name,
        hosts,
        suite: up.suite,
        packages: up.packages,
        machines: up.machines,
        mirror: up.mirror,
        write: up.write,
    };
    let made = lab::up(&request, &say)?;
    if globals.json {
        out::json(&made)?;
    } else {
        out::text(&format!("{}\n", made.inventory.display()))?;
    }
    let inventory = quote::path(&made.inventory);
    let hosts = crate::report::text::count(made.hosts.len(), "host");
    say(&format!("{hosts} ready; next: xnat-provision apply {inventory}"));
    Ok(Exit::Ok)
}

/// Becomes OpenSSH; returns only when that is not possible.
fn log_in(lab: &str, host: &str, words: &[String]) -> Failure {
    match lab::ssh(lab, host, words) {
        Ok(mut command) => NoSsh { source: command.exec() }.into(),
        Err(error) => LabError::into(error),
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot run ssh")]
#[diagnostic(code(xnat::lab::ssh), help("install it: `apt-get install openssh-client`"))]
struct NoSsh {
    source: std::io::Error,
}

impl Fails for NoSsh {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

fn done(host: &str, fault: Fault) -> String {
    let what = match fault {
        Fault::Kill => "is off: its power was cut",
        Fault::Stop => "is off: it was shut down",
        Fault::Start => "is on",
        Fault::Partition => "is cut off from the network",
        Fault::Heal => "is connected to the network",
    };
    format!("{host} {what}")
}

fn show(labs: &[LabStatus], globals: &Globals) -> Result<(), OutputError> {
    if globals.json {
        out::json(&labs)?;
        return Ok(());
    }
    if labs.is_empty() {
        say("there is no lab; make one: xnat-provision lab up");
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["LAB", "HOST", "ADDRESS", "RELEASE", "STATE"]);
    for lab in labs {
        for host in &lab.hosts {
            let cells = [&lab.name, &host.name, &host.address.to_string(), lab.suite.codename(), &state(lab, host)];
            table.add_row(cells);
        }
    }
    out::text(&format!("{}\n", table.trim_fmt()))?;
    for lab in labs {
        say(&format!("{}: inventory {}", lab.name, lab.inventory.display()));
    }
    Ok(())
}

fn state(lab: &LabStatus, host: &lab::HostStatus) -> String {
    let mut words = vec![match host.power {
        Power::On => "running",
        Power::Off => "off",
    }];
    if host.link == Link::Cut {
        words.push("partitioned");
    }
    if lab.air_gap == AirGap::On {
        words.push("air-gapped");
    }
    if lab.phase == lab::Phase::Making {
        words.push("unfinished");
    }
    words.join(", ")
}

#[expect(clippy::print_stderr, reason = "says what it is doing, for people")]
fn say(line: &str) {
    eprintln!("{line}");
}
