//! A member in maintenance: nobody fails over to it and no reader is sent to it, until it is taken out of it again. That is
//! a file of Patroni's on its own host, beside those that `apply` writes, so it lasts as long as the maintenance does.

use std::time::Duration;

use super::operation::{Operation, OperationError};
use crate::cluster::haproxy::REPLICAS;
use crate::cluster::maintenance::{self, Note};
use crate::cluster::{self, ClusterView, Gather, patroni};
use crate::engine::Host as _;
use crate::names::HostName;
use crate::resource::{Action, WriteFile};

const FILE: &str = "/etc/patroni/xnat/50-maintenance.yml";
const UNIT: &str = "patroni.service";

/// How long the member may take to hear of it, and every HAProxy to see it: some of their rounds.
const HEARD: Duration = Duration::from_secs(90);

impl Operation<'_> {
    /// The leader hands over first; readers may finish before they are cut.
    pub async fn begin_maintenance(
        &self,
        host: &HostName,
        note: &Note,
        to: Option<&HostName>,
    ) -> Result<Vec<String>, OperationError> {
        let mut seen = Vec::new();
        if let Some(to) = to {
            seen.push(self.told(self.hand_over(host, to).await?).await);
            self.wait_until_it_follows(host).await?;
        }
        let file = WriteFile {
            path: FILE.to_owned(),
            content: maintenance::member_file(note).into(),
            owner: "root".to_owned(),
            group: "postgres".to_owned(),
            mode: 0o640,
            validate: None,
        };
        self.without_readers(host, self.tell_patroni(host, Action::WriteFile(file), true)).await?;
        seen.push(
            self.told(format!("{host} is in maintenance: nobody fails over to it, and no reader is sent to it")).await,
        );
        Ok(seen)
    }

    pub async fn end_maintenance(&self, host: &HostName) -> Result<String, OperationError> {
        self.tell_patroni(host, Action::RunCommand { run: format!("rm -f -- {FILE}") }, false).await?;
        self.let_readers_in(host).await?;
        Ok(format!("{host} may lead again, and readers are sent to it"))
    }

    async fn tell_patroni(&self, name: &HostName, action: Action, begins: bool) -> Result<(), OperationError> {
        let unreachable = || OperationError::Member { host: name.clone(), reason: "it cannot be reached".to_owned() };
        let host = self.fleet.host(name).ok_or_else(unreachable)?;
        let performed = host.perform(self.approved, &[action]).await?;
        if let Some(failure) = performed.failure {
            let (host, done) = (name.clone(), "told of the maintenance");
            return Err(OperationError::Unit { unit: UNIT, host, done, reason: failure.output });
        }
        patroni::reload(&self.patroni(name)?, self.approved).await?;
        let heard = async |gather: &Gather<'_>| heard(&cluster::gather(gather).await, name, begins);
        Ok(self.wait(format!("everybody to know of {name}'s maintenance"), HEARD, heard).await?)
    }
}

fn heard(view: &ClusterView, host: &HostName, begins: bool) -> Result<(), String> {
    let member = view.members.iter().find(|member| &member.host == host);
    if member.is_none_or(|member| maintenance::of_member(member).is_some() != begins) {
        return Err(format!("Patroni on {host} has not taken it up yet"));
    }
    for seen in view.haproxy.iter().filter(|_| begins) {
        let mut servers = seen.answer.known().into_iter().flatten();
        if servers.any(|server| server.section == REPLICAS && server.name == host.as_str() && server.up) {
            return Err(format!("HAProxy on {} still sends readers to it", seen.host));
        }
    }
    Ok(())
}
