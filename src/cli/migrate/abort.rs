//! `abort`: a run that was cut off comes to nothing, and what it or a rehearsal has left goes.

use std::collections::BTreeSet;

use super::super::confirm::{self, Ask};
use super::super::ground::Ground;
use super::super::session::{Done, Session};
use super::super::{Failure, Globals};
use super::back::{ask, closed, told_where};
use super::ends::{Ends, also, name, source};
use super::kept::{Kept, State, Step};
use super::moving::{declined, of_this_source, open};
use super::{Abort, NotNow, streaming};
use crate::approval::Approved;
use crate::error::Exit;
use crate::inventory::Source;
use crate::report::Kind;
use crate::report::journal::Store;
use crate::workflow::lock::RunLock;
use crate::workflow::migrate::{self, Back, Left};

/// What there is to give up.
enum Begun<'a> {
    /// A run: its source goes on.
    Run(&'a State),
    /// A copy that was to be removed in any case.
    Copy,
    /// This machine knows of nothing; but a source may be read-only because of a run.
    Unknown,
    /// The database was moved in, so its source stays as it is: only what a rehearsal has left goes.
    InPlace(&'a State),
    /// The same of another source than the inventory's, whatever became of its cluster.
    OfAnother,
    /// The same from another machine; with the mark that it left.
    Elsewhere(String),
}

impl<'a> Begun<'a> {
    async fn of(ends: &Ends<'_>, state: Option<&'a State>, session: &Session) -> Result<Self, Failure> {
        if let (Some(state), true) = (state, ends.is_in_place(state, session).await?) {
            return Ok(Self::InPlace(state));
        }
        if state.is_some_and(|state| state.has_switched() && state.source != name(ends.foreign.source())) {
            return Ok(Self::OfAnother);
        }
        Ok(match (ends.mark_of_others(state, session).await?, state) {
            (Some(mark), _) => Self::Elsewhere(mark),
            (None, None) => Self::Unknown,
            (None, Some(state)) if state.is_begun() => Self::Run(state),
            (None, Some(_)) => Self::Copy,
        })
    }

    fn run(&self) -> Option<&'a State> {
        match self {
            Self::Run(state) => Some(state),
            _ => None,
        }
    }

    /// A run that had come to stopping XNAT.
    fn stopped(&self) -> Option<&'a State> {
        self.run().filter(|state| state.step != Step::Following)
    }

    /// Its source is to be opened again, if it is not.
    fn opens(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Unknown)
    }

    fn is_in_place(&self) -> bool {
        matches!(self, Self::InPlace(_) | Self::OfAnother)
    }
}

/// What is found of it.
struct Found<'a> {
    begun: Begun<'a>,
    left: Left,
    /// The source is read-only because of it.
    frozen: bool,
    /// What the source keeps for copies in these clusters: this one, and that of the run.
    systems: BTreeSet<i64>,
    followed: bool,
}

pub(super) async fn abort(args: &Abort, globals: &Globals) -> Result<Exit, Failure> {
    let mut session = open(&args.target, globals).await?;
    let result = aborted(args, globals, &mut session).await;
    session.finish(result).await
}

async fn aborted(args: &Abort, globals: &Globals, session: &mut Session) -> Result<Done, Failure> {
    let source = source(session)?;
    let cluster = session.inventory.cluster.clone();
    let _lock = RunLock::take(&Store::of_user()?.cluster(&cluster), &cluster)?;
    let kept = Kept::of(&cluster)?;
    let ground = Ground::of(session).await?;
    if let Some(state) = kept.state()?.filter(|state| state.step == Step::Switching) {
        of_this_source(Some(&state), &source)?;
        return streaming::give_up((&source, ground), (ask(args.yes), globals), (&kept, &state), session).await;
    }
    let ends = Ends::reach_what_answers(session, &source, ground).await?;
    let result = give_up((&ends, &source), (ask(args.yes), &kept, globals), session).await;
    ends.close(session).await;
    result
}

pub(super) async fn give_up(
    (ends, source): (&Ends<'_>, &Source),
    (ask, kept, globals): (Ask, &Kept, &Globals),
    session: &mut Session,
) -> Result<Done, Failure> {
    let state = kept.state()?;
    let state = state.as_ref();
    of_this_source(state, source)?;
    ends.of_another(state, session).await?;
    let found = look(ends, state, session).await?;
    let question = question(&found, (ends, source), session);
    session.settle().await;
    let standing = (&session.cancel, &ends.ground.fleet.standing);
    let Some(approved) = confirm::approve(ask, &question, standing).await? else {
        return declined(session, "not confirmed; nothing was changed").await;
    };
    // first what people wait for
    if found.begun.opens() {
        let run = found.begun.run();
        if let Some(state) = run.filter(|state| state.has_switched()) {
            kept.set(&State { step: Step::ReadOnly, unfinished: false, ended: false, ..state.clone() })?;
        }
        let before = run.and_then(|state| state.read_only_before.as_deref());
        migrate::thaw(&ends.foreign, before, &approved).await?;
    }
    let started = xnat_goes_on(&found, ends, (&approved, session)).await;
    cleaned(&found, ends, (&approved, session)).await?;
    started?;
    told((&found, kept, state), (ends, source), globals, session).await
}

/// Unless there is nothing to give up, or it is not to be given up like this.
async fn look<'a>(ends: &Ends<'_>, state: Option<&'a State>, session: &Session) -> Result<Found<'a>, Failure> {
    let gather = ends.ground.gather(session);
    let left = migrate::left(&gather, &ends.leader, &ends.ground.fleet).await?;
    let begun = Begun::of(ends, state, session).await?;
    match &begun {
        Begun::InPlace(state) if state.unfinished || state.step == Step::Opened => {
            let reason =
                "the copy is in its place already: `migrate resume` ends the run, `migrate rollback` goes back";
            return Err(NotNow::NotFit { reason: reason.to_owned() }.into());
        }
        Begun::InPlace(state) if left.is_empty() => {
            return Err(NotNow::Done { source_name: state.source.clone(), since: state.since }.into());
        }
        Begun::Elsewhere(mark) if left.is_empty() && state.is_none() => {
            return Err(NotNow::Elsewhere { mark: mark.clone() }.into());
        }
        _ => {}
    }
    let frozen = begun.opens() && migrate::frozen(&ends.foreign).await?;
    let system = ends.system(session).await?;
    let systems = BTreeSet::from([system, state.map_or(system, |state| state.system)]);
    let mut followed = false;
    for system in &systems {
        followed |= migrate::followed(&ends.foreign, *system).await?;
    }
    let nothing = left.is_empty() && !frozen && !followed;
    if nothing && matches!(begun, Begun::Unknown | Begun::OfAnother) {
        let help = "the source can be written to, and nothing is left on the leader";
        return Err(NotNow::Nothing { go_on: "give up", help }.into());
    }
    Ok(Found { begun, left, frozen, systems, followed })
}

fn question(found: &Found<'_>, (ends, source): (&Ends<'_>, &Source), session: &Session) -> String {
    let mut parts = Vec::new();
    if found.frozen {
        parts.push(format!("{} can be written to again.", name(source)));
    }
    if found.followed {
        parts.push(format!("{} keeps no WAL for the copy any more.", name(source)));
    }
    let left = &found.left;
    if !left.databases.is_empty() {
        parts.push(format!("The databases {} are dropped on the leader.", left.databases.join(", ")));
    }
    if !left.copies.is_empty() {
        let members: Vec<&str> = left.copies.iter().map(|host| host.as_str()).collect();
        parts.push(format!("Copies of the source's files on {} are removed.", members.join(", ")));
    }
    if !left.roles.is_empty() {
        parts.push(format!("The roles {}, made for the copy, are dropped.", left.roles.join(", ")));
    }
    if parts.is_empty() {
        parts.push("What programs have left on the leader's disk is removed.".to_owned());
    }
    if found.begun.stopped().is_some() && ends.application(session).is_there() {
        parts.push("XNAT starts, with the settings it had before.".to_owned());
    }
    format!("{} Do it?", parts.join(" "))
}

/// It was stopped when the run was cut off, and goes on where it was; whoever has opened the source by hand has put it back.
async fn xnat_goes_on(
    found: &Found<'_>,
    ends: &Ends<'_>,
    (approved, session): (&Approved, &Session),
) -> Result<(), Failure> {
    let frozen = found.frozen;
    if let Some(state) = found.begun.stopped() {
        let kept_as = if frozen || !state.is_ended() { state.kept_as.as_str() } else { "" };
        let back = Back { kept_as, cluster: None, anew: frozen };
        return Ok(ends.application(session).as_before(&back, (approved, &session.reporter)).await?);
    }
    if frozen && found.begun.run().is_none() && !session.inventory.xnat.hosts.is_empty() {
        let message = "XNAT may be stopped: this machine knows nothing of the run that was cut off".to_owned();
        session.reporter.emit(Kind::Warned { message, help: Some("start it when it should run".to_owned()) }).await;
    }
    Ok(())
}

/// Neither the source nor the cluster has anything of a copy.
async fn cleaned(
    found: &Found<'_>,
    ends: &Ends<'_>,
    (approved, session): (&Approved, &Session),
) -> Result<(), Failure> {
    for system in &found.systems {
        migrate::unfollow(&ends.foreign, *system, approved).await?;
    }
    let (gather, fleet) = (ends.ground.gather(session), &ends.ground.fleet);
    // somebody leads, so no copy is to take a place any more: members that wait for it, since they were away, come again
    let former = migrate::clean_up_after(&gather, &ends.leader, (fleet, approved)).await?;
    told_where(former, session).await;
    Ok(())
}

async fn told(
    (found, kept, state): (&Found<'_>, &Kept, Option<&State>),
    (ends, source): (&Ends<'_>, &Source),
    globals: &Globals,
    session: &mut Session,
) -> Result<Done, Failure> {
    if found.begun.stopped().is_some() && !ends.absent.is_empty() {
        for failure in &ends.absent {
            also(session, "XNAT was not started there: the same command tries again (without it, take the host out of the inventory)", failure).await;
        }
        return Ok(Done { exit: Exit::Unreachable, changed: 1 });
    }
    if found.begun.is_in_place() {
        let summary = "nothing of a copy is left; the database was moved in, so its source stays as it is";
        return closed(summary, globals, session).await;
    }
    if let Some(state) = state.filter(|state| ends.may_be_left_elsewhere(state, session)) {
        kept.set(&State { step: Step::Left, ..state.clone() })?;
        let message = "members that could not be reached may have something of the copy".to_owned();
        let help = Some("when they can be: `xnat-provision migrate abort` once more, then `apply`".to_owned());
        session.reporter.emit(Kind::Warned { message, help }).await;
        return Ok(Done { exit: Exit::Unreachable, changed: 1 });
    }
    kept.over()?;
    let summary = match &found.begun {
        Begun::Elsewhere(mark) => {
            format!("nothing of a copy is left; the database was moved in {mark}, so its source stays as it is")
        }
        _ => format!("{} can be written to; nothing of the copy is left", name(source)),
    };
    closed(&summary, globals, session).await
}
