//! The part of a stage that is done on hosts: each brings its own resources to their wanted state.

use std::collections::BTreeMap;

use super::{ApplyError, StageRun};
use crate::cluster::etcd;
use crate::engine::{Converge, ConvergeError, Interruption, Permit, for_each_host};
use crate::names::HostName;
use crate::resource::Resource;
use crate::workflow::{cluster_plan, rolling};

impl StageRun<'_> {
    /// The hosts of the stage, as many at a time as the run may.
    pub(super) async fn converge_hosts(&mut self) -> Result<(), ApplyError> {
        let stay = |host: &HostName| self.apply.inventory.host(host).is_some();
        self.converge_at_once(self.hosts().into_iter().filter(stay).collect()).await
    }

    pub(super) async fn converge_at_once(&mut self, hosts: Vec<HostName>) -> Result<(), ApplyError> {
        self.converge(hosts, self.parallel()).await
    }

    /// Without a quorum the start of a member waits for the others, so they are started at once: those of a new cluster,
    /// and those of one whose first start was cut short. Those that join come afterwards.
    pub(super) async fn converge_etcd_members(&mut self) -> Result<(), ApplyError> {
        let mut hosts = self.hosts_not_in_turn();
        hosts.retain(|host| self.apply.survey.joining.iter().all(|one| &one.host != host));
        let quorum = etcd::quorum(&self.gather()).await;
        let parallel = if quorum.is_ok() { self.parallel() } else { hosts.len() };
        self.converge(hosts, parallel).await
    }

    /// In a cluster that exists already there is no first one. While that of a new one makes its database, the others get
    /// everything but what runs.
    pub(super) async fn converge_first_postgres_member(&mut self) -> Result<(), ApplyError> {
        let Some(first) = self.first_postgres_member() else { return Ok(()) };
        self.converge(vec![first], 1).await?;
        let others = if self.apply.survey.started.postgres { Vec::new() } else { self.other_postgres_members() };
        let stage = &*self;
        let prepare = |name| async move { stage.converge_only(&name, |it| !matches!(it, Resource::Unit(_))).await };
        let preparing = for_each_host(others, self.parallel(), prepare);
        let (prepared, leads) = futures::join!(preparing, self.wait_for_first_leader());
        self.account(prepared)?;
        leads
    }

    /// They are copied from the first. In a cluster that exists none of these is restarted, so all may be done at once.
    pub(super) async fn converge_other_postgres_members(&mut self) -> Result<(), ApplyError> {
        self.converge(self.other_postgres_members(), self.parallel()).await
    }

    fn other_postgres_members(&self) -> Vec<HostName> {
        let first = self.first_postgres_member();
        self.hosts_not_in_turn().into_iter().filter(|host| Some(host) != first.as_ref()).collect()
    }

    fn first_postgres_member(&self) -> Option<HostName> {
        let first = || cluster_plan::bootstrap_host(self.apply.inventory).map(|host| host.name.clone());
        match self.apply.survey.started.postgres {
            true => self.apply.survey.resumes.clone(),
            false => first(),
        }
    }

    pub(super) fn hosts(&self) -> Vec<HostName> {
        self.planned.hosts.keys().cloned().collect()
    }

    /// Those whose member is restarted come one after the other, once these are done.
    fn hosts_not_in_turn(&self) -> Vec<HostName> {
        let due = rolling::due(self.planned);
        self.hosts().into_iter().filter(|host| !due.contains(host)).collect()
    }

    fn parallel(&self) -> usize {
        self.apply.scope.parallel(self.apply.inventory)
    }

    /// All hosts finish, also when one fails; then the stage ends here.
    pub(super) async fn converge(&mut self, hosts: Vec<HostName>, parallel: usize) -> Result<(), ApplyError> {
        let stage = &*self;
        let converge = |name| async move { stage.converge_host(&name, Interruption::Refused).await };
        let results = for_each_host(hosts, parallel, converge).await;
        self.account(results)
    }

    /// One host, whose member may go down now.
    pub(super) async fn converge_interrupted(&mut self, host: HostName, permit: Permit) -> Result<(), ApplyError> {
        let result = self.converge_host(&host, Interruption::Permitted(permit)).await;
        self.account(BTreeMap::from([(host, result)]))
    }

    /// A host's packages, and nothing of what runs them.
    pub(super) async fn converge_packages(&mut self, host: &HostName) -> Result<(), ApplyError> {
        let result = self.converge_only(host, |it| matches!(it, Resource::Package(_))).await;
        self.account(BTreeMap::from([(host.clone(), result)]))
    }

    fn account(&mut self, results: BTreeMap<HostName, Result<usize, ConvergeError>>) -> Result<(), ApplyError> {
        ApplyError::gathered(self.stage.title(), results, &mut self.changed)
    }

    async fn converge_only(&self, name: &HostName, which: fn(&Resource) -> bool) -> Result<usize, ConvergeError> {
        let some: Vec<Resource> = self.resources(name).iter().filter(|it| which(it)).cloned().collect();
        self.converge_resources(name, &some, Interruption::Refused).await
    }

    async fn converge_host(&self, name: &HostName, interruption: Interruption) -> Result<usize, ConvergeError> {
        self.converge_resources(name, self.resources(name), interruption).await
    }

    /// What the stage wants of a host.
    pub(super) fn resources(&self, name: &HostName) -> &[Resource] {
        let stages = self.apply.survey.desired.get(name);
        stages.and_then(|stages| stages.get(&self.stage)).map(Vec::as_slice).unwrap_or_default()
    }

    async fn converge_resources(
        &self,
        name: &HostName,
        resources: &[Resource],
        interruption: Interruption,
    ) -> Result<usize, ConvergeError> {
        let Some(host) = self.apply.survey.fleet.host(name) else { return Ok(0) };
        let reporter = self.reporter.for_host(name);
        let converge = Converge {
            host: &host,
            resources,
            approved: self.apply.approved,
            interruption,
            reporter: &reporter,
            cancel: self.apply.cancel,
        };
        converge.told().await
    }
}
