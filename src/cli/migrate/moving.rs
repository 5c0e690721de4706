//! `check`, `rehearse` and `run`: the same look first, and the same way afterwards.

use jiff::Timestamp;
use serde_json::json;

use super::super::confirm::{self, Ask, Naming};
use super::super::ground::Ground;
use super::super::handout;
use super::super::session::{Done, Ending, Need, Opening, Session, Target};
use super::super::{Failure, Globals, out};
use super::ends::{Ends, also, name, source};
use super::kept::{Kept, State, Step};
use super::{Check, NotNow, Rehearse, Run, in_the_way};
use crate::approval::Approved;
use crate::cluster::endpoints::{Files, Notation, endpoints};
use crate::engine::Scrutiny;
use crate::error::{Exit, one_line};
use crate::inventory::Source;
use crate::migrate::check::{self, Finding, Severity};
use crate::migrate::fingerprint::Fingerprint;
use crate::migrate::record::{Record, Sums};
use crate::names::HostName;
use crate::quote;
use crate::report::journal::Store;
use crate::report::text::{count, duration, mebibytes};
use crate::report::{Kind, Show};
use crate::workflow::Operation;
use crate::workflow::lock::RunLock;
use crate::workflow::migrate::{self, AboutToSwitch, Address, Looked, MigrateError, Mode, Moved, Moving};

/// What only stands in the way of a run: a rehearsal changes nothing on the source.
const OF_A_RUN_ONLY: [&str; 3] = ["recovery", "read-only", "prepared"];

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
        session.print(&told(&source, &looked, &findings))?;
    }
    let exit = if in_the_way(findings.iter()).is_empty() { Exit::Ok } else { Exit::Unhealthy };
    Ok(Done { exit, changed: 0 })
}

async fn look(ends: &Ends<'_>, session: &Session) -> Result<Looked, Failure> {
    let gather = ends.ground.gather(session);
    Ok(migrate::look(&gather, (&ends.foreign, &ends.leader), &ends.ground.fleet).await?)
}

/// The verdict, all that was found, and how long it would take.
fn told(source: &Source, looked: &Looked, findings: &[Finding]) -> String {
    let number = |severity| findings.iter().filter(|it| it.severity == severity).count();
    let (stops, looks) = (number(Severity::Stops), number(Severity::Look));
    let verdict = match (stops, looks) {
        (0, 0) => "can be moved in".to_owned(),
        (0, _) => format!("can be moved in; {} to look at", count(looks, "thing")),
        (_, _) => format!("cannot be moved in as it is: {} in the way", count(stops, "thing")),
    };
    let found = &looked.source;
    let (low, high) = check::seconds(found);
    let mut text = format!(
        "{}: {verdict}\n{}, {} in {}\n\n{}\n",
        name(source),
        found.server.version.split(" on ").next().unwrap_or_default(),
        mebibytes(found.database.bytes),
        count(usize::try_from(found.tables.count).unwrap_or_default(), "table"),
        check::text(findings)
    );
    text.push_str(&format!(
        "Nobody could write for about {} to {}; `xnat-provision migrate rehearse` measures it.\n",
        duration(low * 1000),
        duration(high * 1000)
    ));
    for (method, recommended, why) in check::methods(found, &looked.target) {
        let word = if recommended { "recommended" } else { "not" };
        text.push_str(&format!("  {method:<8} {word}: {why}\n"));
    }
    text
}

pub(super) async fn rehearse(args: &Rehearse, (globals, mode): (&Globals, Mode)) -> Result<Exit, Failure> {
    let mut session = open(&args.target, globals).await?;
    let result = rehearsed(args, (globals, mode), &mut session).await;
    session.finish(result).await
}

async fn rehearsed(args: &Rehearse, (globals, mode): (&Globals, Mode), session: &mut Session) -> Result<Done, Failure> {
    let source = source(session)?;
    let directory = Store::of_user()?.cluster(&session.inventory.cluster);
    let _lock = RunLock::take(&directory, &session.inventory.cluster)?;
    let made = match (mode, Kept::of(&session.inventory.cluster)?.state()?) {
        (Mode::Verify, Some(State { step: Step::Switched, made, .. })) => made,
        (Mode::Verify, _) => {
            let help = "`xnat-provision migrate run` moves a database in, and compares it";
            return Err(NotNow::Nothing { go_on: "compare", help }.into());
        }
        _ => Vec::new(),
    };
    let ends = Ends::reach(session, &source, Ground::of(session).await?).await?;
    let ask = if args.yes { Ask::SaidYes } else { Ask::Terminal };
    let course = Course { ends: &ends, source: &source, jobs: usize::from(args.jobs.jobs), mode };
    let result = course.rehearse((ask, made), globals, session).await;
    ends.close(session).await;
    result
}

pub(super) async fn run(args: &Run, (globals, resume): (&Globals, bool)) -> Result<Exit, Failure> {
    let mut session = open(&args.target, globals).await?;
    let result = ran(args, (globals, resume), &mut session).await;
    session.finish(result).await
}

async fn ran(args: &Run, (globals, resume): (&Globals, bool), session: &mut Session) -> Result<Done, Failure> {
    let source = source(session)?;
    let cluster = session.inventory.cluster.clone();
    let naming = Naming { cluster: cluster.clone(), given: args.confirm.clone() };
    naming.check()?;
    let directory = Store::of_user()?.cluster(&cluster);
    let _lock = RunLock::take(&directory, &cluster)?;
    let kept = Kept::of(&cluster)?;
    let state = kept.state()?;
    if state.is_none() && resume {
        let help = "`xnat-provision migrate run` begins one";
        return Err(NotNow::Nothing { go_on: "go on with", help }.into());
    }
    let ends = Ends::reach(session, &source, Ground::of(session).await?).await?;
    if let Err(failure) = ends.is_not_done(state.as_ref(), session).await {
        ends.close(session).await;
        return Err(failure);
    }
    let course = Course { ends: &ends, source: &source, jobs: usize::from(args.jobs.jobs), mode: Mode::Run };
    let result = course.run(&naming, (globals, &kept), session).await;
    ends.close(session).await;
    result
}

/// From the look to the report.
struct Course<'a> {
    ends: &'a Ends<'a>,
    source: &'a Source,
    jobs: usize,
    mode: Mode,
}

impl Course<'_> {
    /// Whatever speaks against it ends it here, before anybody is asked.
    async fn prepared(&self, session: &Session) -> Result<Looked, Failure> {
        self.ends.fit(session)?;
        let looked = look(self.ends, session).await?;
        let findings = check::judge(&looked.source, &looked.target);
        let counts = |it: &&Finding| match self.mode {
            Mode::Run => true,
            Mode::Rehearse => !OF_A_RUN_ONLY.contains(&it.id),
            Mode::Verify => false,
        };
        let stops = in_the_way(findings.iter().filter(counts));
        if !stops.is_empty() {
            let (number, titles) = (count(stops.len(), "thing"), stops.join("; "));
            return Err(NotNow::Stops { number, source_name: name(self.source), titles }.into());
        }
        let worth_a_look = |it: &&Finding| it.severity == Severity::Look && self.mode != Mode::Verify;
        for finding in findings.iter().filter(worth_a_look) {
            let message = format!("{}: {}", finding.title, finding.evidence);
            session.reporter.emit(Kind::Warned { message, help: Some(finding.todo.clone()) }).await;
        }
        Ok(looked)
    }

    async fn rehearse(
        &self,
        (ask, made): (Ask, Vec<String>),
        globals: &Globals,
        session: &mut Session,
    ) -> Result<Done, Failure> {
        let mut looked = self.prepared(session).await?;
        if self.mode == Mode::Verify {
            looked.made = made;
        }
        session.settle().await;
        let (source, leader) = (name(self.source), &self.ends.leader.name);
        let question = if self.mode == Mode::Verify {
            format!("Compare {source} with the application's database on {leader}? Neither is changed.")
        } else {
            let size = mebibytes(looked.source.database.bytes);
            format!(
                "Copy {source} ({size}) to {leader} beside the application's database, compare, and remove the copy? The source goes on."
            )
        };
        let standing = (&session.cancel, &self.ends.ground.fleet.standing);
        let Some(approved) = confirm::approve(ask, &question, standing).await? else {
            return declined(session, "not confirmed; nothing was changed").await;
        };
        let started = Timestamp::now();
        let moved = self.moved((&looked, &|_| Ok(())), &approved, session).await?;
        let record = self.record(started, (&looked, moved), session);
        let report = Kept::of(&session.inventory.cluster)?.report(&record)?;
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
        let looked = self.prepared(session).await?;
        let xnats = self.ends.application(session).look().await?;
        session.settle().await;
        let text = self.announced((&looked, &xnats), session, kept)?;
        if globals.json {
            session.reporter.emit(Kind::OutputLine { line: text.lines().next().unwrap_or_default().to_owned() }).await;
        } else {
            session.print(&text)?;
        }
        let warning = match xnats.is_empty() {
            true => "The application has to be stopped by now.",
            false => "XNAT is stopped by this; whatever else writes has to be stopped by now.",
        };
        let standing = (&session.cancel, &self.ends.ground.fleet.standing);
        let Some(approved) = naming.approve(warning, standing).await? else {
            return declined(session, "the name was not typed; nothing was changed").await;
        };
        let fleet = &self.ends.ground.fleet;
        session.remember((fleet, &approved), 1, None).await;
        let result = self.under_lock((&looked, &approved), kept, session).await;
        let end = Ending::of(result.as_ref().map(|_| 1));
        session.remember((fleet, &approved), 1, Some(end)).await;
        let record = result?;
        let in_place = kept.state()?.is_some();
        let report = kept.report(&record)?;
        session.settle().await;
        if globals.json {
            out::json(&record)?;
        } else {
            let next = if in_place { self.next(session) } else { String::new() };
            session.print(&format!("{}\nReport: {}\n{next}", record.text(), report.display()))?;
        }
        Ok(Done { exit: if record.passed { Exit::Ok } else { Exit::Unhealthy }, changed: usize::from(in_place) })
    }

    /// The source is read-only from here on, until the copy is in its place; if it does not get there, no longer.
    async fn under_lock(
        &self,
        (looked, approved): (&Looked, &Approved),
        kept: &Kept,
        session: &Session,
    ) -> Result<Record, Failure> {
        let started = Timestamp::now();
        let source_version = looked.source.server.version_num;
        let mut state = State {
            step: Step::ReadOnly,
            since: started,
            source: name(self.source),
            source_version,
            system: looked.system,
            copy: Fingerprint::default(),
            made: looked.made.clone(),
            kept_as: started.strftime(".before-%Y%m%dT%H%M%SZ").to_string(),
        };
        kept.set(&state)?;
        let switched = State { step: Step::Switched, ..state.clone() };
        let about_to_switch = |copy: &Fingerprint| {
            let state = State { copy: copy.clone(), ..switched.clone() };
            kept.set(&state).map_err(|error| one_line(&error))
        };
        let application = self.ends.application(session);
        let moved = match application.stop((approved, &session.reporter)).await {
            Ok(()) => self.moved((looked, &about_to_switch), approved, session).await,
            Err(error) => Err(error),
        };
        let stays = match &moved {
            Ok(moved) => moved.in_place,
            Err(error) => matches!(error, MigrateError::InPlace { .. }),
        };
        if !stays {
            state.step = Step::ReadOnly;
            self.opened_again((kept, &state), approved, session).await;
        } else if application.is_there() {
            self.switched(&state.kept_as, approved, session).await;
        }
        Ok(self.record(started, (looked, moved?), session))
    }

    /// XNAT goes on with the cluster. The database is there whatever comes of it, so it is told and no failure.
    async fn switched(&self, kept_as: &str, approved: &Approved, session: &Session) {
        let inventory = &session.inventory;
        let files = Files { inventory: &inventory.path, authorities: &handout::path(&inventory.path) };
        let lines = endpoints(inventory, files, Notation::of(&session.secrets.application));
        let settings = [
            ("datasource.driver", "org.postgresql.Driver".to_owned()),
            ("datasource.url", lines.jdbc),
            ("datasource.username", inventory.database.owner.clone()),
            ("datasource.password", session.secrets.application.expose().to_owned()),
        ];
        let trusted = session.secrets.pki.trusted();
        let authorities = lines.authorities.as_deref().map(|path| (trusted.as_str(), path));
        let application = self.ends.application(session);
        let told = (approved, &session.reporter);
        let address = Address { settings: &settings, authorities, kept_as };
        let done: Result<(), Failure> = async {
            application.point(&address, told).await?;
            application.start(told).await?;
            Ok(application.answers((&session.reporter, &session.cancel)).await?)
        }
        .await;
        match done {
            Ok(()) => {
                let (resource, summary) = ("XNAT".to_owned(), "shows its page, with the cluster's database".to_owned());
                session.reporter.emit(Kind::ChangeApplied { resource, summary, millis: 0 }).await;
            }
            Err(failure) => also(session, "the database is moved, but XNAT does not go on by itself", &failure).await,
        }
    }

    /// The run came to nothing, and the source goes on.
    async fn opened_again(&self, (kept, state): (&Kept, &State), approved: &Approved, session: &Session) {
        let thawed: Result<(), Failure> = async {
            kept.set(state)?;
            migrate::undo(&self.ends.foreign).await?;
            self.ends.application(session).start((approved, &session.reporter)).await?;
            Ok(kept.over()?)
        }
        .await;
        match thawed {
            Ok(()) => {
                let text = "the source can be written to again; the application's database is as it was";
                session.reporter.emit(Kind::Warned { message: text.to_owned(), help: None }).await;
            }
            Err(failure) => {
                also(session, "THE SOURCE IS STILL READ-ONLY, `xnat-provision migrate abort` opens it", &failure).await;
            }
        }
    }

    async fn moved(
        &self,
        (looked, about_to_switch): (&Looked, &AboutToSwitch<'_>),
        approved: &Approved,
        session: &Session,
    ) -> Result<Moved, MigrateError> {
        let Ends { ground, foreign, leader, .. } = self.ends;
        let (reporter, cancel, fleet) = (&session.reporter, &session.cancel, &ground.fleet);
        let operation = Operation { gather: ground.gather(session), fleet, approved, reporter, cancel };
        let moving = Moving {
            operation,
            foreign,
            leader,
            secrets: &session.secrets,
            looked,
            major: looked.target.version_num / 10_000,
            jobs: self.jobs,
            mode: self.mode,
            about_to_switch,
        };
        moving.run().await
    }

    fn record(&self, started: Timestamp, (looked, moved): (&Looked, Moved), session: &Session) -> Record {
        let Moved { phases, compared, kept, .. } = moved;
        let version = |number: u32| match number {
            100_000.. => format!("{}.{}", number / 10_000, number % 10_000),
            _ => format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100),
        };
        let inventory = &session.inventory;
        Record {
            passed: compared.differences.is_empty(),
            what: match self.mode {
                Mode::Rehearse => "rehearse",
                Mode::Run => "run",
                Mode::Verify => "verify",
            }
            .to_owned(),
            cluster: inventory.cluster.clone(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            who: session.claim().who,
            started,
            finished: Timestamp::now(),
            source: format!("{}, PostgreSQL {}", name(self.source), version(looked.source.server.version_num)),
            target: format!(
                "{} on {}, PostgreSQL {}",
                inventory.database.name,
                self.ends.leader.name,
                version(looked.target.version_num)
            ),
            bytes: looked.source.database.bytes,
            jobs: self.jobs,
            phases,
            differences: compared.differences,
            left_out: compared.left_out,
            objects: compared.objects,
            roles: compared.roles,
            kept,
            sums: Sums { source: compared.source, target: compared.target },
        }
    }

    /// What will happen, for a person.
    fn announced(
        &self,
        (looked, xnats): (&Looked, &[(HostName, String)]),
        session: &Session,
        kept: &Kept,
    ) -> Result<String, Failure> {
        let (source, database) = (name(self.source), &session.inventory.database.name);
        let leader = &self.ends.leader.name;
        let cut_off = match kept.state()? {
            Some(state) => {
                format!("A run was cut off {}; the source may be read-only since. It begins anew.\n", state.since)
            }
            None => String::new(),
        };
        let former = if looked.target.database_has_tables {
            format!("{database} of the cluster HAS TABLES: it is kept under another name")
        } else {
            format!("{database} of the cluster is empty: it is dropped")
        };
        let (low, high) = check::seconds(&looked.source);
        let (low, high) = (duration(low * 1000), duration(high * 1000));
        let xnat = &session.inventory.xnat;
        let stops: String =
            xnats.iter().map(|(host, url)| format!("\x20 0. {host}: {} stops; it uses {url}\n", xnat.unit)).collect();
        let starts: String = xnats
            .iter()
            .map(|(host, _)| {
                format!("\x20 6. {host}: {} leads to the cluster; {} starts\n", xnat.properties, xnat.unit)
            })
            .collect();
        Ok(format!(
            "{cut_off}{source} ({size}) becomes {database} of the cluster {cluster}:\n{stops}\
             \x20 1. {source}: read-only for everybody, and all sessions end. NOBODY CAN WRITE from here on\n\
             \x20 2. {leader}: {roles}, then dump, restore and analyze beside {database}\n\
             \x20 3. both: every row, sequence, large object, grant and role compared. Until here every failure, also a\n\
             \x20    difference, opens the source again, and nothing else has changed\n\
             \x20 4. {leader}: {former}; the copy takes its name\n\
             \x20 5. replicas: wait until they have all of it\n{starts}\
             The source stays read-only and as it is; `migrate rollback` opens it again.\n\
             Expect {low} to {high}; `migrate rehearse` measures it.\n\n",
            size = mebibytes(looked.source.database.bytes),
            cluster = session.inventory.cluster,
            roles = count(looked.made.len(), "new role"),
        ))
    }

    /// What to do now.
    fn next(&self, session: &Session) -> String {
        let inventory = &session.inventory;
        let files = Files { inventory: &inventory.path, authorities: &handout::path(&inventory.path) };
        let lines = endpoints(inventory, files, Notation::of(&session.secrets.application)).lines(files);
        format!(
            "\n{} {} is read-only.\n{}\nTo go back: xnat-provision migrate rollback {}\n",
            if inventory.xnat.hosts.is_empty() {
                "Your application may be switched now;"
            } else {
                "Other applications may be switched now;"
            },
            name(self.source),
            lines.join("\n"),
            quote::path(&inventory.path)
        )
    }
}

pub(super) async fn declined(session: &Session, why: &str) -> Result<Done, Failure> {
    let (title, why) = ("migrate".to_owned(), why.to_owned());
    session.reporter.emit(Kind::StepSkipped { title, why }).await;
    Ok(Done { exit: Exit::Failed, changed: 0 })
}
