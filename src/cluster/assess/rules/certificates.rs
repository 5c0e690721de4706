//! Certificates: a service whose certificate has ended is refused by everybody who asks it.

use std::collections::BTreeMap;

use super::{apply, critical, warning};
use crate::cluster::assess::Problem;
use crate::cluster::view::ClusterView;
use crate::inventory::Inventory;
use crate::pki;

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
        match days {
            ..0 => critical(format!("{these} ended {} days ago", -days), help.clone()),
            0 => warning(format!("{these} will end within a day"), help.clone()),
            days => warning(format!("{these} will end in {days} days"), help.clone()),
        }
    };
    ending.into_iter().map(tell).collect()
}
