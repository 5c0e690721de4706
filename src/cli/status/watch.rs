//! `status --watch` where there is no terminal, or as JSON: one text after the other.

use std::time::Duration;

use super::signals::Signals;
use super::{Failure, Form, Watcher, exit, out};
use crate::cli::out::Reader;
use crate::engine::Fleet;
use crate::error::Exit;

/// Look again and again until a signal comes or nobody reads any more; the last thing seen decides how to exit.
pub async fn watch((watcher, fleet): (&Watcher, &mut Fleet), every: Duration, form: Form) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let mut last = None;
    loop {
        tokio::select! {
            (view, health) = watcher.look(fleet) => {
                let between = if last.is_some() { "\n" } else { "" };
                last = Some(exit(&view, &health));
                let text = watcher.document((&view, &health), form)?;
                if out::text(&format!("{between}{text}"))? == Reader::Gone {
                    break;
                }
            }
            () = signals.end() => break,
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = signals.end() => break,
        }
    }
    Ok(last.unwrap_or(Exit::Unreachable))
}
