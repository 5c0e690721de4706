//! What a move by stream has of its own: what it says before, what comes when the cluster can be used, and a run that was
//! cut off while the copies took the place of the cluster's data.

use super::super::confirm::{self, Ask, Naming};
use super::super::ground::Ground;
use super::super::session::{Done, Ending, Session};
use super::super::{Failure, Globals, out};
use super::abort;
use super::ends::{Ends, also, foreign, name};
use super::kept::{Kept, State, Step};
use super::moving::{Course, declined, look};
use super::{NotNow, told};
use crate::approval::Approved;
use crate::error::{Exit, one_line};
use crate::inventory::{Component, Source};
use crate::migrate::fingerprint::Fingerprint;
use crate::migrate::record::{Method, Record};
use crate::names::HostName;
use crate::report::Kind;
use crate::report::text::mebibytes;
use crate::role;
use crate::workflow::migrate::{self, Compared, Looked, MigrateError, Mode, Moved, Opened, Takeover};
use crate::workflow::{Operation, Wanted};

/// So many tables of the source are read at once.
const JOBS: usize = 4;

/// What members need for copies that follow.
pub(super) async fn programs(method: Method, ground: &Ground, session: &Session) -> Result<Wanted, Failure> {
    let mut wanted = Wanted::new();
    if method != Method::Stream {
        return Ok(wanted);
    }
    let Session { inventory, secrets, assets, .. } = session;
    for (name, facts) in ground.facts(session).await? {
        let Some(host) = inventory.with(Component::Postgres).find(|host| host.name == name) else { continue };
        let input = role::Input { inventory, host, facts: &facts, secrets, assets };
        wanted.insert(name, role::expand_follow(&input)?.into_iter().flat_map(|role| role.resources).collect());
    }
    Ok(wanted)
}

fn bytes(looked: &Looked) -> String {
    mebibytes(looked.source.physical.as_ref().map_or(looked.source.database.bytes, |physical| physical.bytes))
}

impl Course<'_> {
    /// The question before a rehearsal.
    pub(super) fn to_rehearse(&self, looked: &Looked) -> String {
        format!(
            "Copy the files of {} ({}) to every member, beside the cluster's data, follow, promote {}'s copy and read its indexes, and remove the copies? The source goes on; for as long as it takes it has replication slots, and keeps the WAL that the copies have not read.",
            name(self.source),
            bytes(looked),
            self.ends.leader.name
        )
    }

    /// What will happen, for a person.
    pub(super) fn announced_by_stream(
        &self,
        (looked, xnats): (&Looked, &[(HostName, String)]),
        session: &Session,
        kept: &Kept,
    ) -> Result<String, Failure> {
        let (inventory, source, leader) = (&session.inventory, name(self.source), &self.ends.leader.name);
        let members: Vec<&str> = inventory.with(Component::Postgres).map(|host| host.name.as_str()).collect();
        let (members, xnat, database) = (members.join(", "), &inventory.xnat, &inventory.database.name);
        let physical = looked.source.physical.clone().unwrap_or_default();
        let others: Vec<&str> =
            physical.databases.iter().map(String::as_str).filter(|name| *name != looked.database).collect();
        let others = if others.is_empty() {
            String::new()
        } else {
            format!(" WITH ITS OTHER DATABASES ({}), which are not made read-only there", others.join(", "))
        };
        let altered = match physical.altered.is_empty() {
            true => String::new(),
            false => {
                format!("\n     What was set there with ALTER SYSTEM stays behind: {}", physical.altered.join(", "))
            }
        };
        let archive = match looked.target.physical.as_ref().is_some_and(|physical| physical.archives) {
            true => "\n     The cluster archives its WAL: for what comes then it needs another archive",
            false => "",
        };
        let there = looked.target.physical.iter().flat_map(|physical| &physical.databases);
        let there: Vec<&str> = there.map(String::as_str).filter(|name| name != database).collect();
        let others_there = match there.is_empty() {
            true => String::new(),
            false => {
                format!(", has OTHER DATABASES ({}), which are not in the cluster any more then,", there.join(", "))
            }
        };
        let application = match looked.target.database_has_tables {
            true => format!("HAS TABLES in {database}"),
            false => "holds nothing of the application's".to_owned(),
        };
        let is_kept = looked.target.database_has_tables || !there.is_empty();
        let kept_there = if is_kept { " and is kept in a directory beside them" } else { "" };
        let former = format!("which {application}{others_there}{kept_there}");
        let mut steps = vec![format!(
            "{members}: a copy of all of the source's files ({}), each of which follows {source};\n     it has a replication slot for each, and keeps the WAL that they have not read{altered}",
            bytes(looked)
        )];
        steps.extend(xnats.iter().map(|(host, url)| format!("{host}: {} stops; it uses {url}", xnat.unit)));
        steps.push(format!("{source}: read-only for everybody, and all sessions end. NOBODY CAN WRITE from here on"));
        steps.push(format!(
            "{leader}: its copy gets the last of it, is promoted, and has the cluster's own roles and passwords.\n     Until here every failure opens the source again, and nothing else has changed"
        ));
        steps.push(format!(
            "{members}: the cluster stops, and the copies take the place of its data,\n     {former}{archive}"
        ));
        steps.push("the cluster starts with them; wait until all members have all of it".to_owned());
        let starts = |(host, _): &(HostName, String)| {
            format!("{host}: {} leads to the cluster; {} starts", xnat.properties, xnat.unit)
        };
        steps.extend(xnats.iter().map(starts));
        steps.push(
            "both: every row, sequence, large object, grant and role compared, while the application goes on"
                .to_owned(),
        );
        let steps: String = steps.iter().enumerate().map(|(at, step)| format!("{:>3}. {step}\n", at + 1)).collect();
        Ok(format!(
            "{begun}{source} becomes the cluster {cluster}{others}:\n{steps}\
             The source stays read-only and as it is; `migrate rollback` opens it again.\n\
             Expect about 20 s without writing, whatever the size.\n\n",
            begun = told::begun(kept)?,
            cluster = inventory.cluster,
        ))
    }

    /// The application goes on with the cluster, and what that had when it began is compared with the source.
    pub(super) async fn opened(
        &self,
        (kept, state, looked): (&Kept, &State, &Looked),
        (mut moved, opened): (Moved, Opened),
        (approved, globals): (&Approved, &Globals),
        session: &mut Session,
    ) -> Result<(Record, bool), Failure> {
        let mut state = State { step: Step::Opened, system: looked.source_system, ..state.clone() };
        kept.set(&state)?;
        let goes_on = match self.ends.application(session).is_there() {
            true => self.switched(&state.kept_as, approved, session).await,
            false => true,
        };
        let summary = "can be used, with all that the source has".to_owned();
        let event = Kind::ChangeApplied { resource: "cluster".to_owned(), summary, millis: 0 };
        session.reporter.emit(event).await;
        session.settle().await;
        if !globals.json {
            session.print(&format!(
                "{}\nBoth are compared now; the application does not have to wait.\n\n",
                self.next(session)
            ))?;
        }
        let moving = self.moving((looked, &|| Ok(()), &|_, _| Ok(())), approved, session);
        let compared = async {
            moved.kept = moving.tidied(&opened).await?;
            moving.compare_opened(&opened).await
        };
        let compared = compared.await;
        let (compared, phase) =
            compared.map_err(|error: MigrateError| MigrateError::NotCompared { reason: one_line(&error) })?;
        (state.step, state.copy, state.unfinished) = (Step::Switched, compared.target.clone(), !goes_on);
        state.ended = true;
        moved.phases.push(phase);
        moved.compared = compared;
        let record = self.record(state.since, (looked, moved), session);
        self.told_who_waits(session).await;
        // whoever goes on with what is left finds what was compared
        kept.report(&record)?;
        kept.set(&state)?;
        if !record.passed {
            let message = "the application works with a copy that is not the same as the source".to_owned();
            let help =
                Some("see the differences; `xnat-provision migrate rollback` goes back to the source".to_owned());
            session.reporter.emit(Kind::Warned { message, help }).await;
        }
        Ok((record, goes_on))
    }
}

/// What the source has, which is what the copy was.
pub(super) async fn noted(ends: &Ends<'_>, session: &Session) -> Result<Fingerprint, Failure> {
    if !migrate::frozen(&ends.foreign).await? {
        return Err(NotNow::SourceGoesOn.into());
    }
    let version = look(ends, session).await?.source.server.version_num;
    Ok(migrate::of_the_source(&ends.foreign, (version, JOBS), &session.reporter).await?)
}

fn takeover<'a>(
    (ground, session): (&'a Ground, &'a Session),
    approved: &'a Approved,
    leader: &'a HostName,
    version: u32,
) -> Takeover<'a> {
    let (reporter, cancel, fleet) = (&session.reporter, &session.cancel, &ground.fleet);
    let operation = Operation { gather: ground.gather(session), fleet, approved, reporter, cancel };
    Takeover { operation, leader, version }
}

fn not_whole(state: &State) -> NotNow {
    let reason = match &state.leader {
        Some(leader) => {
            format!("{leader} has no whole copy: `xnat-provision migrate abort` takes the former data up again")
        }
        None => "it is not known which copy leads".to_owned(),
    };
    NotNow::NotFit { reason }
}

/// A run that was cut off while the copies took the place of the cluster's data.
pub(super) async fn go_on(
    (source, jobs, ground): (&Source, usize, Ground),
    (naming, globals): (&Naming, &Globals),
    (kept, state): (&Kept, &State),
    session: &mut Session,
) -> Result<Done, Failure> {
    let mut ground = ground;
    let approved = match forward((source, &ground), naming, state, session).await {
        Ok(Some(approved)) => approved,
        Ok(None) => {
            ground.fleet.close(&session.reporter).await;
            return declined(session, "the name was not typed; nothing was changed").await;
        }
        Err(failure) => {
            ground.fleet.close(&session.reporter).await;
            return Err(failure);
        }
    };
    let ends = Ends::reach(session, source, ground).await?;
    let done = async {
        let programs = programs(Method::Stream, &ends.ground, session).await?;
        let course = Course { ends: &ends, source, jobs, mode: Mode::Run, method: Method::Stream, programs };
        course.complete((kept, state), (&approved, globals), session).await
    };
    let done = done.await;
    ends.close(session).await;
    done
}

async fn forward(
    (source, ground): (&Source, &Ground),
    naming: &Naming,
    state: &State,
    session: &mut Session,
) -> Result<Option<Approved>, Failure> {
    let leader = state.leader.as_ref().ok_or_else(|| not_whole(state))?;
    is_still_closed((source, ground), session).await?;
    session.settle().await;
    let warning = "The copies take the place of the cluster's data, and it starts with them.";
    let Some(approved) = naming.approve(warning, (&session.cancel, &ground.fleet.standing)).await? else {
        return Ok(None);
    };
    let programs = programs(Method::Stream, ground, session).await?;
    let takeover = takeover((ground, session), &approved, leader, state.source_version / 10_000);
    takeover.install(&programs).await?;
    let standing = takeover.standing().await?;
    if standing.get(leader).is_some_and(|it| !it.in_place && !it.complete) {
        return Err(not_whole(state).into());
    }
    takeover.forward().await?;
    Ok(Some(approved))
}

fn nobody() -> NotNow {
    NotNow::NotFit { reason: "no PostgreSQL member can be reached".to_owned() }
}

/// Whoever has opened it by hand works with it, and would lose that.
async fn is_still_closed((source, ground): (&Source, &Ground), session: &Session) -> Result<(), Failure> {
    let members = session.inventory.with(Component::Postgres);
    let from: Vec<_> = members.filter_map(|host| ground.fleet.connections.get(&host.name).cloned()).collect();
    if from.is_empty() {
        return Err(nobody().into());
    }
    let (foreign, machine) = foreign(session, source, from).await?;
    let frozen = migrate::frozen(&foreign).await;
    foreign.close().await;
    if let Some(machine) = machine {
        machine.close().await;
    }
    if frozen? { Ok(()) } else { Err(NotNow::SourceGoesOn.into()) }
}

impl Course<'_> {
    /// The rest of a run whose copies are in their place by now.
    async fn complete(
        &self,
        (kept, state): (&Kept, &State),
        (approved, globals): (&Approved, &Globals),
        session: &mut Session,
    ) -> Result<Done, Failure> {
        let looked = Looked { system: state.system, made: state.made.clone(), ..look(self.ends, session).await? };
        let fleet = &self.ends.ground.fleet;
        // whoever has started it meanwhile has to start it anew
        self.ends.application(session).stop((approved, &session.reporter)).await?;
        session.remember((fleet, approved), 1, None).await;
        let result = async {
            let settled = self.moving((&looked, &|| Ok(()), &|_, _| Ok(())), approved, session).settled_in().await?;
            let (phases, opened) = settled;
            let moved = Moved { phases, compared: Compared::default(), in_place: true, kept: None, opened: None };
            self.opened((kept, state, &looked), (moved, opened), (approved, globals), session).await
        };
        let result = result.await;
        let end = Ending::of(result.as_ref().map(|_| 1));
        session.remember((fleet, approved), 1, Some(end)).await;
        let (record, goes_on) = result?;
        let report = kept.report(&record)?;
        session.settle().await;
        if globals.json {
            out::json(&record)?;
        } else {
            session.print(&format!("{}\nReport: {}\n", record.text(), report.display()))?;
        }
        let well = record.passed && goes_on;
        Ok(Done { exit: if well { Exit::Ok } else { Exit::Unhealthy }, changed: 1 })
    }

    /// The rest of a run that was cut off while both were compared. The cluster may have been written to since, so that
    /// comes to nothing now; what the source has is what a later `rollback` holds it against.
    pub(super) async fn end_opened(
        &self,
        naming: &Naming,
        (kept, state): (&Kept, &State),
        session: &mut Session,
    ) -> Result<Done, Failure> {
        session.settle().await;
        let warning = "The cluster can be used already. What the source has is noted, for a later rollback.";
        let standing = (&session.cancel, &self.ends.ground.fleet.standing);
        let Some(approved) = naming.approve(warning, standing).await? else {
            return declined(session, "the name was not typed; nothing was changed").await;
        };
        let goes_on = match self.ends.application(session).is_there() {
            true => self.switched(&state.kept_as, &approved, session).await,
            false => true,
        };
        let former = self.tidied_later(state, &approved, session).await?;
        let copy = match noted(self.ends, session).await {
            Ok(copy) => copy,
            Err(failure) => {
                let what = "a later `rollback` cannot tell what was written since";
                also(session, what, &failure).await;
                Fingerprint::default()
            }
        };
        kept.set(&State { step: Step::Switched, copy, unfinished: !goes_on, ended: true, ..state.clone() })?;
        session.settle().await;
        let former = former.map(|place| format!("The cluster's former data is in {place} on each member.\n"));
        let next = self.next(session);
        session.print(&format!("The move is over; both were not compared.\n{}{next}", former.unwrap_or_default()))?;
        Ok(Done { exit: if goes_on { Exit::Ok } else { Exit::Unhealthy }, changed: 1 })
    }

    /// Nothing is left of the copies but those in their place. This is where the cluster's former data is.
    pub(super) async fn tidied_later(
        &self,
        state: &State,
        approved: &Approved,
        session: &Session,
    ) -> Result<Option<String>, Failure> {
        let Ends { ground, leader, .. } = self.ends;
        let takeover = takeover((ground, session), approved, &leader.name, state.source_version / 10_000);
        takeover.install(&self.programs).await?;
        let former = migrate::clean_up_after(&ground.gather(session), leader, (&ground.fleet, approved)).await?;
        self.told_who_waits(session).await;
        Ok(former)
    }

    async fn told_who_waits(&self, session: &Session) {
        if self.ends.ground.is_away(Component::Postgres, session) {
            let message = "a member that was away may have a copy, or wait for it to take its place".to_owned();
            let help = Some("when it can be reached: `xnat-provision migrate abort`, then `apply`".to_owned());
            session.reporter.emit(Kind::Warned { message, help }).await;
        }
    }
}

/// The cluster's former data is taken up again, as long as no copy is in its place; then whatever else was begun is undone.
pub(super) async fn give_up(
    (source, ground): (&Source, Ground),
    (ask, globals): (Ask, &Globals),
    (kept, state): (&Kept, &State),
    session: &mut Session,
) -> Result<Done, Failure> {
    let mut ground = ground;
    match taken_back(&ground, ask, state, session).await {
        Ok(true) => {}
        Ok(false) => {
            ground.fleet.close(&session.reporter).await;
            return declined(session, "not confirmed; nothing was changed").await;
        }
        Err(failure) => {
            ground.fleet.close(&session.reporter).await;
            return Err(failure);
        }
    }
    kept.set(&State { step: Step::ReadOnly, copy: Fingerprint::default(), ..state.clone() })?;
    let ends = Ends::reach_what_answers(session, source, ground).await?;
    let done = abort::give_up((&ends, source), (Ask::SaidYes, kept, globals), session).await;
    ends.close(session).await;
    done
}

async fn taken_back(ground: &Ground, ask: Ask, state: &State, session: &mut Session) -> Result<bool, Failure> {
    let leader = state.leader.as_ref().ok_or_else(|| not_whole(state))?;
    session.settle().await;
    let question = "The cluster starts with its former data, the copies are removed, and the source can be written to again. Do it?";
    let standing = (&session.cancel, &ground.fleet.standing);
    let Some(approved) = confirm::approve(ask, question, standing).await? else { return Ok(false) };
    let programs = programs(Method::Stream, ground, session).await?;
    let takeover = takeover((ground, session), &approved, leader, state.source_version / 10_000);
    takeover.install(&programs).await?;
    if takeover.standing().await?.values().any(|standing| standing.used) {
        let help = "a copy is in its place already, and was used: `xnat-provision migrate resume` goes on, then `migrate rollback` goes back";
        return Err(NotNow::Nothing { go_on: "give up", help }.into());
    }
    // what is left of the copies goes with all the rest
    takeover.back().await?;
    Ok(true)
}
