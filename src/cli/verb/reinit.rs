//! `reinit`: a replica's data is thrown away and copied anew from the leader.

use super::{Common, Deed, Intent, NotNow};
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
    /// The replica
    #[arg(value_name = "HOST")]
    host: String,
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    super::run(Reinit { host: HostName::new(args.host.as_str()) }, &args.common, globals).await
}

struct Reinit {
    host: HostName,
}

impl Deed for Reinit {
    const COMMAND: &'static str = "reinit";
    type Aim = HostName;

    fn intend(&self, view: &ClusterView, _: &Session) -> Result<Intent<Self::Aim>, NotNow> {
        let host = super::members(view, std::slice::from_ref(&self.host))?.remove(0);
        if let Some(obstacle) = restart::leader_obstacles(view).into_iter().next() {
            return Err(obstacle.text.into());
        }
        let leader = view.leader().map(|leader| leader.host.clone()).ok_or_else(|| "there is no leader".to_owned())?;
        if leader == host {
            return Err(NotNow::new(
                format!("{host} is the leader: its data is what the others have copied"),
                "name a replica",
            ));
        }
        let others: Vec<HostName> = view
            .members
            .iter()
            .filter(|member| member.host != host && member.follows() && view.streams(member))
            .map(|member| member.host.clone())
            .collect();
        let left = match others.as_slice() {
            [] => "no other replica is left to take over".to_owned(),
            others => format!("{} can take over", super::list(others)),
        };
        let question =
            format!("Throw away the data of {host} and copy it anew from {leader}? Until that is done, {left}.");
        Ok(Intent { aim: host, risk: None, question })
    }

    async fn perform(&self, host: Self::Aim, operation: &Operation<'_>) -> Result<Vec<String>, Failure> {
        Ok(vec![operation.told(operation.copy_anew(&host).await?).await])
    }
}
