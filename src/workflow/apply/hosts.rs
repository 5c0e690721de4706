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

    /// In a cluster that exists already there is no first one.
    pub(super) async fn converge_first_postgres_member(&mut self) -> Result<(), ApplyError> {
        let Some(first) = self.first_postgres_member() else { return Ok(()) };
        self.converge(vec![first], 1).await?;
        self.wait_for_first_leader().await
    }

    /// They are copied from the first. In a cluster that exists none of these is restarted, so all may be done at once.
    pub(super) async fn converge_other_postgres_members(&mut self) -> Result<(), ApplyError> {
        let first = self.first_postgres_member();
        let others = self.hosts_not_in_turn().into_iter().filter(|host| Some(host) != first.as_ref()).collect();
        self.converge(others, self.parallel()).await
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
        let all = self.resources(host).iter();
        let packages: Vec<Resource> = all.filter(|it| matches!(it, Resource::Package(_))).cloned().collect();
        let result = self.converge_resources(host, &packages, Interruption::Refused).await;
        self.account(BTreeMap::from([(host.clone(), result)]))
    }

    fn account(&mut self, results: BTreeMap<HostName, Result<usize, ConvergeError>>) -> Result<(), ApplyError> {
        ApplyError::gathered(self.stage.title(), results, &mut self.changed)
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
