//! Why a host could not be talked to. Every error names the host as the inventory does and the address that was tried,
//! and its help holds something to type.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Exit, Fails};
use crate::quote;

/// A host and how it is reached; errors begin with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As the inventory calls it; a jump host by what the inventory wrote for it.
    pub host: String,
    pub user: String,
    /// A name or an IP address.
    pub address: String,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, user, address, port } = self;
        if address.contains(':') {
            write!(f, "{host} ({user}@[{address}]:{port})")
        } else {
            write!(f, "{host} ({user}@{address}:{port})")
        }
    }
}

impl Endpoint {
    /// What to type after `ssh` to get there.
    fn login(&self) -> String {
        let Self { user, address, port, .. } = self;
        if *port == 22 { format!("{user}@{address}") } else { format!("-p {port} {user}@{address}") }
    }
}

/// Shared, because one connection's every error has the same one.
pub type At = Arc<Endpoint>;

/// What went wrong between this machine and a host.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TransportError {
    #[error("cannot find the address of {at}")]
    #[diagnostic(
        code(xnat::ssh::name),
        help(
            "check the name with `getent hosts {}`, or write an IP address as `address` in the inventory",
            at.address
        )
    )]
    Name { at: At, source: std::io::Error },

    #[error("{at} refused the connection: nothing listens there")]
    #[diagnostic(
        code(xnat::ssh::refused),
        help(
            "start the SSH server there (`systemctl enable --now ssh`), or set `port` under `[ssh]` in the inventory"
        )
    )]
    Refused { at: At },

    #[error("cannot reach {at}")]
    #[diagnostic(
        code(xnat::ssh::unreachable),
        help("check the route with `ip route get {}`, or set `jump` under `[ssh]` in the inventory", at.address)
    )]
    Unreachable { at: At, source: std::io::Error },

    #[error("no answer from {at} within {} s while {doing}", .after.as_secs_f32())]
    #[diagnostic(
        code(xnat::ssh::timeout),
        help(
            "check that the host is up and that no firewall drops port {}, try `ssh {}`, or raise `connect_timeout` under `[ssh]` in the inventory",
            at.port,
            at.login()
        )
    )]
    Timeout { at: At, doing: &'static str, after: Duration },

    #[error("cannot agree with {at} on a secure connection: {reason}")]
    #[diagnostic(
        code(xnat::ssh::handshake),
        help(
            "update the SSH server there: it needs curve25519 or mlkem768x25519, AES-GCM, and an ed25519, ECDSA or RSA (SHA-2) host key; see what it offers with `ssh -vv {}`",
            at.login()
        )
    )]
    Handshake { at: At, reason: String },

    #[error("the host key of {at} is not known: it is {algorithm} {fingerprint}, and {searched} has no key for {name}")]
    #[diagnostic(
        code(xnat::ssh::host_key::unknown),
        help(
            "compare it with `ssh-keygen -lf {}` on the host itself, then {}run again with `--accept-new-host-keys` to trust what is there now",
            key_file(algorithm),
            pin_help(*pinnable, fingerprint)
        )
    )]
    HostKeyUnknown {
        at: At,
        name: String,
        algorithm: String,
        fingerprint: String,
        searched: String,
        /// A host of the inventory, where it can be pinned; not so a jump host.
        pinnable: bool,
    },

    #[error("the host key of {at} HAS CHANGED: it is now {algorithm} {fingerprint}, but {}:{line} has another one; somebody may be between you and the host", .file.display())]
    #[diagnostic(
        code(xnat::ssh::host_key::changed),
        help("find out why before anything else; if the host was reinstalled, remove the old key with `ssh-keygen -R '{name}' -f {}` and run again", quote::path(.file))
    )]
    HostKeyChanged { at: At, name: String, algorithm: String, fingerprint: String, file: PathBuf, line: usize },

    #[error("the host key of {at} is revoked in {}:{line}", .file.display())]
    #[diagnostic(
        code(xnat::ssh::host_key::revoked),
        help("give the host a new key with `ssh-keygen -A` after removing the old one, and make it known")
    )]
    HostKeyRevoked { at: At, file: PathBuf, line: usize },

    #[error("the host key of {at} is not the one pinned in the inventory: it showed {}, pinned is {}", .seen.join(", "), .pinned.join(", "))]
    #[diagnostic(
        code(xnat::ssh::host_key::pinned),
        help(
            "compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host itself; correct `fingerprint` in the inventory only if that one is right"
        )
    )]
    PinMismatch { at: At, seen: Vec<String>, pinned: Vec<String> },

    #[error("cannot use the known hosts file {} for {at}", .path.display())]
    #[diagnostic(code(xnat::ssh::known_hosts), help("look at it with `ls -l {}`", quote::path(.path)))]
    KnownHosts { at: At, path: PathBuf, source: std::io::Error },

    #[error("cannot log in to {at}: tried {}; it accepts {accepts}", list(.tried))]
    #[diagnostic(code(xnat::ssh::auth), help("{}", auth_help(at, accepts)))]
    Auth { at: At, tried: Vec<String>, accepts: String },

    #[error("cannot use the key {} for {at}: {reason}", .path.display())]
    #[diagnostic(
        code(xnat::ssh::key),
        help("check it with `ssh-keygen -y -f {}`, or name another one as `identity` under `[ssh]` in the inventory", quote::path(.path))
    )]
    Key { at: At, path: PathBuf, reason: String },

    #[error("{what} is needed for {at}, and there is no terminal to ask for it")]
    #[diagnostic(code(xnat::ssh::prompt), help("{how}"))]
    NoPrompt { at: At, what: String, how: &'static str },

    #[error("cannot use the SSH settings for {at}: {reason}")]
    #[diagnostic(
        code(xnat::ssh::config),
        help("correct `~/.ssh/config`, or set the value under `[ssh]` in the inventory: it wins over that file")
    )]
    Config { at: At, reason: String },

    #[error("cannot reach {at} through its jump host")]
    #[diagnostic(code(xnat::ssh::jump), help("reach the jump host first: {}", help_of(source)))]
    Jump {
        at: At,
        #[source]
        source: Arc<TransportError>,
    },

    #[error("the jump host {through} cannot open a connection to {at}: {reason}")]
    #[diagnostic(
        code(xnat::ssh::jump_refused),
        help(
            "check there that the address answers, and that sshd has `AllowTcpForwarding yes` (`sshd -T | grep -i allowtcpforwarding`)"
        )
    )]
    JumpRefused { at: At, through: String, reason: String },

    #[error("sudo on {at} did not take the password")]
    #[diagnostic(
        code(xnat::ssh::sudo::password),
        help(
            "try it with `ssh -t {} sudo -k -v`, then run again with `--ask-become-password` (or correct XNAT_SUDO_PASSWORD)",
            at.login()
        )
    )]
    SudoPassword { at: At },

    #[error("sudo on {at} does not allow this user to become root: {said}")]
    #[diagnostic(
        code(xnat::ssh::sudo::denied),
        help(
            "log in there as root and run `adduser {} sudo`, or set `user` under `[ssh]` in the inventory",
            at.user
        )
    )]
    SudoDenied { at: At, said: String },

    #[error("sudo on {at} wants a terminal")]
    #[diagnostic(
        code(xnat::ssh::sudo::tty),
        help("put the line `Defaults !requiretty` into /etc/sudoers there with `visudo`")
    )]
    SudoTty { at: At },

    #[error("there is no sudo on {at}")]
    #[diagnostic(
        code(xnat::ssh::sudo::missing),
        help(
            "install it there with `apt-get install sudo`, or log in as root: `user = \"root\"` under `[ssh]` in the inventory"
        )
    )]
    SudoMissing { at: At },

    #[error("\"{title}\" needs root on {at}, and the login user is not root")]
    #[diagnostic(
        code(xnat::ssh::not_root),
        help("set `become = \"sudo\"` under `[ssh]` in the inventory, or `user = \"root\"`")
    )]
    NotRoot { at: At, title: String },

    #[error("\"{title}\" did not start on {at}: {reason}")]
    #[diagnostic(
        code(xnat::ssh::shell),
        help("check that the user has a working shell there: `ssh {} true`", at.login())
    )]
    NotStarted { at: At, title: String, reason: String },

    #[error("\"{title}\" did not end on {at} within {} s; it may still be running there", .after.as_secs_f32())]
    #[diagnostic(
        code(xnat::ssh::deadline),
        help("see what it is doing with `ssh {} ps -ef --forest`, and run again when it is done", at.login())
    )]
    Deadline { at: At, title: String, after: Duration },

    #[error("\"{title}\" printed more than {limit} MiB on {at}")]
    #[diagnostic(code(xnat::ssh::output), help("run it by hand on the host to see what it prints"))]
    TooMuchOutput { at: At, title: String, limit: usize },

    #[error("the connection to {at} was lost during \"{doing}\": {reason}")]
    #[diagnostic(code(xnat::ssh::lost), help("run the same command again: what is done already is not done twice"))]
    Lost { at: At, doing: String, reason: String },

    /// The host tried, and its kernel said no: that tells of the service, not of our connection.
    #[error("nothing answers at {target}, as seen from {at}")]
    #[diagnostic(
        code(xnat::ssh::nobody_listens),
        help("check that the service runs and listens there: `ssh {} ss -ltn`", at.login())
    )]
    NobodyListens { at: At, target: String },

    #[error("{at} cannot open a connection to {target}: {reason}")]
    #[diagnostic(
        code(xnat::ssh::forward),
        help("check on that host that the service listens (`ss -ltn`) and that sshd has `AllowTcpForwarding yes`")
    )]
    Open { at: At, target: String, reason: String },
    #[error("{at} does not listen on {socket} for us: {reason}")]
    #[diagnostic(
        code(xnat::ssh::listen),
        help("sshd on that host needs `AllowStreamLocalForwarding yes` (its default), and no `DisableForwarding`")
    )]
    Listen { at: At, socket: String, reason: String },
}

impl TransportError {
    /// May the same thing work if it is simply tried again?
    pub fn retryable(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Unreachable { .. } | Self::Timeout { .. } | Self::Lost { .. } => true,
            Self::Open { .. } | Self::NobodyListens { .. } | Self::JumpRefused { .. } => true,
            Self::Jump { source, .. } => source.retryable(),
            _ => false,
        }
    }
}

impl Fails for TransportError {
    fn exit(&self) -> Exit {
        Exit::Unreachable
    }
}

fn list(tried: &[String]) -> String {
    if tried.is_empty() { "nothing, for there was nothing to try".to_owned() } else { tried.join(", ") }
}

fn pin_help(pinnable: bool, fingerprint: &str) -> String {
    if !pinnable {
        return String::new();
    }
    format!("write `fingerprint = \"{fingerprint}\"` under its `[[host]]` in the inventory, or ")
}

/// Where sshd keeps a host key of this kind.
fn key_file(algorithm: &str) -> &'static str {
    match algorithm {
        kind if kind.starts_with("ecdsa") => "/etc/ssh/ssh_host_ecdsa_key.pub",
        kind if kind.contains("rsa") => "/etc/ssh/ssh_host_rsa_key.pub",
        _ => "/etc/ssh/ssh_host_ed25519_key.pub",
    }
}

fn auth_help(at: &Endpoint, accepts: &str) -> String {
    if accepts.contains("no more attempts") {
        "name the right key as `identity` under `[ssh]` in the inventory, so that it is tried first".to_owned()
    } else if accepts.contains("publickey") {
        let login = at.login();
        format!(
            "install your key with `ssh-copy-id {login}`, name it as `identity` under `[ssh]` in the inventory, or load it with `ssh-add`"
        )
    } else {
        "run this on a terminal to be asked for the password, or allow keys there: `PubkeyAuthentication yes` in /etc/ssh/sshd_config".to_owned()
    }
}

fn help_of(error: &TransportError) -> String {
    miette::Diagnostic::help(error).map(|help| help.to_string()).unwrap_or_default()
}
