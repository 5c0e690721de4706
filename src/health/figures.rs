//! Everything that was measured, as numbers with fixed names: for Prometheus, Nagios' graphs and JSON.

use serde::Serialize;

use super::Case;
use super::forecast::Forecast;
use super::host::{Disk, Look};
use crate::cluster::patroni::Lag;
use crate::cluster::postgres::vitals::Vitals;
use crate::names::HostName;

/// A kind of figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Metric {
    pub name: &'static str,
    #[serde(skip)]
    pub help: &'static str,
    /// Besides `host`.
    #[serde(skip)]
    pub label: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    #[serde(flatten)]
    pub metric: Metric,
    pub host: HostName,
    /// What the metric's label says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    pub value: f64,
}

const fn metric(name: &'static str, help: &'static str) -> Metric {
    Metric { name, help, label: None }
}

const fn labelled(name: &'static str, label: &'static str, help: &'static str) -> Metric {
    Metric { name, help, label: Some(label) }
}

const ETCD_SIZE: Metric = metric("xnat_etcd_db_size_bytes", "Size of etcd's database");
const ETCD_USED: Metric = metric("xnat_etcd_db_in_use_bytes", "What of etcd's database is in use");
pub const ETCD_AGREEMENT: Metric =
    metric("xnat_etcd_agreement_seconds", "How long a member of etcd takes to have the others agree on a read");
pub const CONNECTIONS: Metric = metric("xnat_postgres_connections", "Client connections in use");
const LIMIT: Metric = metric("xnat_postgres_connections_limit", "Client connections without those of superusers");
const TRANSACTIONS: Metric = metric("xnat_postgres_transaction_age", "Transactions since the oldest frozen one");
const MULTIXACTS: Metric = metric("xnat_postgres_multixact_age", "Multixacts since the oldest frozen one");
const CHECKSUMS: Metric = metric("xnat_postgres_checksum_failures", "Pages read whose checksum was wrong");
const HELD: Metric =
    metric("xnat_postgres_longest_transaction_seconds", "Age of the oldest transaction, beyond a minute");
const ARCHIVED: Metric = metric("xnat_postgres_last_archived_seconds", "Time since WAL was archived last");
const SLOT: Metric = labelled("xnat_postgres_slot_kept_bytes", "slot", "WAL kept for a replication slot");
pub const LAG: Metric = metric("xnat_replication_lag_bytes", "How far a replica is behind");
pub const WRITE: Metric = metric("xnat_haproxy_write_seconds", "Connecting and writing through HAProxy");
pub const READ: Metric = metric("xnat_haproxy_read_seconds", "Connecting and reading that through HAProxy");
pub const DISK: Metric = labelled("xnat_disk_used_ratio", "mount", "Used part of a file system, as df counts");
const FREE: Metric = labelled("xnat_disk_free_bytes", "mount", "What is free on a file system");
const INODES: Metric = labelled("xnat_disk_inodes_used_ratio", "mount", "Used part of the inodes of a file system");
const FULL: Metric = labelled("xnat_disk_full_seconds", "mount", "Time until a file system is full, if it is to be");
const CLOCK: Metric = metric("xnat_clock_offset_seconds", "By how much a clock is ahead of the controller's");
const CERTIFICATE: Metric =
    labelled("xnat_certificate_end_timestamp_seconds", "service", "When the certificate of a service ends");

/// In the order of the checks.
pub fn all(case: &Case<'_>) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (host, look) in &case.measured.hosts {
        figures.extend(look.known().iter().flat_map(|look| of_host(case, host, look)));
    }
    for shown in &case.view.certificates {
        let ends = shown.answer.known().map(|certificate| certificate.ends.as_second() as f64);
        figures.extend(ends.map(|ends| labelled_figure(CERTIFICATE, &shown.host, shown.purpose.as_str(), ends)));
    }
    for seen in &case.view.etcd {
        let Some(member) = seen.answer.known() else { continue };
        figures.push(figure(ETCD_SIZE, &seen.host, member.db_size as f64));
        figures.extend(member.db_size_in_use.map(|used| figure(ETCD_USED, &seen.host, used as f64)));
    }
    let agreement = case.measured.agreement.iter();
    figures.extend(agreement.filter_map(|(host, took)| Some(figure(ETCD_AGREEMENT, host, *took.known()?))));
    for (host, vitals) in &case.measured.vitals {
        figures.extend(vitals.known().iter().flat_map(|vitals| of_member(host, vitals)));
    }
    for member in case.view.members.iter().filter(|member| member.follows()) {
        if let Some(Lag::Bytes(bytes)) = case.view.lag(member) {
            figures.push(figure(LAG, &member.host, bytes as f64));
        }
    }
    for (host, passage) in &case.measured.passages {
        figures.extend(passage.write.as_ref().ok().map(|trip| figure(WRITE, host, trip.seconds)));
        let read = passage.read.as_ref().and_then(|read| read.as_ref().ok());
        figures.extend(read.map(|trip| figure(READ, host, trip.seconds)));
    }
    figures
}

fn figure(metric: Metric, host: &HostName, value: f64) -> Figure {
    Figure { metric, host: host.clone(), of: None, value }
}

fn labelled_figure(metric: Metric, host: &HostName, of: &str, value: f64) -> Figure {
    Figure { of: Some(of.to_owned()), ..figure(metric, host, value) }
}

fn of_host(case: &Case<'_>, host: &HostName, look: &Look) -> Vec<Figure> {
    let mut figures = vec![figure(CLOCK, host, look.clock.offset)];
    figures.extend(look.disks.iter().flat_map(|disk| of_disk(case, host, disk)));
    figures
}

fn of_disk(case: &Case<'_>, host: &HostName, disk: &Disk) -> Vec<Figure> {
    let of = |metric, value| labelled_figure(metric, host, &disk.mount, value);
    let mut figures = vec![of(DISK, disk.ratio()), of(FREE, disk.free as f64)];
    figures.extend(disk.inodes.map(|inodes| of(INODES, inodes.ratio())));
    let forecast = case.measured.samples.as_ref().map(|samples| samples.forecast(case.measured.now, host, disk));
    if let Ok(Forecast::Full(seconds)) = forecast {
        figures.push(of(FULL, seconds));
    }
    figures
}

fn of_member(host: &HostName, vitals: &Vitals) -> Vec<Figure> {
    let mut figures = vec![
        figure(CONNECTIONS, host, vitals.connections.used as f64),
        figure(LIMIT, host, vitals.connections.limit as f64),
        figure(TRANSACTIONS, host, vitals.transactions.age as f64),
        figure(MULTIXACTS, host, vitals.multixacts.age as f64),
        figure(CHECKSUMS, host, vitals.checksums.failures as f64),
        figure(HELD, host, vitals.holding.first().map_or(0.0, |longest| longest.seconds)),
    ];
    figures.extend(vitals.archiver.archived.map(|seconds| figure(ARCHIVED, host, seconds)));
    figures.extend(vitals.slots.iter().map(|slot| labelled_figure(SLOT, host, &slot.name, slot.kept as f64)));
    figures
}
