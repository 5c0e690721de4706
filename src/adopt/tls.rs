//! Whether the services speak TLS, by which names clients know the database, and who has signed its certificates.

use super::Difference;
use super::draft::Table;
use super::hosts::Hosts;
use super::patroni::Patroni;
use crate::inventory::Inventory;
use crate::pki::read::{self, Read};

pub(super) fn is_enabled(hosts: &Hosts) -> bool {
    let etcd = hosts.members.iter().any(|member| member.seen.etcd.as_ref().is_some_and(|etcd| etcd.has_tls()));
    etcd || hosts.patronis().any(|(_, patroni)| patroni.has_tls())
}

pub(super) fn table(hosts: &Hosts, defaults: &Inventory, differences: &mut Vec<Difference>) -> Table {
    let mut table = Table::default();
    if !is_enabled(hosts) {
        table.set("enabled", false);
        let on =
            hosts.patronis().find(|(_, patroni)| patroni.own_parameters().get("ssl").is_some_and(|it| *it != "off"));
        if on.is_some() {
            differences.push(Difference::of_all(
                "PostgreSQL speaks TLS, etcd and Patroni do not; here all of them do or none: [tls] enabled",
            ));
        }
        return table;
    }
    let Some(certificate) = hosts.leading().and_then(certificate) else { return table };
    table.list("names", &names(&certificate, hosts));
    let ours = format!("CN=xnat-provision CA of {}", hosts.cluster);
    if certificate.issuer == ours {
        // it is good from the day before it was made
        let days = certificate.not_after.duration_since(certificate.not_before).as_hours() / 24 - 1;
        table.differing("days", Some(days), i64::from(defaults.tls.days));
    } else {
        let what = "name that authority in [tls], with its key (ca_key) or with what it has signed (certificates)";
        table.comment(&format!("The certificates are signed by {}: {what}.", certificate.issuer));
        differences.push(Difference::of_all(format!("the certificates are signed by {}; {what}", certificate.issuer)));
    }
    table
}

fn certificate(patroni: &Patroni) -> Option<Read> {
    let texts = ["postgres", "patroni"].into_iter().filter_map(|name| patroni.certificates.get(name)?.as_deref());
    texts.into_iter().find_map(|pem| read::certificate(pem, "a certificate").ok())
}

/// Those that are no host's own.
fn names(certificate: &Read, hosts: &Hosts) -> Vec<String> {
    let own = |name: &str| hosts.members.iter().any(|member| member.name.as_str() == name || member.address == name);
    let local = |name: &str| matches!(name, "localhost" | "127.0.0.1" | "::1");
    certificate.names.iter().filter(|name| !own(name) && !local(name)).cloned().collect()
}
