//! What the cluster's services have logged, of all hosts and in the order of time. Reads only.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::engine::{Fleet, for_each_host};
use crate::error::one_line;
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::quote;
use crate::transport::Script;

/// At most so many entries of the journal, and lines of PostgreSQL's log, from one host: the newest.
pub const MOST: usize = 5000;

/// What one service on one host said at one moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Entry {
    pub at: Timestamp,
    pub host: HostName,
    pub service: String,
    pub text: String,
}

/// What was to be had.
#[derive(Debug, Default)]
pub struct Logs {
    pub entries: Vec<Entry>,
    /// Hosts that gave as much as is asked of one, so that older entries are missing.
    pub cut: Vec<HostName>,
    /// Who could not be asked, and why.
    pub silent: BTreeMap<HostName, String>,
}

/// Everything since that moment, from the hosts that are connected.
pub async fn read(fleet: &Fleet, inventory: &Inventory, since: Timestamp) -> Logs {
    let script = script(inventory, since);
    let hosts: Vec<HostName> = fleet.connections.keys().cloned().collect();
    let parallel = hosts.len();
    let asked = for_each_host(hosts, parallel, |host| {
        let (transport, script) = (fleet.connections[&host].clone(), script.clone());
        async move { transport.run(Script::as_root("read the logs", script)).await }
    })
    .await;
    let mut logs = Logs::default();
    for (host, answer) in asked {
        match answer {
            Ok(output) if output.ok() => logs.add(&host, &output.stdout, since),
            Ok(output) => _ = logs.silent.insert(host, output.stderr.trim().to_owned()),
            Err(error) => _ = logs.silent.insert(host, one_line(&error)),
        }
    }
    logs.entries.sort();
    logs
}

/// The journal as JSON; then PostgreSQL's own log, after the name of the time zone its times are in. Whatever a host does
/// not run has said nothing.
fn script(inventory: &Inventory, since: Timestamp) -> String {
    let seconds = since.as_second();
    let log = quote::sh(&format!("/var/log/postgresql/postgresql-{}.log", inventory.cluster));
    let cluster = quote::sh(&inventory.cluster);
    format!(
        r#"journalctl --quiet --no-pager --output=json --output-fields=MESSAGE,SYSLOG_IDENTIFIER --lines={MOST} --since=@{seconds} -u etcd -u patroni -u haproxy
log={log}
cluster={cluster}
if [ -r "$log" ]; then
    zone=$(sed -n "s/^log_timezone *= *'\(.*\)'.*/\1/p" /var/lib/postgresql/*/"$cluster"/postgresql*.conf | head -n 1)
    echo "zone ${{zone:-UTC}}"
    tail -n {MOST} "$log"
fi
"#
    )
}

impl Logs {
    fn add(&mut self, host: &HostName, text: &str, since: Timestamp) {
        let mut lines = text.lines();
        let mut journal = 0;
        let mut zone = None;
        for line in lines.by_ref() {
            if let Some(name) = line.strip_prefix("zone ") {
                zone = Some(name);
                break;
            }
            journal += 1;
            self.entries.extend(journal_entry(host, line));
        }
        let zone = TimeZone::get(zone.unwrap_or("UTC")).unwrap_or(TimeZone::UTC);
        let rest: Vec<&str> = lines.collect();
        let first = self.entries.len();
        for line in &rest {
            match server_entry(host, line, &zone) {
                Some(entry) => self.entries.push(entry),
                // a statement of several lines, a CONTEXT or a DETAIL
                None if self.entries.len() > first => {
                    let last = self.entries.len() - 1;
                    self.entries[last].text.push_str(&format!("\n{line}"));
                }
                None => {}
            }
        }
        let older = self.entries[first..].first().is_some_and(|entry| entry.at > since);
        if journal >= MOST || (rest.len() >= MOST && older) {
            self.cut.push(host.clone());
        }
        self.entries.retain(|entry| entry.at >= since);
    }
}

#[derive(Deserialize)]
struct Journal {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    at: String,
    #[serde(rename = "SYSLOG_IDENTIFIER", default)]
    service: String,
    #[serde(rename = "MESSAGE")]
    text: Option<Text>,
}

/// journalctl writes what is not UTF-8 as bytes, and what is too long not at all.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Bytes(Vec<u8>),
}

fn journal_entry(host: &HostName, line: &str) -> Option<Entry> {
    let Journal { at, service, text } = serde_json::from_str(line).ok()?;
    let text = match text {
        Some(Text::Plain(text)) => text,
        Some(Text::Bytes(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        None => "(an entry too long to be shown)".to_owned(),
    };
    let at = Timestamp::from_microsecond(at.parse().ok()?).ok()?;
    Some(Entry { at, host: host.clone(), service, text })
}

/// `2026-11-24 17:30:00.123 CET [4711] LOG:  …`: as our `log_line_prefix` has it. The zone's short name says less than the
/// setting.
fn server_entry(host: &HostName, line: &str, zone: &TimeZone) -> Option<Entry> {
    let mut words = line.splitn(4, ' ');
    let (date, time, _, text) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let at: DateTime = format!("{date}T{time}").parse().ok()?;
    let at = zone.to_timestamp(at).ok()?;
    Some(Entry { at, host: host.clone(), service: "postgresql".to_owned(), text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{Logs, Timestamp};

    const ANSWER: &str = r#"{"__REALTIME_TIMESTAMP":"1795541400500000","SYSLOG_IDENTIFIER":"patroni","MESSAGE":"no action"}
{"__REALTIME_TIMESTAMP":"1795541401000000","SYSLOG_IDENTIFIER":"etcd","MESSAGE":[104,105,255]}
not an entry
zone Europe/Berlin
 the rest of an older one
2026-11-24 18:29:00.000 CET [7] LOG:  too old
2026-11-24 18:30:00.750 CET [7] xnat@xnat LOG:  statement:
	SELECT 1
"#;

    #[test]
    fn services_and_postgresql_are_put_in_the_order_of_time() {
        let since: Timestamp = "2026-11-24T17:30:00Z".parse().expect("a time");
        let mut logs = Logs::default();
        logs.add(&"db1".into(), ANSWER, since);
        logs.entries.sort();
        let seen: Vec<String> =
            logs.entries.iter().map(|entry| format!("{} {} {}", entry.at, entry.service, entry.text)).collect();
        assert_eq!(
            seen,
            [
                "2026-11-24T17:30:00.5Z patroni no action",
                "2026-11-24T17:30:00.75Z postgresql [7] xnat@xnat LOG:  statement:\n\tSELECT 1",
                "2026-11-24T17:30:01Z etcd hi\u{fffd}",
            ]
        );
        assert!(logs.cut.is_empty());
    }
}
