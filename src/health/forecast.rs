//! When a disk will be full: a straight line through what was seen of it before. Samples are kept by whoever looks.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::host::{Disk, Look};
use crate::names::HostName;

/// So many are kept, the newest.
const KEPT: usize = 200;
/// Two are at least so far apart, so that those that are kept reach four days back however often somebody looks.
const APART: SignedDuration = SignedDuration::from_mins(30);
/// What came in less says little.
const LEAST: SignedDuration = SignedDuration::from_hours(1);

/// What was used at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    pub bytes: u64,
    pub inodes: u64,
}

impl Used {
    fn of(disk: &Disk) -> Self {
        Self { bytes: disk.used, inodes: disk.inodes.map_or(0, |inodes| inodes.used) }
    }
}

/// All disks at one time, by host and place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub at: Timestamp,
    pub used: BTreeMap<HostName, BTreeMap<String, Used>>,
}

/// In the order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples(pub Vec<Sample>);

/// What is to be expected of a disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Forecast {
    /// There is too little to go by.
    NotYet,
    /// It does not grow.
    Never,
    /// In so many seconds.
    Full(f64),
}

impl Samples {
    /// Remember what is seen now. None when nothing is, or the last one is too fresh for another.
    #[must_use]
    pub fn with<'a>(mut self, now: Timestamp, looks: impl Iterator<Item = (&'a HostName, &'a Look)>) -> Option<Self> {
        // of a time to come: a clock was wrong, then or now
        self.0.retain(|sample| sample.at <= now);
        if self.0.last().is_some_and(|last| now.duration_since(last.at) < APART) {
            return None;
        }
        let of_host = |look: &Look| look.disks.iter().map(|disk| (disk.mount.clone(), Used::of(disk))).collect();
        let used: BTreeMap<_, _> = looks.map(|(host, look)| (host.clone(), of_host(look))).collect();
        if used.is_empty() {
            return None;
        }
        self.0.push(Sample { at: now, used });
        let over = self.0.len().saturating_sub(KEPT);
        self.0.drain(..over);
        Some(self)
    }

    /// Whichever ends first: room or inodes.
    pub fn forecast(&self, now: Timestamp, host: &HostName, disk: &Disk) -> Forecast {
        let bytes = self.full(now, (host, disk), |used| used.bytes, disk.used + disk.free);
        let inodes = disk.inodes.map(|inodes| self.full(now, (host, disk), |used| used.inodes, inodes.total));
        match (bytes, inodes.unwrap_or(Forecast::Never)) {
            (Forecast::Full(one), Forecast::Full(other)) => Forecast::Full(one.min(other)),
            (Forecast::Full(one), _) | (_, Forecast::Full(one)) => Forecast::Full(one),
            (bytes, _) => bytes,
        }
    }

    fn full(&self, now: Timestamp, (host, disk): (&HostName, &Disk), of: fn(Used) -> u64, capacity: u64) -> Forecast {
        let age = |at: Timestamp| -now.duration_since(at).as_secs_f64();
        let before = self.0.iter().filter(|sample| sample.at < now);
        let before = before.filter_map(|sample| Some((age(sample.at), *sample.used.get(host)?.get(&disk.mount)?)));
        let mut points: Vec<(f64, f64)> = before.map(|(at, used)| (at, of(used) as f64)).collect();
        if points.first().is_none_or(|(first, _)| -first < LEAST.as_secs_f64()) {
            return Forecast::NotYet;
        }
        let used = of(Used::of(disk)) as f64;
        points.push((0.0, used));
        match slope(&points) {
            growth if growth > 0.0 => Forecast::Full((capacity as f64 - used).max(0.0) / growth),
            _ => Forecast::Never,
        }
    }
}

/// Of the line with the least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let (mut both, mut square) = (0.0, 0.0);
    for (a, b) in points {
        both += (a - x) * (b - y);
        square += (a - x) * (a - x);
    }
    if square > 0.0 { both / square } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::host::Inodes;
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn disk(used: u64, inodes: u64) -> Disk {
        let inodes = Some(Inodes { total: 1000, used: inodes });
        Disk { mount: "/".into(), paths: vec!["/".into()], size: 1000, used, free: 1000 - used, inodes }
    }

    fn seen(looks: &[(i64, u64, u64)]) -> Samples {
        let host = HostName::new("db1");
        let mut samples = Samples::default();
        for (minutes, used, inodes) in looks {
            let look = Look { disks: vec![disk(*used, *inodes)], ..Look::default() };
            samples = samples.clone().with(at(*minutes), [(&host, &look)].into_iter()).unwrap_or(samples);
        }
        samples
    }

    #[test]
    fn what_grows_evenly_is_full_when_the_line_says_so() {
        let cases = [
            (vec![], Forecast::NotYet),
            (vec![(60, 100, 10)], Forecast::NotYet),
            (vec![(0, 100, 10), (40, 100, 10)], Forecast::Never),
            (vec![(0, 50, 10), (40, 75, 10)], Forecast::Full(900.0 / 50.0 * 4800.0)),
            // the inodes end sooner
            (vec![(0, 100, 6), (40, 100, 8)], Forecast::Full(990.0 / 4.0 * 4800.0)),
            (vec![(0, 500, 10), (40, 300, 10)], Forecast::Never),
        ];
        for (before, expected) in cases {
            let forecast = seen(&before).forecast(at(80), &HostName::new("db1"), &disk(100, 10));
            match (forecast, expected) {
                (Forecast::Full(one), Forecast::Full(other)) => {
                    assert!((one / other - 1.0).abs() < 1e-6, "{before:?}: {one} and not {other}");
                }
                _ => assert_eq!(forecast, expected, "{before:?}"),
            }
        }
    }

    #[test]
    fn few_are_kept_and_none_of_a_time_to_come() {
        let often: Vec<(i64, u64, u64)> = (0..100).map(|minutes| (minutes, 1, 1)).collect();
        assert_eq!(seen(&often).0.len(), 4);
        let long: Vec<(i64, u64, u64)> = (0..300).map(|look| (look * 30, 1, 1)).collect();
        let samples = seen(&long);
        assert_eq!((samples.0.len(), samples.0[0].at), (KEPT, at(100 * 30)));
        let (host, look) = (HostName::new("db1"), Look::default());
        assert_eq!(samples.clone().with(at(100_000), [].into_iter()), None);
        let back = samples.with(at(0), [(&host, &look)].into_iter()).expect("it is the first");
        assert_eq!(back.0.len(), 1);
    }
}
