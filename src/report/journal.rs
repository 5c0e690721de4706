//! The journal of a run: every event, as a line of JSON, in
//! `$XDG_STATE_HOME/xnat-provision/<cluster>/runs/<run>/events.jsonl` (or `~/.local/state/…`), readable by its owner only.
//! A line is written with one system call when its event happens, so a killed run loses nothing but its last words.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::error::ReportError;
use super::event::{Event, Kind};
use super::json;

/// So many runs are kept per cluster, the newest.
pub const KEPT: usize = 50;

/// A journal of a run that waited for days is not that large.
const LARGEST: u64 = 256 << 20;

const EVENTS: &str = "events.jsonl";

/// Where journals are.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// A run that left a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub id: String,
    pub cluster: String,
    /// The file with its events.
    pub path: PathBuf,
}

/// A journal being written.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

/// A journal read back.
#[derive(Debug)]
pub struct Recording {
    pub events: Vec<Event>,
    pub end: End,
}

/// How a journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Whole,
    /// Without the event that ends a run: it was killed, or still goes on.
    Open,
    /// In the middle of a line: killed while writing, or the disk was full.
    Cut,
}

impl Store {
    /// The directory the XDG specification wants; it says to ignore relative paths.
    pub fn of_user() -> Result<Self, ReportError> {
        let state = crate::files::base("XDG_STATE_HOME", ".local/state");
        Ok(Self { root: state.ok_or(ReportError::NoHome)?.join("xnat-provision") })
    }

    /// The directory of one cluster: its runs are in there.
    pub fn cluster(&self, cluster: &str) -> PathBuf {
        self.root.join(cluster)
    }
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Begin the journal of a run.
    pub fn create(&self, cluster: &str, run: &str) -> Result<Journal, ReportError> {
        let runs = self.runs_of(cluster)?;
        let directory = runs.join(run);
        let path = directory.join(EVENTS);
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&runs)
            .and_then(|()| DirBuilder::new().mode(0o700).create(&directory))
            .and_then(|()| OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path));
        match made {
            Ok(file) => Ok(Journal { file, path }),
            Err(source) => Err(ReportError::Write { path, source }),
        }
    }

    /// Remove the oldest runs of a cluster, beyond the [`KEPT`] newest.
    pub fn prune(&self, cluster: &str) -> Result<(), ReportError> {
        for run in self.runs(Some(cluster))?.into_iter().skip(KEPT) {
            let directory = run.path.parent().unwrap_or(&run.path);
            fs::remove_dir_all(directory).map_err(|source| ReportError::Write { path: run.path.clone(), source })?;
        }
        Ok(())
    }

    /// The runs of a cluster, or of all of them, newest first.
    pub fn runs(&self, cluster: Option<&str>) -> Result<Vec<Run>, ReportError> {
        let clusters = match cluster {
            Some(name) => vec![name.to_owned()],
            None => directories(&self.root)?,
        };
        let mut runs = Vec::new();
        for cluster in clusters {
            let directory = self.runs_of(&cluster)?;
            for id in directories(&directory)?.into_iter().filter(|name| is_run_id(name)) {
                runs.push(Run { path: directory.join(&id).join(EVENTS), id, cluster: cluster.clone() });
            }
        }
        runs.sort_by(|a, b| b.id.cmp(&a.id));
        Ok(runs)
    }

    /// The newest run.
    pub fn last(&self, cluster: Option<&str>) -> Result<Run, ReportError> {
        let newest = self.runs(cluster)?.into_iter().next();
        newest.ok_or_else(|| ReportError::NoRuns { cluster: cluster.map(str::to_owned) })
    }

    /// The run with this id.
    pub fn find(&self, id: &str, cluster: Option<&str>) -> Result<Run, ReportError> {
        let found = self.runs(cluster)?.into_iter().find(|run| run.id == id);
        found.ok_or_else(|| ReportError::NoSuchRun { run: id.to_owned(), cluster: cluster.map(str::to_owned) })
    }

    fn runs_of(&self, cluster: &str) -> Result<PathBuf, ReportError> {
        if cluster.is_empty() || cluster.starts_with('.') || cluster.contains(['/', '\0']) {
            return Err(ReportError::ClusterName(cluster.to_owned()));
        }
        Ok(self.root.join(cluster).join("runs"))
    }
}

impl Journal {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn record(&mut self, event: &Event) -> io::Result<()> {
        self.file.write_all(&json::line(event)?)
    }

    /// The run is over: wait until the disk has it.
    pub fn close(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl Recording {
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let bytes =
            crate::files::read(path, LARGEST).map_err(|source| ReportError::Read { path: path.to_owned(), source })?;
        let whole = bytes.is_empty() || bytes.ends_with(b"\n");
        let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
        // What comes after the last line feed: nothing, or the beginning of a line that was not finished.
        lines.pop();
        let parse = |(at, line): (usize, &&[u8])| {
            serde_json::from_slice::<Event>(line).map_err(|source| ReportError::Damaged {
                path: path.to_owned(),
                line: at + 1,
                source,
            })
        };
        let events = lines.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
        let finished = events.iter().any(|event| matches!(event.kind, Kind::RunFinished { .. }));
        let end = match (whole, finished) {
            (false, _) => End::Cut,
            (true, false) => End::Open,
            (true, true) => End::Whole,
        };
        Ok(Self { events, end })
    }
}

/// A name for a run that sorts by time: `20260412T101530Z-3f9c`. The tail keeps two runs of one second apart.
pub fn run_id(now: Timestamp) -> String {
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    format!("{time}-{:04x}", rand::random::<u16>())
}

/// Guards what [`Store::prune`] removes.
fn is_run_id(name: &str) -> bool {
    let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let (time, tail) = name.split_once('-').unwrap_or_default();
    time.chars().map(shape).eq("00000000T000000Z".chars())
        && tail.len() == 4
        && tail.chars().all(|c| c.is_ascii_hexdigit())
}

/// The names of the directories in a directory; none when it is not there.
fn directories(path: &Path) -> Result<Vec<String>, ReportError> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|source| ReportError::Read { path: path.to_owned(), source }),
    }
}
