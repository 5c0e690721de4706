//! `failover`: a replica takes over although the leader cannot hand over. What that may lose is said before.

use super::{Common, Deed, Intent, NotNow};
use crate::cli::session::Session;
use crate::cli::{Failure, Globals};
use crate::cluster::ClusterView;
use crate::cluster::safety::failover;
use crate::error::Exit;
use crate::names::HostName;
use crate::quote;
use crate::workflow::Operation;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without a leader Patroni chooses one itself, unless it is in maintenance mode or every replica is too far behind. This command is for those cases, and for a synchronous cluster whose synchronous standby is gone.\n\nExit status: 0 done and healthy, 1 failed, 2 a mistake in the inventory, 3 no host could be reached, 4 it cannot be done now, or it is done and the cluster is not healthy, 130 interrupted."
)]
pub struct Args {
    /// Who is to lead
    #[arg(long, value_name = "HOST")]
    to: String,
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    super::run(Failover { to: HostName::new(args.to.as_str()) }, &args.common, globals).await
}

struct Failover {
    to: HostName,
}

impl Deed for Failover {
    const COMMAND: &'static str = "failover";
    type Aim = HostName;

    fn intend(&self, view: &ClusterView, session: &Session) -> Result<Intent<Self::Aim>, NotNow> {
        if failover::is_needless(view, &session.inventory, &self.to) {
            let reason = "the leader is well and can hand over, which loses nothing";
            let inventory = quote::path(&session.inventory.path);
            return Err(NotNow::new(reason, format!("`xnat-provision switchover --to {} {inventory}`", self.to)));
        }
        let risk = failover::risk(view, &session.inventory, &self.to)?;
        let question = format!("Make {} the leader?", self.to);
        Ok(Intent { aim: self.to.clone(), risk: Some(risk), question })
    }

    async fn perform(&self, to: Self::Aim, operation: &Operation<'_>) -> Result<Vec<String>, Failure> {
        Ok(vec![operation.told(operation.fail_over(&to).await?).await])
    }
}
