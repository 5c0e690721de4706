//! `adopt`: the inventory of a cluster that runs already. Looks at the hosts and changes nothing there; writes one file
//! here, and never over another.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::connect::{ConnectArgs, Terminal};
use super::{Failure, Globals, out};
use crate::adopt::{self, Adopted, Difference, Login, Looked, Other, Wish};
use crate::error::{Exit, Fails};
use crate::files;
use crate::inventory::{Escalate, Host, Inventory, Problem, Ssh};
use crate::names::HostName;
use crate::quote;
use crate::report::Redactor;
use crate::report::text::{count, printable, wrap};
use crate::workflow::adopt::{Unseen, look};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads what etcd, Patroni, PostgreSQL and HAProxy are set up to do and changes nothing on any host. What the inventory cannot say is listed, and stands in it as comments. Passwords are neither read nor written.\n\nExit status: 0 written, 1 no inventory can say what was found, or failed, 2 the file is there already or a mistake on the command line, 3 a host could not be reached."
)]
pub struct Args {
    /// Every host of the cluster: its address, its name, or an alias in ~/.ssh/config
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<String>,
    /// Where to write the inventory; never over a file that is there
    #[arg(short, long, value_name = "FILE", default_value = "inventory.toml")]
    output: PathBuf,
    /// The application's database [otherwise: the largest one that no superuser owns]
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Who logs in, as `user` under [ssh]
    #[arg(long, value_name = "USER", help_heading = "Connecting")]
    user: Option<String>,
    /// The port of the SSH servers
    #[arg(long, value_name = "PORT", help_heading = "Connecting")]
    port: Option<u16>,
    /// A private key file; may be given several times
    #[arg(long, value_name = "FILE", help_heading = "Connecting")]
    identity: Vec<PathBuf>,
    /// A jump host, `[user@]host[:port]`; may be given several times, the first hop first
    #[arg(long, value_name = "HOST", help_heading = "Connecting")]
    jump: Vec<String>,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum NotWritten {
    #[error("{} is there already, and is not written over", path.display())]
    #[diagnostic(code(xnat::adopt::exists), help("choose another place: `--output FILE`"))]
    Exists { path: PathBuf },
    #[error("cannot write {}", path.display())]
    #[diagnostic(code(xnat::adopt::write), help("see `ls -ld {}`", quote::path(files::directory(path))))]
    Unwritten { path: PathBuf, source: io::Error },
    #[error("{} could not be looked at; nothing was written", count(problems.len(), "host"))]
    #[diagnostic(code(xnat::adopt::unseen), help("one that is gone for good can be left out: the others name it"))]
    Unseen {
        #[related]
        problems: Vec<Unseen>,
    },
}

impl Fails for NotWritten {
    fn exit(&self) -> Exit {
        match self {
            Self::Exists { .. } => Exit::Usage,
            Self::Unwritten { .. } => Exit::Failed,
            Self::Unseen { problems } => problems.iter().map(Fails::exit).max().unwrap_or(Exit::Failed),
        }
    }
}

pub async fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let path = &args.output;
    // said before anybody is asked for a password
    if path.symlink_metadata().is_ok() {
        return Err(NotWritten::Exists { path: path.clone() }.into());
    }
    let terminal = Terminal::of(&globals.answers, &Redactor::default());
    let connector = args.connect.connector(&terminal)?;
    let (hosts, mut seen) = (args.hosts(), Vec::new());
    let mut problems = Vec::new();
    let mut looked = look(&hosts, &connector).await;
    for host in hosts {
        match looked.remove(&host.name) {
            Some(Ok(one)) => seen.push(Looked { given: host.name.to_string(), seen: one }),
            Some(Err(error)) => problems.push(error),
            None => {}
        }
    }
    if !problems.is_empty() {
        return Err(NotWritten::Unseen { problems }.into());
    }
    let wish = Wish { path, assets: globals.assets.as_deref(), database: args.database.as_deref() };
    let adopted = adopt::adopt(seen, &args.login(), wish)?;
    write(path, &adopted.text)?;
    let text = if globals.json { out::json_text(&Told::of(&adopted))? } else { told(&adopted) };
    out::text(&terminal.redactor.clean(&text))?;
    Ok(Exit::Ok)
}

impl Args {
    /// As many as are different, in their order.
    fn hosts(&self) -> Vec<Host> {
        let mut known = BTreeSet::new();
        self.hosts.iter().filter(|given| known.insert(given.as_str())).map(|given| self.host(given)).collect()
    }

    fn host(&self, given: &str) -> Host {
        let is_root = self.user.as_deref() == Some("root");
        Host {
            name: HostName::new(given),
            address: given.to_owned(),
            components: BTreeSet::new(),
            own_roles: Vec::new(),
            ssh: Ssh {
                host: given.to_owned(),
                port: self.port,
                user: self.user.clone(),
                identity: self.identity.clone(),
                jump: self.jump.clone(),
                escalate: if is_root { Escalate::None } else { Escalate::Sudo },
                fingerprints: Vec::new(),
                known_hosts: None,
                connect_timeout: Duration::from_secs(10),
            },
            tags: Default::default(),
            leaving: false,
        }
    }

    /// Paths in an inventory are relative to it, those on a command line to where one is.
    fn login(&self) -> Login {
        let absolute =
            |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
        Login {
            user: self.user.clone(),
            port: self.port,
            identity: self.identity.iter().map(absolute).collect(),
            jump: self.jump.clone(),
        }
    }
}

/// Whole or not at all, and not over what somebody else has written meanwhile.
fn write(path: &Path, text: &str) -> Result<(), NotWritten> {
    let failed = |source: io::Error| NotWritten::Unwritten { path: path.to_owned(), source };
    let file = files::beside(path, text.as_bytes()).map_err(failed)?;
    file.persist_noclobber(path).map(drop).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => NotWritten::Exists { path: path.to_owned() },
        _ => failed(error.error),
    })
}

/// For programs.
#[derive(Serialize)]
struct Told<'a> {
    path: &'a Path,
    inventory: &'a Inventory,
    differences: &'a [Difference],
    others: &'a [Other],
    /// What the reader would have somebody know.
    warnings: Vec<String>,
}

impl<'a> Told<'a> {
    fn of(adopted: &'a Adopted) -> Self {
        Self {
            path: &adopted.inventory.path,
            inventory: &adopted.inventory,
            differences: &adopted.differences,
            others: &adopted.others,
            warnings: adopted.warnings.all.iter().map(Problem::one_line).collect(),
        }
    }
}

/// For people.
fn told(adopted: &Adopted) -> String {
    let Adopted { inventory, differences, others, .. } = adopted;
    let path = quote::path(&inventory.path);
    let row =
        |host: &Host| [host.name.to_string(), host.address.clone(), host.role_names().collect::<Vec<_>>().join(", ")];
    let rows: Vec<[String; 3]> = inventory.hosts.iter().map(row).collect();
    let mut text = format!("{path} is written: cluster {}\n\n", inventory.cluster);
    text += &out::table(&["host", "address", "roles"], &rows);
    if !differences.is_empty() {
        text += "\nWhat it cannot say, or what would change:\n";
        differences.iter().for_each(|one| text += &item(&one.to_string()));
    }
    if !others.is_empty() {
        text += "\nHosts of the cluster that were not named here; without them nothing can be applied:\n";
        others.iter().for_each(|one| text += &item(&format!("{} ({}), a member of {}", one.name, one.address, one.of)));
    }
    text += "\nNext:\n";
    text += &item(&format!("read it; `xnat-provision check --offline {path}` says what it means"));
    text += &item(&secrets(adopted));
    text += &item(&format!("`xnat-provision plan {path}` changes nothing and shows what would"));
    text
}

/// Where the passwords come from that no host was asked for.
fn secrets(adopted: &Adopted) -> String {
    let path = quote::path(&adopted.inventory.path);
    if adopted.ours {
        let vault = quote::path(&adopted.inventory.path.with_extension("vault"));
        return format!("put the cluster's vault beside it: {vault}");
    }
    format!(
        "say the passwords that the cluster has: `xnat-provision vault set NAME {path}` for superuser, replication, rewind and application"
    )
}

fn item(what: &str) -> String {
    let width = out::look().width.map_or(120, usize::from);
    wrap(&printable(&format!("- {what}")), width, "  ").join("\n") + "\n"
}
