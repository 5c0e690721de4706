//! Becoming root through sudo, and understanding what it says when it refuses.

use super::exec::{Cut, Exchange, Raw};
use super::session::Session;
use super::wrap::find;
use crate::secret::Secret;

/// Without a password. Always tried first: where sudo wants none it would not read the line with the password, and the
/// shell would run it as a command. `env` and not a plain assignment, because the login shell may be any shell.
pub(super) const WITHOUT_PASSWORD: &str = "env LC_ALL=C sudo -n sh -s";

/// The shell says it has started before it is given anything: a script sent any earlier would be read as more passwords
/// if the first one were wrong, and the account locked.
pub(super) const STARTED: &str = "XNAT-sudo-started";
pub(super) const WITH_PASSWORD: &str = "env LC_ALL=C sudo -k -S -p '' sh -c 'echo XNAT-sudo-started; exec sh -s'";

/// How sudo is to be used on a host; found out once for each connection.
#[derive(Clone)]
pub(super) enum Mode {
    WithoutPassword,
    Password(Secret),
    /// Not to be tried again: too many wrong ones lock accounts.
    WrongPassword,
}

/// What sudo's complaint means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    PasswordRequired,
    WrongPassword,
    /// With the line that says so.
    Denied(String),
    NeedsTty,
    Missing,
}

/// Both sudo and sudo-rs, with LC_ALL=C. `None`: it is not sudo that failed.
pub(super) fn complaint(status: u32, stderr: &str) -> Option<Complaint> {
    let has = |pieces: &[&str]| pieces.iter().any(|piece| stderr.contains(piece));
    let denied = ["not in the sudoers file", "is not allowed to", "may not run sudo", "I'm afraid I can't do that"];
    if has(&["must have a tty"]) {
        Some(Complaint::NeedsTty)
    } else if let Some(line) = stderr.lines().find(|line| denied.iter().any(|piece| line.contains(piece))) {
        Some(Complaint::Denied(line.trim().to_owned()))
    } else if has(&["ry again", "incorrect password", "incorrect authentication attempt"]) {
        Some(Complaint::WrongPassword)
    } else if has(&["password is required", "password was provided", "interactive authentication is required"]) {
        Some(Complaint::PasswordRequired)
    } else if status == 127 {
        Some(Complaint::Missing)
    } else {
        None
    }
}

/// What came of a command that was given the password.
pub(super) enum Attempt {
    Ended(Raw),
    WrongPassword,
}

pub(super) async fn run_with_password(session: &Session, password: &Secret, text: String) -> Result<Attempt, Cut> {
    let mut exchange = Exchange::start(session, WITH_PASSWORD).await?;
    exchange.send(format!("{}\n", password.expose())).await?;
    let wrong =
        |raw: &Raw| complaint(raw.status, &String::from_utf8_lossy(&raw.stderr)) == Some(Complaint::WrongPassword);
    let started = |raw: &Raw| find(&raw.stdout, STARTED.as_bytes()).is_some();
    let raw = exchange.until(|raw| started(raw) || wrong(raw)).await?;
    if !started(raw) && wrong(raw) {
        // Dropping the exchange closes its input, so sudo gets no second line to try.
        return Ok(Attempt::WrongPassword);
    }
    exchange.finish(text).await.map(Attempt::Ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints() {
        let is = |status, text: &str| complaint(status, text);
        assert_eq!(is(1, "sudo: a password is required\n"), Some(Complaint::PasswordRequired));
        assert_eq!(is(1, "sudo: interactive authentication is required"), Some(Complaint::PasswordRequired));
        assert_eq!(is(1, "Sorry, try again.\nsudo: no password was provided\n"), Some(Complaint::WrongPassword));
        assert_eq!(is(1, "sudo: 1 incorrect password attempt\n"), Some(Complaint::WrongPassword));
        assert_eq!(is(1, "sudo: sorry, you must have a tty to run sudo\n"), Some(Complaint::NeedsTty));
        let line = "bob is not in the sudoers file.";
        assert_eq!(is(1, &format!("\n{line}\n")), Some(Complaint::Denied(line.to_owned())));
        assert_eq!(is(127, "env: 'sudo': No such file or directory\n"), Some(Complaint::Missing));
        assert_eq!(is(2, "sh: 1: Syntax error\n"), None);
    }
}
