//! The lab's network: a bridge on a free subnet, and one set of nftables rules that always follows from the state as a
//! whole. Partitions and the air gap are therefore a change of the state and these rules loaded again.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use serde::Deserialize;

use super::error::{LabError, OnPath};
use super::kernel;
use super::place::{Lock, lock_file};
use super::state::{AirGap, LabId, Link, State};
use super::tool::{command, feed, run};

pub(super) const BRIDGE_PREFIX: &str = "xl-";

/// Of this machine as a whole and gone after a reboot, as what it guards is.
const MACHINE: &str = "/run/xnat-provision-lab";

pub(super) fn address(subnet: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, subnet, last)
}

/// Held while a subnet is chosen and taken, and while the last lab hands back what it changed: networks belong to the
/// machine and not to one user's directory of labs.
pub(super) fn lock_machine() -> Result<Lock, LabError> {
    fs::create_dir_all(MACHINE).on("make", MACHINE)?;
    Ok(lock_file(&Path::new(MACHINE).join("lock"), &|| {})?.0)
}

/// A /24 nothing on this machine has an address in or a route to.
pub(super) fn free_subnet(first: u8) -> Result<u8, LabError> {
    let mut used = Vec::new();
    for (what, arguments) in [("list addresses", ["addr", "show"]), ("list routes", ["route", "show"])] {
        let json = run(what, command("ip").args(["-json", "-4"]).args(arguments))?;
        used.extend(networks(&json));
    }
    (0..=255u8).map(|step| first.wrapping_add(step)).find(|n| is_free(*n, &used)).ok_or(LabError::NoSubnet)
}

fn is_free(subnet: u8, used: &[Ipv4Net]) -> bool {
    let candidate = Ipv4Net::new_assert(address(subnet, 0), 24);
    // Wider routes (a VPN's 10.0.0.0/8, the default route) lose against the bridge's own and do no harm.
    !used.iter().any(|net| net.prefix_len() >= 16 && (net.contains(&candidate) || candidate.contains(net)))
}

#[derive(Deserialize)]
struct Entry {
    dst: Option<String>,
    #[serde(default)]
    addr_info: Vec<AddressInfo>,
}

#[derive(Deserialize)]
struct AddressInfo {
    local: Ipv4Addr,
    prefixlen: u8,
}

/// The networks in what `ip -json addr` or `ip -json route` printed.
fn networks(json: &str) -> Vec<Ipv4Net> {
    let entries: Vec<Entry> = serde_json::from_str(json).unwrap_or_default();
    let of = |entry: Entry| {
        let route =
            entry.dst.and_then(|dst| dst.parse().ok().or_else(|| dst.parse::<Ipv4Addr>().ok().map(Ipv4Net::from)));
        let addresses = entry.addr_info.into_iter().filter_map(|info| Ipv4Net::new(info.local, info.prefixlen).ok());
        route.into_iter().chain(addresses).collect::<Vec<_>>()
    };
    entries.into_iter().flat_map(of).collect()
}

/// Make the bridge; to be called with the machine locked, and the state saved.
pub(super) fn create(state: &State) -> Result<(), LabError> {
    let bridge = state.id.bridge();
    let gateway = format!("{}/24", state.gateway());
    run("make the bridge", command("ip").args(["link", "add", "name", &bridge, "type", "bridge"]))?;
    run("give the bridge its address", command("ip").args(["addr", "add", &gateway, "dev", &bridge]))?;
    run("bring the bridge up", command("ip").args(["link", "set", &bridge, "up"]))?;
    load_rules(state)?;
    kernel::raise(Path::new(MACHINE))
}

/// Remove everything of a lab's network that there is; the last lab gives back what the kernel was set to.
pub(super) fn remove(id: &LabId) -> Result<(), LabError> {
    let _machine = lock_machine()?;
    let table = id.table();
    // Naming a table makes it when it is not there, so that deleting it cannot fail.
    let rules =
        format!("table inet {table}\ndelete table inet {table}\ntable bridge {table}\ndelete table bridge {table}\n");
    feed("remove the lab's packet filter rules", command("nft").args(["-f", "-"]), &rules)?;
    let cables = super::place::entries(Path::new(INTERFACES))?;
    // containers' own go by themselves
    let is_ours = |name: &&String| {
        name.starts_with(&id.interface_prefix()) && Path::new(INTERFACES).join(name).join("tun_flags").exists()
    };
    for cable in cables.iter().filter(is_ours) {
        run("remove a network cable", command("ip").args(["link", "delete", "dev", cable]))?;
    }
    let bridge = id.bridge();
    if interface_exists(&bridge) {
        run("remove the bridge", command("ip").args(["link", "delete", "dev", &bridge]))?;
    }
    let others = super::place::entries(Path::new(INTERFACES))?.iter().any(|name| name.starts_with(BRIDGE_PREFIX));
    if others { Ok(()) } else { kernel::give_back(Path::new(MACHINE)) }
}

const INTERFACES: &str = "/sys/class/net";

/// The outer end of a machine's network cable, in the bridge. (Containers bring theirs.)
pub(super) fn plug(cable: &str, bridge: &str) -> Result<(), LabError> {
    if !interface_exists(cable) {
        run("make a network cable", command("ip").args(["tuntap", "add", "dev", cable, "mode", "tap"]))?;
    }
    run("plug a network cable in", command("ip").args(["link", "set", cable, "master", bridge, "up"])).map(drop)
}

pub(super) fn interface_exists(name: &str) -> bool {
    Path::new(INTERFACES).join(name).exists()
}

/// Make the packet filter what the state says, in one transaction.
pub(super) fn load_rules(state: &State) -> Result<(), LabError> {
    feed("load the lab's packet filter rules", command("nft").args(["-f", "-"]), &rules(state)).map(drop)
}

fn rules(state: &State) -> String {
    let (table, bridge) = (state.id.table(), state.id.bridge());
    let (outside, translate) = match state.air_gap {
        // Dropped as well as not translated: connections that stand already would go on otherwise.
        AirGap::On => (format!("    iifname \"{bridge}\" oifname != \"{bridge}\" drop\n"), String::new()),
        AirGap::Off => {
            let from = Ipv4Net::new_assert(address(state.subnet, 0), 24);
            (String::new(), format!("    ip saddr {from} oifname != \"{bridge}\" masquerade\n"))
        }
    };
    let cut = state.hosts.iter().filter(|host| host.link == Link::Cut);
    let drops = cut.fold(String::new(), |mut text, host| {
        let port = state.id.interface(host.number);
        text.push_str(&format!("    iifname \"{port}\" drop\n    oifname \"{port}\" drop\n"));
        text
    });
    let mut text = String::new();
    for family in ["inet", "bridge"] {
        text += &format!("table {family} {table}\ndelete table {family} {table}\n");
    }
    text += &format!("table inet {table} {{\n");
    text += &format!("  chain forward {{\n    type filter hook forward priority filter\n{outside}  }}\n");
    text += &format!("  chain postrouting {{\n    type nat hook postrouting priority srcnat\n{translate}  }}\n}}\n");
    text += &format!("table bridge {table} {{\n");
    for hook in ["input", "forward", "output"] {
        text += &format!("  chain {hook} {{\n    type filter hook {hook} priority filter\n{drops}  }}\n");
    }
    text + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::state::{Kind, LabHost, Phase, Suite};

    fn state(air_gap: AirGap, link: Link) -> State {
        State {
            name: "lab".to_owned(),
            id: LabId::of(Path::new("/lab")),
            phase: Phase::Ready,
            suite: Suite::Trixie,
            subnet: 5,
            air_gap,
            inventory: std::path::PathBuf::new(),
            sources: String::new(),
            hosts: vec![LabHost {
                name: "db1".to_owned(),
                number: 1,
                address: address(5, 11),
                machine_id: String::new(),
                kind: Kind::Container,
                link,
            }],
        }
    }

    fn shown(state: &State) -> String {
        rules(state)
            .replace(&state.id.table(), "xnat_lab_ID")
            .replace(&state.id.bridge(), "xl-ID")
            .replace(&state.id.interface(1), "vb-ID-1")
    }

    #[test]
    fn a_healthy_lab_is_translated_and_nothing_is_dropped() {
        insta::assert_snapshot!(shown(&state(AirGap::Off, Link::Up)), @r#"
        table inet xnat_lab_ID
        delete table inet xnat_lab_ID
        table bridge xnat_lab_ID
        delete table bridge xnat_lab_ID
        table inet xnat_lab_ID {
          chain forward {
            type filter hook forward priority filter
          }
          chain postrouting {
            type nat hook postrouting priority srcnat
            ip saddr 10.77.5.0/24 oifname != "xl-ID" masquerade
          }
        }
        table bridge xnat_lab_ID {
          chain input {
            type filter hook input priority filter
          }
          chain forward {
            type filter hook forward priority filter
          }
          chain output {
            type filter hook output priority filter
          }
        }
        "#);
    }

    #[test]
    fn an_air_gap_and_a_partition_drop() {
        insta::assert_snapshot!(shown(&state(AirGap::On, Link::Cut)), @r#"
        table inet xnat_lab_ID
        delete table inet xnat_lab_ID
        table bridge xnat_lab_ID
        delete table bridge xnat_lab_ID
        table inet xnat_lab_ID {
          chain forward {
            type filter hook forward priority filter
            iifname "xl-ID" oifname != "xl-ID" drop
          }
          chain postrouting {
            type nat hook postrouting priority srcnat
          }
        }
        table bridge xnat_lab_ID {
          chain input {
            type filter hook input priority filter
            iifname "vb-ID-1" drop
            oifname "vb-ID-1" drop
          }
          chain forward {
            type filter hook forward priority filter
            iifname "vb-ID-1" drop
            oifname "vb-ID-1" drop
          }
          chain output {
            type filter hook output priority filter
            iifname "vb-ID-1" drop
            oifname "vb-ID-1" drop
          }
        }
        "#);
    }

    #[test]
    fn a_subnet_in_use_is_passed_over_and_a_wide_route_is_not_in_the_way() {
        let json = r#"[{"ifname":"x","addr_info":[{"local":"10.77.5.1","prefixlen":24}]},{"dst":"10.77.6.0/24"},
                       {"dst":"10.77.7.9"},{"dst":"default"},{"dst":"10.0.0.0/8"}]"#;
        let used = networks(json);
        let free: Vec<u8> = (4..9).filter(|n| is_free(*n, &used)).collect();
        assert_eq!(free, [4, 8]);
    }
}
