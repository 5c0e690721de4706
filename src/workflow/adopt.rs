//! Asks hosts what runs on them, for `adopt`: there is no inventory yet, so there is nobody to ask but the hosts. Reads only;
//! one script, one round trip each, all at once.

use std::collections::BTreeMap;

use crate::adopt::{self, Seen, SeenError};
use crate::engine::{Connection, Connector, for_each_host};
use crate::error::{Exit, Fails};
use crate::inventory::Host;
use crate::names::HostName;
use crate::transport::{Script, TransportError};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Unseen {
    #[error("{host}: cannot be looked at")]
    #[diagnostic(code(xnat::adopt::transport))]
    Transport {
        host: HostName,
        #[source]
        #[diagnostic_source]
        source: TransportError,
    },
    #[error("{host}: the script that looks at it ended with status {status}: {stderr}")]
    #[diagnostic(code(xnat::adopt::script), help("log in to {host} and see whether `sh`, `awk` and `grep` work there"))]
    Script { host: HostName, status: u32, stderr: String },
    #[error("{host}: its answer is of no use")]
    #[diagnostic(code(xnat::adopt::answer))]
    Answer {
        host: HostName,
        #[source]
        #[diagnostic_source]
        source: SeenError,
    },
}

impl Fails for Unseen {
    fn exit(&self) -> Exit {
        match self {
            Self::Transport { source, .. } => source.exit(),
            Self::Script { .. } | Self::Answer { .. } => Exit::Failed,
        }
    }
}

/// What each of them is and runs, by the names they were given.
pub async fn look(hosts: &[Host], connector: &dyn Connector) -> BTreeMap<HostName, Result<Seen, Unseen>> {
    let script = adopt::script();
    let names = hosts.iter().map(|host| host.name.clone()).collect();
    for_each_host(names, hosts.len(), |name| {
        let host = hosts.iter().find(|host| host.name == name).expect("the name is one of theirs");
        let script = Script::as_root("look at what runs here", script.clone());
        async move { one(host, script, connector).await }
    })
    .await
}

async fn one(host: &Host, script: Script, connector: &dyn Connector) -> Result<Seen, Unseen> {
    let name = || host.name.clone();
    let Connection { transport, .. } =
        connector.connect(host).await.map_err(|source| Unseen::Transport { host: name(), source })?;
    let output = transport.run(script).await;
    transport.close().await;
    let output = output.map_err(|source| Unseen::Transport { host: name(), source })?;
    if !output.ok() {
        let stderr = output.stderr.trim().to_owned();
        return Err(Unseen::Script { host: name(), status: output.status, stderr });
    }
    Seen::parse(&output.stdout).map_err(|source| Unseen::Answer { host: name(), source })
}
