//! Every check by its name, from the foundations upwards. Names stay: monitoring refers to them.

use super::{Check, backup, certificates, disks, etcd, haproxy, hosts, patroni, postgres, replication};

const ALL: [&[Check]; 9] = [
    &hosts::CHECKS,
    &disks::CHECKS,
    &certificates::CHECKS,
    &etcd::CHECKS,
    &patroni::CHECKS,
    &postgres::CHECKS,
    &replication::CHECKS,
    &haproxy::CHECKS,
    &backup::CHECKS,
];

pub fn all() -> impl Iterator<Item = &'static Check> {
    ALL.iter().flat_map(|area| area.iter())
}
