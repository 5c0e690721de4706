//! One command on one channel: its standard input fed, its output read to the last byte, its status.

use std::time::{Duration, Instant};

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf, Sig};

use super::session::Session;
use super::spares::Purpose;

/// More output than this is no answer any more.
pub(super) const MAX_OUTPUT_MIB: usize = 64;

/// What a command left behind.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub status: u32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Why there is no [`Raw`].
#[derive(Debug)]
pub(super) enum Cut {
    Lost,
    /// The server would not run the command; why, in words.
    Refused(String),
    TooMuch,
}

/// How long a session that is over here may take to be over at the host too.
const SESSION_WAIT: Duration = Duration::from_secs(10);

/// What runs a script as whoever we are logged in as.
pub(super) const PLAIN: &str = "sh -s";

/// A session with that command. OpenSSH says "connect failed" when `MaxSessions` are open. With `MaxSessions 1` that is so
/// until it has noticed the end of the command before.
pub(super) async fn begin(session: &Session, command: &str) -> Result<Channel<Msg>, Cut> {
    let begun = Instant::now();
    loop {
        if command == PLAIN
            && let Some(shell) = session.spares.take(&Purpose::Script)
        {
            return Ok(shell);
        }
        match session.command(command).await {
            Ok(channel) => return Ok(channel),
            Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed)) => {
                if begun.elapsed() > SESSION_WAIT {
                    let reason = "its SSH server allows no more sessions: a run holds one for its lock and needs more beside it; raise MaxSessions in sshd_config";
                    return Err(Cut::Refused(reason.to_owned()));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(russh::Error::ChannelOpenFailure(why)) => return Err(Cut::Refused(super::open_failure(&why))),
            Err(_) => return Err(Cut::Lost),
        }
    }
}

/// A command under way. Dropping it closes its channel: that is how a deadline ends it.
pub(super) struct Exchange {
    incoming: ChannelReadHalf,
    outgoing: Option<ChannelWriteHalf<Msg>>,
    raw: Raw,
    status_known: bool,
    ended: bool,
}

impl Exchange {
    pub(super) async fn start(session: &Session, command: &str) -> Result<Self, Cut> {
        let channel = begin(session, command).await?;
        let (incoming, outgoing) = channel.split();
        Ok(Self { incoming, outgoing: Some(outgoing), raw: Raw::default(), status_known: false, ended: false })
    }

    /// Give it a line now, before it is ready for the rest.
    pub(super) async fn send(&self, line: String) -> Result<(), Cut> {
        match &self.outgoing {
            Some(outgoing) => outgoing.data_bytes(line).await.map_err(|_| Cut::Lost),
            None => Err(Cut::Lost),
        }
    }

    /// Read until what has come so far is enough, or it ended.
    pub(super) async fn until(&mut self, enough: impl Fn(&Raw) -> bool) -> Result<&Raw, Cut> {
        while !self.ended && !enough(&self.raw) {
            let message = self.incoming.wait().await;
            self.take(message)?;
        }
        Ok(&self.raw)
    }

    /// Give it the rest of its input and read to the end. Both at once: a command that does not read its input must not
    /// keep us from reading its output.
    pub(super) async fn finish(mut self, input: String) -> Result<Raw, Cut> {
        let Some(outgoing) = self.outgoing.take() else { return Err(Cut::Lost) };
        let feeding = async {
            outgoing.data_bytes(input).await?;
            outgoing.eof().await
        };
        let outcome = {
            tokio::pin!(feeding);
            let mut fed = false;
            loop {
                if self.ended {
                    break Ok(());
                }
                tokio::select! {
                    // When it cannot be fed the reading end says why.
                    _outcome = &mut feeding, if !fed => fed = true,
                    message = self.incoming.wait() => {
                        if let Err(cut) = self.take(message) {
                            break Err(cut);
                        }
                    }
                }
            }
        };
        self.outgoing = Some(outgoing);
        outcome.map(|()| std::mem::take(&mut self.raw))
    }

    /// The status may come before the last data, so only the closing of the channel ends it.
    fn take(&mut self, message: Option<ChannelMsg>) -> Result<(), Cut> {
        match message {
            Some(ChannelMsg::Data { data }) => self.raw.stdout.extend_from_slice(&data),
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => self.raw.stderr.extend_from_slice(&data),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                self.raw.status = exit_status;
                self.status_known = true;
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                self.raw.status = 128 + number(&signal_name);
                self.status_known = true;
            }
            Some(ChannelMsg::Failure) => return Err(Cut::Refused("the SSH server runs no commands".to_owned())),
            Some(ChannelMsg::Close) if self.status_known => self.ended = true,
            Some(ChannelMsg::Close) | None => return Err(Cut::Lost),
            Some(_) => {}
        }
        let size = self.raw.stdout.len() + self.raw.stderr.len();
        if size > MAX_OUTPUT_MIB << 20 { Err(Cut::TooMuch) } else { Ok(()) }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // What ended by itself has been closed by both sides already.
        if let (Some(outgoing), false) = (self.outgoing.take(), self.ended) {
            tokio::spawn(async move { outgoing.close().await });
        }
    }
}

fn number(signal: &Sig) -> u32 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(name) => match name.as_str() {
            "TRAP" => 5,
            "BUS" => 7,
            "USR2" => 12,
            "SYS" => 31,
            _ => 0,
        },
    }
}
