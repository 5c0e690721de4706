//! Where clients connect: the lines an XNAT administrator pastes. Pure, and never holds a password.

use std::path::Path;

use serde::Serialize;

use super::http::authority;
use crate::inventory::{Component, Inventory};
use crate::quote;
use crate::secret::Secret;

/// How to reach the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// The URL of everything that writes; XNAT sends all its traffic there.
    pub jdbc: String,
    /// For reports and backups that may read slightly old data; none without replicas.
    pub jdbc_read_only: Option<String>,
    /// Lines of XNAT's xnat-conf.properties.
    pub properties: Vec<String>,
    /// Where XNAT's host is to have the file of authorities; none without TLS.
    pub authorities: Option<String>,
    pub psql: String,
    /// HAProxy's statistics pages.
    pub statistics: Vec<String>,
}

/// Keep-alive and deadlines, without which a client of a host that died hangs for a quarter of an hour.
/// `socketTimeout` has to be longer than XNAT's longest query.
const PARAMETERS: &str = "tcpKeepAlive=true&connectTimeout=4&socketTimeout=900";

/// Files on this machine.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// The inventory, whose vault has the passwords.
    pub inventory: &'a Path,
    /// Whose certificates to believe.
    pub authorities: &'a Path,
}

/// How a password stands in a .properties file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    AsItIs,
    Escaped,
}

impl Notation {
    /// As `java.util.Properties` reads it: in Latin-1, with escapes, and without the blanks at the beginning of a value.
    pub fn of(password: &Secret) -> Self {
        let plain = |text: &str| text.is_ascii() && !text.contains('\\') && !text.starts_with(' ');
        if plain(password.expose()) { Self::AsItIs } else { Self::Escaped }
    }
}

pub fn endpoints(inventory: &Inventory, files: Files<'_>, password: Notation) -> Endpoints {
    let balancers: Vec<&str> = inventory.with(Component::Haproxy).map(|h| h.address.as_str()).collect();
    let members: Vec<&str> = inventory.with(Component::Postgres).map(|h| h.address.as_str()).collect();
    let database = &inventory.database;
    let (hosts, primary, replica) = if balancers.is_empty() {
        (&members, inventory.postgresql.port, inventory.postgresql.port)
    } else {
        (&balancers, inventory.haproxy.primary_port, inventory.haproxy.replica_port)
    };
    let url = |port, target: &str| jdbc(inventory, hosts, (port, target));
    let jdbc = url(primary, "primary");
    let names = hosts.join(",");
    let ports = vec![primary.to_string(); hosts.len()].join(",");
    let mut settings = format!(
        "host={names} port={ports} dbname={} user={} target_session_attrs=read-write",
        database.name, database.owner
    );
    if inventory.tls.enabled {
        settings.push_str(&format!(" sslmode=verify-full sslrootcert={}", setting(files.authorities)));
    }
    Endpoints {
        jdbc_read_only: (members.len() > 1).then(|| url(replica, "preferSecondary")),
        authorities: authorities(inventory),
        properties: properties((&jdbc, &database.owner), files.inventory, password),
        psql: format!("psql {}", quote::sh(&settings)),
        statistics: balancers
            .iter()
            .map(|host| format!("{}://{}/stats", inventory.scheme(), authority(host, inventory.haproxy.stats_port)))
            .collect(),
        jdbc,
    }
}

fn jdbc(inventory: &Inventory, hosts: &[&str], (port, target): (u16, &str)) -> String {
    let list: Vec<String> = hosts.iter().map(|host| authority(host, port)).collect();
    // Without HAProxy the driver itself looks for the primary, and soon enough again.
    let recheck = if inventory.with(Component::Haproxy).next().is_none() { "&hostRecheckSeconds=2" } else { "" };
    let verified = authorities(inventory).map(|path| format!("&sslmode=verify-full&sslrootcert={path}"));
    format!(
        "jdbc:postgresql://{}/{}?targetServerType={target}&{PARAMETERS}{recheck}{}",
        list.join(","),
        inventory.database.name,
        verified.unwrap_or_default()
    )
}

fn authorities(inventory: &Inventory) -> Option<String> {
    inventory.tls.enabled.then(|| format!("/etc/ssl/certs/{}-ca.pem", inventory.cluster))
}

/// A value in libpq's connection strings.
fn setting(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| !c.is_whitespace() && !['\'', '\\'].contains(&c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'")) }
}

fn properties((url, user): (&str, &str), inventory: &Path, password: Notation) -> Vec<String> {
    let mut lines = vec![
        "datasource.driver=org.postgresql.Driver".to_owned(),
        format!("datasource.url={url}"),
        format!("datasource.username={user}"),
    ];
    if password == Notation::Escaped {
        lines.push(r"# Of this password, write each \ twice, a blank at its beginning as `\ `, and what is not ASCII as \uXXXX:".to_owned());
    }
    let show = show("application", inventory);
    lines.push(format!("datasource.password=<see: {show}>"));
    lines.push("datasource.validationQueryTimeout=5".to_owned());
    lines
}

fn show(secret: &str, inventory: &Path) -> String {
    format!("xnat-provision vault show {secret} {}", quote::path(inventory))
}

impl Endpoints {
    /// The text at the end of `apply`.
    pub fn lines(&self, files: Files<'_>) -> Vec<String> {
        let authorities = quote::path(files.authorities);
        let copy = |path| format!("First copy {authorities} (it is public) to XNAT's host as {path}.");
        let mut lines: Vec<String> = self.authorities.iter().map(copy).collect();
        lines.extend(["Connect with JDBC:".to_owned(), format!("  {}", self.jdbc)]);
        if let Some(url) = &self.jdbc_read_only {
            lines.extend(["Only reading, from the replicas:".to_owned(), format!("  {url}")]);
        }
        lines.push("For XNAT, in xnat-conf.properties:".to_owned());
        lines.extend(self.properties.iter().map(|line| format!("  {line}")));
        lines.extend(["With psql:".to_owned(), format!("  {}", self.psql)]);
        let show = show("statistics", files.inventory);
        for url in &self.statistics {
            lines.push(format!("HAProxy statistics: {url} (user stats, password: {show})"));
        }
        lines
    }
}
