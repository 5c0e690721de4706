//! What the world sees: one enum, past tense, flat fields, no formatted text except what a command printed.
//! A leaf: anyone may use it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use super::origin::Origin;
use super::redact::Redactor;
use super::text;
use crate::names::HostName;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The run it belongs to; also the name of its journal.
    pub run: String,
    /// Given by the receiving side, in the order of arrival; what a journal is sorted by.
    pub seq: u64,
    pub at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<HostName>,
    /// The title of the stage, as in the plan.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stage: Option<String>,
    #[serde(flatten)]
    pub kind: Kind,
}

/// What happened. `snake_case` tag in `kind`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    RunStarted {
        command: String,
        cluster: String,
        hosts: Vec<HostName>,
        version: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        origin: Option<Origin>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        inventory: Option<InventoryFile>,
    },
    /// Per host: the SSH connection stands.
    Connected {
        address: String,
        user: String,
        millis: u64,
    },
    /// Per host: the SSH connection is closed; how often it had to wait for an answer.
    Disconnected {
        round_trips: u64,
    },
    /// Per host: facts are in.
    FactsGathered {
        os: String,
        release: String,
        arch: String,
        cpus: u32,
        memory_kib: u64,
    },
    PlanMade {
        changes: usize,
        hosts: usize,
        /// All of it, as a saved plan has it; what a plan is, is not known here.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        plan: Option<Value>,
    },
    /// Before the first stage: the titles of all of them, so that progress can be "3 of 7".
    StagesPlanned {
        titles: Vec<String>,
    },
    StageStarted {
        hosts: Vec<HostName>,
    },
    StageFinished {
        outcome: Outcome,
        changed: usize,
        millis: u64,
    },
    /// Per host: its part of the stage is over, while others may still be at it.
    HostFinished {
        outcome: Outcome,
        changed: usize,
        millis: u64,
    },
    /// Per host or for the cluster: a step began. Titles are imperative: "Wait for the etcd quorum".
    StepStarted {
        title: String,
    },
    StepFinished {
        title: String,
        millis: u64,
    },
    StepSkipped {
        title: String,
        why: String,
    },
    /// Done, but somebody should look at it.
    Warned {
        message: String,
        help: Option<String>,
    },
    /// Per host: a resource was brought to its wanted state.
    ChangeApplied {
        resource: String,
        summary: String,
        millis: u64,
    },
    /// Still waiting; `reason` is the last thing seen.
    Waiting {
        what: String,
        reason: String,
        seconds: u64,
    },
    /// Something was seen, so long after the beginning of what is measured.
    Observed {
        text: String,
        millis: u64,
    },
    /// A line a command printed (already redacted when it gets here).
    OutputLine {
        line: String,
    },
    /// Per host, or for the run when `host` is none: something failed.
    Failed {
        code: String,
        message: String,
        causes: Vec<String>,
        help: Option<String>,
        output_tail: Vec<String>,
    },
    /// First Ctrl-C: the current action is finished, nothing more is begun.
    Interrupted,
    RunFinished {
        outcome: Outcome,
        changed: usize,
        millis: u64,
    },
    /// Read from the journal of a newer version that knows more kinds. Never emitted.
    #[serde(other)]
    Unknown,
}

impl Event {
    /// Takes out what must not be shown: secrets, and what would steer a terminal. Host names stay as they are.
    fn scrub(&mut self, redactor: &Redactor) {
        for text in self.stage.iter_mut().chain(self.kind.texts_mut()) {
            let shown = text::printable(text);
            *text = redactor.clean(&shown).into_owned();
        }
    }
}

impl Kind {
    /// Every free text in it. No `..` in the patterns: a new field must be thought about here.
    fn texts_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::RunStarted { command, cluster, hosts: _, version, origin, inventory } => {
                let texts = [command, cluster, version].into_iter();
                let texts = texts.chain(origin.iter_mut().flat_map(Origin::texts_mut));
                texts.chain(inventory.iter_mut().flat_map(|file| [&mut file.path, &mut file.sha256])).collect()
            }
            Self::Connected { address, user, millis: _ } => vec![address, user],
            Self::FactsGathered { os, release, arch, cpus: _, memory_kib: _ } => vec![os, release, arch],
            Self::StagesPlanned { titles } => titles.iter_mut().collect(),
            Self::StepStarted { title } | Self::StepFinished { title, millis: _ } => vec![title],
            Self::StepSkipped { title, why } => vec![title, why],
            Self::Warned { message, help } => std::iter::once(message).chain(help).collect(),
            Self::ChangeApplied { resource, summary, millis: _ } => vec![resource, summary],
            Self::Waiting { what, reason, seconds: _ } => vec![what, reason],
            Self::Observed { text, millis: _ } => vec![text],
            Self::OutputLine { line } => vec![line],
            Self::Failed { code, message, causes, help, output_tail } => {
                [code, message].into_iter().chain(causes).chain(help).chain(output_tail).collect()
            }
            Self::PlanMade { changes: _, hosts: _, plan } => plan.iter_mut().flat_map(texts_in).collect(),
            Self::Disconnected { round_trips: _ }
            | Self::StageStarted { hosts: _ }
            | Self::StageFinished { outcome: _, changed: _, millis: _ }
            | Self::HostFinished { outcome: _, changed: _, millis: _ }
            | Self::RunFinished { outcome: _, changed: _, millis: _ }
            | Self::Interrupted
            | Self::Unknown => Vec::new(),
        }
    }
}

/// Every text in a document, but for the names of its fields.
fn texts_in(value: &mut Value) -> Vec<&mut String> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter_mut().flat_map(texts_in).collect(),
        Value::Object(fields) => fields.values_mut().flat_map(texts_in).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// What a run was made from: which file, and how it was at that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryFile {
    pub path: String,
    pub sha256: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    Failed,
    Interrupted,
}

/// The time, as exact as anybody reads it.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now)
}

/// As long as events tell.
pub fn millis_since(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The sending end: cheap to clone, carries the host and stage it speaks for.
#[derive(Clone)]
pub struct Reporter {
    shared: Arc<Shared>,
    host: Option<HostName>,
    stage: Option<String>,
}

struct Shared {
    run: String,
    sender: mpsc::Sender<Event>,
    redactor: Redactor,
    /// How many events went into the channel; [`super::Running::settle`] waits until as many came out.
    sent: Arc<AtomicU64>,
    /// How many changes were told, for a run that does not come to count them itself.
    applied: AtomicUsize,
}

impl Reporter {
    /// A reporter into any channel. Programs get theirs from [`super::start`].
    pub fn new(run: String, sender: mpsc::Sender<Event>) -> Self {
        Self::counted(run, sender, Redactor::default(), Arc::default())
    }
    /// A reporter nobody listens to, for commands that are not runs.
    pub fn muted() -> Self {
        let (sender, _) = mpsc::channel(1);
        Self::new(String::new(), sender)
    }
    pub(super) fn counted(run: String, sender: mpsc::Sender<Event>, redactor: Redactor, sent: Arc<AtomicU64>) -> Self {
        Self {
            shared: Arc::new(Shared { run, sender, redactor, sent, applied: AtomicUsize::new(0) }),
            host: None,
            stage: None,
        }
    }
    #[must_use]
    pub fn for_host(&self, host: &HostName) -> Self {
        Self { host: Some(host.clone()), ..self.clone() }
    }
    #[must_use]
    pub fn for_stage(&self, stage: &str) -> Self {
        Self { stage: Some(stage.to_owned()), ..self.clone() }
    }
    pub fn run_id(&self) -> &str {
        &self.shared.run
    }
    /// Where to register secrets, and what cleans texts that go out by another way.
    pub fn redactor(&self) -> &Redactor {
        &self.shared.redactor
    }
    /// How many changes were made so far.
    pub fn applied(&self) -> usize {
        self.shared.applied.load(Ordering::Relaxed)
    }

    /// Waits while the channel is full: a slow terminal slows the run down rather than eating memory.
    pub async fn emit(&self, kind: Kind) {
        if let Kind::ChangeApplied { .. } = kind {
            self.shared.applied.fetch_add(1, Ordering::Relaxed);
        }
        let mut event = Event {
            run: self.shared.run.clone(),
            seq: 0,
            at: now(),
            host: self.host.clone(),
            stage: self.stage.clone(),
            kind,
        };
        event.scrub(&self.shared.redactor);
        // The receiver lives until every sender is gone, so this fails only when it panicked. The run goes on without
        // an audience: stopping in the middle of changing a database would be worse, and `Running::finish` tells of it.
        if self.shared.sender.send(event).await.is_ok() {
            self.shared.sent.fetch_add(1, Ordering::Release);
        }
    }
}
