//! How far replicas were behind in the last looks, as a line of bars.

use std::collections::{BTreeMap, VecDeque};

use crate::cluster::ClusterView;
use crate::cluster::grid::Cell;
use crate::cluster::patroni::Lag;
use crate::names::HostName;

/// Looks that are remembered.
const LOOKS: usize = 10;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Each bar is for sixteen times as much as the one before, beginning with this many bytes: a page more or less is
/// nothing, and gigabytes still fit.
const FIRST: u64 = 1 << 10;

/// A blank for who has no lag (the leader) or of whom nothing is known.
#[derive(Debug, Default)]
pub struct Lags(BTreeMap<HostName, VecDeque<char>>);

impl Lags {
    pub fn add(&mut self, view: &ClusterView) {
        for member in &view.members {
            let line = self.0.entry(member.host.clone()).or_default();
            line.push_back(match view.lag(member) {
                Some(Lag::Bytes(bytes)) => bar(bytes),
                Some(Lag::Unknown) => '?',
                None => ' ',
            });
            if line.len() > LOOKS {
                line.pop_front();
            }
        }
    }

    /// The newest on the right.
    pub fn line(&self, host: &HostName) -> Cell {
        let line: String = self.0.get(host).into_iter().flatten().collect();
        Cell::new(format!("{line:>LOOKS$}"))
    }
}

fn bar(bytes: u64) -> char {
    let step = (0..BARS.len()).find(|step| bytes < FIRST << (4 * step)).unwrap_or(BARS.len() - 1);
    BARS[step]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_for_sizes() {
        assert_eq!([0, 1023, 1024, 16 << 20, 1 << 30, u64::MAX].map(bar), ['▁', '▁', '▂', '▅', '▇', '█']);
    }
}
