//! Waiting for what a stage has started.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{ApplyError, StageRun};
use crate::cluster::Gather;
use crate::engine::Host as _;
use crate::engine::wait::Wait;
use crate::names::HostName;
use crate::report::{Kind, millis_since};
use crate::resource::{Observed, Probe, Resource};

/// How often it is asked whether it is there.
const POLL: Duration = Duration::from_millis(250);
/// How often services are looked at while they are waited for.
const LOOK: Duration = Duration::from_secs(5);
/// One that systemd has started again so often meanwhile does not come. A member whose disk was full for a moment, or which
/// lost a race for a port, has come by then.
const RESTARTS: u64 = 5;

type UnitOf = (String, HostName);

impl StageRun<'_> {
    /// Until the condition holds; not when it cannot hold any more because a service of the stage ends again and again.
    pub(super) async fn wait<T, F>(&self, what: &str, deadline: Duration, condition: F) -> Result<T, ApplyError>
    where
        F: AsyncFn(&Gather<'_>) -> Result<T, String>,
    {
        let title = format!("wait for {what}");
        let begun = Instant::now();
        self.reporter.emit(Kind::StepStarted { title: title.clone() }).await;
        let wait = Wait {
            what: what.to_owned(),
            deadline,
            interval: POLL,
            help: "see `xnat-provision status` and the units' journals on the hosts; then run the same command again: it goes on from here".to_owned(),
        };
        let waiting = wait.until(self.reporter, self.apply.cancel, || async { condition(&self.gather()).await });
        let value = tokio::select! {
            value = waiting => value?,
            (unit, host) = self.one_that_keeps_ending() => return Err(ApplyError::KeepsEnding { unit, host, what: what.to_owned() }),
        };
        self.reporter.emit(Kind::StepFinished { title, millis: millis_since(begun) }).await;
        Ok(value)
    }

    /// Comes when a service of this stage has ended and was started again too often; never otherwise.
    async fn one_that_keeps_ending(&self) -> UnitOf {
        let mut before = BTreeMap::new();
        loop {
            // most waits are over before
            tokio::time::sleep(LOOK).await;
            for (unit, restarts) in self.restarts().await {
                let first = *before.entry(unit.clone()).or_insert(restarts);
                if restarts >= first + RESTARTS {
                    return unit;
                }
            }
        }
    }

    /// How often systemd has restarted each service of this stage. A host that does not answer has nothing to say here.
    async fn restarts(&self) -> Vec<(UnitOf, u64)> {
        let survey = self.apply.survey;
        let hosts = survey.desired.iter().filter_map(|(name, stages)| Some((name, stages.get(&self.stage)?)));
        let asked = hosts.filter_map(|(name, resources)| {
            let host = survey.fleet.host(name)?;
            let unit = |resource: &Resource| match resource {
                Resource::Unit(unit) => {
                    Some(Probe::Unit { name: unit.name.clone(), files: Vec::new(), packages: Vec::new() })
                }
                _ => None,
            };
            let probes: Vec<Probe> = resources.iter().filter_map(unit).collect();
            Some(async move {
                let seen = host.observe(&probes).await.unwrap_or_default();
                let restarts = probes.iter().filter_map(|probe| match (probe, seen.get(probe)) {
                    (Probe::Unit { name: unit, .. }, Some(Observed::Unit(state))) => {
                        Some(((unit.clone(), name.clone()), state.restarts))
                    }
                    _ => None,
                });
                restarts.collect::<Vec<_>>()
            })
        });
        futures::future::join_all(asked).await.concat()
    }
}
