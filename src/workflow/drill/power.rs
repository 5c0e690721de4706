//! The switch of a machine, which this program has for hosts of a lab only.

use async_trait::async_trait;

use crate::error::{Exit, Fails};
use crate::names::HostName;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the machine of {host} cannot be switched: {reason}")]
#[diagnostic(
    code(xnat::drill::power),
    help("see `xnat-provision lab status`; `xnat-provision status` shows what the cluster makes of it")
)]
pub struct PowerError {
    pub host: HostName,
    pub reason: String,
}

impl Fails for PowerError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

#[async_trait]
pub trait Power: Send + Sync {
    fn has(&self, host: &HostName) -> bool;
    async fn off(&self, host: &HostName) -> Result<(), PowerError>;
    async fn on(&self, host: &HostName) -> Result<(), PowerError>;
}
