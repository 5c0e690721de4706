//! What hosts remember of a run that changed them: a line of JSON when it was approved and another when it ended. Comes
//! back from hosts, hence from other people.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::Outcome;
use super::text::{fit, printable};

/// A text in a record is not longer than somebody would want to read in a table.
const LONGEST: usize = 100;

/// How somebody else's run is told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub run: String,
    /// When it began.
    pub at: Timestamp,
    /// "anna@laptop"
    pub who: String,
    /// The address that person was logged in from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
    pub command: String,
    pub cluster: String,
    /// How many changes were approved.
    pub planned: usize,
    /// Nothing while it goes on, and when it was cut off.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub end: Option<Ended>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub outcome: Outcome,
    /// Not known of a run that failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub changed: Option<usize>,
    pub millis: u64,
}

impl Record {
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Nothing when the line is not a record.
    pub fn read(line: &str) -> Option<Self> {
        let record: Self = serde_json::from_str(line).ok()?;
        Some(Self {
            run: shown(&record.run),
            who: shown(&record.who),
            from: record.from.as_deref().map(shown),
            command: shown(&record.command),
            cluster: shown(&record.cluster),
            ..record
        })
    }
}

/// One line that steers no terminal.
fn shown(text: &str) -> String {
    let line = printable(text).replace(['\n', '\t'], " ");
    fit(&line, LONGEST, "…").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(who: &str) -> Record {
        Record {
            run: "20260412T101530Z-3f9c".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            who: who.to_owned(),
            from: None,
            command: "apply".to_owned(),
            cluster: "xnat".to_owned(),
            planned: 3,
            end: None,
        }
    }

    #[test]
    fn a_record_is_one_line_and_comes_back() {
        let record = record("it's \"anna\"@lap\\top %s");
        assert!(!record.line().contains('\n'));
        assert_eq!(Record::read(&record.line()), Some(record.clone()));
        let ended = Ended { outcome: Outcome::Failed, changed: None, millis: 7 };
        let record = Record { end: Some(ended), ..record };
        assert_eq!(Record::read(&record.line()), Some(record));
    }

    #[test]
    fn what_other_people_wrote_steers_no_terminal() {
        let read = Record::read(&record(&format!("a\u{1b}[2Jb\nc\td{}", "e".repeat(65536))).line()).expect("a record");
        assert!(read.who.starts_with("ab c d"), "{}", read.who);
        assert_eq!(read.who.chars().count(), LONGEST);
        for line in ["", "{}", "null", "{\"run\":1}", "not json", "\u{0}"] {
            assert_eq!(Record::read(line), None, "{line}");
        }
    }
}
