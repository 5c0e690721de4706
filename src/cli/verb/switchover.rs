//! `switchover`: the leader hands over to a replica that loses nothing, and the pause is measured.

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
    /// Who is to lead [otherwise: a synchronous standby, or the replica least behind]
    #[arg(long, value_name = "HOST")]
    to: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let deed = Switchover { named: args.to.as_deref().map(HostName::new) };
    super::run(deed, &args.common, globals).await
}

struct Switchover {
    named: Option<HostName>,
}

impl Deed for Switchover {
    const COMMAND: &'static str = "switchover";
    type Aim = (HostName, HostName);

    fn intend(&self, view: &ClusterView, session: &Session) -> Result<Intent<Self::Aim>, NotNow> {
        if let Some(obstacle) = restart::leader_obstacles(view).into_iter().next() {
            return Err(obstacle.text.into());
        }
        let to = restart::candidate(view, &session.inventory, self.named.as_ref())?;
        let from = view.leader().map(|leader| leader.host.clone()).ok_or_else(|| "there is no leader".to_owned())?;
        let question = format!("Hand over from {from} to {to}? Nobody can write for some seconds.");
        Ok(Intent { aim: (from, to), risk: None, question })
    }

    async fn perform(&self, (from, to): Self::Aim, operation: &Operation<'_>) -> Result<Vec<String>, Failure> {
        let summary = operation.told(operation.hand_over(&from, &to).await?).await;
        operation.wait_until_it_follows(&from).await?;
        Ok(vec![summary])
    }
}
