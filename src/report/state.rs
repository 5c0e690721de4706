//! Folds events into what is known about a run. Renderers read it; replaying a journal gives the same state again.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::event::{Event, Kind, Outcome};
use crate::names::HostName;

/// How many lines of output are kept per host, for the summary of a failure.
pub const TAIL: usize = 20;

/// A run, as far as its events tell.
#[derive(Clone, Debug, Default)]
pub struct RunState {
    pub run: String,
    pub command: String,
    pub cluster: String,
    pub started: Option<Timestamp>,
    /// When the last event happened.
    pub last: Option<Timestamp>,
    /// In the order of the inventory.
    pub hosts: Vec<HostState>,
    pub stages: Vec<StageState>,
    /// Whether `stages` is all of them: then they have numbers.
    pub all_stages: bool,
    /// A step of the whole cluster rather than of one host.
    pub doing: Option<Doing>,
    pub planned: Option<Planned>,
    pub failures: Vec<Failure>,
    pub warnings: usize,
    pub changed: usize,
    pub interrupted: bool,
    pub finished: Option<Finish>,
}

/// The plan, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    pub changes: usize,
    pub hosts: usize,
}

/// How the run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    pub outcome: Outcome,
    pub changed: usize,
    pub millis: u64,
}

#[derive(Clone, Debug)]
pub struct HostState {
    pub name: HostName,
    pub status: Status,
    pub doing: Option<Doing>,
    pub changed: usize,
    tail: VecDeque<String>,
}

/// Where a host is in the current stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not part of it.
    Idle,
    Working,
    Ok,
    Failed,
}

/// What a host is doing now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doing {
    pub title: String,
    /// The last thing it said about it: why it waits, or a line of output.
    pub detail: Option<String>,
    pub since: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageState {
    pub title: String,
    pub hosts: Vec<HostName>,
    pub started: Option<Timestamp>,
    pub outcome: Option<Outcome>,
}

/// Something that failed: a host, or the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub host: Option<HostName>,
    pub stage: Option<String>,
    pub code: String,
    pub message: String,
    pub causes: Vec<String>,
    pub help: Option<String>,
    pub output: Vec<String>,
}

impl RunState {
    /// The state after these events.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut state = Self::default();
        events.into_iter().for_each(|event| state.apply(event));
        state
    }

    /// Take one event in.
    pub fn apply(&mut self, event: &Event) {
        self.run.clone_from(&event.run);
        self.started.get_or_insert(event.at);
        self.last = Some(event.at);
        match &event.kind {
            Kind::RunStarted { command, cluster, hosts, .. } => {
                self.command.clone_from(command);
                self.cluster.clone_from(cluster);
                self.hosts = hosts.iter().map(HostState::new).collect();
            }
            Kind::PlanMade { changes, hosts, .. } => {
                self.planned = Some(Planned { changes: *changes, hosts: *hosts });
            }
            Kind::StagesPlanned { titles } => {
                self.stages = titles.iter().map(|title| StageState::new(title)).collect();
                self.all_stages = true;
            }
            Kind::StageStarted { hosts } => self.stage_started(event, hosts),
            Kind::StageFinished { outcome, .. } => self.stage_finished(event, *outcome),
            Kind::Warned { .. } => self.warnings += 1,
            Kind::Failed { .. } => self.failed(event),
            Kind::Interrupted => self.interrupted = true,
            Kind::RunFinished { outcome, changed, millis } => {
                self.finished = Some(Finish { outcome: *outcome, changed: *changed, millis: *millis });
            }
            _ => self.host_event(event),
        }
    }

    /// The stage that runs now.
    pub fn current_stage(&self) -> Option<&StageState> {
        self.stages.iter().find(|stage| stage.started.is_some() && stage.outcome.is_none())
    }

    /// "3/7" of the stage with this title, once it is known how many there are.
    pub fn numbered(&self, title: &str) -> Option<(usize, usize)> {
        let place = self.stages.iter().rposition(|stage| stage.title == title).filter(|_| self.all_stages)?;
        Some((place + 1, self.stages.len()))
    }

    /// How long the run has taken by `now`.
    pub fn elapsed(&self, now: Timestamp) -> u64 {
        self.started.map_or(0, |started| millis_between(started, now))
    }

    pub fn host(&self, name: &HostName) -> Option<&HostState> {
        self.hosts.iter().find(|host| &host.name == name)
    }

    fn stage_started(&mut self, event: &Event, hosts: &[HostName]) {
        let title = event.stage.clone().unwrap_or_default();
        let planned = self.stages.iter_mut().find(|stage| stage.title == title && stage.started.is_none());
        let stage = match planned {
            Some(stage) => stage,
            None => self.stages.push_mut(StageState::new(&title)),
        };
        stage.started = Some(event.at);
        stage.hosts = hosts.to_vec();
        hosts.iter().for_each(|name| self.host_mut(name).status = Status::Working);
        self.doing = None;
        for host in &mut self.hosts {
            host.doing = None;
            if !hosts.contains(&host.name) {
                host.status = Status::Idle;
            }
        }
    }

    fn stage_finished(&mut self, event: &Event, outcome: Outcome) {
        let title = event.stage.as_deref().unwrap_or_default();
        self.doing = None;
        if let Some(stage) = self.stages.iter_mut().rfind(|stage| stage.title == title && stage.started.is_some()) {
            stage.outcome = Some(outcome);
        }
        for host in &mut self.hosts {
            host.doing = None;
            if host.status == Status::Working && outcome == Outcome::Ok {
                host.status = Status::Ok;
            }
        }
    }

    fn failed(&mut self, event: &Event) {
        let Kind::Failed { code, message, causes, help, output_tail } = &event.kind else { return };
        let mut output = output_tail.clone();
        if let Some(name) = &event.host {
            let host = self.host_mut(name);
            host.status = Status::Failed;
            host.doing = None;
            if output.is_empty() {
                output = host.tail.iter().cloned().collect();
            }
        }
        output.drain(..output.len().saturating_sub(TAIL));
        self.failures.push(Failure {
            host: event.host.clone(),
            stage: event.stage.clone(),
            code: code.clone(),
            message: message.clone(),
            causes: causes.clone(),
            help: help.clone(),
            output,
        });
    }

    fn host_event(&mut self, event: &Event) {
        if let Kind::ChangeApplied { .. } = event.kind {
            self.changed += 1;
        }
        match &event.host {
            Some(name) => self.host_mut(name).apply(event),
            None => follow(&mut self.doing, event),
        }
    }

    /// A host nobody announced is taken in all the same: a journal may have lost its beginning.
    fn host_mut(&mut self, name: &HostName) -> &mut HostState {
        match self.hosts.iter().position(|host| &host.name == name) {
            Some(at) => &mut self.hosts[at],
            None => self.hosts.push_mut(HostState::new(name)),
        }
    }
}

impl HostState {
    fn new(name: &HostName) -> Self {
        Self { name: name.clone(), status: Status::Idle, doing: None, changed: 0, tail: VecDeque::new() }
    }

    fn apply(&mut self, event: &Event) {
        follow(&mut self.doing, event);
        match &event.kind {
            Kind::StepStarted { .. } => self.tail.clear(),
            Kind::OutputLine { line } => {
                if self.tail.len() == TAIL {
                    self.tail.pop_front();
                }
                self.tail.push_back(line.clone());
            }
            Kind::ChangeApplied { .. } => self.changed += 1,
            Kind::HostFinished { outcome, .. } => {
                self.doing = None;
                self.status = match outcome {
                    Outcome::Ok => Status::Ok,
                    Outcome::Failed => Status::Failed,
                    Outcome::Interrupted => Status::Idle,
                };
            }
            _ => {}
        }
    }
}

/// What is being done, after one more event about it.
fn follow(doing: &mut Option<Doing>, event: &Event) {
    match &event.kind {
        Kind::StepStarted { title } => {
            *doing = Some(Doing { title: title.clone(), detail: None, since: event.at });
        }
        Kind::StepFinished { .. } | Kind::StepSkipped { .. } => *doing = None,
        Kind::Waiting { what, reason, .. } => {
            let start = || Doing { title: format!("wait for {what}"), detail: None, since: event.at };
            doing.get_or_insert_with(start).detail = Some(reason.clone());
        }
        Kind::OutputLine { line } => {
            if let Some(doing) = doing {
                doing.detail = Some(line.clone());
            }
        }
        _ => {}
    }
}

impl StageState {
    fn new(title: &str) -> Self {
        Self { title: title.to_owned(), hosts: Vec::new(), started: None, outcome: None }
    }
}

/// Zero when the clock was set back.
pub fn millis_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0)
}
