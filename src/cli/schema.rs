//! `schema`: prints the JSON Schema of the inventory.

use super::{Failure, out};
use crate::error::Exit;
use crate::inventory;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> Result<Exit, Failure> {
    out::json(&inventory::schema())?;
    Ok(Exit::Ok)
}
