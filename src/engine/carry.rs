//! A bundle's packages on their way to hosts: each gets what it lacks, all at once, over the connections there are. What has
//! arrived is known by its digest, so a run that was cut off goes on where it was, in the middle of a file too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::Either;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::fleet::Fleet;
use super::host::HostError;
use super::shell::bundle as script;
use super::{Cancel, for_each_host};
use crate::approval::Approved;
use crate::bundle::{BundleError, Offer, Offered};
use crate::error::{Exit, Fails};
use crate::names::HostName;
use crate::report::text::mebibytes;
use crate::report::{Kind, Reporter};
use crate::transport::{Script, Stream, TransportError};

/// How many packages may be in memory for a host that is slower than the others.
const AHEAD: usize = 2;

/// What of a bundle is on a host already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    pub whole: BTreeSet<String>,
    /// Digest → bytes.
    pub parts: BTreeMap<String, u64>,
    pub free_kib: u64,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CarryError {
    #[error("{host}: cannot receive packages: {reason}")]
    #[diagnostic(code(xnat::bundle::carry), help("run the same command again: what has arrived is not sent twice"))]
    Failed { host: HostName, reason: String },
    #[error("{host} has {free_kib} KiB free below /var/cache, and the packages to send take {needed_kib} KiB")]
    #[diagnostic(
        code(xnat::bundle::space),
        help("make space: `ssh {host} apt-get clean; df -h /var`; then run it again")
    )]
    Space { host: HostName, free_kib: u64, needed_kib: u64 },
    #[error("interrupted while packages were sent")]
    #[diagnostic(code(xnat::interrupted), help("run the same command again: what has arrived is not sent twice"))]
    Interrupted,
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Host(Box<HostError>),
}

impl From<HostError> for CarryError {
    fn from(error: HostError) -> Self {
        Self::Host(Box::new(error))
    }
}

impl Fails for CarryError {
    fn exit(&self) -> Exit {
        match self {
            Self::Failed { .. } | Self::Space { .. } => Exit::Failed,
            Self::Interrupted => Exit::Interrupted,
            // it was good before anything was changed
            Self::Bundle(_) => Exit::Failed,
            Self::Host(error) => error.exit(),
        }
    }
}

/// What one host is to have.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub host: HostName,
    /// Where the other hosts reach it.
    pub address: String,
    pub packages: Vec<Offered>,
}

/// What a host has got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub packages: usize,
    pub bytes: u64,
    /// So much of it came from another host, and from which.
    pub from: Option<(HostName, u64)>,
}

/// What a host still lacks.
#[derive(Clone, Debug)]
pub(super) struct Lacking {
    pub address: String,
    pub packages: Vec<Offered>,
    /// What is there of some of them.
    pub parts: BTreeMap<String, u64>,
    /// What it has already.
    pub whole: BTreeSet<String>,
}

impl Lacking {
    pub fn bytes(&self) -> u64 {
        self.packages.iter().map(|it| it.bytes - self.parts.get(&it.sha256).copied().unwrap_or(0).min(it.bytes)).sum()
    }

    /// These have arrived.
    pub fn got(&mut self, digests: &BTreeSet<String>) {
        self.packages.retain(|it| !digests.contains(&it.sha256));
        self.whole.extend(digests.iter().cloned());
    }

    /// The same, of these packages only.
    pub fn of(&self, digests: &BTreeSet<String>) -> Self {
        let packages = self.packages.iter().filter(|it| digests.contains(&it.sha256)).cloned().collect();
        Self { packages, ..self.clone() }
    }
}

pub(super) type Sending = BTreeMap<HostName, Lacking>;

/// With what packages are sent.
#[derive(Clone, Copy)]
pub struct Carrier<'a> {
    pub offer: &'a Offer,
    pub approved: &'a Approved,
    pub cancel: &'a Cancel,
    pub reporter: &'a Reporter,
}

/// Tells now and then how far a host is: over a thin line it takes long.
pub(super) struct Progress {
    reporter: Reporter,
    begun: Instant,
    told: Instant,
    all: u64,
    there: u64,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(5);

    pub fn of(carrier: Carrier<'_>, host: &HostName, all: u64) -> Self {
        let now = Instant::now();
        Self { reporter: carrier.reporter.for_host(host), begun: now, told: now, all, there: 0 }
    }

    pub async fn add(&mut self, bytes: u64) {
        self.there += bytes;
        if self.told.elapsed() < Self::EVERY {
            return;
        }
        self.told = Instant::now();
        let reason = format!("{} of {} are there", mebibytes(self.there), mebibytes(self.all));
        let (what, seconds) = ("packages to arrive".to_owned(), self.begun.elapsed().as_secs());
        self.reporter.emit(Kind::Waiting { what, reason, seconds }).await;
    }
}

type File = (Arc<str>, Arc<Vec<u8>>);

impl Fleet {
    /// What dpkg says of everything that is installed, host by host.
    pub async fn installed(&self) -> BTreeMap<HostName, Result<String, HostError>> {
        let hosts: Vec<HostName> = self.connections.keys().cloned().collect();
        let limit = hosts.len();
        for_each_host(hosts, limit, async |host| {
            let script = Script::as_root("read what is installed", "cat /var/lib/dpkg/status\n");
            self.answer(&host, script).await
        })
        .await
    }

    /// Bring hosts what they lack: from here, or, where that is quicker, to one of them, from which the others get it.
    pub async fn carry_packages(
        &self,
        carrier: Carrier<'_>,
        parcels: Vec<Parcel>,
    ) -> Result<BTreeMap<HostName, Carried>, CarryError> {
        let hosts: Vec<HostName> = parcels.iter().map(|parcel| parcel.host.clone()).collect();
        let limit = hosts.len();
        let stored = for_each_host(hosts, limit, async |host| self.stored(&host, carrier.approved).await).await;
        let mut sending = Sending::new();
        for Parcel { host, address, packages } in parcels {
            let there = stored[&host].as_ref().map_err(|error| failed(&host, error))?;
            let lacking: Vec<Offered> = packages.into_iter().filter(|it| !there.whole.contains(&it.sha256)).collect();
            let (parts, whole) = (there.parts.clone(), there.whole.clone());
            let lacking = Lacking { address, packages: lacking, parts, whole };
            let needed_kib = lacking.bytes().div_ceil(1024);
            if needed_kib > there.free_kib {
                return Err(CarryError::Space { host, free_kib: there.free_kib, needed_kib });
            }
            sending.insert(host, lacking);
        }
        let of = |lacking: &Lacking| Carried { packages: lacking.packages.len(), bytes: lacking.bytes(), from: None };
        let mut carried: BTreeMap<HostName, Carried> =
            sending.iter().map(|(host, lacking)| (host.clone(), of(lacking))).collect();
        self.relay(carrier, &mut sending, &mut carried).await?;
        self.send(carrier, &sending).await?;
        Ok(carried)
    }

    /// Let apt on a host install from what was brought, and from nothing else.
    pub async fn prepare_store(&self, host: &HostName, offer: &Offer, approved: &Approved) -> Result<(), CarryError> {
        approved.still_holds().map_err(HostError::from)?;
        let script = Script::as_root("prepare the bundle's packages", script::prepare(&offer.index));
        self.answer(host, script).await.map(drop).map_err(CarryError::from)
    }

    /// What was brought goes again.
    pub async fn clear_store(&self, host: &HostName, approved: &Approved) -> Result<(), HostError> {
        approved.still_holds()?;
        self.answer(host, Script::as_root("remove the bundle's packages", script::CLEAR)).await.map(drop)
    }

    async fn stored(&self, host: &HostName, approved: &Approved) -> Result<Stored, HostError> {
        approved.still_holds()?;
        // every one of them is read
        let script = Script::as_root("see which packages are here", script::STORED).timeout(Duration::from_secs(1800));
        let said = self.answer(host, script).await?;
        read(&said).ok_or_else(|| HostError::Answer {
            host: host.clone(),
            line: said.lines().last().unwrap_or_default().to_owned(),
        })
    }

    async fn answer(&self, host: &HostName, script: Script) -> Result<String, HostError> {
        let what = script.title.clone();
        let ran = self.connections[host].run(script).await;
        let output = ran.map_err(|source| HostError::Transport { host: host.clone(), what, source })?;
        match output.status {
            0 => Ok(output.stdout),
            status => Err(HostError::Observe { host: host.clone(), status, stderr: output.stderr.trim().to_owned() }),
        }
    }

    /// What a host has from an earlier run may have been spoilt by a power cut: that is sent once more, from its beginning.
    pub(super) async fn send(&self, carrier: Carrier<'_>, sending: &Sending) -> Result<(), CarryError> {
        let spoilt = self.send_once(carrier, sending).await?;
        let again: Sending = spoilt
            .into_iter()
            .filter(|(_, digests)| !digests.is_empty())
            .map(|(host, digests)| {
                let lacking = Lacking { parts: BTreeMap::new(), ..sending[&host].of(&digests) };
                (host, lacking)
            })
            .collect();
        let spoilt = self.send_once(carrier, &again).await?;
        match spoilt.into_iter().find(|(_, digests)| !digests.is_empty()) {
            None => Ok(()),
            Some((host, digests)) => {
                let list = digests.into_iter().collect::<Vec<_>>().join(", ");
                Err(failed(&host, &format!("{list} did not arrive as they were sent: is its disk sound?")))
            }
        }
    }

    /// The bundle is read once, whoever lacks a file gets it. What did not arrive as it was sent is the answer.
    async fn send_once(
        &self,
        carrier: Carrier<'_>,
        sending: &Sending,
    ) -> Result<BTreeMap<HostName, BTreeSet<String>>, CarryError> {
        let mut lines = Vec::new();
        let mut work = Vec::new();
        for (host, lacking) in sending.iter().filter(|(_, lacking)| !lacking.packages.is_empty()) {
            let (sender, receiver) = mpsc::channel::<File>(AHEAD);
            lines.push((lacking.packages.iter().map(|it| it.sha256.clone()).collect::<BTreeSet<_>>(), sender));
            work.push(async move { (host.clone(), self.send_to(host, carrier, (receiver, lacking)).await) });
        }
        if work.is_empty() {
            return Ok(BTreeMap::new());
        }
        let wanted: BTreeSet<String> = lines.iter().flat_map(|(wanted, _)| wanted.iter().cloned()).collect();
        let offer = carrier.offer.clone();
        let reading = tokio::task::spawn_blocking(move || {
            offer.take(&wanted, |digest, bytes| {
                let (digest, bytes): File = (digest.into(), Arc::new(bytes));
                for (_, sender) in lines.iter().filter(|(wanted, _)| wanted.contains(&*digest)) {
                    // one that has failed says so itself
                    let _ = sender.blocking_send((digest.clone(), bytes.clone()));
                }
                Ok(())
            })
        });
        let sent = futures::future::join_all(work).await;
        let read = reading.await.expect("it does not panic");
        let spoilt = sent.into_iter().map(|(host, bad)| Ok((host, bad?))).collect::<Result<_, CarryError>>()?;
        read?;
        Ok(spoilt)
    }

    async fn send_to(
        &self,
        host: &HostName,
        carrier: Carrier<'_>,
        (files, lacking): (mpsc::Receiver<File>, &Lacking),
    ) -> Result<BTreeSet<String>, CarryError> {
        let what = || "send packages".to_owned();
        let cut = |source: TransportError| HostError::Transport { host: host.clone(), what: what(), source };
        let script = Script::as_root("receive packages", script::RECEIVE);
        let stream = self.connections[host].pipe(script).await.map_err(cut)?;
        let (answers, sink) = tokio::io::split(stream);
        let said = say(host, carrier, (files, lacking), sink);
        let heard = hear(answers);
        futures::pin_mut!(said, heard);
        // Whoever is interrupted does not wait for the other side, and who has ended need not be told more.
        let heard = match futures::future::select(said, heard).await {
            Either::Left((said, heard)) => {
                said?;
                heard.await
            }
            Either::Right((heard, _)) => heard,
        };
        match heard.map_err(|error| failed(host, &error))? {
            Heard { failed: Some(reason), .. } => Err(failed(host, &reason)),
            Heard { ended: false, .. } => Err(failed(host, &"it ended before everything was there")),
            Heard { bad, .. } => Ok(bad),
        }
    }
}

/// The packages, one after the other. Ends early where nobody listens any more: what was said last tells why.
async fn say(
    host: &HostName,
    carrier: Carrier<'_>,
    (mut files, lacking): (mpsc::Receiver<File>, &Lacking),
    mut sink: WriteHalf<Box<dyn Stream>>,
) -> Result<(), CarryError> {
    let mut progress = Progress::of(carrier, host, lacking.bytes());
    while let Some((digest, bytes)) = files.recv().await {
        if carrier.cancel.is_cancelled() {
            return Err(CarryError::Interrupted);
        }
        carrier.approved.still_holds().map_err(HostError::from)?;
        let there = lacking.parts.get(&*digest).copied().unwrap_or(0);
        let offset = usize::try_from(there).unwrap_or(0).min(bytes.len());
        let head = format!("{digest} {offset} {}\n", bytes.len() - offset);
        let sent = async {
            sink.write_all(head.as_bytes()).await?;
            sink.write_all(&bytes[offset..]).await?;
            sink.flush().await
        };
        let sent = tokio::select! {
            biased;
            () = carrier.cancel.cancelled() => return Err(CarryError::Interrupted),
            sent = sent => sent,
        };
        if sent.is_err() {
            return Ok(());
        }
        progress.add((bytes.len() - offset) as u64).await;
    }
    let ended = async {
        sink.write_all(b"end - -\n").await?;
        sink.shutdown().await
    };
    // without this line it does not end well, which is heard
    let _ = ended.await;
    Ok(())
}

#[derive(Default)]
struct Heard {
    bad: BTreeSet<String>,
    failed: Option<String>,
    ended: bool,
}

async fn hear(answers: ReadHalf<Box<dyn Stream>>) -> std::io::Result<Heard> {
    let (mut lines, mut heard) = (BufReader::new(answers).lines(), Heard::default());
    while let Some(line) = lines.next_line().await? {
        heard.ended = line == "end";
        heard.bad.extend(line.strip_prefix("bad ").map(str::to_owned));
        if let Some(reason) = line.strip_prefix("failed ") {
            heard.failed = Some(format!("it cannot be written there: {reason}"));
        }
    }
    Ok(heard)
}

pub(super) fn failed(host: &HostName, reason: &dyn std::fmt::Display) -> CarryError {
    CarryError::Failed { host: host.clone(), reason: reason.to_string() }
}

fn read(said: &str) -> Option<Stored> {
    let mut stored = Stored::default();
    let mut lines = said.lines();
    loop {
        let mut words = lines.next()?.split(' ');
        match words.next()? {
            "H" => _ = stored.whole.insert(words.next()?.to_owned()),
            "P" => _ = stored.parts.insert(words.next()?.to_owned(), words.next()?.parse().ok()?),
            "S" => stored.free_kib = words.next()?.parse().ok()?,
            "end" => return Some(stored),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_it_has() {
        let stored = read("H aa\nP bb 17\nS 1000\nend\n").expect("read");
        assert_eq!(stored.whole, BTreeSet::from(["aa".to_owned()]));
        assert_eq!((stored.parts["bb"], stored.free_kib), (17, 1000));
        assert_eq!(read("H aa\n"), None);
        assert_eq!(read("sh: df: not found\nend\n"), None);
    }
}
