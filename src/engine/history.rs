//! The runs that hosts remember: written there by whoever holds their lock, read by anybody who may log in.

use std::collections::BTreeMap;

use super::fanout::for_each_host;
use super::fleet::Fleet;
use super::host::HostError;
use super::shell;
use crate::approval::Approved;
use crate::names::HostName;
use crate::report::Record;
use crate::report::text::printable;
use crate::transport::Script;

/// What one host remembers, oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    pub records: Vec<Record>,
    /// The run that has the host's lock now.
    pub running: Option<String>,
    /// Lines that are not records.
    pub unreadable: usize,
}

impl Remembered {
    /// What [`shell::history`] printed.
    pub fn read(output: &str) -> Self {
        let mut remembered = Self::default();
        for line in output.lines().filter(|line| !line.is_empty()) {
            if let Some(run) = line.strip_prefix("running ") {
                remembered.running = Some(printable(run).into_owned());
            } else if let Some(record) = Record::read(line) {
                remembered.records.push(record);
            } else {
                remembered.unreadable += 1;
            }
        }
        remembered
    }
}

impl Fleet {
    /// Have every host this run has locked remember it. Those that could not are returned.
    pub async fn remember(&self, _: &Approved, record: &Record) -> Vec<HostName> {
        let line = record.line();
        let notes = self.holds.iter().map(|(name, hold)| {
            let line = &line;
            async move { (!hold.note(line).await).then(|| name.clone()) }
        });
        futures::future::join_all(notes).await.into_iter().flatten().collect()
    }

    /// What the hosts remember.
    pub async fn remembered(&self) -> BTreeMap<HostName, Result<Remembered, HostError>> {
        let names: Vec<HostName> = self.connections.keys().cloned().collect();
        let limit = names.len();
        for_each_host(names, limit, |name| async move {
            let script = Script::as_root("read the host's history", shell::history());
            let what = script.title.clone();
            let output = self.connections[&name].run(script).await;
            let output = output.map_err(|source| HostError::Transport { host: name.clone(), what, source })?;
            match output.status {
                0 => Ok(Remembered::read(&output.stdout)),
                status => Err(HostError::Observe { host: name, status, stderr: output.stderr.trim().to_owned() }),
            }
        })
        .await
    }
}
