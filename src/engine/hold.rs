//! The lock a run has on a host: a script there that holds it for as long as it hears from us. It is talked to all the
//! time, so both sides know when the other is gone: the host gives the lock away after the lease, and this side stops
//! changing things somewhat earlier.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Interval, timeout};

use super::shell::{self, Fence};
use crate::approval::{Moment, Standing};
use crate::error::{Exit, Fails};
use crate::names::HostName;
use crate::report::text::{duration, printable};
use crate::transport::{Script, Stream, Transport, TransportError};

/// How often the host hears from us: several times within a lease.
const BEAT: Duration = Duration::from_secs(5);

/// How long a host may take to answer at the end; after that the connection is closed, which ends the lock too.
const GOODBYE: Duration = Duration::from_secs(5);

/// Who wants to change a host, as it is told to whoever comes in between. Comes back from hosts, hence from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub run: String,
    /// "anna@laptop": on the machine the program runs on.
    pub who: String,
    pub command: String,
    pub cluster: String,
    pub since: Timestamp,
}

impl Claim {
    /// What a host says of whoever has it; nothing when it is not a claim.
    pub fn read(text: &str) -> Option<Self> {
        let claim: Self = serde_json::from_str(text.lines().next()?).ok()?;
        let shown = |text: &str| printable(text).replace(['\n', '\t'], " ");
        Some(Self {
            run: shown(&claim.run),
            who: shown(&claim.who),
            command: shown(&claim.command),
            cluster: shown(&claim.cluster),
            ..claim
        })
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, who, command, cluster, since } = self;
        write!(f, "{command} of cluster {cluster} by {who}, begun at {since:.0}, run {run}")
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HoldError {
    #[error("{host}: another run is at work: {claim} ({age} ago)")]
    #[diagnostic(
        code(xnat::lock::taken),
        help(
            "wait for it to end, or ask {}; when its machine is dead {host} gives the lock away after {} s. See who has it: `ssh {host} cat /run/xnat-provision/holder`",
            claim.who, crate::approval::LEASE.as_secs()
        )
    )]
    Taken { host: HostName, claim: Box<Claim>, age: String },
    #[error("{host}: another run is at work, and the host does not say which")]
    #[diagnostic(code(xnat::lock::taken), help("find it on {host}: `ssh {host} fuser -v /run/xnat-provision/lock`"))]
    TakenByUnknown { host: HostName },
    #[error("{host}: cannot take the lock")]
    #[diagnostic(code(xnat::lock::transport), help("{}", help_of(source)))]
    Transport { host: HostName, source: Box<TransportError> },
    #[error("{host}: cannot take the lock; the host said {said:?}")]
    #[diagnostic(
        code(xnat::lock::answer),
        help("see whether /run can be written there, and whether perl works: `ssh {host} 'df /run; perl -v'`")
    )]
    Answer { host: HostName, said: String },
}

impl Fails for HoldError {
    fn exit(&self) -> Exit {
        match self {
            Self::Transport { source, .. } => source.exit(),
            _ => Exit::Failed,
        }
    }
}

fn help_of(error: &TransportError) -> String {
    miette::Diagnostic::help(error).map(|help| help.to_string()).unwrap_or_default()
}

/// A host's lock, taken. Dropped, it is free again as soon as the host notices; [`Hold::end`] waits for that.
#[derive(Debug)]
pub struct Hold {
    pub fence: Fence,
    words: mpsc::Sender<Word>,
    keeper: JoinHandle<()>,
}

/// Something to say to the host, and who wants to know that it is done.
struct Word {
    text: String,
    done: oneshot::Sender<bool>,
}

impl Hold {
    /// Take the lock of a host, or hear who has it.
    pub async fn take(
        host: &HostName,
        transport: &dyn Transport,
        (claim, standing): (&Claim, &Standing),
    ) -> Result<Self, HoldError> {
        let script = Script::as_root("take the host's lock", shell::hold(&claim.run, &claim.text()));
        // What is confirmed is what was said before the host began to count.
        let said = Moment::now();
        let failed = |source| HoldError::Transport { host: host.clone(), source: Box::new(source) };
        let (from, to) = tokio::io::split(transport.pipe(script).await.map_err(failed)?);
        let mut from = BufReader::new(from).lines();
        let line = from.next_line().await.ok().flatten().unwrap_or_default();
        let number = answer(host, &line)?;
        standing.confirm(host, said);
        let (words, heard) = mpsc::channel(4);
        let keeper = Keeper { host: host.clone(), standing: standing.clone(), from, to, asked: VecDeque::new() };
        let keeper = tokio::spawn(keeper.run(heard));
        Ok(Self { fence: Fence { number, run: claim.run.clone() }, words, keeper })
    }

    /// Have the host remember a line of its history. False: it could not.
    pub async fn note(&self, line: &str) -> bool {
        // a host that is gone must not keep the run from its end
        timeout(GOODBYE, self.say(format!("note {line}"))).await.unwrap_or(false)
    }

    /// Give the lock back, and wait until it is free for the next run. Nothing can be changed by it any more.
    pub async fn end(&self) {
        // what is not answered in time ends with the connection
        timeout(GOODBYE, self.say("end".to_owned())).await.ok();
    }

    async fn say(&self, text: String) -> bool {
        let (done, answer) = oneshot::channel();
        // a keeper that has ended drops the word, and with it the answer
        self.words.send(Word { text, done }).await.ok();
        answer.await.unwrap_or(false)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

fn answer(host: &HostName, line: &str) -> Result<u64, HoldError> {
    let host = host.clone();
    if let Some(number) = line.strip_prefix("mine ").and_then(|number| number.parse().ok()) {
        return Ok(number);
    }
    let Some(claim) = line.strip_prefix("taken ") else {
        return Err(HoldError::Answer { host, said: printable(line).into_owned() });
    };
    let Some(claim) = Claim::read(claim) else { return Err(HoldError::TakenByUnknown { host }) };
    let age = Timestamp::now().as_millisecond().saturating_sub(claim.since.as_millisecond());
    // its clock may be ahead of ours
    let age = duration(u64::try_from(age).unwrap_or(0));
    Err(HoldError::Taken { host, claim: Box::new(claim), age })
}

/// Talks to the script on the host until either side ends it.
struct Keeper {
    host: HostName,
    standing: Standing,
    from: Lines<BufReader<ReadHalf<Box<dyn Stream>>>>,
    to: WriteHalf<Box<dyn Stream>>,
    /// What the host has not answered yet, in its order.
    asked: VecDeque<Asked>,
}

struct Asked {
    number: u64,
    said: Moment,
    ends: bool,
    done: Option<oneshot::Sender<bool>>,
}

impl Keeper {
    async fn run(mut self, mut words: mpsc::Receiver<Word>) {
        if let Err(why) = self.talk(&mut words).await {
            self.standing.lose(&self.host, why);
        }
    }

    async fn talk(&mut self, words: &mut mpsc::Receiver<Word>) -> Result<(), String> {
        let mut beats: Interval = tokio::time::interval(BEAT);
        let mut number = 0;
        loop {
            let (text, done) = tokio::select! {
                line = self.from.next_line() => match self.heard(line)? {
                    Heard::More => continue,
                    Heard::End => return Ok(()),
                },
                Some(word) = words.recv() => (word.text, Some(word.done)),
                _ = beats.tick() => ("beat".to_owned(), None),
            };
            number += 1;
            self.asked.push_back(Asked { number, said: Moment::now(), ends: text == "end", done });
            let line = format!("{number} {text}\n");
            self.to.write_all(line.as_bytes()).await.map_err(|error| format!("the connection was lost: {error}"))?;
            self.to.flush().await.map_err(|error| format!("the connection was lost: {error}"))?;
        }
    }

    fn heard(&mut self, line: std::io::Result<Option<String>>) -> Result<Heard, String> {
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => return Err("the host ended it, or the connection was lost".to_owned()),
            Err(error) => return Err(format!("the connection was lost: {error}")),
        };
        let (number, outcome) = line.split_once(' ').unwrap_or_default();
        let Some(asked) = self.asked.pop_front().filter(|asked| number == asked.number.to_string()) else {
            return Err(format!("the host said {:?}", printable(&line)));
        };
        if let Some(done) = asked.done {
            // whoever asked may have stopped waiting
            done.send(outcome == "done").ok();
        }
        if asked.ends {
            self.standing.release(&self.host);
            return Ok(Heard::End);
        }
        self.standing.confirm(&self.host, asked.said);
        Ok(Heard::More)
    }
}

enum Heard {
    More,
    End,
}
