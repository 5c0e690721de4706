//! A member's part in the upgrade to another major version of PostgreSQL: how far it has come, its steps, and files from
//! the member that was upgraded to another, through this machine, since hosts cannot log in to each other.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fleet::Fleet;
use super::host::HostError;
use super::shell::major as script;
use crate::approval::Approved;
use crate::names::HostName;
use crate::transport::{Output, Script, TransportError};

/// A copy of a large database, or its statistics, take their time.
const DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// The cluster's data of one major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataDir {
    pub major: u32,
    /// An upgrade has begun, and Patroni must not start it.
    pub held: bool,
    /// `pg_upgrade` has taken its files over, so this member led.
    pub led: bool,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StepError {
    #[error("{host}: cannot {what}: {reason}")]
    #[diagnostic(code(xnat::major::step))]
    Failed { host: HostName, what: &'static str, reason: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Host(Box<HostError>),
}

impl From<HostError> for StepError {
    fn from(error: HostError) -> Self {
        Self::Host(Box::new(error))
    }
}

/// A step, and what it is for.
#[derive(Clone, Copy)]
pub struct MajorStep<'a> {
    pub what: &'static str,
    pub verb: &'static str,
    pub from: u32,
    /// `leader` or `replica`, where that makes a difference.
    pub role: &'a str,
    /// Lines of JSON for its standard input.
    pub input: &'a [String],
}

impl MajorStep<'_> {
    fn script(&self) -> Script {
        let text = script::member(self.verb, self.from, self.role, self.input);
        Script::as_root(self.what, text).timeout(DEADLINE)
    }

    fn failed(&self, host: &HostName, reason: impl Into<String>) -> StepError {
        StepError::Failed { host: host.clone(), what: self.what, reason: reason.into() }
    }

    /// The last line is the answer.
    fn answer(&self, host: &HostName, said: &str) -> Result<Value, StepError> {
        let last = said.lines().next_back().unwrap_or_default();
        let answer: Value =
            serde_json::from_str(last).map_err(|_| self.failed(host, format!("its answer is {last:?}")))?;
        match answer.get("error").and_then(Value::as_str) {
            Some(reason) => Err(self.failed(host, reason)),
            None => Ok(answer),
        }
    }
}

impl Fleet {
    /// Oldest version first.
    pub async fn data_dirs(&self, host: &HostName, cluster: &str) -> Result<Vec<DataDir>, HostError> {
        let script = Script::as_root("look for the cluster's data", script::data_dirs(cluster));
        let output = self.ran(host, script).await?;
        let mut found = Vec::new();
        for line in output.stdout.lines() {
            let unread = || HostError::Answer { host: host.clone(), line: line.to_owned() };
            found.push(read(line).ok_or_else(unread)?);
        }
        found.sort_by_key(|dir: &DataDir| dir.major);
        Ok(found)
    }

    pub async fn major_step(
        &self,
        host: &HostName,
        approved: &Approved,
        step: MajorStep<'_>,
    ) -> Result<Value, StepError> {
        approved.still_holds().map_err(HostError::from)?;
        let output = self.ran(host, step.script()).await?;
        if output.stdout.trim().is_empty() {
            let said = output.stderr.trim();
            return Err(step.failed(host, format!("it ended with status {}: {said}", output.status)));
        }
        step.answer(host, &output.stdout)
    }

    /// What one member sends is for the other.
    pub async fn carry(
        &self,
        approved: &Approved,
        (from, send): (&HostName, MajorStep<'_>),
        (to, receive): (&HostName, MajorStep<'_>),
    ) -> Result<(), StepError> {
        approved.still_holds().map_err(HostError::from)?;
        let cut = |host: &HostName| {
            let host = host.clone();
            move |source: TransportError| HostError::Transport { host, what: "carry files over".to_owned(), source }
        };
        let mut source = self.connections[from].pipe(send.script()).await.map_err(cut(from))?;
        let target = self.connections[to].pipe(receive.script()).await.map_err(cut(to))?;
        let (mut answers, mut sink) = tokio::io::split(target);
        let said = async {
            let mut said = String::new();
            answers.read_to_string(&mut said).await.map(|_| said)
        };
        let sent = async {
            tokio::io::copy(&mut source, &mut sink).await?;
            sink.shutdown().await
        };
        let (sent, said) = futures::join!(sent, said);
        // the one who receives knows best what is wrong: a stream that ended too early does not end as it should
        receive.answer(to, said.as_deref().unwrap_or_default())?;
        sent.map_err(|error| send.failed(from, error.to_string()))
    }

    /// The program of the upgrade goes again.
    pub async fn tidy_after_major(&self, host: &HostName, approved: &Approved) -> Result<(), HostError> {
        approved.still_holds()?;
        self.ran(host, Script::as_root("remove the upgrade's program", script::TIDY)).await.map(drop)
    }

    async fn ran(&self, host: &HostName, script: Script) -> Result<Output, HostError> {
        let what = script.title.clone();
        let ran = self.connections[host].run(script).await;
        ran.map_err(|source| HostError::Transport { host: host.clone(), what, source })
    }
}

fn read(line: &str) -> Option<DataDir> {
    let mut words = line.split(' ');
    let major = words.next()?.parse().ok()?;
    let mut flag = || words.next().map(|word| word == "yes");
    Some(DataDir { major, held: flag()?, led: flag()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_last_line_and_an_error_is_one() {
        let step = MajorStep { what: "stop", verb: "stop", from: 15, role: "", input: &[] };
        let host = HostName::new("db1");
        assert_eq!(step.answer(&host, "noise\n{\"a\": 1}\n").expect("an answer")["a"], 1);
        let told = |said| step.answer(&host, said).expect_err("no answer").to_string();
        assert_eq!(told("{\"error\": \"no space\"}\n"), "db1: cannot stop: no space");
        assert_eq!(told(""), "db1: cannot stop: its answer is \"\"");
        assert_eq!(read("15 yes no"), Some(DataDir { major: 15, held: true, led: false }));
        assert_eq!(read("fifteen yes no"), None);
    }
}
