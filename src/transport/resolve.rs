//! From a name to its addresses, without the C library: its look-up loads modules at run time, and this program is one
//! static file. Asked are /etc/hosts, and then the name servers of /etc/resolv.conf with its search domains. What else
//! `nsswitch.conf` may name (mDNS, LDAP) is not; systemd-resolved answers as a name server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::OnceLock;

use hickory_resolver::config::{ResolveHosts, ServerOrderingStrategy};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, Resolver, TokioResolver};

use crate::files;

const HOSTS: &str = "/etc/hosts";
const SERVERS: &str = "/etc/resolv.conf";

/// Every address of a name, in the order to try them. An address is its own, and nothing is read or asked for it.
pub async fn addresses(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    static SYSTEM: OnceLock<Names> = OnceLock::new();
    let found = match name.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => SYSTEM.get_or_init(|| Names::read(Path::new(HOSTS), Path::new(SERVERS))).addresses(name).await?,
    };
    Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

/// What this machine knows of names, and whom it asks.
struct Names {
    hosts: Hosts,
    /// Or why there is nobody to ask: that matters only when somebody has to be asked.
    servers: io::Result<TokioResolver>,
}

impl Names {
    fn read(hosts: &Path, servers: &Path) -> Self {
        let mut known = Hosts::default();
        // As for the C library, a file that cannot be read says nothing, and what is not UTF-8 spoils its own line only.
        let text = files::read(hosts, files::TEXT).unwrap_or_default();
        let _never_fails = known.read_hosts_conf(String::from_utf8_lossy(&text).as_bytes());
        Self { hosts: known, servers: resolver(servers) }
    }

    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let known = self.known(name)?;
        if !known.is_empty() {
            return Ok(known);
        }
        match &self.servers {
            Ok(servers) => Ok(servers.lookup_ip(name).await.map_err(|error| not_found(&error))?.iter().collect()),
            Err(error) => {
                let nobody = format!("it is not in {HOSTS}, and {SERVERS} names nobody to ask: {error}");
                Err(io::Error::new(io::ErrorKind::NotFound, nobody))
            }
        }
    }

    /// From the file. It comes before DNS for the name as it is written, also where a search domain would fit.
    fn known(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let name = Name::from_utf8(name).map_err(io::Error::other)?;
        let of_kind = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let found = [RecordType::AAAA, RecordType::A].into_iter().filter_map(of_kind);
        Ok(found.flat_map(|found| found.answers().to_vec()).filter_map(|record| record.data.ip_addr()).collect())
    }
}

fn resolver(path: &Path) -> io::Result<TokioResolver> {
    let text = files::read(path, files::TEXT)?;
    let (config, mut options) = parse_resolv_conf(text).map_err(io::Error::other)?;
    options.use_hosts_file = ResolveHosts::Never;
    // One after the other, as they are written: where the first is the site's own, only that one knows the site's names.
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.num_concurrent_reqs = 1;
    let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
    builder.build().map_err(io::Error::other)
}

fn not_found(error: &NetError) -> io::Error {
    if error.is_no_records_found() {
        let text = format!("neither {HOSTS} nor the name servers of {SERVERS} know it");
        return io::Error::new(io::ErrorKind::NotFound, text);
    }
    io::Error::other(format!("the name servers of {SERVERS} do not answer as they should: {error}"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A machine with these files.
    fn names(hosts: &[u8], servers: Option<&str>) -> Names {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| -> PathBuf { directory.path().join(name) };
        std::fs::write(file("hosts"), hosts).expect("written");
        if let Some(text) = servers {
            std::fs::write(file("resolv.conf"), text).expect("written");
        }
        Names::read(&file("hosts"), &file("resolv.conf"))
    }

    async fn found(names: &Names, name: &str) -> Result<Vec<String>, String> {
        let found = names.addresses(name).await.map_err(|error| error.to_string())?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn an_address_is_its_own() {
        let one = addresses("10.0.0.7", 22).await.expect("an address");
        assert_eq!(one, ["10.0.0.7:22".parse().expect("an address")]);
        let one = addresses("2001:db8::7", 22).await.expect("an address");
        assert_eq!(one, ["[2001:db8::7]:22".parse().expect("an address")]);
    }

    #[tokio::test]
    async fn the_file_of_hosts_comes_first_and_needs_no_servers() {
        let hosts =
            b"# R\xe9seau\n10.0.0.1 db1 db1.example.org # the first\n10.0.0.2 DB2\n2001:db8::2 db2\nrubbish db3\n";
        for servers in [None, Some("nameserver 192.0.2.1\nsearch example.org\n"), Some("")] {
            let names = names(hosts, servers);
            assert_eq!(found(&names, "db1").await, Ok(vec!["10.0.0.1".to_owned()]));
            assert_eq!(found(&names, "DB1.Example.ORG.").await, Ok(vec!["10.0.0.1".to_owned()]));
            assert_eq!(found(&names, "db2").await, Ok(vec!["2001:db8::2".to_owned(), "10.0.0.2".to_owned()]));
        }
    }

    #[tokio::test]
    async fn a_name_nobody_knows_and_nobody_to_ask() {
        let known = names(b"10.0.0.1 db1\n", Some("nameserver 192.0.2.1\n"));
        // `invalid` is reserved: no server is asked for it
        let error = found(&known, "no-such-host.invalid.").await.expect_err("unknown");
        assert_eq!(error, "neither /etc/hosts nor the name servers of /etc/resolv.conf know it");
        let alone = names(b"", None);
        let error = found(&alone, "db1").await.expect_err("unknown");
        let start = "it is not in /etc/hosts, and /etc/resolv.conf names nobody to ask: No such file";
        assert!(error.starts_with(start), "{error}");
        assert!(found(&alone, "no..name").await.is_err());
    }
}
