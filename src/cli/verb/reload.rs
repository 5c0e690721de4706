//! `reload`: every member reads its configuration again.

use super::{Common, Deed, Intent, Limit, NotNow};
use crate::cli::session::Session;
use crate::cli::{Failure, Globals};
use crate::cluster::ClusterView;
use crate::error::Exit;
use crate::names::HostName;
use crate::workflow::Operation;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing is restarted. `apply` reloads by itself whatever it has changed; this is for what was changed by hand.\n\nExit status: 0 done and healthy, 1 failed, 2 a mistake in the inventory, 3 no host could be reached, 4 it cannot be done now, or it is done and the cluster is not healthy, 130 interrupted."
)]
pub struct Args {
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    super::run(Reload { on: args.limit.hosts() }, &args.common, globals).await
}

struct Reload {
    on: Vec<HostName>,
}

impl Deed for Reload {
    const COMMAND: &'static str = "reload";
    type Aim = Vec<HostName>;

    fn intend(&self, view: &ClusterView, _: &Session) -> Result<Intent<Self::Aim>, NotNow> {
        let hosts = super::members(view, &self.on)?;
        let question = format!(
            "Have Patroni and PostgreSQL on {} read their configuration again? Nobody is interrupted.",
            super::list(&hosts)
        );
        Ok(Intent { aim: hosts, risk: None, question })
    }

    async fn perform(&self, hosts: Self::Aim, operation: &Operation<'_>) -> Result<Vec<String>, Failure> {
        Ok(vec![operation.told(operation.reload(&hosts).await?).await])
    }
}
