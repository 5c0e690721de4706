//! Both ends of a migration: the cluster's hosts, and the machine of the source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OnceCell;

use super::super::Failure;
use super::super::ground::Ground;
use super::super::handout;
use super::super::session::Session;
use super::NotNow;
use super::kept::State;
use crate::cluster::endpoints::{Endpoints, Files, Notation, endpoints};
use crate::cluster::http::authority;
use crate::cluster::postgres::foreign::Foreign;
use crate::cluster::{self, ClusterView};
use crate::engine::Connection;
use crate::error::one_line;
use crate::inventory::{Component, Host, Reach, Source};
use crate::migrate::record::Method;
use crate::names::HostName;
use crate::report::{Kind, millis_since};
use crate::transport::Transport;
use crate::workflow::migrate::{self, Application};

/// PostgreSQL's own, which nobody has to be told.
const USUAL_PORT: u16 = 5432;

pub(super) struct Ends<'a> {
    pub ground: Ground,
    pub foreign: Foreign<'a>,
    pub leader: Host,
    pub view: ClusterView,
    machine: Option<Arc<dyn Transport>>,
    /// Those of XNAT.
    xnats: Machines,
    /// Why some of these cannot be reached.
    pub absent: Vec<Failure>,
    placed: OnceCell<Placed>,
}

/// What the application's database is marked with, and in which cluster that is. No command changes either and asks then.
struct Placed {
    mark: Option<String>,
    system: i64,
}

/// How applications reach the cluster, and the lines that say so.
pub(super) fn reached(session: &Session) -> (Endpoints, Vec<String>) {
    let inventory = &session.inventory;
    let files = Files { inventory: &inventory.path, authorities: &handout::path(&inventory.path) };
    let found = endpoints(inventory, files, Notation::of(&session.secrets.application));
    let lines = found.lines(files);
    (found, lines)
}

/// Where the data is now.
pub(super) fn source(session: &Session) -> Result<Source, NotNow> {
    session.inventory.source.clone().ok_or(NotNow::NoSource)
}

/// For people; and two servers of one machine are two sources.
pub(super) fn name(source: &Source) -> String {
    let address = &source.machine.address;
    let place = if source.port == USUAL_PORT { address.clone() } else { authority(address, source.port) };
    let container = source.container.as_ref().map(|name| format!(" in {} {name}", source.engine.name()));
    format!("{} on {place}{}", source.database, container.unwrap_or_default())
}

impl<'a> Ends<'a> {
    /// With the cluster's locks unless it is only looked at.
    pub async fn reach(session: &Session, source: &'a Source, ground: Ground) -> Result<Self, Failure> {
        let mut ends = Self::reach_what_answers(session, source, ground).await?;
        match ends.absent.pop() {
            None => Ok(ends),
            Some(failure) => {
                ends.close(session).await;
                Err(failure)
            }
        }
    }

    /// The same also when a host of XNAT's does not answer.
    pub async fn reach_what_answers(session: &Session, source: &'a Source, ground: Ground) -> Result<Self, Failure> {
        let mut ground = ground;
        match Self::of(session, source, &ground).await {
            Ok((foreign, leader, view, machine, (xnats, absent))) => {
                Ok(Self { ground, foreign, leader, view, machine, xnats, absent, placed: OnceCell::new() })
            }
            Err(failure) => {
                ground.fleet.close(&session.reporter).await;
                Err(failure)
            }
        }
    }

    async fn of(session: &Session, source: &'a Source, ground: &Ground) -> Result<Parts<'a>, Failure> {
        let view = ground.view(session).await;
        let not_fit = |reason: String| NotNow::NotFit { reason };
        let leader = view.leader().ok_or_else(|| not_fit("nobody leads".to_owned()))?;
        let host =
            session.inventory.host(&leader.host).filter(|host| ground.fleet.connections.contains_key(&host.name));
        let host = host.ok_or_else(|| not_fit(format!("the leader, {}, cannot be reached", leader.host)))?.clone();
        // a run that comes to nothing because the leader is lost has to reach it all the same
        let others = session.inventory.with(Component::Postgres).filter(|other| other.name != host.name);
        let from = std::iter::once(&host).chain(others).filter_map(|host| ground.fleet.connections.get(&host.name));
        let (foreign, machine) = foreign(session, source, from.cloned().collect()).await?;
        let (mut xnats, mut absent) = (BTreeMap::new(), Vec::new());
        for host in &session.inventory.xnat.hosts {
            match dialled(session, host).await {
                Ok(transport) => drop(xnats.insert(host.name.clone(), transport)),
                Err(failure) => absent.push(failure),
            }
        }
        Ok((foreign, host, view, machine, (xnats, absent)))
    }

    pub fn application<'s>(&'s self, session: &'s Session) -> Application<'s> {
        Application { xnat: &session.inventory.xnat, machines: &self.xnats }
    }

    /// As XNAT's settings begin when they lead to the cluster.
    pub fn address(&self, session: &Session) -> String {
        reached(session).0.jdbc.split('?').next().unwrap_or_default().to_owned()
    }

    /// A cluster that is not well has to become well first.
    pub fn fit(&self, session: &Session) -> Result<(), NotNow> {
        let health = cluster::assess(&self.view, &session.inventory);
        let reason = match health.healthy {
            _ if self.view.paused.known() == Some(&true) => "it is in maintenance mode".to_owned(),
            true => return Ok(()),
            false => health.verdict,
        };
        Err(NotNow::NotFit { reason })
    }

    /// That it takes its place is written down before it does. Whether it came to that shows in the database, which has its
    /// mark from that moment on, also after an upgrade; a cluster that was made since has none.
    pub async fn is_done(&self, state: Option<&State>, session: &Session) -> Result<bool, Failure> {
        let Some(state) = state.filter(|state| state.has_switched()) else { return Ok(false) };
        let mark = &self.placed(session).await?.mark;
        Ok(mark.as_ref().is_some_and(|mark| state.is_marked_by(mark)))
    }

    async fn placed(&self, session: &Session) -> Result<&Placed, Failure> {
        let asked = async {
            let gather = self.ground.gather(session);
            let mark = migrate::moved_in(&gather, &self.leader).await?;
            Ok::<_, Failure>(Placed { mark, system: migrate::cluster_system(&gather, &self.leader).await? })
        };
        self.placed.get_or_try_init(|| asked).await
    }

    /// Which cluster this is.
    pub async fn system(&self, session: &Session) -> Result<i64, Failure> {
        Ok(self.placed(session).await?.system)
    }

    /// Moved in from another machine, or by a run that this one knows nothing of.
    pub async fn mark_of_others(&self, state: Option<&State>, session: &Session) -> Result<Option<String>, Failure> {
        let mark = self.placed(session).await?.mark.clone();
        Ok(mark.filter(|mark| state.is_none_or(|state| !state.is_marked_by(mark))))
    }

    /// The same, also where somebody has taken the mark off, or made the database anew: that the run ended well was written
    /// down.
    pub async fn is_in_place(&self, state: Option<&State>, session: &Session) -> Result<bool, Failure> {
        let Some(ended) = state.filter(|state| state.has_switched() && state.is_ended()) else {
            return self.is_done(state, session).await;
        };
        Ok(self.is_cluster_of(ended, session).await? || self.is_done(state, session).await?)
    }

    async fn is_cluster_of(&self, state: &State, session: &Session) -> Result<bool, Failure> {
        Ok(self.system(session).await? == state.system)
    }

    /// A run did not come to that in this cluster, and what there is to undo is of another source than this.
    pub async fn of_another(&self, state: Option<&State>, session: &Session) -> Result<(), Failure> {
        let source = name(self.foreign.source());
        let Some(state) = state.filter(|state| state.has_switched() && state.source != source) else { return Ok(()) };
        if self.is_cluster_of(state, session).await? && !self.is_in_place(Some(state), session).await? {
            return Err(NotNow::Another { former: state.source.clone(), source_name: source }.into());
        }
        Ok(())
    }

    /// Members that cannot be reached now may have had a part in it: each by stream, otherwise the one that led.
    pub fn may_be_left_elsewhere(&self, state: &State, session: &Session) -> bool {
        match (state.method, &state.leader) {
            // it may have left the cluster long ago
            (Method::Dump | Method::Logical, Some(leader)) => {
                session.inventory.host(leader).is_some() && !self.ground.fleet.connections.contains_key(leader)
            }
            _ => self.ground.is_away(Component::Postgres, session),
        }
    }

    pub async fn close(mut self, session: &Session) {
        self.foreign.close().await;
        for machine in self.machine.iter().chain(self.xnats.values()) {
            machine.close().await;
        }
        self.ground.fleet.close(&session.reporter).await;
    }
}

type Machines = BTreeMap<HostName, Arc<dyn Transport>>;
type Parts<'a> = (Foreign<'a>, Host, ClusterView, Option<Arc<dyn Transport>>, (Machines, Vec<Failure>));

/// The source, as it is seen from members, with the connection to its machine if there is one.
pub(super) async fn foreign<'a>(
    session: &Session,
    source: &'a Source,
    from: Vec<Arc<dyn Transport>>,
) -> Result<(Foreign<'a>, Option<Arc<dyn Transport>>), Failure> {
    match source.reach {
        Reach::Tcp => {
            let reference = source.password.as_ref().ok_or(NotNow::NoSource)?;
            let password = session.vault.elsewhere("of the source", reference)?;
            Ok((Foreign::over_network(source, from, password), None))
        }
        Reach::Ssh => {
            let transport = dialled(session, &source.machine).await?;
            Ok((Foreign::over_ssh(source, transport.clone()), Some(transport)))
        }
    }
}

/// A connection to a machine that is none of the cluster's.
async fn dialled(session: &Session, host: &Host) -> Result<Arc<dyn Transport>, Failure> {
    let begun = Instant::now();
    let Connection { transport, endpoint } = session.connector.connect(host).await?;
    let (address, user) = (endpoint.address, endpoint.user);
    let event = Kind::Connected { address, user, millis: millis_since(begun) };
    session.reporter.for_host(&host.name).emit(event).await;
    Ok(transport)
}

/// An error that comes after another one, and must not take its place.
pub(super) async fn also(session: &Session, what: &str, failure: &Failure) {
    let message = format!("{what}: {}", one_line(failure.diagnostic.as_ref()));
    let help = failure.diagnostic.help().map(|help| help.to_string());
    session.reporter.emit(Kind::Warned { message, help }).await;
}
