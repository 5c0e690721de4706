//! What is kept of migrations on this machine, beside the journals of the cluster: how far one has come, for as long as it
//! is not over, and the reports.

use std::fs;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cluster::{Problem, Severity};
use crate::error::{Exit, Fails, one_line};
use crate::files;
use crate::migrate::fingerprint::Fingerprint;
use crate::migrate::html;
use crate::migrate::record::{Method, Record};
use crate::names::HostName;
use crate::report::ReportError;
use crate::report::journal::Store;

/// How far a migration has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Step {
    /// A copy that is to be removed again follows the source, which keeps for it what it has not read.
    Rehearsing,
    /// It came to nothing. The source goes on and keeps nothing for it, but something of a copy may be left on the members.
    Left,
    /// The copy follows the source, which keeps for it what it has not read, and is written to as before.
    Following,
    /// The source is read-only, or is about to be; the application's database is as it was.
    ReadOnly,
    /// The copies take the place of the cluster's data, so that it cannot be used. The source is read-only.
    Switching,
    /// The cluster can be used with the copies, and is not yet compared with the source, which is read-only.
    Opened,
    /// The copy takes its place, or has taken it: there is none beside it then. The source is read-only.
    Switched,
    /// It is being taken back: the source can be written to, or is about to be.
    GoingBack,
}

/// Written before anything that has to be undone is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub step: Step,
    pub since: Timestamp,
    #[serde(default)]
    pub method: Method,
    /// For people: which database where.
    pub source: String,
    pub source_version: u32,
    /// Which cluster it was moved into: another one may have its name by now.
    pub system: i64,
    /// Of the copy when it took its place.
    #[serde(default)]
    pub copy: Fingerprint,
    /// Roles that came with it.
    #[serde(default)]
    pub made: Vec<String>,
    /// The member whose copy leads, where each member has one.
    #[serde(default)]
    pub leader: Option<HostName>,
    /// What XNAT's former settings are called: a suffix.
    #[serde(default)]
    pub kept_as: String,
    /// What the source was about to hold when rows were carried back.
    #[serde(default)]
    pub carried: Fingerprint,
    /// The copy is in its place, or about to be, and something of the run is still to be done; or XNAT is stopped for going
    /// back.
    #[serde(default)]
    pub unfinished: bool,
    /// The run came to its end, whatever became of the database since.
    #[serde(default)]
    pub ended: bool,
    /// What the database has been marked with since the copy is in its place.
    #[serde(default)]
    pub mark: Option<String>,
    /// How the source's database itself said that it can be written to, if it did.
    #[serde(default)]
    pub read_only_before: Option<String>,
}

impl State {
    /// A run is to be gone on with, or was ended; otherwise there is at most a copy that is to be removed in any case.
    pub fn is_begun(&self) -> bool {
        !matches!(self.step, Step::Rehearsing | Step::Left)
    }

    /// The copy is in its place, or was.
    pub fn has_switched(&self) -> bool {
        matches!(self.step, Step::Opened | Step::Switched | Step::GoingBack)
    }

    /// The run came to its end; a version that did not write that down left it finished.
    pub fn is_ended(&self) -> bool {
        self.ended || self.step == Step::Opened || self.step == Step::Switched && !self.unfinished
    }

    /// What the copy was when it took its place was never read.
    pub fn is_unknown(&self) -> bool {
        self.step == Step::Opened && self.copy == Fingerprint::default()
    }

    /// The mark of a database that this move has brought, or a run that went on with it.
    pub fn is_marked_by(&self, mark: &str) -> bool {
        if let Some(own) = &self.mark {
            return own == mark;
        }
        // as it was written by a version that did not keep it
        let at = mark.strip_prefix(&format!("from {} at ", self.source)).and_then(|rest| rest.split(' ').next());
        at.and_then(|at| at.parse::<Timestamp>().ok()).is_some_and(|at| at >= self.since)
    }

    /// What there is to undo is of another source than this.
    pub fn is_of_another(&self, source: &str) -> bool {
        !self.has_switched() && self.step != Step::Left && self.source != source
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum KeptError {
    #[error("cannot {what} {}", path.display())]
    #[diagnostic(code(xnat::migrate::kept), help("is there space, and may you write there?"))]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not what this program writes: {reason}", path.display())]
    #[diagnostic(
        code(xnat::migrate::state),
        help(
            "it says how far a migration has come. Remove it: without it `xnat-provision migrate abort` looks at the source and the leader, and opens the source again after a run that was cut off"
        )
    )]
    State { path: PathBuf, reason: String },
    #[error("cannot make the report")]
    #[diagnostic(code(xnat::migrate::report))]
    Page(#[from] minijinja::Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] ReportError),
}

impl Fails for KeptError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// Where that is, of one cluster.
pub(super) struct Kept {
    directory: PathBuf,
}

impl Kept {
    pub fn of(cluster: &str) -> Result<Self, KeptError> {
        Ok(Self { directory: Store::of_user()?.cluster(cluster).join("migrations") })
    }

    fn state_file(&self) -> PathBuf {
        self.directory.join("state.json")
    }

    /// None while none is under way, or done.
    pub fn state(&self) -> Result<Option<State>, KeptError> {
        let path = self.state_file();
        match fs::read(&path) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(state) => Ok(Some(state)),
                Err(error) => Err(KeptError::State { path, reason: error.to_string() }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KeptError::File { what: "read", path, source }),
        }
    }

    pub fn set(&self, state: &State) -> Result<(), KeptError> {
        self.write("state.json", state).map(drop)
    }

    /// Nothing of the run is left to be done; what is kept is for going back.
    pub fn finished(&self) -> Result<(), KeptError> {
        match self.state()? {
            Some(state) => self.set(&State { unfinished: false, ended: true, ..state }),
            None => Ok(()),
        }
    }

    pub fn over(&self) -> Result<(), KeptError> {
        let path = self.state_file();
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(KeptError::File { what: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    /// Where the page for people is.
    pub fn report(&self, record: &Record) -> Result<PathBuf, KeptError> {
        let name = called(record.started, &record.what);
        self.write(&format!("{name}.json"), record)?;
        self.put(&format!("{name}.html"), html::page(record)?.as_bytes())
    }

    /// What was reported of the run that was begun then, when it had come so far.
    pub fn record(&self, started: Timestamp) -> Option<Record> {
        let path = self.directory.join(format!("{}.json", called(started, "run")));
        // one that cannot be read is none: there is only less to say then
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<PathBuf, KeptError> {
        let failed =
            |error| KeptError::File { what: "write", path: PathBuf::from(name), source: io::Error::from(error) };
        self.put(name, &serde_json::to_vec(value).map_err(failed)?)
    }

    fn put(&self, name: &str, content: &[u8]) -> Result<PathBuf, KeptError> {
        let path = self.directory.join(name);
        match files::keep(&path, content) {
            Ok(()) => Ok(path),
            Err(source) => Err(KeptError::File { what: "write", path, source }),
        }
    }
}

/// A run that is gone on with has the report that it began.
fn called(started: Timestamp, what: &str) -> String {
    format!("{}-{what}", started.strftime("%Y%m%dT%H%M%SZ"))
}

/// For `status`: a source must not be read-only without anybody knowing.
pub(in crate::cli) fn told(cluster: &str) -> Option<Problem> {
    let notice = |text, help: &str| Problem { severity: Severity::Warning, text, help: help.to_owned() };
    match Kept::of(cluster).and_then(|kept| kept.state()) {
        Ok(Some(State { step: Step::ReadOnly, since, source, method, .. })) => Some(notice(
            format!("a migration goes on, or was cut off: {source} may be read-only since {since}{}", keeping(method)),
            "where no run goes on: `xnat-provision migrate resume` goes on, `migrate abort` opens the source again",
        )),
        Ok(Some(State { step: Step::Switching, since, source, .. })) => Some(notice(
            format!(
                "a migration of {since} goes on, or was cut off, while the copies took the place of the cluster's data: {source} is read-only, and the application is stopped"
            ),
            "where no run goes on: `xnat-provision migrate resume` goes on; `migrate abort` takes the former data up again, as long as no copy has been used",
        )),
        Ok(Some(State { step: Step::Opened, since, source, .. })) => Some(notice(
            format!(
                "a migration of {since} is being compared, or was cut off before it was: the cluster is in use, or XNAT is stopped yet, and {source} is read-only"
            ),
            "where no run goes on: `xnat-provision migrate resume` ends it",
        )),
        Ok(Some(State { step: Step::Switched, unfinished: true, since, source, .. })) => Some(notice(
            format!(
                "a migration of {since} is ending, or was cut off when the copy took its place, or when it was to be taken back: {source} is read-only, and the application may be stopped"
            ),
            "where no run goes on: `xnat-provision migrate resume` goes on, `migrate rollback` goes back",
        )),
        Ok(Some(State { step: Step::Following, since, source, .. })) => Some(notice(
            keeps(&source, since),
            "where no run goes on: `xnat-provision migrate resume` begins anew, `migrate abort` gives it up",
        )),
        Ok(Some(State { step: Step::Rehearsing, since, source, .. })) => Some(notice(
            keeps(&source, since),
            "where no rehearsal goes on: `xnat-provision migrate abort` has the source forget it",
        )),
        Ok(Some(State { step: Step::Left, since, source, .. })) => Some(notice(
            format!(
                "a migration of {since} came to nothing: {source} goes on, but members may have something of a copy, which takes room"
            ),
            "where no rehearsal or run goes on: `xnat-provision migrate abort` removes it",
        )),
        Ok(Some(State { step: Step::GoingBack, source, .. })) => Some(notice(
            format!(
                "going back to {source} was cut off: it may be read-only still, and XNAT may be stopped, or use the cluster"
            ),
            "`xnat-provision migrate rollback` goes on",
        )),
        Ok(_) => None,
        Err(error) => Some(notice(
            format!("whether a migration is under way is not known: {}", one_line(&error)),
            "may you read there?",
        )),
    }
}

fn keeps(source: &str, since: Timestamp) -> String {
    format!(
        "a migration goes on, or was cut off: {source} keeps its WAL for it since {since}, and may run out of space"
    )
}

fn keeping(method: Method) -> &'static str {
    if method != Method::Dump { ", and may keep its WAL" } else { "" }
}
