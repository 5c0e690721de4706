//! What a host was seen to be: the script that is sent, and what its answer means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::Answers;
use crate::inventory::{Component, Host, Inventory};
use crate::quote::sh;

const LOOK: &str = include_str!("look.sh");

/// One script, one round trip.
pub fn script(inventory: &Inventory, host: &Host) -> String {
    let etcd = if host.components.contains(&Component::Etcd) { inventory.etcd.data_dir.as_str() } else { "" };
    format!("cluster={}\netcd={}\n{LOOK}", sh(&inventory.cluster), sh(etcd))
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    pub clock: Clock,
    /// Its clock is its machine's.
    pub container: bool,
    /// Whether something keeps the clock right; none where the host would not say.
    pub synchronised: Option<bool>,
    pub disks: Vec<Disk>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// By how much it is ahead of this machine's, in seconds.
    pub offset: f64,
    /// By how much that may be wrong: half of the way there and back.
    pub error: f64,
}

/// A file system that matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// What of ours is on it.
    pub paths: Vec<String>,
    pub size: u64,
    pub used: u64,
    pub free: u64,
    /// None where inodes are made as needed.
    pub inodes: Option<Inodes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inodes {
    pub total: u64,
    pub used: u64,
}

impl Disk {
    /// As df counts: what is kept for root is neither used nor free.
    pub fn ratio(&self) -> f64 {
        share(self.used, self.used + self.free)
    }
}

impl Inodes {
    pub fn ratio(self) -> f64 {
        share(self.used, self.total)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// This machine's clock before and after, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub before: f64,
    pub after: f64,
}

impl Look {
    /// Of what the script printed; none when it did not come to its end.
    pub fn parse(output: &str, asked: Asked) -> Option<Self> {
        let answers = Answers::of(output);
        let time = |key: &str| answers.one(key)?.parse::<f64>().ok();
        let (begun, ended) = (time("begun")?, time("ended")?);
        // As NTP has it: what the host took in between falls out.
        let offset = f64::midpoint(begun - asked.before, ended - asked.after);
        let error = ((asked.after - asked.before) - (ended - begun)) / 2.0;
        Some(Self {
            clock: Clock { offset, error: error.max(0.0) },
            container: answers.one("container").is_some(),
            synchronised: answers.one("synchronised").map(|word| word == "yes"),
            disks: disks(answers.pairs("disk")),
        })
    }
}

fn disks<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Disk> {
    let mut disks: BTreeMap<String, Disk> = BTreeMap::new();
    for (path, disk) in lines.filter_map(|(path, numbers)| Some((path, disk(numbers)?))) {
        disks.entry(disk.mount.clone()).or_insert(disk).paths.push(path.to_owned());
    }
    disks.into_values().collect()
}

/// Where df was too slow or failed there are no numbers, and nothing is known.
fn disk(numbers: &str) -> Option<Disk> {
    let mut words = numbers.split_whitespace();
    let mut number = || words.next().map(|word| word.parse::<u64>().ok());
    let (size, used, free) = (number()??, number()??, number()??);
    let (total, inodes) = (number()?, number()?);
    let inodes = total.filter(|total| *total > 0).zip(inodes).map(|(total, used)| Inodes { total, used });
    let mount = words.collect::<Vec<_>>().join(" ");
    Some(Disk { mount, paths: Vec::new(), size, used, free, inodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_there_and_what_the_host_took_fall_out() {
        let output = "begun=1000.5\nsynchronised=yes\nended=1003.5\n";
        let look = Look::parse(output, Asked { before: 100.0, after: 104.0 }).expect("whole");
        assert_eq!(look.clock, Clock { offset: 900.0, error: 0.5 });
        assert_eq!((look.container, look.synchronised), (false, Some(true)));
        assert_eq!(Look::parse("begun=1000.5\n", Asked { before: 0.0, after: 0.0 }), None);
    }

    #[test]
    fn paths_on_one_file_system_are_one_disk() {
        let output = "begun=1.0\ndisk=/ 1000 700 200 0 - /\ndisk=/a/b 100 95 5 10 9 /a\ndisk=/a/b/c 100 95 5 10 9 /a\ndisk=/hangs \nended=1.0";
        let look = Look::parse(output, Asked { before: 1.0, after: 1.0 }).expect("whole");
        let [root, other] = look.disks.as_slice() else { panic!("{:?}", look.disks) };
        assert_eq!((root.mount.as_str(), root.inodes), ("/", None));
        assert!((root.ratio() - 7.0 / 9.0).abs() < 1e-9);
        assert_eq!(other.paths, ["/a/b", "/a/b/c"]);
        assert_eq!(other.inodes, Some(Inodes { total: 10, used: 9 }));
    }
}
