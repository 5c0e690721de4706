//! A machine that is to be restarted: why, and whether it has been.

use super::fleet::Fleet;
use super::host::HostError;
use super::shell;
use crate::names::HostName;
use crate::transport::{Script, Transport};

/// A start of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot(String);

impl Fleet {
    /// Why that machine has to be restarted, if it has to.
    pub async fn reboot_due(&self, name: &HostName) -> Result<Option<String>, HostError> {
        let Some(transport) = self.connections.get(name) else { return Ok(None) };
        let said = ask(name, transport.as_ref(), "see whether it has to be restarted", shell::REBOOT_DUE).await?;
        Ok(said.trim_end().strip_prefix("B\t").map(str::to_owned))
    }

    /// Which of its starts this is.
    pub async fn boot(&self, name: &HostName) -> Result<Option<Boot>, HostError> {
        match self.connections.get(name) {
            Some(transport) => boot(name, transport.as_ref()).await.map(Some),
            None => Ok(None),
        }
    }
}

/// The same over a connection of one's own.
pub async fn boot(name: &HostName, transport: &dyn Transport) -> Result<Boot, HostError> {
    ask(name, transport, "see which of its starts this is", shell::BOOT_ID).await.map(Boot)
}

async fn ask(name: &HostName, transport: &dyn Transport, title: &str, text: &str) -> Result<String, HostError> {
    let failed = |source| HostError::Transport { host: name.clone(), what: title.to_owned(), source };
    let output = transport.run(Script::as_root(title, text)).await.map_err(failed)?;
    if output.status != 0 {
        let stderr = output.stderr.trim().to_owned();
        return Err(HostError::Observe { host: name.clone(), status: output.status, stderr });
    }
    Ok(output.stdout)
}
