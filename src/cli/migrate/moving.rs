//! `check`, `rehearse` and `run`: the same look first, and the same way afterwards.

use jiff::Timestamp;
use serde_json::json;

use super::super::confirm::{self, Ask, Naming};
use super::super::ground::Ground;
use super::super::session::{Done, Ending, Need, Opening, Session, Target};
use super::super::{Failure, Globals, out};
use super::ends::{Ends, also, name, source};
use super::kept::{Kept, State, Step};
use super::streaming::{self, programs};
use super::{Check, NotNow, Rehearse, Run, in_the_way, told};
use crate::approval::Approved;
use crate::engine::Scrutiny;
use crate::error::{Exit, one_line};
use crate::inventory::Source;
use crate::migrate::check::{self, Finding, Severity};
use crate::migrate::fingerprint::Fingerprint;
use crate::migrate::record::{Method, Phase, Record};
use crate::report::journal::Store;
use crate::report::text::{count, mebibytes};
use crate::report::{Kind, Show};
use crate::workflow::lock::RunLock;
use crate::workflow::migrate::{
    self, AboutToFreeze, AboutToSwitch, Back, Compared, Looked, MigrateError, Mode, Moved, Moving,
};
use crate::workflow::{Operation, Wanted};

/// What only stands in the way of a run: a rehearsal changes nothing on the source.
const OF_A_RUN_ONLY: [&str; 3] = ["recovery", "read-only", "prepared"];
const OF_SPACE: [&str; 2] = ["disk", "replicas-disk"];

pub(super) async fn open(target: &Target, globals: &Globals) -> Result<Session, Failure> {
    let show = if globals.json { Show::Plain } else { Show::detect() };
    let opening = Opening { command: "migrate", show, globals, secrets: Need::Yes, scrutiny: Scrutiny::NewHosts };
    Session::open(target, opening).await
}

pub(super) async fn check(args: &Check, globals: &Globals) -> Result<Exit, Failure> {
    let mut session = open(&args.target, globals).await?;
    let result = checked(&mut session, globals).await;
    session.finish(result).await
}

async fn checked(session: &mut Session, globals: &Globals) -> Result<Done, Failure> {
    let source = source(session)?;
    let ends = Ends::reach(session, &source, Ground::to_look(session).await?).await?;
    let looked = look(&ends, session).await;
    ends.close(session).await;
    let looked = looked?;
    let findings = check::judge(&looked.source, &looked.target);
    session.settle().await;
    if globals.json {
        let methods: Vec<_> = check::methods(&looked.source, &looked.target)
            .into_iter()
            .map(|(name, recommended, why)| json!({ "method": name, "recommended": recommended, "why": why }))
            .collect();
        let (low, high) = check::seconds(&looked.source);
        let window = json!({ "least_seconds": low, "most_seconds": high });
        out::json(
            &json!({ "source": name(&source), "findings": findings, "window": window, "methods": methods, "found": looked.source }),
        )?;
    } else {
        session.print(&told::checked(&source, &looked, &findings))?;
    }
    let exit = if in_the_way(findings.iter()).is_empty() { Exit::Ok } else { Exit::Unhealthy };
    Ok(Done { exit, changed: 0 })
}

pub(super) async fn look(ends: &Ends<'_>, session: &Session) -> Result<Looked, Failure> {
    let gather = ends.ground.gather(session);
    Ok(migrate::look(&gather, (&ends.foreign, &ends.leader), &ends.ground.fleet).await?)
}

pub(super) async fn rehearse(
    args: &Rehearse,
    method: Option<Method>,
    (globals, mode): (&Globals, Mode),
) -> Result<Exit, Failure> {
    let mut session = open(&args.target, globals).await?;
    let result = rehearsed(args, method.unwrap_or_default(), (globals, mode), &mut session).await;
    session.finish(result).await
}

async fn rehearsed(
    args: &Rehearse,
    method: Method,
    (globals, mode): (&Globals, Mode),
    session: &mut Session,
) -> Result<Done, Failure> {
    let source = source(session)?;
    let directory = Store::of_user()?.cluster(&session.inventory.cluster);
    let _lock = RunLock::take(&directory, &session.inventory.cluster)?;
    let state = Kept::of(&session.inventory.cluster)?.state()?;
    of_this_source(state.as_ref(), &source)?;
    let made = match (mode, state) {
        (Mode::Verify, Some(State { step: Step::Switched | Step::Opened, made, .. })) => made,
        (Mode::Verify, _) => {
            let help = "`xnat-provision migrate run` moves a database in, and compares it";
            return Err(NotNow::Nothing { go_on: "compare", help }.into());
        }
        // its state is needed to go back
        (Mode::Rehearse, Some(State { step: Step::Switched | Step::Opened, source, since, .. }))
            if method != Method::Dump =>
        {
            return Err(NotNow::Done { source_name: source, since }.into());
        }
        _ => Vec::new(),
    };
    let ends = Ends::reach(session, &source, Ground::of(session).await?).await?;
    if let Err(failure) = not_half_done(mode, &ends, session).await {
        ends.close(session).await;
        return Err(failure);
    }
    let ask = if args.yes { Ask::SaidYes } else { Ask::Terminal };
    let jobs = usize::from(args.jobs.jobs);
    let result = async {
        let programs = programs(method, &ends.ground, session).await?;
        let course = Course { ends: &ends, source: &source, jobs, mode, method, programs };
        course.rehearse((ask, made), globals, session).await
    };
    let result = result.await;
    ends.close(session).await;
    result
}

/// Whoever has changed the inventory meanwhile would leave the former one as it is.
pub(super) fn of_this_source(state: Option<&State>, source: &Source) -> Result<(), NotNow> {
    match state.filter(|state| state.is_of_another(&name(source))) {
        Some(state) => Err(NotNow::Another { former: state.source.clone(), source_name: name(source) }),
        None => Ok(()),
    }
}

/// What a run that was cut off has left is removed by this, and one can tell by it how far that has come.
pub(super) async fn not_half_done(mode: Mode, ends: &Ends<'_>, session: &Session) -> Result<(), Failure> {
    let state = Kept::of(&session.inventory.cluster)?.state()?;
    let half = match state.as_ref().map(|state| (state.step, state.unfinished)) {
        Some((Step::ReadOnly | Step::Following | Step::Switching, _)) => true,
        // both are there to be compared, whatever XNAT does
        Some((Step::Switched | Step::Opened, true)) if ends.is_done(state.as_ref(), session).await? => {
            if mode == Mode::Verify {
                return Ok(());
            }
            let reason =
                "a run was cut off at its end, which `migrate resume` goes on with, and `migrate rollback` takes back";
            return Err(NotNow::NotFit { reason: reason.to_owned() }.into());
        }
        Some((Step::Switched | Step::Opened, unfinished)) => unfinished,
        Some((Step::GoingBack, _)) => {
            let reason = "going back was begun, which `migrate rollback` goes on with".to_owned();
            return Err(NotNow::NotFit { reason }.into());
        }
        // it begins anew
        Some((Step::Rehearsing | Step::Left, _)) | None => false,
    };
    if half {
        let reason = "a run was cut off, which `migrate resume` goes on with and `migrate abort` gives up".to_owned();
        return Err(NotNow::NotFit { reason }.into());
    }
    Ok(())
}

pub(super) async fn run(
    args: &Run,
    method: Option<Method>,
    (globals, resume): (&Globals, bool),
) -> Result<Exit, Failure> {
    let mut session = open(&args.target, globals).await?;
    let result = ran(args, method, (globals, resume), &mut session).await;
    session.finish(result).await
}

async fn ran(
    args: &Run,
    method: Option<Method>,
    (globals, resume): (&Globals, bool),
    session: &mut Session,
) -> Result<Done, Failure> {
    let source = source(session)?;
    let cluster = session.inventory.cluster.clone();
    let naming = Naming { cluster: cluster.clone(), given: args.confirm.clone() };
    naming.check()?;
    let directory = Store::of_user()?.cluster(&cluster);
    let _lock = RunLock::take(&directory, &cluster)?;
    let kept = Kept::of(&cluster)?;
    let state = kept.state()?;
    of_this_source(state.as_ref(), &source)?;
    let begun = state.as_ref().filter(|state| state.is_begun());
    if begun.is_none() && resume {
        let help = "`xnat-provision migrate run` begins one";
        return Err(NotNow::Nothing { go_on: "go on with", help }.into());
    }
    let ground = Ground::of(session).await?;
    if let Some(state) = begun.filter(|state| state.step == Step::Switching) {
        let jobs = usize::from(args.jobs.jobs);
        if method.is_some_and(|method| method != Method::Stream) {
            let mut ground = ground;
            ground.fleet.close(&session.reporter).await;
            let reason = "a run by stream was cut off, and goes on by stream".to_owned();
            return Err(NotNow::NotFit { reason }.into());
        }
        return streaming::go_on((&source, jobs, ground), (&naming, globals), (&kept, state), session).await;
    }
    let ends = Ends::reach(session, &source, ground).await?;
    // who goes on goes on as it was begun
    let is_done = match ends.is_done(state.as_ref(), session).await {
        Ok(is_done) => is_done,
        Err(failure) => {
            ends.close(session).await;
            return Err(failure);
        }
    };
    let method = match begun {
        Some(state) if is_done => state.method,
        _ => method.or_else(|| begun.map(|state| state.method)).unwrap_or_default(),
    };
    let jobs = usize::from(args.jobs.jobs);
    let programs = match programs(method, &ends.ground, session).await {
        Ok(programs) => programs,
        Err(failure) => {
            ends.close(session).await;
            return Err(failure);
        }
    };
    let course = Course { ends: &ends, source: &source, jobs, mode: Mode::Run, method, programs };
    if let Err(failure) = not_from_elsewhere(&ends, state.as_ref(), session).await {
        ends.close(session).await;
        return Err(failure);
    }
    if let Err(failure) = ends.of_another(state.as_ref(), session).await {
        ends.close(session).await;
        return Err(failure);
    }
    let result = match (is_done, state) {
        (true, Some(state)) if resume && state.step == Step::Opened => {
            course.end_opened(&naming, (&kept, &state), session).await
        }
        // what may be left of a whole one is XNAT's part
        (true, Some(state)) if resume && (state.unfinished || ends.application(session).is_there()) => {
            course.go_on((&naming, globals), (&kept, &state), session).await
        }
        (true, Some(State { unfinished: true, .. } | State { step: Step::Opened, .. })) => {
            let reason = "a run was cut off when the copy had taken its place, which `migrate resume` goes on with";
            Err(NotNow::NotFit { reason: reason.to_owned() }.into())
        }
        (true, Some(State { source, since, .. })) => Err(NotNow::Done { source_name: source, since }.into()),
        _ => course.run(&naming, (globals, &kept), session).await,
    };
    ends.close(session).await;
    result
}

/// Moved in from another machine, which alone knows how to go back.
async fn not_from_elsewhere(ends: &Ends<'_>, state: Option<&State>, session: &Session) -> Result<(), Failure> {
    match ends.mark_of_others(state, session).await? {
        Some(mark) => Err(NotNow::Elsewhere { mark }.into()),
        None => Ok(()),
    }
}

/// From the look to the report.
pub(super) struct Course<'a> {
    pub ends: &'a Ends<'a>,
    pub source: &'a Source,
    pub jobs: usize,
    pub mode: Mode,
    pub method: Method,
    pub programs: Wanted,
}

impl Course<'_> {
    /// Whatever speaks against it ends it here, before anybody is asked.
    async fn prepared(&self, begun: bool, session: &Session) -> Result<Looked, Failure> {
        self.ends.fit(session)?;
        let looked = look(self.ends, session).await?;
        let findings = check::judge(&looked.source, &looked.target);
        let counts = |it: &&Finding| match self.mode {
            _ if begun && OF_SPACE.contains(&it.id) => false,
            Mode::Run => true,
            Mode::Rehearse => !OF_A_RUN_ONLY.contains(&it.id),
            Mode::Verify => false,
        };
        let stops = in_the_way(findings.iter().filter(counts));
        if !stops.is_empty() {
            let (number, titles) = (count(stops.len(), "thing"), stops.join("; "));
            return Err(NotNow::Stops { number, source_name: name(self.source), titles }.into());
        }
        let (against, by) = match self.method {
            Method::Dump => (Vec::new(), ""),
            Method::Stream => {
                let mut against = check::against_stream(&looked.source, &looked.target);
                against.extend(check::no_room(&looked.source, &looked.target).filter(|_| !begun));
                (against, "by standbys")
            }
            Method::Logical => (check::against_logical(&looked.source), "by logical replication"),
        };
        if self.mode != Mode::Verify && !against.is_empty() {
            return Err(NotNow::Method { source_name: name(self.source), by, reasons: against.join("; ") }.into());
        }
        let worth_a_look = |it: &&Finding| it.severity == Severity::Look && self.mode != Mode::Verify;
        for finding in findings.iter().filter(worth_a_look) {
            let message = format!("{}: {}", finding.title, finding.evidence);
            session.reporter.emit(Kind::Warned { message, help: Some(finding.todo.clone()) }).await;
        }
        Ok(looked)
    }

    /// A copy of another one takes room, and goes before there is more.
    async fn is_begun(&self, session: &Session) -> Result<bool, Failure> {
        let Ends { ground, leader, .. } = self.ends;
        let left = migrate::left(&ground.gather(session), leader, &ground.fleet).await?;
        Ok(!left.databases.is_empty() || !left.copies.is_empty())
    }

    async fn rehearse(
        &self,
        (ask, made): (Ask, Vec<String>),
        globals: &Globals,
        session: &mut Session,
    ) -> Result<Done, Failure> {
        let kept = Kept::of(&session.inventory.cluster)?;
        let mut looked = self.prepared(self.is_begun(session).await?, session).await?;
        if self.mode == Mode::Verify {
            looked.made = made;
        }
        session.settle().await;
        let (source, leader) = (name(self.source), &self.ends.leader.name);
        let question = if self.mode == Mode::Verify {
            format!("Compare {source} with the application's database on {leader}? Neither is changed.")
        } else if self.method == Method::Stream {
            self.to_rehearse(&looked)
        } else {
            let size = mebibytes(looked.source.database.bytes);
            let follows = match self.method {
                Method::Dump | Method::Stream => "",
                Method::Logical => {
                    " For as long as it takes it has a publication and a replication slot, and keeps the WAL that the copy has not read."
                }
            };
            format!(
                "Copy {source} ({size}) to {leader} beside the application's database, compare, and remove the copy? The source goes on.{follows}"
            )
        };
        let standing = (&session.cancel, &self.ends.ground.fleet.standing);
        let Some(approved) = confirm::approve(ask, &question, standing).await? else {
            return declined(session, "not confirmed; nothing was changed").await;
        };
        let started = Timestamp::now();
        let former = kept.state()?.filter(|former| !former.is_begun());
        self.forget(former.as_ref(), &looked, &approved).await?;
        if self.method != Method::Dump {
            kept.set(&State { step: Step::Rehearsing, ..self.state(started, &looked) })?;
        }
        let moved = self.moving((&looked, &|| Ok(()), &|_, _| Ok(())), &approved, session).run().await;
        if self.mode == Mode::Rehearse {
            self.left_alone((&kept, &self.state(started, &looked)), session).await;
        }
        let record = self.record(started, (&looked, moved?), session);
        let report = kept.report(&record)?;
        session.settle().await;
        if globals.json {
            out::json(&record)?;
        } else {
            session.print(&format!("{}\nReport: {}\n", record.text(), report.display()))?;
        }
        Ok(Done { exit: if record.passed { Exit::Ok } else { Exit::Unhealthy }, changed: 0 })
    }

    async fn run(
        &self,
        naming: &Naming,
        (globals, kept): (&Globals, &Kept),
        session: &mut Session,
    ) -> Result<Done, Failure> {
        let looked = self.prepared(self.is_begun(session).await?, session).await?;
        let xnats = self.ends.application(session).look().await?;
        session.settle().await;
        let text = self.announced((&looked, &xnats), session, kept)?;
        if globals.json {
            session.reporter.emit(Kind::OutputLine { line: text.lines().next().unwrap_or_default().to_owned() }).await;
        } else {
            session.print(&text)?;
        }
        let warning = match (xnats.is_empty(), self.method) {
            (true, Method::Dump) => "The application has to be stopped by now.",
            (false, Method::Dump) => "XNAT is stopped by this; whatever else writes has to be stopped by now.",
            (true, _) => "The application may go on until the source is read-only, which cuts it off.",
            (false, _) => "XNAT goes on until this stops it; whatever else writes is cut off then.",
        };
        let standing = (&session.cancel, &self.ends.ground.fleet.standing);
        let Some(approved) = naming.approve(warning, standing).await? else {
            return declined(session, "the name was not typed; nothing was changed").await;
        };
        let fleet = &self.ends.ground.fleet;
        session.remember((fleet, &approved), 1, None).await;
        let result = self.under_lock((&looked, &approved), (globals, kept), session).await;
        let end = Ending::of(result.as_ref().map(|_| 1));
        session.remember((fleet, &approved), 1, Some(end)).await;
        let (record, goes_on) = result?;
        let in_place = kept.state()?.is_some_and(|state| state.has_switched());
        let report = kept.report(&record)?;
        if in_place
            && goes_on
            && let Err(error) = kept.finished()
        {
            also(session, "the run went well, and `status` will say that it was cut off", &error.into()).await;
        }
        session.settle().await;
        if globals.json {
            out::json(&record)?;
        } else {
            // by stream it was told when the cluster could be used
            let next = if in_place && self.method != Method::Stream { self.next(session) } else { String::new() };
            session.print(&format!("{}\nReport: {}\n{next}", record.text(), report.display()))?;
        }
        let well = record.passed && goes_on;
        Ok(Done { exit: if well { Exit::Ok } else { Exit::Unhealthy }, changed: usize::from(in_place) })
    }

    /// The source is read-only from here on, until the copy is in its place; if it does not get there, no longer. With it,
    /// whether XNAT goes on, as far as that is our business.
    async fn under_lock(
        &self,
        (looked, approved): (&Looked, &Approved),
        (globals, kept): (&Globals, &Kept),
        session: &mut Session,
    ) -> Result<(Record, bool), Failure> {
        let started = Timestamp::now();
        let former = kept.state()?;
        self.forget(former.as_ref(), looked, approved).await?;
        // after a move into a cluster that is gone XNAT's own settings are still those that were kept then
        // whoever has opened it since by hand has put XNAT back, too
        let opened =
            |former: &State| former.is_ended() && former.system == looked.system && !looked.source.is_read_only();
        let alike =
            former.as_ref().filter(|former| former.source == name(self.source) && former.is_begun() && !opened(former));
        let kept_as = alike.map(|former| former.kept_as.clone()).filter(|kept_as| !kept_as.is_empty());
        let mut state = self.state(started, looked);
        state.kept_as = kept_as.unwrap_or_else(|| started.strftime(".before-%Y%m%dT%H%M%SZ").to_string());
        // what it says now is what that run made it say
        if let Some(former) = alike {
            state.read_only_before.clone_from(&former.read_only_before);
        }
        let mark = format!("from {} at {started} by {}", name(self.source), session.claim().who);
        state.mark = Some(mark.clone());
        if self.method != Method::Dump {
            let closed = |former: State| match former.step {
                Step::ReadOnly => true,
                // it was about to take its place, and did not
                Step::Switched => !former.is_ended() && former.system == looked.system,
                _ => false,
            };
            let was_closed = former.is_some_and(closed);
            if was_closed {
                // nobody has to wait while a new copy is made
                migrate::thaw(&self.ends.foreign, state.read_only_before.as_deref(), approved).await?;
                let back = Back { kept_as: &state.kept_as, cluster: None, anew: true };
                self.ends.application(session).as_before(&back, (approved, &session.reporter)).await?;
            }
            // closed by a run that this machine does not know: then it stays so until this one is over
            let open = was_closed || !looked.source.is_read_only();
            let step = if open { Step::Following } else { Step::ReadOnly };
            kept.set(&State { step, ..state.clone() })?;
        }
        let about_to_freeze = || kept.set(&state).map_err(|error| one_line(&error));
        let step = if self.method == Method::Stream { Step::Switching } else { Step::Switched };
        let switched = State { step, unfinished: step == Step::Switched, ..state.clone() };
        let about_to_switch = |compared: &Compared, phases: &[Phase]| {
            // by stream nothing is compared yet; otherwise the evidence is there whatever becomes of the run
            if self.method != Method::Stream {
                let (phases, compared) = (phases.to_vec(), compared.clone());
                let moved = Moved { phases, compared, in_place: true, kept: None, opened: None };
                let record = self.record(started, (looked, moved), session);
                kept.report(&Record { open: true, passed: false, ..record }).map_err(|error| one_line(&error))?;
            }
            let state = State { copy: compared.target.clone(), ..switched.clone() };
            kept.set(&state).map_err(|error| one_line(&error))
        };
        let moving = self.moving((looked, &about_to_freeze, &about_to_switch), approved, session);
        let moved = Moving { mark, ..moving }.run().await;
        let moved = match moved {
            Ok(Moved { opened: Some(opened), phases, .. }) => {
                let moved = Moved { opened: None, in_place: true, phases, compared: Compared::default(), kept: None };
                return self.opened((kept, &state, looked), (moved, opened), (approved, globals), session).await;
            }
            moved => moved,
        };
        let application = self.ends.application(session);
        let stays = match &moved {
            Ok(moved) => moved.in_place,
            Err(error) => matches!(
                error,
                MigrateError::InPlace { .. } | MigrateError::Halfway { .. } | MigrateError::Beyond { .. }
            ),
        };
        let mut goes_on = true;
        if !stays {
            self.opened_again((kept, &state, looked), approved, session).await;
        } else if application.is_there() && moved.is_ok() {
            goes_on = self.switched(&state.kept_as, approved, session).await;
        } else if application.is_there() {
            let message = "XNAT is stopped: whether the cluster has it all is not certain".to_owned();
            let help = Some("see `xnat-provision status`; when it is well, `xnat-provision migrate resume`".to_owned());
            session.reporter.emit(Kind::Warned { message, help }).await;
        }
        Ok((self.record(started, (looked, moved?), session), goes_on))
    }

    /// What is written down before the source is made read-only.
    fn state(&self, since: Timestamp, looked: &Looked) -> State {
        State {
            step: Step::ReadOnly,
            since,
            method: self.method,
            source: name(self.source),
            source_version: looked.source.server.version_num,
            system: looked.system,
            copy: Fingerprint::default(),
            made: looked.made.clone(),
            leader: Some(self.ends.leader.name.clone()),
            kept_as: String::new(),
            carried: Fingerprint::default(),
            unfinished: false,
            mark: None,
            ended: false,
            // that it is read-only was a run that nobody knows of, most likely
            read_only_before: looked
                .source
                .read_only_itself()
                .filter(|_| !looked.source.is_read_only())
                .map(str::to_owned),
        }
    }

    pub(super) fn moving<'s>(
        &'s self,
        (looked, about_to_freeze, about_to_switch): (&'s Looked, &'s AboutToFreeze<'s>, &'s AboutToSwitch<'s>),
        approved: &'s Approved,
        session: &'s Session,
    ) -> Moving<'s> {
        let Ends { ground, foreign, leader, .. } = self.ends;
        let (reporter, cancel, fleet) = (&session.reporter, &session.cancel, &ground.fleet);
        let operation = Operation { gather: ground.gather(session), fleet, approved, reporter, cancel };
        Moving {
            operation,
            foreign,
            leader,
            secrets: &session.secrets,
            looked,
            major: looked.target.version_num / 10_000,
            jobs: self.jobs,
            mode: self.mode,
            method: self.method,
            application: self.ends.application(session),
            about_to_freeze,
            hashed: None,
            programs: &self.programs,
            mark: String::new(),
            about_to_switch,
        }
    }
}

pub(super) async fn declined(session: &Session, why: &str) -> Result<Done, Failure> {
    let (title, why) = ("migrate".to_owned(), why.to_owned());
    session.reporter.emit(Kind::StepSkipped { title, why }).await;
    Ok(Done { exit: Exit::Failed, changed: 0 })
}
