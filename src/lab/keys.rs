//! SSH keys of a lab: one pair for whoever logs in, one per host, and the known_hosts file that goes with them.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::{LabError, OnPath};
use super::place::write_whole;
use super::state::State;
use super::tool::{command, feed, run};

/// The private key that opens every host of a lab.
pub(super) fn identity(directory: &Path) -> PathBuf {
    directory.join("id_ed25519")
}

pub(super) fn known_hosts(directory: &Path) -> PathBuf {
    directory.join("known_hosts")
}

/// What opens the vaults of inventories of this lab.
pub(super) fn vault_identity(directory: &Path) -> PathBuf {
    directory.join("vault-identity.txt")
}

/// Make an ed25519 pair; the public key's line.
pub(super) fn make_pair(path: &Path, comment: &str) -> Result<String, LabError> {
    let mut keygen = command("ssh-keygen");
    run("make an ssh key", keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(path))?;
    let public = path.with_extension("pub");
    fs::read_to_string(&public).on("read", &public)
}

/// `SHA256:…` of a public key's line.
pub(super) fn fingerprint(key: &str) -> Result<String, LabError> {
    let printed = feed("read a fingerprint", command("ssh-keygen").args(["-l", "-E", "sha256", "-f", "-"]), key)?;
    let found = printed.split_whitespace().find(|word| word.starts_with("SHA256:")).map(str::to_owned);
    found.ok_or_else(|| LabError::Tool {
        what: "read a fingerprint".to_owned(),
        command: "ssh-keygen -l -f -".to_owned(),
        status: "success, but without a SHA256 fingerprint".to_owned(),
        output: printed,
    })
}

/// `keys`: the public key line of every host, in the order of the state.
pub(super) fn write_known_hosts(directory: &Path, state: &State, keys: &[String]) -> Result<(), LabError> {
    let line = |(host, key): (&super::state::LabHost, &String)| {
        let key = key.split(' ').take(2).collect::<Vec<_>>().join(" ");
        format!("{},{} {}\n", host.name, host.address, key.trim_end())
    };
    let text: String = state.hosts.iter().zip(keys).map(line).collect();
    write_whole(&known_hosts(directory), &text, 0o644)
}

/// Options that make OpenSSH use the lab's keys and nothing of the user's own set-up.
pub(super) fn ssh_options(directory: &Path) -> Vec<String> {
    let known = known_hosts(directory);
    let mut options =
        vec!["-F".to_owned(), "none".to_owned(), "-i".to_owned(), identity(directory).display().to_string()];
    let settings = [
        format!("UserKnownHostsFile=\"{}\"", known.display()),
        "GlobalKnownHostsFile=none".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        "PasswordAuthentication=no".to_owned(),
    ];
    options.extend(settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]));
    options
}
