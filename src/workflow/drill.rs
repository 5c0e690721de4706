//! `drill`: something goes wrong on purpose while clients write and read, and what that costs is measured. A fault that
//! lasts is undone by a timer on its host too, which is set before, so that it ends whatever becomes of this program.

mod clients;
mod inflict;
mod ledger;
mod left;
mod log;
mod possible;
mod power;
mod watch;

use std::time::Duration;

use crate::cluster::safety::restart;
use crate::cluster::{self, ClusterView, Gather};
use crate::drill::{Bound, Fault, Moves, Recording, Role, longest_gap};
use crate::engine::wait::{Wait, WaitError};
use crate::engine::{Connector, Dialer, Fleet, HostError};
use crate::error::{Exit, Fails};
use crate::inventory::Component;
use crate::names::HostName;

use super::operation::{Operation, OperationError};
use clients::Clients;
use inflict::Infliction;
use ledger::Ledger;
use log::Log;
use watch::Watch;

pub use clients::Route;
pub use left::{end, left};
pub use possible::obstacle;
pub use power::{Power, PowerError};

/// How long clients go on before anything happens, and after all is well.
const CALM: Duration = Duration::from_secs(3);
/// How long the cluster may take to be well again.
const HEALING: Duration = Duration::from_secs(300);
/// How much longer than the bound a fault lasts that nobody mends.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long one lasts that nothing is to come of, at least.
const NOTHING: Duration = Duration::from_secs(20);

/// So many milliseconds without a write are no accident, and so many with writes no short relief.
const GAP: u64 = 2000;
const STEADY: u64 = 6000;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DrillError {
    #[error("this drill is not possible now: {reason}")]
    #[diagnostic(code(xnat::drill::not_now), help("{help}"))]
    NotNow { reason: String, help: &'static str },
    #[error("cannot {what} on {host}: {reason}")]
    #[diagnostic(code(xnat::drill::inflict), help("see `xnat-provision status`; what was begun is undone"))]
    Inflict { what: String, host: HostName, reason: String },
    #[error("the drill's own database cannot be {done}: {reason}")]
    #[diagnostic(code(xnat::drill::database), help("see `xnat-provision status`; the next drill removes what is left"))]
    Database { done: &'static str, reason: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Power(#[from] PowerError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Host(Box<HostError>),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Operation(#[from] OperationError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Wait(#[from] WaitError),
}

impl From<HostError> for DrillError {
    fn from(error: HostError) -> Self {
        Self::Host(Box::new(error))
    }
}

impl Fails for DrillError {
    fn exit(&self) -> Exit {
        match self {
            Self::NotNow { .. } => Exit::Unhealthy,
            Self::Inflict { .. } | Self::Database { .. } => Exit::Failed,
            Self::Power(error) => error.exit(),
            Self::Host(error) => error.exit(),
            Self::Operation(error) => error.exit(),
            Self::Wait(error) => error.exit(),
        }
    }
}

/// One run of one fault.
pub struct Exercise<'a> {
    pub operation: Operation<'a>,
    pub connector: &'a dyn Connector,
    pub power: &'a dyn Power,
    pub fault: Fault,
    pub bound: Option<&'a Bound>,
    pub route: Route,
    /// The hosts it is done to.
    pub targets: &'a Targets,
}

/// Whom a fault strikes.
#[derive(Clone, Debug)]
pub struct Targets {
    pub leader: HostName,
    pub struck: Vec<HostName>,
    /// Who takes over when asked to.
    pub successor: Option<HostName>,
}

impl Targets {
    /// Whom it would strike now, or why it cannot.
    pub fn of(fault: Fault, view: &ClusterView, operation: &Gather<'_>) -> Result<Self, DrillError> {
        let inventory = operation.inventory;
        let refused = |reason: String, help| DrillError::NotNow { reason, help };
        let health = cluster::assess(view, inventory);
        if !health.healthy {
            return Err(refused(
                format!("the cluster is not healthy: {}", health.verdict),
                "see `xnat-provision status`",
            ));
        }
        let well = "see `xnat-provision status`";
        let leader =
            view.leader().map(|leader| leader.host.clone()).ok_or_else(|| refused("nobody leads".to_owned(), well))?;
        if inventory.with(Component::Haproxy).next().is_none() {
            return Err(refused("there is no HAProxy for clients".to_owned(), "drills are about what clients notice"));
        }
        let replica = view.members.iter().find(|member| member.follows()).map(|member| member.host.clone());
        let alone =
            || refused("there is no replica".to_owned(), "nothing can take over: a drill would only be an outage");
        let replica = replica.ok_or_else(alone)?;
        let balancer = inventory.with(Component::Haproxy).map(|host| host.name.clone()).next();
        let etcd = || {
            let leads = view.etcd.iter().find(|seen| seen.answer.known().is_some_and(cluster::etcd::Member::is_leader));
            leads.map(|seen| seen.host.clone())
        };
        let struck = match fault {
            Fault::Replica => vec![replica],
            Fault::Haproxy => balancer.into_iter().collect(),
            Fault::EtcdLeader => etcd().into_iter().collect(),
            Fault::EtcdQuorum => {
                let members: Vec<HostName> = inventory.with(Component::Etcd).map(|host| host.name.clone()).collect();
                let majority = members.len() / 2 + 1;
                // the leader's own may stay
                let others = members
                    .iter()
                    .filter(|host| **host != leader)
                    .chain(members.iter().filter(|host| **host == leader));
                others.take(majority).cloned().collect()
            }
            _ => vec![leader.clone()],
        };
        let successor = match fault {
            Fault::Switchover => Some(restart::successor(view, inventory).map_err(|reason| refused(reason, well))?),
            _ => None,
        };
        Ok(Self { leader, struck, successor })
    }
}

impl Exercise<'_> {
    /// The stages of a drill.
    pub async fn run(&self) -> Result<Recording, DrillError> {
        let log = Log::begin(self.operation.reporter);
        let ledger = Ledger { operation: &self.operation };
        ledger.create(&self.targets.leader).await?;
        let recorded = self.under_clients(&log).await;
        let compared = self.close(&log, &ledger).await;
        recorded?;
        compared?;
        Ok(log.end())
    }

    /// Clients and watchers go on for as long as the drill does.
    async fn under_clients(&self, log: &Log<'_>) -> Result<(), DrillError> {
        let gather = &self.operation.gather;
        let clients = Clients { gather, route: self.route, log };
        let watch = Watch { gather, connector: self.connector, log };
        tokio::select! {
            biased;
            never = async { futures::join!(clients.go_on(), watch.go_on()) } => match never.0 {},
            done = self.course(log) => done,
        }
    }

    async fn course(&self, log: &Log<'_>) -> Result<(), DrillError> {
        log.first_writes(self.operation.cancel).await?;
        log.rest(CALM).await;
        let infliction = Infliction { exercise: self, log };
        let inflicted = async {
            infliction.begin().await?;
            if self.fault.lasts() { self.wait_for_its_effect(log).await } else { Ok(()) }
        };
        let inflicted = inflicted.await;
        // also when it was interrupted, or only half of it came about
        let undone = if self.fault.lasts() { infliction.undo().await } else { Ok(()) };
        inflicted?;
        undone?;
        if self.fault.lasts() {
            log.mark(|seen, now| seen.undone = Some(now));
        }
        self.wait_until_well(log).await?;
        log.rest(CALM).await;
        Ok(())
    }

    fn lasts_at_most(&self) -> Duration {
        if self.fault.moves() == Moves::MustNot {
            return NOTHING;
        }
        let patroni = &self.operation.gather.inventory.patroni;
        let lease = Duration::from_secs(u64::from(patroni.ttl + patroni.loop_wait));
        let bound = self.bound.map_or(lease, |bound| Duration::from_millis(bound.millis));
        bound.max(lease) + PATIENCE
    }

    /// Either what is to come of it has come, or the time is over in which it should have.
    async fn wait_for_its_effect(&self, log: &Log<'_>) -> Result<(), DrillError> {
        let nothing = self.fault.moves() == Moves::MustNot;
        let wait = Wait {
            what: format!("the effect of {}", self.fault),
            deadline: self.lasts_at_most(),
            interval: Duration::from_millis(500),
            help: String::new(),
        };
        let came = || async {
            let now = log.now();
            let came = log.with(|seen| another_leads(seen, &self.targets.leader) || mended(seen, now));
            if nothing || !came { Err("nothing has come of it yet".to_owned()) } else { Ok(()) }
        };
        if wait.while_patient(self.operation.reporter, self.operation.cancel, came).await?.is_some() {
            log.rest(CALM).await;
        }
        Ok(())
    }

    /// By connections of its own: those to a host that was switched off are gone.
    async fn wait_until_well(&self, log: &Log<'_>) -> Result<(), DrillError> {
        let inventory = self.operation.gather.inventory;
        let (reporter, cancel) = (self.operation.reporter, self.operation.cancel);
        let wait = Wait {
            what: "all to be well again".to_owned(),
            deadline: HEALING,
            interval: Duration::from_millis(500),
            help: "see `xnat-provision doctor`".to_owned(),
        };
        let fleet = tokio::sync::Mutex::new(Fleet::default());
        let well = || async {
            let mut fleet = fleet.lock().await;
            fleet.connect(inventory, self.dialer()).await;
            let unreachable = fleet.reasons();
            let gather = Gather { connections: &fleet.connections, unreachable: &unreachable, ..self.operation.gather };
            let view = cluster::gather(&gather).await;
            let health = cluster::assess(&view, inventory);
            // a machine that has begun anew since has ended its connection without a word
            fleet.connections.retain(|host, _| view.heard_from(host));
            let last = log.with(|seen| seen.writes.last().copied());
            let gap = last.map_or(0, |last| log.now() - last);
            let obstacle =
                restart::postgres_obstacles(&view, inventory).into_iter().next().map(|obstacle| obstacle.text);
            let problem = health.problems.into_iter().next().filter(|_| !health.healthy).map(|problem| problem.text);
            // well is who could stand the next fault
            match problem.or(obstacle) {
                Some(problem) => Err(problem),
                None if gap > 1000 => Err("clients cannot write".to_owned()),
                None => Ok(()),
            }
        };
        let healed = wait.until(reporter, cancel, well).await;
        fleet.lock().await.close(reporter).await;
        healed?;
        log.mark(|seen, now| seen.healed = Some(now));
        Ok(())
    }

    fn dialer(&self) -> Dialer<'_> {
        let parallel = self.operation.gather.inventory.hosts.len();
        Dialer { connector: self.connector, parallel, reporter: self.operation.reporter }
    }

    /// What was acknowledged is compared with what is there, and the database removed.
    async fn close(&self, log: &Log<'_>, ledger: &Ledger<'_>) -> Result<(), DrillError> {
        let mut fleet = Fleet::default();
        fleet.connect(self.operation.gather.inventory, self.dialer()).await;
        let unreachable = fleet.reasons();
        let gather = Gather { connections: &fleet.connections, unreachable: &unreachable, ..self.operation.gather };
        let closed = async {
            let leader = cluster::patroni::leader(&gather).await;
            let leader = leader.map_err(|reason| DrillError::Database { done: "read", reason })?;
            let compared = ledger.compare(&gather, &leader, log).await;
            ledger.remove(&gather, &leader).await?;
            compared
        };
        let closed = closed.await;
        fleet.close(self.operation.reporter).await;
        closed
    }
}

/// Clients could not write or connect for a while, and have been able to again for another while.
fn mended(seen: &Recording, now: u64) -> bool {
    let since = |times: &[u64]| {
        let gap = longest_gap(times, seen.injected).filter(|(_, length)| *length > GAP);
        gap.is_some_and(|(from, length)| now > from + length + STEADY)
            && times.last().is_some_and(|last| now < last + GAP)
    };
    since(&seen.writes) || since(&seen.connects)
}

/// Somebody else takes writes, and clients can write there.
fn another_leads(seen: &Recording, leader: &HostName) -> bool {
    let others = seen.servers.iter().filter(|(host, _)| *host != leader).flat_map(|(_, spans)| spans.last());
    let promoted = others.filter(|span| span.seen.role == Role::Writable).map(|span| span.from).min();
    promoted.is_some_and(|promoted| seen.writes.last().is_some_and(|last| *last > promoted))
        && longest_gap(&seen.writes, seen.injected).is_some()
}
