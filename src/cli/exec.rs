//! `exec`: a command on many hosts at once, what it printed by host.

use std::collections::BTreeMap;

use serde::Serialize;

use super::chosen::Chosen;
use super::confirm;
use super::out;
use super::session::{Done, Need, Opening, Session, Target};
use super::{Failure, Globals};
use crate::approval::Approved;
use crate::engine::{Dialer, Fleet, HostError, Scrutiny, command, for_each_host};
use crate::error::{Exit, Fails, one_line};
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::report::text::printable;
use crate::report::{Kind, Reporter, Show};
use crate::transport::{Output, Privilege, Script};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each line begins with its host. One word after `--` is a line for the shell (`-- 'df -h | grep var'`), several are a command and its arguments as they are (`-- systemctl status etcd`). No lock is taken and nobody is asked. Exit status: 0 it ended with status 0 everywhere, 1 with another one somewhere, 2 a mistake in the inventory or the host names, 3 a host could not be reached, 130 interrupted."
)]
pub struct Args {
    #[command(flatten)]
    hosts: Chosen,
    /// Only on hosts with this role: etcd, postgres, haproxy, or one of your own
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// As the user who logs in, not as root
    #[arg(long)]
    as_login: bool,
    #[command(flatten)]
    target: Target,
    /// What to run
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum ExecError {
    #[error("no host that is meant has the role {role}")]
    #[diagnostic(code(xnat::exec::role), help("roles of these hosts: {known}"))]
    NoRole { role: String, known: String },
    #[error("the command failed on {}", list(statuses))]
    #[diagnostic(code(xnat::exec::failed), help("what it said there is above"))]
    Failed { statuses: BTreeMap<HostName, u32> },
    #[error("the command was not run to its end on {}", hosts.join(", "))]
    #[diagnostic(code(xnat::exec::unreached), help("why is said above; the others have run it"))]
    Unreached { hosts: Vec<String>, exit: Exit },
    #[error("interrupted: what was begun on the hosts may go on there")]
    #[diagnostic(code(xnat::interrupted))]
    Interrupted,
}

impl Fails for ExecError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoRole { .. } => Exit::Usage,
            Self::Failed { .. } => Exit::Failed,
            Self::Unreached { exit, .. } => *exit,
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

fn list(statuses: &BTreeMap<HostName, u32>) -> String {
    statuses.iter().map(|(host, status)| format!("{host} (status {status})")).collect::<Vec<_>>().join(", ")
}

/// What became of it on one host.
#[derive(Serialize)]
struct Outcome<'a> {
    host: &'a HostName,
    /// None: see `error`.
    status: Option<u32>,
    stdout: &'a str,
    stderr: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let (show, secrets) = (Show::Warnings, Need::ToMask);
    let opening = Opening { command: "exec", show, globals, secrets, scrutiny: Scrutiny::NewHosts };
    let mut session = Session::open(&args.target, opening).await?;
    let result = on_hosts(&args, globals, &mut session).await;
    session.finish(result).await
}

async fn on_hosts(args: &Args, globals: &Globals, session: &mut Session) -> Result<Done, Failure> {
    args.hosts.keep(&mut session.inventory)?;
    if let Some(role) = &args.role {
        keep_role(role, &mut session.inventory)?;
    }
    let mut fleet = Fleet::default();
    let cancel = session.cancel.clone();
    let ran = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(ExecError::Interrupted.into()),
        ran = everywhere(args, globals, (session, &mut fleet)) => ran,
    };
    fleet.close(&session.reporter).await;
    ran
}

fn keep_role(role: &str, inventory: &mut Inventory) -> Result<(), ExecError> {
    let known: Vec<&str> = inventory.everybody().flat_map(|host| host.role_names()).collect();
    if !known.contains(&role) {
        let known: std::collections::BTreeSet<&str> = known.into_iter().collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        return Err(ExecError::NoRole { role: role.to_owned(), known });
    }
    inventory.hosts.retain(|host| host.role_names().any(|name| name == role));
    inventory.leaving.retain(|host| host.role_names().any(|name| name == role));
    Ok(())
}

async fn everywhere(
    args: &Args,
    globals: &Globals,
    (session, fleet): (&mut Session, &mut Fleet),
) -> Result<Done, Failure> {
    let parallel = session.inventory.everybody().count();
    let dialer = Dialer { connector: session.connector.as_ref(), parallel, reporter: &session.reporter };
    fleet.connect(&session.inventory, dialer).await;
    let privilege = if args.as_login { Privilege::Login } else { Privilege::Root };
    let script = command::script(&args.command, privilege);
    let (approved, hosts) = (confirm::by_typing_the_command(&fleet.standing), fleet.connections.keys().cloned());
    let (fleet, hosts): (&Fleet, Vec<HostName>) = (fleet, hosts.collect());
    let widest = hosts.iter().map(|host| host.as_str().len()).max().unwrap_or(0);
    let one = Running { session, globals, approved: &approved, fleet, widest };
    let ran = for_each_host(hosts, parallel, |host| one.on(host, script.clone())).await;
    let mut ended = Ended::default();
    for (host, ran) in ran {
        match ran? {
            Ok(output) => _ = ended.ended.insert(host, output),
            Err(error) => _ = ended.unreached.insert(host, (one_line(&error), error.exit())),
        }
    }
    let unreached = fleet.unreachable.iter().map(|(host, error)| (host.clone(), (one_line(error), error.exit())));
    ended.unreached.extend(unreached);
    ended.conclude(globals, session).await
}

struct Running<'a> {
    session: &'a Session,
    globals: &'a Globals,
    approved: &'a Approved,
    fleet: &'a Fleet,
    /// The longest name of a host.
    widest: usize,
}

impl Running<'_> {
    /// What it printed is shown as soon as a host is done.
    async fn on(&self, host: HostName, script: Script) -> Result<Result<Output, HostError>, Failure> {
        let ran = self.fleet.execute(&host, self.approved, script).await;
        if let Ok(output) = &ran {
            record(&self.session.reporter.for_host(&host), output).await;
            if !self.globals.json {
                out::text(&self.marked(&host, &output.stdout))?;
                talk(&self.marked(&host, &output.stderr));
            }
        }
        Ok(ran)
    }

    fn marked(&self, host: &HostName, text: &str) -> String {
        let (clean, widest) = (self.session.reporter.redactor().clean(text), self.widest);
        clean.lines().map(|line| format!("{host:<widest$} | {}\n", printable(line))).collect()
    }
}

/// On all hosts.
#[derive(Default)]
struct Ended {
    ended: BTreeMap<HostName, Output>,
    unreached: BTreeMap<HostName, (String, Exit)>,
}

impl Ended {
    async fn conclude(self, globals: &Globals, session: &mut Session) -> Result<Done, Failure> {
        for (host, (reason, _)) in &self.unreached {
            let message = format!("the command was not run to its end: {reason}");
            session.reporter.for_host(host).emit(Kind::Warned { message, help: None }).await;
        }
        session.settle().await;
        if globals.json {
            session.print(&out::json_text(&self.told())?)?;
        }
        if let Some(exit) = self.unreached.values().map(|(_, exit)| *exit).max() {
            let hosts = self.unreached.keys().map(ToString::to_string).collect();
            return Err(ExecError::Unreached { hosts, exit }.into());
        }
        let mut statuses: BTreeMap<HostName, u32> =
            self.ended.iter().map(|(host, output)| (host.clone(), output.status)).collect();
        if !globals.json && statuses.values().all(|status| *status == 0) {
            talk(&format!("status 0 on {}\n", self.ended.keys().map(HostName::as_str).collect::<Vec<_>>().join(", ")));
        }
        statuses.retain(|_, status| *status != 0);
        if statuses.is_empty() {
            Ok(Done { exit: Exit::Ok, changed: 0 })
        } else {
            Err(ExecError::Failed { statuses }.into())
        }
    }

    fn told(&self) -> Vec<Outcome<'_>> {
        let ended = self.ended.iter().map(|(host, output)| {
            let Output { status, stdout, stderr } = output;
            Outcome { host, status: Some(*status), stdout, stderr, error: None }
        });
        let unreached = self.unreached.iter().map(|(host, (error, _))| Outcome {
            host,
            status: None,
            stdout: "",
            stderr: "",
            error: Some(error.as_str()),
        });
        ended.chain(unreached).collect()
    }
}

/// For the journal.
async fn record(reporter: &Reporter, output: &Output) {
    for line in output.stdout.lines().chain(output.stderr.lines()) {
        reporter.emit(Kind::OutputLine { line: line.to_owned() }).await;
    }
    reporter.emit(Kind::OutputLine { line: format!("(status {})", output.status) }).await;
}

#[expect(clippy::print_stderr, reason = "what the command itself says on standard error")]
fn talk(text: &str) {
    eprint!("{text}");
}
