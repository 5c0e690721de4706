//! The receiving side: takes events out of the channel, numbers them, writes the journal and drives one renderer.
//! On a thread of its own, because a terminal may block (Ctrl-S) while SSH connections must be kept alive.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::Renderer;
use super::error::ReportError;
use super::event::{Event, Kind, Reporter, now};
use super::human::{Human, Motion};
use super::journal::{Journal, Store, run_id};
use super::json::Json;
use super::look::Look;
use super::plain::Plain;
use super::redact::Redactor;
use super::state::RunState;
use super::warnings::Warnings;

/// Enough for a burst; a slow terminal then slows the run down.
const CHANNEL: usize = 256;

/// How to report a run.
pub struct Options {
    /// The cluster's name: journals are kept by cluster.
    pub cluster: String,
    pub show: Show,
    /// Where journals go; none is [`Store::of_user`].
    pub store: Option<Store>,
    /// What already knows secrets; shared with whoever prints the final error.
    pub redactor: Redactor,
}

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Somebody in front of a terminal (standard error).
    Terminal,
    /// A log (standard error).
    Plain,
    /// A program (JSON lines on standard output).
    Json,
    /// Somebody whom the command itself tells the rest (standard error).
    Warnings,
}

impl Show {
    /// For whoever reads standard error.
    pub fn detect() -> Self {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        if io::stderr().is_terminal() && !dumb { Self::Terminal } else { Self::Plain }
    }
}

/// A run being reported.
#[must_use = "finish it, or its end is not shown"]
pub struct Running {
    task: JoinHandle<Finished>,
    sent: Arc<AtomicU64>,
    handled: watch::Receiver<u64>,
    journal: Option<PathBuf>,
}

/// What is left when all is reported.
#[derive(Debug)]
pub struct Finished {
    pub state: RunState,
    pub journal: Option<PathBuf>,
    /// What kept the events from being shown.
    output: Option<io::Error>,
}

/// Begin to report a run. A journal that cannot be written is a warning: the work does not depend on it.
pub fn start(options: Options) -> (Reporter, Running) {
    let Options { cluster, show, store, redactor } = options;
    let run = run_id(now());
    let (sender, receiver) = mpsc::channel(CHANNEL);
    let (progress, handled) = watch::channel(0);
    let sent = Arc::new(AtomicU64::new(0));
    let reporter = Reporter::counted(run.clone(), sender, redactor, Arc::clone(&sent));
    let store = store.map_or_else(Store::of_user, Ok);
    let journal = store.as_ref().map_err(ToString::to_string).and_then(|store| {
        let journal = store.create(&cluster, &run).map_err(|error| told(&error))?;
        Ok((journal, store.prune(&cluster).err()))
    });
    let mut audience = Audience::new(run, renderer(show));
    match journal {
        Ok((journal, unpruned)) => {
            audience.journal = Some(journal);
            audience.warnings.extend(unpruned.map(|error| told(&error)));
        }
        Err(error) => audience.warnings.push(format!("{error}; the run goes on without a journal")),
    }
    let journal = audience.journal.as_ref().map(|journal| journal.path().to_owned());
    let task = tokio::task::spawn_blocking(move || audience.listen(receiver, &progress));
    (reporter, Running { task, sent, handled, journal })
}

fn renderer(show: Show) -> Box<dyn Renderer> {
    match show {
        Show::Terminal => Box::new(Human::new(console::Term::buffered_stderr(), Look::of_terminal(), Motion::Live)),
        Show::Plain => Box::new(Plain::new(io::stderr())),
        Show::Json => Box::new(Json::new(io::stdout())),
        Show::Warnings => Box::new(Warnings::new(io::stderr())),
    }
}

impl Running {
    /// Waits until everything emitted so far is on the screen. Between stages the screen is then free for a plan or a
    /// question: the live part is only there while a stage runs.
    pub async fn settle(&mut self) {
        let sent = self.sent.load(Ordering::Acquire);
        // An error means that the audience is gone; `finish` tells of it.
        self.handled.wait_for(|handled| *handled >= sent).await.ok();
    }

    /// The file with the events, when one could be made.
    pub fn journal(&self) -> Option<&std::path::Path> {
        self.journal.as_deref()
    }

    /// Waits until every [`Reporter`] is dropped and all they said is shown.
    pub async fn finish(self) -> Result<Finished, ReportError> {
        let mut finished = self.task.await.map_err(|source| ReportError::Crashed { source })?;
        match finished.output.take() {
            Some(source) => Err(ReportError::Output { source }),
            None => Ok(finished),
        }
    }
}

struct Audience {
    run: String,
    renderer: Box<dyn Renderer>,
    journal: Option<Journal>,
    /// Why there is no journal (any more), still to be told.
    warnings: Vec<String>,
    state: RunState,
    seq: u64,
    output: io::Result<()>,
}

impl Audience {
    fn new(run: String, renderer: Box<dyn Renderer>) -> Self {
        let state = RunState::default();
        Self { run, renderer, journal: None, warnings: Vec::new(), state, seq: 0, output: Ok(()) }
    }

    fn listen(mut self, mut receiver: mpsc::Receiver<Event>, progress: &watch::Sender<u64>) -> Finished {
        let mut handled = 0;
        while let Some(event) = receiver.blocking_recv() {
            self.take(event);
            // After the first event, which says what this run is.
            while let Some(message) = self.warnings.pop() {
                self.warn(message);
            }
            handled += 1;
            progress.send_replace(handled);
        }
        self.close()
    }

    fn take(&mut self, mut event: Event) {
        event.seq = self.seq;
        self.seq += 1;
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.record(&event)
        {
            let path = journal.path().display();
            self.warnings.push(format!("cannot write the journal {path}: {error}; the run goes on without it"));
            self.journal = None;
        }
        self.state.apply(&event);
        if self.output.is_ok() {
            self.output = self.renderer.event(&event, &self.state);
        }
    }

    fn warn(&mut self, message: String) {
        let kind = Kind::Warned { message, help: None };
        let event = Event { run: self.run.clone(), seq: 0, at: now(), host: None, stage: None, kind };
        self.take(event);
    }

    fn close(mut self) -> Finished {
        let journal = self.journal.as_ref().map(|journal| journal.path().to_owned());
        if let Some(Err(error)) = self.journal.as_mut().map(Journal::close) {
            self.warn(format!("cannot finish the journal: {error}"));
        }
        if self.output.is_ok() {
            self.output = self.renderer.finish(&self.state, journal.as_deref());
        }
        Finished { state: self.state, journal, output: unless_reader_left(self.output).err() }
    }
}

/// A reader that has seen enough (`| head`) is no failure.
pub fn unless_reader_left(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// An error and its reason in one line.
fn told(error: &ReportError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
