//! The script that looks at a host: the probe of every run, then `look.sh`, then who can be reached from there.

use crate::facts::{self, reach};
use crate::inventory::{Component, Host, Inventory};
use crate::quote;

const LOOK: &str = include_str!("look.sh");

/// One script, one round trip.
pub fn script(inventory: &Inventory, host: &Host) -> String {
    let mut script = format!("{}\necho examine=begin\n", facts::PROBE);
    for (name, words) in [
        ("cluster", inventory.cluster.clone()),
        ("port", inventory.postgresql.port.to_string()),
        ("paths", paths(inventory, host).join(" ")),
        ("names", inventory.named_addresses().collect::<Vec<_>>().join(" ")),
    ] {
        script.push_str(&format!("{name}={}\n", quote::sh(&words)));
    }
    script.push_str(LOOK);
    let targets: Vec<String> = reach::targets(inventory, host).iter().map(|target| quote::sh(&target.key())).collect();
    if !targets.is_empty() {
        script.push_str(&format!("perl - {} <<'XP_PERL'\n{}XP_PERL\n", targets.join(" "), facts::REACH));
    }
    script.push_str("echo examine=end\n");
    script
}

/// Where the services write.
fn paths<'a>(inventory: &'a Inventory, host: &Host) -> Vec<&'a str> {
    let mut paths = vec!["/", "/var/log"];
    if host.components.contains(&Component::Postgres) {
        paths.push("/var/lib/postgresql");
    }
    if host.components.contains(&Component::Etcd) {
        paths.push(&inventory.etcd.data_dir);
    }
    paths
}
