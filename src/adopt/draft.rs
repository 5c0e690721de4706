//! The text of an inventory while it is written: tables of lines. Whatever line the reader refuses becomes a comment with
//! the reason, so that the judgement is the reader's alone and a value that it cannot take hides no other.

use toml_edit::Value;

use super::{AdoptError, Difference, Wish};
use crate::inventory::{Inventory, InventoryErrors, Loaded, Problem, Severity};
use crate::report::text::{printable, wrap};

/// Of comments.
const WIDTH: usize = 118;

#[derive(Debug, Default)]
pub(super) struct Draft {
    lines: Vec<String>,
    /// So many of them say which hosts there are: without those there is no inventory.
    head: usize,
}

/// What a table says, in lines.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<String>);

impl Table {
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value: Value = value.into();
        self.0.push(format!("{} = {value}", quoted(key)));
    }
    /// Only what is not the default anyway.
    pub fn differing<T: PartialEq + Into<Value>>(&mut self, key: &str, value: Option<T>, default: T) {
        if let Some(value) = value.filter(|value| *value != default) {
            self.set(key, value);
        }
    }
    /// A line for each text, nothing for none.
    pub fn list(&mut self, key: &str, texts: &[String]) {
        if texts.is_empty() {
            return;
        }
        self.0.push(format!("{key} = ["));
        self.0.extend(texts.iter().map(|text| format!("    {},", Value::from(text.as_str()))));
        self.0.push("]".to_owned());
    }
    pub fn comment(&mut self, text: &str) {
        self.0.push(format!("# {}", printable(text)));
    }
}

/// A key as TOML wants it: `"pg_stat_statements.max"`.
fn quoted(key: &str) -> String {
    toml_edit::Key::new(key).display_repr().into_owned()
}

impl Draft {
    /// A table that says nothing is left out.
    pub fn push(&mut self, header: &str, table: Table) {
        if table.0.is_empty() {
            return;
        }
        if !self.lines.is_empty() {
            self.lines.push(String::new());
        }
        self.lines.push(header.to_owned());
        self.lines.extend(table.0);
    }

    /// What stands here so far is needed: what follows can be left out.
    pub fn end_head(&mut self) {
        self.head = self.lines.len();
    }

    /// What the reader makes of it, without the lines that it refuses.
    pub fn settle(&mut self, wish: Wish<'_>, differences: &mut Vec<Difference>) -> Result<Loaded, AdoptError> {
        loop {
            let text = self.lines.join("\n") + "\n";
            let source = match Inventory::of_text(&text, wish.path, wish.assets) {
                Ok(loaded) => return Ok(loaded),
                Err(source) => source,
            };
            let refused = self.refused(&text, &source);
            if refused.is_empty() {
                return Err(AdoptError::Impossible { source });
            }
            for (index, why) in refused {
                let line = self.lines[index].trim().trim_end_matches(',').to_owned();
                differences.push(Difference::of_all(format!("`{line}` is not possible here: {why}")));
                self.lines[index] = format!("# {line}: {}", printable(&why));
            }
        }
    }

    /// Lines that can be left out and have a mistake, with what it is.
    fn refused(&self, text: &str, source: &InventoryErrors) -> Vec<(usize, String)> {
        let errors = source.problems().iter().filter(|problem| problem.severity == Severity::Error);
        let mut found: Vec<(usize, String)> = Vec::new();
        for problem in errors {
            for index in places(text, problem).filter(|index| self.is_optional(*index)) {
                if !found.iter().any(|(known, _)| *known == index) {
                    found.push((index, problem.message.clone()));
                }
            }
        }
        found
    }

    fn is_optional(&self, index: usize) -> bool {
        let Some(line) = self.lines.get(index) else { return false };
        let says = !line.starts_with(['[', '#', ']']) && !line.ends_with('[') && !line.is_empty();
        says && (index >= self.head || line.starts_with("tags"))
    }

    /// The file: what it is, what it says, and what it does not.
    pub fn text(&self, differences: &[Difference]) -> String {
        let mut text = HEADER.to_owned() + &self.lines.join("\n") + "\n";
        if !differences.is_empty() {
            text += "\n# ---- what is different, and cannot be said above ----\n";
        }
        for difference in differences {
            let what = printable(&difference.to_string()).replace('\n', " ");
            wrap(&format!("- {what}"), WIDTH, "  ").iter().for_each(|line| text = format!("{text}# {line}\n"));
        }
        text
    }
}

const HEADER: &str = "# Made by `xnat-provision adopt` of a cluster as it ran. What is not said has its default. Passwords are not in here:\n\
# they belong into the vault beside this file. Look at `xnat-provision plan` before anything else.\n\n";

/// The lines a problem is about.
fn places<'a>(text: &'a str, problem: &'a Problem) -> impl Iterator<Item = usize> + 'a {
    let before = |start: usize| text.get(..start).map(|before| before.matches('\n').count());
    problem.labels.iter().filter_map(move |label| before(label.span.start))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn wish() -> Wish<'static> {
        Wish { path: Path::new("inventory.toml"), assets: None, database: None }
    }

    fn draft() -> Draft {
        let mut draft = Draft::default();
        let mut cluster = Table::default();
        cluster.set("name", "pg");
        draft.push("[cluster]", cluster);
        let mut host = Table::default();
        host.set("name", "db1");
        host.set("address", "10.0.0.1");
        host.0.push("roles = [\"etcd\", \"postgres\"]".to_owned());
        draft.push("[[host]]", host);
        draft.end_head();
        draft
    }

    #[test]
    fn what_the_reader_refuses_becomes_a_comment() {
        let mut draft = draft();
        let mut postgresql = Table::default();
        postgresql.list("hba", &["host all all 10.0.0.0/8 md5".to_owned(), "include more".to_owned()]);
        draft.push("[postgresql]", postgresql);
        let mut patroni = Table::default();
        patroni.set("ttl", 15_i64);
        patroni.set("rest_port", 8010_i64);
        draft.push("[patroni]", patroni);
        let mut differences = Vec::new();
        let loaded = draft.settle(wish(), &mut differences).expect("without them it is good");
        assert_eq!((loaded.inventory.patroni.ttl, loaded.inventory.patroni.rest_port), (28, 8010));
        assert_eq!(loaded.inventory.postgresql.hba, ["host all all 10.0.0.0/8 md5"]);
        assert_eq!(differences.len(), 2, "{differences:?}");
        let text = draft.text(&differences);
        assert!(text.contains("# ttl = 15: ") && text.contains("# \"include more\": "), "{text}");
        Inventory::of_text(&text, wish().path, None).expect("the text is as good");
    }

    #[test]
    fn without_hosts_there_is_none() {
        let mut draft = Draft::default();
        let mut cluster = Table::default();
        cluster.set("name", "17-main");
        draft.push("[cluster]", cluster);
        draft.end_head();
        let error = draft.settle(wish(), &mut Vec::new()).expect_err("no host");
        assert!(matches!(error, AdoptError::Impossible { .. }));
    }
}
