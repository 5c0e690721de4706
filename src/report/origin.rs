//! Who runs this program, on which machine, where that person came from, and what was typed.

use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};

/// Told to hosts and written into journals; every field may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// The login user; through sudo also who that was before: "anna as root".
    pub user: String,
    pub machine: String,
    /// The address an SSH session to this machine comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The command line. No option takes a secret; one that is typed all the same is masked like any other text.
    pub arguments: Vec<String>,
}

impl Origin {
    pub fn of_this_process() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let uid =
            || std::fs::metadata("/proc/self").map_or_else(|_| "unknown".to_owned(), |me| format!("uid {}", me.uid()));
        let user = set("USER").or_else(|| set("LOGNAME")).unwrap_or_else(uid);
        let user = match set("SUDO_USER") {
            Some(before) if before != user => format!("{before} as {user}"),
            _ => user,
        };
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let from = set("SSH_CLIENT").and_then(|client| Some(client.split_whitespace().next()?.to_owned()));
        let arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        Self { user, machine: machine.trim().to_owned(), from, arguments }
    }

    /// "anna@laptop"
    pub fn who(&self) -> String {
        format!("{}@{}", self.user, self.machine)
    }

    pub(super) fn texts_mut(&mut self) -> Vec<&mut String> {
        let Self { user, machine, from, arguments } = self;
        [user, machine].into_iter().chain(from).chain(arguments).collect()
    }
}
