//! `upgrade --reboot`: machines that have to be restarted are, one at a time. Each has a round of its own, with its own
//! connections and locks, since those of a machine end with it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::confirm::{self, Ask};
use super::ground::Ground;
use super::session::{Done, Ending, Session};
use super::settled::settled;
use super::{Failure, Globals, out};
use crate::approval::Approved;
use crate::cluster::{self, table};
use crate::engine::reboot::boot;
use crate::engine::wait::Wait;
use crate::engine::{Boot, for_each_host};
use crate::error::{Exit, Fails, one_line};
use crate::names::HostName;
use crate::report::{self, Kind};
use crate::workflow::Operation;
use crate::workflow::lock::RunLock;
use crate::workflow::reboot::turn;

/// How long a machine may take to come back: one with much memory tests it for minutes.
const BOOTING: Duration = Duration::from_secs(1200);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("no machine is restarted while {} cannot be reached", hosts.join(", "))]
#[diagnostic(code(xnat::reboot::unreachable), help("see `xnat-provision status`; then run the same command again"))]
struct Unreachable {
    hosts: Vec<String>,
}

impl Fails for Unreachable {
    fn exit(&self) -> Exit {
        Exit::Unreachable
    }
}

/// What was done so far.
struct Rounds<'a> {
    ask: Ask,
    globals: &'a Globals,
    restarted: Vec<HostName>,
    seen: Vec<String>,
}

/// What comes after a round.
enum Next {
    /// The machine goes down; it was in that one of its starts.
    Wait(HostName, Option<Boot>),
    End(Exit),
}

pub(super) async fn in_turn(ask: Ask, globals: &Globals, session: &mut Session) -> Result<Done, Failure> {
    let directory = report::journal::Store::of_user()?.cluster(&session.inventory.cluster);
    let _lock = RunLock::take(&directory, &session.inventory.cluster)?;
    let mut rounds = Rounds { ask, globals, restarted: Vec::new(), seen: Vec::new() };
    loop {
        let mut ground = Ground::of(session).await?;
        let next = rounds.round(&ground, session).await;
        ground.fleet.close(&session.reporter).await;
        match next? {
            Next::Wait(host, before) => {
                wait_until_back(session, &host, before).await?;
                rounds.restarted.push(host);
            }
            Next::End(exit) => return Ok(Done { exit, changed: rounds.restarted.len() }),
        }
    }
}

impl Rounds<'_> {
    async fn round(&mut self, ground: &Ground, session: &mut Session) -> Result<Next, Failure> {
        let hosts: Vec<String> = ground.fleet.unreachable.keys().map(HostName::to_string).collect();
        if !hosts.is_empty() {
            return Err(Unreachable { hosts }.into());
        }
        let due = self.due(ground, session).await?;
        if due.is_empty() && self.restarted.is_empty() {
            session.settle().await;
            if !self.globals.json {
                session.print("No machine has to be restarted.\n")?;
            }
            return Ok(Next::End(Exit::Ok));
        }
        let Some(approved) = self.approve(&due, ground, session).await? else {
            let (title, why) = ("restart machines".to_owned(), "not confirmed; none was restarted".to_owned());
            session.reporter.emit(Kind::StepSkipped { title, why }).await;
            return Ok(Next::End(Exit::Failed));
        };
        if self.restarted.is_empty() {
            session.remember((&ground.fleet, &approved), due.len(), None).await;
        }
        let next = self.step(&due, (ground, &approved), session).await;
        if !matches!(next, Ok(Next::Wait(..))) {
            let end = Ending::of(next.as_ref().map(|_| self.restarted.len()));
            session.remember((&ground.fleet, &approved), self.restarted.len(), Some(end)).await;
        }
        next
    }

    /// Machines that ask for it, and why. One that asks again right after its start would do so for ever.
    async fn due(&self, ground: &Ground, session: &Session) -> Result<BTreeMap<HostName, String>, Failure> {
        let hosts: Vec<HostName> = ground.fleet.connections.keys().cloned().collect();
        let parallel = hosts.len();
        let mut due = BTreeMap::new();
        for (host, why) in for_each_host(hosts, parallel, async |host| ground.fleet.reboot_due(&host).await).await {
            let Some(why) = why? else { continue };
            if self.restarted.contains(&host) {
                let message = format!("the machine was restarted and still asks for it: {why}");
                let help = Some("does it start the newest kernel? `ls /boot` and the boot loader say".to_owned());
                session.reporter.for_host(&host).emit(Kind::Warned { message, help }).await;
            } else {
                due.insert(host, why);
            }
        }
        Ok(due)
    }

    /// Asked once, for all of them.
    async fn approve(
        &mut self,
        due: &BTreeMap<HostName, String>,
        ground: &Ground,
        session: &mut Session,
    ) -> Result<Option<Approved>, Failure> {
        if self.restarted.is_empty() && !self.globals.json {
            session.settle().await;
            let lines: String = due.iter().map(|(host, why)| format!("  {host}: {why}\n")).collect();
            session.print(&format!("\nMachines that have to be restarted:\n{lines}"))?;
        }
        let machines = report::text::count(due.len(), "machine");
        let question = format!("Restart {machines}, one at a time, the leader's last?");
        let approved = confirm::approve(self.ask, &question, (&session.cancel, &ground.fleet.standing)).await?;
        self.ask = Ask::SaidYes;
        Ok(approved)
    }

    async fn step(
        &mut self,
        due: &BTreeMap<HostName, String>,
        (ground, approved): (&Ground, &Approved),
        session: &mut Session,
    ) -> Result<Next, Failure> {
        let (reporter, cancel, fleet) = (&session.reporter, &session.cancel, &ground.fleet);
        let operation = Operation { gather: ground.gather(session), fleet, approved, reporter, cancel };
        if let Some(last) = self.restarted.last() {
            self.seen.push(operation.take_machine_back(last).await?);
        }
        let view = ground.view(session).await;
        let Some(host) = turn(&view, due.keys()) else { return self.close(ground, session).await };
        let before = fleet.boot(host).await?;
        self.seen.extend(operation.restart_machine(host).await?);
        Ok(Next::Wait(host.clone(), before))
    }

    async fn close(&self, ground: &Ground, session: &mut Session) -> Result<Next, Failure> {
        let view = settled(session, &ground.gather(session), None).await?;
        let health = cluster::assess(&view, &session.inventory);
        session.settle().await;
        if !self.globals.json {
            let seen: String = self.seen.iter().map(|line| format!("Verified: {line}\n")).collect();
            session.print(&format!("{}\n{seen}", table::render(&view, &health, out::look())))?;
        }
        Ok(Next::End(if health.healthy { Exit::Ok } else { Exit::Unhealthy }))
    }
}

async fn wait_until_back(session: &Session, name: &HostName, before: Option<Boot>) -> Result<(), Failure> {
    let inventory = &session.inventory;
    let host = inventory.known(name).expect("it was connected to as a host of the inventory");
    let wait = Wait {
        what: format!("the machine of {name} to come back"),
        deadline: BOOTING,
        interval: Duration::from_secs(2),
        help: format!(
            "look at its console. When it is back, the same command goes on; `xnat-provision apply` lets readers on {name} again"
        ),
    };
    let back = || async {
        let transport = session.connector.connect(host).await.map_err(|error| one_line(&error))?.transport;
        let now = boot(name, transport.as_ref()).await.map_err(|error| one_line(&error));
        transport.close().await;
        if Some(now?) == before { Err("it has not gone down yet".to_owned()) } else { Ok(()) }
    };
    Ok(wait.until(&session.reporter, &session.cancel, back).await?)
}
