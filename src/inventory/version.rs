//! Another major version of PostgreSQL in the text of an inventory. Whatever else stands there stays as it was written.

use toml_edit::{DocumentMut, Item, Table, value};

use crate::error::{Exit, Fails};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the inventory cannot be changed: its [postgresql] is not a table")]
#[diagnostic(code(xnat::upgrade::shape), help("write it as a table: [postgresql], and `version = {major}` below it"))]
pub struct VersionError {
    major: u32,
}

impl Fails for VersionError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// The text with `version` below `[postgresql]` as given.
pub fn with_version(text: &str, major: u32) -> Result<String, VersionError> {
    let mut document: DocumentMut = text.parse().map_err(|_| VersionError { major })?;
    let table = document.entry("postgresql").or_insert_with(|| Item::Table(Table::new()));
    let table = table.as_table_like_mut().ok_or(VersionError { major })?;
    let mut new = value(i64::from(major));
    if let (Some(old), Some(new)) = (table.get("version").and_then(Item::as_value), new.as_value_mut()) {
        *new.decor_mut() = old.decor().clone();
    }
    table.insert("version", new);
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_where_it_was_said_or_in_a_table_of_its_own() {
        let of = |text| with_version(text, 17).expect("changed");
        assert_eq!(
            of("[postgresql]\nversion = 15 # ours\nport = 1\n"),
            "[postgresql]\nversion = 17 # ours\nport = 1\n"
        );
        assert_eq!(of("[cluster]\nname = \"xnat\"\n"), "[cluster]\nname = \"xnat\"\n\n[postgresql]\nversion = 17\n");
        assert_eq!(of("postgresql = { port = 1 }\n"), "postgresql = { port = 1 , version = 17 }\n");
        assert!(with_version("postgresql = 1\n", 17).is_err());
    }
}
