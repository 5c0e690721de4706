//! The evidence of one migration or rehearsal: what was compared and how it came out, first of all whether it passed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::fingerprint::{Difference, Fingerprint};
use crate::report::text::{count, duration};

/// How the copy is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The application stops first; then everything is dumped and restored
    #[default]
    Dump,
    /// Standbys of the source on every member take the place of all that the cluster has, with all of the source's databases;
    /// the application stops for about 20 s, whatever the size. Same major version, libraries that sort alike
    Stream,
    /// Everything is dumped and restored while the application goes on; what it writes meanwhile follows by logical
    /// replication, and the application stops only for the last of it and the comparison
    Logical,
}

/// The phase in which the source is made read-only.
pub const CLOSED: &str = "Make the source read-only";

/// What took how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    pub name: String,
    pub millis: u64,
    /// The application can write meanwhile.
    #[serde(default)]
    pub beside: bool,
}

/// What is kept of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub passed: bool,
    /// `rehearse`, `run`, `verify` or `to-single`
    pub what: String,
    pub cluster: String,
    pub program: String,
    pub who: String,
    pub started: Timestamp,
    pub finished: Timestamp,
    /// `xnat on 10.0.0.5, PostgreSQL 13.16`
    pub source: String,
    pub target: String,
    pub bytes: u64,
    pub jobs: usize,
    #[serde(default)]
    pub method: Method,
    /// Of a copy of files, that were read.
    #[serde(default)]
    pub indexes: u64,
    /// Written when the copy was about to take its place: how it ended is not in here.
    #[serde(default)]
    pub open: bool,
    /// It was gone on with by another run, so phases are not all of its time.
    #[serde(default)]
    pub cut_off: bool,
    pub phases: Vec<Phase>,
    /// All that is not the same; empty when it passed.
    pub differences: Vec<Difference>,
    pub left_out: Vec<String>,
    /// Objects of the schema, and roles.
    pub objects: u64,
    pub roles: usize,
    /// Where the application's former database is now.
    pub kept: Option<String>,
    pub sums: Sums,
}

/// Both sides, table by table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub source: Fingerprint,
    pub target: Fingerprint,
}

const MINUTE: &str = "%Y-%m-%d %H:%M UTC";

/// So many differences are named on a terminal; the report has all.
const NAMED: usize = 20;

impl Record {
    /// What another run did, when this one had been cut off.
    pub fn gone_on_with(
        mut self,
        (phases, differences, kept): (Vec<Phase>, Vec<Difference>, Option<String>),
        finished: Timestamp,
    ) -> Self {
        self.phases.extend(phases);
        self.differences.extend(differences);
        Self { passed: self.differences.is_empty(), open: false, cut_off: true, kept, finished, ..self }
    }

    fn name(&self) -> &str {
        match self.what.as_str() {
            "run" => "Migration",
            "verify" => "Comparison",
            "to-single" => "Copy",
            _ => "Rehearsal",
        }
    }

    /// One line.
    pub fn verdict(&self) -> String {
        if self.open {
            "The copy is the same as the source; when this was written it had not taken its place yet".to_owned()
        } else if self.passed && self.is_of_files() {
            format!("{} passed: copies follow the source, and the leader's became a server of its own", self.name())
        } else if self.passed {
            format!("{} passed: the copy is the same as the source", self.name())
        } else {
            let differ = count(self.differences.len(), "difference");
            format!("{} FAILED: {differ} between the copy and the source", self.name())
        }
    }

    /// Copies of files while the source was written to: no rows were compared.
    fn is_of_files(&self) -> bool {
        self.method == Method::Stream && self.what == "rehearse"
    }

    /// What was held against what.
    pub fn compared(&self) -> String {
        if self.is_of_files() {
            let indexes = count(usize::try_from(self.indexes).unwrap_or_default(), "index");
            return format!(
                "{} with their tables, in the order of the cluster's libraries",
                indexes.replace("indexs", "indexes")
            );
        }
        let source = &self.sums.source;
        format!(
            "{} with {} rows, {}, {}, {}, {}",
            count(source.tables.len(), "table"),
            source.rows(),
            count(source.sequences.len(), "sequence"),
            count(usize::try_from(source.large_objects.count).unwrap_or_default(), "large object"),
            count(usize::try_from(self.objects).unwrap_or_default(), "object") + " of the schema",
            count(self.roles, "role"),
        )
    }

    pub fn millis(&self) -> u64 {
        self.phases.iter().map(|phase| phase.millis).sum()
    }

    /// How long nobody could write to either.
    pub fn standstill(&self) -> u64 {
        self.phases.iter().filter(|phase| !phase.beside).map(|phase| phase.millis).sum()
    }

    /// Some of it was done while the application went on.
    pub fn goes_on_beside(&self) -> bool {
        self.phases.iter().any(|phase| phase.beside)
    }

    fn window(&self) -> String {
        if self.open {
            return String::new();
        }
        if self.cut_off {
            let (from, to) = (self.started.strftime(MINUTE), self.finished.strftime(MINUTE));
            return format!("The run was cut off and gone on with: begun {from}, over {to}.\n");
        }
        let time = duration(self.standstill());
        match self.what.as_str() {
            // a run that was gone on with has only what was left of it
            "run" if !self.phases.iter().any(|phase| phase.name == CLOSED) => String::new(),
            "run" => format!("The source was read-only for {time} until the copy was in its place.\n"),
            "verify" | "to-single" => String::new(),
            _ if self.is_of_files() => format!(
                "A run will keep the application waiting for about {time}, and about 15 s for the cluster to start with the copies.\n"
            ),
            _ => format!(
                "A run will keep the application waiting for about {time}, and some seconds for the replicas.\n"
            ),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n  compared: {}\n", self.verdict(), self.compared());
        for left_out in &self.left_out {
            text.push_str(&format!("  not compared: {left_out}\n"));
        }
        for it in self.differences.iter().take(NAMED) {
            text.push_str(&format!("  differs: {}\n    source: {}\n    copy:   {}\n", it.what, it.source, it.target));
        }
        if self.differences.len() > NAMED {
            text.push_str(&format!("  and {} more, in the report\n", self.differences.len() - NAMED));
        }
        let width = self.phases.iter().map(|phase| phase.name.len()).max().unwrap_or_default();
        text.push('\n');
        for phase in &self.phases {
            let beside = if phase.beside { "  the application goes on" } else { "" };
            text.push_str(&format!("  {:width$}  {:>8}{beside}\n", phase.name, duration(phase.millis)));
        }
        text.push_str(&format!("  {:width$}  {:>8}\n\n{}", "in all", duration(self.millis()), self.window()));
        if let Some(kept) = &self.kept {
            text.push_str(&format!(
                "The database that was there before is {kept} now; drop it when nobody misses it.\n"
            ));
        }
        crate::report::text::printable(&text).into_owned()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::migrate::fingerprint::Rows;

    pub fn record() -> Record {
        let mut source = Fingerprint::default();
        source.tables.insert("\"public\".\"xdat_user\"".into(), Rows { rows: 3, sum: "12".into() });
        source.tables.insert("\"a <b>\".\"</script>\"".into(), Rows { rows: 4, sum: "34".into() });
        let mut target = source.clone();
        target.tables.insert("\"public\".\"xdat_user\"".into(), Rows { rows: 2, sum: "11".into() });
        Record {
            passed: false,
            what: "rehearse".into(),
            cluster: "xnat".into(),
            program: "0.1.0".into(),
            who: "root@here".into(),
            started: Timestamp::UNIX_EPOCH,
            finished: Timestamp::UNIX_EPOCH,
            source: "xnat on 10.0.0.5, PostgreSQL 13.16".into(),
            target: "xnat on db1, PostgreSQL 17.5".into(),
            bytes: 9 << 20,
            jobs: 4,
            method: Method::Dump,
            indexes: 0,
            open: false,
            cut_off: false,
            phases: vec![
                Phase { name: "Dump the source".into(), millis: 1200, beside: false },
                Phase { name: "Compare".into(), millis: 61_000, beside: false },
            ],
            differences: source.differences(&target),
            left_out: vec!["sequences: the source is in use".into()],
            objects: 12,
            roles: 3,
            kept: None,
            sums: Sums { source, target },
        }
    }

    #[test]
    fn the_verdict_comes_first_and_what_differs_is_named() {
        insta::assert_snapshot!(record().text(), @r#"
        Rehearsal FAILED: 1 difference between the copy and the source
          compared: 2 tables with 7 rows, no sequences, no large objects, 12 objects of the schema, 3 roles
          not compared: sequences: the source is in use
          differs: table "public"."xdat_user"
            source: 3 rows
            copy:   2 rows

          Dump the source     1.2 s
          Compare          1 min 1 s
          in all           1 min 2 s

        A run will keep the application waiting for about 1 min 2 s, and some seconds for the replicas.
        "#);
    }
}
