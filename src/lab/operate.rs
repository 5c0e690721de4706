//! What is done to a lab that stands: faults, the air gap, and logging in.

use std::process::Command;

use serde::Serialize;

use super::error::LabError;
use super::machine::Machine;
use super::place::{Lock, Place, lock_directory};
use super::state::{AirGap, LabHost, Link, Phase, State};
use super::{Say, keys, network, tool, wait};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    On,
    Off,
}

/// Something that happens to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// Power off at once, as if the plug were pulled
    Kill,
    /// Shut down cleanly
    Stop,
    /// Switch on again, with the disk as it was left
    Start,
    /// Cut off from all other hosts and from this machine
    Partition,
    /// Connect again
    Heal,
}

/// A lab that is ready, locked as long as this is held.
struct Held {
    place: Place,
    state: State,
    _lock: Lock,
}

impl Held {
    fn take(name: &str, say: Say) -> Result<Self, LabError> {
        tool::require_all()?;
        let place = Place::from_environment()?;
        let none = |place: &Place| {
            let known = place.names()?;
            Ok::<_, LabError>(LabError::NoSuchLab { name: name.to_owned(), known })
        };
        let wait = || say(&format!("waiting for another command on the lab {name}"));
        let Some(lock) = lock_directory(&place.lab(name), &wait)? else { return Err(none(&place)?) };
        match State::load(&place.lab(name))? {
            Some(state) if state.phase == Phase::Ready => Ok(Self { place, state, _lock: lock }),
            Some(_) => Err(LabError::Unfinished { name: name.to_owned() }),
            None => Err(none(&place)?),
        }
    }

    /// Write down what is to be and make the packet filter follow.
    fn change(&mut self, change: impl FnOnce(&mut State)) -> Result<(), LabError> {
        change(&mut self.state);
        self.state.save(&self.place.lab(&self.state.name))?;
        network::load_rules(&self.state)
    }

    fn set_link(&mut self, host: &str, link: Link) -> Result<(), LabError> {
        self.change(|state| {
            state.hosts.iter_mut().filter(|other| other.name == host).for_each(|found| found.link = link)
        })
    }
}

/// Cut a lab off from the outside, or connect it.
pub fn set_air_gap(lab: &str, air_gap: AirGap, say: Say) -> Result<(), LabError> {
    Held::take(lab, say)?.change(|state| state.air_gap = air_gap)
}

/// Let a fault happen to a host. Asking for what is so already is fine.
pub fn inflict(lab: &str, host: &str, fault: Fault, say: Say) -> Result<(), LabError> {
    let mut held = Held::take(lab, say)?;
    let found = held.state.host(host)?.clone();
    match fault {
        Fault::Partition => held.set_link(host, Link::Cut),
        Fault::Heal => held.set_link(host, Link::Up),
        Fault::Start => start(&held, &found),
        Fault::Kill | Fault::Stop => {
            let directory = held.place.lab(lab);
            let machine = Machine { state: &held.state, host: &found, lab: &directory };
            if fault == Fault::Kill { machine.power_off() } else { machine.shut_down() }
        }
    }
}

fn start(held: &Held, host: &LabHost) -> Result<(), LabError> {
    let directory = held.place.lab(&held.state.name);
    let machine = Machine { state: &held.state, host, lab: &directory };
    if machine.is_running()? {
        return Ok(());
    }
    if !network::interface_exists(&held.state.id.bridge()) {
        return Err(LabError::NoNetwork { lab: held.state.name.clone(), host: host.name.clone() });
    }
    let nspawn = machine.boot()?;
    if host.link == Link::Cut {
        // Nobody can ask it how it is; it is on.
        return Ok(());
    }
    wait::until_ready(&machine, nspawn)
}

/// The OpenSSH command that logs in to `[user@]host`, with the lab's key and the host keys it knows.
pub fn ssh(lab: &str, target: &str, words: &[String]) -> Result<Command, LabError> {
    tool::require_all()?;
    let place = Place::from_environment()?;
    let directory = place.lab(lab);
    let Some(state) = State::load(&directory)? else {
        return Err(LabError::NoSuchLab { name: lab.to_owned(), known: place.names()? });
    };
    let (user, host) = target.split_once('@').unwrap_or(("root", target));
    let mut command = tool::command("ssh");
    command.args(keys::ssh_options(&directory)).arg(format!("{user}@{}", state.host(host)?.address)).args(words);
    Ok(command)
}
