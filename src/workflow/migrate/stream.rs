//! Every member gets a copy of the source's files, which follows the source while the application and the cluster go on.
//! When nobody can write any more the leader's copy is promoted and made what the cluster expects; then all of them take the
//! place of the cluster's data ([`super::takeover`]). What was written is proven by its position in the WAL before, and row
//! by row while the application goes on with it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::json;

use super::bridge::Bridge;
use super::follow::{self, unfollow};
use super::opened::Opened;
use super::place::{self, Place};
use super::source::{Snapshot, still_frozen};
use super::takeover::Takeover;
use super::{Clock, Compared, MigrateError, Mode, Moved, Moving, server_of, sums};
use crate::cluster::{self, Gather};
use crate::engine::dump::{Workshop, conninfo};
use crate::engine::wait::{Wait, WaitError};
use crate::engine::{HostError, MemberStep, for_each_host};
use crate::error::one_line;
use crate::migrate::fingerprint::Difference;
use crate::migrate::physical::{Physical, is_plain};
use crate::names::HostName;
use crate::report::Kind;
use crate::workflow::Operation;

/// So little is left when the application is stopped.
const NEAR: i64 = 4 << 20;
/// A backlog takes its time; who gets nothing for so long gives up.
const FOLLOWING: Duration = Duration::from_secs(7 * 24 * 3600);
const WITHOUT_PROGRESS: Duration = Duration::from_secs(5 * 60);
/// So long the application waits for a synchronous replica and whatever else there should be.
const WELL: Duration = Duration::from_secs(60);
/// Between two looks at how much is copied.
const LOOK: Duration = Duration::from_secs(2);

const COPIED: &str = "SELECT coalesce(sum(backup_streamed), 0)::bigint FROM pg_stat_progress_basebackup";

/// How far a copy is, in bytes since the beginning.
#[derive(Clone, Debug, Deserialize)]
struct Where {
    replayed: Option<i64>,
    streams: bool,
    /// Its last lines, unless it streams.
    log: String,
}

/// What sorts on a member, and which locales it does not have.
#[derive(Debug, Deserialize)]
struct Sorts {
    libc: String,
    missing: Vec<String>,
}

/// What was found when the indexes of a copy were read.
#[derive(Debug, Deserialize)]
struct Indexes {
    checked: u64,
    problems: Vec<String>,
    /// Databases in which they could not be.
    without: Vec<String>,
}

pub(super) struct Streaming<'a> {
    pub moving: &'a Moving<'a>,
}

impl Streaming<'_> {
    pub async fn run(&self, mut clock: Clock<'_>) -> Result<Moved, MigrateError> {
        clock.beside = true;
        let prepared = clock.stage("Prepare", self.prepare()).await;
        let mut followed = match prepared {
            Ok(()) => self.followed(&mut clock).await,
            Err(error) => Err(error),
        };
        if self.moving.mode == Mode::Run && followed.is_ok() {
            match self.may_take_over().await {
                Ok(()) => return self.take_over(clock).await,
                Err(error) => followed = Err(error),
            }
        }
        clock.beside = true;
        // also when somebody has interrupted it
        let tidied = clock.timed("Remove the copies", self.give_up()).await;
        if let (Err(_), Err(error)) = (&followed, &tidied) {
            self.moving.not_removed(error).await;
        }
        let compared = followed?;
        tidied?;
        Ok(Moved { phases: clock.phases, compared, in_place: false, kept: None, opened: None })
    }

    /// That they take their place is written down, unless somebody has interrupted it while the copies were shut down, or has
    /// opened the source.
    async fn may_take_over(&self) -> Result<(), MigrateError> {
        if self.moving.operation.cancel.is_cancelled() {
            return Err(MigrateError::Interrupted);
        }
        still_frozen(self.moving.foreign).await?;
        (self.moving.about_to_switch)(&Compared::default(), &[])
            .map_err(|reason| MigrateError::failed("write down that the copies take their place", reason))
    }

    pub(super) fn takeover(&self) -> Takeover<'_> {
        Takeover { operation: self.moving.operation, leader: &self.moving.leader.name, version: self.moving.major }
    }

    pub(super) fn workshop<'w>(&'w self, member: &'w HostName) -> Workshop<'w> {
        Workshop { leader: member, ..self.moving.workshop() }
    }

    fn physical(&self) -> Result<&Physical, MigrateError> {
        let found = self.moving.looked.source.physical.as_ref();
        found.ok_or_else(|| MigrateError::failed("follow the source", "it does not say what its files are like"))
    }

    async fn prepare(&self) -> Result<(), MigrateError> {
        let (operation, moving) = (&self.moving.operation, self.moving);
        self.sorts_alike().await?;
        place::clean(&operation.gather, moving.leader, (operation.fleet, operation.approved)).await?;
        unfollow(moving.foreign, moving.looked.system, operation.approved).await?;
        self.takeover().install(moving.programs).await?;
        self.at_members(async |host| Ok(self.workshop(&host).begin().await?)).await
    }

    /// What the source's databases are sorted by is on every member, and of the same version.
    async fn sorts_alike(&self) -> Result<(), MigrateError> {
        let physical = self.physical()?;
        let locales: Vec<&str> = physical.locales.iter().map(String::as_str).filter(|name| !is_plain(name)).collect();
        if locales.is_empty() {
            return Ok(());
        }
        let takeover = self.takeover();
        takeover.install(self.moving.programs).await?;
        let what = "see what sorts there";
        let input = [json!({ "locales": locales }).to_string()];
        let step = MemberStep { input: &input, ..takeover.step(what, "sorts") };
        for (host, said) in takeover.at_each(takeover.members(), step).await? {
            let failed = |reason: String| MigrateError::failed(what, format!("{host}: {reason}"));
            let sorts = Sorts::deserialize(said).map_err(|error| failed(error.to_string()))?;
            if !sorts.missing.is_empty() {
                let missing = sorts.missing.join(", ");
                return Err(failed(format!(
                    "it does not have the source's locales {missing}: `dpkg-reconfigure locales` there"
                )));
            }
            if physical.libc.as_deref() != Some(sorts.libc.as_str()) {
                let source = physical.libc.as_deref().unwrap_or("another one");
                return Err(failed(format!("its libc is {}, and the source sorts by {source}", sorts.libc)));
            }
        }
        Ok(())
    }

    pub(super) async fn at_members<F>(&self, work: impl Fn(HostName) -> F) -> Result<(), MigrateError>
    where
        F: Future<Output = Result<(), MigrateError>>,
    {
        let members = self.takeover().members();
        let parallel = members.len();
        for_each_host(members, parallel, work).await.into_values().collect()
    }

    /// Neither on the members nor on the source is anything left of it.
    async fn give_up(&self) -> Result<(), MigrateError> {
        let (operation, moving) = (&self.moving.operation, self.moving);
        let cleaned = place::clean(&operation.gather, moving.leader, (operation.fleet, operation.approved)).await;
        unfollow(moving.foreign, moving.looked.system, operation.approved).await?;
        cleaned.map(drop)
    }

    /// Until the copies have all there will ever be.
    async fn followed(&self, clock: &mut Clock<'_>) -> Result<Compared, MigrateError> {
        let (operation, members) = (&self.moving.operation, self.takeover().members());
        let connections: Vec<_> = members.iter().map(|host| operation.fleet.connections[host].as_ref()).collect();
        let bridge = Bridge::open(self.moving.foreign, &connections).await?;
        let work = async {
            clock.stage("Copy the source", self.copy()).await?;
            clock.stage("Follow the source", self.until_near()).await?;
            if self.moving.mode == Mode::Rehearse {
                return Ok(());
            }
            self.moving.quiet(clock).await?;
            clock.stage("Take the last of it", self.finish()).await
        };
        let done = tokio::select! {
            biased;
            () = operation.cancel.cancelled() => Err(MigrateError::Interrupted),
            done = bridge.while_open(work) => done,
        };
        bridge.close().await;
        done?;
        clock.beside = false;
        clock.stage("Promote the leader's copy", self.promote()).await?;
        // nobody follows any more, and nothing is kept for nothing
        unfollow(self.moving.foreign, self.moving.looked.system, operation.approved).await?;
        let compared = match self.moving.mode {
            Mode::Rehearse => {
                clock.beside = true;
                let checked = tokio::select! {
                    biased;
                    () = operation.cancel.cancelled() => Err(MigrateError::Interrupted),
                    checked = clock.stage("Read its indexes", self.checked()) => checked,
                };
                let checked = checked?;
                clock.beside = false;
                checked
            }
            _ => Compared::default(),
        };
        clock.stage("Shut it down", self.settle()).await?;
        Ok(compared)
    }

    /// All members at once, and from time to time how far they are.
    async fn copy(&self) -> Result<(), MigrateError> {
        let bytes = self.physical()?.bytes;
        let server = server_of(self.moving.foreign);
        let conninfo = conninfo(&server, &self.moving.looked.database);
        let takeover = self.takeover();
        let slots: BTreeMap<HostName, String> = takeover
            .members()
            .into_iter()
            .zip(1..)
            .map(|(host, number)| (host, format!("{}_{number}", follow::name(self.moving.looked.system))))
            .collect();
        self.reserve(slots.values()).await?;
        // when one fails the others are not waited for: they may take hours
        let copies = try_join_all(slots.iter().map(async |(host, slot)| {
            self.workshop(host).let_in(&server).await?;
            let input = [json!({ "conninfo": conninfo, "slot": slot, "bytes": bytes }).to_string()];
            let step = takeover.step("copy the source's files", "copy");
            takeover.at(host, MemberStep { input: &input, ..step }).await
        }));
        let total = bytes.saturating_mul(slots.len() as u64);
        tokio::select! {
            biased;
            done = copies => done.map(drop),
            never = self.tell(total) => match never {},
        }
    }

    /// From here on the source keeps what comes. Before the copies begin: one that has begun may need what a checkpoint for
    /// another one would have the source throw away.
    async fn reserve(&self, slots: impl Iterator<Item = &String>) -> Result<(), MigrateError> {
        self.moving.operation.approved.still_holds().map_err(HostError::from)?;
        let session = self.moving.foreign.connect(&self.moving.looked.database).await?;
        for slot in slots {
            let made = session.query_one("SELECT pg_create_physical_replication_slot($1, true)::text", &[slot]).await;
            made.map_err(|error| MigrateError::failed("make a replication slot on the source", one_line(&error)))?;
        }
        Ok(())
    }

    async fn tell(&self, total: u64) -> Infallible {
        // who cannot see how far it is waits all the same: its own end says whether it went well
        let Ok(session) = self.moving.foreign.connect(&self.moving.looked.database).await else {
            return std::future::pending().await;
        };
        let (mut seconds, mut most) = (0, 0);
        loop {
            tokio::time::sleep(LOOK).await;
            seconds += LOOK.as_secs();
            let copied = session.query_one(COPIED, &[]).await.and_then(|row| row.try_get::<_, i64>(0));
            let Ok(copied) = copied else { return std::future::pending().await };
            // one that is complete is not told of any more
            most = most.max(copied);
            let reason = format!("{} of about {} MiB are there", most >> 20, total >> 20);
            let kind = Kind::Waiting { what: "the copies".to_owned(), reason, seconds };
            self.moving.operation.reporter.emit(kind).await;
        }
    }

    /// Until every copy has nearly all that the source has at that time.
    async fn until_near(&self) -> Result<(), MigrateError> {
        let begun = self.position().await?;
        let members = self.takeover().members();
        self.until("the copies to have what was written meanwhile", &members, async || Ok(begun)).await?;
        let near = async || Ok(self.position().await? - NEAR);
        self.until("the copies to have caught up", &members, near).await
    }

    /// Nobody writes any more. The replicas' copies end first, so that the leader's has all that they have.
    async fn finish(&self) -> Result<(), MigrateError> {
        let takeover = self.takeover();
        let all = self.position().await?;
        self.until("the copies to have everything", &takeover.members(), async || Ok(all)).await?;
        takeover.at_all(takeover.replicas(), takeover.step("end the replica's following", "stop")).await?;
        let more = self.position().await?;
        let leader = [takeover.leader.clone()];
        self.until("the leader's copy to have everything", &leader, async || Ok(more)).await
    }

    async fn position(&self) -> Result<i64, MigrateError> {
        Ok(follow::position(self.moving.foreign, self.moving.operation.approved).await?.1)
    }

    /// Until each of them has replayed as far as that. Whoever gets nothing any more does not wait for ever.
    async fn until(
        &self,
        what: &str,
        members: &[HostName],
        position: impl AsyncFn() -> Result<i64, MigrateError>,
    ) -> Result<(), MigrateError> {
        let superuser = [json!({ "superuser": self.physical()?.superuser }).to_string()];
        let wait = Wait {
            what: what.to_owned(),
            deadline: FOLLOWING,
            interval: Duration::from_millis(500),
            help: "see the log of the source".to_owned(),
        };
        let best = Mutex::new((0, Instant::now()));
        let look = || async {
            let seen = async {
                let wanted = position().await?;
                Ok::<_, MigrateError>((
                    wanted,
                    try_join_all(members.iter().map(|host| self.of(host, &superuser))).await?,
                ))
            };
            let (wanted, seen) = match seen.await {
                Ok(seen) => seen,
                Err(error) => return Ok(Err(error)),
            };
            let slowest = seen.iter().map(|it| it.replayed.unwrap_or_default()).min().unwrap_or_default();
            if slowest >= wanted {
                return Ok(Ok(()));
            }
            let mut best = best.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if slowest > best.0 {
                *best = (slowest, Instant::now());
            }
            let left = format!("{} KiB are left", (wanted - slowest) >> 10);
            match best.1.elapsed() > WITHOUT_PROGRESS {
                true => {
                    let logs: Vec<&str> = seen.iter().map(|it| it.log.trim()).filter(|log| !log.is_empty()).collect();
                    let reason = format!("{left}, and nothing comes\n{}", logs.join("\n"));
                    Ok(Err(MigrateError::failed("follow the source", reason)))
                }
                false if seen.iter().all(|it| it.streams) => Err(left),
                false => Err(format!("{left}, and not every copy is connected")),
            }
        };
        let told = (self.moving.operation.reporter, self.moving.operation.cancel);
        wait.until(told.0, told.1, look).await.map_err(|error| match error {
            WaitError::Cancelled { .. } => MigrateError::Interrupted,
            error => error.into(),
        })?
    }

    async fn of(&self, host: &HostName, superuser: &[String]) -> Result<Where, MigrateError> {
        let takeover = self.takeover();
        let what = "ask the copy how far it is";
        let step = MemberStep { input: superuser, ..takeover.step(what, "where") };
        let Operation { fleet, approved, .. } = self.moving.operation;
        let said = fleet.step(host, approved, step).await?;
        let unread = |error: serde_json::Error| MigrateError::failed(what, error.to_string());
        Where::deserialize(said).map_err(unread)
    }

    /// It rests until it takes its place.
    async fn settle(&self) -> Result<(), MigrateError> {
        let takeover = self.takeover();
        takeover.at(takeover.leader, takeover.step("shut the copy down", "settle")).await.map(drop)
    }

    /// It follows nobody any more, and has the roles the cluster works with.
    async fn promote(&self) -> Result<(), MigrateError> {
        let takeover = self.takeover();
        let mut input = vec![json!({ "superuser": self.physical()?.superuser }).to_string()];
        input.extend(self.changes().await?);
        let step = MemberStep { input: &input, ..takeover.step("promote the copy", "promote") };
        takeover.at(takeover.leader, step).await.map(drop)
    }

    /// A rehearsal's copy is read as far as it can be while the source is written to.
    async fn checked(&self) -> Result<Compared, MigrateError> {
        let takeover = self.takeover();
        let what = "read the copy's indexes";
        let input = [json!({ "superuser": self.physical()?.superuser }).to_string()];
        let said = takeover.at(takeover.leader, MemberStep { input: &input, ..takeover.step(what, "indexes") }).await?;
        let read = Indexes::deserialize(said);
        let indexes = read.map_err(|error| MigrateError::failed(what, error.to_string()))?;
        let differs = |problem: String| {
            let (what, source) = ("an index of the copy".to_owned(), "in order".to_owned());
            Difference { what, source, target: problem }
        };
        let mut left_out = vec![
            "rows: the source is written to, so it is at no moment the same as a copy that is read. A run compares them".to_owned(),
        ];
        left_out.extend(indexes.without.into_iter().map(|why| format!("indexes of a {why}")));
        let differences = indexes.problems.into_iter().map(differs).collect();
        Ok(Compared { indexes: indexes.checked, differences, left_out, ..Compared::default() })
    }

    /// The copies are whole, and nobody writes. They take the place of the cluster's data, or the source goes on.
    async fn take_over(&self, mut clock: Clock<'_>) -> Result<Moved, MigrateError> {
        let moving = self.moving;
        let takeover = self.takeover();
        let missed = moving.is_missed().await;
        match clock.timed("Put the copies in their place", takeover.forward()).await {
            Ok(()) => {}
            Err(error @ MigrateError::Beyond { .. }) => return Err(error),
            Err(why) => return Err(self.back_because_of(why).await),
        }
        let opened = Some(Opened { missed, ..self.settled_in(&mut clock).await? });
        Ok(Moved { phases: clock.phases, compared: Compared::default(), in_place: true, kept: None, opened })
    }

    /// The copies are in their place. The cluster is made what the inventory says, and everything is everywhere.
    pub(super) async fn settled_in(&self, clock: &mut Clock<'_>) -> Result<Opened, MigrateError> {
        let moving = self.moving;
        let place = Place { moving };
        let after = async {
            clock.timed("Make it what the inventory says", moving.adapt()).await?;
            self.copy_the_rest().await?;
            clock.timed("Wait for the replicas", self.have_it_all(&place)).await?;
            let name = &moving.gather().inventory.database.name;
            let snapshot = Snapshot::take(place.end(), name).await?;
            let sequences = sums::sequences(snapshot.session()).await;
            let sequences = sequences.map_err(|error| MigrateError::failed("read the sequences", one_line(&error)))?;
            // a run that was cut off may not have come to that
            unfollow(moving.foreign, moving.looked.system, moving.operation.approved).await?;
            Ok(Opened { snapshot, sequences, missed: true })
        };
        after.await.map_err(|error: MigrateError| MigrateError::Beyond { reason: one_line(&error) })
    }

    /// The replicas that there are have all of it, and the cluster is well; but nobody is kept waiting for long because of
    /// something else that is not.
    async fn have_it_all(&self, place: &Place<'_>) -> Result<(), MigrateError> {
        let position = place.position().await?;
        let wait = Wait {
            what: "every replica to have all of it".to_owned(),
            deadline: FOLLOWING,
            interval: Duration::from_millis(500),
            help: "see `xnat-provision status`".to_owned(),
        };
        let behind = || async {
            let behind = place.behind(position).await?;
            if behind.is_empty() { Ok(()) } else { Err(behind.join("; ")) }
        };
        let Operation { gather, reporter, cancel, .. } = &self.moving.operation;
        wait.until(reporter, cancel, behind).await?;
        let well = async |gather: &Gather<'_>| {
            let health = cluster::assess(&cluster::gather(gather).await, gather.inventory);
            if health.healthy { Ok(()) } else { Err(health.verdict) }
        };
        self.moving.operation.wait_patiently("the cluster to be well".to_owned(), WELL, well).await?;
        if let Err(verdict) = well(gather).await {
            let help = Some("see `xnat-provision status`".to_owned());
            reporter.emit(Kind::Warned { message: format!("the cluster: {verdict}"), help }).await;
        }
        Ok(())
    }

    /// The former data again, and why.
    async fn back_because_of(&self, why: MigrateError) -> MigrateError {
        let message = format!("taking the cluster's former data up again: {}", one_line(&why));
        self.moving.operation.reporter.emit(Kind::Warned { message, help: None }).await;
        if let Err(back) = self.takeover().back().await {
            return MigrateError::Halfway { why: one_line(&why), back: one_line(&back) };
        }
        if let Err(error) = self.give_up().await {
            self.moving.not_removed(&error).await;
        }
        why.taken_back()
    }
}
