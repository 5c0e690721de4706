//! What roles and templates may speak of: one typed structure, written down here and nowhere else.
//! Plain values only. It holds passwords, so it has no Debug and lives no longer than the rendering.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use super::containers::Containers;
use super::dynamic::{dynamic_config, scalar};
use super::error::RoleError;
use super::expand::{Data, Input, Transition};
use super::sources::FirewallContext;
use crate::inventory::{Check, Component, DRILL_DATABASE, Database, Host, PackageSource, Synchronous};
use crate::pki::Purpose;
use crate::vault::rotation::{Login, REPLICATOR, REWINDER};

/// Everything a template can use.
#[derive(Serialize)]
pub struct Context<'a> {
    pub cluster: &'a str,
    pub host: HostContext<'a>,
    pub facts: FactsContext<'a>,
    pub etcd: EtcdContext<'a>,
    pub postgresql: PostgresqlContext<'a>,
    pub patroni: PatroniContext,
    pub haproxy: HaproxyContext<'a>,
    pub database: &'a Database,
    pub drill_database: &'a str,
    pub packages: PackagesContext<'a>,
    pub secrets: SecretsContext<'a>,
    pub tls: TlsContext<'a>,
    /// While a running cluster is converted to TLS: `opening`, then `moving`. None otherwise.
    pub transition: Option<Transition>,
    /// Every host of the inventory.
    pub hosts: Vec<Member<'a>>,
    pub firewall: FirewallContext<'a>,
    /// A reset leaves the database where it is.
    pub keep_data: bool,
    /// What is different where members are containers and not hosts.
    pub containers: Containers,
}

/// A host as others see it.
#[derive(Serialize)]
pub struct Member<'a> {
    pub name: &'a str,
    pub address: &'a str,
    /// The address as URLs and `address:port` want it: IPv6 in brackets.
    pub url_host: String,
    /// The address as access rules want it: `10.0.0.1/32`; a name stays a name.
    pub network: String,
}

/// This host.
#[derive(Serialize)]
pub struct HostContext<'a> {
    #[serde(flatten)]
    pub member: Member<'a>,
    pub is_etcd: bool,
    pub is_postgres: bool,
    pub is_haproxy: bool,
    /// Every address of the family that the host's own has.
    pub any_address: &'static str,
    /// The same as haproxy.cfg has it.
    pub bind_any: &'static str,
    pub tags: BTreeMap<&'a str, Value>,
}

#[derive(Serialize)]
pub struct FactsContext<'a> {
    pub os: &'a str,
    pub release: &'a str,
    pub codename: &'a str,
    pub arch: &'a str,
    pub cpus: u32,
    pub memory_kib: u64,
}

#[derive(Serialize)]
pub struct EtcdContext<'a> {
    /// `https`, or `http` without TLS.
    pub scheme: &'static str,
    pub client_port: u16,
    pub peer_port: u16,
    pub data_dir: &'a str,
    pub heartbeat_interval_ms: u32,
    pub election_timeout_ms: u32,
    pub members: Vec<Member<'a>>,
    /// The members of the cluster that this host joins, as etcd's option has them. None otherwise.
    pub joining: Option<String>,
    /// Addresses to listen on for members, and for clients.
    pub listen_peer: Vec<String>,
    pub listen_client: Vec<String>,
}

#[derive(Serialize)]
pub struct PostgresqlContext<'a> {
    /// The effective major version.
    pub version: u32,
    pub port: u16,
    pub data_dir: String,
    pub bin_dir: String,
    pub socket_dir: &'static str,
    pub allow: &'a [String],
    pub hba: &'a [String],
    /// The first word of our pg_hba.conf lines: `hostssl`, or `host` without TLS.
    pub connection: &'static str,
    pub members: Vec<Member<'a>>,
    /// Where members are let in from, as access rules want it.
    pub networks: Vec<String>,
    /// Who is let in for replication and for pg_rewind: more than one while passwords change.
    pub replicators: Vec<&'static str>,
    pub rewinders: Vec<&'static str>,
}

#[derive(Serialize)]
pub struct PatroniContext {
    /// `https`, or `http` without TLS.
    pub scheme: &'static str,
    pub namespace: &'static str,
    pub rest_port: u16,
    pub rest_user: &'static str,
    pub liveness_failures: u32,
    /// The settings in the DCS.
    pub dynamic: Value,
    /// The directory Patroni reads its settings from.
    pub directory: &'static str,
    /// Where Patroni's and PostgreSQL's certificates are.
    pub tls_directory: &'static str,
}

#[derive(Serialize)]
pub struct HaproxyContext<'a> {
    pub primary_port: u16,
    pub replica_port: u16,
    pub stats_port: u16,
    pub stats_user: &'static str,
    pub maxconn: u32,
    pub check: &'a Check,
    pub replica_max_lag: &'a str,
    pub members: Vec<Member<'a>>,
    pub networks: Vec<String>,
}

#[derive(Serialize)]
pub struct PackagesContext<'a> {
    pub proxy: Option<&'a str>,
    pub repositories: Vec<RepositoryContext<'a>>,
}

#[derive(Serialize)]
pub struct RepositoryContext<'a> {
    pub name: &'a str,
    pub url: &'a str,
    /// For this host's release.
    pub suite: String,
    pub components: &'a [String],
    pub key: &'a str,
}

/// Certificates. The private keys are secrets; everything else is public.
#[derive(Serialize)]
pub struct TlsContext<'a> {
    pub enabled: bool,
    /// Every authority to trust, in PEM form.
    pub trusted: String,
    /// This host's certificates, as far as its components need them.
    pub etcd: Option<PairContext<'a>>,
    pub patroni: Option<PairContext<'a>>,
    pub postgres: Option<PairContext<'a>>,
    pub haproxy: Option<PairContext<'a>>,
}

#[derive(Serialize)]
pub struct PairContext<'a> {
    pub certificate: &'a str,
    pub key: &'a str,
}

/// The only place where passwords meet text.
#[derive(Serialize)]
pub struct SecretsContext<'a> {
    pub superuser: &'a str,
    pub replication: LoginContext<'a>,
    pub rewind: LoginContext<'a>,
    pub rest_api: &'a str,
    pub statistics: &'a str,
}

/// What a member uses towards the others.
#[derive(Serialize)]
pub struct LoginContext<'a> {
    pub user: &'a str,
    pub password: &'a str,
}

impl<'a> From<Login<'a>> for LoginContext<'a> {
    fn from(login: Login<'a>) -> Self {
        Self { user: login.user, password: login.password.expose() }
    }
}

impl<'a> Context<'a> {
    pub fn new(input: &Input<'a>) -> Result<Self, RoleError> {
        let inventory = input.inventory;
        let secrets = input.secrets;
        Ok(Self {
            cluster: &inventory.cluster,
            host: HostContext::new(input.host),
            facts: FactsContext::new(input),
            etcd: EtcdContext::new(input),
            postgresql: PostgresqlContext::new(input)?,
            patroni: PatroniContext::new(input)?,
            haproxy: HaproxyContext::new(input),
            database: &inventory.database,
            drill_database: DRILL_DATABASE,
            packages: PackagesContext::new(input),
            secrets: SecretsContext {
                superuser: secrets.superuser.expose(),
                replication: REPLICATOR.used(secrets).into(),
                rewind: REWINDER.used(secrets).into(),
                rest_api: secrets.rest_api.expose(),
                statistics: secrets.statistics.expose(),
            },
            tls: TlsContext::new(input),
            transition: None,
            hosts: inventory.hosts.iter().map(Member::new).collect(),
            firewall: FirewallContext::new(input),
            keep_data: true,
            containers: Containers::NONE,
        })
    }
}

impl Context<'_> {
    /// The same during a conversion to TLS.
    #[must_use]
    pub fn during(mut self, transition: Transition) -> Self {
        if transition == Transition::Opening {
            self.postgresql.connection = "host";
        }
        self.transition = Some(transition);
        self
    }

    /// The same for a cluster that is taken away.
    #[must_use]
    pub fn without(mut self, data: Data) -> Self {
        self.keep_data = data == Data::Kept;
        self
    }

    /// The same for a member that is a container: its address is given to it when it starts.
    #[must_use]
    pub fn contained(mut self, containers: Containers) -> Self {
        self.postgresql.networks = vec![containers.network.to_owned()];
        self.haproxy.networks = vec![containers.network.to_owned()];
        self.containers = containers;
        self
    }

    /// The same for a member that joins an etcd that runs.
    #[must_use]
    pub fn joining(mut self, initial_cluster: &str) -> Self {
        self.etcd.joining = Some(initial_cluster.to_owned());
        self
    }
}

impl<'a> TlsContext<'a> {
    fn new(input: &Input<'a>) -> Self {
        let pki = &input.secrets.pki;
        let pair = |purpose| {
            let pair = pki.pair(&input.host.name, purpose)?;
            Some(PairContext { certificate: &pair.certificate, key: pair.key.expose() })
        };
        Self {
            enabled: input.inventory.tls.enabled,
            trusted: pki.trusted(),
            etcd: pair(Purpose::Etcd),
            patroni: pair(Purpose::Patroni),
            postgres: pair(Purpose::Postgres),
            haproxy: pair(Purpose::Haproxy),
        }
    }
}

impl<'a> Member<'a> {
    fn new(host: &'a Host) -> Self {
        let address = host.address.as_str();
        let (url_host, network) = match address.parse() {
            Ok(IpAddr::V4(_)) => (address.to_owned(), format!("{address}/32")),
            Ok(IpAddr::V6(_)) => (format!("[{address}]"), format!("{address}/128")),
            Err(_) => (address.to_owned(), address.to_owned()),
        };
        Self { name: host.name.as_str(), address, url_host, network }
    }

    fn with(input: &Input<'a>, component: Component) -> Vec<Self> {
        input.inventory.with(component).map(Self::new).collect()
    }
}

fn networks(input: &Input<'_>, component: Component) -> Vec<String> {
    Member::with(input, component).into_iter().map(|member| member.network).collect()
}

impl<'a> HostContext<'a> {
    fn new(host: &'a Host) -> Self {
        Self {
            member: Member::new(host),
            is_etcd: host.components.contains(&Component::Etcd),
            is_postgres: host.components.contains(&Component::Postgres),
            is_haproxy: host.components.contains(&Component::Haproxy),
            any_address: any_address(host),
            // `*` means IPv4 only.
            bind_any: if any_address(host) == "[::]" { "::" } else { "*" },
            tags: host.tags.iter().map(|(name, value)| (name.as_str(), scalar(value))).collect(),
        }
    }
}

fn any_address(host: &Host) -> &'static str {
    if host.address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) { "[::]" } else { "0.0.0.0" }
}

impl<'a> FactsContext<'a> {
    fn new(input: &Input<'a>) -> Self {
        let facts = input.facts;
        Self {
            os: &facts.os,
            release: &facts.release,
            codename: &facts.codename,
            arch: &facts.arch,
            cpus: facts.cpus,
            memory_kib: facts.memory_kib,
        }
    }
}

impl<'a> EtcdContext<'a> {
    fn new(input: &Input<'a>) -> Self {
        let etcd = &input.inventory.etcd;
        let (listen_peer, listen_client) = listen(input);
        Self {
            scheme: input.inventory.scheme(),
            client_port: etcd.client_port,
            peer_port: etcd.peer_port,
            data_dir: &etcd.data_dir,
            heartbeat_interval_ms: etcd.heartbeat_interval_ms,
            election_timeout_ms: etcd.election_timeout_ms,
            members: Member::with(input, Component::Etcd),
            joining: None,
            listen_peer,
            listen_client,
        }
    }
}

/// etcd can only listen on addresses, and without TLS it lets everybody in, so it listens on as few as it can: the host's own
/// address and the loopback. Where the inventory has a name, or an address that is translated on the way, on all.
fn listen(input: &Input<'_>) -> (Vec<String>, Vec<String>) {
    let host = Member::new(input.host);
    let own = |known: &String| known.split('/').next() == Some(host.address);
    let known = input.facts.addresses.is_empty() || input.facts.addresses.iter().any(own);
    if host.address.parse::<IpAddr>().is_err() || !known {
        let any = any_address(input.host).to_owned();
        return (vec![any.clone()], vec![any]);
    }
    let mut client = vec![host.url_host.clone()];
    if host.address != "127.0.0.1" {
        client.push("127.0.0.1".to_owned());
    }
    (vec![host.url_host], client)
}

impl<'a> PostgresqlContext<'a> {
    fn new(input: &Input<'a>) -> Result<Self, RoleError> {
        let postgresql = &input.inventory.postgresql;
        let unknown =
            || RoleError::NoVersion { host: input.host.name.to_string(), codename: input.facts.codename.clone() };
        let version = input.inventory.postgresql_major(&input.facts.codename).ok_or_else(unknown)?;
        Ok(Self {
            version,
            port: postgresql.port,
            data_dir: input.inventory.postgresql_data_dir(version),
            bin_dir: format!("/usr/lib/postgresql/{version}/bin"),
            socket_dir: "/var/run/postgresql",
            allow: &postgresql.allow,
            hba: &postgresql.hba,
            connection: if input.inventory.tls.enabled { "hostssl" } else { "host" },
            members: Member::with(input, Component::Postgres),
            networks: networks(input, Component::Postgres),
            replicators: REPLICATOR.let_in(input.secrets),
            rewinders: REWINDER.let_in(input.secrets),
        })
    }
}

impl PatroniContext {
    fn new(input: &Input<'_>) -> Result<Self, RoleError> {
        let patroni = &input.inventory.patroni;
        refuse_quorum(input)?;
        Ok(Self {
            scheme: input.inventory.scheme(),
            namespace: "/service/",
            rest_port: patroni.rest_port,
            rest_user: "patroni",
            liveness_failures: patroni.liveness_failures,
            dynamic: dynamic_config(input.inventory),
            directory: "/etc/patroni/xnat",
            tls_directory: "/etc/patroni/tls",
        })
    }
}

/// Releases whose own Patroni is older than 4.0. With other repositories or a pin the host decides, in check-config.
fn refuse_quorum(input: &Input<'_>) -> Result<(), RoleError> {
    let packages = &input.inventory.packages;
    let own = matches!(packages.source, PackageSource::Distribution) && !packages.pins.contains_key("patroni");
    let has = match input.facts.codename.as_str() {
        "bookworm" => "Patroni 3.0.2",
        "jammy" => "Patroni 2.1",
        "noble" => "Patroni 3.2.2",
        _ => return Ok(()),
    };
    let postgres = input.host.components.contains(&Component::Postgres);
    if input.inventory.patroni.synchronous == Synchronous::Quorum && own && postgres {
        return Err(RoleError::Quorum {
            host: input.host.name.to_string(),
            codename: input.facts.codename.clone(),
            has: has.to_owned(),
        });
    }
    Ok(())
}

impl<'a> HaproxyContext<'a> {
    fn new(input: &Input<'a>) -> Self {
        let haproxy = &input.inventory.haproxy;
        Self {
            primary_port: haproxy.primary_port,
            replica_port: haproxy.replica_port,
            stats_port: haproxy.stats_port,
            stats_user: "stats",
            maxconn: haproxy.maxconn,
            check: &haproxy.check,
            replica_max_lag: &haproxy.replica_max_lag,
            members: Member::with(input, Component::Haproxy),
            networks: networks(input, Component::Haproxy),
        }
    }
}

impl<'a> PackagesContext<'a> {
    fn new(input: &Input<'a>) -> Self {
        let packages = &input.inventory.packages;
        let repositories = match &packages.source {
            PackageSource::Distribution | PackageSource::Bundle(_) => &[][..],
            PackageSource::Repositories(repositories) => repositories,
        };
        let repository = |repository: &'a crate::inventory::Repository| RepositoryContext {
            name: &repository.name,
            url: &repository.url,
            suite: repository.suite.replace("{codename}", &input.facts.codename),
            components: &repository.components,
            key: &repository.key,
        };
        Self { proxy: packages.proxy.as_deref(), repositories: repositories.iter().map(repository).collect() }
    }
}
