//! The checked inventory: every default filled in, every rule kept. Nothing after this has to doubt it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{HostName, RoleName};

/// A whole inventory file.
#[derive(Clone, Debug, Serialize)]
pub struct Inventory {
    /// The file it was read from; secrets and the journal live beside it.
    pub path: PathBuf,
    pub cluster: String,
    /// In the order of the file, which is the order of output.
    pub hosts: Vec<Host>,
    /// Hosts that are on their way out: nobody is told of them any more, and they are only asked to stop.
    pub leaving: Vec<Host>,
    pub etcd: Etcd,
    pub postgresql: Postgresql,
    pub patroni: Patroni,
    pub haproxy: Haproxy,
    pub database: Database,
    pub packages: Packages,
    pub tls: Tls,
    pub firewall: Firewall,
    pub vault: Vault,
    /// Passwords that are kept elsewhere, by name.
    pub secrets: BTreeMap<String, Reference>,
    /// A directory whose files override the built-in roles and templates.
    pub assets: Option<PathBuf>,
    /// Whose database `migrate` moves in.
    pub source: Option<Source>,
    /// Where it leads out again.
    pub single: Option<Source>,
    /// Who uses it; without hosts that is nobody's business here.
    pub xnat: Xnat,
}

/// XNAT, which runs on machines of its own.
#[derive(Clone, Debug, Serialize)]
pub struct Xnat {
    pub hosts: Vec<Host>,
    pub unit: String,
    /// The file of its settings.
    pub properties: String,
    pub port: u16,
    pub page: String,
}

/// A PostgreSQL that is none of the cluster's, and has the data until it is moved.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    /// How to log in to its machine; of its components none is ours.
    pub machine: Host,
    pub reach: Reach,
    pub port: u16,
    pub socket: String,
    pub container: Option<String>,
    pub engine: Engine,
    /// Whom sudo makes of the login, if not root.
    pub sudo_as: Option<String>,
    pub database: String,
    pub user: String,
    pub password: Option<Reference>,
}

/// How that PostgreSQL is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Its socket, on its machine.
    Ssh,
    /// The network, from the leader.
    Tcp,
}

/// What runs the container it may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    Docker,
    Podman,
}

impl Engine {
    /// The command, and what people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// One machine.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    pub name: HostName,
    /// How the other hosts reach it: an IP address or a name.
    pub address: String,
    pub components: BTreeSet<Component>,
    /// The site's own roles (from the assets directory), applied after the built-in ones.
    pub own_roles: Vec<RoleName>,
    pub ssh: Ssh,
    /// Patroni tags: `nofailover`, `noloadbalance`, `clonefrom`, `nosync`, `failover_priority`, …
    pub tags: BTreeMap<String, Scalar>,
    pub leaving: bool,
}

/// What a host does for the cluster; written `roles = ["etcd", "postgres"]` in the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    Etcd,
    Postgres,
    Haproxy,
}

/// How this machine reaches a host.
#[derive(Clone, Debug, Serialize)]
pub struct Ssh {
    /// `ssh.host` of the host, or else its address. May be an alias in `~/.ssh/config`.
    pub host: String,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub identity: Vec<PathBuf>,
    /// Hosts to go through, first hop first, each as `[user@]host[:port]`.
    pub jump: Vec<String>,
    pub escalate: Escalate,
    /// Pinned host key fingerprints, `SHA256:…`; when given, no other key is accepted.
    pub fingerprints: Vec<String>,
    /// An alternative to `~/.ssh/known_hosts`.
    pub known_hosts: Option<PathBuf>,
    pub connect_timeout: Duration,
}

/// How to become root; `become` in the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Escalate {
    /// The login user is root already.
    None,
    /// Through sudo, unless the login user turns out to be root.
    Sudo,
}

#[derive(Clone, Debug, Serialize)]
pub struct Etcd {
    pub client_port: u16,
    pub peer_port: u16,
    pub data_dir: String,
    pub heartbeat_interval_ms: u32,
    pub election_timeout_ms: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct Postgresql {
    /// Major version; `None` is the distribution's own (15 on Debian 12, 17 on Debian 13).
    pub version: Option<u32>,
    pub port: u16,
    /// Extra PostgreSQL parameters, kept in the DCS so that they are the same everywhere.
    pub parameters: BTreeMap<String, Scalar>,
    /// Networks whose clients may use the application database directly (besides the inventory's own hosts).
    pub allow: Vec<String>,
    /// Extra pg_hba.conf lines, verbatim, before our own.
    pub hba: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Patroni {
    pub rest_port: u16,
    pub ttl: u32,
    pub loop_wait: u32,
    pub retry_timeout: u32,
    pub primary_start_timeout: u32,
    /// So many failures in a row, a second apart, and what is not alive is ended; 0: nobody looks.
    pub liveness_failures: u32,
    pub maximum_lag_on_failover: u64,
    pub failsafe_mode: bool,
    pub synchronous: Synchronous,
    pub synchronous_node_count: u32,
    pub synchronous_strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// A commit waits for nobody.
    Off,
    /// A commit waits for the replicas Patroni has chosen.
    On,
    /// A commit waits for any of the replicas. Needs Patroni 4.0 or newer on the hosts.
    Quorum,
}

#[derive(Clone, Debug, Serialize)]
pub struct Haproxy {
    pub primary_port: u16,
    pub replica_port: u16,
    pub stats_port: u16,
    pub maxconn: u32,
    pub check: Check,
    /// A replica further behind than this (bytes, or with a unit as Patroni takes it: `16MB`) takes no reads.
    pub replica_max_lag: String,
}

/// Health check timing, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub inter_ms: u32,
    pub fastinter_ms: u32,
    pub downinter_ms: u32,
    pub timeout_ms: u32,
    pub rise: u32,
    pub fall: u32,
}

/// The database of a drill, which is there while one lasts; its user is the application's.
pub const DRILL_DATABASE: &str = "xnat_provision_drill";

/// The application's database; XNAT's by default.
#[derive(Clone, Debug, Serialize)]
pub struct Database {
    pub name: String,
    pub owner: String,
    pub encoding: String,
    pub locale: String,
    pub extensions: Vec<String>,
}

/// Encryption of everything that crosses the network.
#[derive(Clone, Debug, Serialize)]
pub struct Tls {
    pub enabled: bool,
    /// Names and addresses besides the hosts' own in the certificates clients see.
    pub names: Vec<String>,
    /// How long a host's certificate is good.
    pub days: u32,
    pub signing: Signing,
}

/// Who signs the certificates.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signing {
    /// An authority made for this cluster, kept in the vault.
    Ours,
    /// The site's, whose key is in a file.
    Authority { certificate: PathBuf, key: PathBuf },
    /// Somebody who gives us the certificates.
    Elsewhere { trusted: PathBuf, certificates: PathBuf },
}

impl Signing {
    pub fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Elsewhere { .. })
    }
}

/// What the hosts let in.
#[derive(Clone, Debug, Serialize)]
pub struct Firewall {
    pub enabled: bool,
    /// Networks of administrators and of clients; none is everybody.
    pub admins: Vec<String>,
    pub clients: Vec<String>,
    /// nft rules, verbatim.
    pub rules: Vec<String>,
}

/// The file of secrets beside the inventory, and what opens it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Vault {
    pub encryption: Encryption,
    /// Files with age identities; with none it has a passphrase.
    pub identity: Vec<PathBuf>,
    /// age recipients who can open it besides.
    pub recipients: Vec<String>,
    pub passphrase_command: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    #[default]
    Age,
    // Plain text, readable by its owner only. (A comment of its own would take the variant out of the list in the schema.)
    None,
}

/// Where a password is that the site keeps itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reference {
    Env(String),
    File(PathBuf),
    Command(String),
}

#[derive(Clone, Debug, Serialize)]
pub struct Packages {
    pub source: PackageSource,
    /// The public key that must have signed a bundle.
    pub bundle_key: Option<PathBuf>,
    /// A bundle's packages stay on the hosts when they are installed.
    pub keep_bundle: bool,
    /// Package name → version (an apt version, may end in `*`).
    pub pins: BTreeMap<String, String>,
    /// An HTTP proxy for the package manager.
    pub proxy: Option<String>,
}

/// Where packages come from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageSource {
    /// What the hosts are configured for already.
    Distribution,
    /// The same, and these repositories besides.
    Repositories(Vec<Repository>),
    /// Files that were brought to this machine, and nothing else.
    Bundle(BundleSource),
}

#[derive(Clone, Debug, Serialize)]
pub struct BundleSource {
    pub files: Vec<PathBuf>,
    /// What a connected machine takes packages from, to make a bundle.
    pub repositories: Vec<Repository>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    pub name: String,
    pub url: String,
    /// `{codename}` is replaced by the host's release.
    pub suite: String,
    pub components: Vec<String>,
    /// The armoured signing key, read from the file named in the inventory.
    pub key: String,
}

/// A TOML value without structure, as PostgreSQL parameters and Patroni tags have them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

impl Component {
    /// As `roles` in the inventory has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Postgres => "postgres",
            Self::Haproxy => "haproxy",
        }
    }
}

impl Host {
    /// Its roles, the site's own too.
    pub fn role_names(&self) -> impl Iterator<Item = &str> {
        let components = self.components.iter().map(|component| component.name());
        components.chain(self.own_roles.iter().map(|role| role.as_str()))
    }
}

impl Inventory {
    pub fn host(&self, name: &HostName) -> Option<&Host> {
        self.hosts.iter().find(|h| &h.name == name)
    }
    /// The same, also of one that leaves.
    pub fn known(&self, name: &HostName) -> Option<&Host> {
        self.everybody().find(|h| &h.name == name)
    }
    /// Every host that is logged in to.
    pub fn everybody(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().chain(&self.leaving)
    }
    /// PostgreSQL's major version on a release: the inventory's, or the distribution's own.
    pub fn postgresql_major(&self, codename: &str) -> Option<u32> {
        self.postgresql.version.or_else(|| distribution_postgresql(codename))
    }
    /// Where a member keeps its data.
    pub fn postgresql_data_dir(&self, major: u32) -> String {
        format!("/var/lib/postgresql/{major}/{}", self.cluster)
    }
    /// How the services' URLs begin.
    pub fn scheme(&self) -> &'static str {
        if self.tls.enabled { "https" } else { "http" }
    }
    /// The addresses that are names, which every host has to look up.
    pub fn named_addresses(&self) -> impl Iterator<Item = &str> {
        let named = self.hosts.iter().filter(|host| host.address.parse::<std::net::IpAddr>().is_err());
        named.map(|host| host.address.as_str())
    }
    /// The hosts that have a component, in the order of the file.
    pub fn with(&self, component: Component) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(move |h| h.components.contains(&component))
    }
}

/// The major version of PostgreSQL in a release's own packages.
pub fn distribution_postgresql(codename: &str) -> Option<u32> {
    match codename {
        "bookworm" => Some(15),
        "trixie" => Some(17),
        "jammy" => Some(14),
        "noble" => Some(16),
        _ => None,
    }
}
