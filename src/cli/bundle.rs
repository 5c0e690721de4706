//! `bundle`: one file with all that a site without the Internet needs: made where there is one, looked at and checked
//! anywhere.

mod build;
mod inspect;
mod keygen;

use std::path::PathBuf;

use super::{Failure, Globals};
use crate::bundle::Opened;
use crate::bundle::sign::Trusted;
use crate::error::Exit;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a bundle, on a machine with apt and a way to the archive; needs no root
    Build(Box<build::Args>),
    /// Check a bundle to its last byte, and who has made it
    #[command(after_help = "Exit status: 0 all is as its manifest says, 2 it is not, or somebody else has signed it.")]
    Verify {
        #[command(flatten)]
        key: Key,
        bundle: PathBuf,
    },
    /// What is in a bundle: packages and their versions, for which hosts, where they came from
    Inspect { bundle: PathBuf },
    /// What a newer bundle has that an older one has not, or otherwise
    #[command(after_help = "Exit status: 0 they have the same in them, 5 they differ.")]
    Diff { older: PathBuf, newer: PathBuf },
    /// Make a pair of keys: one signs bundles, the other one is given to whoever checks them
    Keygen(keygen::Args),
}

/// Whose bundles are believed.
#[derive(Clone, Debug, clap::Args)]
pub struct Key {
    /// The public key that must have signed it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl Key {
    fn trusted(&self) -> Result<Option<Trusted>, Failure> {
        Ok(self.key.as_deref().map(Trusted::read).transpose()?)
    }
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    match args.command {
        Command::Build(args) => build::run(*args, globals).await,
        Command::Verify { key, bundle } => {
            let key = key.trusted()?;
            inspect::verified(&Opened::check(&bundle, key.as_ref())?, key.as_ref(), globals)
        }
        Command::Inspect { bundle } => inspect::contents(&Opened::check(&bundle, None)?, globals),
        Command::Diff { older, newer } => {
            inspect::difference((&Opened::check(&older, None)?, &Opened::check(&newer, None)?), globals)
        }
        Command::Keygen(args) => keygen::run(&args, globals),
    }
}
