//! What was found on a host, made of what the script printed. Judges nothing: that is `rules`'.

use jiff::Timestamp;

use crate::cluster::shown::Certificate;
use crate::facts::{self, Answers, Control, Facts, FactsError};
use crate::names::HostName;
use crate::pki::Purpose;

/// One host, looked at from inside.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub facts: Facts,
    /// Processes of our services that a signal has stopped.
    pub stopped: Vec<Process>,
    /// What shows that something is wrong here on purpose.
    pub drill: Option<String>,
    pub file_systems: Vec<FileSystem>,
    pub control: Option<Control>,
    pub slots: Vec<Slot>,
    /// What its services have logged of late, in the order of time.
    pub log: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub name: String,
}

/// The file system under a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    pub path: String,
    pub kib: u64,
    pub free_kib: u64,
    /// None where inodes are made as needed.
    pub free_inodes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub name: String,
    pub active: bool,
    /// `reserved`, `extended`, `unreserved`, `lost`
    pub wal: String,
    /// Bytes of WAL that are kept for it.
    pub kept: u64,
}

/// Something a service said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: Timestamp,
    pub service: String,
    pub text: String,
}

/// A service whose certificate is not the one in the vault.
#[derive(Clone, Debug)]
pub struct Foreign {
    pub host: HostName,
    pub purpose: Purpose,
    pub shown: Certificate,
}

impl Seen {
    /// Of what the script printed; the log comes from elsewhere.
    pub fn parse(output: &str, log: Vec<Line>) -> Result<Self, FactsError> {
        let answers = Answers::of(output);
        Ok(Self {
            facts: facts::parse(output)?,
            stopped: answers.pairs("stopped").filter_map(process).collect(),
            drill: answers.all("drill").first().map(|line| (*line).to_owned()),
            file_systems: answers.pairs("file_system").filter_map(file_system).collect(),
            control: Control::read(answers.all("control").iter().copied()),
            slots: answers.all("slot").iter().filter_map(|line| slot(line)).collect(),
            log,
        })
    }

    /// What systemd says of a unit: `active`, `inactive`, `failed`, `activating`.
    pub fn unit(&self, name: &str) -> Option<&str> {
        let units = &self.facts.examination.as_ref()?.units;
        units.get(&format!("{name}.service")).map(|unit| unit.active.as_str())
    }

    /// The newest line of a service that holds any of these words.
    pub fn said(&self, service: &str, words: &[&str]) -> Option<&Line> {
        let says = |line: &&Line| line.service == service && words.iter().any(|word| line.text.contains(word));
        self.log.iter().rev().find(says)
    }
}

fn process((pid, name): (&str, &str)) -> Option<Process> {
    Some(Process { pid: pid.parse().ok()?, name: name.to_owned() })
}

/// Where df was too slow or failed there are no numbers, and nothing is known.
fn file_system((path, numbers): (&str, &str)) -> Option<FileSystem> {
    let mut numbers = numbers.split_whitespace().map(|number| number.parse::<u64>().ok());
    let (kib, free_kib) = (numbers.next()??, numbers.next()??);
    let (inodes, free_inodes) = (numbers.next().flatten(), numbers.next().flatten());
    let free_inodes = inodes.filter(|inodes| *inodes > 0).and(free_inodes);
    Some(FileSystem { path: path.to_owned(), kib, free_kib, free_inodes })
}

fn slot(line: &str) -> Option<Slot> {
    let mut words = line.split(' ');
    Some(Slot {
        name: words.next()?.to_owned(),
        active: words.next()? == "t",
        wal: words.next()?.to_owned(),
        kept: words.next()?.parse().unwrap_or(0),
    })
}
