//! What is kept of a drill: its report, or that it could not be done.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::verdict::Drill;

/// A drill that nobody sat at and that came to nothing. Its fields are named as those of a [`Drill`] are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What was to be done, as it is typed.
    pub drill: String,
    pub passed: bool,
    pub started: Timestamp,
    pub finished: Timestamp,
    /// Why it was not.
    pub failed: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    Done(Box<Drill>),
    Attempted(Attempt),
}
