//! The inventory a lab writes: its own, or a given one with addresses, logins and host keys replaced.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Table, value};

use super::error::{LabError, OnPath};

/// How every inventory the lab wrote begins; only such a file is ever written over.
const MARK: &str = "# Made by `xnat-provision lab up`";

/// Where the inventory is going to be; not where somebody keeps another file.
pub(super) fn destination(path: &Path) -> Result<PathBuf, LabError> {
    let path = std::path::absolute(path).on("write", path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::read_dir(directory).on("write into", directory)?;
    match fs::read_to_string(&path) {
        Ok(text) if !text.starts_with(MARK) => Err(LabError::NotOurs { path }),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).on("write over", path),
        _ => Ok(path),
    }
}

/// A host as the lab found or made it.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub name: String,
    pub address: Ipv4Addr,
    pub fingerprint: String,
}

/// Files in the lab's directory that the inventory names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys<'a> {
    /// Opens the hosts.
    pub ssh: &'a Path,
    /// Opens the vault, so that no passphrase is asked for.
    pub vault: &'a Path,
}

/// Where the hosts of a lab come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// So many, with roles as in [`roles`].
    Count(usize),
    /// An inventory somebody wrote.
    File { path: PathBuf, document: Box<DocumentMut> },
}

impl Source {
    pub fn read(path: &Path) -> Result<Self, LabError> {
        let text = fs::read_to_string(path).on("read", path)?;
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| LabError::Inventory {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self::File { path: path.to_owned(), document: Box::new(document) })
    }

    /// The names of the hosts, in order.
    pub fn names(&self) -> Result<Vec<String>, LabError> {
        let (path, document) = match self {
            Self::Count(count) => return Ok((0..*count).map(|index| default_name(*count, index)).collect()),
            Self::File { path, document } => (path, document),
        };
        let bad = |reason: &str| LabError::Inventory { path: path.clone(), reason: reason.to_owned() };
        let hosts = document.get("host").and_then(Item::as_array_of_tables);
        let hosts = hosts.ok_or_else(|| bad("it has no [[host]] tables"))?;
        let mut names = Vec::new();
        for host in hosts {
            let name = host.get("name").and_then(Item::as_str).ok_or_else(|| bad("a [[host]] has no name"))?;
            if !super::is_name(name) {
                return Err(bad(&format!(
                    "the lab cannot name a host `{name}`: use lower-case letters, digits and dashes"
                )));
            }
            if names.iter().any(|other| other == name) {
                return Err(bad(&format!("two hosts are called `{name}`")));
            }
            names.push(name.to_owned());
        }
        Ok(names)
    }

    /// The text of the lab's inventory.
    pub fn render(&self, lab: &str, keys: &Keys<'_>, hosts: &[Written]) -> String {
        let body = match self {
            Self::Count(_) => fresh(lab, keys, hosts),
            Self::File { path, document } => {
                let mut document = document.as_ref().clone();
                rewrite(&mut document, keys, hosts);
                anchor(&mut document, path);
                document.to_string()
            }
        };
        format!(
            "{MARK}: throwaway hosts on this machine. Removed by `xnat-provision lab down --name {lab}`.\n\n{}",
            body.trim_start()
        )
    }
}

/// One host or three carry everything; of more, the first three are the database and the others the load balancers.
fn roles(count: usize, index: usize) -> &'static [&'static str] {
    match (count, index) {
        (1 | 3, _) => &["etcd", "postgres", "haproxy"],
        (2, 0) | (_, 0..=2) => &["etcd", "postgres"],
        _ => &["haproxy"],
    }
}

fn default_name(count: usize, index: usize) -> String {
    match roles(count, index) {
        ["haproxy"] => format!("lb{}", index - 2),
        _ => format!("db{}", index + 1),
    }
}

fn fresh(lab: &str, keys: &Keys<'_>, hosts: &[Written]) -> String {
    let mut text = format!(
        "[cluster]\nname = \"{lab}\"\n\n[ssh]\nuser = \"root\"\nidentity = {}\nbecome = \"none\"\n\n[vault]\nidentity = {}\n",
        value(keys.ssh.display().to_string()),
        value(keys.vault.display().to_string())
    );
    for (index, host) in hosts.iter().enumerate() {
        let roles: Vec<String> = roles(hosts.len(), index).iter().map(|role| format!("{role:?}")).collect();
        text.push_str(&format!(
            "\n[[host]]\nname = \"{}\"\naddress = \"{}\"\nroles = [{}]\nfingerprint = \"{}\"\n",
            host.name,
            host.address,
            roles.join(", "),
            host.fingerprint
        ));
    }
    if matches!(hosts.len(), 1 | 3) {
        text += "\n[haproxy]\n# PostgreSQL has 5432 on these hosts.\nprimary_port = 5000\nreplica_port = 5001\n";
    }
    text
}

fn rewrite(document: &mut DocumentMut, keys: &Keys<'_>, hosts: &[Written]) {
    let text = |path: &Path| value(path.display().to_string());
    replace(document, "ssh", [("user", value("root")), ("identity", text(keys.ssh)), ("become", value("none"))]);
    // Throwaway hosts get passwords of their own: not those of the site, and nobody is asked for its passphrase.
    replace(document, "vault", [("identity", text(keys.vault))]);
    document.remove("secrets");
    let Some(tables) = document.get_mut("host").and_then(Item::as_array_of_tables_mut) else { return };
    for (table, host) in tables.iter_mut().zip(hosts) {
        table.remove("ssh");
        set(table, "address", host.address.to_string());
        set(table, "fingerprint", host.fingerprint.clone());
    }
}

/// Another table in the place of an old one, so that the file keeps its order.
fn replace<const N: usize>(document: &mut DocumentMut, name: &str, entries: [(&str, Item); N]) {
    let table = Table::from_iter(entries.map(|(key, item)| (toml_edit::Key::new(key), item)));
    match document.get_mut(name).and_then(Item::as_table_mut) {
        Some(old) => {
            old.clear();
            old.extend(table);
        }
        None => {
            document.insert(name, Item::Table(table));
        }
    }
}

/// Give a key another value and keep the comments around it.
fn set(table: &mut Table, key: &str, text: String) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = text.into();
            *old.decor_mut() = decor;
        }
        None => {
            table.insert(key, value(text));
        }
    }
}

/// The file is written somewhere else, so what it names relative to itself is made absolute.
fn anchor(document: &mut DocumentMut, path: &Path) {
    let Some(directory) = path.parent().and_then(|parent| parent.join(".").canonicalize().ok()) else { return };
    let anchored = |item: &Item| item.as_str().map(|old| directory.join(old).display().to_string());
    if let Some(assets) = document.get("assets").and_then(anchored) {
        set(document, "assets", assets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys<'static> {
        Keys { ssh: Path::new("/lab/id_ed25519"), vault: Path::new("/lab/vault-identity.txt") }
    }

    fn hosts(names: &[String]) -> Vec<Written> {
        let host = |(index, name): (usize, &String)| Written {
            name: name.clone(),
            address: super::super::network::address(5, 11 + u8::try_from(index).expect("few hosts")),
            fingerprint: format!("SHA256:{name}"),
        };
        names.iter().enumerate().map(host).collect()
    }

    #[test]
    fn four_hosts_are_three_databases_and_a_load_balancer() {
        let source = Source::Count(4);
        let names = source.names().expect("named");
        insta::assert_snapshot!(source.render("lab", &keys(), &hosts(&names)), @r#"
        # Made by `xnat-provision lab up`: throwaway hosts on this machine. Removed by `xnat-provision lab down --name lab`.

        [cluster]
        name = "lab"

        [ssh]
        user = "root"
        identity = "/lab/id_ed25519"
        become = "none"

        [vault]
        identity = "/lab/vault-identity.txt"

        [[host]]
        name = "db1"
        address = "10.77.5.11"
        roles = ["etcd", "postgres"]
        fingerprint = "SHA256:db1"

        [[host]]
        name = "db2"
        address = "10.77.5.12"
        roles = ["etcd", "postgres"]
        fingerprint = "SHA256:db2"

        [[host]]
        name = "db3"
        address = "10.77.5.13"
        roles = ["etcd", "postgres"]
        fingerprint = "SHA256:db3"

        [[host]]
        name = "lb1"
        address = "10.77.5.14"
        roles = ["haproxy"]
        fingerprint = "SHA256:lb1"
        "#);
    }

    #[test]
    fn three_hosts_share_everything() {
        let source = Source::Count(3);
        let names = source.names().expect("named");
        assert_eq!(names, ["db1", "db2", "db3"]);
        let text = source.render("lab", &keys(), &hosts(&names));
        assert_eq!(text.matches(r#"roles = ["etcd", "postgres", "haproxy"]"#).count(), 3);
        assert!(text.contains("primary_port = 5000"), "{text}");
    }

    /// The fixture as the lab writes it, with `SITE` for the directory it lies in.
    fn site_in_a_lab() -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("site.toml");
        let text = include_str!("../../tests/fixtures/lab/site.toml");
        fs::write(&path, text).expect("written");
        let source = Source::read(&path).expect("read");
        let names = source.names().expect("named");
        let written = source.render("lab", &keys(), &hosts(&names));
        let base = dir.path().canonicalize().expect("there").display().to_string();
        written.replace(&base, "SITE")
    }

    #[test]
    fn of_a_given_inventory_only_addresses_logins_and_keys_are_replaced() {
        insta::assert_snapshot!(site_in_a_lab(), @r#"
        # Made by `xnat-provision lab up`: throwaway hosts on this machine. Removed by `xnat-provision lab down --name lab`.

        # Our site.
        assets = "SITE/our-assets"

        [cluster]
        name = "xnat"

        # How we log in.
        [ssh]
        user = "root"
        identity = "/lab/id_ed25519"
        become = "none"

        # The first one is in the basement.
        [[host]]
        name = "pg-a"
        address = "10.77.5.11"   # VLAN 4
        roles = ["etcd", "postgres"]
        tags = { nofailover = true }
        fingerprint = "SHA256:pg-a"

        [[host]]
        name = "lb-a"
        address = "10.77.5.12"
        roles = ["haproxy"]
        fingerprint = "SHA256:lb-a"

        [patroni]
        preset = "fast"

        [vault]
        identity = "/lab/vault-identity.txt"
        "#);
    }

    #[test]
    fn a_file_without_hosts_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("site.toml");
        fs::write(&path, "[cluster]\nname = \"x\"\n").expect("written");
        let error = Source::read(&path).expect("read").names().expect_err("refused");
        assert!(error.to_string().ends_with("it has no [[host]] tables"), "{error}");
    }
}
