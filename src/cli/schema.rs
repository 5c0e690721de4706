//! `schema`: prints the JSON Schema of the inventory.

use super::Failure;
use crate::error::Exit;
use crate::inventory;

#[derive(Debug, clap::Args)]
pub struct Args {}

#[expect(clippy::print_stdout, reason = "the schema is the data this command is asked for")]
pub fn run(_args: Args) -> Result<Exit, Failure> {
    println!("{:#}", inventory::schema());
    Ok(Exit::Ok)
}
