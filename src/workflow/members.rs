//! Whatever is asked of members without a new leader: read the configuration again, copy the data anew, begin and end
//! maintenance mode.

use std::time::Duration;

use super::in_turn::started;
use super::operation::{Operation, OperationError};
use crate::cluster::maintenance::{self, Note};
use crate::cluster::{self, Gather, patroni};
use crate::inventory::Component;
use crate::names::HostName;

/// A large database takes its time to be copied.
const COPY: Duration = Duration::from_secs(24 * 3600);
/// How long members may take to hear of a changed configuration: some of their rounds.
const HEARD: Duration = Duration::from_secs(90);

impl Operation<'_> {
    pub async fn reload(&self, hosts: &[HostName]) -> Result<String, OperationError> {
        for host in hosts {
            patroni::reload(&self.patroni(host)?, self.approved).await?;
        }
        let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
        Ok(format!("Patroni on {} reads its configuration again", names.join(", ")))
    }

    pub async fn copy_anew(&self, host: &HostName) -> Result<String, OperationError> {
        let before = started(&cluster::gather(&self.gather).await, host);
        patroni::reinitialize(&self.patroni(host)?, self.approved).await?;
        let copied = async |gather: &Gather<'_>| {
            let view = cluster::gather(gather).await;
            let now = started(&view, host);
            let member = view.members.iter().find(|member| &member.host == host);
            let streams = member.is_some_and(|member| member.follows() && view.streams(member));
            if now.is_some() && now != before && streams {
                return Ok(());
            }
            let state =
                member.and_then(|member| member.listed.as_ref()).map_or("unknown", |listed| listed.state.as_str());
            Err(format!("its state is: {state}"))
        };
        self.wait(format!("{host} to stream again"), COPY, copied).await?;
        Ok(format!("{host} has a new copy of the data, and streams"))
    }

    pub async fn pause(&self, note: &Note) -> Result<String, OperationError> {
        self.share(&note.begun()).await?;
        self.wait_until_all_know(true).await?;
        Ok("maintenance mode is on, and every member knows".to_owned())
    }

    pub async fn resume(&self) -> Result<String, OperationError> {
        self.share(&maintenance::ended()).await?;
        self.wait_until_all_know(false).await?;
        Ok("maintenance mode is off, and every member knows".to_owned())
    }

    /// Any member can be told.
    async fn share(&self, patch: &serde_json::Value) -> Result<(), OperationError> {
        let view = cluster::gather(&self.gather).await;
        let answers = view.members.iter().find(|member| member.in_inventory && member.patroni.known().is_some());
        let Some(member) = answers else {
            let first = self.gather.inventory.with(Component::Postgres).next();
            let host = first.map_or_else(|| HostName::new("nobody"), |host| host.name.clone());
            return Err(OperationError::Member { host, reason: "it does not answer, nor does any other".to_owned() });
        };
        patroni::patch_config(&self.patroni(&member.host)?, self.approved, patch).await?;
        Ok(())
    }

    /// A member takes up what is in etcd in its next round; who does not answer will read it when it comes.
    async fn wait_until_all_know(&self, paused: bool) -> Result<(), OperationError> {
        let all = async |gather: &Gather<'_>| {
            let view = cluster::gather(gather).await;
            let deaf = view.members.iter().find(|m| m.patroni.known().is_some_and(|about| about.pause != paused));
            deaf.map_or(Ok(()), |member| Err(format!("{} has not heard of it yet", member.host)))
        };
        let what = if paused { "every member to pause" } else { "every member to go on" };
        Ok(self.wait(what.to_owned(), HEARD, all).await?)
    }
}
