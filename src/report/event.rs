//! What the world sees: one enum, past tense, flat fields, no formatted text except what a command printed.
//! A leaf: anyone may use it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::names::HostName;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The run it belongs to; also the name of its journal.
    pub run: String,
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
    },
    /// Per host: the SSH connection stands.
    Connected {
        address: String,
        user: String,
        millis: u64,
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
    },
    StageStarted {
        hosts: Vec<HostName>,
    },
    StageFinished {
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    Failed,
    Interrupted,
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
    seq: AtomicU64,
    sender: mpsc::Sender<Event>,
}

impl Reporter {
    pub fn new(run: String, sender: mpsc::Sender<Event>) -> Self {
        Self { shared: Arc::new(Shared { run, seq: AtomicU64::new(0), sender }), host: None, stage: None }
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
    /// Waits while the channel is full: a slow terminal slows the run down rather than eating memory.
    pub async fn emit(&self, kind: Kind) {
        let event = Event {
            run: self.shared.run.clone(),
            seq: self.shared.seq.fetch_add(1, Ordering::Relaxed),
            at: Timestamp::now(),
            host: self.host.clone(),
            stage: self.stage.clone(),
            kind,
        };
        // The receiver lives until every sender is gone; if it panicked there is nobody left to tell.
        if self.shared.sender.send(event).await.is_err() {
            std::process::abort();
        }
    }
}
