//! The one way to wait: a condition, a deadline, an interval. Every poll says what it waits for and what it saw last.

use std::future::Future;
use std::time::{Duration, Instant};

use super::Cancel;
use crate::error::{Exit, Fails};
use crate::report::{Kind, Reporter};

/// What to wait for and how long.
#[derive(Clone, Debug)]
pub struct Wait {
    /// "the etcd quorum"
    pub what: String,
    pub deadline: Duration,
    pub interval: Duration,
    /// What to look at when it does not come.
    pub help: String,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum WaitError {
    #[error("waited {seconds} s for {what}, and it did not come; last seen: {reason}")]
    #[diagnostic(code(xnat::wait::deadline), help("{help}"))]
    Deadline { what: String, seconds: u64, reason: String, help: String },
    #[error("interrupted while waiting for {what}; last seen: {reason}")]
    #[diagnostic(code(xnat::interrupted), help("run the same command again: it goes on where this one stopped"))]
    Cancelled { what: String, reason: String },
}

impl Fails for WaitError {
    fn exit(&self) -> Exit {
        match self {
            Self::Deadline { .. } => Exit::Failed,
            Self::Cancelled { .. } => Exit::Interrupted,
        }
    }
}

/// Between two looks, however long they take.
const LONG: Duration = Duration::from_secs(10);

impl Wait {
    /// The same for what may well not come: nothing then, and no error.
    pub async fn while_patient<T, F, Fut>(
        self,
        reporter: &Reporter,
        cancel: &Cancel,
        condition: F,
    ) -> Result<Option<T>, WaitError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, String>>,
    {
        match self.until(reporter, cancel, condition).await {
            Ok(value) => Ok(Some(value)),
            Err(WaitError::Deadline { .. }) => Ok(None),
            Err(cancelled @ WaitError::Cancelled { .. }) => Err(cancelled),
        }
    }

    /// Poll until `condition` gives a value; its error is the reason why not yet.
    pub async fn until<T, F, Fut>(self, reporter: &Reporter, cancel: &Cancel, condition: F) -> Result<T, WaitError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, String>>,
    {
        let begun = Instant::now();
        loop {
            let looked = Instant::now();
            let reason = match condition().await {
                Ok(value) => return Ok(value),
                Err(reason) => reason,
            };
            let elapsed = begun.elapsed();
            let waiting = Kind::Waiting { what: self.what.clone(), reason: reason.clone(), seconds: elapsed.as_secs() };
            reporter.emit(waiting).await;
            if elapsed >= self.deadline {
                return Err(WaitError::Deadline {
                    what: self.what,
                    seconds: elapsed.as_secs(),
                    reason,
                    help: self.help,
                });
            }
            // who takes long to answer has enough to do
            let rest = looked.elapsed().min(LONG).min(self.deadline - elapsed).max(self.interval);
            tokio::select! {
                () = cancel.cancelled() => return Err(WaitError::Cancelled { what: self.what, reason }),
                () = tokio::time::sleep(rest) => {}
            }
        }
    }
}
