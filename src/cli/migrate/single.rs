//! `to-single`: out of the cluster again, into one PostgreSQL.

use jiff::Timestamp;

use super::super::confirm::Naming;
use super::super::ground::Ground;
use super::super::session::{Done, Ending, Session};
use super::super::{Failure, Globals, out};
use super::ends::{Ends, name};
use super::evidence::evidence;
use super::kept::Kept;
use super::moving::{declined, not_half_done, open};
use super::{NotNow, Run};
use crate::approval::Approved;
use crate::error::Exit;
use crate::inventory::{Reach, Source};
use crate::migrate::check::spoken;
use crate::report::journal::Store;
use crate::report::text::{count, mebibytes};
use crate::workflow::Operation;
use crate::workflow::lock::RunLock;
use crate::workflow::migrate::{Leaving, MigrateError, Mode, Moved, Single, single};

pub(super) async fn run(args: &Run, globals: &Globals) -> Result<Exit, Failure> {
    let mut session = open(&args.target, globals).await?;
    let result = ran(args, globals, &mut session).await;
    session.finish(result).await
}

async fn ran(args: &Run, globals: &Globals, session: &mut Session) -> Result<Done, Failure> {
    let target = session.inventory.single.clone().ok_or(NotNow::NoSingle)?;
    let cluster = session.inventory.cluster.clone();
    let naming = Naming { cluster: cluster.clone(), given: args.confirm.clone() };
    naming.check()?;
    let _lock = RunLock::take(&Store::of_user()?.cluster(&cluster), &cluster)?;
    let ends = Ends::reach(session, &target, Ground::of(session).await?).await?;
    let result = copied((&ends, &target), (args, &naming), globals, session).await;
    ends.close(session).await;
    result
}

async fn copied(
    (ends, target): (&Ends<'_>, &Source),
    (args, naming): (&Run, &Naming),
    globals: &Globals,
    session: &mut Session,
) -> Result<Done, Failure> {
    ends.fit(session)?;
    not_half_done(Mode::Verify, ends, session).await?;
    let looked = single(&ends.ground.gather(session), (&ends.foreign, &ends.leader), &ends.ground.fleet).await?;
    if !looked.stops.is_empty() {
        return Err(NotNow::NotSingle { target: name(target), reasons: looked.stops.join("; ") }.into());
    }
    session.settle().await;
    if !globals.json {
        session.print(&announced(&looked, target, session))?;
    }
    let standing = (&session.cancel, &ends.ground.fleet.standing);
    let Some(approved) = naming.approve("The application has to be stopped by now.", standing).await? else {
        return declined(session, "the name was not typed; nothing was changed").await;
    };
    let fleet = &ends.ground.fleet;
    session.remember((fleet, &approved), 1, None).await;
    let started = Timestamp::now();
    let moved = leave(ends, (&looked, usize::from(args.jobs.jobs)), &approved, session).await.map_err(Failure::from);
    session.remember((fleet, &approved), 1, Some(Ending::of(moved.as_ref().map(|_| 1)))).await;
    let (from, to) = (spoken(looked.cluster_version), spoken(looked.version));
    let source = format!("{} on {}, PostgreSQL {from}", session.inventory.database.name, ends.leader.name);
    let told = (source, format!("{}, PostgreSQL {to}", name(target)), looked.bytes);
    let record = evidence(("to-single", started, usize::from(args.jobs.jobs)), told, moved?, session);
    let report = Kept::of(&session.inventory.cluster)?.report(&record)?;
    session.settle().await;
    if globals.json {
        out::json(&record)?;
    } else {
        let next = if record.passed { next(target, session) } else { String::new() };
        session.print(&format!("{}\nReport: {}\n{next}", record.text(), report.display()))?;
    }
    Ok(Done { exit: if record.passed { Exit::Ok } else { Exit::Unhealthy }, changed: 1 })
}

async fn leave(
    ends: &Ends<'_>,
    (looked, jobs): (&Single, usize),
    approved: &Approved,
    session: &Session,
) -> Result<Moved, MigrateError> {
    let Ends { ground, foreign, leader, .. } = ends;
    let (reporter, cancel, fleet) = (&session.reporter, &session.cancel, &ground.fleet);
    let operation = Operation { gather: ground.gather(session), fleet, approved, reporter, cancel };
    Leaving { operation, foreign, leader, looked, jobs }.run().await
}

/// What will happen, for a person.
fn announced(looked: &Single, target: &Source, session: &Session) -> String {
    let (there, leader) = (name(target), &session.inventory.database.name);
    let former = match looked.is_there {
        true => format!("{} IS THERE ALREADY: it is kept under another name", target.database),
        false => format!("the copy is {} from then on", target.database),
    };
    format!(
        "{leader} of the cluster {cluster} ({size}) is copied to {there}:\n\
         \x20 1. the leader dumps it, and restores it there beside what there is, with {roles}\n\
         \x20 2. both: every row, sequence, large object, grant and role compared, as the cluster is then: what somebody\n\
         \x20    writes meanwhile is a difference, and then nothing is changed there\n\
         \x20 3. there: {former}\n\
         The cluster stays as it is.\n\n",
        cluster = session.inventory.cluster,
        size = mebibytes(looked.bytes),
        roles = count(looked.made.len(), "new role"),
    )
}

/// What to do now.
fn next(target: &Source, session: &Session) -> String {
    let Source { machine, port, database, reach, .. } = target;
    let heard = match reach {
        Reach::Tcp => String::new(),
        Reach::Ssh => " (if it listens on the network, and its pg_hba.conf lets the application in)".to_owned(),
    };
    let owner = &session.inventory.database.owner;
    format!(
        "\nYour application may be switched now{heard}:\n\
         \x20 datasource.url=jdbc:postgresql://{}:{port}/{database}\n\
         \x20 datasource.username={owner}\n\
         \x20 datasource.password=<the one that {owner} has in the cluster, unless it was there before>\n\
         What is written to the cluster from now on is not there.\n",
        machine.address
    )
}
