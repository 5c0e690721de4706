//! One host takes another's place in the text of an inventory. Whatever else stands there stays as it was written.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::suggest::nearest;
use crate::error::{Exit, Fails};

/// Who takes its place.
#[derive(Clone, Debug)]
pub struct Successor {
    pub name: String,
    /// None when it has an entry of its own.
    pub address: Option<String>,
    /// Of its SSH host key.
    pub fingerprint: Option<String>,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ReplaceError {
    #[error("the inventory has no host {name}")]
    #[diagnostic(code(xnat::replace::no_host), help("{help}"))]
    NoHost { name: String, help: String },
    #[error("{name} has no [[host]] in the inventory, and its address is not known")]
    #[diagnostic(code(xnat::replace::address), help("say it: `--address 10.0.0.14`"))]
    NoAddress { name: String },
    #[error("{name} has a [[host]] of its own in the inventory, which says its address")]
    #[diagnostic(code(xnat::replace::known), help("leave out `--address` and `--fingerprint`"))]
    Known { name: String },
    #[error("the inventory cannot be changed: its hosts are not [[host]] tables")]
    #[diagnostic(code(xnat::replace::shape), help("write each host as a [[host]] table"))]
    Shape,
}

impl Fails for ReplaceError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// The text with `old` gone and `new` in its place: with the roles and everything else that `old` had, or, where it has an
/// entry already, with those.
pub fn replaced(text: &str, old: &str, new: &Successor) -> Result<String, ReplaceError> {
    let mut document: DocumentMut = text.parse().map_err(|_| ReplaceError::Shape)?;
    let hosts = document.get_mut("host").and_then(Item::as_array_of_tables_mut).ok_or(ReplaceError::Shape)?;
    let place = place(hosts, old).ok_or_else(|| no_host(hosts, old))?;
    let given = new.address.is_some() || new.fingerprint.is_some();
    match (self::place(hosts, &new.name), &new.address) {
        (Some(_), _) if given => return Err(ReplaceError::Known { name: new.name.clone() }),
        (Some(_), _) => drop(hosts.remove(place)),
        (None, None) => return Err(ReplaceError::NoAddress { name: new.name.clone() }),
        (None, Some(address)) => {
            let table = hosts.get_mut(place).ok_or(ReplaceError::Shape)?;
            put(table, "name", &new.name);
            put(table, "address", address);
            // Its key is another one.
            table.remove("fingerprint");
            if let Some(fingerprint) = &new.fingerprint {
                put(table, "fingerprint", fingerprint);
            }
        }
    }
    Ok(document.to_string())
}

fn name(table: &Table) -> &str {
    table.get("name").and_then(Item::as_str).unwrap_or_default()
}

fn place(hosts: &ArrayOfTables, wanted: &str) -> Option<usize> {
    hosts.iter().position(|table| name(table) == wanted)
}

fn no_host(hosts: &ArrayOfTables, wanted: &str) -> ReplaceError {
    let known: Vec<&str> = hosts.iter().map(name).collect();
    let help = match nearest(wanted, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("its hosts are {}", known.join(", ")),
    };
    ReplaceError::NoHost { name: wanted.to_owned(), help }
}

/// Where the value stood, with what stands beside it.
fn put(table: &mut Table, key: &str, text: &str) {
    let mut new = value(text);
    if let (Some(old), Some(new)) = (table.get(key).and_then(Item::as_value), new.as_value_mut()) {
        *new.decor_mut() = old.decor().clone();
    }
    table.insert(key, new);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# ours\n[cluster]\nname = \"xnat\"\n\n[[host]]\nname = \"db1\" # rack 3\naddress = \"10.0.0.1\"\nroles = [\"etcd\", \"postgres\"]\nfingerprint = \"SHA256:one\"\ntags = { nofailover = true }\n\n[[host]]\nname = \"db2\"\naddress = \"10.0.0.2\"\nroles = [\"postgres\"]\n";

    fn of(name: &str, address: Option<&str>, fingerprint: Option<&str>) -> Successor {
        let owned = |text: &str| text.to_owned();
        Successor { name: owned(name), address: address.map(owned), fingerprint: fingerprint.map(owned) }
    }

    #[test]
    fn it_gets_the_roles_and_the_rest_stays_as_it_was_written() {
        let text = replaced(TEXT, "db1", &of("db4", Some("10.0.0.4"), None)).expect("replaced");
        let expected = TEXT
            .replace("\"db1\"", "\"db4\"")
            .replace("10.0.0.1", "10.0.0.4")
            .replace("fingerprint = \"SHA256:one\"\n", "");
        assert_eq!(text, expected);
        let text = replaced(TEXT, "db1", &of("db4", Some("10.0.0.4"), Some("SHA256:four"))).expect("replaced");
        assert!(text.contains("fingerprint = \"SHA256:four\"\n") && !text.contains("SHA256:one"), "{text}");
    }

    #[test]
    fn one_that_has_an_entry_keeps_it() {
        let text = replaced(TEXT, "db1", &of("db2", None, None)).expect("replaced");
        assert!(!text.contains("db1") && text.contains("name = \"db2\"\naddress = \"10.0.0.2\""), "{text}");
    }

    #[test]
    fn what_is_missing_is_said() {
        let refused = |old, new| replaced(TEXT, old, &new).expect_err("refused");
        assert!(matches!(refused("db1", of("db4", None, None)), ReplaceError::NoAddress { .. }));
        assert!(matches!(refused("db1", of("db2", Some("10.0.0.9"), None)), ReplaceError::Known { .. }));
        let ReplaceError::NoHost { help, .. } = refused("db11", of("db2", None, None)) else { panic!("no such host") };
        assert_eq!(help, "did you mean db1?");
        assert!(matches!(replaced("host = 1", "a", &of("b", None, None)), Err(ReplaceError::Shape)));
    }
}
