//! `facts export`: what a site has, in one file for whoever makes its bundle.

use std::path::PathBuf;

use serde_json::json;

use super::chosen::Chosen;
use super::session::{Done, Need, Opening, Session, Target};
use super::{Failure, Globals, out};
use crate::bundle::site::Site;
use crate::bundle::{self, BundleError};
use crate::engine::{Dialer, Fleet, Scrutiny};
use crate::error::Exit;
use crate::files;
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::quote;
use crate::report::Show;
use crate::report::text::count;
use crate::workflow::wanted::{self, WantedError};
use crate::workflow::{HostProblem, SurveyError};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write the releases, architectures and installed packages of the hosts, and the packages they want, to a file
    Export(Export),
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "In it: host names as in the inventory, releases, architectures, package names and versions, and public keys of repositories. No addresses, no users, no settings, no secrets; it is text, so read it before it leaves the house. Carry it to a connected machine: bundle build --facts FILE. Exit status: 0 written, 2 a mistake in the inventory, 3 a host could not be reached."
)]
struct Export {
    /// Where to write it [default: CLUSTER.facts]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    hosts: Chosen,
    #[command(flatten)]
    target: Target,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let Command::Export(args) = args.command;
    let show = if globals.json { Show::Plain } else { Show::detect() };
    let opening = Opening { command: "facts", show, globals, secrets: Need::No, scrutiny: Scrutiny::NewHosts };
    let mut session = Session::open(&args.target, opening).await?;
    let mut fleet = Fleet::default();
    let cancel = session.cancel.clone();
    let result = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(SurveyError::Interrupted.into()),
        result = export(&args, globals, (&mut session, &mut fleet)) => result,
    };
    fleet.close(&session.reporter).await;
    session.finish(result).await
}

async fn export(
    args: &Export,
    globals: &Globals,
    (session, fleet): (&mut Session, &mut Fleet),
) -> Result<Done, Failure> {
    let mut chosen = session.inventory.clone();
    args.hosts.keep(&mut chosen)?;
    let site = match site(&chosen, session, fleet).await {
        Ok(site) => site,
        Err(WantedError::Survey(error)) => return Err(session.told_of_hosts(error).await.into()),
        Err(error) => return Err(error.into()),
    };
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.facts", session.inventory.cluster)));
    let text = site.text();
    files::publish(&path, &text).map_err(|source| BundleError::Io { what: "write", path: path.clone(), source })?;
    session.settle().await;
    let (hosts, kib) = (site.hosts.len(), text.len().div_ceil(1024));
    session.print(&match globals.json {
        true => out::json_text(&json!({ "path": path, "bytes": text.len(), "hosts": hosts }))?,
        false => format!(
            "{path}: {kib} KiB about {}. Read it, then carry it to a machine with the Internet:\n  \
             xnat-provision bundle build --facts {path}\n",
            count(hosts, "host"),
            path = quote::path(&path)
        ),
    })?;
    Ok(Done { exit: Exit::Ok, changed: 0 })
}

/// What the hosts say of themselves. One that is on its way out may be switched off.
async fn site(chosen: &Inventory, session: &Session, fleet: &mut Fleet) -> Result<Site, WantedError> {
    let parallel = chosen.everybody().count();
    let dialer = Dialer { connector: session.connector.as_ref(), parallel, reporter: &session.reporter };
    fleet.connect(chosen, dialer).await;
    let away = std::mem::take(&mut fleet.unreachable).into_iter();
    let away = away.filter(|(host, _)| chosen.host(host).is_some());
    let mut problems: Vec<(HostName, HostProblem)> = away.map(|(host, error)| (host, error.into())).collect();
    let (mut facts, status) =
        futures::join!(fleet.gather_facts(chosen, Scrutiny::NewHosts, &session.reporter), fleet.installed());
    let mut site = Site::new(wanted::repositories(chosen));
    for (name, status) in status {
        let host = chosen.known(&name).expect("connections are made to hosts of the inventory");
        match (facts.remove(&name).expect("all were asked"), status) {
            (Ok(facts), Ok(status)) => {
                let packages = wanted::of_host(&session.inventory, host, &facts, &session.assets)?;
                let unread = |reason| BundleError::Unfit {
                    message: format!("the list of packages of {name} cannot be read: {reason}"),
                    help: format!("see there: `ssh {name} dpkg --audit`"),
                };
                site.add(name.as_str(), bundle::Target::of(&facts), &packages, &status).map_err(unread)?;
            }
            (Err(error), _) | (_, Err(error)) => problems.push((name, error.into())),
        }
    }
    if problems.is_empty() { Ok(site) } else { Err(SurveyError::Hosts { problems }.into()) }
}
