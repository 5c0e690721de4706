//! HAProxy's statistics: which servers it sends clients to, in its own opinion. Reads only.

use serde::{Deserialize, Serialize};

use super::http::{CallError, Http, Place};
use super::view::Gather;
use crate::inventory::Host;

/// The section of haproxy.cfg that leads to the leader.
pub const PRIMARY: &str = "primary";
/// The section of haproxy.cfg that leads to the replicas.
pub const REPLICAS: &str = "replicas";
/// Who may read the statistics.
pub const USER: &str = "stats";

/// A server of a back end, as one HAProxy sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The section: `primary` or `replicas`.
    pub section: String,
    pub name: String,
    /// It is checked plainly and with TLS, as while a cluster is converted; this is the better of the two.
    #[serde(default)]
    pub either_way: bool,
    pub up: bool,
    /// Its own word: `UP`, `DOWN`, `MAINT`, `UP 1/2`, `no check`.
    pub status: String,
    /// How the last check ended: `L7OK`, `L7STS`, `L4CON`, …
    pub check: String,
    /// The HTTP status of the last check.
    pub code: Option<u16>,
    pub sessions: u64,
    /// Seconds since the status changed last.
    pub since: Option<u64>,
}

impl Server {
    /// Somebody told HAProxy to send no new clients there, whatever its checks say.
    pub fn is_held_back(&self) -> bool {
        // `DRAIN 1/2` while its checks fail
        self.status.starts_with("DRAIN") || self.status == "MAINT"
    }

    /// What HAProxy calls it: twice while it is checked both ways.
    pub fn names(&self) -> Vec<String> {
        let twin = self.either_way.then(|| format!("{}{WITH_TLS}", self.name));
        std::iter::once(self.name.clone()).chain(twin).collect()
    }
}

/// A line of the statistics; HAProxy only ever adds columns.
#[derive(Deserialize)]
struct Row {
    #[serde(rename = "# pxname")]
    section: String,
    #[serde(rename = "svname")]
    name: String,
    status: String,
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default, rename = "check_status")]
    check: String,
    #[serde(default, rename = "check_code")]
    code: Option<u16>,
    #[serde(rename = "scur")]
    sessions: Option<u64>,
    #[serde(rename = "lastchg")]
    since: Option<u64>,
}

/// `type` of a server; 0 is a front end, 1 a back end, 3 a listener.
const SERVER: u8 = 2;

pub fn client<'a>(gather: &Gather<'a>, host: &'a Host) -> Result<Http<'a>, String> {
    let place = Place {
        service: "HAProxy",
        unit: "haproxy",
        host: host.name.clone(),
        port: gather.inventory.haproxy.stats_port,
    };
    let secrets = gather.secrets.ok_or("there are no passwords at hand to read HAProxy's statistics with")?;
    let transport = gather.transport(&host.name)?;
    let login = Some((USER, &secrets.statistics));
    Ok(Http { transport, place, address: &host.address, scheme: gather.scheme()?, login })
}

pub async fn ask(http: &Http<'_>) -> Result<Vec<Server>, CallError> {
    let reply = http.get("/stats;csv").await?;
    http.accepted(&reply)?;
    parse(&reply.body).map_err(|source| CallError::Statistics { place: http.place.clone(), source })
}

/// At the end of the name of a server that is there twice while a cluster is converted: the one checked with TLS. No host
/// can be called so.
const WITH_TLS: &str = ":tls";

/// The servers in HAProxy's CSV, in its order.
pub fn parse(text: &str) -> Result<Vec<Server>, csv::Error> {
    let mut servers = Vec::new();
    for row in csv::Reader::from_reader(text.as_bytes()).deserialize::<Row>() {
        let row = row?;
        if row.kind == SERVER {
            let server = Server {
                either_way: false,
                up: row.status.starts_with("UP") || row.status == "no check",
                section: row.section,
                name: row.name,
                status: row.status,
                // A star marks a check under way; the result is the last one's.
                check: row.check.trim_start_matches("* ").to_owned(),
                code: row.code,
                sessions: row.sessions.unwrap_or(0),
                since: row.since,
            };
            merge(&mut servers, server);
        }
    }
    Ok(servers)
}

/// A member that is there twice counts once.
fn merge(servers: &mut Vec<Server>, mut server: Server) {
    let Some(name) = server.name.strip_suffix(WITH_TLS) else { return servers.push(server) };
    server.name = name.to_owned();
    server.either_way = true;
    match servers.iter_mut().find(|other| other.section == server.section && other.name == server.name) {
        Some(other) if other.up && !server.up => other.either_way = true,
        Some(other) => *other = server,
        None => servers.push(server),
    }
}
