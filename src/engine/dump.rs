//! What a migration has the leader do: dump, restore, compare. Each is one script that may take its time; what it says at
//! its end is the reason when it fails.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::fleet::Fleet;
use super::host::HostError;
use super::shell::dump as script;
use crate::approval::Approved;
use crate::error::{Exit, Fails};
use crate::names::HostName;
use crate::transport::{Output, Script, Stream};

pub use script::{At, SOCKETS, Server, Way, conninfo, socket};

/// A large database takes its time.
const DEADLINE: Duration = Duration::from_secs(7 * 24 * 3600);
/// A slot begins when the transactions have ended that ran when it was asked for.
const SLOT: Duration = Duration::from_secs(15 * 60);
/// Of what is said before that, so many bytes.
const LONGEST: u64 = 20_000;
/// Of what a program says, so much is the reason.
const LAST_LINES: usize = 12;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DumpError {
    #[error("{host}: cannot {what}: {reason}")]
    #[diagnostic(code(xnat::migrate::step), help("mend what it says, and run the same command again: it begins anew"))]
    Failed { host: HostName, what: &'static str, reason: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Host(Box<HostError>),
}

impl From<HostError> for DumpError {
    fn from(error: HostError) -> Self {
        Self::Host(Box::new(error))
    }
}

impl Fails for DumpError {
    fn exit(&self) -> Exit {
        match self {
            Self::Failed { .. } => Exit::Failed,
            Self::Host(error) => error.exit(),
        }
    }
}

/// How the schemas compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schemas {
    pub objects: u64,
    /// Objects that are missing, other or more, with that word first.
    pub differ: Vec<(String, String)>,
}

/// The leader, as a migration uses it.
pub struct Workshop<'a> {
    pub fleet: &'a Fleet,
    pub approved: &'a Approved,
    pub leader: &'a HostName,
    pub major: u32,
    pub port: u16,
    pub jobs: usize,
}

impl Workshop<'_> {
    /// Its own server.
    pub fn here(&self) -> At<'static> {
        At::Here(self.port)
    }

    /// Nothing of an earlier run is there any more.
    pub async fn clean(&self) -> Result<(), DumpError> {
        self.run("remove what an earlier migration left", script::clean()).await.map(drop)
    }

    /// A place to work in.
    pub async fn begin(&self) -> Result<(), DumpError> {
        self.run("make a directory for the dump", script::begin()).await.map(drop)
    }

    /// The leader's server may reach the source as its programs do.
    pub async fn let_in(&self, server: &Server<'_>) -> Result<(), DumpError> {
        self.run("let the leader's server reach the source", script::let_in(server)).await.map(drop)
    }

    /// A slot there, and the snapshot it begins with: for as long as the stream lives.
    pub async fn slot(&self, there: (&Server<'_>, &str), name: &str) -> Result<(String, Box<dyn Stream>), DumpError> {
        let what = "make a replication slot on the source";
        self.approved.still_holds().map_err(HostError::from)?;
        let script = Script::as_root(what, script::slot(there, name, self.major)).timeout(SLOT);
        let host = self.leader.clone();
        let lost = |source| DumpError::from(HostError::Transport { host, what: what.to_owned(), source });
        let mut stream = self.fleet.connections[self.leader].pipe(script).await.map_err(lost)?;
        match tokio::time::timeout(SLOT, snapshot(&mut stream)).await {
            Ok(Ok(snapshot)) => Ok((snapshot, stream)),
            Ok(Err(said)) => Err(self.failed(what, said)),
            Err(_) => Err(self.failed(what, "transactions that run there since before do not end".to_owned())),
        }
    }

    pub async fn dump(&self, what: (At<'_>, &str), snapshot: &str) -> Result<(), DumpError> {
        self.run("dump the source", script::dump(what, snapshot, (self.major, self.jobs))).await.map(drop)
    }

    pub async fn restore(&self, into: (At<'_>, &str)) -> Result<(), DumpError> {
        self.run("restore the dump", script::restore(into, (self.major, self.jobs))).await.map(drop)
    }

    pub async fn analyze(&self, what: (At<'_>, &str)) -> Result<(), DumpError> {
        self.run("analyze the copy", script::analyze(what, (self.major, self.jobs))).await.map(drop)
    }

    /// Of a database there, as it is seen in a snapshot, and of one here. `scratch` is one here that is empty.
    pub async fn compare_schemas(
        &self,
        theirs: (&Server<'_>, &str, Option<&str>),
        (scratch, ours): (&str, &str),
        way: Way,
    ) -> Result<Schemas, DumpError> {
        let what = "compare the schemas";
        let script = script::compare_schemas(theirs, (scratch, ours), (way, self.major, self.port));
        let output = self.run(what, script).await?;
        schemas(&output.stdout).ok_or_else(|| self.failed(what, output.stdout.clone()))
    }

    fn failed(&self, what: &'static str, reason: String) -> DumpError {
        DumpError::Failed { host: self.leader.clone(), what, reason }
    }

    async fn run(&self, what: &'static str, text: String) -> Result<Output, DumpError> {
        self.approved.still_holds().map_err(HostError::from)?;
        let script = Script::as_root(what, text).timeout(DEADLINE);
        let ran = self.fleet.connections[self.leader].run(script).await;
        let host = self.leader.clone();
        let output = ran.map_err(|source| HostError::Transport { host, what: what.to_owned(), source })?;
        if output.status == 0 { Ok(output) } else { Err(self.failed(what, last_lines(&output))) }
    }
}

/// Its name, when it is said, after warnings maybe; otherwise everything that is.
async fn snapshot(stream: &mut Box<dyn Stream>) -> Result<String, String> {
    let mut lines = BufReader::new(stream.as_mut().take(LONGEST)).lines();
    let mut said = Vec::new();
    loop {
        match lines.next_line().await {
            Ok(Some(line)) => match line.strip_prefix("snapshot ") {
                Some(name) => return Ok(name.to_owned()),
                None => said.push(line),
            },
            Ok(None) => return Err(said.join("\n")),
            Err(error) => return Err(format!("{}\n{error}", said.join("\n"))),
        }
    }
}

fn last_lines(output: &Output) -> String {
    let lines: Vec<&str> = output.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
    if last.is_empty() { format!("it ended with status {}", output.status) } else { last }
}

fn schemas(said: &str) -> Option<Schemas> {
    let mut lines = said.lines();
    let objects = lines.next()?.strip_prefix("objects ")?.parse().ok()?;
    let differ = lines.map(|line| line.split_once(' ').map(|(how, name)| (how.to_owned(), name.to_owned())));
    Some(Schemas { objects, differ: differ.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_read_and_what_makes_no_sense_is_not() {
        let read = schemas("objects 2\nother t; Type: TABLE; Schema: a b; Owner: x\n").expect("an answer");
        assert_eq!(read.objects, 2);
        assert_eq!(read.differ, [("other".to_owned(), "t; Type: TABLE; Schema: a b; Owner: x".to_owned())]);
        assert_eq!(schemas("pg_dump: error"), None);
        assert_eq!(schemas(""), None);
    }
}
