//! Ctrl-C. The first one finishes the action under way and begins nothing more; the second stops at once. A terminal that
//! goes away is like the first: nobody is there any more to see what comes next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// Shared by everything that might go on for long.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    cancelled: AtomicBool,
    notify: Notify,
}

impl Cancel {
    /// Listen for SIGINT, SIGTERM and SIGHUP for as long as the process lives.
    pub fn on_signals() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = hangup()?;
        let cancel = Self::default();
        let handle = cancel.clone();
        tokio::spawn(async move {
            let mut asked_before = false;
            loop {
                let asked = tokio::select! {
                    _ = interrupt.recv() => true,
                    _ = terminate.recv() => true,
                    () = received(&mut hangup) => false,
                };
                // whoever shuts a machine down sends one after the other
                if asked && asked_before {
                    // The second time the administrator means it; the next apply repairs what is half done.
                    std::process::exit(crate::error::Exit::Interrupted as i32);
                }
                asked_before |= asked;
                handle.cancel();
            }
        });
        Ok(cancel)
    }

    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::SeqCst);
        self.shared.notify.notify_waiters();
    }

    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::SeqCst)
    }

    /// Resolves when cancelled.
    pub async fn cancelled(&self) {
        loop {
            let notified = self.shared.notify.notified();
            tokio::pin!(notified);
            // registered before looking, so that a cancel in between is not missed
            notified.as_mut().enable();
            if self.is_cancelled() {
                return;
            }
            notified.await;
        }
    }
}

/// None where somebody has it ignored (`nohup`): to listen would end that.
fn hangup() -> std::io::Result<Option<Signal>> {
    // without /proc nobody can tell
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if is_ignored(&status, SignalKind::hangup()) { Ok(None) } else { signal(SignalKind::hangup()).map(Some) }
}

/// As `/proc/PID/status` has it: a bit for each signal, from the first one on.
fn is_ignored(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_signal_is_told_by_its_bit() {
        let status = |mask: &str| format!("Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\n");
        assert!(is_ignored(&status("0000000000000001"), SignalKind::hangup()));
        assert!(!is_ignored(&status("0000000000001000"), SignalKind::hangup()));
        assert!(is_ignored(&status("0000000000001002"), SignalKind::interrupt()));
        assert!(!is_ignored("Name:\tx\n", SignalKind::hangup()));
    }
}
