//! Stand-ins for certificates and keys that are always the same, for tests that only write them down.

use xnat_provision::inventory::Inventory;
use xnat_provision::pki::{self, Authority, AuthorityKey, Pair, Pki};
use xnat_provision::secret::Secret;
use xnat_provision::vault::Secrets;

/// Secrets with everything the inventory asks for.
pub fn stand_ins(inventory: &Inventory, secrets: &Secrets) -> Secrets {
    let pair = |what: &str| Pair {
        certificate: format!("(certificate of {what})\n"),
        key: Secret::new(format!("({what}-password)\n")),
    };
    let Pair { certificate, key } = pair("the authority");
    let authority = Authority { certificate, key: AuthorityKey::Kept(key) };
    let mut pki = Pki { authority: Some(authority), ..Pki::default() };
    for wanted in pki::wanted(inventory) {
        let name = format!("{} of {}", wanted.purpose, wanted.host);
        pki.hosts.entry(wanted.host).or_default().insert(wanted.purpose, pair(&name));
    }
    Secrets { pki, ..secrets.clone() }
}
