//! Events and everything that renders them. Work emits [`event::Event`]s into one bounded channel; `state` folds them,
//! and human, plain, JSON and journal read events and state. Nothing else prints.

pub mod event;

pub use event::{Event, Kind, Reporter};
