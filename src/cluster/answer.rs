//! What asking a service came to. "It is down" and "it could not be asked" are different facts and never mixed.

use serde::{Deserialize, Serialize};

use crate::names::HostName;

/// The outcome of asking one service one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T> {
    Known(T),
    /// It was asked and did not serve: refused, silent, or an error of its own.
    Down(String),
    /// It could not be asked: no connection to its host, or no password at hand. It may be fine.
    Unknown(String),
}

impl<T> Answer<T> {
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Down(_) | Self::Unknown(_) => None,
        }
    }
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
    /// Why it could not be asked.
    pub fn unknown(&self) -> Option<&str> {
        match self {
            Self::Unknown(reason) => Some(reason),
            Self::Known(_) | Self::Down(_) => None,
        }
    }
    /// Why there is no value.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Down(reason) | Self::Unknown(reason) => Some(reason),
        }
    }
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Known(value) => Answer::Known(f(value)),
            Self::Down(reason) => Answer::Down(reason),
            Self::Unknown(reason) => Answer::Unknown(reason),
        }
    }
}

/// The answer of one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen<T> {
    pub host: HostName,
    pub answer: Answer<T>,
}
