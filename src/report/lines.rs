//! One event as one sentence, the same words for the terminal and for logs. No widths, no host column: renderers add them.

use super::event::{Kind, Outcome};
use super::state::RunState;
use super::text::{count, duration};
use crate::names::HostName;

/// How a line is marked, besides its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    None,
    Ok,
    Changed,
    Warned,
    Failed,
}

/// What an event says; `more` are lines that belong to it. Nothing for what is not said in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    pub mark: Mark,
    pub text: String,
    pub more: Vec<String>,
}

impl Sentence {
    fn new(mark: Mark, text: String) -> Option<Self> {
        Some(Self { mark, text, more: Vec::new() })
    }
}

/// The sentence for an event; `state` already holds it.
pub fn sentence(kind: &Kind, stage: Option<&str>, state: &RunState) -> Option<Sentence> {
    match kind {
        Kind::StageStarted { hosts } if hosts.is_empty() => Sentence::new(Mark::None, titled(stage, state)),
        Kind::StageStarted { hosts } => {
            Sentence::new(Mark::None, format!("{}: {}", titled(stage, state), names(hosts)))
        }
        Kind::StageFinished { outcome, changed, millis } => {
            Sentence::new(mark(*outcome), format!("{}: {}", titled(stage, state), ended(*outcome, *changed, *millis)))
        }
        Kind::HostFinished { outcome, changed, millis } => {
            Sentence::new(mark(*outcome), ended(*outcome, *changed, *millis))
        }
        Kind::Warned { message, help } => {
            let more = help.iter().map(|help| format!("try: {help}")).collect();
            Some(Sentence { mark: Mark::Warned, text: format!("warning: {message}"), more })
        }
        Kind::ChangeApplied { resource, summary, .. } => {
            Sentence::new(Mark::Changed, format!("changed {resource}: {summary}"))
        }
        Kind::Observed { text, millis } => {
            Sentence::new(Mark::None, format!("{:>6.1} s  {text}", *millis as f64 / 1000.0))
        }
        // What ends the whole run is told by the summary, which comes next.
        Kind::Failed { .. } if state.failures.last().is_some_and(|failure| failure.host.is_none()) => None,
        Kind::Failed { message, .. } => Sentence::new(Mark::Failed, format!("failed: {message}")),
        Kind::Interrupted => {
            let text = "interrupted: what is under way is finished, nothing more is begun";
            Sentence::new(Mark::Warned, text.to_owned())
        }
        _ => Sentence::new(Mark::None, news(kind)?),
    }
}

/// What is only worth telling in a log: it needs no mark.
fn news(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::RunStarted { command, cluster, hosts, version, .. } => {
            format!("{command} of cluster {cluster}: {} (xnat-provision {version})", names(hosts))
        }
        Kind::Connected { address, user, millis } => format!("connected to {user}@{address} in {}", duration(*millis)),
        Kind::FactsGathered { os, release, arch, cpus, memory_kib } => {
            let mib = memory_kib / 1024;
            format!("{os} {release}, {arch}, {}, {mib} MiB of memory", count(*cpus as usize, "processor"))
        }
        Kind::PlanMade { changes: 0, .. } => "plan: no changes".to_owned(),
        // of the cluster only: its shared configuration, its database
        Kind::PlanMade { changes, hosts: 0, .. } => format!("plan: {} to the cluster", count(*changes, "change")),
        Kind::PlanMade { changes, hosts, .. } => {
            format!("plan: {} on {}", count(*changes, "change"), count(*hosts, "host"))
        }
        Kind::StagesPlanned { titles } => format!("{}: {}", count(titles.len(), "stage"), titles.join(", ")),
        Kind::StepStarted { title } => title.clone(),
        Kind::StepFinished { title, millis } => format!("{title}: done in {}", duration(*millis)),
        Kind::StepSkipped { title, why } => format!("{title}: skipped, {why}"),
        Kind::Waiting { what, reason, seconds } => format!("waiting for {what}: {reason} ({seconds} s)"),
        _ => return None,
    })
}

/// "[3/7] Start etcd".
pub fn titled(stage: Option<&str>, state: &RunState) -> String {
    let title = stage.unwrap_or("stage");
    match state.numbered(title) {
        Some((place, total)) => format!("[{place}/{total}] {title}"),
        None => title.to_owned(),
    }
}

fn ended(outcome: Outcome, changed: usize, millis: u64) -> String {
    format!("{}, {} in {}", word(outcome), count(changed, "change"), duration(millis))
}

pub fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Failed => "failed",
        Outcome::Interrupted => "interrupted",
    }
}

fn mark(outcome: Outcome) -> Mark {
    match outcome {
        Outcome::Ok => Mark::Ok,
        Outcome::Failed => Mark::Failed,
        Outcome::Interrupted => Mark::Warned,
    }
}

fn names(hosts: &[HostName]) -> String {
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}
