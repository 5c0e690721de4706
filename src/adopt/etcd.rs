//! What an etcd was told: by options and variables, or by a file, which makes it ignore both.

use std::collections::BTreeMap;

use serde_json::Value;

use super::address;
use crate::facts::Answers;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Etcd {
    pub unit: Option<String>,
    /// By the names of its options, without the dashes before them.
    settings: BTreeMap<String, String>,
    /// Name and address by which clients reach it, where etcd itself said so.
    members: Vec<(String, String)>,
}

impl Etcd {
    /// None where no etcd runs.
    pub fn read(answers: &Answers<'_>) -> Result<Option<Self>, serde_saphyr::Error> {
        let lines = answers.all("etcd_setting");
        let variable = |line: &&str| {
            let (name, value) = line.strip_prefix("ETCD_")?.split_once('=')?;
            Some((name.to_lowercase().replace('_', "-"), value.to_owned()))
        };
        let mut settings: BTreeMap<String, String> = lines.iter().filter_map(variable).collect();
        let file: Vec<&str> = answers.all("etcd_file").iter().filter_map(|line| line.strip_prefix('|')).collect();
        if !file.is_empty() {
            settings.clear();
            flatten("", &serde_saphyr::from_str(&file.join("\n"))?, &mut settings);
        }
        let unit = answers.one("etcd_unit").map(str::to_owned);
        if settings.is_empty() && unit.is_none() {
            return Ok(None);
        }
        let members = answers.all("etcd_member").iter().filter_map(|line| member(line)).collect();
        Ok(Some(Self { unit, settings, members }))
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub fn name(&self) -> Option<&str> {
        self.setting("name")
    }
    pub fn data_dir(&self) -> Option<&str> {
        self.setting("data-dir").map(|path| path.trim_end_matches('/'))
    }
    /// How clients reach it, and on which port.
    pub fn client(&self) -> Option<(String, u16)> {
        address::of(self.setting("advertise-client-urls")?)
    }
    pub fn peer(&self) -> Option<(String, u16)> {
        let urls = self.setting("initial-advertise-peer-urls").or_else(|| self.setting("listen-peer-urls"));
        address::of(urls?)
    }
    pub fn heartbeat_ms(&self) -> u64 {
        self.setting("heartbeat-interval").and_then(|text| text.parse().ok()).unwrap_or(100)
    }
    pub fn election_ms(&self) -> u64 {
        self.setting("election-timeout").and_then(|text| text.parse().ok()).unwrap_or(1000)
    }
    pub fn has_tls(&self) -> bool {
        self.setting("advertise-client-urls").is_some_and(|urls| urls.starts_with("https:"))
    }
    pub fn certificate(&self) -> Option<&str> {
        self.setting("cert-file")
    }
    /// The members it knows, as name and address.
    pub fn members(&self) -> Vec<(String, String)> {
        if !self.members.is_empty() {
            return self.members.clone();
        }
        let pairs = self.setting("initial-cluster").unwrap_or_default().split(',');
        pairs.filter_map(|pair| pair.split_once('=')).filter_map(|(name, url)| named(name, url)).collect()
    }
}

fn named(name: &str, url: &str) -> Option<(String, String)> {
    address::of(url.trim()).map(|(host, _)| (name.trim().to_owned(), host))
}

/// As `etcdctl member list` prints it: id, status, name, addresses of the peer, addresses for clients, is it a learner.
fn member(line: &str) -> Option<(String, String)> {
    let fields: Vec<&str> = line.split(", ").collect();
    named(fields.get(2)?, fields.get(3)?)
}

/// `peer-transport-security: { cert-file: … }` of a file is the option `peer-cert-file`.
fn flatten(prefix: &str, value: &Value, settings: &mut BTreeMap<String, String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => flatten(if name.starts_with("peer-") { "peer-" } else { "" }, value, settings),
            Value::String(text) => _ = settings.insert(format!("{prefix}{name}"), text.clone()),
            Value::Null => {}
            other => _ = settings.insert(format!("{prefix}{name}"), other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Etcd {
        Etcd::read(&Answers::of(text)).expect("YAML").expect("an etcd")
    }

    #[test]
    fn variables_and_options_and_the_last_one_wins() {
        let etcd = read(
            "etcd_unit=etcd.service\netcd_setting=ETCD_NAME=old\netcd_setting=ETCD_NAME=db1\n\
             etcd_setting=ETCD_DATA_DIR=/var/lib/etcd/default/\netcd_setting=ETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.1:2379\n\
             etcd_setting=ETCD_INITIAL_CLUSTER=db1=http://10.0.0.1:2380,db2=http://10.0.0.2:2380\n",
        );
        assert_eq!((etcd.name(), etcd.data_dir()), (Some("db1"), Some("/var/lib/etcd/default")));
        assert_eq!((etcd.client(), etcd.has_tls()), (Some(("10.0.0.1".into(), 2379)), false));
        assert_eq!(etcd.members()[1], ("db2".to_owned(), "10.0.0.2".to_owned()));
        assert_eq!((etcd.heartbeat_ms(), etcd.election_ms()), (100, 1000));
    }

    #[test]
    fn a_file_counts_alone() {
        let etcd = read(
            "etcd_setting=ETCD_CONFIG_FILE=/etc/etcd.yml\netcd_setting=ETCD_NAME=ignored\netcd_file=|name: a\n\
             etcd_file=|heartbeat-interval: 250\netcd_file=|advertise-client-urls: https://10.0.0.1:2379\n\
             etcd_file=|client-transport-security:\netcd_file=|  cert-file: /etc/c.pem\n",
        );
        assert_eq!((etcd.name(), etcd.heartbeat_ms(), etcd.has_tls()), (Some("a"), 250, true));
        assert_eq!(etcd.certificate(), Some("/etc/c.pem"));
    }

    #[test]
    fn who_is_a_member_now_counts_more_than_who_was_at_first() {
        let etcd = read(
            "etcd_setting=ETCD_INITIAL_CLUSTER=db1=http://10.0.0.1:2380\n\
             etcd_member=8e9e, started, db9, http://10.0.0.9:2380, http://10.0.0.9:2379, false\n",
        );
        assert_eq!(etcd.members(), [("db9".to_owned(), "10.0.0.9".to_owned())]);
        assert!(Etcd::read(&Answers::of("os=debian\n")).expect("nothing to read").is_none());
    }
}
