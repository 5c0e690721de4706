//! What ends a watch from outside.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Exit, Fails};

/// Waiting for a signal is not possible.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot wait for Ctrl-C")]
#[diagnostic(code(xnat::status::signal), help("leave out `--watch` and use `watch xnat-provision status`"))]
pub struct NoSignals(#[source] std::io::Error);

impl Fails for NoSignals {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub fn listen() -> Result<Self, NoSignals> {
        let listen = |kind| signal(kind).map_err(NoSignals);
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Until one of them comes.
    pub async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
