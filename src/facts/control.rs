//! What `pg_controldata` prints of a PostgreSQL, be it that it runs.

/// In PostgreSQL's own words; empty where a line is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    pub system: String,
    /// `in production`, `shut down`, `shut down in recovery`, …
    pub state: String,
    pub timeline: String,
    pub checkpoint: String,
}

impl Control {
    /// None when it printed nothing.
    pub fn read<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Self> {
        let lines: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
        let value = |name: &str| {
            let line = lines.iter().find(|(key, _)| *key == name);
            line.map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        (!lines.is_empty()).then(|| Self {
            system: value("Database system identifier"),
            state: value("Database cluster state"),
            timeline: value("Latest checkpoint's TimeLineID"),
            checkpoint: value("Latest checkpoint location"),
        })
    }
}
