//! The time a connection may take, not counting the time a person takes to answer.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::super::error::{At, TransportError};

pub(super) struct Deadline {
    at: At,
    total: Duration,
    left: Duration,
}

impl Deadline {
    pub(super) fn new(at: At, total: Duration) -> Self {
        Self { at, total, left: total }
    }

    /// Do this in what is left of the time; what it takes is taken off.
    pub(super) async fn hold<T>(
        &mut self,
        doing: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, TransportError> {
        let began = Instant::now();
        let outcome = tokio::time::timeout(self.left, work).await;
        self.left = self.left.saturating_sub(began.elapsed());
        outcome.map_err(|_| TransportError::Timeout { at: self.at.clone(), doing, after: self.total })
    }

    pub(super) fn left(&self) -> Duration {
        self.left
    }
}
