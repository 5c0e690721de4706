//! Hosts that are connected to and locked, for a command that changes the cluster and none of the hosts' files. One that
//! does not answer is told and left out: a cluster with a dead host has to be worked on, too.

use std::collections::BTreeMap;

use super::Failure;
use super::session::Session;
use crate::cluster::{self, ClusterView, Gather};
use crate::engine::{Dialer, Fleet, Scrutiny};
use crate::error::one_line;
use crate::facts::Facts;
use crate::inventory::Component;
use crate::names::HostName;
use crate::report::Kind;
use crate::workflow::{HostProblem, SurveyError};

pub struct Ground {
    pub fleet: Fleet,
    unreachable: BTreeMap<HostName, String>,
}

impl Ground {
    /// Connect, and take the locks of all who answer.
    pub async fn of(session: &Session) -> Result<Self, Failure> {
        Self::reached(session, Locks::Taken).await
    }

    /// Connect, to look only.
    pub async fn to_look(session: &Session) -> Result<Self, Failure> {
        Self::reached(session, Locks::Left).await
    }

    async fn reached(session: &Session, locks: Locks) -> Result<Self, Failure> {
        let mut fleet = Fleet::default();
        let (inventory, reporter) = (&session.inventory, &session.reporter);
        let dialer = Dialer { connector: session.connector.as_ref(), parallel: inventory.hosts.len(), reporter };
        let taken = tokio::select! {
            biased;
            () = session.cancel.cancelled() => Err(SurveyError::Interrupted.into()),
            taken = connect_and_lock(session, (&mut fleet, locks), dialer) => taken,
        };
        if let Err(failure) = taken {
            fleet.close(reporter).await;
            return Err(failure);
        }
        let unreachable = fleet.reasons();
        for (host, reason) in &unreachable {
            let message = format!("it is left out, since it cannot be reached: {reason}");
            reporter.for_host(host).emit(Kind::Warned { message, help: None }).await;
        }
        Ok(Self { fleet, unreachable })
    }

    /// How to ask this cluster.
    pub fn gather<'a>(&'a self, session: &'a Session) -> Gather<'a> {
        Gather {
            inventory: &session.inventory,
            connections: &self.fleet.connections,
            unreachable: &self.unreachable,
            secrets: session.secrets.real(),
        }
    }

    /// What every host is; all of them have to say.
    pub async fn facts(&self, session: &Session) -> Result<BTreeMap<HostName, Facts>, SurveyError> {
        let gathered = self.fleet.gather_facts(&session.inventory, Scrutiny::NewHosts, &session.reporter).await;
        let (mut facts, mut problems) = (BTreeMap::new(), Vec::new());
        for (host, found) in gathered {
            match found {
                Ok(found) => _ = facts.insert(host, found),
                Err(error) => problems.push((host, HostProblem::from(error))),
            }
        }
        if problems.is_empty() { Ok(facts) } else { Err(SurveyError::Hosts { problems }) }
    }

    /// Whether one that has such a component cannot be reached.
    pub fn is_away(&self, component: Component, session: &Session) -> bool {
        session.inventory.with(component).any(|host| !self.fleet.connections.contains_key(&host.name))
    }

    pub async fn view(&self, session: &Session) -> ClusterView {
        cluster::gather(&self.gather(session)).await
    }
}

/// Whether others are kept out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Locks {
    Taken,
    Left,
}

async fn connect_and_lock(
    session: &Session,
    (fleet, locks): (&mut Fleet, Locks),
    dialer: Dialer<'_>,
) -> Result<(), Failure> {
    fleet.connect(&session.inventory, dialer).await;
    if locks == Locks::Left {
        return Ok(());
    }
    let names: Vec<HostName> = fleet.connections.keys().cloned().collect();
    let mut refused = None;
    for (name, lock) in fleet.take(names, &session.claim()).await {
        match lock {
            Ok(hold) => _ = fleet.holds.insert(name, hold),
            Err(error) => {
                session.reporter.for_host(&name).emit(Kind::Warned { message: one_line(&error), help: None }).await;
                refused.get_or_insert(error);
            }
        }
    }
    refused.map_or(Ok(()), |error| Err(error.into()))
}
