//! A command an administrator has typed, on a host.

use std::time::Duration;

use super::fleet::Fleet;
use super::host::HostError;
use crate::approval::Approved;
use crate::names::HostName;
use crate::quote;
use crate::transport::{Output, Privilege, Script};

/// A backup or an upgrade of packages may take its time; nobody looks at a terminal for longer.
const DEADLINE: Duration = Duration::from_secs(3600);

/// What was typed, as a script: one word is a line for the shell, several are a command and its arguments, as they are.
pub fn script(words: &[String], privilege: Privilege) -> Script {
    let text = match words {
        // not `sh -c`: that would show the line to everybody who can list processes
        [line] => format!("eval {}", quote::sh(line)),
        words => words.iter().map(|word| quote::sh(word)).collect::<Vec<_>>().join(" "),
    };
    Script { privilege, ..Script::as_root("run the command", text) }.timeout(DEADLINE)
}

impl Fleet {
    /// Nobody here knows what it does, so it takes an approval as every change does. It takes no lock: most of what is
    /// typed only looks, and has to be possible while another run is at work.
    pub async fn execute(&self, host: &HostName, approved: &Approved, script: Script) -> Result<Output, HostError> {
        approved.still_holds()?;
        let what = script.title.clone();
        let ran = self.connections[host].run(script).await;
        ran.map_err(|source| HostError::Transport { host: host.clone(), what, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        script(&words, Privilege::Root).text
    }

    #[test]
    fn one_word_is_for_the_shell_and_several_are_taken_as_they_are() {
        assert_eq!(text(&["df -h | grep var"]), "eval 'df -h | grep var'");
        assert_eq!(text(&["echo", "a  b", "$HOME;"]), "'echo' 'a  b' '$HOME;'");
    }
}
