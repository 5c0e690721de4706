//! Whether a fault can be inflicted on the machines there are, however well the cluster is.

use super::{DrillError, Power, Targets};
use crate::drill::Fault;
use crate::engine::Fleet;
use crate::error::one_line;
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::quote;
use crate::transport::Script;

/// Why it cannot, if it cannot.
pub async fn obstacle(
    fault: Fault,
    (targets, inventory): (&Targets, &Inventory),
    (fleet, power, by_hand): (&Fleet, &dyn Power, bool),
) -> Result<Option<String>, DrillError> {
    for host in &targets.struck {
        let why = match fault {
            Fault::PowerOff if !power.has(host) && !by_hand => Some(
                "only hosts of a lab on this machine have a switch (with --by-hand you are to switch it on)".to_owned(),
            ),
            Fault::DiskFull => shared(fleet, host, inventory).await?,
            Fault::ClockBack | Fault::ClockAhead => contained(fleet, host).await?,
            _ => None,
        };
        if let Some(why) = why {
            return Ok(Some(format!("on {host}: {why}")));
        }
    }
    Ok(None)
}

async fn contained(fleet: &Fleet, host: &HostName) -> Result<Option<String>, DrillError> {
    let said = ask(fleet, host, ("look at the machine", "systemd-detect-virt --container || true")).await?;
    let kind = said.trim();
    Ok((kind != "none").then(|| format!("it is a container ({kind}), whose clock is that of the machine it runs on")))
}

async fn ask(fleet: &Fleet, host: &HostName, (what, script): (&str, &str)) -> Result<String, DrillError> {
    let failed = |reason: String| DrillError::Inflict { what: what.to_owned(), host: host.clone(), reason };
    let transport = fleet.connections.get(host).ok_or_else(|| failed("it cannot be reached".to_owned()))?;
    let said = transport.run(Script::as_root(what, script)).await;
    let said = said.map_err(|error| failed(one_line(&error)))?;
    if said.ok() { Ok(said.stdout) } else { Err(failed(said.stderr)) }
}

/// A full disk is to be this PostgreSQL's trouble alone: neither the system's, nor etcd's, nor another cluster's. What
/// fills it lies beside the data, and file systems that share their room with others do not show it.
async fn shared(fleet: &Fleet, host: &HostName, inventory: &Inventory) -> Result<Option<String>, DrillError> {
    let script = format!(
        "data=$(dirname /var/lib/postgresql/*/{}/postmaster.pid)\n\
         own=$(stat -c %d \"$data\") || exit 1\n\
         [ \"$(stat -c %d \"$(dirname \"$data\")\")\" = \"$own\" ] || {{ echo its directory; exit 0; }}\n\
         case $(stat -f -c %T \"$data\") in btrfs | zfs) echo others; exit 0 ;; esac\n\
         for other in / /var /var/log /var/lib /tmp {} /var/lib/postgresql/*/*/; do\n\
         [ \"${{other%/}}\" != \"$data\" ] || continue\n\
         [ \"$(stat -c %d \"$other\" 2>/dev/null)\" != \"$own\" ] || {{ echo \"$other\"; exit 0; }}\n\
         done\n",
        quote::sh(&inventory.cluster),
        quote::sh(&inventory.etcd.data_dir),
    );
    let shares = !ask(fleet, host, ("look at the disks", &script)).await?.trim().is_empty();
    Ok(shares.then(|| "the data is not on a file system of its own, and nothing else is filled".to_owned()))
}
