//! The inventory as it is written: serde types with a default for everything that can have one. Their documentation
//! comments are the descriptions in the JSON Schema, which `shape` checks a file against and editors complete from:
//! this is the one place where the format is defined. Nothing is judged here.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{Escalate, Scalar, Synchronous};
pub use super::origin::{Migrate, Source, Xnat, XnatHost};
pub use super::secrecy::{Reference, Secrets, Vault};
use super::values::{Period, Size, Strings};

/// Inventory of xnat-provision: the hosts of one highly available PostgreSQL cluster and what runs on them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "xnat-provision inventory", extend("required" = ["cluster", "host"]))]
pub struct Inventory {
    /// A directory with your own roles and templates, which override the built-in ones file by file. Relative to this file.
    pub assets: Option<String>,
    pub cluster: Cluster,
    pub ssh: Ssh,
    /// The machines, one [[host]] each; their order here is the order of all output.
    pub host: Vec<Host>,
    pub etcd: Etcd,
    pub postgresql: Postgresql,
    pub patroni: Patroni,
    pub haproxy: Haproxy,
    pub database: Database,
    pub packages: Packages,
    pub tls: Tls,
    pub firewall: Firewall,
    pub vault: Vault,
    pub secrets: Secrets,
    pub migrate: Migrate,
    pub xnat: Xnat,
}

/// The cluster as a whole.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["name"]))]
pub struct Cluster {
    /// Names the Patroni scope, the etcd cluster and the data directories; cannot be changed later.
    pub name: String,
}

/// How to log in to the hosts. Whatever is left out comes from ~/.ssh/config and OpenSSH's defaults.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ssh {
    /// The user to log in as.
    pub user: Option<String>,
    /// The port of the SSH server.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Private key file, or a list of them; without it the agent and the default keys are tried. `~/` is your home directory.
    pub identity: Strings,
    /// Jump host, or a list of them with the first hop first, each as `[user@]host[:port]`.
    pub jump: Strings,
    /// How to become root on the hosts; `none` when the user is root, `sudo` otherwise.
    #[serde(rename = "become")]
    pub escalate: Option<Escalate>,
    /// Host keys are looked up in this file instead of ~/.ssh/known_hosts.
    pub known_hosts: Option<String>,
    /// How long to wait for a connection, such as `10s`. What runs on the host may take half of that for an answer, and 5 s in
    /// any case.
    pub connect_timeout: Period,
}

impl Default for Ssh {
    fn default() -> Self {
        Self {
            user: None,
            port: None,
            identity: Strings::default(),
            jump: Strings::default(),
            escalate: None,
            known_hosts: None,
            connect_timeout: Period::millis(10_000),
        }
    }
}

/// One machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["name", "address", "roles"]))]
pub struct Host {
    /// A short name for it, unique in this file; becomes its etcd and Patroni member name.
    pub name: String,
    /// The IPv4 address (or a name) by which the other hosts reach it.
    pub address: String,
    /// What it does: any of `etcd`, `postgres`, `haproxy`, and roles of your own from the assets directory.
    #[schemars(extend("items" = { "type": "string", "examples": ["etcd", "postgres", "haproxy"] }))]
    pub roles: Vec<String>,
    /// It is to leave the cluster: `apply` takes it out and stops its services; delete the entry when it has left.
    pub leaving: bool,
    /// Fingerprint of its SSH host key (`SHA256:…`), or a list of them; then no other key is accepted.
    pub fingerprint: Strings,
    /// Differs from [ssh] for this host only.
    pub ssh: HostSsh,
    /// Patroni tags: `nofailover`, `noloadbalance`, `clonefrom`, `nosync`, `failover_priority`, `nostream`, or your own.
    pub tags: BTreeMap<String, Scalar>,
}

/// What differs from [ssh] for one host.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HostSsh {
    /// The name or address to connect to, or an alias in ~/.ssh/config, when it is not the host's address.
    pub host: Option<String>,
    /// The user to log in as.
    pub user: Option<String>,
    /// The port of the SSH server.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Private key file, or a list of them.
    pub identity: Option<Strings>,
    /// Jump host, or a list of them with the first hop first; an empty list connects directly.
    pub jump: Option<Strings>,
    /// How to become root; `none` when the user is root, `sudo` otherwise.
    #[serde(rename = "become")]
    pub escalate: Option<Escalate>,
}

/// The distributed store that holds the leader's lease.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Etcd {
    /// Patroni asks here.
    #[schemars(range(min = 1))]
    pub client_port: u16,
    /// The members talk to each other here.
    #[schemars(range(min = 1))]
    pub peer_port: u16,
    /// Where the data is kept; /var/lib/etcd/<cluster> unless given. Put it on a fast disk of its own if you can.
    pub data_dir: Option<String>,
    /// How often the leader is heard; raise it to about the round trip between distant sites.
    pub heartbeat_interval: Period,
    /// How long the leader may be silent; at least five heartbeats, ten are usual.
    pub election_timeout: Period,
}

impl Default for Etcd {
    fn default() -> Self {
        // etcd's own defaults (op-guide/tuning): right for one site, round trips below 10 ms.
        Self {
            client_port: 2379,
            peer_port: 2380,
            data_dir: None,
            heartbeat_interval: Period::millis(100),
            election_timeout: Period::millis(1_000),
        }
    }
}

/// The database server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Postgresql {
    /// Major version; the distribution's own (15 on Debian 12, 17 on Debian 13) unless given.
    pub version: Option<u32>,
    /// The port of the servers themselves; clients use HAProxy's ports.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// PostgreSQL parameters, the same on all members: `shared_buffers = "4GB"`.
    pub parameters: BTreeMap<String, Scalar>,
    /// Networks (CIDR) whose clients may use the application's database: the XNAT servers.
    pub allow: Strings,
    /// Extra pg_hba.conf lines, verbatim, before the generated ones.
    pub hba: Strings,
}

impl Default for Postgresql {
    fn default() -> Self {
        Self {
            version: None,
            port: 5432,
            parameters: BTreeMap::new(),
            allow: Strings::default(),
            hba: Strings::default(),
        }
    }
}

/// How fast a failure is noticed, and what is traded for it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Patroni {
    /// Timing: `default` (28/5/10/10) survives short network trouble; `fast` (20/5/5/0) fails over sooner, also when it need not.
    pub preset: Preset,
    /// The port of Patroni's REST API, asked by HAProxy's health checks.
    #[schemars(range(min = 1))]
    pub rest_port: u16,
    /// Seconds the leader's lease lasts: after a host dies the others take over when it ends. Patroni's minimum is 20.
    #[schemars(range(min = 20))]
    pub ttl: Option<u32>,
    /// Seconds between two looks at the cluster. Patroni's minimum is 1.
    #[schemars(range(min = 1))]
    pub loop_wait: Option<u32>,
    /// Seconds that etcd or PostgreSQL may not answer before the leader steps down. Patroni's minimum is 3.
    #[schemars(range(min = 3))]
    pub retry_timeout: Option<u32>,
    /// Seconds a crashed leader gets to start again before a replica takes over; 0 means fail over at once.
    pub primary_start_timeout: Option<u32>,
    /// After so many failures in a row, a second apart, a PostgreSQL or Patroni that neither answers nor runs is killed, so that it comes back; 0 is no such unit, which also minds clocks that are set and who leads etcd.
    pub liveness_failures: u32,
    /// A replica that is further behind than this (bytes, or such as `1MB`) is not promoted.
    pub maximum_lag_on_failover: Size,
    /// Whether the leader stays when etcd is gone, as long as every member answers it.
    pub failsafe_mode: bool,
    /// Whether a commit waits for a replica: `off` may lose the last moments in a failover, `on` and `quorum` lose nothing.
    pub synchronous: Synchronous,
    /// How many replicas a commit waits for.
    #[schemars(range(min = 1))]
    pub synchronous_node_count: u32,
    /// Refuse writes rather than go on without a synchronous replica.
    pub synchronous_strict: bool,
}

impl Default for Patroni {
    fn default() -> Self {
        Self {
            preset: Preset::Default,
            rest_port: 8008,
            ttl: None,
            loop_wait: None,
            retry_timeout: None,
            primary_start_timeout: None,
            // With Patroni's start in addition it has to end before the shortest lease does.
            liveness_failures: 6,
            maximum_lag_on_failover: Size(1 << 20),
            // Patroni's default is off. On, because here etcd shares its hosts with the database: without it, losing etcd's
            // majority (full disk, bad upgrade) stops a healthy database as well. It cannot make two leaders: the leader
            // stays only while every other member confirms it. The price: with etcd down, one dead member more demotes it.
            failsafe_mode: true,
            synchronous: Synchronous::Off,
            synchronous_node_count: 1,
            synchronous_strict: false,
        }
    }
}

/// A consistent set of timings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    #[default]
    Default,
    Fast,
}

/// The entrance for clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Haproxy {
    /// Leads to the leader: reads and writes.
    #[schemars(range(min = 1))]
    pub primary_port: u16,
    /// Leads to the replicas: reads only.
    #[schemars(range(min = 1))]
    pub replica_port: u16,
    /// HAProxy's own statistics.
    #[schemars(range(min = 1))]
    pub stats_port: u16,
    /// Most connections at a time.
    #[schemars(range(min = 1))]
    pub maxconn: u32,
    /// A replica further behind than this takes no reads, such as `16MB`.
    pub replica_max_lag: Size,
    /// Health checks.
    pub check: Check,
}

impl Default for Haproxy {
    fn default() -> Self {
        Self {
            primary_port: 5432,
            replica_port: 5433,
            stats_port: 7000,
            maxconn: 1000,
            replica_max_lag: Size(16 << 20),
            check: Check::default(),
        }
    }
}

/// Timing of HAProxy's health checks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Check {
    /// Between two checks while nothing changes.
    pub inter: Period,
    /// Between two checks while a server is about to change state.
    pub fastinter: Period,
    /// Between two checks of a server that is down.
    pub downinter: Period,
    /// How long an answer may take.
    pub timeout: Period,
    /// Good checks until a server is up.
    #[schemars(range(min = 1, max = 100))]
    pub rise: u32,
    /// Failed checks until a server is down.
    #[schemars(range(min = 1, max = 100))]
    pub fall: u32,
}

impl Default for Check {
    fn default() -> Self {
        // `rise 1` is safe because Patroni answers 200 to /primary only with the leader's lock; more is pure delay.
        // The short timeout bounds what a black-holed host adds to each check.
        Self {
            inter: Period::millis(1_000),
            fastinter: Period::millis(500),
            downinter: Period::millis(500),
            timeout: Period::millis(1_000),
            rise: 1,
            fall: 2,
        }
    }
}

/// The application's database.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    pub name: String,
    /// The role that owns it and that the application logs in as.
    pub owner: String,
    pub encoding: String,
    /// Sort order and character classes; must exist on the hosts. `C.UTF-8` always does and never changes.
    pub locale: String,
    /// Extensions to create in it, such as `pg_stat_statements`.
    pub extensions: Strings,
}

impl Default for Database {
    fn default() -> Self {
        // XNAT's own defaults for name and owner. C.UTF-8, because its order is by code point for ever: the locales of a
        // language change with glibc, and then indexes on text are silently wrong after an upgrade of the distribution.
        Self {
            name: "xnat".into(),
            owner: "xnat".into(),
            encoding: "UTF8".into(),
            locale: "C.UTF-8".into(),
            extensions: Strings::default(),
        }
    }
}

/// Encryption of everything that crosses the network.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Whether etcd, Patroni and PostgreSQL speak TLS, verify each other, and refuse whoever does not.
    pub enabled: bool,
    /// More names and addresses by which clients reach the database, for its certificates: a DNS name, a virtual address.
    pub names: Strings,
    /// How many days a certificate is good; `apply` renews those that end within a month.
    #[schemars(range(min = 1, max = 825))]
    pub days: u32,
    /// Your own authority instead of one made for the cluster, PEM: the one that signs first, then up to its root.
    pub ca_certificate: Option<String>,
    /// Its private key; read when needed, and never copied.
    pub ca_key: Option<String>,
    /// A directory of certificates somebody else has signed, instead of `ca_key`; `certs wanted` lists what must be in it.
    pub certificates: Option<String>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            enabled: true,
            names: Strings::default(),
            days: 365,
            ca_certificate: None,
            ca_key: None,
            certificates: None,
        }
    }
}

/// The hosts' own firewall (nftables): what the cluster needs is open between its hosts, everything else is closed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Firewall {
    /// Whether the hosts get a table `inet xnat`; tables of others are left alone, and each of them has its say.
    pub enabled: bool,
    /// Networks (CIDR) from which SSH and the statistics page can be reached; everybody unless given. The hosts can in any case.
    pub admins: Strings,
    /// Networks (CIDR) from which HAProxy's ports can be reached: the XNAT servers; everybody unless given. The hosts can in any case.
    pub clients: Strings,
    /// More nft rules, verbatim, such as `ip saddr 10.0.0.5 tcp dport 9100 accept` for a monitoring agent.
    pub rules: Strings,
}

/// Where packages come from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Packages {
    /// Package name and the version it is held at: `patroni = "4.0.*"`.
    pub pins: BTreeMap<String, String>,
    /// An HTTP proxy for the package manager: `http://proxy.example.org:3128`.
    pub proxy: Option<String>,
    /// A bundle, or several that belong together, from which hosts without the Internet get their packages; nothing else is
    /// used then. Relative to this file.
    pub bundle: Strings,
    /// The public key that must have signed the bundle (`xnat-provision bundle keygen`). Relative to this file.
    pub bundle_key: Option<String>,
    /// Leave the bundle's packages on the hosts when they are installed.
    pub keep_bundle: bool,
    /// More package repositories besides the distribution's own.
    pub repository: Vec<Repository>,
}

/// A package repository (apt).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["name", "url", "key_file"]))]
pub struct Repository {
    /// Names its files under /etc/apt.
    pub name: String,
    pub url: String,
    /// `{codename}` is replaced by the host's release, such as bookworm.
    pub suite: String,
    pub components: Strings,
    /// The file with its armoured signing key (`-----BEGIN PGP PUBLIC KEY BLOCK-----`). Relative to this file.
    pub key_file: String,
}

impl Default for Repository {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            suite: "{codename}".into(),
            components: Strings(vec!["main".into()]),
            key_file: String::new(),
        }
    }
}
