//! The ports of a host's roles: is anybody else there?

use super::occupied::foreign_postgresql;
use super::{Finding, Subject, catalogue};
use crate::facts::Examination;
use crate::inventory::Component;

/// A port this host needs, and the process that may hold it.
struct Need {
    port: u16,
    what: &'static str,
    process: &'static str,
    key: &'static str,
}

fn needs(subject: &Subject<'_>) -> Vec<Need> {
    let need = |what, process, key, port| Need { port, what, process, key };
    let inventory = subject.inventory;
    let mut all = Vec::new();
    for component in &subject.host.components {
        match component {
            Component::Etcd => {
                all.push(need("etcd", "etcd", "etcd.client_port", inventory.etcd.client_port));
                all.push(need("etcd", "etcd", "etcd.peer_port", inventory.etcd.peer_port));
            }
            Component::Postgres => {
                all.push(need("PostgreSQL", "postgres", "postgresql.port", inventory.postgresql.port));
                all.push(need("Patroni", "patroni", "patroni.rest_port", inventory.patroni.rest_port));
            }
            Component::Haproxy => {
                let haproxy = &inventory.haproxy;
                all.push(need("HAProxy", "haproxy", "haproxy.primary_port", haproxy.primary_port));
                all.push(need("HAProxy", "haproxy", "haproxy.replica_port", haproxy.replica_port));
                all.push(need("HAProxy", "haproxy", "haproxy.stats_port", haproxy.stats_port));
            }
        }
    }
    all
}

/// Somebody else listens where we have to. Programs of our own kind are judged by their data below.
pub(super) fn taken(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for need in needs(subject) {
        let Some(listener) = subject.facts.listening.iter().find(|listener| listener.port == need.port) else {
            continue;
        };
        let process = listener.process.as_deref().unwrap_or("an unknown process");
        // A Python program is called by its script or by its interpreter, depending on how it was started.
        let is_patroni = need.process == "patroni" && process.starts_with("python");
        if process == need.process || is_patroni {
            continue;
        }
        if process == "postgres" {
            found.push(foreign_postgresql(subject, listener, &format!("{} needs that port", need.what)));
            continue;
        }
        found.push(subject.refuse(
            &catalogue::PORT_TAKEN,
            format!("{process} listens on port {}, which {} needs", need.port, need.what),
            format!(
                "stop it (`ss -ltnp 'sport = :{}'` shows it), or choose another {} in the inventory",
                need.port, need.key
            ),
        ));
    }
    found
}

pub(super) fn ephemeral(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let range = seen.setting("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().filter_map(|end| end.parse::<u16>().ok());
    let (Some(low), Some(high)) = (ends.next(), ends.next()) else { return Vec::new() };
    let inside = needs(subject).into_iter().filter(|need| (low..=high).contains(&need.port));
    let ports: Vec<String> = inside.map(|need| format!("{} ({})", need.port, need.what)).collect();
    if ports.is_empty() {
        return Vec::new();
    }
    let message = format!("the kernel takes {low} to {high} for outgoing connections, {} among them", ports.join(", "));
    let help =
        "`sysctl -w net.ipv4.ip_local_port_range='32768 60999'`, and mend the file in /etc/sysctl.d that sets it";
    vec![subject.warn(&catalogue::EPHEMERAL_PORTS, message, help)]
}
