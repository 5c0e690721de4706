//! `check`.

use super::{Failure, Globals, Unbuilt};
use crate::error::Exit;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args, _globals: &Globals) -> Result<Exit, Failure> {
    Err(Unbuilt("check").into())
}
