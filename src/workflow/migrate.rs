//! `migrate`: a foreign database is dumped by the leader's own programs, restored beside the cluster's, and compared row by
//! row with where it came from. A rehearsal then drops it; a run puts it in the place of the application's database. Both go
//! the same way, so that a rehearsal says what a run will do, and nothing is to be undone but the source's being read-only.
//! `stream` makes copies that follow the source on all members, and `takeover` puts them in the place of the cluster's data. `single` leads out of the cluster again.

mod between;
mod bridge;
mod carry;
mod comparing;
mod end;
mod error;
mod follow;
mod look;
mod opened;
mod place;
mod promoted;
mod single;
mod source;
mod stream;
mod sums;
mod takeover;
mod xnat;

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::cluster::postgres::administrator;
use crate::cluster::postgres::foreign::Foreign;
use crate::cluster::postgres::objects::{desired, diff};
use crate::cluster::{self, Gather};
use crate::engine::dump::{At, SOCKETS, Server, Workshop};
use crate::engine::wait::Wait;
use crate::error::one_line;
use crate::inventory::{Host, Reach};
use crate::migrate::fingerprint::{Difference, Fingerprint};
use crate::migrate::record::{CLOSED, Method, Phase};
use crate::migrate::roles::{self, Stage};
use crate::report::{Kind, millis_since};
use crate::vault::Secrets;

use super::operation::{Operation, Wanted};
use bridge::Bridge;
use end::{End, both};
use follow::Following;
use place::Place;
use stream::Streaming;

pub use carry::{Carried, is_rows};
pub use end::{INCOMING, Left};
pub use error::MigrateError;
pub use follow::{followed, leave_alone, unfollow};
pub use look::{Looked, cluster_system, look};
pub use opened::Opened;
pub use place::{clean_up_after, left, moved_in, unmark};
pub use single::{Leaving, Single, single};
pub use source::{frozen, thaw, undo};
pub use sums::{of_the_source, of_the_target};
pub use takeover::{Standing, Takeover};
pub use xnat::{Address, Application, Back};

/// How long replicas may take to have all of it.
const CATCHING_UP: Duration = Duration::from_secs(6 * 3600);

/// What is to become of the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is compared while the source goes on, and dropped.
    Rehearse,
    /// It takes the place of the application's database; the source is read-only by then.
    Run,
    /// There is none: the application's database itself is compared, after a run.
    Verify,
}

/// Everything that was found equal, or not.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    pub source: Fingerprint,
    pub target: Fingerprint,
    pub objects: u64,
    pub roles: usize,
    /// Of a copy of files, that were read.
    pub indexes: u64,
    pub differences: Vec<Difference>,
    /// What could not be compared, and why.
    pub left_out: Vec<String>,
}

/// What was done.
#[derive(Debug)]
pub struct Moved {
    pub phases: Vec<Phase>,
    pub compared: Compared,
    /// It is the application's database now.
    pub in_place: bool,
    /// Where what was there before is now; none when it was empty.
    pub kept: Option<String>,
    /// By stream, what is compared while the application goes on with it.
    pub opened: Option<Opened>,
}

/// Writes down that the source is read-only from now on.
pub type AboutToFreeze<'a> = dyn Fn() -> Result<(), String> + Sync + 'a;

/// Writes down what the copy is that takes its place, and what was done until then.
pub type AboutToSwitch<'a> = dyn Fn(&Compared, &[Phase]) -> Result<(), String> + Sync + 'a;

/// What came after the copy had taken its place.
#[derive(Debug, Default)]
pub struct Settled {
    /// Where what was there before is now; none when it was empty.
    pub kept: Option<String>,
    /// Of roles and settings, as they are for good.
    pub differences: Vec<Difference>,
    pub phases: Vec<Phase>,
}

/// One migration, or the rehearsal of one.
pub struct Moving<'a> {
    pub operation: Operation<'a>,
    pub foreign: &'a Foreign<'a>,
    pub leader: &'a Host,
    pub secrets: &'a Secrets,
    pub looked: &'a Looked,
    /// The leader's major version.
    pub major: u32,
    pub jobs: usize,
    pub mode: Mode,
    pub method: Method,
    /// What a run stops, and when it has to be written down that the source is read-only.
    pub application: Application<'a>,
    pub about_to_freeze: &'a AboutToFreeze<'a>,
    /// From where, when and by whom: what the database in its place is marked with.
    pub mark: String,
    /// How rows are summed up, when they are held against what was summed up before.
    pub hashed: Option<bool>,
    /// What members need for copies that follow; nothing by another method.
    pub programs: &'a Wanted,
    /// Write down that the copy, which is this, takes its place: before it does.
    pub about_to_switch: &'a AboutToSwitch<'a>,
}

/// What takes how long, told as it goes on.
struct Clock<'a> {
    operation: &'a Operation<'a>,
    phases: Vec<Phase>,
    /// The application can write, or could if this were a run.
    beside: bool,
}

impl<'a> Clock<'a> {
    fn new(operation: &'a Operation<'a>) -> Self {
        Self { operation, phases: Vec::new(), beside: false }
    }

    /// Unless somebody has interrupted it.
    async fn stage<T, E: Into<MigrateError>>(
        &mut self,
        title: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, MigrateError> {
        if self.operation.cancel.is_cancelled() {
            return Err(MigrateError::Interrupted);
        }
        self.timed(title, work).await
    }

    async fn timed<T, E: Into<MigrateError>>(
        &mut self,
        title: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, MigrateError> {
        let begun = Instant::now();
        let reporter = &self.operation.reporter;
        reporter.emit(Kind::StepStarted { title: title.to_owned() }).await;
        let done = work.await.map_err(Into::into)?;
        let millis = millis_since(begun);
        reporter.emit(Kind::StepFinished { title: title.to_owned(), millis }).await;
        self.phases.push(Phase { name: title.to_owned(), millis, beside: self.beside });
        Ok(done)
    }
}

impl Moving<'_> {
    /// The stages.
    pub async fn run(&self) -> Result<Moved, MigrateError> {
        let mut clock = Clock::new(&self.operation);
        if self.method == Method::Stream && self.mode != Mode::Verify {
            return Streaming { moving: self }.run(clock).await;
        }
        let place = Place { moving: self };
        let workshop = self.workshop();
        match (self.mode, self.method) {
            (Mode::Run, Method::Dump) => self.quiet(&mut clock).await?,
            (_, method) => clock.beside = method == Method::Logical,
        }
        let prepared = async {
            place.clean().await?;
            workshop.begin().await?;
            if self.mode == Mode::Verify {
                return Ok(());
            }
            unfollow(self.foreign, self.looked.system, self.operation.approved).await?;
            place.create().await
        };
        clock.stage("Prepare", prepared).await?;
        let result = self.copy(&mut clock, &place, &workshop).await;
        // a copy that was not to stay, or is no good, goes; the directory goes in any case
        let stays = self.mode == Mode::Verify && result.is_ok()
            || self.mode == Mode::Run && result.as_ref().is_ok_and(|compared| compared.differences.is_empty());
        let tidied = if stays { workshop.clean().await.map_err(MigrateError::from) } else { Ok(()) };
        let removed = match stays && (tidied.is_ok() || self.mode == Mode::Verify) {
            true => Ok(()),
            // also when somebody has interrupted it
            false => clock.timed("Remove the copy", self.give_up(&place)).await,
        };
        if let (true, Err(error)) = (result.is_err() || tidied.is_err(), &removed) {
            self.not_removed(error).await;
        }
        let mut compared = result?;
        tidied?;
        removed?;
        let in_place = self.mode == Mode::Run && compared.differences.is_empty();
        if self.mode == Mode::Rehearse {
            // that they keep up is part of what is rehearsed, and no trouble for the next thing that is done
            clock.stage("Wait for the replicas", self.replicas(&place)).await?;
        }
        if !in_place {
            return Ok(Moved { phases: clock.phases, compared, in_place, kept: None, opened: None });
        }
        let finished = self.finish(&mut clock, &place, &mut compared).await;
        if finished.as_ref().is_err_and(|error| !matches!(error, MigrateError::InPlace { .. }))
            && let Err(error) = clock.timed("Remove the copy", self.give_up(&place)).await
        {
            self.not_removed(&error).await;
        }
        let kept = finished?;
        Ok(Moved { phases: clock.phases, compared, in_place, kept, opened: None })
    }

    async fn copy(
        &self,
        clock: &mut Clock<'_>,
        place: &Place<'_>,
        workshop: &Workshop<'_>,
    ) -> Result<Compared, MigrateError> {
        let bridge =
            Bridge::open(self.foreign, &[self.operation.fleet.connections[&self.leader.name].as_ref()]).await?;
        let work = async {
            if self.mode == Mode::Verify {
                return clock.stage("Compare", self.compare(place, workshop, (None, None))).await;
            }
            let following = Following { moving: self };
            clock.stage("Make the roles", place.roles()).await?;
            let snapshot = match self.method {
                Method::Dump => source::Snapshot::take(End::Foreign(self.foreign), &self.looked.database).await?,
                _ => clock.stage("Publish the source", following.begin(workshop)).await?,
            };
            let server = server_of(self.foreign);
            let made = async {
                let dump = workshop.dump((At::There(&server), &self.looked.database), &snapshot.name);
                clock.stage("Dump the source", dump).await?;
                // only what is compared in it has to be kept there as it was
                let snapshot = Some(snapshot).filter(|_| self.mode == Mode::Rehearse);
                self.make(clock, place, workshop).await?;
                Ok(snapshot)
            };
            let snapshot = match self.method {
                Method::Dump => made.await,
                _ => following.while_it_is_kept(made).await,
            }?;
            let seen_as = snapshot.as_ref().map(|snapshot| snapshot.name.as_str());
            if self.method == Method::Dump {
                return clock.stage("Compare", self.compare(place, workshop, (seen_as, None))).await;
            }
            let rehearsed = match self.mode {
                Mode::Rehearse => {
                    clock.beside = false;
                    let compared = clock.stage("Compare", self.compare(place, workshop, (seen_as, None)));
                    let compared = following.while_it_is_kept(compared).await?;
                    clock.beside = true;
                    Some(compared)
                }
                _ => None,
            };
            drop(snapshot);
            clock.stage("Follow the source", following.follow(place)).await?;
            if let Some(mut compared) = rehearsed {
                compared.left_out.push(
                    "what came after the copy: it was followed, and a run compares it when nobody writes".to_owned(),
                );
                return Ok(compared);
            }
            let unchanged = following.nothing_else_has_changed(place, workshop);
            clock.stage("Compare schemas and roles", unchanged).await?;
            self.quiet(clock).await?;
            clock.stage("Take the last of it", following.finish()).await?;
            clock.stage("Compare", self.compare(place, workshop, (None, None))).await
        };
        let done = tokio::select! {
            biased;
            () = self.operation.cancel.cancelled() => Err(MigrateError::Interrupted),
            done = bridge.while_open(work) => done,
        };
        bridge.close().await;
        done
    }

    /// Nobody writes to the source from here on.
    async fn quiet(&self, clock: &mut Clock<'_>) -> Result<(), MigrateError> {
        clock.beside = false;
        (self.about_to_freeze)()
            .map_err(|reason| MigrateError::failed("write down that the source is read-only", reason))?;
        let Operation { approved, reporter, cancel, .. } = &self.operation;
        if self.application.is_there() {
            clock.stage("Stop XNAT", self.application.stop((approved, reporter))).await?;
        }
        let frozen = source::freeze(self.foreign, (approved, reporter, cancel));
        clock.stage(CLOSED, frozen).await
    }

    /// The copy, from the dump.
    async fn make(
        &self,
        clock: &mut Clock<'_>,
        place: &Place<'_>,
        workshop: &Workshop<'_>,
    ) -> Result<(), MigrateError> {
        let bytes = self.looked.source.database.bytes;
        let restore = workshop.restore((workshop.here(), INCOMING));
        let end = place.end();
        let restoring = end.watched((bytes, self.operation.reporter), restore);
        clock.stage("Restore on the leader", restoring).await?;
        clock.stage("Analyze", workshop.analyze((workshop.here(), INCOMING))).await?;
        clock.stage("Settings and grants", place.settings()).await
    }

    /// Neither on the leader nor on the source is anything left of it.
    async fn give_up(&self, place: &Place<'_>) -> Result<(), MigrateError> {
        place.clean().await?;
        unfollow(self.foreign, self.looked.system, self.operation.approved).await
    }

    async fn not_removed(&self, error: &MigrateError) {
        let message = format!("something of the copy is left: {}", one_line(error));
        let help = Some("`xnat-provision migrate abort` removes it".to_owned());
        self.operation.reporter.emit(Kind::Warned { message, help }).await;
    }

    /// The copy is good. It takes its place, is made what the inventory says, and is everywhere.
    async fn finish(
        &self,
        clock: &mut Clock<'_>,
        place: &Place<'_>,
        compared: &mut Compared,
    ) -> Result<Option<String>, MigrateError> {
        source::still_frozen(self.foreign).await?;
        (self.about_to_switch)(compared, &clock.phases)
            .map_err(|reason| MigrateError::failed("write down that the copy takes its place", reason))?;
        let former = clock.stage("Put it in its place", place.swap()).await?;
        // there is no way back by itself any more
        let settled = self.settle(clock, place, former).await;
        let (kept, differences) = settled.map_err(|error| MigrateError::InPlace { reason: one_line(&error) })?;
        compared.differences.extend(differences);
        Ok(kept)
    }

    async fn settle(
        &self,
        clock: &mut Clock<'_>,
        place: &Place<'_>,
        former: Option<String>,
    ) -> Result<(Option<String>, Vec<Difference>), MigrateError> {
        let kept = place.drop_former(former).await?;
        clock.timed("Make it what the inventory says", self.adapt()).await?;
        clock.timed("Wait for the replicas", self.replicas(place)).await?;
        let name = &self.gather().inventory.database.name;
        let (theirs, ours) = both(self.source(), (place.end(), name)).await?;
        Ok((kept, roles::differences(&theirs, &ours, (&self.looked.made, Stage::Finished))))
    }

    /// The rest of a run that was begun then, and cut off when the copy had taken its place.
    pub async fn finish_later(&self, since: Timestamp) -> Result<Settled, MigrateError> {
        let (place, mut clock) = (Place { moving: self }, Clock::new(&self.operation));
        let settled = async {
            let former = place.former(since).await?;
            self.settle(&mut clock, &place, former).await
        };
        let settled = settled.await.map_err(|error: MigrateError| MigrateError::InPlace { reason: one_line(&error) });
        settled.map(|(kept, differences)| Settled { kept, differences, phases: clock.phases })
    }

    /// What `apply` would do to the database.
    async fn adapt(&self) -> Result<(), MigrateError> {
        let gather = &self.operation.gather;
        let administrator = administrator(gather, self.leader)
            .map_err(|reason| MigrateError::failed("look at the database", reason))?;
        let wanted = desired(gather.inventory, self.secrets);
        for change in diff(&wanted, &administrator.observe(&wanted).await?).changes {
            administrator.perform(self.operation.approved, &change).await?;
            self.operation.told(change.to_string()).await;
        }
        Ok(())
    }

    /// Until every replica has everything that there is now, and the cluster is well, with the same leader: another one may
    /// not have had it all when it took over.
    async fn replicas(&self, place: &Place<'_>) -> Result<(), MigrateError> {
        let position = place.position().await?;
        let wait = Wait {
            what: "every replica to have all of it".to_owned(),
            deadline: CATCHING_UP,
            interval: Duration::from_secs(1),
            help: "see `xnat-provision status`".to_owned(),
        };
        let everywhere = || async {
            let view = cluster::gather(&self.operation.gather).await;
            let health = cluster::assess(&view, self.operation.gather.inventory);
            match view.leader() {
                Some(leader) if leader.host != self.leader.name => return Ok(Some(leader.host.clone())),
                None => return Err("nobody leads".to_owned()),
                Some(_) => {}
            }
            let behind = place.behind(position).await?;
            match (behind.is_empty(), health.healthy) {
                (false, _) => Err(behind.join("; ")),
                (true, false) => Err(health.verdict),
                (true, true) => Ok(None),
            }
        };
        match wait.until(self.operation.reporter, self.operation.cancel, everywhere).await? {
            None => Ok(()),
            Some(other) => Err(MigrateError::failed(
                "see that replicas have all of it",
                format!("{other} has taken over from {} meanwhile", self.leader.name),
            )),
        }
    }

    fn source(&self) -> (End<'_>, &str) {
        (End::Foreign(self.foreign), &self.looked.database)
    }

    fn cluster(&self) -> End<'_> {
        End::Leader(self.gather(), self.leader)
    }

    fn workshop(&self) -> Workshop<'_> {
        let Operation { gather, fleet, approved, .. } = &self.operation;
        let port = gather.inventory.postgresql.port;
        Workshop { fleet, approved, leader: &self.leader.name, major: self.major, port, jobs: self.jobs }
    }

    fn gather(&self) -> &Gather<'_> {
        &self.operation.gather
    }
}

/// The other server, as programs on the leader reach it.
fn server_of<'a>(foreign: &'a Foreign<'_>) -> Server<'a> {
    let source = foreign.source();
    let host = match foreign.reach() {
        Reach::Ssh => SOCKETS,
        Reach::Tcp => source.machine.address.as_str(),
    };
    Server { host, port: source.port, user: &source.user, password: foreign.password() }
}
