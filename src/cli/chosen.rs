//! Which of the inventory's hosts are meant.

use crate::error::{Exit, Fails};
use crate::inventory::{Host, Inventory};
use crate::names::HostName;

#[derive(Debug, clap::Args)]
pub struct Chosen {
    /// Only these hosts (`--limit db1,db2`, or several times)
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    limit: Vec<String>,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the inventory has no host {name}")]
#[diagnostic(code(xnat::hosts::unknown), help("its hosts are {known}"))]
pub struct NoHost {
    name: HostName,
    known: String,
}

impl Fails for NoHost {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Chosen {
    /// Leave the others out of the inventory; all of them stay where none is named.
    pub fn keep(&self, inventory: &mut Inventory) -> Result<(), NoHost> {
        let named: Vec<HostName> = self.limit.iter().map(|name| HostName::new(name.as_str())).collect();
        if let Some(name) = named.iter().find(|name| inventory.known(name).is_none()) {
            let known: Vec<&str> = inventory.everybody().map(|host| host.name.as_str()).collect();
            return Err(NoHost { name: name.clone(), known: known.join(", ") });
        }
        let stays = |host: &Host| named.is_empty() || named.contains(&host.name);
        inventory.hosts.retain(stays);
        inventory.leaving.retain(stays);
        Ok(())
    }
}
