//! `rollback`: after a run the source can be written to again, with what is new in the cluster or without.

use std::collections::BTreeSet;

use super::super::confirm::{self, Ask};
use super::super::ground::Ground;
use super::super::session::{Done, Session};
use super::super::{Failure, Globals, out};
use super::ends::{Ends, also, name, source};
use super::kept::{Kept, State, Step};
use super::moving::{Course, declined, look, open};
use super::{NotNow, Rollback, streaming};
use crate::approval::Approved;
use crate::error::{Exit, one_line};
use crate::inventory::Source;
use crate::migrate::fingerprint::{Difference, Fingerprint, Measure};
use crate::migrate::record::Method;
use crate::report::Kind;
use crate::report::journal::Store;
use crate::report::text::count;
use crate::workflow::Wanted;
use crate::workflow::lock::RunLock;
use crate::workflow::migrate::{self, Back, Carried, MigrateError, Mode};

/// So many tables are named.
const NAMED: usize = 5;

pub(super) fn ask(yes: bool) -> Ask {
    if yes { Ask::SaidYes } else { Ask::Terminal }
}

pub(super) async fn closed(summary: &str, globals: &Globals, session: &mut Session) -> Result<Done, Failure> {
    let event = Kind::ChangeApplied { resource: "source".to_owned(), summary: summary.to_owned(), millis: 0 };
    session.reporter.emit(event).await;
    session.settle().await;
    if globals.json {
        out::json(&serde_json::json!({ "done": summary }))?;
    } else {
        session.print(&format!("{summary}\n"))?;
    }
    Ok(Done { exit: Exit::Ok, changed: 1 })
}

pub(super) async fn rollback(args: &Rollback, globals: &Globals) -> Result<Exit, Failure> {
    let mut session = open(&args.target, globals).await?;
    let result = rolled_back(args, globals, &mut session).await;
    session.finish(result).await
}

async fn rolled_back(args: &Rollback, globals: &Globals, session: &mut Session) -> Result<Done, Failure> {
    let source = source(session)?;
    let cluster = session.inventory.cluster.clone();
    let _lock = RunLock::take(&Store::of_user()?.cluster(&cluster), &cluster)?;
    let kept = Kept::of(&cluster)?;
    let Some(state) = kept.state()?.filter(State::has_switched) else {
        let help = "no database was moved in from this machine; a run that was cut off is ended by `migrate abort`";
        return Err(NotNow::Nothing { go_on: "take back", help }.into());
    };
    if state.source != name(&source) {
        return Err(NotNow::Another { former: state.source, source_name: name(&source) }.into());
    }
    let ends = Ends::reach(session, &source, Ground::of(session).await?).await?;
    let result = go_back((&ends, &source), (args, &kept, &state), globals, session).await;
    ends.close(session).await;
    result
}

async fn go_back(
    (ends, source): (&Ends<'_>, &Source),
    (args, kept, state): (&Rollback, &Kept, &State),
    globals: &Globals,
    session: &mut Session,
) -> Result<Done, Failure> {
    if !ends.is_in_place(Some(state), session).await? {
        let help = "the copy did not take its place: `xnat-provision migrate abort` opens the source";
        return Err(NotNow::Nothing { go_on: "take back", help }.into());
    }
    let state = &known((ends, args), state, session).await?;
    let frozen = migrate::frozen(&ends.foreign).await?;
    // before that nothing has come of it
    let goes_on = state.step == Step::GoingBack && !frozen;
    let all = args.lose_newer_writes && !args.carry_back;
    let newer = if all { Vec::new() } else { newer_writes(ends, state, session).await? };
    if !newer.is_empty() && goes_on {
        let reason = format!(
            "going back was begun, so the source can be written to, and there are newer rows in the cluster ({}): they can only be left behind, with --lose-newer-writes, or be brought together by hand",
            some(&newer)
        );
        return Err(NotNow::NotFit { reason }.into());
    }
    if !newer.is_empty() && !args.carry_back {
        return Err(NotNow::NewerWrites { tables: some(&newer) }.into());
    }
    if args.carry_back && !goes_on && !frozen {
        return Err(NotNow::SourceGoesOn.into());
    }
    let (newer, stays): (Vec<_>, Vec<_>) = newer.into_iter().partition(migrate::is_rows);
    if args.carry_back && !stays.is_empty() && !args.lose_newer_writes {
        return Err(NotNow::NotCarried { what: some(&stays) }.into());
    }
    session.settle().await;
    let lost = if goes_on {
        "Going back was begun, and goes on.".to_owned()
    } else if all {
        "WHAT WAS WRITTEN TO THE CLUSTER SINCE IS MISSING THERE.".to_owned()
    } else if !stays.is_empty() {
        format!("First it gets what was written to the cluster since: {}. NOT {}.", some(&newer), some(&stays))
    } else if newer.is_empty() {
        "The cluster has nothing that it does not have.".to_owned()
    } else {
        format!("First it gets what was written to the cluster since: {}.", some(&newer))
    };
    let stop = if session.inventory.xnat.hosts.is_empty() { " The application has to be stopped." } else { "" };
    let question = format!("{} can be written to again. {lost} Do it?{stop}", name(source));
    let standing = (&session.cancel, &ends.ground.fleet.standing);
    let Some(approved) = confirm::approve(ask(args.yes), &question, standing).await? else {
        return declined(session, "not confirmed; nothing was changed").await;
    };
    completed((ends, source), (args, kept, state), (&approved, goes_on), session).await?;
    let done = opened(ends, (kept, state), (&approved, args.carry_back || goes_on), session).await;
    if let Err(failure) = &done
        && ends.application(session).is_there()
    {
        also(session, STOPPED, failure).await;
    }
    done?;
    let next = if ends.application(session).is_there() {
        ", and XNAT uses it again"
    } else {
        "; put its address back into xnat-conf.properties"
    };
    let (name, database) = (name(source), &session.inventory.database.name);
    let summary = format!("{name} can be written to{next}. The cluster keeps its copy as {database}");
    closed(&summary, globals, session).await
}

/// What a copy was that was never compared is what the source has; who looks at nothing does not need it.
async fn known((ends, args): (&Ends<'_>, &Rollback), state: &State, session: &Session) -> Result<State, Failure> {
    let blind = args.lose_newer_writes && !args.carry_back;
    if !state.is_unknown() || blind {
        return Ok(state.clone());
    }
    Ok(State { copy: streaming::noted(ends, session).await?, ..state.clone() })
}

const STOPPED: &str = "XNAT may be stopped now; the same command goes on";

/// XNAT stops, and the source has all that it is to have. When it does not get there XNAT goes on with the cluster.
async fn completed(
    (ends, source): (&Ends<'_>, &Source),
    (args, kept, state): (&Rollback, &Kept, &State),
    (approved, goes_on): (&Approved, bool),
    session: &Session,
) -> Result<(), Failure> {
    let application = ends.application(session);
    let told = (approved, &session.reporter);
    let was_unfinished = state.unfinished || state.step == Step::Opened;
    let (unfinished, ended) = (was_unfinished || application.is_there(), state.is_ended());
    let state = &State { unfinished, ended, ..state.clone() };
    if !goes_on {
        kept.set(state)?;
    }
    if let Err(error) = application.stop(told).await {
        let failure = error.into();
        also(session, STOPPED, &failure).await;
        return Err(failure);
    }
    let complete = async {
        if goes_on {
            return Ok(());
        }
        if args.carry_back {
            let (jobs, programs) = (usize::from(args.jobs.jobs), Wanted::new());
            let course = Course { ends, source, jobs, mode: Mode::Verify, method: Method::Dump, programs };
            let carried = course.carry_back((kept, state, args.lose_newer_writes), approved, session).await?;
            let summary = told_of(&carried);
            let event = Kind::ChangeApplied { resource: "source".to_owned(), summary, millis: 0 };
            session.reporter.emit(event).await;
        } else if !args.lose_newer_writes && (application.is_there() || !args.yes) {
            // somebody has been at work until now, or may have been while the question stood
            let newer = newer_writes(ends, state, session).await?;
            if !newer.is_empty() {
                return Err(NotNow::NewerWrites { tables: some(&newer) }.into());
            }
        }
        Ok(())
    };
    let complete = async {
        tokio::select! {
            biased;
            // what is under way there sees that by itself, and ends as it must
            () = session.cancel.cancelled(), if !args.carry_back => Err(MigrateError::Interrupted.into()),
            done = complete => done,
        }
    };
    let Err(failure) = complete.await else { return Ok(()) };
    if was_unfinished || goes_on {
        // its settings may not lead to the cluster yet
        if application.is_there() {
            also(session, STOPPED, &failure).await;
        }
        return Err(failure);
    }
    let again: Result<(), Failure> = async {
        application.start(&BTreeSet::new(), told).await?;
        Ok(kept.finished()?)
    }
    .await;
    if let Err(error) = again {
        also(session, STOPPED, &error).await;
    }
    Err(failure)
}

/// XNAT, if it is ours to move, goes back with the source.
async fn opened(
    ends: &Ends<'_>,
    (kept, state): (&Kept, &State),
    (approved, carries): (&Approved, bool),
    session: &Session,
) -> Result<(), Failure> {
    let application = ends.application(session);
    // what an earlier try was about to carry is of no account when this one carries nothing
    let carried = kept.state()?.filter(|_| carries).map(|reached| reached.carried).unwrap_or_default();
    let unfinished = state.unfinished || application.is_there();
    let ended = state.is_ended();
    kept.set(&State { step: Step::GoingBack, carried, unfinished, ended, ..state.clone() })?;
    migrate::thaw(&ends.foreign, state.read_only_before.as_deref(), approved).await?;
    let cluster = ends.address(session);
    let back = Back { kept_as: &state.kept_as, cluster: Some(&cluster), anew: true };
    application.as_before(&back, (approved, &session.reporter)).await?;
    let ground = &ends.ground;
    if let Err(error) = migrate::unmark(&ground.gather(session), &ends.leader, approved).await {
        also(session, "the cluster's database keeps its mark of having been moved in (`xnat-provision help migration` says how it goes)", &error.into()).await;
    }
    match migrate::clean_up_after(&ground.gather(session), &ends.leader, (&ground.fleet, approved)).await {
        Ok(former) => {
            match ends.may_be_left_elsewhere(state, session) {
                true => kept.set(&State { step: Step::Left, ..state.clone() })?,
                false => kept.over()?,
            }
            told_where(former, session).await;
        }
        Err(error) => {
            kept.set(&State { step: Step::Left, ..state.clone() })?;
            let what = "something of the copies is left (`xnat-provision migrate abort` removes it)";
            also(session, what, &error.into()).await;
        }
    }
    if let Err(error) = application.answers((&session.reporter, &session.cancel)).await {
        also(session, "XNAT was started with its former settings", &error.into()).await;
    }
    Ok(())
}

/// Data that is set aside is somebody's, and takes room.
pub(super) async fn told_where(former: Option<String>, session: &Session) {
    if let Some(place) = former {
        let message = format!("data that the cluster had before is in {place} on its members, and like it");
        let help = Some("remove it when nobody needs it".to_owned());
        session.reporter.emit(Kind::Warned { message, help }).await;
    }
}

/// A few by name.
fn some(newer: &[Difference]) -> String {
    let named: Vec<&str> = newer.iter().take(NAMED).map(|it| it.what.as_str()).collect();
    let more = newer.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    named.join(", ") + &more
}

fn told_of(carried: &Carried) -> String {
    let Carried { tables, rows, sequences, large_objects } = carried;
    format!(
        "has what was written to the cluster: {} with {rows} rows, {}, {}",
        count(*tables, "table"),
        count(*sequences, "sequence"),
        count(*large_objects, "large object")
    )
}

/// What is not as it was when the copy took its place.
pub(super) async fn newer_writes(
    ends: &Ends<'_>,
    state: &State,
    session: &Session,
) -> Result<Vec<Difference>, Failure> {
    let gather = ends.ground.gather(session);
    let version = ends.view.leader().and_then(|leader| {
        let version = leader.server.known()?.version.split('.').next()?.parse::<u32>().ok()?;
        Some(version * 10_000)
    });
    let version = version.ok_or_else(|| NotNow::NotFit { reason: "the leader does not say its version".to_owned() })?;
    let copy = match state.step {
        // it was not compared, and the source has what it was
        _ if state.is_unknown() => streaming::noted(ends, session).await?,
        // the source has that by now
        Step::GoingBack if state.carried != Fingerprint::default() => state.carried.clone(),
        _ => state.copy.clone(),
    };
    let measure = Measure { older: version.min(state.source_version), hashed: copy.hashed };
    let versions = (version, measure);
    let now = migrate::of_the_target((&gather, &ends.leader), versions, &session.reporter).await?;
    Ok(copy.differences(&now))
}

impl Course<'_> {
    /// Both sides are compared, and what the cluster has since goes back. The schema and the roles stay as they are there,
    /// and what differs in them is told.
    async fn carry_back(
        &self,
        (kept, state, lose): (&Kept, &State, bool),
        approved: &Approved,
        session: &Session,
    ) -> Result<Carried, Failure> {
        let mut looked = look(self.ends, session).await?;
        looked.made = state.made.clone();
        let mut moving = self.moving((&looked, &|| Ok(()), &|_, _| Ok(())), approved, session);
        moving.hashed = Some(state.copy.hashed);
        let compared = moving.run().await?.compared;
        // what is neither as it was when it was made read-only, nor as an earlier try has left it, was written there
        let written = state.copy.differences(&compared.source);
        let carried = state.carried.differences(&compared.source);
        let of_somebody = |it: &&Difference| {
            it.source != "not there"
                && !it.what.starts_with("sequence ")
                && carried.iter().any(|other| other.what == it.what)
                && compared.differences.iter().any(|other| other.what == it.what)
        };
        if written.iter().any(|it| of_somebody(&it)) {
            return Err(NotNow::SourceGoesOn.into());
        }
        let stays: Vec<&Difference> = compared.differences.iter().filter(|it| !migrate::is_rows(it)).collect();
        let of_rows = |it: &&&Difference| {
            it.target != "not there" && (it.what.starts_with("table ") || it.what.starts_with("sequence "))
        };
        if let (false, Some(first)) = (lose, stays.iter().find(of_rows)) {
            return Err(NotNow::NotCarried { what: first.what.clone() }.into());
        }
        for it in stays {
            let message = format!("not carried back: {} (cluster: {})", it.what, it.target);
            session.reporter.emit(Kind::Warned { message, help: None }).await;
        }
        let about_to_hold = |target: &Fingerprint| {
            kept.set(&State { carried: target.clone(), ..state.clone() }).map_err(|error| one_line(&error))
        };
        Ok(moving.carry_back(&compared, &about_to_hold).await?)
    }
}
