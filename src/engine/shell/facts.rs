//! The script that asks a host what it is: the short probe, and for some the closer look.

use crate::facts::{self, reach};
use crate::inventory::{Component, Host, Inventory};
use crate::quote;

/// How closely a host is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrutiny {
    /// The short probe; the closer look too where this program has never been.
    NewHosts,
    /// The same, and on a new host the disk is measured, for which a file is written and removed.
    NewHostsMeasured,
    /// Everything, on every host.
    Everything,
}

/// One script, one round trip.
pub fn script(inventory: &Inventory, host: &Host, scrutiny: Scrutiny) -> String {
    let mut script = format!("{}\n", facts::PROBE);
    match scrutiny {
        Scrutiny::Everything => script.push_str("if true; then\n"),
        Scrutiny::NewHosts | Scrutiny::NewHostsMeasured => {
            script.push_str(&format!("if [ ! -e {} ]; then\n", facts::PREPARED));
        }
    }
    for (name, words) in [
        ("data_dirs", data_dirs(inventory, host)),
        ("packages", packages(inventory, host)),
        ("names", inventory.named_addresses().collect::<Vec<_>>().join(" ")),
        ("locale", inventory.database.locale.split('.').next().unwrap_or_default().to_owned()),
    ] {
        script.push_str(&format!("{name}={}\n", quote::sh(&words)));
    }
    script.push_str(facts::POLICY);
    script.push_str(facts::EXAMINE);
    reachability(inventory, host, &mut script);
    if scrutiny != Scrutiny::NewHosts && host.components.contains(&Component::Etcd) {
        // the nearest directory there is, as with free space
        script.push_str(&format!(
            "there={}\nwhile [ ! -d \"$there\" ]; do there=${{there%/*}}; [ -n \"$there\" ] || there=/; done\n",
            quote::sh(&inventory.etcd.data_dir)
        ));
        perl(facts::FSYNC, "\"$there\"", &mut script);
    }
    script.push_str("wait\necho examine=end\nfi\n");
    script
}

fn data_dirs(inventory: &Inventory, host: &Host) -> String {
    let mut all = Vec::new();
    if host.components.contains(&Component::Postgres) {
        all.push("/var/lib/postgresql");
    }
    if host.components.contains(&Component::Etcd) {
        all.push(&inventory.etcd.data_dir);
    }
    all.join(" ")
}

/// The packages that carry the services. Where the release's own PostgreSQL is wanted, the one without a number names it.
fn packages(inventory: &Inventory, host: &Host) -> String {
    let mut all = Vec::new();
    for component in &host.components {
        match component {
            Component::Etcd => all.extend(["etcd-server".to_owned(), "etcd-client".to_owned()]),
            Component::Postgres => {
                let version = inventory.postgresql.version.map(|version| format!("-{version}")).unwrap_or_default();
                all.extend([format!("postgresql{version}"), "patroni".to_owned(), "python3-etcd".to_owned()]);
            }
            Component::Haproxy => all.push("haproxy".to_owned()),
        }
    }
    all.join(" ")
}

fn reachability(inventory: &Inventory, host: &Host, script: &mut String) {
    let targets = reach::targets(inventory, host);
    if targets.is_empty() {
        return;
    }
    let mut addresses: Vec<&str> = targets.iter().map(|target| target.address.as_str()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let ports = targets.iter().map(reach::Target::key);
    let words = ports.chain(["path".to_owned()]).chain(addresses.into_iter().map(str::to_owned));
    perl(facts::REACH, &words.map(|word| quote::sh(&word)).collect::<Vec<_>>().join(" "), script);
}

fn perl(program: &str, arguments: &str, script: &mut String) {
    script.push_str(&format!("perl - {arguments} <<'XP_PERL'\n{program}XP_PERL\n"));
}
