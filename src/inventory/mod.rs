//! What the administrator wants. `raw` parses TOML with spans, `checks` finds every mistake at once,
//! `model` is the checked result that the rest of the program uses. Pure: no network, no tokio.

pub mod model;

pub use model::*;
