//! `certs rotate`: each step is an ordinary apply whose vault has another state of the certificates.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::super::apply::Request;
use super::super::confirm::Ask;
use super::super::opened::Opened;
use super::super::session::{Need, Opening, Session, Target};
use super::super::{Failure, Globals};
use crate::engine::Scrutiny;
use crate::error::{Exit, Fails};
use crate::files;
use crate::names::HostName;
use crate::pki::{Phase, Step};
use crate::quote;
use crate::report::Show;
use crate::secret::Secret;
use crate::workflow::Scope;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// New certificates for these hosts only (`--limit db1,db2`, or several times)
    #[arg(long, value_name = "HOST", value_delimiter = ',', conflicts_with = "ca")]
    limit: Vec<String>,
    /// A new authority: first both are trusted, then the new one signs; the former stays trusted until `--finish`
    #[arg(long)]
    ca: bool,
    /// Every client has the new file of authorities: trust the former one no longer
    #[arg(long, requires = "ca")]
    finish: bool,
    /// The key of the authority that signs now, when the inventory names another authority already
    #[arg(long, value_name = "FILE", requires = "ca", conflicts_with = "finish")]
    present_key: Option<PathBuf>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot read the key {}", path.display())]
#[diagnostic(code(xnat::certs::key), help("see `ls -l {}`", quote::path(path)))]
struct UnreadableKey {
    path: PathBuf,
    source: std::io::Error,
}

impl Fails for UnreadableKey {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

pub(super) async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let present_key = args.present_key.as_deref().map(key).transpose()?;
    let steps = match args.ca {
        false => vec![Step::Renew(args.limit.iter().map(HostName::new).collect())],
        true => steps(phase(&args, globals)?, args.finish, present_key),
    };
    for step in steps {
        let exit = take(step, &args, globals).await?;
        if exit != Exit::Ok {
            return Ok(exit);
        }
    }
    Ok(Exit::Ok)
}

fn key(path: &Path) -> Result<Secret, UnreadableKey> {
    let text = files::read_text(path).map(Zeroizing::new);
    let text = text.map_err(|source| UnreadableKey { path: path.to_owned(), source })?;
    Ok(Secret::new(text.as_str()))
}

/// How far the vault says it is; what came of that on the hosts, a step finds out by itself.
fn phase(args: &Args, globals: &Globals) -> Result<Phase, Failure> {
    Ok(Opened::of(&args.target.inventory, globals)?.secrets.pki.phase())
}

/// What was begun is carried out on every host before the next step is taken.
fn steps(phase: Phase, finish: bool, present_key: Option<Secret>) -> Vec<Step> {
    match (phase, finish) {
        (Phase::Steady, false) => vec![Step::Introduce { present_key }, Step::Switch],
        (Phase::Introduced, false) => vec![Step::Resume, Step::Switch],
        (Phase::Switched, false) => vec![Step::Resume],
        (Phase::Switched, true) => vec![Step::Resume, Step::Finish],
        // refused, and told why
        (Phase::Steady | Phase::Introduced, true) => vec![Step::Finish],
    }
}

async fn take(step: Step, args: &Args, globals: &Globals) -> Result<Exit, Failure> {
    let show = if globals.json { Show::Json } else { Show::detect() };
    let limit = args.limit.iter().map(HostName::new).collect();
    let scope = Scope { limit, parallel: None };
    let opening = Opening { command: "certs rotate", show, globals, secrets: Need::Yes, scrutiny: Scrutiny::NewHosts };
    let mut session = Session::open_for(&args.target, opening, step).await?;
    let ask = if args.yes { Ask::SaidYes } else { Ask::Terminal };
    let result = Request::new(ask, globals, &scope).run(&mut session).await;
    session.finish(result).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_carried_out_first() {
        assert_eq!(steps(Phase::Introduced, false, None), [Step::Resume, Step::Switch]);
        assert_eq!(steps(Phase::Switched, true, None), [Step::Resume, Step::Finish]);
        // Nobody is locked out by surprise.
        assert!(!steps(Phase::Switched, false, None).contains(&Step::Finish));
        assert!(!steps(Phase::Steady, false, None).contains(&Step::Finish));
    }
}
