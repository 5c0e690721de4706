//! `replace`: another host takes the place of one that is dead. The inventory is changed as a person would, and applied;
//! nothing is written before the plan is approved.

use super::apply::{PauseArgs, Request};
use super::confirm::Ask;
use super::connect::{Terminal, quietly};
use super::revision::Revision;
use super::session::{Need, Opening, Session, Target};
use super::{Failure, Globals};
use crate::engine::Scrutiny;
use crate::error::{Exit, Fails, one_line};
use crate::inventory::Inventory;
use crate::inventory::replace::{Successor, replaced};
use crate::names::HostName;
use crate::report::{Redactor, Reporter, Show};
use crate::transport::TransportError;
use crate::workflow::Scope;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The new host gets the roles, tags and login of the dead one, unless it has a [[host]] in the inventory already. One that works leaves with `leaving = true` instead.\n\nExit status: 0 done and healthy, 1 failed, 2 a mistake in the inventory, 3 a host could not be reached, 4 the old host is not dead, it is not safe now, or done but not healthy, 130 interrupted."
)]
pub struct Args {
    /// The host that is dead
    #[arg(value_name = "OLD")]
    old: String,
    /// The host that takes its place
    #[arg(value_name = "NEW")]
    new: String,
    /// Its address
    #[arg(long)]
    address: Option<String>,
    /// The fingerprint of its SSH host key (`SHA256:…`)
    #[arg(long)]
    fingerprint: Option<String>,
    #[command(flatten)]
    pause: PauseArgs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum NotReplaced {
    #[error("{host} is not dead: {how}; nothing was changed")]
    #[diagnostic(
        code(xnat::replace::alive),
        help(
            "a host that works leaves with `leaving = true` in its [[host]], and `xnat-provision apply`; one that is not to come back has to be switched off first"
        )
    )]
    Alive { host: HostName, how: String },
}

impl Fails for NotReplaced {
    fn exit(&self) -> Exit {
        match self {
            Self::Alive { .. } => Exit::Unhealthy,
        }
    }
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let path = &args.target.inventory;
    let (file, old) = Revision::read(path)?;
    let before = Inventory::of_text(&old, path, globals.assets.as_deref())?.inventory;
    let new = replaced(&old, &args.old, &successor(&args))?;
    let revision = Revision { path: file, old, new };
    must_be_dead(before, &HostName::new(args.old.as_str()), &args, globals).await?;
    let loaded = Inventory::of_text(&revision.new, path, globals.assets.as_deref())?;
    let show = if globals.json { Show::Json } else { Show::detect() };
    let opening =
        Opening { command: "replace", show, globals, secrets: Need::Yes, scrutiny: Scrutiny::NewHostsMeasured };
    let mut session = Session::open_loaded(&args.target, opening, loaded).await?;
    if !globals.json {
        session.print(&revision.told())?;
    }
    let ask = if args.yes { Ask::SaidYes } else { Ask::Terminal };
    let (scope, longest_pause) = (Scope::default(), args.pause.limit());
    let request = Request { longest_pause, revision: Some(&revision), ..Request::new(ask, globals, &scope) };
    let result = request.run(&mut session).await;
    session.finish(result).await
}

fn successor(args: &Args) -> Successor {
    Successor { name: args.new.clone(), address: args.address.clone(), fingerprint: args.fingerprint.clone() }
}

/// Whoever answers in any way may still work: its successor would cut it off.
async fn must_be_dead(mut before: Inventory, old: &HostName, args: &Args, globals: &Globals) -> Result<(), Failure> {
    let terminal = Terminal::of(&globals.answers, &Redactor::default());
    let connector = args.target.connect.connector(&terminal)?;
    before.hosts.retain(|host| &host.name == old);
    before.leaving.retain(|host| &host.name == old);
    let mut fleet = quietly(&before, &connector).await;
    fleet.close(&Reporter::muted()).await;
    let how = match fleet.unreachable.get(old) {
        Some(TransportError::Unreachable { .. } | TransportError::Timeout { .. } | TransportError::Name { .. }) => {
            return Ok(());
        }
        Some(error) => format!("it answers ({})", one_line(error)),
        None => "it can be logged in to".to_owned(),
    };
    Err(NotReplaced::Alive { host: old.clone(), how }.into())
}
