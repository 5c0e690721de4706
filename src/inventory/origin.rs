//! Where a database comes from that is to be moved in, and who uses it there, as it is written; part of `raw`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::model::{Engine, Reach};
use super::raw::HostSsh;
use super::secrecy::Reference;
use super::values::Strings;

/// What `migrate` moves in, and where it leads out again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Migrate {
    /// The PostgreSQL that has the data now, 9.6 or newer.
    pub source: Option<Source>,
    /// The single PostgreSQL that `migrate to-single` copies the database to.
    pub single: Option<Source>,
}

/// The PostgreSQL that has the data now, or is to have it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["address"]))]
pub struct Source {
    /// Its machine: an IPv4 address or a name.
    pub address: String,
    /// `ssh` logs in there and uses the server's socket; `tcp` connects over the network, from the cluster's leader.
    pub reach: Reach,
    /// Its port; with `ssh` it is part of the socket's name.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// With `ssh`: the directory of its socket, inside the container if there is one.
    pub socket: String,
    /// With `ssh`: the name of the container it runs in.
    pub container: Option<String>,
    /// What runs that container.
    pub engine: Engine,
    /// With `ssh`, where sudo lets nobody become root: whom it lets one become without a password, the socket's owner.
    pub sudo_as: Option<String>,
    /// The database to move; the same name as in [database] unless given.
    pub database: Option<String>,
    /// A superuser of it.
    pub user: String,
    /// With `tcp`: where the superuser's password is.
    pub password: Option<Reference>,
    /// Fingerprint of the machine's SSH host key (`SHA256:…`), or a list of them; then no other key is accepted.
    pub fingerprint: Strings,
    /// Differs from [ssh] for this machine only.
    pub ssh: HostSsh,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            address: String::new(),
            reach: Reach::Ssh,
            port: 5432,
            socket: "/var/run/postgresql".to_owned(),
            container: None,
            engine: Engine::Docker,
            sudo_as: None,
            database: None,
            user: "postgres".to_owned(),
            password: None,
            fingerprint: Strings::default(),
            ssh: HostSsh::default(),
        }
    }
}

/// Where XNAT runs. `migrate` stops it, points it at the cluster and starts it again; without hosts it only says what to do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Xnat {
    /// The machines, one [[xnat.host]] each.
    pub host: Vec<XnatHost>,
    /// The systemd unit of its Tomcat.
    pub unit: String,
    /// Where it reads how to reach its database.
    pub properties: String,
    /// Where its Tomcat listens, on the machine itself.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The page that is there once it runs.
    pub page: String,
}

impl Default for Xnat {
    fn default() -> Self {
        Self {
            host: Vec::new(),
            unit: "tomcat9".to_owned(),
            properties: "/data/xnat/home/config/xnat-conf.properties".to_owned(),
            port: 8080,
            page: "/".to_owned(),
        }
    }
}

/// A machine that XNAT runs on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["address"]))]
pub struct XnatHost {
    /// Its IPv4 address or name.
    pub address: String,
    /// Fingerprint of its SSH host key (`SHA256:…`), or a list of them; then no other key is accepted.
    pub fingerprint: Strings,
    /// Differs from [ssh] for this machine only.
    pub ssh: HostSsh,
}
