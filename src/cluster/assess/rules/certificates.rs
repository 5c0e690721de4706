//! Certificates: a service whose certificate has ended is refused by everybody who asks it.

use std::collections::BTreeMap;

use super::{apply, critical, warning};
use crate::cluster::assess::Problem;
use crate::cluster::view::ClusterView;
use crate::inventory::{Inventory, Signing};
use crate::pki;
use crate::quote;

/// In days.
const AUTHORITY_ENDS_SOON: i64 = 30;

pub fn expiry(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let soon = pki::renewed_before(inventory.tls.days);
    // They mostly end together, having been made together.
    let mut ending: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for shown in &view.certificates {
        if let Some(days) = shown.answer.known().map(|certificate| certificate.days_left).filter(|days| *days < soon) {
            ending.entry(days).or_default().push(format!("{} on {}", shown.purpose, shown.host));
        }
    }
    let help = match inventory.tls.signing.is_elsewhere() {
        true => {
            "have new ones signed, put them into the directory [tls] certificates, and ".to_owned() + &apply(inventory)
        }
        false => apply(inventory),
    };
    let tell = |(days, places): (i64, Vec<String>)| {
        let these = match places.as_slice() {
            [one] => format!("the certificate of {one}"),
            several => format!("the certificates of {}", several.join(", ")),
        };
        ends(&these, days, help.clone())
    };
    ending.into_iter().map(tell).collect()
}

/// Nothing that an authority signed outlives it, and `apply` makes no other one by itself: clients have to be told.
pub fn authorities(view: &ClusterView, inventory: &Inventory) -> Vec<Problem> {
    let rotate = format!("`xnat-provision certs rotate --ca {}`", quote::path(&inventory.path));
    let help = match &inventory.tls.signing {
        Signing::Ours => format!("make a new one: {rotate}"),
        Signing::Authority { .. } => {
            format!("name a new one under [tls], then {rotate}, with `--present-key` and the key of this one")
        }
        Signing::Elsewhere { trusted, .. } => {
            let trusted = trusted.display();
            format!("append the one that follows it to {trusted}, {}, then exchange the certificates", apply(inventory))
        }
    };
    let soon = view.authorities.iter().filter(|authority| authority.days_left < AUTHORITY_ENDS_SOON);
    soon.map(|one| ends(&format!("the authority {}", one.subject), one.days_left, help.clone())).collect()
}

fn ends(these: &str, days: i64, help: String) -> Problem {
    match days {
        ..0 => critical(format!("{these} ended {} days ago", -days), help),
        0 => warning(format!("{these} will end within a day"), help),
        days => warning(format!("{these} will end in {days} days"), help),
    }
}
