//! What is struck, where and when: all of it follows from one number.

use std::fmt;
use std::time::Duration;

/// What the run finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Start {
    /// Hosts on which nothing is installed.
    Bare,
    /// A cluster in use, with something to change.
    Living,
    /// Packages are installed, and everything else is as on bare hosts: a first apply without its long beginning.
    Wiped,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to the program itself.
    Kill,
    /// The sshd processes of its connection to a host die.
    Ssh(&'static str),
    /// The plug is pulled, and put in again.
    Power(&'static str),
    /// No space left below a directory of a host.
    Disk(&'static str, &'static str),
    /// A host is cut off for a while.
    Partition(&'static str, Duration),
}

#[derive(Clone, Debug)]
pub struct Point {
    pub seed: u64,
    pub start: Start,
    pub fault: Fault,
    /// After how many events …
    pub event: usize,
    /// … and how long after.
    pub delay: Duration,
}

const HOSTS: [&str; 3] = ["db1", "db2", "db3"];

impl Point {
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let start = match dice.below(13) {
            0 => Start::Bare,
            1..=3 => Start::Wiped,
            _ => Start::Living,
        };
        // How many events such a run has, roughly; one that ends before is struck after its end.
        let (events, longest) = match start {
            Start::Bare => (200, 3000),
            Start::Wiped => (150, 1500),
            Start::Living => (44, 300),
        };
        let host = HOSTS[dice.below(3)];
        let fault = match dice.below(5) {
            0 => Fault::Kill,
            1 => Fault::Ssh(host),
            2 => Fault::Power(host),
            3 => Fault::Disk(host, disk(start, &mut dice)),
            _ => Fault::Partition(host, Duration::from_millis(500 + dice.below(3500) as u64)),
        };
        let delay = Duration::from_millis(dice.below(longest) as u64);
        // the files are written early in such a run, and what is written cannot fail for want of space any more
        let events = if start == Start::Living && matches!(fault, Fault::Disk(..)) { 8 } else { events };
        Self { seed, start, fault, event: 1 + dice.below(events), delay }
    }
}

fn disk(start: Start, dice: &mut Dice) -> &'static str {
    match start {
        Start::Living => ["/etc/patroni/xnat", "/etc/haproxy"][dice.below(2)],
        Start::Bare | Start::Wiped => ["/var/lib/postgresql", "/var/lib/etcd", "/etc/patroni"][dice.below(3)],
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, start, fault, event, delay } = self;
        write!(f, "seed {seed}: {start:?}, {fault:?} {} ms after event {event}", delay.as_millis())
    }
}

/// `SplitMix64`: the same numbers everywhere and always, which a library does not promise.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("the bound is one")
    }
}
