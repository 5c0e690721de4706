//! Passwords that a site keeps elsewhere: a variable, a file, or what a command prints. Errors say which, and never what.

use std::process::{Command, Stdio};

use super::error::VaultError;
use super::file::{self, Readers};
use super::means::{self, Means};
use super::secrets::unusable;
use crate::inventory::Reference;
use crate::secret::Secret;

/// What a command we run must not find in its environment.
pub const OUR_VARIABLES: [&str; 3] = [means::PASSPHRASE, means::NEW_PASSPHRASE, "XNAT_SUDO_PASSWORD"];

/// The password `name`, from where the inventory says it is; one that is good enough for the cluster.
pub fn resolve(name: &str, reference: &Reference, means: &dyn Means) -> Result<Secret, VaultError> {
    let secret = read(name, reference, means)?;
    match unusable(name, secret.expose()) {
        Some(reason) => Err(VaultError::Reference { name: name.to_owned(), place: place(reference), reason }),
        None => Ok(secret),
    }
}

/// The same of somebody else's, however good it is.
pub fn read(name: &str, reference: &Reference, means: &dyn Means) -> Result<Secret, VaultError> {
    let failed = |reason: String| VaultError::Reference { name: name.to_owned(), place: place(reference), reason };
    Ok(match reference {
        Reference::Env(variable) => means
            .variable(variable)
            .map(|value| without_line_break(&value))
            .ok_or_else(|| failed("it is not set".into()))?,
        Reference::File(path) => match file::read_text(path, Readers::Owner) {
            Ok(Some(text)) => without_line_break(&text),
            Ok(None) => return Err(failed("there is no such file".into())),
            Err(VaultError::Mode { mode, .. }) => {
                return Err(failed(format!("others than its owner may read it (mode {mode:04o}); chmod 600 it")));
            }
            Err(error) => return Err(failed(crate::error::one_line(&error))),
        },
        Reference::Command(command) => output(command).map_err(failed)?,
    })
}

/// Where it is, in words.
pub fn place(reference: &Reference) -> String {
    match reference {
        Reference::Env(variable) => format!("the environment variable {variable}"),
        Reference::File(path) => format!("the file {}", path.display()),
        Reference::Command(command) => format!("the command `{command}`"),
    }
}

/// What a shell command prints. It may talk on standard error, and to the terminal.
pub fn output(command: &str) -> Result<Secret, String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit());
    for name in OUR_VARIABLES {
        shell.env_remove(name);
    }
    let ran = shell.output().map_err(|error| format!("it cannot be run: {error}"))?;
    let printed = zeroize::Zeroizing::new(ran.stdout);
    if !ran.status.success() {
        return Err(format!("it failed ({})", ran.status));
    }
    let text = std::str::from_utf8(&printed).map_err(|_| "what it printed is not text in UTF-8".to_owned())?;
    Ok(without_line_break(text))
}

fn without_line_break(text: &str) -> Secret {
    let text = text.strip_suffix('\n').unwrap_or(text);
    Secret::new(text.strip_suffix('\r').unwrap_or(text))
}
