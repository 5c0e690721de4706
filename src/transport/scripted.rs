//! A transport for tests: canned answers, matched against what is asked. What nobody expected fails the test.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{Output, Script, Stream, Streams, Transport, TransportError};

/// Answers scripts by their title, or by a piece of their text, and opens the streams it was given.
///
/// Panics when it is asked for something it does not know: that is a test's failure, not an answer.
#[derive(Default)]
pub struct Scripted {
    replies: Vec<Reply>,
    streams: Mutex<Vec<Canned>>,
    seen: Mutex<Vec<Script>>,
    round_trips: AtomicU64,
}

/// A stream and the address it answers at.
struct Canned {
    host: String,
    port: u16,
    stream: Box<dyn Stream>,
}

struct Reply {
    matcher: String,
    output: Output,
}

impl Scripted {
    pub fn new() -> Self {
        Self::default()
    }

    /// Whatever script has `matcher` as its title or somewhere in its text gets this answer. The first match counts.
    #[must_use]
    pub fn on(mut self, matcher: impl Into<String>, output: Output) -> Self {
        self.replies.push(Reply { matcher: matcher.into(), output });
        self
    }

    /// [`Scripted::on`] for a script that succeeds and prints this.
    #[must_use]
    pub fn prints(self, matcher: impl Into<String>, stdout: impl Into<String>) -> Self {
        self.on(matcher, Output { stdout: stdout.into(), ..Output::default() })
    }

    /// The next stream opened to this address is this one (the test keeps the other end of a `tokio::io::duplex`).
    #[must_use]
    pub fn stream(self, host: &str, port: u16, stream: impl Stream) -> Self {
        self.streams.lock().unwrap_or_else(|e| e.into_inner()).push(Canned {
            host: host.to_owned(),
            port,
            stream: Box::new(stream),
        });
        self
    }

    /// The next script of this title that is talked to has this stream.
    #[must_use]
    pub fn piped(self, title: &str, stream: impl Stream) -> Self {
        self.stream(title, 0, stream)
    }

    /// Every script so far, in order.
    pub fn seen(&self) -> Vec<Script> {
        self.seen.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

#[async_trait]
impl Transport for Scripted {
    async fn run(&self, script: Script) -> Result<Output, TransportError> {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        self.seen.lock().unwrap_or_else(|e| e.into_inner()).push(script.clone());
        let reply = self.replies.iter().find(|r| script.title == r.matcher || script.text.contains(&r.matcher));
        match reply {
            Some(reply) => Ok(reply.output.clone()),
            None => panic!("no answer for the script {:?}:\n{}", script.title, script.text),
        }
    }

    async fn open(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, TransportError> {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        let mut streams = self.streams.lock().unwrap_or_else(|e| e.into_inner());
        match streams.iter().position(|canned| canned.host == host && canned.port == port) {
            Some(index) => Ok(streams.remove(index).stream),
            None => panic!("no stream for {host}:{port}"),
        }
    }

    async fn pipe(&self, script: Script) -> Result<Box<dyn Stream>, TransportError> {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        let mut streams = self.streams.lock().unwrap_or_else(|e| e.into_inner());
        match streams.iter().position(|canned| canned.host == script.title) {
            Some(index) => Ok(streams.remove(index).stream),
            None => panic!("no stream for the script {:?}", script.title),
        }
    }

    async fn listen(&self, socket: &str) -> Result<Streams, TransportError> {
        panic!("nobody comes to {socket}")
    }

    async fn again(&self) -> Result<Arc<dyn Transport>, TransportError> {
        panic!("nobody connects anew to a host of canned answers")
    }

    fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::Relaxed)
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_by_title_and_by_text() {
        let host = Scripted::new()
            .prints("gather facts", "os=debian\n")
            .on("reboot", Output { status: 1, ..Output::default() });
        let facts = host.run(Script::as_root("gather facts", "uname")).await.expect("an answer");
        assert_eq!(facts.stdout, "os=debian\n");
        assert!(!host.run(Script::as_root("anything", "systemctl reboot")).await.expect("an answer").ok());
        assert_eq!((host.seen().len(), host.round_trips()), (2, 2));
    }

    #[tokio::test]
    #[should_panic(expected = "no answer for the script \"surprise\"")]
    async fn the_unexpected_fails() {
        let outcome = Scripted::new().run(Script::as_root("surprise", "true")).await;
        drop(outcome);
    }
}
