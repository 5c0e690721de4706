//! Where clients connect: the lines an XNAT administrator pastes. Pure, and never holds a password.

use serde::Serialize;

use super::http::authority;
use crate::inventory::{Component, Inventory};

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

/// Files on this machine, as the administrator would type them.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// The inventory, whose vault has the passwords.
    pub inventory: &'a str,
    /// Whose certificates to believe.
    pub authorities: &'a str,
}

pub fn endpoints(inventory: &Inventory, files: Files<'_>) -> Endpoints {
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
    let verified = format!(" sslmode=verify-full sslrootcert={}", files.authorities);
    Endpoints {
        jdbc_read_only: (members.len() > 1).then(|| url(replica, "preferSecondary")),
        authorities: authorities(inventory),
        properties: properties(&jdbc, &database.owner, files.inventory),
        psql: format!(
            "psql \"host={names} port={ports} dbname={} user={} target_session_attrs=read-write{}\"",
            database.name,
            database.owner,
            if inventory.tls.enabled { &verified } else { "" }
        ),
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

fn properties(url: &str, user: &str, inventory: &str) -> Vec<String> {
    vec![
        "datasource.driver=org.postgresql.Driver".to_owned(),
        format!("datasource.url={url}"),
        format!("datasource.username={user}"),
        format!("datasource.password=<see: xnat-provision vault show application {inventory}>"),
        "datasource.validationQueryTimeout=5".to_owned(),
    ]
}

impl Endpoints {
    /// The text at the end of `apply`.
    pub fn lines(&self, files: Files<'_>) -> Vec<String> {
        let inventory = files.inventory;
        let copy = |path| format!("First copy {} (it is public) to XNAT's host as {path}.", files.authorities);
        let mut lines: Vec<String> = self.authorities.iter().map(copy).collect();
        lines.extend(["Connect with JDBC:".to_owned(), format!("  {}", self.jdbc)]);
        if let Some(url) = &self.jdbc_read_only {
            lines.extend(["Only reading, from the replicas:".to_owned(), format!("  {url}")]);
        }
        lines.push("For XNAT, in xnat-conf.properties:".to_owned());
        lines.extend(self.properties.iter().map(|line| format!("  {line}")));
        lines.extend(["With psql:".to_owned(), format!("  {}", self.psql)]);
        for url in &self.statistics {
            lines.push(format!(
                "HAProxy statistics: {url} (user stats, password: xnat-provision vault show statistics {inventory})"
            ));
        }
        lines
    }
}
