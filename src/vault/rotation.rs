//! The way from one set of passwords to another. PostgreSQL knows one password per role, so a member that connects again
//! between the change of the role and the change of its own file would be locked out. Members therefore spend the time of the
//! change with a second login of their own, `replicator_next` and `rewind_next`:
//!
//! | phase     | logins PostgreSQL lets in    | members use            | all other passwords |
//! |-----------|------------------------------|------------------------|---------------------|
//! | none      | the real ones                | the real ones, old     | old                 |
//! | introduce | both                         | the real ones, old     | old                 |
//! | move      | both                         | the second ones, new   | old                 |
//! | change    | both, the real ones with new | the second ones, new   | new                 |
//! | return    | both                         | the real ones, new     | new                 |
//! | none      | the real ones                | the real ones, new     | new                 |
//!
//! Each phase is kept in the vault before a host is told, and is an ordinary `apply` from there on: cut anywhere, the same
//! phase is carried out again. At every moment the login in every member's file works, since a phase differs from the one
//! before it either in what is let in or in what is used.

use std::collections::{BTreeMap, BTreeSet};

use super::VaultError;
use super::secrets::{Secrets, generate};
use crate::error::{Exit, Fails};
use crate::inventory::Inventory;
use crate::secret::Secret;

/// Passwords that members of the cluster use towards each other; the others are changed in one go.
const BETWEEN_MEMBERS: [&str; 2] = [REPLICATION, REWIND];
const REPLICATION: &str = "replication";
const REWIND: &str = "rewind";

/// How far a rotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Introduce,
    Move,
    Change,
    Return,
}

/// A rotation that has been begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    pub phase: Phase,
    /// The new passwords: of everything that is still to change, and of the second logins.
    pub next: BTreeMap<String, Secret>,
    /// The passwords that are being changed, while some host may still have them.
    pub former: BTreeMap<String, Secret>,
}

/// What is to be done with the passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// New passwords for these, or for all when none is named.
    Begin(Vec<String>),
    /// Carry out what is under way.
    Resume,
    /// What was under way is carried out on every host.
    Next,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RotationError {
    #[error("there are no passwords yet")]
    #[diagnostic(code(xnat::secrets::nothing_yet), help("`xnat-provision apply` makes them"))]
    NothingYet,
    #[error("{name} is kept elsewhere ([secrets] in the inventory), so it is not changed here")]
    #[diagnostic(code(xnat::secrets::elsewhere), help("name the others: {}", ours.join(" ")))]
    Elsewhere { name: String, ours: Vec<String> },
    #[error("every password is kept elsewhere ([secrets] in the inventory), so none is changed here")]
    #[diagnostic(code(xnat::secrets::nothing_ours), help("change them where they are kept"))]
    NothingOurs,
    #[error("new passwords for {} are under way, and {name} is not among them", under_way.join(", "))]
    #[diagnostic(
        code(xnat::secrets::under_way),
        help("finish that first: `xnat-provision secrets rotate` and the inventory; then name {name} again")
    )]
    UnderWay { name: String, under_way: Vec<String> },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Vault(#[from] VaultError),
}

impl Fails for RotationError {
    fn exit(&self) -> Exit {
        match self {
            Self::Vault(error) => error.exit(),
            _ => Exit::Usage,
        }
    }
}

impl Phase {
    pub const ALL: [Self; 4] = [Self::Introduce, Self::Move, Self::Change, Self::Return];

    /// As the vault has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Introduce => "introduce",
            Self::Move => "move",
            Self::Change => "change",
            Self::Return => "return",
        }
    }

    /// What it does, for a person.
    pub fn told(self) -> &'static str {
        match self {
            Self::Introduce => "PostgreSQL gets a second login for each of those the members use",
            Self::Move => "the members move to the second login",
            Self::Change => "the passwords are changed",
            Self::Return => "the members return to their own login, with its new password",
        }
    }
}

impl Rotation {
    /// What is being changed.
    pub fn names(&self) -> BTreeSet<&str> {
        self.next.keys().chain(self.former.keys()).map(String::as_str).collect()
    }

    /// Everything in it that must not be seen.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.next.values().chain(self.former.values())
    }

    pub fn told(&self) -> String {
        let names: Vec<&str> = self.names().into_iter().collect();
        format!("new passwords are under way for {}: {}", names.join(", "), self.phase.told())
    }
}

/// A role and its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login<'a> {
    pub user: &'static str,
    pub password: &'a Secret,
}

/// Two logins for the same: the real one, and the one that bridges a change.
pub struct Bridged {
    secret: &'static str,
    pub real: &'static str,
    pub second: &'static str,
}

pub const REPLICATOR: Bridged = Bridged { secret: REPLICATION, real: "replicator", second: "replicator_next" };
pub const REWINDER: Bridged = Bridged { secret: REWIND, real: "rewind", second: "rewind_next" };

impl Bridged {
    /// The second login, while there has to be one.
    pub fn bridge<'a>(&self, secrets: &'a Secrets) -> Option<Login<'a>> {
        let password = secrets.rotation.as_ref()?.next.get(self.secret)?;
        Some(Login { user: self.second, password })
    }

    /// What members use.
    pub fn used<'a>(&self, secrets: &'a Secrets) -> Login<'a> {
        let real = if self.secret == REPLICATION { &secrets.replication } else { &secrets.rewind };
        let real = Login { user: self.real, password: real };
        let phase = secrets.rotation.as_ref().map(|rotation| rotation.phase);
        match (phase, self.bridge(secrets)) {
            (Some(Phase::Move | Phase::Change), Some(second)) => second,
            _ => real,
        }
    }

    /// Everybody PostgreSQL lets in.
    pub fn let_in(&self, secrets: &Secrets) -> Vec<&'static str> {
        [Some(self.real), self.bridge(secrets).map(|second| second.user)].into_iter().flatten().collect()
    }
}

impl Secrets {
    /// What was the superuser's password, while a server may still have it.
    pub fn former_superuser(&self) -> Option<&Secret> {
        self.rotation.as_ref()?.former.get("superuser")
    }
}

/// Take a step. True when the vault is another one for it; on an error nothing is changed.
pub fn advance(secrets: &mut Secrets, inventory: &Inventory, step: Step) -> Result<bool, RotationError> {
    if secrets.is_placeholder() {
        return Err(RotationError::NothingYet);
    }
    let mut next = secrets.clone();
    match (step, next.rotation.take()) {
        (Step::Resume, _) | (Step::Next, None) => return Ok(false),
        (Step::Begin(names), None) => begin(&mut next, inventory, &names)?,
        (Step::Begin(names), Some(under_way)) => {
            refuse_others(&under_way, &names)?;
            return Ok(false);
        }
        (Step::Next, Some(rotation)) => next.rotation = go_on(&mut next, rotation),
    }
    *secrets = next;
    Ok(true)
}

fn refuse_others(under_way: &Rotation, names: &[String]) -> Result<(), RotationError> {
    let known = under_way.names();
    match names.iter().find(|name| !known.contains(name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let under_way = known.into_iter().map(str::to_owned).collect();
            Err(RotationError::UnderWay { name: name.clone(), under_way })
        }
    }
}

fn begin(secrets: &mut Secrets, inventory: &Inventory, names: &[String]) -> Result<(), RotationError> {
    let ours: Vec<&str> = Secrets::names().filter(|name| !inventory.secrets.contains_key(*name)).collect();
    if ours.is_empty() {
        return Err(RotationError::NothingOurs);
    }
    if let Some(name) = names.iter().find(|name| !ours.contains(&name.as_str())) {
        let ours = ours.iter().map(ToString::to_string).collect();
        return Err(RotationError::Elsewhere { name: name.clone(), ours });
    }
    let wanted = ours.into_iter().filter(|name| names.is_empty() || names.iter().any(|named| named == name));
    let next = wanted.map(|name| Ok((name.to_owned(), generate()?))).collect::<Result<BTreeMap<_, _>, VaultError>>()?;
    let bridged = next.keys().any(|name| BETWEEN_MEMBERS.contains(&name.as_str()));
    let rotation = Rotation { phase: Phase::Introduce, next, former: BTreeMap::new() };
    secrets.rotation = Some(if bridged { rotation } else { change(secrets, rotation) });
    Ok(())
}

/// The phase after this one; none when it was the last.
fn go_on(secrets: &mut Secrets, mut rotation: Rotation) -> Option<Rotation> {
    match rotation.phase {
        Phase::Introduce => Some(Rotation { phase: Phase::Move, ..rotation }),
        Phase::Move => Some(change(secrets, rotation)),
        Phase::Change => {
            rotation.former.clear();
            (!rotation.next.is_empty()).then_some(Rotation { phase: Phase::Return, ..rotation })
        }
        Phase::Return => None,
    }
}

/// The new passwords are the vault's now; only those of the second logins are still wanted for their own sake.
fn change(secrets: &mut Secrets, mut rotation: Rotation) -> Rotation {
    for (name, new) in &rotation.next {
        if let Some(secret) = secrets.named_mut(name) {
            rotation.former.insert(name.clone(), std::mem::replace(secret, new.clone()));
        }
    }
    rotation.next.retain(|name, _| BETWEEN_MEMBERS.contains(&name.as_str()));
    Rotation { phase: Phase::Change, ..rotation }
}

/// As the vault has it.
pub(super) fn to_table(rotation: &Rotation) -> toml::Table {
    let texts = |of: &BTreeMap<String, Secret>| {
        toml::Table::from_iter(of.iter().map(|(name, secret)| (name.clone(), secret.expose().into())))
    };
    toml::Table::from_iter([
        ("phase".to_owned(), rotation.phase.name().into()),
        ("next".to_owned(), texts(&rotation.next).into()),
        ("former".to_owned(), texts(&rotation.former).into()),
    ])
}

/// None when it is not what [`to_table`] wrote.
pub(super) fn from_table(table: &toml::Table) -> Option<Rotation> {
    let texts = |name: &str| -> Option<BTreeMap<String, Secret>> {
        let pair = |(name, text): (&String, &toml::Value)| {
            let known = Secrets::names().find(|known| known == name)?;
            Some((known.to_owned(), Secret::new(text.as_str()?)))
        };
        table.get(name)?.as_table()?.iter().map(pair).collect()
    };
    let phase = table.get("phase")?.as_str()?;
    let phase = Phase::ALL.into_iter().find(|known| known.name() == phase)?;
    (table.len() == 3).then_some(())?;
    Some(Rotation { phase, next: texts("next")?, former: texts("former")? })
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
