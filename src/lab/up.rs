//! `lab up`: the state first, then the network, then the hosts, many at once; taken down again when anything fails.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use super::down::tear_down;
use super::error::{LabError, OnPath};
use super::image::{self, Recipe};
use super::inventory::{Keys, Source, Written};
use super::machine::{Machine, Outfit};
use super::place::{Lock, Place, lock_directory, write_whole};
use super::pool::{self, Pool};
use super::state::{AirGap, Kind, LabHost, LabId, Link, Phase, State, Suite};
use super::status::LabStatus;
use super::{MAX_HOSTS, Say, inventory, is_name, keys, network, qemu, tool, wait};
use crate::mirror::Mirror;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub name: String,
    pub hosts: Hosts,
    pub suite: Suite,
    /// What all hosts have from the beginning.
    pub packages: Vec<String>,
    /// Those that are to be virtual machines.
    pub machines: Vec<String>,
    /// Instead of the one this machine's apt uses.
    pub mirror: Option<String>,
    /// Where the inventory goes; into the lab's directory unless given.
    pub write: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub enum Hosts {
    Count(usize),
    /// The hosts of an inventory.
    Inventory(PathBuf),
}

/// Make a lab and wait until all its hosts are ready.
pub fn up(request: &Request, say: Say) -> Result<LabStatus, LabError> {
    tool::require_all()?;
    if !is_name(&request.name) {
        return Err(LabError::BadName(request.name.clone()));
    }
    let source = match &request.hosts {
        Hosts::Count(count) => Source::Count(*count),
        Hosts::Inventory(path) => Source::read(path)?,
    };
    let names = source.names()?;
    if let Some(host) = request.machines.iter().find(|name| !names.contains(name)) {
        return Err(LabError::NoSuchHost { lab: request.name.clone(), host: host.clone(), known: names });
    }
    if !request.machines.is_empty() {
        tool::require(&qemu::NEEDED)?;
    }
    let place = Place::from_environment()?;
    let directory = place.lab(&request.name);
    let inventory = match &request.write {
        Some(path) => inventory::destination(path)?,
        None => directory.join("inventory.toml"),
    };
    if !(1..=MAX_HOSTS).contains(&names.len()) {
        return Err(LabError::HostCount(names.len()));
    }
    // What is written into hosts must be readable there, whatever the caller's mask is.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let _lock = claim(&place, &request.name, say)?;
    let made = make(request, &place, &Plan { source, names, inventory, directory: &directory }, say);
    if made.is_err() {
        say("taking down what was made so far");
        if let Err(error) = tear_down(&place, &request.name) {
            // The first error is the one to tell; this one comes again at the next try.
            say(&format!("that failed too ({error}); try again: xnat-provision lab down --name {}", request.name));
        }
    }
    made
}

/// The lab's directory, locked and empty: what a crashed `lab up` left in it is removed first.
fn claim(place: &Place, name: &str, say: Say) -> Result<Lock, LabError> {
    let directory = place.lab(name);
    loop {
        fs::create_dir_all(&directory).on("make", &directory)?;
        let Some(lock) =
            lock_directory(&directory, &|| say(&format!("waiting for another command on the lab {name}")))?
        else {
            continue;
        };
        if State::load(&directory)?.is_some_and(|state| state.phase == Phase::Ready) {
            return Err(LabError::Taken { name: name.to_owned() });
        }
        if super::place::entries(&directory)?.is_empty() {
            return Ok(lock);
        }
        say("removing what an earlier lab up left that did not come to its end");
        tear_down(place, name)?;
    }
}

struct Plan<'a> {
    source: Source,
    names: Vec<String>,
    /// Where it is written to.
    inventory: PathBuf,
    directory: &'a Path,
}

fn make(request: &Request, place: &Place, plan: &Plan, say: Say) -> Result<LabStatus, LabError> {
    let directory = plan.directory;
    let mirror = Mirror::find("debian", request.mirror.as_deref())?;
    let mut packages = request.packages.clone();
    if !request.machines.is_empty() {
        packages.extend(qemu::PACKAGES.map(str::to_owned));
    }
    let recipe = Recipe { suite: request.suite, mirror: &mirror, packages: &packages };
    let image = image::ensure(place, &recipe, say)?;
    gather_from_all(place)?;
    let mut state = take_network(request, plan, &mirror)?;
    let identity = keys::identity(directory);
    let public_key = keys::make_pair(&identity, &format!("lab {}", request.name))?;
    let vault_identity = keys::vault_identity(directory);
    crate::vault::make_identity(&vault_identity).map_err(LabError::Vault)?;
    let password: String = rand::random::<[u8; 12]>().iter().map(|byte| format!("{byte:02x}")).collect();
    write_whole(&directory.join("operator-password"), &format!("{password}\n"), 0o600)?;
    let outfit = Outfit {
        image: &image,
        mirror: &mirror,
        pool: &Pool::of(place, request.suite, &state.sources),
        public_key: &public_key,
        operator_password: &password,
        resolv_conf: &resolv_conf(say)?,
    };
    say(&format!(
        "booting {} ({}, {})",
        plan.names.join(", "),
        request.suite.codename(),
        network::address(state.subnet, 0)
    ));
    let host_keys = at_once(&state, |host| machine(&state, host, directory).make(&outfit))?;
    keys::write_known_hosts(directory, &state, &host_keys)?;
    at_once(&state, |host| {
        let machine = machine(&state, host, directory);
        wait::until_ready(&machine, machine.boot()?)
    })?;
    let written = written(&state, &host_keys)?;
    let text = plan.source.render(&request.name, &Keys { ssh: &identity, vault: &vault_identity }, &written);
    write_whole(&state.inventory, &text, 0o644)?;
    state.phase = Phase::Ready;
    state.save(directory)?;
    super::status::of(place, state)
}

fn machine<'a>(state: &'a State, host: &'a LabHost, lab: &'a Path) -> Machine<'a> {
    Machine { state, host, lab }
}

/// So many hosts boot side by side: with two hundred on one machine none would be ready in time.
const AT_ONCE: usize = 20;

/// Do something for every host, many at the same time; the first error when any fails.
fn at_once<T: Send>(state: &State, work: impl Fn(&LabHost) -> Result<T, LabError> + Sync) -> Result<Vec<T>, LabError> {
    let mut done = Vec::new();
    for hosts in state.hosts.chunks(AT_ONCE) {
        done.extend(side_by_side(hosts, &work)?);
    }
    Ok(done)
}

fn side_by_side<T: Send>(
    hosts: &[LabHost],
    work: &(impl Fn(&LabHost) -> Result<T, LabError> + Sync),
) -> Result<Vec<T>, LabError> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = hosts.iter().map(|host| scope.spawn(move || work(host))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// Other labs' hosts may have downloaded what the new ones will want.
fn gather_from_all(place: &Place) -> Result<(), LabError> {
    for name in place.names()? {
        if let Ok(Some(state)) = State::load(&place.lab(&name)) {
            pool::gather(place, &state)?;
        }
    }
    Ok(())
}

/// Choose a subnet and take it; the state is on disk before the bridge is made.
fn take_network(request: &Request, plan: &Plan, mirror: &Mirror) -> Result<State, LabError> {
    let id = LabId::of(plan.directory);
    let _machine = network::lock_machine()?;
    let subnet = network::free_subnet(id.first_subnet())?;
    let host = |(index, name): (usize, &String)| LabHost {
        name: name.clone(),
        number: index + 1,
        // MAX_HOSTS keeps this below 255.
        address: network::address(subnet, u8::try_from(index + 11).unwrap_or(u8::MAX)),
        machine_id: format!("{:032x}", rand::random::<u128>()),
        kind: if request.machines.contains(name) { Kind::Machine } else { Kind::Container },
        link: Link::Up,
    };
    let state = State {
        name: request.name.clone(),
        id,
        phase: Phase::Making,
        suite: request.suite,
        subnet,
        air_gap: AirGap::Off,
        inventory: plan.inventory.clone(),
        sources: mirror.digest(request.suite.codename()),
        hosts: plan.names.iter().enumerate().map(host).collect(),
    };
    state.save(plan.directory)?;
    network::create(&state)?;
    Ok(state)
}

fn written(state: &State, host_keys: &[String]) -> Result<Vec<Written>, LabError> {
    let of = |(host, key): (&LabHost, &String)| {
        Ok(Written { name: host.name.clone(), address: host.address, fingerprint: keys::fingerprint(key)? })
    };
    state.hosts.iter().zip(host_keys).map(of).collect()
}

/// This machine's name servers, as hosts can reach them: systemd-resolved's real ones and not its stub on loopback.
fn resolv_conf(say: Say) -> Result<String, LabError> {
    let real = Path::new("/run/systemd/resolve/resolv.conf");
    let path = if real.exists() { real } else { Path::new("/etc/resolv.conf") };
    let text = fs::read_to_string(path).on("read", path)?;
    let mut servers = text.lines().filter_map(|line| line.strip_prefix("nameserver ")).map(str::trim);
    if servers.all(|server| server.starts_with("127.") || server == "::1") {
        say("warning: this machine has no name server that hosts can reach; package mirrors will not be found by name");
    }
    Ok(text)
}
