//! `migrate`: the database of a foreign PostgreSQL becomes the cluster's. Looking, rehearsing, doing it, and going back.

mod abort;
mod back;
mod ending;
mod ends;
mod evidence;
mod kept;
mod later;
mod moving;
mod single;
mod streaming;
mod told;

use super::session::Target;
use super::{Failure, Globals};
use crate::error::{Exit, Fails};
use crate::migrate::check::{Finding, Severity};
use crate::migrate::record::Method;
use crate::workflow::migrate::Mode;

pub(super) use kept::told;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The source stands in the inventory, under [migrate.source]: it is looked at with `check`, copied and compared while it goes on with `rehearse`, and moved with `run`. Until `run` nothing is changed on it, but that with --method logical or stream it has replication slots, and a publication, for as long as it lasts.\n\nExit status: 0 done and the same on both sides, 1 failed, 2 a mistake in the inventory or the command, 3 a host could not be reached, 4 something speaks against it, or the copy is not the same, 130 interrupted."
)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// What speaks against moving the database, and how long it would take; changes nothing anywhere
    Check(Check),
    /// Copy it beside the application's database, compare every row, say how long it took, and remove the copy
    Rehearse(Copied<Rehearse>),
    /// Make the source read-only, copy it, compare every row, and put the copy in the place of the application's database
    Run(Copied<Run>),
    /// Go on with a run that was cut off
    Resume(Copied<Run>),
    /// After a run, and before anybody writes: compare the source with the cluster's database once more
    Verify(Rehearse),
    /// Give up a run that was cut off: the source can be written to again, and the copy is removed
    Abort(Abort),
    /// After a run: the source can be written to again, and the application goes back to it
    Rollback(Rollback),
    /// Copy the application's database out of the cluster into a single PostgreSQL, and compare every row
    ToSingle(Run),
}

#[derive(Debug, clap::Args)]
struct Check {
    #[command(flatten)]
    target: Target,
}

/// How many programs copy at once.
#[derive(Debug, clap::Args)]
struct Jobs {
    /// So many tables are dumped, restored and compared at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=32))]
    jobs: u16,
}

/// With the way that the copy is made.
#[derive(Debug, clap::Args)]
struct Copied<T: clap::Args> {
    /// How the copy is made; `migrate check` says which ways there are
    #[arg(long, value_enum)]
    method: Option<Method>,
    #[command(flatten)]
    rest: T,
}

#[derive(Debug, clap::Args)]
struct Rehearse {
    #[command(flatten)]
    jobs: Jobs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
struct Run {
    #[command(flatten)]
    jobs: Jobs,
    /// For scripts: the name of the cluster, which otherwise has to be typed
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
struct Abort {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
struct Rollback {
    /// Although the cluster has rows by now that the source does not have: they stay behind
    #[arg(long)]
    lose_newer_writes: bool,
    /// Rows that the cluster has by now and the source has not are copied to the source first: tables that differ as a whole,
    /// sequences and large objects, in one transaction. With --lose-newer-writes: whatever else there is since stays behind
    #[arg(long)]
    carry_back: bool,
    #[command(flatten)]
    jobs: Jobs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

/// Why not.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum NotNow {
    #[error("the inventory does not say where the data is now")]
    #[diagnostic(
        code(xnat::migrate::no_source),
        help(
            "under [migrate.source]: address = \"10.0.0.5\", and what else differs from a PostgreSQL on Debian; see `xnat-provision help inventory`"
        )
    )]
    NoSource,
    #[error("the inventory does not say which single PostgreSQL")]
    #[diagnostic(
        code(xnat::migrate::no_single),
        help("under [migrate.single], with the keys of [migrate.source]; see `xnat-provision help inventory`")
    )]
    NoSingle,
    #[error("{target} cannot have the cluster's database: {reasons}; nothing was changed")]
    #[diagnostic(code(xnat::migrate::not_single), help("put that right there, or name another server"))]
    NotSingle { target: String, reasons: String },
    #[error("{number} in the way of moving {source_name}: {titles}; nothing was changed")]
    #[diagnostic(code(xnat::migrate::stops), help("`xnat-provision migrate check` says what to do about each"))]
    Stops { number: String, source_name: String, titles: String },
    #[error("the migration was from {former}, and [migrate.source] is {source_name} now; nothing was changed")]
    #[diagnostic(
        code(xnat::migrate::another),
        help(
            "put the former one back into the inventory; a run that was cut off is ended by `xnat-provision migrate abort`. Where that server is gone for good: see `xnat-provision help migration`"
        )
    )]
    Another { former: String, source_name: String },
    #[error("{source_name} cannot be followed {by}: {reasons}; nothing was changed")]
    #[diagnostic(code(xnat::migrate::method), help("put that right, or leave out --method: a dump takes everything"))]
    Method { source_name: String, by: &'static str, reasons: String },
    #[error("the cluster is not fit for it now: {reason}; nothing was changed")]
    #[diagnostic(code(xnat::migrate::not_fit), help("see `xnat-provision status`"))]
    NotFit { reason: String },
    #[error("{source_name} has been moved in already, {since}")]
    #[diagnostic(
        code(xnat::migrate::done),
        help("`xnat-provision migrate rollback` opens the source again; then it can be moved once more")
    )]
    Done { source_name: String, since: jiff::Timestamp },
    #[error(
        "somebody writes to the source, or could: rows of the cluster would take the place of newer ones; nothing was changed"
    )]
    #[diagnostic(
        code(xnat::migrate::source_goes_on),
        help(
            "the source is not read-only any more, or its rows are others than when it was made so: see what has to be kept, and bring it together by hand"
        )
    )]
    SourceGoesOn,
    #[error("what is different since the move cannot all be carried back: {what}; nothing was changed")]
    #[diagnostic(
        code(xnat::migrate::not_carried),
        help(
            "what is not of rows that both sides have stays behind, if that may be: --carry-back --lose-newer-writes"
        )
    )]
    NotCarried { what: String },
    #[error("the cluster's database was moved in {mark}, and this machine knows nothing of that")]
    #[diagnostic(
        code(xnat::migrate::elsewhere),
        help(
            "type it there. Where that machine is gone, or the source is in use again: see `xnat-provision help migration`, which says how the mark goes, and how a source is opened by hand"
        )
    )]
    Elsewhere { mark: String },
    #[error("there is no migration to {go_on}")]
    #[diagnostic(code(xnat::migrate::nothing), help("{help}"))]
    Nothing { go_on: &'static str, help: &'static str },
    #[error("the cluster has rows that the source does not have: {tables}; nothing was changed")]
    #[diagnostic(
        code(xnat::migrate::newer_writes),
        help(
            "whatever was written since the move would be missing. To copy it to the source first: --carry-back. If it may be missing: --lose-newer-writes"
        )
    )]
    NewerWrites { tables: String },
}

impl Fails for NotNow {
    fn exit(&self) -> Exit {
        match self {
            Self::NoSource | Self::NoSingle => Exit::Usage,
            _ => Exit::Unhealthy,
        }
    }
}

/// Those that stand in the way, in a line.
fn in_the_way<'a>(findings: impl Iterator<Item = &'a Finding>) -> Vec<&'a str> {
    findings.filter(|finding| finding.severity == Severity::Stops).map(|finding| finding.title.as_str()).collect()
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    match args.what {
        What::Check(args) => moving::check(&args, globals).await,
        What::Rehearse(args) => moving::rehearse(&args.rest, args.method, (globals, Mode::Rehearse)).await,
        What::Verify(args) => moving::rehearse(&args, None, (globals, Mode::Verify)).await,
        What::Run(args) => moving::run(&args.rest, args.method, (globals, false)).await,
        What::Resume(args) => moving::run(&args.rest, args.method, (globals, true)).await,
        What::Abort(args) => abort::abort(&args, globals).await,
        What::Rollback(args) => back::rollback(&args, globals).await,
        What::ToSingle(args) => single::run(&args, globals).await,
    }
}
