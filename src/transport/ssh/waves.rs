//! Counting round trips: how often the number of requests under way went from none to one.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Clone, Default)]
pub(super) struct Waves(Arc<Mutex<Count>>);

#[derive(Default)]
struct Count {
    under_way: u64,
    round_trips: u64,
}

/// A request under way, until dropped.
pub(super) struct Wave(Waves);

impl Waves {
    pub(super) fn enter(&self) -> Wave {
        let mut count = self.lock();
        if count.under_way == 0 {
            count.round_trips += 1;
        }
        count.under_way += 1;
        drop(count);
        Wave(self.clone())
    }

    pub(super) fn round_trips(&self) -> u64 {
        self.lock().round_trips
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Wave {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
    }
}

/// A stream that counts as under way until the first bytes (or the end) come back.
pub(super) struct CountedStream<S> {
    inner: S,
    wave: Option<Wave>,
}

impl<S> CountedStream<S> {
    pub(super) fn new(inner: S, wave: Wave) -> Self {
        Self { inner, wave: Some(wave) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if polled.is_ready() {
            self.wave = None;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_counts_once() {
        let waves = Waves::default();
        let (first, second) = (waves.enter(), waves.enter());
        drop(first);
        let third = waves.enter();
        drop((second, third));
        assert_eq!(waves.round_trips(), 1);
        drop(waves.enter());
        assert_eq!(waves.round_trips(), 2);
    }
}
