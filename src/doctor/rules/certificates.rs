//! Certificates: one that has ended, or is not ours, is refused by everybody.

use super::super::Case;
use super::super::evidence::Foreign;
use super::super::finding::Finding;
use super::ours;
use crate::cluster::shown::Shown;
use crate::inventory::Component;
use crate::pki::Purpose;

pub fn expired(case: &Case<'_>) -> Vec<Finding> {
    let ended = |shown: &&Shown| shown.answer.known().is_some_and(|certificate| certificate.days_left < 0);
    let tell = |shown: &Shown| {
        let (host, purpose) = (&shown.host, shown.purpose.as_str());
        let ends =
            shown.answer.known().map(|certificate| format!("{}, ended {}", certificate.subject, certificate.ends));
        Finding::critical("certificate-expired", format!("the certificate that {purpose} on {host} shows has ended"))
            .on([host])
            .because(
                "nobody accepts it any more; either nobody has renewed it, or the service has not read the new one",
            )
            .seen_if(host, ends)
            .run("renew it", ours("apply", case.inventory))
    };
    case.view.certificates.iter().filter(ended).map(tell).collect()
}

pub fn foreign(case: &Case<'_>) -> Vec<Finding> {
    case.foreign.iter().map(|one| other(case, one)).collect()
}

fn other(case: &Case<'_>, one: &Foreign) -> Finding {
    let Foreign { host, purpose, shown } = one;
    let what = format!("{} on {host} shows a certificate that is not the one in the vault", purpose.as_str());
    let seen = format!("{}, ends {}", shown.subject, shown.ends);
    let Some(refused) = refused(case, one) else {
        return Finding::warning("certificate-foreign", what)
            .on([host])
            .because("probably it is an older one of ours: its file was put there by hand, or the service has not read it again")
            .seen(host, seen)
            .run("put the vault's in its place", ours("apply", case.inventory));
    };
    let finding = Finding::critical("certificate-foreign", what).on([host]).seen(host, seen).seen(host, refused);
    if case.inventory.with(Component::Etcd).all(|host| case.view.strangers.contains(&host.name)) {
        return finding
            .because("all members show such a one: the vault beside the inventory is not this cluster's")
            .advise("bring back the vault as the last apply used it");
    }
    finding
        .because("no authority that the other members know has signed it, so they refuse it: its file is not the one this program wrote")
        .run_on(host, "put it aside", &format!("mv {0} {0}.foreign", purpose.file()))
        .run("and have the vault's put in its place", ours("apply", case.inventory))
}

/// What this program itself said of the certificate, which believes the same authorities as the members do.
fn refused<'a>(case: &'a Case<'_>, Foreign { host, purpose, .. }: &Foreign) -> Option<&'a str> {
    let view = case.view;
    let reason = match purpose {
        Purpose::Etcd => view.etcd.iter().find(|seen| seen.host == *host)?.answer.reason(),
        Purpose::Patroni => view.members.iter().find(|member| member.host == *host)?.patroni.reason(),
        Purpose::Haproxy => view.haproxy.iter().find(|seen| seen.host == *host)?.answer.reason(),
        Purpose::Postgres => None,
    };
    reason.filter(|reason| reason.contains("TLS") || reason.contains("certificate"))
}
