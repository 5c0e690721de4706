//! How far an upgrade has come, from the data directories of all members. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::engine::DataDir;
use crate::names::HostName;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// All members have this version, and no upgrade has begun.
    Before { from: u32 },
    /// One was cut off while everything could still be taken back.
    CutOff { from: u32 },
    /// One was cut off when the new version was in its place. The member that led, when it can be told.
    Beyond { from: u32, leader: Option<HostName> },
    /// The new version is all there is.
    Done,
}

/// Or why no upgrade can begin.
pub fn standing(dirs: &BTreeMap<HostName, Vec<DataDir>>, to: u32) -> Result<Standing, String> {
    let all = || dirs.iter().flat_map(|(host, dirs)| dirs.iter().map(move |dir| (host, dir)));
    let versions: BTreeSet<u32> = all().map(|(_, dir)| dir.major).collect();
    let held = || all().filter(|(_, dir)| dir.held);
    if let Some(newer) = versions.iter().find(|version| **version > to) {
        return Err(format!("there is data of PostgreSQL {newer} already, and there is no way to an older version"));
    }
    if versions.contains(&to) {
        let Some((_, old)) = held().next() else {
            let other = all().find(|(_, dir)| dir.major != to);
            let told = |(host, dir): (&HostName, &DataDir)| {
                format!("{host} has data of PostgreSQL {} beside that of {to}: which one counts?", dir.major)
            };
            return other.map_or(Ok(Standing::Done), |other| Err(told(other)));
        };
        let leader = held().find(|(_, dir)| dir.led).map(|(host, _)| host.clone());
        return Ok(Standing::Beyond { from: old.major, leader });
    }
    let from = match versions.iter().collect::<Vec<_>>()[..] {
        [from] => *from,
        [] => return Err("no member has data of the cluster".to_owned()),
        _ => return Err(format!("members have data of several versions: {versions:?}")),
    };
    if held().next().is_some() {
        return Ok(Standing::CutOff { from });
    }
    let without = dirs.iter().find(|(_, dirs)| dirs.is_empty());
    without.map_or(Ok(Standing::Before { from }), |(host, _)| Err(format!("{host} has no data of the cluster")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(hosts: &[&[(u32, bool, bool)]], to: u32) -> Result<Standing, String> {
        let dir = |(major, held, led): &(u32, bool, bool)| DataDir { major: *major, held: *held, led: *led };
        let host = |(at, dirs): (usize, &&[(u32, bool, bool)])| {
            (HostName::new(format!("db{}", at + 1)), dirs.iter().map(dir).collect())
        };
        standing(&hosts.iter().enumerate().map(host).collect(), to)
    }

    #[test]
    fn how_far_it_has_come_is_seen_in_the_directories() {
        let (old, held, led, new) = ((15, false, false), (15, true, false), (15, true, true), (17, false, false));
        assert_eq!(of(&[&[old], &[old]], 17), Ok(Standing::Before { from: 15 }));
        assert_eq!(of(&[&[old], &[held]], 17), Ok(Standing::CutOff { from: 15 }));
        assert_eq!(of(&[&[led], &[held]], 17), Ok(Standing::CutOff { from: 15 }));
        let db1 = Some(HostName::new("db1"));
        assert_eq!(of(&[&[led, new], &[held]], 17), Ok(Standing::Beyond { from: 15, leader: db1 }));
        assert_eq!(of(&[&[new], &[held, new]], 17), Ok(Standing::Beyond { from: 15, leader: None }));
        assert_eq!(of(&[&[new], &[new]], 17), Ok(Standing::Done));
    }

    #[test]
    fn what_nobody_can_decide_is_refused() {
        let (old, new) = ((15, false, false), (17, false, false));
        for (hosts, to, text) in [
            (&[&[new][..], &[new]][..], 16, "no way to an older version"),
            (&[&[old, new], &[old]], 17, "which one counts"),
            (&[&[], &[]], 17, "no member has data"),
            (&[&[old], &[(16, false, false)]], 17, "several versions"),
            (&[&[old], &[]], 17, "db2 has no data"),
        ] {
            let refused = of(hosts, to).expect_err("refused");
            assert!(refused.contains(text), "{refused}");
        }
    }
}
