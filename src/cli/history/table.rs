//! The table of runs: our own from their journals, everybody's from what hosts remember, one entry for each run.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::out;
use crate::engine::Remembered;
use crate::names::HostName;
use crate::report::journal::{Recording, Run};
use crate::report::lines::word;
use crate::report::state::RunState;
use crate::report::text::{count, duration};
use crate::report::{Kind, Origin, Record};

const CUT_OFF: &str = "cut off";

/// By the name of the run, which begins with its time.
#[derive(Default)]
pub struct Table {
    entries: BTreeMap<String, Entry>,
    /// Runs that have a host's lock now.
    running: BTreeSet<String>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Entry {
    run: String,
    at: Option<Timestamp>,
    cluster: String,
    who: String,
    from: Option<String>,
    command: String,
    result: &'static str,
    /// What was planned, when it is not known what was done.
    planned: Option<usize>,
    changed: Option<usize>,
    millis: Option<u64>,
    /// Of our own runs.
    journal: Option<String>,
    /// The hosts that remember it.
    hosts: Vec<HostName>,
}

impl Table {
    pub fn add_own(&mut self, run: &Run) {
        self.entries.insert(run.id.clone(), own(run));
    }

    pub fn add_remembered(&mut self, host: &HostName, remembered: Remembered) {
        self.running.extend(remembered.running);
        for record in remembered.records {
            let entry = self.entries.entry(record.run.clone()).or_default();
            if !entry.hosts.contains(host) {
                entry.hosts.push(host.clone());
            }
            // A journal knows better. Of two records the one with the end counts.
            if entry.journal.is_none() && (entry.run.is_empty() || record.end.is_some()) {
                *entry = of_record(record, std::mem::take(&mut entry.hosts));
            }
        }
    }

    /// Newest first.
    pub fn entries(mut self) -> Vec<Entry> {
        for (_, entry) in self.entries.iter_mut().filter(|(run, _)| self.running.contains(*run)) {
            if entry.result == CUT_OFF {
                entry.result = "running";
            }
        }
        self.entries.into_values().rev().collect()
    }

    pub fn text(self) -> String {
        let rows: Vec<_> = self.entries().into_iter().map(row).collect();
        if rows.is_empty() {
            return "No runs are recorded here.\n".to_owned();
        }
        out::table(&["Run", "Time", "Cluster", "Who", "Command", "Result", "Changes", "Duration"], &rows)
    }
}

fn own(run: &Run) -> Entry {
    let journal = Some(run.path.display().to_string());
    let (id, cluster) = (run.id.clone(), run.cluster.clone());
    // One damaged journal must not hide the others; showing it tells what is wrong with it.
    let Ok(recording) = Recording::read(&run.path) else {
        return Entry { run: id, cluster, result: "unreadable", journal, ..Entry::default() };
    };
    let state = RunState::replay(&recording.events);
    let origin = recording.events.into_iter().find_map(|event| match event.kind {
        Kind::RunStarted { origin, .. } => origin,
        _ => None,
    });
    let seen = state.last.map(|last| state.elapsed(last));
    Entry {
        run: id,
        at: state.started,
        cluster,
        who: origin.as_ref().map(Origin::who).unwrap_or_default(),
        from: origin.and_then(|origin| origin.from),
        result: state.finished.map_or(CUT_OFF, |finish| word(finish.outcome)),
        planned: state.planned.map(|plan| plan.changes),
        changed: Some(state.changed),
        millis: state.finished.map(|finish| finish.millis).or(seen),
        command: state.command,
        journal,
        hosts: Vec::new(),
    }
}

fn of_record(record: Record, hosts: Vec<HostName>) -> Entry {
    let end = record.end;
    Entry {
        run: record.run,
        at: Some(record.at),
        cluster: record.cluster,
        who: record.who,
        from: record.from,
        command: record.command,
        result: end.map_or(CUT_OFF, |end| word(end.outcome)),
        planned: Some(record.planned),
        changed: end.and_then(|end| end.changed),
        millis: end.map(|end| end.millis),
        journal: None,
        hosts,
    }
}

fn row(entry: Entry) -> [String; 8] {
    let time = entry.at.map(|at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string());
    let changes = match (entry.changed, entry.planned) {
        (Some(changed), _) => count(changed, "change"),
        (None, Some(planned)) => format!("some of {planned}"),
        (None, None) => String::new(),
    };
    let took = entry.millis.map(duration).unwrap_or_default();
    let time = time.unwrap_or_default();
    [entry.run, time, entry.cluster, entry.who, entry.command, entry.result.to_owned(), changes, took]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Ended, Outcome};

    fn record(run: &str, end: Option<Outcome>) -> Record {
        Record {
            run: run.to_owned(),
            at: Timestamp::UNIX_EPOCH,
            who: "berta@desk".to_owned(),
            from: Some("10.0.0.9".to_owned()),
            command: "apply".to_owned(),
            cluster: "xnat".to_owned(),
            planned: 5,
            end: end.map(|outcome| Ended { outcome, changed: Some(5), millis: 1000 }),
        }
    }

    fn remembered(records: Vec<Record>) -> Remembered {
        Remembered { records, ..Remembered::default() }
    }

    #[test]
    fn one_entry_for_each_run_whichever_host_remembers_its_end() {
        let mut table = Table::default();
        let (begun, ended) =
            (record("20260412T101530Z-0001", None), record("20260412T101530Z-0001", Some(Outcome::Ok)));
        let (cut, runs) = (record("20260412T101531Z-0002", None), record("20260412T101532Z-0003", None));
        table.add_remembered(&"db1".into(), remembered(vec![begun.clone(), ended, cut.clone(), runs]));
        let running = Some("20260412T101532Z-0003".to_owned());
        table.add_remembered(&"db2".into(), Remembered { running, ..remembered(vec![begun, cut]) });
        let entries = table.entries();
        let told: Vec<_> = entries.iter().map(|entry| (entry.run.as_str(), entry.result, entry.hosts.len())).collect();
        assert_eq!(
            told,
            [
                ("20260412T101532Z-0003", "running", 1),
                ("20260412T101531Z-0002", CUT_OFF, 2),
                ("20260412T101530Z-0001", "ok", 2)
            ]
        );
    }

    #[test]
    fn a_journal_of_ours_knows_better_than_a_host() {
        let mut table = Table::default();
        let own =
            Entry { run: "r".to_owned(), who: "me".to_owned(), journal: Some("j".to_owned()), ..Entry::default() };
        table.entries.insert("r".to_owned(), own);
        table.add_remembered(&"db1".into(), remembered(vec![record("r", Some(Outcome::Failed))]));
        let entries = table.entries();
        assert_eq!((entries[0].who.as_str(), entries[0].hosts.len()), ("me", 1));
    }
}
