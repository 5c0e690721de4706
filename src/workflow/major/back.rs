//! The way back, as long as there is one: the old version's files as they were, and its services.

use super::Major;
use super::error::MajorError;
use crate::engine::Cancel;
use crate::workflow::Operation;

impl Major<'_> {
    /// Whatever of the upgrade was begun. Not interrupted by a Ctrl-C: nobody can work until it is done.
    pub async fn back(&self) -> Result<Vec<String>, MajorError> {
        self.at_all(self.members(), self.step("take the upgrade back", "back")).await?;
        self.no_more_pause().await?;
        // it may have been a Ctrl-C that led here
        let cancel = &Cancel::default();
        let mut seen = Operation { cancel, ..self.operation }.start_cluster(&[]).await?;
        let summary = format!("PostgreSQL {} runs again, with all it had", self.from);
        seen.push(self.operation.told(summary).await);
        Ok(seen)
    }

    /// The same for one that another run has left.
    pub async fn take_back(&self) -> Result<Vec<String>, MajorError> {
        self.install().await?;
        self.back().await
    }
}
