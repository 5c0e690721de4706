//! The packages of a bundle: brought to the hosts before anything is installed, and taken away when all is well.

use std::time::Instant;

use super::{ApplyError, StageRun};
use crate::engine::{Carrier, CarryError, HostError, Parcel, for_each_host};
use crate::report::text::{count, mebibytes};
use crate::report::{Kind, millis_since};

impl StageRun<'_> {
    /// Each host gets what it lacks. What it is to install is then found there and nowhere else.
    pub(super) async fn carry_packages(&mut self) -> Result<(), ApplyError> {
        let (survey, approved) = (self.apply.survey, self.apply.approved);
        let Some(offer) = self.apply.offer else { return Ok(()) };
        let parcels = survey.coming.iter().filter_map(|(host, coming)| {
            let address = self.apply.inventory.known(host)?.address.clone();
            Some(Parcel { host: host.clone(), address, packages: coming.packages.clone() })
        });
        let parcels: Vec<Parcel> = parcels.collect();
        let hosts: Vec<_> = parcels.iter().map(|parcel| parcel.host.clone()).collect();
        let title = "send packages".to_owned();
        let begun = Instant::now();
        self.reporter.emit(Kind::StepStarted { title: title.clone() }).await;
        let sent = survey
            .fleet
            .carry_packages(Carrier { offer, approved, cancel: self.apply.cancel, reporter: self.reporter }, parcels)
            .await?;
        self.reporter.emit(Kind::StepFinished { title, millis: millis_since(begun) }).await;
        for (host, carried) in sent {
            let mut summary = format!("brought {}, {}", count(carried.packages, "package"), mebibytes(carried.bytes));
            if let Some((from, bytes)) = &carried.from {
                summary.push_str(&format!(" ({} of it from {from}: that was quicker)", mebibytes(*bytes)));
            }
            let event = Kind::ChangeApplied {
                resource: "packages of the bundle".to_owned(),
                summary,
                millis: millis_since(begun),
            };
            self.reporter.for_host(&host).emit(event).await;
            self.changed += 1;
        }
        let parallel = hosts.len();
        let prepared =
            for_each_host(hosts, parallel, async |host| survey.fleet.prepare_store(&host, offer, approved).await);
        prepared.await.into_values().collect::<Result<Vec<()>, CarryError>>()?;
        Ok(())
    }

    /// They have done what they were brought for. A run that fails leaves them for the next.
    pub(super) async fn clear_store(&mut self) -> Result<(), ApplyError> {
        if self.apply.offer.is_none() || self.apply.inventory.packages.keep_bundle {
            return Ok(());
        }
        let (survey, approved) = (self.apply.survey, self.apply.approved);
        // also where an earlier run has left some
        let hosts: Vec<_> =
            survey.desired.keys().filter(|host| survey.fleet.connections.contains_key(*host)).cloned().collect();
        let parallel = hosts.len();
        let cleared =
            for_each_host(hosts, parallel, async |host| survey.fleet.clear_store(&host, approved).await).await;
        cleared.into_values().collect::<Result<Vec<()>, HostError>>().map_err(CarryError::from)?;
        Ok(())
    }
}
