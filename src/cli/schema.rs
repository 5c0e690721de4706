//! `schema`.

use super::{Failure, Unbuilt};
use crate::error::Exit;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<Exit, Failure> {
    Err(Unbuilt("schema").into())
}
