//! A member's part in the upgrade to another major version of PostgreSQL: how far it has come, and files from the member
//! that was upgraded to another, through this machine, since hosts cannot log in to each other.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fleet::Fleet;
use super::host::HostError;
use super::shell::member as script;
use super::step::{MemberStep, StepError};
use crate::approval::Approved;
use crate::names::HostName;
use crate::transport::{Script, TransportError};

/// The cluster's data of one major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataDir {
    pub major: u32,
    /// An upgrade has begun, and Patroni must not start it.
    pub held: bool,
    /// `pg_upgrade` has taken its files over, so this member led.
    pub led: bool,
}

impl Fleet {
    /// Oldest version first.
    pub async fn data_dirs(&self, host: &HostName, cluster: &str) -> Result<Vec<DataDir>, HostError> {
        let script = Script::as_root("look for the cluster's data", script::data_dirs(cluster));
        let output = self.ran(host, script).await?;
        let mut found = Vec::new();
        for line in output.stdout.lines() {
            let unread = || HostError::Answer { host: host.clone(), line: line.to_owned() };
            found.push(read(line).ok_or_else(unread)?);
        }
        found.sort_by_key(|dir: &DataDir| dir.major);
        Ok(found)
    }

    /// What one member sends is for the other.
    pub async fn carry(
        &self,
        approved: &Approved,
        (from, send): (&HostName, MemberStep<'_>),
        (to, receive): (&HostName, MemberStep<'_>),
    ) -> Result<(), StepError> {
        approved.still_holds().map_err(HostError::from)?;
        let cut = |host: &HostName| {
            let host = host.clone();
            move |source: TransportError| HostError::Transport { host, what: "carry files over".to_owned(), source }
        };
        let mut source = self.connections[from].pipe(send.script()).await.map_err(cut(from))?;
        let target = self.connections[to].pipe(receive.script()).await.map_err(cut(to))?;
        let (mut answers, mut sink) = tokio::io::split(target);
        let said = async {
            let mut said = String::new();
            answers.read_to_string(&mut said).await.map(|_| said)
        };
        let sent = async {
            tokio::io::copy(&mut source, &mut sink).await?;
            sink.shutdown().await
        };
        let (sent, said) = futures::join!(sent, said);
        // the one who receives knows best what is wrong: a stream that ended too early does not end as it should
        receive.answer(to, said.as_deref().unwrap_or_default())?;
        sent.map_err(|error| send.failed(from, error.to_string()))
    }
}

fn read(line: &str) -> Option<DataDir> {
    let mut words = line.split(' ');
    let major = words.next()?.parse().ok()?;
    let mut flag = || words.next().map(|word| word == "yes");
    Some(DataDir { major, held: flag()?, led: flag()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_a_line() {
        assert_eq!(read("15 yes no"), Some(DataDir { major: 15, held: true, led: false }));
        assert_eq!(read("fifteen yes no"), None);
    }
}
