//! What labs there are and how their hosts do, as seen from outside.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Serialize;

use super::error::LabError;
use super::machine::Machine;
use super::operate::Power;
use super::place::Place;
use super::state::{AirGap, Link, Phase, State, Suite};
use super::{keys, network, tool};

#[derive(Clone, Debug, Serialize)]
pub struct LabStatus {
    pub name: String,
    pub phase: Phase,
    pub suite: Suite,
    pub network: String,
    pub air_gap: AirGap,
    pub inventory: PathBuf,
    /// The private key that opens all hosts.
    pub identity: PathBuf,
    /// Holds the password that sudo asks the user `operator` for.
    pub operator_password: PathBuf,
    pub hosts: Vec<HostStatus>,
}

#[derive(Clone, Debug, Serialize)]
pub struct HostStatus {
    pub name: String,
    pub address: Ipv4Addr,
    pub power: Power,
    pub link: Link,
}

/// All labs, or the one with that name.
pub fn status(name: Option<&str>) -> Result<Vec<LabStatus>, LabError> {
    tool::require_root()?;
    let place = Place::from_environment()?;
    let known = place.names()?;
    let wanted: Vec<&String> = known.iter().filter(|known| name.is_none_or(|name| name == *known)).collect();
    if let (Some(name), true) = (name, wanted.is_empty()) {
        return Err(LabError::NoSuchLab { name: name.to_owned(), known });
    }
    let mut labs = Vec::new();
    for name in wanted {
        // No state yet or no longer: another command is just beginning to make it, or ending to remove it.
        if let Some(state) = State::load(&place.lab(name))? {
            labs.push(of(&place, state)?);
        }
    }
    Ok(labs)
}

pub(super) fn of(place: &Place, state: State) -> Result<LabStatus, LabError> {
    let directory = place.lab(&state.name);
    let host = |host| {
        let machine = Machine { state: &state, host, lab: &directory };
        let power = if machine.is_running()? { Power::On } else { Power::Off };
        Ok(HostStatus { name: host.name.clone(), address: host.address, power, link: host.link })
    };
    Ok(LabStatus {
        hosts: state.hosts.iter().map(host).collect::<Result<_, LabError>>()?,
        network: format!("{}/24", network::address(state.subnet, 0)),
        identity: keys::identity(&directory),
        operator_password: directory.join("operator-password"),
        name: state.name,
        phase: state.phase,
        suite: state.suite,
        air_gap: state.air_gap,
        inventory: state.inventory,
    })
}
