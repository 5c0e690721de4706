//! A script whose standard input and output stay open: a stream to a program that runs on the host.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use russh::ChannelMsg;
use russh::client::Msg;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::exec::{Cut, Raw, begin};
use super::session::Session;
use super::wrap::find;

/// How the beginning ended.
pub(super) enum Begun {
    /// The script runs; what it has printed so far comes first out of the stream.
    Running(Box<PipeStream>),
    /// The channel was closed before: what was said instead.
    Ended(Raw),
}

/// Start `command`, give it `password` when it said `ready`, then `text`, and wait for `mark` on its standard output.
pub(super) struct Opening<'a> {
    pub command: &'a str,
    /// A line to send at once, and what is waited for before the rest is sent.
    pub password: Option<(String, &'a str)>,
    pub text: String,
    pub mark: &'a str,
    /// One of so many streams at once; the stream keeps it.
    pub permit: OwnedSemaphorePermit,
}

impl Opening<'_> {
    pub(super) async fn begin(self, session: &Session) -> Result<Begun, Cut> {
        let mut channel = begin(session, self.command).await?;
        let mut raw = Raw::default();
        if let Some((line, ready)) = self.password {
            channel.data_bytes(line).await.map_err(|_| Cut::Lost)?;
            if !until(&mut channel, &mut raw, ready).await? {
                return Ok(Begun::Ended(raw));
            }
        }
        channel.data_bytes(self.text).await.map_err(|_| Cut::Lost)?;
        if !until(&mut channel, &mut raw, self.mark).await? {
            return Ok(Begun::Ended(raw));
        }
        let end = find(&raw.stdout, self.mark.as_bytes()).map_or(0, |start| start + self.mark.len());
        let early = raw.stdout.split_off(end);
        let inner = channel.into_stream();
        Ok(Begun::Running(Box::new(PipeStream { early, taken: 0, inner, _permit: self.permit })))
    }
}

/// False when the channel ended before `mark` came.
async fn until(channel: &mut russh::Channel<Msg>, raw: &mut Raw, mark: &str) -> Result<bool, Cut> {
    while find(&raw.stdout, mark.as_bytes()).is_none() {
        match channel.wait().await {
            Some(ChannelMsg::Data { data }) => raw.stdout.extend_from_slice(&data),
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => raw.stderr.extend_from_slice(&data),
            Some(ChannelMsg::ExitStatus { exit_status }) => raw.status = exit_status,
            Some(ChannelMsg::Failure) => return Err(Cut::Refused("the SSH server runs no commands".to_owned())),
            Some(ChannelMsg::Close) => return Ok(false),
            None => return Err(Cut::Lost),
            Some(_) => {}
        }
        // Nothing that begins a stream has that much to say.
        if raw.stdout.len() + raw.stderr.len() > 1 << 20 {
            return Err(Cut::TooMuch);
        }
    }
    Ok(true)
}

/// What the program printed before anybody listened, then what it prints.
pub(super) struct PipeStream {
    early: Vec<u8>,
    taken: usize,
    inner: russh::ChannelStream<Msg>,
    /// Others have to wait for it.
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for PipeStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.taken < self.early.len() {
            let length = buf.remaining().min(self.early.len() - self.taken);
            buf.put_slice(&self.early[self.taken..self.taken + length]);
            self.taken += length;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for PipeStream {
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
