//! One drill after the other: each with its runs, its judgement and its report.

use jiff::Timestamp;

use super::super::confirm::{self, Ask, Naming};
use super::super::ground::Ground;
use super::super::session::{Ending, Session};
use super::super::{Failure, Globals};
use super::switch::Switch;
use super::{Args, DrillError, What, kept};
use crate::approval::Approved;
use crate::cluster::{self, ClusterView};
use crate::drill::{self, Budget, Drill, Fault, Run, Setting, bound, figures, judge};
use crate::engine::wait::Wait;
use crate::inventory::{Inventory, Synchronous};
use crate::names::HostName;
use crate::report::Kind;
use crate::version;
use crate::workflow::drill::{Exercise, Route, Targets};
use crate::workflow::{self, Operation};
use std::time::Duration;

/// Drills in a row, confirmed once.
pub(super) struct Series<'a> {
    args: &'a Args,
    switch: Switch,
    naming: Naming,
    approved_once: bool,
    pub drills: Vec<Drill>,
}

/// What became of one run.
enum Outcome {
    Ran(Box<(Run, Setting)>),
    /// Somebody said no.
    Declined,
    /// Not on these machines.
    Impossible(String),
}

impl<'a> Series<'a> {
    pub fn new(args: &'a Args, session: &Session) -> Result<Self, Failure> {
        let naming = Naming { cluster: session.inventory.cluster.clone(), given: args.confirm.clone() };
        naming.check()?;
        let switch = Switch::of(&session.inventory);
        Ok(Self { args, switch, naming, approved_once: false, drills: Vec::new() })
    }

    /// False when somebody said no.
    pub async fn drill(&mut self, fault: Fault, globals: &Globals, session: &mut Session) -> Result<bool, Failure> {
        let started = Timestamp::now();
        let bound = bound(fault, &session.inventory);
        let mut runs = Vec::new();
        let mut setting = None;
        for _ in 0..self.args.runs {
            let mut ground = Ground::of(session).await?;
            let done = self.one(fault, &mut ground, session).await;
            ground.fleet.close(&session.reporter).await;
            match done? {
                Outcome::Ran(done) => {
                    let (run, told) = *done;
                    runs.push(run);
                    setting = Some(told);
                }
                Outcome::Declined => return Ok(false),
                Outcome::Impossible(why) => {
                    session.reporter.emit(Kind::StepSkipped { title: fault.to_string(), why }).await;
                    return Ok(true);
                }
            }
        }
        let Some(setting) = setting else { return Ok(true) };
        let budget = Budget {
            write_gap_millis: self.args.budget_write_gap.map(|gap| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX)),
            lost: self.args.budget_lost,
        };
        let findings = judge(fault, (&setting, bound.as_ref(), budget), &runs);
        let passed = findings.iter().all(|finding| finding.held);
        let finished = Timestamp::now();
        let drill = Drill { drill: fault, passed, started, finished, setting, bound, budget, findings, runs };
        let path = kept::keep(&session.inventory.cluster, &drill)?;
        session.settle().await;
        if !globals.json {
            session.print(&format!("{}  Report:  {}\n\n", drill::table(&drill), path.display()))?;
        }
        self.drills.push(drill);
        Ok(true)
    }

    /// Whoever has typed the cluster's name has said yes as well.
    fn ask(&self) -> Ask {
        if self.args.yes || self.args.confirm.is_some() { Ask::SaidYes } else { Ask::Terminal }
    }

    /// One run, on ground of its own: connections and locks may not outlive it.
    async fn one(&mut self, fault: Fault, ground: &mut Ground, session: &mut Session) -> Result<Outcome, Failure> {
        let hosts: Vec<String> =
            ground.fleet.reasons().iter().map(|(host, reason)| format!("{host} ({reason})")).collect();
        if !hosts.is_empty() {
            return Err(DrillError::Unreachable { hosts }.into());
        }
        if !self.end_what_is_left(ground, session).await? {
            return Ok(Outcome::Declined);
        }
        let view = ground.view(session).await;
        let targets = Targets::of(fault, &view, &ground.gather(session))?;
        let struck = (&targets, &session.inventory);
        if let Some(why) =
            workflow::drill::obstacle(fault, struck, (&ground.fleet, &self.switch, self.args.by_hand)).await?
        {
            return match self.args.what {
                Some(What::One(_)) => Err(DrillError::Impossible { fault, why }.into()),
                _ => Ok(Outcome::Impossible(why)),
            };
        }
        let Some(approved) = self.approve(fault, &targets, ground, session).await? else {
            return Ok(Outcome::Declined);
        };
        session.remember((&ground.fleet, &approved), 1, None).await;
        let gather = ground.gather(session);
        let route = Route::of(&gather).await;
        let setting = self.setting(&view, (session, route.told(&gather)));
        let (reporter, cancel, fleet) = (&session.reporter, &session.cancel, &ground.fleet);
        let operation = Operation { gather, fleet, approved: &approved, reporter, cancel };
        let bound = bound(fault, &session.inventory);
        let exercise = Exercise {
            operation,
            connector: session.connector.as_ref(),
            power: &self.switch,
            fault,
            bound: bound.as_ref(),
            route,
            targets: &targets,
        };
        let recording = exercise.run().await.map_err(Failure::from);
        if fault == Fault::PowerOff {
            ground.fleet.holds.retain(|host, _| !targets.struck.contains(host));
        }
        let end = Ending::of(recording.as_ref().map(|_| 1));
        session.remember((&ground.fleet, &approved), 1, Some(end)).await;
        let recording = recording?;
        Ok(Outcome::Ran(Box::new((Run { figures: figures(&recording), recording }, setting))))
    }

    /// A drill that was killed left its fault to the timers of its hosts, which take their time. False when somebody said no.
    async fn end_what_is_left(&self, ground: &Ground, session: &mut Session) -> Result<bool, Failure> {
        let left = workflow::drill::left(&ground.fleet).await;
        if left.is_empty() {
            return Ok(true);
        }
        session.settle().await;
        let names: Vec<&str> = left.iter().map(HostName::as_str).collect();
        let question = format!("A drill was cut off, and its fault goes on: on {}. End it now?", names.join(", "));
        let standing = (&session.cancel, &ground.fleet.standing);
        let Some(approved) = confirm::approve(self.ask(), &question, standing).await? else { return Ok(false) };
        for host in &left {
            workflow::drill::end(&ground.fleet, &approved, host).await?;
            let (title, why) = ("fault".to_owned(), "ended, which a drill that was cut off had left".to_owned());
            session
                .reporter
                .for_host(host)
                .emit(Kind::ChangeApplied { resource: title, summary: why, millis: 0 })
                .await;
        }
        let wait = Wait {
            what: "the cluster to be well".to_owned(),
            deadline: Duration::from_secs(120),
            interval: Duration::from_secs(1),
            help: "see `xnat-provision doctor`".to_owned(),
        };
        let well = || async {
            let health = cluster::assess(&ground.view(session).await, &session.inventory);
            if health.healthy { Ok(()) } else { Err(health.verdict) }
        };
        wait.until(&session.reporter, &session.cancel, well).await?;
        Ok(true)
    }

    /// Asked before the first run, for all of them.
    async fn approve(
        &mut self,
        fault: Fault,
        targets: &Targets,
        ground: &Ground,
        session: &mut Session,
    ) -> Result<Option<Approved>, Failure> {
        let standing = (&session.cancel, &ground.fleet.standing);
        if self.approved_once {
            return Ok(confirm::approve(Ask::SaidYes, "", standing).await?);
        }
        session.settle().await;
        let struck: Vec<&str> = targets.struck.iter().map(HostName::as_str).collect();
        let what = format!("{} ({}): {}.", fault.name(), struck.join(", "), fault.injection());
        let every = match self.args.what {
            Some(What::All) if self.args.safe => "All safe drills, one after the other, beginning with ",
            Some(What::All) => "ALL drills, one after the other, beginning with ",
            _ => "",
        };
        let safe = fault.is_safe() && (self.args.safe || matches!(self.args.what, Some(What::One(_))));
        let approved = if safe {
            let standing = (&session.cancel, &ground.fleet.standing);
            confirm::approve(self.ask(), &format!("{every}{what} Expected: {}. Do it?", fault.effect()), standing)
                .await?
        } else {
            let standing = (&session.cancel, &ground.fleet.standing);
            self.naming.approve(&format!("{every}{what}\nExpected: {}.", fault.effect()), standing).await?
        };
        self.approved_once = approved.is_some();
        Ok(approved)
    }

    fn setting(&self, view: &ClusterView, (session, way): (&Session, String)) -> Setting {
        let Inventory { cluster, patroni, haproxy, .. } = &session.inventory;
        let check = &haproxy.check;
        let seconds = |name: &str, value: u32| (name.to_owned(), format!("{value} s"));
        let millis = |name: &str, value: u32| (format!("HAProxy {name}"), format!("{value} ms"));
        Setting {
            cluster: cluster.clone(),
            program: version::PROGRAM.to_owned(),
            who: session.claim().who,
            reason: self.args.reason.clone(),
            way,
            versions: versions(view),
            timings: vec![
                seconds("ttl", patroni.ttl),
                seconds("loop_wait", patroni.loop_wait),
                seconds("retry_timeout", patroni.retry_timeout),
                seconds("primary_start_timeout", patroni.primary_start_timeout),
                ("failsafe_mode".to_owned(), patroni.failsafe_mode.to_string()),
                ("synchronous".to_owned(), format!("{:?}", patroni.synchronous).to_lowercase()),
                millis("inter", check.inter_ms),
                millis("fastinter", check.fastinter_ms),
                millis("downinter", check.downinter_ms),
                ("HAProxy rise, fall".to_owned(), format!("{}, {}", check.rise, check.fall)),
            ],
            synchronous: patroni.synchronous != Synchronous::Off,
        }
    }
}

fn versions(view: &ClusterView) -> Vec<String> {
    let etcd = view.etcd.iter().filter_map(|seen| Some(format!("etcd {}", seen.answer.known()?.version)));
    let patroni = view.members.iter().filter_map(|it| Some(format!("Patroni {}", it.patroni.known()?.patroni.version)));
    let postgres = view.members.iter().filter_map(|it| Some(format!("PostgreSQL {}", it.server.known()?.version)));
    let mut all: Vec<String> = postgres.chain(patroni).chain(etcd).collect();
    all.sort_unstable();
    all.dedup();
    all
}
