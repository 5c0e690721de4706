//! A TOML document and where its parts are in the text. A place is named by its path: `host[0].ssh.user`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// Where every key and value of a document stands, in bytes of the text.
#[derive(Debug, Default)]
pub struct Places {
    places: BTreeMap<String, Place>,
    /// Paths that had a mistake in their shape and were left out of what is checked further.
    pub(super) pruned: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Place {
    key: Option<Range<usize>>,
    value: Range<usize>,
}

impl Places {
    pub fn of(document: &DeTable<'_>) -> Self {
        let mut places = Self::default();
        places.table(document, "");
        places
    }
    /// The value at a path, or if it is a default the nearest table that is written down.
    pub fn value(&self, path: &str) -> Option<Range<usize>> {
        match self.places.get(path) {
            Some(place) => Some(place.value.clone()),
            None => self.value(parent(path)?),
        }
    }
    /// The key at a path, or what [`Places::value`] finds.
    pub fn key(&self, path: &str) -> Option<Range<usize>> {
        self.places.get(path).and_then(|place| place.key.clone()).or_else(|| self.value(path))
    }
    /// Whether the file says anything at this path, rather than leaving it to the default.
    pub fn has(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }
    /// False when something at or below the path was left out because of a mistake that is reported already: then
    /// what follows from its absence is not worth saying.
    pub fn is_whole(&self, path: &str) -> bool {
        !self.pruned.iter().any(|pruned| pruned.starts_with(path))
    }

    fn table(&mut self, table: &DeTable<'_>, path: &str) {
        for (key, value) in table.iter() {
            let path = child(path, key.get_ref());
            self.places.insert(path.clone(), Place { key: Some(key.span()), value: value.span() });
            self.below(value, &path);
        }
    }
    fn below(&mut self, value: &Spanned<DeValue<'_>>, path: &str) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, path),
            DeValue::Array(array) => {
                for (index, item) in array.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.places.insert(path.clone(), Place { key: None, value: item.span() });
                    self.below(item, &path);
                }
            }
            _ => {}
        }
    }
}

pub(super) fn child(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn parent(path: &str) -> Option<&str> {
    let cut = path.rfind(['.', '['])?;
    Some(&path[..cut])
}

/// Parse, going on after mistakes so that several syntax errors are told at once.
pub(super) fn parse(text: &str) -> Result<Spanned<DeTable<'_>>, Vec<Problem>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(document);
    }
    // After the first mistake in a line, the parser's further ones in it are about its own confusion.
    let line =
        |error: &toml::de::Error| error.span().and_then(|span| Some(text.get(..span.start)?.matches('\n').count()));
    let mut lines = BTreeSet::new();
    let first_of_line = errors.iter().filter(|error| lines.insert(line(error)));
    Err(first_of_line.map(|error| syntax(text, error)).collect())
}

fn syntax(text: &str, error: &toml::de::Error) -> Problem {
    let message = error.message().trim();
    let problem = Problem::error("xnat::inventory::syntax", format!("this is not TOML: {message}"));
    let span = error.span().map(|span| visible(text, span));
    let problem = problem.at(span, message.lines().next().unwrap_or_default());
    if message.contains("duplicate key") {
        return problem
            .help("a key may be given once; a [table] may be opened once; a second machine is another [[host]]");
    }
    problem.help("texts stand in \"quotes\", lists in [brackets], one `key = value` per line; see https://toml.io")
}

/// The parser points at the line break when a line ends too early; a label there would be shown on the next line.
fn visible(text: &str, span: Range<usize>) -> Range<usize> {
    if !span.is_empty() && text.get(span.clone()).is_some_and(|part| !part.trim().is_empty()) {
        return span;
    }
    let before = text.get(..span.start).map_or(0, |before| before.trim_end_matches(['\n', '\r']).len());
    before.saturating_sub(1)..before
}
