//! What a member does in something that its cluster does as a whole: a verb at a time of a program that is put there for
//! it and removed afterwards.

use std::time::Duration;

use serde_json::Value;

use super::fleet::Fleet;
use super::host::HostError;
use super::shell::member as script;
use crate::approval::Approved;
use crate::names::HostName;
use crate::transport::{Output, Script};

pub use script::Program;

/// A copy of a large database, or its statistics, take their time.
const DEADLINE: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StepError {
    #[error("{host}: cannot {what}: {reason}")]
    #[diagnostic(code(xnat::member::step))]
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
pub struct MemberStep<'a> {
    pub what: &'static str,
    pub program: Program,
    pub verb: &'static str,
    /// The version of the member's data.
    pub from: u32,
    /// `leader` or `replica`, where that makes a difference.
    pub role: &'a str,
    /// Lines of JSON for its standard input.
    pub input: &'a [String],
}

impl MemberStep<'_> {
    pub(super) fn script(&self) -> Script {
        let text = script::member(self.program, (self.verb, self.from, self.role), self.input);
        Script::as_root(self.what, text).timeout(DEADLINE)
    }

    pub(super) fn failed(&self, host: &HostName, reason: impl Into<String>) -> StepError {
        StepError::Failed { host: host.clone(), what: self.what, reason: reason.into() }
    }

    /// The last line is the answer.
    pub(super) fn answer(&self, host: &HostName, said: &str) -> Result<Value, StepError> {
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
    pub async fn step(&self, host: &HostName, approved: &Approved, step: MemberStep<'_>) -> Result<Value, StepError> {
        approved.still_holds().map_err(HostError::from)?;
        let output = self.ran(host, step.script()).await?;
        if output.stdout.trim().is_empty() {
            let said = output.stderr.trim();
            return Err(step.failed(host, format!("it ended with status {}: {said}", output.status)));
        }
        step.answer(host, &output.stdout)
    }

    /// Copies that an earlier move has left go, with their program.
    pub async fn remove_copies(
        &self,
        host: &HostName,
        (move_is_over, approved): (bool, &Approved),
    ) -> Result<Option<String>, StepError> {
        approved.still_holds().map_err(HostError::from)?;
        let what = "remove copies that an earlier move has left";
        let script = Script::as_root(what, script::without_copies(move_is_over)).timeout(DEADLINE);
        let output = self.ran(host, script).await?;
        let failed = |reason: &str| StepError::Failed { host: host.clone(), what, reason: reason.to_owned() };
        let last = output.stdout.lines().next_back().unwrap_or_default();
        let answer: Value = serde_json::from_str(last).map_err(|_| failed(output.stderr.trim()))?;
        match answer.get("error").and_then(Value::as_str) {
            Some(reason) => Err(failed(reason)),
            None => Ok(answer.get("kept").and_then(Value::as_str).map(str::to_owned)),
        }
    }

    /// Whether there may be any.
    pub async fn has_copies(&self, host: &HostName) -> Result<bool, HostError> {
        let output = self.ran(host, Script::as_root("look for copies", script::has_copies())).await?;
        Ok(output.stdout.trim() == "yes")
    }

    /// The program goes again.
    pub async fn remove_program(
        &self,
        host: &HostName,
        program: Program,
        approved: &Approved,
    ) -> Result<(), HostError> {
        approved.still_holds()?;
        self.ran(host, Script::as_root("remove the program", script::removed(program))).await.map(drop)
    }

    pub(super) async fn ran(&self, host: &HostName, script: Script) -> Result<Output, HostError> {
        let what = script.title.clone();
        let ran = self.connections[host].run(script).await;
        ran.map_err(|source| HostError::Transport { host: host.clone(), what, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_last_line_and_an_error_is_one() {
        let program = Program::MajorUpgrade;
        let step = MemberStep { what: "stop", program, verb: "stop", from: 15, role: "", input: &[] };
        let host = HostName::new("db1");
        assert_eq!(step.answer(&host, "noise\n{\"a\": 1}\n").expect("an answer")["a"], 1);
        let told = |said| step.answer(&host, said).expect_err("no answer").to_string();
        assert_eq!(told("{\"error\": \"no space\"}\n"), "db1: cannot stop: no space");
        assert_eq!(told(""), "db1: cannot stop: its answer is \"\"");
    }
}
