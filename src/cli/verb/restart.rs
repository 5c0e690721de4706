//! `restart`: PostgreSQL is restarted on one member after the other, the leader last and as a replica.

use super::{Common, Deed, Intent, Limit, NotNow};
use crate::cli::session::Session;
use crate::cli::{Failure, Globals};
use crate::cluster::ClusterView;
use crate::cluster::safety::restart;
use crate::error::Exit;
use crate::names::HostName;
use crate::workflow::Operation;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 done and healthy, 1 failed, 2 a mistake in the inventory, 3 no host could be reached, 4 it cannot be done now, or it is done and the cluster is not healthy, 130 interrupted."
)]
pub struct Args {
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    super::run(Restart { on: args.limit.hosts() }, &args.common, globals).await
}

struct Restart {
    /// None: all of them.
    on: Vec<HostName>,
}

impl Deed for Restart {
    const COMMAND: &'static str = "restart";
    type Aim = Vec<HostName>;

    fn intend(&self, view: &ClusterView, session: &Session) -> Result<Intent<Self::Aim>, NotNow> {
        let hosts = super::members(view, &self.on)?;
        if let Some(obstacle) = restart::postgres_obstacles(view, &session.inventory).into_iter().next() {
            return Err(obstacle.text.into());
        }
        let leader = view.leader().map(|leader| &leader.host).filter(|leader| hosts.contains(leader));
        let alone = view.members.len() == 1;
        if let (Some(_), false, Some(reason)) = (leader, alone, restart::no_successor(view, &session.inventory)) {
            return Err(reason.into());
        }
        let names = super::list(&hosts);
        let effect = match leader {
            Some(_) if alone => "Nobody can read or write until it is back.".to_owned(),
            Some(leader) => format!("{leader} hands over first: nobody can write for some seconds."),
            None => "Writes go on.".to_owned(),
        };
        let question = format!("Restart PostgreSQL on {names}, one at a time? {effect}");
        Ok(Intent { aim: hosts, risk: None, question })
    }

    async fn perform(&self, hosts: Self::Aim, operation: &Operation<'_>) -> Result<Vec<String>, Failure> {
        Ok(operation.restart_in_turn(&hosts).await?)
    }
}
