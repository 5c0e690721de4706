//! Members join an etcd that runs, one at a time: first the others expect it, then it starts as a learner and takes their
//! data, and when it has caught up it votes. Where a run was cut off the membership tells, so the next one goes on.

use super::rolling::{RECOVERY, first};
use super::{ApplyError, StageRun};
use crate::cluster::http::CallError;
use crate::cluster::safety::membership::{self, Joining, Progress};
use crate::cluster::safety::restart;
use crate::cluster::{self, ClusterView, Gather, etcd};
use crate::error::one_line;
use crate::inventory::Host;
use crate::names::HostName;

impl StageRun<'_> {
    pub(super) async fn join_etcd_members(&mut self) -> Result<(), ApplyError> {
        for joining in &self.apply.survey.joining {
            let Some(host) = self.apply.inventory.host(&joining.host) else { continue };
            if self.apply.cancel.is_cancelled() {
                return Err(ApplyError::Interrupted { done: Vec::new(), left: Vec::new() });
            }
            self.join(host, joining).await?;
        }
        Ok(())
    }

    async fn join(&mut self, host: &Host, joining: &Joining) -> Result<(), ApplyError> {
        if joining.progress == Progress::New {
            self.admit(host).await?;
        }
        if joining.progress != Progress::Learner {
            self.must_be_expected(joining).await?;
        }
        self.converge(vec![host.name.clone()], 1).await?;
        self.promote(host).await
    }

    /// Have the others expect it, when all of them are well. etcd itself refuses for some seconds after the last change
    /// of its members.
    async fn admit(&self, host: &Host) -> Result<(), ApplyError> {
        let inventory = self.apply.inventory;
        let url = membership::peer_url(inventory, host);
        self.wait(&format!("etcd to take in {}", host.name), RECOVERY, async |gather| {
            let view = cluster::gather(gather).await;
            if membership::line(membership::listed(&view), inventory, host).is_some() {
                return Ok(Ok(()));
            }
            let mut obstacles = restart::etcd_obstacles(&view, inventory, None);
            obstacles.retain(|obstacle| obstacle.host.as_ref().is_none_or(|other| !self.joins(other)));
            first(obstacles)?;
            let http = voter(gather, &view)?;
            settled(etcd::add_learner(&http, self.apply.approved, &url).await)
        })
        .await??;
        self.tell("etcd", &format!("{} is expected as a learner", host.name)).await;
        Ok(())
    }

    /// etcd refuses to start with another list of members than the others have, and is told which by the plan.
    async fn must_be_expected(&self, joining: &Joining) -> Result<(), ApplyError> {
        let view = cluster::gather(&self.gather()).await;
        let listed = membership::initial_cluster(membership::listed(&view), self.apply.inventory);
        if listed == joining.initial_cluster {
            return Ok(());
        }
        Err(ApplyError::MembershipMoved { host: joining.host.clone(), listed })
    }

    /// Until it votes and is well. etcd answers "in sync" no sooner than it is.
    async fn promote(&self, host: &Host) -> Result<(), ApplyError> {
        let inventory = self.apply.inventory;
        self.wait(&format!("etcd on {} to catch up and vote", host.name), RECOVERY, async |gather| {
            let view = cluster::gather(gather).await;
            let line = membership::line(membership::listed(&view), inventory, host);
            let line = line.ok_or_else(|| format!("etcd does not list {}", host.name))?;
            if line.learner {
                let http = voter(gather, &view)?;
                if let Err(error) = settled(etcd::promote(&http, self.apply.approved, line).await)? {
                    return Ok(Err(error));
                }
                return Err(format!("{} has just been promoted", host.name));
            }
            let own = view.etcd.iter().find(|seen| seen.host == host.name).and_then(|seen| seen.answer.known());
            match own {
                Some(member) if member.healthy && !member.learner => Ok(Ok(())),
                _ => Err(format!("etcd on {} is not well yet", host.name)),
            }
        })
        .await??;
        self.tell("etcd", &format!("{} votes", host.name)).await;
        Ok(())
    }

    fn joins(&self, host: &HostName) -> bool {
        self.apply.survey.joining.iter().any(|one| &one.host == host)
    }
}

/// A member that follows a leader and votes, to be told of a change.
pub(super) fn voter<'a>(gather: &Gather<'a>, view: &ClusterView) -> Result<crate::cluster::http::Http<'a>, String> {
    let votes = |member: &etcd::Member| member.leader.is_some() && !member.learner;
    let seen = view.etcd.iter().find(|seen| seen.answer.known().is_some_and(votes));
    let host = seen.and_then(|seen| gather.inventory.host(&seen.host));
    etcd::client(gather, host.ok_or("no etcd member follows a leader")?)
}

/// What etcd refuses now it may accept later; a run that lost its locks is over at once.
pub(super) fn settled(result: Result<(), CallError>) -> Result<Result<(), CallError>, String> {
    match result {
        Err(CallError::Overtaken(overtaken)) => Ok(Err(overtaken.into())),
        Err(error) => Err(one_line(&error)),
        Ok(()) => Ok(Ok(())),
    }
}
