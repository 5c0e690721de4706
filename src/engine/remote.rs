//! A host over SSH. The only place where actions run.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::hold::Claim;
use super::host::{ActionFailure, Host, HostError, Performed};
use super::shell::{self, Fence};
use crate::approval::{Approved, Overtaken};
use crate::names::HostName;
use crate::resource::{Action, Observations, Probe};
use crate::transport::{Output, Script, Transport};

pub struct RemoteHost {
    name: HostName,
    transport: Arc<dyn Transport>,
    /// Without one it can only be looked at.
    fence: Option<Fence>,
}

impl RemoteHost {
    pub fn new(name: HostName, transport: Arc<dyn Transport>, fence: Option<Fence>) -> Self {
        Self { name, transport, fence }
    }

    fn overtaken(&self, output: &Output) -> HostError {
        let why = match Claim::read(&output.stderr) {
            Some(claim) => format!("{claim} has taken it over"),
            None => "its record of who may change it is gone: it was restarted".to_owned(),
        };
        Overtaken { host: self.name.clone(), why }.into()
    }

    async fn run(&self, script: Script) -> Result<Output, HostError> {
        let what = script.title.clone();
        self.transport.run(script).await.map_err(|source| HostError::Transport {
            host: self.name.clone(),
            what,
            source,
        })
    }
}

#[async_trait]
impl Host for RemoteHost {
    fn name(&self) -> &HostName {
        &self.name
    }

    async fn observe(&self, probes: &[Probe]) -> Result<Observations, HostError> {
        if probes.is_empty() {
            return Ok(Observations::default());
        }
        let script = Script::as_root("read the host's state", shell::probes(probes)).timeout(Duration::from_secs(60));
        let output = self.run(script).await?;
        if output.status != 0 {
            return Err(HostError::Observe {
                host: self.name.clone(),
                status: output.status,
                stderr: output.stderr.trim().to_owned(),
            });
        }
        shell::answers(probes, &output.stdout).map_err(|line| HostError::Answer { host: self.name.clone(), line })
    }

    async fn perform(&self, approved: &Approved, actions: &[Action]) -> Result<Performed, HostError> {
        approved.still_holds()?;
        let fence = self.fence.as_ref().ok_or_else(|| HostError::NotHeld { host: self.name.clone() })?;
        let script = Script::as_root("change the host", shell::alone(fence, &shell::actions(actions)));
        let script = script.timeout(shell::deadline(actions));
        let output = self.run(script).await?;
        if output.stdout.trim_end() == shell::FENCED {
            return Err(self.overtaken(&output));
        }
        let done = shell::completed(actions, &output.stdout);
        if done == actions.len() && output.status == 0 {
            return Ok(Performed { done, failure: None });
        }
        let output = ActionFailure { status: output.status, output: output.stderr.trim_end().to_owned() };
        Ok(Performed { done, failure: Some(output) })
    }

    async fn anew(&self) -> Result<Box<dyn Host + '_>, HostError> {
        let failed = |source| HostError::Transport { host: self.name.clone(), what: "connect anew".to_owned(), source };
        let transport = self.transport.again().await.map_err(failed)?;
        Ok(Box::new(Self { name: self.name.clone(), transport, fence: self.fence.clone() }))
    }
}
