//! The power switch of hosts that `lab` runs on this machine.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::error::one_line;
use crate::inventory::Inventory;
use crate::lab;
use crate::names::HostName;
use crate::workflow::drill::{Power, PowerError};

/// Hosts of the inventory that are in a lab: its name, and theirs in it.
#[derive(Default)]
pub(super) struct Switch {
    known: BTreeMap<HostName, (String, String)>,
}

impl Switch {
    /// By their addresses. Without root there is no lab.
    pub fn of(inventory: &Inventory) -> Self {
        let mut known = BTreeMap::new();
        for lab in lab::status(None).unwrap_or_default() {
            for machine in lab.hosts {
                let address = machine.address.to_string();
                let ours = inventory.hosts.iter().find(|host| host.address == address);
                known.extend(ours.map(|host| (host.name.clone(), (lab.name.clone(), machine.name))));
            }
        }
        Self { known }
    }

    async fn turn(&self, host: &HostName, fault: lab::Fault) -> Result<(), PowerError> {
        let failed = |reason| PowerError { host: host.clone(), reason };
        let Some((lab, name)) = self.known.get(host).cloned() else {
            return Err(failed("it is no host of a lab".to_owned()));
        };
        let turned = tokio::task::spawn_blocking(move || lab::inflict(&lab, &name, fault, &|_| {})).await;
        turned.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(one_line(&error)))
    }
}

#[async_trait]
impl Power for Switch {
    fn has(&self, host: &HostName) -> bool {
        self.known.contains_key(host)
    }

    async fn off(&self, host: &HostName) -> Result<(), PowerError> {
        self.turn(host, lab::Fault::Kill).await
    }

    async fn on(&self, host: &HostName) -> Result<(), PowerError> {
        self.turn(host, lab::Fault::Start).await
    }
}
