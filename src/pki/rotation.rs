//! New certificates, and the way from one authority to another, in three steps between which every member believes
//! every other one:
//!
//! | phase      | trusted      | signs       |
//! |------------|--------------|-------------|
//! | steady     | the present  | the present |
//! | introduced | both         | the present |
//! | switched   | both         | the coming  |
//! | steady     | the coming   | the coming  |
//!
//! Each phase is kept in the vault before a host is told, and is an ordinary `apply` from there on: cut anywhere, the same
//! phase is carried out again.

use jiff::Timestamp;

use super::complete::complete;
use super::error::RotationError;
use super::issue::Issuing;
use super::supplied::{self, Supplied};
use super::{Authority, AuthorityKey, Issued, Pki, PkiError, complete::is_same, wanted};
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::secret::Secret;

/// How far a change of the authority is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Steady,
    Introduced,
    Switched,
}

/// What is to be done with the certificates, beyond completing them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Step {
    #[default]
    Complete,
    /// New certificates for these hosts, or for all when none is named.
    Renew(Vec<HostName>),
    /// Go on with what is under way, whatever that is.
    Resume,
    /// Trust another authority too. The present one's key is needed once more: Patroni only looks at its authorities again
    /// when its own certificate is another one.
    Introduce { present_key: Option<Secret> },
    /// Let the coming one sign.
    Switch,
    /// Forget the former one.
    Finish,
}

impl Phase {
    /// For a person; nothing is to be said of a steady state.
    pub fn told(self) -> Option<&'static str> {
        match self {
            Self::Steady => None,
            Self::Introduced => {
                Some("a change of the authority is under way: both are trusted, and the former one still signs")
            }
            Self::Switched => {
                Some("a change of the authority is under way: the new one signs, and the former one is still trusted")
            }
        }
    }

    pub fn help(self) -> &'static str {
        match self {
            Self::Steady | Self::Introduced => "go on with `xnat-provision certs rotate --ca`",
            Self::Switched => {
                "give every client the new file of authorities, then `xnat-provision certs rotate --ca --finish`"
            }
        }
    }
}

impl Pki {
    pub fn phase(&self) -> Phase {
        match (&self.coming, self.also_trusted.is_empty()) {
            (Some(_), _) => Phase::Introduced,
            (None, false) => Phase::Switched,
            (None, true) => Phase::Steady,
        }
    }
}

/// Take a step, and complete what there is then. On an error nothing is changed.
pub fn advance(pki: &mut Pki, inventory: &Inventory, now: Timestamp, step: Step) -> Result<Vec<Issued>, PkiError> {
    let mut next = pki.clone();
    if step != Step::Complete {
        must_be_ours(&next, inventory)?;
    }
    match step {
        Step::Complete | Step::Resume => {}
        Step::Renew(hosts) => renew(&mut next, &hosts)?,
        Step::Introduce { present_key } => introduce(&mut next, inventory, now, present_key)?,
        Step::Switch => switch(&mut next)?,
        Step::Finish => finish(&mut next)?,
    }
    let issued = complete(&mut next, inventory, now)?;
    *pki = next;
    Ok(issued)
}

fn must_be_ours(pki: &Pki, inventory: &Inventory) -> Result<(), RotationError> {
    if !inventory.tls.enabled {
        return Err(RotationError::NoTls);
    }
    if inventory.tls.signing.is_elsewhere() {
        return Err(RotationError::SignedElsewhere);
    }
    if pki.hosts.is_empty() { Err(RotationError::NothingYet) } else { Ok(()) }
}

fn renew(pki: &mut Pki, hosts: &[HostName]) -> Result<(), RotationError> {
    if pki.phase() != Phase::Steady {
        return Err(RotationError::UnderWay);
    }
    if hosts.is_empty() {
        pki.operator = None;
    }
    pki.hosts.retain(|host, _| !hosts.is_empty() && !hosts.contains(host));
    Ok(())
}

fn introduce(
    pki: &mut Pki,
    inventory: &Inventory,
    now: Timestamp,
    present_key: Option<Secret>,
) -> Result<(), PkiError> {
    if pki.phase() != Phase::Steady {
        return Err(RotationError::UnderWay.into());
    }
    let Some(present) = &mut pki.authority else { return Err(RotationError::NothingYet.into()) };
    let coming = match supplied::look(inventory, &wanted(inventory), now)? {
        Some(Supplied::Authority(named)) if is_same(present, &named)? => {
            return Err(RotationError::SameAuthority.into());
        }
        Some(Supplied::Authority(named)) => named,
        _ => Issuing { cluster: &inventory.cluster, days: inventory.tls.days, now }.authority()?,
    };
    if let (AuthorityKey::Elsewhere(key @ None), Some(given)) = (&mut present.key, present_key) {
        *key = Some(given);
    }
    if present.key().is_none() {
        return Err(RotationError::PresentKey.into());
    }
    pki.coming = Some(coming);
    pki.hosts.clear();
    pki.operator = None;
    Ok(())
}

fn switch(pki: &mut Pki) -> Result<(), RotationError> {
    let Some(coming) = pki.coming.take() else {
        return Err(RotationError::TooEarly { why: "nothing takes its place" });
    };
    pki.also_trusted.extend(pki.authority.replace(coming).map(|former: Authority| former.certificate));
    Ok(())
}

fn finish(pki: &mut Pki) -> Result<(), RotationError> {
    match pki.phase() {
        Phase::Steady => Err(RotationError::NothingUnderWay),
        Phase::Introduced => Err(RotationError::TooEarly { why: "it still signs" }),
        Phase::Switched => {
            pki.also_trusted.clear();
            // As at the beginning: or Patroni would go on believing the former one.
            pki.hosts.clear();
            pki.operator = None;
            Ok(())
        }
    }
}
