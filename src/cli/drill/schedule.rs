//! `drill schedule`: a timer of systemd on this machine that does a safe drill, for root or for the user who asks.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::{Failure, Globals, out};
use crate::drill::Fault;
use crate::error::{Exit, Fails};
use crate::files;
use crate::inventory::Inventory;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Units are written to /etc/systemd/system for root, otherwise to the user's own (`loginctl enable-linger` keeps those running while nobody is logged in), and the timer is started. Nobody can be asked then: hosts have to be reached with a key that wants no passphrase, and sudo and the vault must not ask either. Reports are kept as those of any drill; one that failed, or could not be done, stands in `status`, `health` and `drill history` of the same user.\n\nWithout the inventory: `systemctl disable --now xnat-provision-drill-NAME.timer`.\n\nExit status: 0 done, 1 it could not be done, 2 a mistake in the inventory or the command."
)]
pub(super) struct Args {
    /// When, as systemd writes it, such as 'Sun 04:30' or '*-*-01 03:00 Europe/Berlin'
    #[arg(long, value_name = "CALENDAR", required_unless_present = "remove")]
    on: Option<String>,
    /// A safe fault [default: all of them, one after the other]
    #[arg(long, value_name = "FAULT", value_enum)]
    fault: Option<Fault>,
    /// No drill from time to time any more: stop the timer and remove it
    #[arg(long, conflicts_with_all = ["on", "fault"])]
    remove: bool,
    /// The inventory
    #[arg(value_name = "INVENTORY", default_value = "inventory.toml")]
    inventory: PathBuf,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum ScheduleError {
    #[error("{fault} is not safe for a cluster in use, and is done by people only")]
    #[diagnostic(code(xnat::drill::schedule), help("`xnat-provision drill list` says which are safe"))]
    NotSafe { fault: Fault },
    #[error("systemd does not know when {given:?} is: {said}")]
    #[diagnostic(
        code(xnat::drill::calendar),
        help("`man systemd.time` explains it under CALENDAR EVENTS, and `systemd-analyze calendar` tries it out")
    )]
    Calendar { given: String, said: String },
    #[error("cannot {what} {}", path.display())]
    #[diagnostic(code(xnat::drill::schedule), help("is there space, and may you write there?"))]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{command} failed: {said}")]
    #[diagnostic(code(xnat::drill::schedule), help("does systemd run on this machine, and for you?"))]
    Systemd { command: String, said: String },
    #[error("cannot find out {what}")]
    #[diagnostic(code(xnat::drill::schedule))]
    Unknown { what: &'static str, source: io::Error },
    #[error("{}: a unit of systemd cannot name it", path.display())]
    #[diagnostic(code(xnat::drill::schedule), help("give it a path without line breaks, in UTF-8"))]
    Path { path: PathBuf },
}

impl Fails for ScheduleError {
    fn exit(&self) -> Exit {
        match self {
            Self::NotSafe { .. } | Self::Calendar { .. } | Self::Path { .. } => Exit::Usage,
            Self::File { .. } | Self::Systemd { .. } | Self::Unknown { .. } => Exit::Failed,
        }
    }
}

pub(super) fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    let inventory = Inventory::load(&args.inventory, globals.assets.as_deref())?.inventory;
    let units = Units::of(&inventory.cluster)?;
    match args.on {
        None => out::text(&units.remove()?)?,
        Some(on) => {
            let next = next_times(&on)?;
            let service = service(&inventory, (args.fault, globals))?;
            units.write((&service, &timer(&inventory.cluster, &on)))?;
            out::text(&format!("{}\n{next}", units.told()))?
        }
    };
    Ok(Exit::Ok)
}

/// The next times, in systemd's own words.
fn next_times(on: &str) -> Result<String, ScheduleError> {
    let said = ask("systemd-analyze", &["calendar", "--iterations=3", "--", on]);
    said.map_err(|error| match error {
        ScheduleError::Systemd { said, .. } => ScheduleError::Calendar { given: on.to_owned(), said },
        other => other,
    })
}

fn service(inventory: &Inventory, (fault, globals): (Option<Fault>, &Globals)) -> Result<String, ScheduleError> {
    if let Some(fault) = fault.filter(|fault| !fault.is_safe()) {
        return Err(ScheduleError::NotSafe { fault });
    }
    let program =
        std::env::current_exe().map_err(|source| ScheduleError::Unknown { what: "where this program is", source })?;
    let absolute = |path: &Path| {
        let failed = |source| ScheduleError::File { what: "find", path: path.to_owned(), source };
        fs::canonicalize(path).map_err(failed)
    };
    let mut words = vec![word(&program)?, "drill".to_owned()];
    match fault {
        Some(fault) => words.push(fault.to_string()),
        None => words.extend(["all".to_owned(), "--safe".to_owned()]),
    }
    words.extend(["--yes".to_owned(), "--reason".to_owned(), "scheduled".to_owned()]);
    if let Some(assets) = &globals.assets {
        words.extend(["--assets".to_owned(), word(&absolute(assets)?)?]);
    }
    words.push(word(&absolute(&inventory.path)?)?);
    let mut text = format!(
        "[Unit]\nDescription=Drill of {}\nWants=network-online.target\nAfter=network-online.target\n\n[Service]\nType=oneshot\nExecStart={}\n",
        inventory.cluster,
        words.join(" ")
    );
    // where the reports go, and what `ssh` would find; a service of the system has neither
    for variable in ["HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
        if let Some(value) = std::env::var_os(variable) {
            let value = PathBuf::from(value);
            let given = value.to_str().ok_or_else(|| ScheduleError::Path { path: value.clone() })?;
            text.push_str(&format!("Environment={}\n", quoted(&format!("{variable}={given}"))));
        }
    }
    Ok(text)
}

/// It is not made up for when the machine was off then: a drill is for the hour somebody has chosen.
fn timer(cluster: &str, on: &str) -> String {
    let on = on.replace('%', "%%");
    format!(
        "[Unit]\nDescription=Drills of {cluster}\n\n[Timer]\nOnCalendar={on}\nAccuracySec=1min\n\n[Install]\nWantedBy=timers.target\n"
    )
}

fn word(path: &Path) -> Result<String, ScheduleError> {
    let text = path.to_str().filter(|text| !text.contains('\n'));
    // variables are for commands only
    text.map(|text| quoted(&text.replace('$', "$$"))).ok_or_else(|| ScheduleError::Path { path: path.to_owned() })
}

/// As systemd reads a word: specifiers and what ends it mean nothing.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{escaped}\"")
}

/// The units of one cluster, and whose they are.
struct Units {
    directory: PathBuf,
    name: String,
    /// Of root, for the machine.
    system: bool,
}

impl Units {
    fn of(cluster: &str) -> Result<Self, ScheduleError> {
        let system = rustix::process::geteuid().is_root();
        let own = || files::base("XDG_CONFIG_HOME", ".config");
        let nowhere = || io::Error::new(io::ErrorKind::NotFound, "neither HOME nor XDG_CONFIG_HOME is set");
        let directory = match system {
            true => PathBuf::from("/etc/systemd/system"),
            false => own()
                .ok_or_else(|| ScheduleError::Unknown { what: "where your units are", source: nowhere() })?
                .join("systemd/user"),
        };
        Ok(Self { directory, name: format!("xnat-provision-drill-{cluster}"), system })
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{}.{kind}", self.name))
    }

    fn systemctl(&self, words: &[&str]) -> Result<String, ScheduleError> {
        let own: &[&str] = if self.system { &[] } else { &["--user"] };
        ask("systemctl", &[own, words].concat())
    }

    fn write(&self, (service, timer): (&str, &str)) -> Result<(), ScheduleError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| ScheduleError::File { what, path, source }
        };
        // a user's systemd may not be there: then nothing is written that might begin to run later
        self.systemctl(&["daemon-reload"])?;
        fs::create_dir_all(&self.directory).map_err(failed("make", &self.directory))?;
        for (kind, text) in [("service", service), ("timer", timer)] {
            let path = self.path(kind);
            let file = files::beside(&path, text.as_bytes()).map_err(failed("write", &path))?;
            file.persist(&path).map_err(|error| failed("write", &path)(error.error))?;
        }
        self.systemctl(&["daemon-reload"])?;
        self.systemctl(&["enable", &format!("{}.timer", self.name)])?;
        // also when it runs already, for another time
        self.systemctl(&["restart", &format!("{}.timer", self.name)]).map(drop)
    }

    fn remove(&self) -> Result<String, ScheduleError> {
        let timer = self.path("timer");
        if !timer.exists() {
            return Ok(format!("There is no timer for drills: {} does not exist.\n", timer.display()));
        }
        self.systemctl(&["disable", "--now", &format!("{}.timer", self.name)])?;
        // the timer last: by it one sees that there is something to remove
        for kind in ["service", "timer"] {
            let path = self.path(kind);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(ScheduleError::File { what: "remove", path, source });
                }
                _ => {}
            }
        }
        self.systemctl(&["daemon-reload"])?;
        Ok(format!("{} was stopped and removed.\n", timer.display()))
    }

    fn told(&self) -> String {
        let own = if self.system { "" } else { " --user" };
        format!(
            "{} is started, with {}.\nTry it now: systemctl{own} start {}; journalctl{own} -u {}\n",
            self.path("timer").display(),
            self.path("service").display(),
            self.name,
            self.name
        )
    }
}

fn ask(program: &str, words: &[&str]) -> Result<String, ScheduleError> {
    let command = || format!("{program} {}", words.join(" "));
    let output = Command::new(program).args(words).output();
    let output = output.map_err(|error| ScheduleError::Systemd { command: command(), said: error.to_string() })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(ScheduleError::Systemd { command: command(), said: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}
