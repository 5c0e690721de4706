//! Waiting: for a condition, until a deadline, with the last reason why it did not hold.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::error::{LabError, OnPath};
use super::keys;
use super::machine::Machine;
use super::state::Kind;
use super::tool::command;

const INTERVAL: Duration = Duration::from_millis(50);
/// From power on to a running systemd; a busy machine with many hosts needs a good part of it. A virtual machine takes many
/// times as long where its processor is emulated.
const BOOT: Duration = Duration::from_secs(120);
const EMULATED: Duration = Duration::from_secs(400);

/// Ask until the answer is `Ok`, and again after a moment when it is a reason why not; the last reason at the deadline.
pub(super) fn until<T>(
    patience: Duration,
    mut ask: impl FnMut() -> Result<Result<T, String>, LabError>,
) -> Result<Result<T, String>, LabError> {
    let deadline = Instant::now() + patience;
    loop {
        match ask()? {
            Err(_) if Instant::now() < deadline => std::thread::sleep(INTERVAL),
            answer => return Ok(answer),
        }
    }
}

/// Wait until a host that was switched on answers over SSH and its systemd has come to rest.
pub(super) fn until_ready(machine: &Machine, mut supervisor: Child) -> Result<(), LabError> {
    let patience = match machine.host.kind {
        Kind::Container => BOOT,
        Kind::Machine => EMULATED,
    };
    let answer = until(patience, || {
        if let Some(status) = supervisor.try_wait().on("wait for", machine.lab)? {
            // No use in asking on.
            return Ok(Ok(Err(format!("it ended with {status}"))));
        }
        Ok(ask(machine)?.map(Ok))
    })?;
    answer.and_then(std::convert::identity).map_err(|reason| LabError::NotReady {
        host: machine.host.name.clone(),
        seconds: patience.as_secs(),
        reason,
        console: machine.console_text(),
    })
}

fn ask(machine: &Machine) -> Result<Result<(), String>, LabError> {
    let address = SocketAddr::from((machine.host.address, 22));
    if let Err(error) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        return Ok(Err(format!("ssh does not answer: {error}")));
    }
    let output = asking(machine.lab, &machine.host.address.to_string()).output().on("run ssh for", machine.lab)?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(match said.as_str() {
        // Degraded: some unit failed; whoever uses the host sees that, and it is up.
        "running" | "degraded" => Ok(()),
        "" => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        other => Err(format!("systemd is {other}")),
    })
}

fn asking(lab: &Path, address: &str) -> std::process::Command {
    let mut ssh = command("ssh");
    ssh.args(keys::ssh_options(lab)).args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]);
    ssh.args(["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=2"]);
    ssh.arg(format!("root@{address}")).arg("timeout 60 systemctl is-system-running --wait");
    ssh.stdin(Stdio::null());
    ssh
}
