//! What an inventory wants of certificates, and what is there of them: whatever is missing, no longer fits or will end
//! soon is made. Everything else is left alone.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use super::issue::Issuing;
use super::supplied::{self, Supplied};
use super::{Authority, AuthorityKey, Pair, Pki, PkiError, Purpose, Wanted, read, wanted};
use crate::inventory::Inventory;
use crate::names::HostName;

/// How many days before its end a certificate is made anew by `apply`, and warned of until then. Those that are good for
/// a short time are renewed when two thirds of it are over.
pub fn renewed_before(days: u32) -> i64 {
    30.min(i64::from(days) / 3)
}

/// A certificate that was made, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// None is this program itself.
    pub place: Option<(HostName, Purpose)>,
    pub why: Why,
}

/// Why a certificate is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Missing,
    Unreadable,
    Ends {
        days: i64,
    },
    /// It is for other names than the host has now.
    Names,
    /// It is of another authority than the one that signs now.
    Authority,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("new"),
            Self::Unreadable => f.write_str("since those in the vault cannot be read"),
            Self::Ends { days } if *days < 0 => write!(f, "since they ended {} days ago", -days),
            Self::Ends { days } => write!(f, "since they end in {days} days"),
            Self::Names => f.write_str("for other names or addresses"),
            Self::Authority => f.write_str("of another authority"),
        }
    }
}

/// What was made that had been there before, for a plan: one line for each reason.
pub fn told(issued: &[Issued]) -> Vec<String> {
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Issued { place, why } in issued.iter().filter(|issued| issued.why != Why::Missing) {
        let place = match place {
            Some((host, purpose)) => format!("{purpose} on {host}"),
            None => "xnat-provision itself".to_owned(),
        };
        reasons.entry(why.to_string()).or_default().push(place);
    }
    reasons.into_iter().map(|(why, places)| format!("New certificates, {why}: {}", places.join(", "))).collect()
}

/// Whether what the inventory names can be used.
pub fn check_supplied(inventory: &Inventory, now: Timestamp) -> Result<(), PkiError> {
    supplied::look(inventory, &wanted(inventory), now).map(|_| ())
}

/// Make what is to be made, and tell what that was; the vault has to be written anew when it is anything.
pub fn complete(pki: &mut Pki, inventory: &Inventory, now: Timestamp) -> Result<Vec<Issued>, PkiError> {
    let wanted = wanted(inventory);
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let supplied = supplied::look(inventory, &wanted, now)?;
    let issuing = Issuing { cluster: &inventory.cluster, days: inventory.tls.days, now };
    match supplied {
        Some(Supplied::Certificates { trusted, hosts, operator }) => {
            let named = Authority { certificate: trusted, key: AuthorityKey::Elsewhere(None) };
            take_trust(pki, named, hosts.values().flat_map(BTreeMap::values))?;
            (pki.hosts, pki.operator, pki.signed_elsewhere) = (hosts, Some(operator), true);
            return Ok(Vec::new());
        }
        Some(Supplied::Authority(named)) => take_authority(pki, named)?,
        None => {}
    }
    pki.signed_elsewhere = false;
    issuing.complete(pki, &wanted)
}

/// The authority that the inventory names: the one we know, now with its key; or the first one.
fn take_authority(pki: &mut Pki, named: Authority) -> Result<(), PkiError> {
    let known = [&mut pki.authority, &mut pki.coming].into_iter().flatten();
    for known in known {
        if is_same(known, &named)? {
            *known = named;
            return Ok(());
        }
    }
    match &pki.authority {
        Some(present) => Err(other(present, &named)?),
        None => {
            pki.authority = Some(named);
            Ok(())
        }
    }
}

/// What is trusted when everything is signed elsewhere. Hosts that were not told yet must believe what the others show
/// by now, so an authority is trusted one `apply` before it signs.
fn take_trust<'a>(pki: &mut Pki, named: Authority, shown: impl Iterator<Item = &'a Pair>) -> Result<(), PkiError> {
    if let Some(present) = &pki.authority {
        let before = read::certificates(&pki.trusted(), "the authority")?;
        for pair in shown {
            let chain = read::certificates(&pair.certificate, "a certificate")?;
            if !before.iter().any(|authority| chain.iter().any(|one| one.is_signed_by(authority))) {
                return Err(other(present, &named)?);
            }
        }
    }
    (pki.authority, pki.coming) = (Some(named), None);
    pki.also_trusted.clear();
    Ok(())
}

pub(super) fn is_same(one: &Authority, other: &Authority) -> Result<bool, PkiError> {
    let first = |authority: &Authority| read::certificate(&authority.certificate, "the authority");
    Ok(first(one)?.der == first(other)?.der)
}

fn other(present: &Authority, named: &Authority) -> Result<PkiError, PkiError> {
    let (present, named) = (subject(present)?, subject(named)?);
    Ok(PkiError::OtherAuthority { present, named })
}

fn subject(authority: &Authority) -> Result<String, PkiError> {
    Ok(read::certificate(&authority.certificate, "the authority")?.subject)
}

impl Issuing<'_> {
    /// The same, with whatever authority there is; a new one when there is none.
    pub fn complete(&self, pki: &mut Pki, wanted: &[Wanted]) -> Result<Vec<Issued>, PkiError> {
        let authority = match &pki.authority {
            Some(authority) => authority.clone(),
            None => pki.authority.insert(self.authority()?).clone(),
        };
        let renewed_before = renewed_before(self.days);
        Completing::of(*self, &authority, renewed_before).complete(pki, wanted)
    }
}

/// Who signs what.
struct Completing<'a> {
    issuing: Issuing<'a>,
    authority: &'a Authority,
    /// What the authority's certificate says; none when it cannot be read.
    signer: Option<read::Read>,
    renewed_before: i64,
}

impl<'a> Completing<'a> {
    fn of(issuing: Issuing<'a>, authority: &'a Authority, renewed_before: i64) -> Self {
        let signer = read::certificate(&authority.certificate, "the authority").ok();
        Self { issuing, authority, signer, renewed_before }
    }

    fn complete(&self, pki: &mut Pki, wanted: &[Wanted]) -> Result<Vec<Issued>, PkiError> {
        let mut issued = Vec::new();
        if let Some(why) = self.why(pki.operator.as_ref(), None) {
            let subject = format!("xnat-provision of {}", self.issuing.cluster);
            pki.operator = Some(self.issuing.certificate(self.authority, &subject, &[])?);
            issued.push(Issued { place: None, why });
        }
        for one in wanted {
            let pairs = pki.hosts.entry(one.host.clone()).or_default();
            if let Some(why) = self.why(pairs.get(&one.purpose), Some(&one.names)) {
                let subject = format!("{} of {}", one.purpose, one.host);
                pairs.insert(one.purpose, self.issuing.certificate(self.authority, &subject, &one.names)?);
                issued.push(Issued { place: Some((one.host.clone(), one.purpose)), why });
            }
        }
        Ok(issued)
    }

    /// Why this one is to be made anew; none when it fits.
    fn why(&self, pair: Option<&Pair>, names: Option<&[String]>) -> Option<Why> {
        let Some(pair) = pair else { return Some(Why::Missing) };
        let (Ok(read), Some(signer)) = (read::certificate(&pair.certificate, "a certificate"), &self.signer) else {
            return Some(Why::Unreadable);
        };
        let days = read.days_left(self.issuing.now);
        if days < self.renewed_before {
            return Some(Why::Ends { days });
        }
        if !read.is_signed_by(signer) {
            return Some(Why::Authority);
        }
        names.is_some_and(|names| read.names != names).then_some(Why::Names)
    }
}
