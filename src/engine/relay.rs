//! From host to host: where the way from here is the narrow one, one host gets a bundle's packages and the others fetch them
//! from it. Whether that is quicker is measured with packages that have to be sent anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::carry::{Carried, Carrier, CarryError, Lacking, Progress, Sending, failed};
use super::fleet::Fleet;
use super::for_each_host;
use super::host::HostError;
use super::shell::bundle as script;
use crate::names::HostName;
use crate::transport::{Script, Stream};

/// What is done sooner than that is not worth a thought.
const SHORT: Duration = Duration::from_secs(10);
/// Enough to measure with.
const SAMPLE: u64 = 1 << 20;

/// A host that gives what it has to the others, as long as this lives.
struct Seed {
    _stream: Box<dyn Stream>,
    address: String,
    port: u16,
    token: String,
}

impl Fleet {
    /// What hosts have got this way is taken off `sending`; what they have not is left for the direct way.
    pub(super) async fn relay(
        &self,
        carrier: Carrier<'_>,
        sending: &mut Sending,
        carried: &mut BTreeMap<HostName, Carried>,
    ) -> Result<(), CarryError> {
        let Some(group) = Group::of(sending) else { return Ok(()) };
        let begun = Instant::now();
        self.send(carrier, &group.part(sending, &group.first, None)).await?;
        let direct = Rate::of(group.first.1 * group.hosts.len() as u64, begun);
        group.take(sending, &group.first);
        let all: u64 = group.hosts.iter().map(|host| sending[host].bytes()).sum();
        if direct.time(all) < SHORT {
            return Ok(());
        }
        self.send(carrier, &group.part(sending, &group.second, Some(&group.seed))).await?;
        let second = BTreeSet::from([group.second.0.clone()]);
        got(sending, &group.seed, &second);
        let seeding = tokio::time::timeout(SHORT, self.seed(&group.seed, &sending[&group.seed].address));
        let Ok(Ok(seed)) = seeding.await else { return Ok(()) };
        let begun = Instant::now();
        let others = group.part(sending, &group.second, None);
        let pulled = self.pull_all((&group, carrier), &seed, sending, &others).await?;
        pulled.iter().for_each(|(host, digests)| got(sending, host, digests));
        if pulled.values().any(BTreeSet::is_empty) {
            // they do not reach each other: nothing is lost but a moment
            return Ok(());
        }
        let between = Rate::of(group.second.1 * pulled.len() as u64, begun);
        let of_seed = sending[&group.seed].bytes();
        if direct.time(of_seed) + between.time(all - of_seed) > direct.time(all) {
            return Ok(());
        }
        let to_seed = Sending::from([(group.seed.clone(), sending[&group.seed].clone())]);
        self.send(carrier, &to_seed).await?;
        let sent: BTreeSet<String> = sending[&group.seed].packages.iter().map(|it| it.sha256.clone()).collect();
        got(sending, &group.seed, &sent);
        let there = sending[&group.seed].whole.clone();
        let others: Sending = group.others().map(|host| (host.clone(), sending[host].of(&there))).collect();
        let pulled = self.pull_all((&group, carrier), &seed, sending, &others).await?;
        for (host, digests) in pulled {
            let before = sending[&host].bytes();
            got(sending, &host, &digests);
            if let Some(carried) = carried.get_mut(&host) {
                carried.from = Some((group.seed.clone(), before - sending[&host].bytes()));
            }
        }
        Ok(())
    }

    async fn seed(&self, host: &HostName, address: &str) -> Result<Seed, CarryError> {
        let stream = self.piped(host, script::relay("seed", address)).await?;
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        while !line.starts_with("at ") {
            line.clear();
            if lines.read_line(&mut line).await.map_err(|error| failed(host, &error))? == 0 {
                return Err(failed(host, &"it cannot serve packages"));
            }
        }
        let mut words = line.split_whitespace().skip(1);
        let (port, token) = (words.next().and_then(|port| port.parse().ok()), words.next());
        let (Some(port), Some(token)) = (port, token) else {
            return Err(failed(host, &"it says not where it serves packages"));
        };
        Ok(Seed { address: address.to_owned(), port, token: token.to_owned(), _stream: Box::new(lines.into_inner()) })
    }

    /// What each of the others has got from the seed. What was there of these packages is used up then, whatever came of it.
    async fn pull_all(
        &self,
        (group, carrier): (&Group, Carrier<'_>),
        seed: &Seed,
        sending: &mut Sending,
        wanted: &Sending,
    ) -> Result<BTreeMap<HostName, BTreeSet<String>>, CarryError> {
        let hosts: Vec<HostName> = group.others().cloned().collect();
        for (host, asked) in wanted {
            if let Some(lacking) = sending.get_mut(host).filter(|_| *host != group.seed) {
                lacking.parts.retain(|digest, _| asked.packages.iter().all(|it| it.sha256 != *digest));
            }
        }
        let limit = hosts.len();
        let pulling = for_each_host(hosts, limit, async |host| {
            let Some(lacking) = wanted.get(&host) else { return BTreeSet::new() };
            // whatever does not come this way comes the other one
            self.pull((&host, carrier), seed, lacking).await.unwrap_or_default()
        });
        tokio::select! {
            biased;
            () = carrier.cancel.cancelled() => Err(CarryError::Interrupted),
            pulled = pulling => Ok(pulled),
        }
    }

    async fn pull(
        &self,
        (host, carrier): (&HostName, Carrier<'_>),
        seed: &Seed,
        lacking: &Lacking,
    ) -> Result<BTreeSet<String>, CarryError> {
        let stream = self.piped(host, script::relay("pull", "")).await?;
        let (answers, mut sink) = tokio::io::split(stream);
        let mut asked = format!("{} {} {}\n", seed.address, seed.port, seed.token);
        lacking.packages.iter().for_each(|it| asked.push_str(&format!("{} {}\n", it.sha256, it.bytes)));
        asked.push_str("end\n");
        let said = async move {
            sink.write_all(asked.as_bytes()).await?;
            sink.shutdown().await
        };
        let heard = async {
            let (mut lines, mut good) = (BufReader::new(answers).lines(), BTreeSet::new());
            let mut progress = Progress::of(carrier, host, lacking.bytes());
            while let Some(line) = lines.next_line().await? {
                let Some(digest) = line.strip_prefix("good ") else { continue };
                let bytes = lacking.packages.iter().find(|it| it.sha256 == digest).map_or(0, |it| it.bytes);
                progress.add(bytes).await;
                good.insert(digest.to_owned());
            }
            std::io::Result::Ok(good)
        };
        let ((), good) = futures::try_join!(said, heard).map_err(|error| failed(host, &error))?;
        Ok(good)
    }

    async fn piped(&self, host: &HostName, text: String) -> Result<Box<dyn Stream>, CarryError> {
        let cut = |source| HostError::Transport { host: host.clone(), what: "relay packages".to_owned(), source };
        Ok(self.connections[host].pipe(Script::as_root("relay packages", text)).await.map_err(cut)?)
    }
}

/// These have arrived at a host.
fn got(sending: &mut Sending, host: &HostName, digests: &BTreeSet<String>) {
    if let Some(lacking) = sending.get_mut(host) {
        lacking.got(digests);
    }
}

/// Bytes in a time.
struct Rate {
    bytes: u64,
    time: Duration,
}

impl Rate {
    fn of(bytes: u64, begun: Instant) -> Self {
        Self { bytes: bytes.max(1), time: begun.elapsed() }
    }

    fn time(&self, bytes: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        self.time.mul_f64(bytes as f64 / self.bytes as f64)
    }
}

/// Hosts that lack much of the same, and two packages to measure with.
struct Group {
    hosts: Vec<HostName>,
    seed: HostName,
    first: (String, u64),
    second: (String, u64),
}

impl Group {
    fn of(sending: &Sending) -> Option<Self> {
        let much = sending.iter().filter(|(_, lacking)| lacking.bytes() > 8 * SAMPLE);
        let hosts: Vec<HostName> = much.map(|(host, _)| host.clone()).collect();
        let seed = hosts.iter().min_by_key(|host| sending[*host].bytes())?.clone();
        let lacked_by_all =
            |digest: &str| hosts.iter().all(|host| sending[host].packages.iter().any(|it| it.sha256 == digest));
        let mut samples: Vec<(u64, &str)> = sending[&seed]
            .packages
            .iter()
            .filter(|it| it.bytes >= SAMPLE && lacked_by_all(&it.sha256))
            .map(|it| (it.bytes, it.sha256.as_str()))
            .collect();
        samples.sort_unstable();
        let mut samples = samples.into_iter().map(|(bytes, digest)| (digest.to_owned(), bytes));
        let (first, second) = (samples.next()?, samples.next()?);
        (hosts.len() > 1).then_some(Self { hosts, seed, first, second })
    }

    fn others(&self) -> impl Iterator<Item = &HostName> {
        self.hosts.iter().filter(|host| **host != self.seed)
    }

    /// One package for all of them, or for one.
    fn part(&self, sending: &Sending, package: &(String, u64), only: Option<&HostName>) -> Sending {
        let wanted = BTreeSet::from([package.0.clone()]);
        let hosts = self.hosts.iter().filter(|host| only.is_none_or(|only| only == *host));
        hosts.map(|host| (host.clone(), sending[host].of(&wanted))).collect()
    }

    /// All of them have it.
    fn take(&self, sending: &mut Sending, package: &(String, u64)) {
        let digests = BTreeSet::from([package.0.clone()]);
        self.hosts.iter().for_each(|host| got(sending, host, &digests));
    }
}
