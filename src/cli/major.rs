//! `upgrade --major`: another major version of PostgreSQL, after all was shown and the cluster's name was typed; or a
//! rehearsal of it on a copy.

use serde_json::json;

use super::confirm::{self, Ask, Naming};
use super::ground::Ground;
use super::refusal::Refusal;
use super::revision::Revision;
use super::session::{Done, Ending, Need, Opening, Session, Target};
use super::settled::settled;
use super::{Failure, Globals, out};
use crate::approval::Approved;
use crate::cluster::{self, ClusterView, table};
use crate::engine::{Host as _, Scrutiny, for_each_host};
use crate::error::{Exit, Fails};
use crate::inventory::version::with_version;
use crate::inventory::{Component, Inventory, PackageSource};
use crate::names::HostName;
use crate::plan::diff_resources;
use crate::report::{self, Kind, Show};
use crate::resource::Resource;
use crate::role;
use crate::workflow::lock::RunLock;
use crate::workflow::major::{Major, Rehearsal, Standing, standing};
use crate::workflow::stage::{Stage, by_stage};
use crate::workflow::{Operation, Wanted};

/// What is asked for.
pub(super) enum What {
    Plan,
    Rehearse(Ask),
    Upgrade { confirm: Option<String> },
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("this upgrade is not possible now; nothing was changed: {reason}")]
#[diagnostic(code(xnat::major::not_now), help("{help}"))]
struct NotNow {
    reason: String,
    help: &'static str,
}

impl Fails for NotNow {
    fn exit(&self) -> Exit {
        Exit::Unhealthy
    }
}

/// An upgrade as far as it is known before anybody is asked.
struct Prepared {
    to: u32,
    standing: Standing,
    leader: Option<HostName>,
    view: ClusterView,
    beside: Wanted,
    afterwards: Wanted,
    revision: Revision,
}

pub(super) async fn run(to: u32, what: What, (target, globals): (&Target, &Globals)) -> Result<Exit, Failure> {
    let (path, old) = Revision::read(&target.inventory)?;
    let new = with_version(&old, to)?;
    // its own mistakes are told first, where they stand
    Inventory::of_text(&old, &target.inventory, globals.assets.as_deref())?;
    let loaded = Inventory::of_text(&new, &target.inventory, globals.assets.as_deref())?;
    let show = match (globals.json, &what) {
        (false, _) => Show::detect(),
        (true, What::Upgrade { .. }) => Show::Json,
        // the document alone goes to standard output
        (true, _) => Show::Plain,
    };
    let opening = Opening { command: "upgrade", show, globals, secrets: Need::Yes, scrutiny: Scrutiny::NewHosts };
    let mut session = Session::open_loaded(target, opening, loaded).await?;
    let result = locked((to, Revision { path, old, new }), (&what, globals), &mut session).await;
    session.finish(result).await
}

type Manner<'a> = (&'a What, &'a Globals);

async fn locked(wanted: (u32, Revision), manner: Manner<'_>, session: &mut Session) -> Result<Done, Failure> {
    if let What::Upgrade { confirm } = manner.0 {
        naming(confirm.as_ref(), session).check()?;
    }
    let directory = report::journal::Store::of_user()?.cluster(&session.inventory.cluster);
    let _lock = RunLock::take(&directory, &session.inventory.cluster)?;
    let mut ground = Ground::of(session).await?;
    let result = match prepare(&ground, wanted, session).await {
        Ok(prepared) => on(&ground, &prepared, manner, session).await,
        Err(failure) => Err(failure),
    };
    ground.fleet.close(&session.reporter).await;
    result
}

fn naming(confirm: Option<&String>, session: &Session) -> Naming {
    Naming { cluster: session.inventory.cluster.clone(), given: confirm.cloned() }
}

/// What is there, and that it is fit.
async fn prepare(ground: &Ground, (to, revision): (u32, Revision), session: &Session) -> Result<Prepared, Failure> {
    let inventory = &session.inventory;
    let away: Vec<&str> = ground.fleet.unreachable.keys().map(HostName::as_str).collect();
    if !away.is_empty() {
        let reason = format!("{} cannot be reached", away.join(", "));
        return Err(NotNow { reason, help: "all hosts have to take part" }.into());
    }
    let view = ground.view(session).await;
    if !view.strangers.is_empty() {
        let hosts = view.strangers.iter().map(ToString::to_string).collect();
        return Err(Refusal::OtherAuthority { hosts, path: session.vault.path() }.into());
    }
    let members: Vec<HostName> = inventory.with(Component::Postgres).map(|host| host.name.clone()).collect();
    let parallel = members.len();
    let found =
        for_each_host(members, parallel, async |host| ground.fleet.data_dirs(&host, &inventory.cluster).await).await;
    let dirs = found.into_iter().map(|(host, dirs)| Ok((host, dirs?))).collect::<Result<_, Failure>>()?;
    let standing = standing(&dirs, to)
        .map_err(|reason| NotNow { reason, help: "see the directories below /var/lib/postgresql on the members" })?;
    if let Standing::Before { .. } = standing {
        fit(&view, inventory)?;
    }
    let leader = view.leader().map(|leader| leader.host.clone());
    let (beside, afterwards) = resources(ground, session).await?;
    if matches!(inventory.packages.source, PackageSource::Bundle(_)) {
        brought(ground, &beside).await?;
    }
    Ok(Prepared { to, standing, leader, view, beside, afterwards, revision })
}

/// A cluster that is not well has to become well first.
fn fit(view: &ClusterView, inventory: &Inventory) -> Result<(), NotNow> {
    let health = cluster::assess(view, inventory);
    if view.paused.known() == Some(&true) {
        let reason = "the cluster is in maintenance mode".to_owned();
        return Err(NotNow { reason, help: "`xnat-provision resume` ends it" });
    }
    if !health.healthy {
        let reason = format!("the cluster is not healthy: {}", health.verdict);
        return Err(NotNow { reason, help: "see `xnat-provision status`" });
    }
    Ok(())
}

/// A bundle's packages are brought by `apply`, and this does not.
async fn brought(ground: &Ground, beside: &Wanted) -> Result<(), Failure> {
    for (name, resources) in beside {
        let Some(host) = ground.fleet.host(name) else { continue };
        let packages: Vec<_> = resources.iter().filter(|it| it.id().kind() == "package").cloned().collect();
        let probes: Vec<_> = packages.iter().flat_map(Resource::probes).collect();
        let lacking = diff_resources(&packages, &host.observe(&probes).await?);
        if let Some(change) = lacking.first() {
            let reason =
                format!("{name} does not have {} yet, and packages come from a bundle", change.resource.name());
            let help = "have `apply --bundle` install it first: a role of your own with `package = { name = … }`, and a bundle built with `--package`";
            return Err(NotNow { reason, help }.into());
        }
    }
    Ok(())
}

/// What members need beside what runs, and what they are to be with the new version.
async fn resources(ground: &Ground, session: &Session) -> Result<(Wanted, Wanted), Failure> {
    let Session { inventory, secrets, assets, .. } = session;
    let (mut beside, mut afterwards) = (Wanted::new(), Wanted::new());
    for (name, facts) in ground.facts(session).await? {
        let Some(host) = inventory.with(Component::Postgres).find(|host| host.name == name) else { continue };
        let input = role::Input { inventory, host, facts: &facts, secrets, assets };
        let all = role::expand_major(&input)?.into_iter().flat_map(|role| role.resources);
        beside.insert(name.clone(), all.collect());
        let member = by_stage(role::expand(&input)?).remove(&Stage::Postgres);
        afterwards.insert(name, member.unwrap_or_default());
    }
    Ok((beside, afterwards))
}

async fn on(
    ground: &Ground,
    prepared: &Prepared,
    (what, globals): Manner<'_>,
    session: &mut Session,
) -> Result<Done, Failure> {
    session.settle().await;
    if prepared.standing == Standing::Done {
        if !globals.json {
            session.print(&format!("Nothing to upgrade: all members have PostgreSQL {}.\n", prepared.to))?;
        }
        return Ok(Done { exit: Exit::Ok, changed: 0 });
    }
    match what {
        What::Plan if globals.json => {
            let (cluster, to) = (&session.inventory.cluster, prepared.to);
            let (standing, leader) = (&prepared.standing, &prepared.leader);
            out::json(&json!({ "cluster": cluster, "to": to, "standing": standing, "leader": leader }))?;
            Ok(Done { exit: Exit::ChangesPending, changed: 0 })
        }
        What::Plan => {
            session.print(&prepared.told(session))?;
            Ok(Done { exit: Exit::ChangesPending, changed: 0 })
        }
        What::Rehearse(ask) => rehearse(ground, prepared, (*ask, globals), session).await,
        What::Upgrade { confirm } => {
            if !globals.json {
                session.print(&prepared.told(session))?;
            }
            let warning = "From point 3 to 5 nobody can read or write, and after that there is no way back.";
            let naming = naming(confirm.as_ref(), session);
            let Some(approved) = naming.approve(warning, (&session.cancel, &ground.fleet.standing)).await? else {
                return not_confirmed(session, "the name was not typed; nothing was changed").await;
            };
            upgrade(ground, prepared, (&approved, globals), session).await
        }
    }
}

async fn not_confirmed(session: &Session, why: &str) -> Result<Done, Failure> {
    let (title, why) = ("upgrade".to_owned(), why.to_owned());
    session.reporter.emit(Kind::StepSkipped { title, why }).await;
    Ok(Done { exit: Exit::Failed, changed: 0 })
}

async fn rehearse(
    ground: &Ground,
    prepared: &Prepared,
    (ask, globals): (Ask, &Globals),
    session: &mut Session,
) -> Result<Done, Failure> {
    let Standing::Before { from } = prepared.standing else {
        let reason = "an upgrade was begun and cut off".to_owned();
        return Err(
            NotNow { reason, help: "`xnat-provision upgrade --major` without --rehearse ends that first" }.into()
        );
    };
    // a replica can spare it more than the leader
    let follows = prepared.view.members.iter().find(|member| member.follows()).map(|member| member.host.clone());
    let Some(on) = follows.or_else(|| prepared.leader.clone()) else {
        return Err(NotNow { reason: "nobody leads".to_owned(), help: "see `xnat-provision status`" }.into());
    };
    let question = format!(
        "Install PostgreSQL {} on all members, beside what runs, and rehearse the upgrade on a copy of the data on {on}?",
        prepared.to
    );
    let Some(approved) = confirm::approve(ask, &question, (&session.cancel, &ground.fleet.standing)).await? else {
        return not_confirmed(session, "not confirmed; nothing was changed").await;
    };
    let nothing = || Ok(());
    let rehearsal = prepared.major(from, (ground, &approved, session), &nothing).rehearse(&on).await?;
    session.settle().await;
    if globals.json {
        out::json(&rehearsal)?;
    } else {
        session.print(&rehearsed(&rehearsal, &on))?;
    }
    let exit = if rehearsal.problems.is_empty() { Exit::Ok } else { Exit::Failed };
    Ok(Done { exit, changed: 0 })
}

fn rehearsed(Rehearsal { problems, notes, times }: &Rehearsal, on: &HostName) -> String {
    let mut text = String::new();
    for problem in problems {
        text += &format!("In the way: {problem}\n");
    }
    for note in notes {
        text += &format!("Note: {note}\n");
    }
    let size = indicatif::HumanBytes(times.bytes);
    text += &format!("Rehearsed on a copy of {size} on {on}, which is removed again:\n");
    let lines = [
        ("copy the data", times.copy, "not in the upgrade itself"),
        ("make an empty cluster", times.initdb, "under clients"),
        ("pg_upgrade --check", times.check, "under clients"),
        ("stop the old version", times.stop, "nobody can write"),
        ("pg_upgrade --link", times.upgrade, "nobody can write"),
        ("start the new version", times.start, "nobody can write"),
        ("rebuild statistics", times.analyze, "under clients"),
    ];
    for (what, seconds, who) in lines {
        text += &format!("  {what:<24}{seconds:>8.1} s  {who}\n");
    }
    text + &format!("Expect a write pause of about {:.0} s.\n", times.pause().as_secs_f64())
}

async fn upgrade(
    ground: &Ground,
    prepared: &Prepared,
    (approved, globals): (&Approved, &Globals),
    session: &mut Session,
) -> Result<Done, Failure> {
    session.remember((&ground.fleet, approved), 1, None).await;
    let result = perform(ground, prepared, approved, session).await;
    let end = Ending::of(result.as_ref().map(Vec::len));
    session.remember((&ground.fleet, approved), 1, Some(end)).await;
    let seen = result?;
    let view = settled(session, &ground.gather(session), None).await?;
    let health = cluster::assess(&view, &session.inventory);
    session.settle().await;
    if !globals.json {
        let evidence: String = seen.iter().map(|line| format!("Verified: {line}\n")).collect();
        session.print(&format!("{}\n{evidence}", table::render(&view, &health, out::look())))?;
    }
    let exit = if health.healthy { Exit::Ok } else { Exit::Unhealthy };
    Ok(Done { exit, changed: seen.len() })
}

async fn perform(
    ground: &Ground,
    prepared: &Prepared,
    approved: &Approved,
    session: &Session,
) -> Result<Vec<String>, Failure> {
    let keep = || prepared.revision.kept().map_err(|error| crate::error::one_line(&error));
    let major = |from| prepared.major(from, (ground, approved, session), &keep);
    let nobody = || NotNow { reason: "nobody leads".to_owned(), help: "see `xnat-provision status`" };
    match &prepared.standing {
        Standing::Done => Ok(Vec::new()),
        Standing::Beyond { from, leader } => {
            let leader = leader.as_ref().or(prepared.leader.as_ref()).ok_or_else(nobody)?;
            Ok(major(*from).go_on(leader).await?)
        }
        Standing::CutOff { from } => {
            let mut seen = major(*from).take_back().await?;
            seen.push("the upgrade was not begun again: look at the cluster, then run the same command".to_owned());
            Ok(seen)
        }
        Standing::Before { from } => Ok(major(*from).run(prepared.leader.as_ref().ok_or_else(nobody)?).await?),
    }
}

impl Prepared {
    fn major<'a>(
        &'a self,
        from: u32,
        (ground, approved, session): (&'a Ground, &'a Approved, &'a Session),
        keep_inventory: &'a (dyn Fn() -> Result<(), String> + Sync),
    ) -> Major<'a> {
        let (reporter, cancel, fleet) = (&session.reporter, &session.cancel, &ground.fleet);
        let operation = Operation { gather: ground.gather(session), fleet, approved, reporter, cancel };
        Major { operation, from, to: self.to, beside: &self.beside, afterwards: &self.afterwards, keep_inventory }
    }

    /// What will happen, for a person.
    fn told(&self, session: &Session) -> String {
        let (cluster, to) = (&session.inventory.cluster, self.to);
        let members: Vec<&str> = session.inventory.with(Component::Postgres).map(|host| host.name.as_str()).collect();
        let all = members.join(", ");
        let old_dir = |from: &u32| format!("/var/lib/postgresql/{from}/{cluster}");
        match &self.standing {
            Standing::Done => String::new(),
            Standing::CutOff { from } => format!(
                "An upgrade of {cluster} to PostgreSQL {to} was cut off, and nobody can read or write.\n\
                 It is taken back now: PostgreSQL {from} starts again, with all it had. Then run the same command again.\n\n"
            ),
            Standing::Beyond { from, .. } => format!(
                "An upgrade of {cluster} from PostgreSQL {from} was cut off when {to} had taken its place.\n\
                 There is no way back; what is left of it is done now.\n\n"
            ),
            Standing::Before { from } => {
                let leader = self.leader.as_ref().map_or("nobody", HostName::as_str);
                let others: Vec<&str> = members.iter().copied().filter(|member| *member != leader).collect();
                let replicas = if others.is_empty() { "(no replica)".to_owned() } else { others.join(", ") };
                let data = old_dir(from);
                format!(
                    "{cluster}: from PostgreSQL {from} to {to}\n\
                     \x20 1. {all}: install postgresql-{to} beside what runs\n\
                     \x20 2. {leader}: an empty cluster, pg_upgrade --check against the running server; extensions and\n\
                     \x20    collations compared. Until here clients notice nothing.\n\
                     \x20 3. {all}: PostgreSQL stops. NOBODY CAN READ OR WRITE from here on\n\
                     \x20 4. {leader}: pg_upgrade --link. Until here every failure brings the old version back.\n\
                     \x20 5. THE POINT OF NO RETURN: {to} takes its place and starts on {leader}; the inventory says\n\
                     \x20    version = {to}. Clients work again.\n\
                     \x20 6. {replicas}: link the same files, take what is new from {leader}, and follow it; one whose\n\
                     \x20    files are not as the leader's is copied anew\n\
                     \x20 7. {leader}: extensions are updated and statistics rebuilt\n\
                     \x20 8. {all}: {data} is removed; it is of no use once {to} has written\n\
                     Expect 10 to 20 s without reads and writes, whatever the size of the data; --rehearse measures it on a copy.\n\
                     Have a backup: after point 5 those of version {from} do not lead to {to}.\n\n"
                )
            }
        }
    }
}
