//! `pause` and `resume`: maintenance mode, in which Patroni leaves everything as it is. Whoever comes later is told why it
//! is on, and since when.

use jiff::Timestamp;

use super::{Afterwards, Common, Deed, Intent, NotNow};
use crate::cli::session::Session;
use crate::cli::{Failure, Globals};
use crate::cluster::ClusterView;
use crate::cluster::maintenance::Note;
use crate::error::Exit;
use crate::quote;
use crate::workflow::Operation;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "While it lasts nothing fails over, and Patroni neither starts nor stops a PostgreSQL. `status` reminds of it.\n\nExit status: 0 done and healthy, 1 failed, 2 a mistake in the inventory, 3 no host could be reached, 4 it cannot be done now, 130 interrupted."
)]
pub struct PauseArgs {
    /// Why, for whoever looks at the cluster meanwhile
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 done and healthy, 1 failed, 2 a mistake in the inventory, 3 no host could be reached, 4 it cannot be done now, or it is done and the cluster is not healthy, 130 interrupted."
)]
pub struct ResumeArgs {
    #[command(flatten)]
    common: Common,
}

pub async fn pause(args: PauseArgs, globals: &Globals) -> Result<Exit, Failure> {
    super::run(Pause { reason: args.reason }, &args.common, globals).await
}

pub async fn resume(args: ResumeArgs, globals: &Globals) -> Result<Exit, Failure> {
    super::run(Resume, &args.common, globals).await
}

struct Pause {
    reason: String,
}

impl Deed for Pause {
    const COMMAND: &'static str = "pause";
    const AFTERWARDS: Afterwards = Afterwards::AsItIs;
    type Aim = Note;

    fn intend(&self, view: &ClusterView, session: &Session) -> Result<Intent<Self::Aim>, NotNow> {
        if paused(view)? {
            let end = format!("`xnat-provision resume {}` ends it", quote::path(&session.inventory.path));
            return Err(NotNow::new(format!("the cluster is in maintenance mode already{}", since(view)), end));
        }
        let note = Note { reason: self.reason.clone(), who: session.claim().who, since: Timestamp::now() };
        let question = "Begin maintenance mode? Nothing fails over until `resume`.".to_owned();
        Ok(Intent { aim: note, risk: None, question })
    }

    async fn perform(&self, note: Self::Aim, operation: &Operation<'_>) -> Result<Vec<String>, Failure> {
        Ok(vec![operation.told(operation.pause(&note).await?).await])
    }
}

struct Resume;

impl Deed for Resume {
    const COMMAND: &'static str = "resume";
    type Aim = ();

    fn intend(&self, view: &ClusterView, _: &Session) -> Result<Intent<Self::Aim>, NotNow> {
        if !paused(view)? {
            return Err("the cluster is not in maintenance mode".to_owned().into());
        }
        Ok(Intent { aim: (), risk: None, question: format!("End maintenance mode{}?", since(view)) })
    }

    async fn perform(&self, (): Self::Aim, operation: &Operation<'_>) -> Result<Vec<String>, Failure> {
        Ok(vec![operation.told(operation.resume().await?).await])
    }
}

fn paused(view: &ClusterView) -> Result<bool, String> {
    view.paused.known().copied().ok_or_else(|| "no Patroni answers".to_owned())
}

fn since(view: &ClusterView) -> String {
    Note::of(view).map_or_else(String::new, |note| format!(" ({note})"))
}
