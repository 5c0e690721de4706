//! `maintenance`: one member is spared for work on its host; the cluster goes on without counting on it.

use clap::ValueEnum;
use jiff::Timestamp;

use super::{Afterwards, Common, Deed, Intent, NotNow};
use crate::cli::session::Session;
use crate::cli::{Failure, Globals};
use crate::cluster::maintenance::{self, Note};
use crate::cluster::safety::restart;
use crate::cluster::{ClusterView, Member};
use crate::error::Exit;
use crate::names::HostName;
use crate::quote;
use crate::workflow::Operation;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A leader hands over first. Readers may finish for some seconds before they are cut. The member goes on streaming; etcd and HAProxy of that host go on too. `status` reminds of it.\n\nExit status: 0 done, 1 failed, 2 a mistake in the inventory, 3 no host could be reached, 4 it cannot be done now, or it ended and the cluster is not healthy, 130 interrupted."
)]
pub struct Args {
    /// The PostgreSQL host
    #[arg(value_name = "HOST")]
    host: String,
    /// Begin, or end
    #[arg(value_enum)]
    switch: Switch,
    /// Why, for whoever looks at the cluster meanwhile
    #[arg(long, value_name = "TEXT", required_if_eq("switch", "on"))]
    reason: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    On,
    Off,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let host = HostName::new(args.host.as_str());
    match args.switch {
        Switch::On => super::run(Begin { host, reason: args.reason.unwrap_or_default() }, &args.common, globals).await,
        Switch::Off => super::run(End { host }, &args.common, globals).await,
    }
}

struct Begin {
    host: HostName,
    reason: String,
}

struct Beginning {
    note: Note,
    /// Who takes over from it.
    to: Option<HostName>,
}

impl Deed for Begin {
    const COMMAND: &'static str = "maintenance";
    const AFTERWARDS: Afterwards = Afterwards::AsItIs;
    type Aim = Beginning;

    fn intend(&self, view: &ClusterView, session: &Session) -> Result<Intent<Self::Aim>, NotNow> {
        let host = &self.host;
        let member = member(view, host)?;
        if let Some(note) = maintenance::of_member(member) {
            let end =
                format!("`xnat-provision maintenance {host} off {}` ends it", quote::path(&session.inventory.path));
            return Err(NotNow::new(format!("{host} is in maintenance already ({note})"), end));
        }
        if let Some(obstacle) = restart::leader_obstacles(view).into_iter().next() {
            return Err(obstacle.text.into());
        }
        let to = if member.leads() { Some(restart::successor(view, &session.inventory)?) } else { None };
        let note = Note { reason: self.reason.clone(), who: session.claim().who, since: Timestamp::now() };
        let left = view.members.iter().filter(|other| &other.host != host && Some(&other.host) != to.as_ref());
        let left = left.filter(|other| restart::may_take_over(view, &session.inventory, other)).count();
        let risk = (left == 0).then(|| "meanwhile no other replica could take over from the leader".to_owned());
        let effect = match &to {
            Some(to) => format!("It hands over to {to} first: nobody can write for some seconds."),
            None => "Writes go on.".to_owned(),
        };
        let question = format!("Put {host} into maintenance (no reader, no failover to it)? {effect}");
        Ok(Intent { aim: Beginning { note, to }, risk, question })
    }

    async fn perform(&self, aim: Self::Aim, operation: &Operation<'_>) -> Result<Vec<String>, Failure> {
        Ok(operation.begin_maintenance(&self.host, &aim.note, aim.to.as_ref()).await?)
    }
}

struct End {
    host: HostName,
}

impl Deed for End {
    const COMMAND: &'static str = "maintenance";
    type Aim = ();

    fn intend(&self, view: &ClusterView, _: &Session) -> Result<Intent<Self::Aim>, NotNow> {
        let host = &self.host;
        let member = member(view, host)?;
        let note = maintenance::of_member(member).ok_or_else(|| format!("{host} is not in maintenance"))?;
        Ok(Intent { aim: (), risk: None, question: format!("End the maintenance of {host} ({note})?") })
    }

    async fn perform(&self, (): Self::Aim, operation: &Operation<'_>) -> Result<Vec<String>, Failure> {
        Ok(vec![operation.told(operation.end_maintenance(&self.host).await?).await])
    }
}

fn member<'a>(view: &'a ClusterView, host: &HostName) -> Result<&'a Member, NotNow> {
    super::members(view, std::slice::from_ref(host))?;
    let member = view.members.iter().find(|member| &member.host == host);
    let member = member.filter(|member| member.patroni.known().is_some());
    member.ok_or_else(|| format!("Patroni on {host} does not answer").into())
}
