//! Asks everything that `health` judges: the hosts by themselves first, since their clocks are read; then the services as
//! `status` does, and every PostgreSQL; then what is timed: etcd's agreement, and new connections through every HAProxy.

mod kept;

use std::collections::BTreeMap;

use futures::future::join_all;
use jiff::Timestamp;

use crate::approval::Approved;
use crate::cluster::postgres::vitals;
use crate::cluster::verify::passage::pass;
use crate::cluster::{Answer, Gather, etcd, gather, latency};
use crate::engine::Fleet;
use crate::error::one_line;
use crate::health::host::{self, Asked, Look};
use crate::health::{Case, Measured, Report, judge};
use crate::inventory::{Component, Host, Inventory};
use crate::names::HostName;
use crate::transport::Script;
use crate::vault::Secrets;

pub use kept::{last_drill, last_kept};

/// What was found, and when.
pub struct Examined {
    pub report: Report,
    pub at: Timestamp,
}

/// Look at everything; with an approval a row is written through every HAProxy.
pub async fn examine(
    fleet: &Fleet,
    (inventory, secrets): (&Inventory, &Secrets),
    approved: Option<&Approved>,
) -> Examined {
    let unreachable = fleet.reasons();
    let asked =
        Gather { inventory, connections: &fleet.connections, unreachable: &unreachable, secrets: secrets.real() };
    let hosts = by_host(inventory.hosts.iter(), |host| look(&asked, host)).await;
    let members = by_host(inventory.with(Component::Postgres), |host| vitals::ask(&asked, host));
    let (view, vitals) = futures::join!(gather(&asked), members);
    let agreement = by_host(inventory.with(Component::Etcd), |host| agreement(&asked, host));
    let passages = by_host(reached(&asked), |host| pass(&asked, host, approved));
    let (agreement, passages) = futures::join!(agreement, passages);
    let now = Timestamp::now();
    let samples = kept::samples(&inventory.cluster, now, &hosts);
    let drill = kept::last_drill(&inventory.cluster);
    let measured = Measured { now, hosts, vitals, agreement, passages, samples, drill };
    Examined { report: judge(&Case { inventory, view: &view, measured: &measured }), at: now }
}

async fn by_host<'a, T>(
    hosts: impl Iterator<Item = &'a Host>,
    ask: impl AsyncFn(&'a Host) -> T,
) -> BTreeMap<HostName, T> {
    let asked = hosts.map(async |host| (host.name.clone(), ask(host).await));
    join_all(asked.collect::<Vec<_>>()).await.into_iter().collect()
}

/// Where nobody can be reached nothing fails; it is not known.
fn reached<'a>(gather: &Gather<'a>) -> impl Iterator<Item = &'a Host> + use<'a> {
    let connections = gather.connections;
    gather.inventory.with(Component::Haproxy).filter(|host| connections.contains_key(&host.name))
}

async fn look(gather: &Gather<'_>, host: &Host) -> Answer<Look> {
    let transport = match gather.transport(&host.name) {
        Ok(transport) => transport,
        Err(why) => return Answer::Unknown(why),
    };
    let script = Script::as_root("look at disks and clock", host::script(gather.inventory, host));
    let before = seconds();
    match transport.run(script).await {
        Ok(output) => match Look::parse(&output.stdout, Asked { before, after: seconds() }) {
            Some(look) => Answer::Known(look),
            None => Answer::Down(format!("{} did not say how it is: {}", host.name, output.stderr.trim())),
        },
        Err(error) => Answer::Unknown(one_line(&error)),
    }
}

fn seconds() -> f64 {
    Timestamp::now().as_duration().as_secs_f64()
}

async fn agreement(gather: &Gather<'_>, host: &Host) -> Answer<f64> {
    match etcd::client(gather, host) {
        Ok(http) => {
            Answer::from(latency::agreement(&http, &gather.inventory.cluster).await).map(|took| took.as_secs_f64())
        }
        Err(why) => Answer::Unknown(why),
    }
}
