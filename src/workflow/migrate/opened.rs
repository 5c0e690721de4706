//! After a move by stream: the cluster can be used, and what it had then is held against the source.

use std::collections::BTreeMap;

use super::bridge::Bridge;
use super::end::has_content;
use super::place::{Place, clean};
use super::source::Snapshot;
use super::stream::Streaming;
use super::{Clock, Compared, MigrateError, Moving};
use crate::cluster::postgres::SUPERUSER;
use crate::cluster::postgres::objects::desired;
use crate::error::one_line;
use crate::migrate::record::Phase;
use crate::migrate::roles::OWN;

/// What the cluster's database was when the application began with it.
pub struct Opened {
    pub(super) snapshot: Snapshot,
    pub(super) sequences: BTreeMap<String, String>,
    /// Somebody may miss what the cluster had before.
    pub(super) missed: bool,
}

impl Opened {
    pub(super) fn snapshot(&self) -> &str {
        &self.snapshot.name
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({})", self.snapshot.name)
    }
}

impl Moving<'_> {
    /// The rest of a run that was cut off when the copies took their place.
    pub async fn settled_in(&self) -> Result<(Vec<Phase>, Opened), MigrateError> {
        let mut clock = Clock::new(&self.operation);
        let opened = Streaming { moving: self }.settled_in(&mut clock).await?;
        Ok((clock.phases, opened))
    }

    /// Nothing else is left of the move; and where the cluster's former data is, on the leader, unless nobody can miss it.
    pub async fn tidied(&self, opened: &Opened) -> Result<Option<String>, MigrateError> {
        let streaming = Streaming { moving: self };
        streaming.at_members(async |host| Ok(streaming.workshop(&host).clean().await?)).await?;
        let takeover = streaming.takeover();
        let kept = takeover.finish(!opened.missed).await?;
        Ok(kept.map(|directory| {
            format!("in {directory} on {}, and beside the data on the other members", takeover.leader)
        }))
    }

    /// Somebody may miss what the cluster has now: it was looked at before, and somebody may have been in it since. Who
    /// cannot see that there is nothing takes it that there is something.
    pub(super) async fn is_missed(&self) -> bool {
        let looking = async {
            let (end, name) = (self.cluster(), &self.gather().inventory.database.name);
            let others =
                "SELECT EXISTS (SELECT FROM pg_database WHERE NOT datistemplate AND datname NOT IN ($1, 'postgres'))
                              OR EXISTS (SELECT FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> ALL ($2))";
            let ours = desired(self.gather().inventory, self.secrets).roles.into_iter().map(|role| role.name);
            let ours: Vec<String> = ours.chain(OWN.map(str::to_owned)).collect();
            let session = end.session(SUPERUSER).await?;
            let others = session.query_one(others, &[name, &ours]).await.and_then(|row| row.try_get::<_, bool>(0));
            let others = others.map_err(|error| MigrateError::failed("look for databases", one_line(&error)))?;
            Ok::<_, MigrateError>(
                others || has_content(&session).await? || has_content(&end.session(name).await?).await?,
            )
        };
        looking.await.unwrap_or(true)
    }

    /// The source, which nobody writes to, and what the cluster had when the application began with it.
    pub async fn compare_opened(&self, opened: &Opened) -> Result<(Compared, Phase), MigrateError> {
        let mut clock = Clock::new(&self.operation);
        clock.beside = true;
        let (place, workshop) = (Place { moving: self }, self.workshop());
        workshop.begin().await?;
        let leader = self.operation.fleet.connections[&self.leader.name].as_ref();
        let bridge = Bridge::open(self.foreign, &[leader]).await?;
        let compared = clock.stage("Compare", self.compare(&place, &workshop, (None, Some(opened))));
        let compared = tokio::select! {
            biased;
            () = self.operation.cancel.cancelled() => Err(MigrateError::Interrupted),
            compared = bridge.while_open(compared) => compared,
        };
        bridge.close().await;
        match compared.is_ok() {
            true => workshop.clean().await?,
            // also the database the schema was restored into
            false => {
                clean(self.gather(), self.leader, (self.operation.fleet, self.operation.approved)).await.map(drop)?
            }
        }
        let mut compared = compared?;
        let others = self.looked.source.physical.iter().flat_map(|physical| &physical.databases);
        let others: Vec<&str> = others.map(String::as_str).filter(|name| *name != self.looked.database).collect();
        if !others.is_empty() {
            let text =
                format!("the databases {}, which came along: they were not made read-only there", others.join(", "));
            compared.left_out.push(text);
        }
        let phase = clock.phases.pop().expect("it was one");
        Ok((compared, phase))
    }
}
