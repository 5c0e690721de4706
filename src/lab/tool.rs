//! Runs the programs of this machine that the lab is made with, and says which package has the ones that are missing.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::error::{LabError, OnPath};

/// Program and the Debian package that has it.
const NEEDED: [(&str, &str); 6] = [
    ("mmdebstrap", "mmdebstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
];

/// Where to look besides `PATH`: root by way of `su` may lack the directories of its own tools.
const ALWAYS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Every missing program at once, so that one `apt-get install` is enough.
pub(super) fn require_all() -> Result<(), LabError> {
    require_root()?;
    require(&NEEDED)
}

pub(super) fn require(needed: &[(&str, &str)]) -> Result<(), LabError> {
    let missing = needed.iter().filter(|(tool, _)| find(tool).is_none());
    let (tools, mut packages): (Vec<String>, Vec<String>) =
        missing.map(|(tool, package)| ((*tool).to_owned(), (*package).to_owned())).unzip();
    packages.dedup();
    if tools.is_empty() { Ok(()) } else { Err(LabError::MissingTools { tools, packages }) }
}

pub(super) fn require_root() -> Result<(), LabError> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(LabError::NotRoot) }
}

/// A command for a program, found as [`require_all`] finds it.
pub(super) fn command(tool: &str) -> Command {
    Command::new(find(tool).unwrap_or_else(|| tool.into()))
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(ALWAYS.iter().map(PathBuf::from));
    places.map(|place| place.join(tool)).find(|program| program.is_file())
}

/// Run to the end; standard output when it succeeded. `what` completes "cannot …".
pub(super) fn run(what: &str, command: &mut Command) -> Result<String, LabError> {
    feed(what, command, "")
}

/// The same with something on standard input.
pub(super) fn feed(what: &str, command: &mut Command, input: &str) -> Result<String, LabError> {
    let program = PathBuf::from(command.get_program());
    let shown = shown(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().on("run", &program)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading everything says why by its exit status.
        match stdin.write_all(input.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error).on("write to", &program),
            _ => {}
        }
    }
    let output = child.wait_with_output().on("wait for", &program)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::Tool {
        what: what.to_owned(),
        command: shown,
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
}
