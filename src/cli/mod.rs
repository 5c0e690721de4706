//! The command line: clap types and one file per command. A command returns how the process should end, or an error
//! that knows; `main` renders it.

mod adopt;
mod apply;
mod assets;
mod bundle;
mod bundles;
mod certs;
mod check;
mod chosen;
mod completions;
mod confirm;
pub mod connect;
mod doctor;
mod drill;
mod edit;
mod exec;
mod facts;
mod ground;
mod handout;
mod health;
mod help;
mod history;
mod lab;
mod logs;
mod major;
mod migrate;
mod opened;
mod out;
mod plan;
mod reboot;
mod refusal;
mod render;
mod replace;
mod reset;
mod revision;
mod saved;
mod schema;
mod secrets;
mod session;
mod settled;
mod status;
mod support_bundle;
mod upgrade;
mod vault;
mod verb;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::error::{Exit, Fails};
use crate::version;

/// Makes the PostgreSQL server of an XNAT site highly available: etcd, Patroni and HAProxy over SSH.
#[derive(Debug, Parser)]
#[command(version = version::PROGRAM, propagate_version = true, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "All documentation is inside: `xnat-provision help topics` lists it.")]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// Options every command takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Globals {
    /// Print JSON: one document for what is asked, JSON lines for what happens
    #[arg(long, global = true)]
    pub json: bool,
    /// A directory whose roles and templates override the built-in ones, file by file
    #[arg(long, global = true, value_name = "DIR")]
    pub assets: Option<PathBuf>,
    /// What a person has typed already, for the runs of a command that is a row of them.
    #[arg(skip)]
    pub answers: connect::Answers,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check an inventory, then the hosts: what stands against making them a cluster
    Check(check::Args),
    /// Show what apply would change, and change nothing
    Plan(plan::Args),
    /// Turn the hosts of an inventory into a cluster, or bring the cluster up to date with it
    Apply(apply::Args),
    /// Who is leader, are the replicas there, does HAProxy agree
    Status(status::Args),
    /// Every check there is, for people and for monitoring: what status sees, and what wears out or fills up
    Health(health::Args),
    /// What is wrong, why, and what to do: from symptoms to causes, with the evidence
    Doctor(doctor::Args),
    /// Have the leader hand over to a replica, and see for how long nobody could write
    Switchover(verb::switchover::Args),
    /// Have a replica take over although the leader cannot hand over; says what may be lost
    Failover(verb::failover::Args),
    /// Restart PostgreSQL on one member after the other, the leader last
    Restart(verb::restart::Args),
    /// Have every member read its configuration again
    Reload(verb::reload::Args),
    /// Throw away a replica's data and copy it anew from the leader
    Reinit(verb::reinit::Args),
    /// Begin maintenance mode: Patroni leaves everything as it is
    Pause(verb::pause::PauseArgs),
    /// End maintenance mode
    Resume(verb::pause::ResumeArgs),
    /// Write the inventory of a cluster that runs already, whoever has made it; changes nothing on its hosts
    Adopt(adopt::Args),
    /// Another host takes the place of one that is dead
    Replace(replace::Args),
    /// Spare a member for work on its host: no reader is sent to it, nobody fails over to it
    Maintenance(verb::maintenance::Args),
    /// Stop the whole cluster: HAProxy, the replicas, the leader, etcd
    Stop(verb::stop::StopArgs),
    /// Start it again, beginning with the member that led last
    Start(verb::stop::StartArgs),
    /// Newer packages, host by host and under running clients: etcd, PostgreSQL with Patroni, HAProxy
    Upgrade(upgrade::Args),
    /// Bring in the database of a PostgreSQL that is not the cluster's: check, rehearse, do it with proof, go back
    Migrate(migrate::Args),
    /// Let something go wrong on purpose, and measure what clients notice
    Drill(drill::Args),
    /// End a cluster: its services stop and what apply has made is removed, with or without the database
    Reset(reset::Args),
    /// The passwords and certificates of a cluster: show, change, encrypt otherwise
    Vault(vault::Args),
    /// New passwords for a cluster that runs
    Secrets(secrets::Args),
    /// Certificates: which there are, until when, and new ones
    Certs(certs::Args),
    /// Print the JSON Schema of the inventory, for editors
    Schema(schema::Args),
    /// List or export the built-in roles and templates
    Assets(assets::Args),
    /// The cluster of an inventory in another shape: files for docker compose, or for Kubernetes
    Render(render::Args),
    /// Earlier runs: yours, and those the hosts remember; what happened in one
    History(history::Args),
    /// What the services of all hosts have logged, in the order of time
    Logs(logs::Args),
    /// Run a command on hosts, all at once
    Exec(exec::Args),
    /// An archive for whoever is to help: configuration, logs and states of all hosts, without secrets
    SupportBundle(support_bundle::Args),
    /// For sites without the Internet: one file with all packages and this program, made, checked, compared
    Bundle(bundle::Args),
    /// What the hosts have, in one file for whoever makes their bundle
    Facts(facts::Args),
    /// Throwaway hosts on this machine, to rehearse before touching your servers
    Lab(lab::Args),
    /// Print the script with which bash, zsh or fish completes commands and options
    Completions(completions::Args),
    /// What a command takes, and the documentation: `help topics`, `help TOPIC`, `help COMMAND`
    Help(help::Args),
}

/// Run a command line.
pub async fn run(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        Command::Check(args) => check::run(args, &cli.globals).await,
        Command::Plan(args) => plan::run(args, &cli.globals).await,
        Command::Apply(args) => apply::run(args, &cli.globals).await,
        Command::Status(args) => status::run(args, &cli.globals).await,
        Command::Health(args) => health::run(args, &cli.globals).await,
        Command::Doctor(args) => doctor::run(args, &cli.globals).await,
        Command::Drill(args) => drill::run(args, &cli.globals).await,
        Command::Switchover(args) => verb::switchover::run(args, &cli.globals).await,
        Command::Failover(args) => verb::failover::run(args, &cli.globals).await,
        Command::Restart(args) => verb::restart::run(args, &cli.globals).await,
        Command::Reload(args) => verb::reload::run(args, &cli.globals).await,
        Command::Reinit(args) => verb::reinit::run(args, &cli.globals).await,
        Command::Pause(args) => verb::pause::pause(args, &cli.globals).await,
        Command::Resume(args) => verb::pause::resume(args, &cli.globals).await,
        Command::Adopt(args) => adopt::run(args, &cli.globals).await,
        Command::Replace(args) => replace::run(args, &cli.globals).await,
        Command::Maintenance(args) => verb::maintenance::run(args, &cli.globals).await,
        Command::Stop(args) => verb::stop::stop(args, &cli.globals).await,
        Command::Start(args) => verb::stop::start(args, &cli.globals).await,
        Command::Upgrade(args) => upgrade::run(args, &cli.globals).await,
        Command::Migrate(args) => migrate::run(args, &cli.globals).await,
        Command::Reset(args) => reset::run(args, &cli.globals).await,
        Command::Vault(args) => vault::run(args, &cli.globals).await,
        Command::Secrets(args) => secrets::run(args, &cli.globals).await,
        Command::Certs(args) => certs::run(args, &cli.globals).await,
        Command::Schema(args) => schema::run(args),
        Command::Assets(args) => assets::run(args, &cli.globals),
        Command::Render(args) => render::run(args, &cli.globals),
        Command::History(args) => history::run(args, &cli.globals).await,
        Command::Logs(args) => logs::run(args, &cli.globals).await,
        Command::Exec(args) => exec::run(args, &cli.globals).await,
        Command::SupportBundle(args) => support_bundle::run(args, &cli.globals).await,
        Command::Bundle(args) => bundle::run(args, &cli.globals).await,
        Command::Facts(args) => facts::run(args, &cli.globals).await,
        Command::Lab(args) => lab::run(args, &cli.globals).await,
        Command::Completions(args) => completions::run(args, &cli.globals),
        Command::Help(args) => help::run(args, &cli.globals),
    }
}

/// Any module's error on its way to `main`.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub diagnostic: Box<dyn miette::Diagnostic + Send + Sync>,
    /// Whether the person in front has seen it already, in the summary of a run.
    pub telling: Telling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    Due,
    Done,
}

impl<E: Fails> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: error.exit(), diagnostic: Box::new(error), telling: Telling::Due }
    }
}
