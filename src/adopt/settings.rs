//! The tables of an inventory that say how the services are set up. Only what is not the default is said.

use super::difference::agreed;
use super::draft::{Draft, Table};
use super::haproxy::{Check, Haproxy};
use super::hosts::Hosts;
use super::patroni::{Database, Patroni};
use super::shared::Shared;
use super::{Difference, database, firewall, hba, parameters, tls};
use crate::inventory::{self, Component, Inventory, Period, Size, Synchronous};
use crate::names::HostName;

/// What the tables are made of.
pub(super) struct Found<'a> {
    pub hosts: &'a Hosts,
    pub database: Option<&'a Database>,
    /// The inventory as far as it is written, with all defaults.
    pub defaults: &'a Inventory,
}

/// Of an entrance.
type Port<'a> = &'a dyn Fn(&Haproxy) -> Option<i64>;

pub(super) fn write(found: &Found<'_>, (draft, differences): (&mut Draft, &mut Vec<Difference>)) {
    let Found { hosts, defaults, .. } = *found;
    draft.push("[etcd]", found.etcd(differences));
    draft.push("[postgresql]", found.postgresql(differences));
    draft.push("[postgresql.parameters]", parameters::write(hosts, defaults, differences));
    draft.push("[patroni]", found.patroni(differences));
    let (haproxy, check) = found.haproxy(differences);
    draft.push("[haproxy]", haproxy);
    draft.push("[haproxy.check]", check);
    if let Some(one) = found.database {
        draft.push("[database]", database::table(one, defaults, differences));
    }
    draft.push("[tls]", tls::table(hosts, defaults, differences));
    draft.push("[firewall]", firewall::table(hosts));
    draft.push("[packages]", found.packages(differences));
}

impl Found<'_> {
    /// What hosts with a component say, by their names.
    fn each<T>(&self, component: Component, of: impl Fn(&super::Seen) -> Option<T>) -> Vec<(&HostName, T)> {
        let members = self.hosts.members.iter().filter(|member| member.roles.contains(&component));
        members.filter_map(|member| Some((&member.name, of(&member.seen)?))).collect()
    }

    fn etcd(&self, differences: &mut Vec<Difference>) -> Table {
        let mut table = Table::default();
        let defaults = &self.defaults.etcd;
        let each = |of: &dyn Fn(&super::etcd::Etcd) -> Option<String>| {
            self.each(Component::Etcd, |seen| of(seen.etcd.as_ref()?))
        };
        let ports = [
            ("client_port", defaults.client_port, each(&|etcd| Some(etcd.client()?.1.to_string()))),
            ("peer_port", defaults.peer_port, each(&|etcd| Some(etcd.peer()?.1.to_string()))),
        ];
        for (key, default, values) in ports {
            let port = agreed(&format!("etcd's {key}"), values, differences).and_then(|port| port.parse().ok());
            table.differing(key, port, i64::from(default));
        }
        // `difference` tells who has another one
        let directory =
            agreed("etcd data directory", each(&|etcd| etcd.data_dir().map(str::to_owned)), &mut Vec::new());
        table.differing("data_dir", directory, defaults.data_dir.clone());
        let times = [
            ("heartbeat_interval", defaults.heartbeat_interval_ms, each(&|etcd| Some(etcd.heartbeat_ms().to_string()))),
            ("election_timeout", defaults.election_timeout_ms, each(&|etcd| Some(etcd.election_ms().to_string()))),
        ];
        for (key, default, values) in times {
            let millis = agreed(&format!("etcd's {key} (ms)"), values, differences).and_then(|text| text.parse().ok());
            table.differing(key, millis.map(period), period(default.into()));
        }
        table
    }

    fn postgresql(&self, differences: &mut Vec<Difference>) -> Table {
        let mut table = Table::default();
        let patroni =
            |of: &dyn Fn(&Patroni) -> Option<i64>| self.each(Component::Postgres, |seen| of(seen.patroni.as_ref()?));
        let versions = patroni(&|patroni| Some(patroni.server.as_ref()?.version.into()));
        if let Some(version) = agreed("PostgreSQL's version", versions, differences) {
            table.set("version", version);
        }
        let port = agreed("PostgreSQL's port", patroni(&|patroni| patroni.port().map(i64::from)), differences);
        table.differing("port", port, self.defaults.postgresql.port.into());
        let Some(leading) = self.hosts.leading() else { return table };
        let connection = if tls::is_enabled(self.hosts) { "hostssl" } else { "host" };
        let database = self.database.map(|one| (one.name.as_str(), one.owner.as_str()));
        let rules = hba::Writer { hosts: self.hosts, database, connection }.rules(&leading.hba);
        table.list("allow", &rules.allow);
        table.list("hba", &rules.hba);
        for (host, patroni) in self.hosts.patronis() {
            let tidy = |patroni: &Patroni| patroni.hba.iter().map(|line| hba::plain(line)).collect::<Vec<_>>();
            if tidy(patroni) != tidy(leading) {
                differences.push(Difference::of(
                    host,
                    "its pg_hba.conf is not that of the leader; here all members have the same",
                ));
            }
        }
        table
    }

    fn patroni(&self, differences: &mut Vec<Difference>) -> Table {
        let mut table = Table::default();
        let defaults = &self.defaults.patroni;
        let ports = self.each(Component::Postgres, |seen| seen.patroni.as_ref()?.rest_port().map(i64::from));
        let port = agreed("Patroni's port", ports, differences);
        table.differing("rest_port", port, defaults.rest_port.into());
        let Some(dynamic) = self.hosts.dynamic() else {
            let what = "what all members share could not be read: neither Patroni nor `patronictl show-config` told";
            differences.push(Difference::of_all(what));
            return table;
        };
        let shared = Shared(dynamic);
        // where nothing is said Patroni's own values are in force
        table.differing("ttl", Some(shared.number("ttl")), defaults.ttl.into());
        table.differing("loop_wait", Some(shared.number("loop_wait")), defaults.loop_wait.into());
        table.differing("retry_timeout", Some(shared.number("retry_timeout")), defaults.retry_timeout.into());
        let start = shared.number("primary_start_timeout");
        table.differing("primary_start_timeout", Some(start), defaults.primary_start_timeout.into());
        let lag = u64::try_from(shared.number("maximum_lag_on_failover")).unwrap_or_default();
        let size = |bytes: u64| Size(bytes).to_string();
        table.differing("maximum_lag_on_failover", Some(size(lag)), size(defaults.maximum_lag_on_failover));
        table.differing("failsafe_mode", Some(shared.is_on("failsafe_mode")), defaults.failsafe_mode);
        let synchronous = shared.synchronous();
        if synchronous != Synchronous::Off {
            table.set("synchronous", if synchronous == Synchronous::On { "on" } else { "quorum" });
            let count = shared.number("synchronous_node_count");
            table.differing("synchronous_node_count", Some(count), defaults.synchronous_node_count.into());
            table.differing(
                "synchronous_strict",
                Some(shared.is_on("synchronous_mode_strict")),
                defaults.synchronous_strict,
            );
        }
        table
    }

    /// `[haproxy]` and `[haproxy.check]`.
    fn haproxy(&self, differences: &mut Vec<Difference>) -> (Table, Table) {
        let mut table = Table::default();
        let mut check = Table::default();
        let each =
            |of: &dyn Fn(&Haproxy) -> Option<i64>| self.each(Component::Haproxy, |seen| of(seen.haproxy.as_ref()?));
        let defaults = &self.defaults.haproxy;
        let ports: [(&str, Port<'_>, u16); 3] = [
            ("primary_port", &|haproxy| haproxy.primary().map(|entrance| entrance.port.into()), defaults.primary_port),
            ("replica_port", &|haproxy| haproxy.replica().map(|entrance| entrance.port.into()), defaults.replica_port),
            ("stats_port", &|haproxy| haproxy.statistics().map(i64::from), defaults.stats_port),
        ];
        for (key, of, default) in ports {
            let port = agreed(&format!("HAProxy's {key}"), each(of), differences);
            table.differing(key, port, default.into());
        }
        let most = each(&|haproxy| haproxy.primary().or(haproxy.replica())?.maxconn().map(i64::from));
        table.differing("maxconn", agreed("HAProxy's maxconn", most, differences), defaults.maxconn.into());
        for (host, haproxy) in self.each(Component::Haproxy, |seen| seen.haproxy.clone()) {
            differences.extend(haproxy_differences(&haproxy).into_iter().map(|what| Difference::of(host, what)));
        }
        let first = self.each(Component::Haproxy, |seen| seen.haproxy.clone());
        if let Some((_, haproxy)) = first.first() {
            let lag = haproxy
                .replica()
                .and_then(|entrance| entrance.lag().and_then(bytes))
                .map(|bytes| Size(bytes).to_string());
            table.differing("replica_max_lag", lag, defaults.replica_max_lag.clone());
            write_check(haproxy, &defaults.check, &mut check);
        }
        (table, check)
    }

    fn packages(&self, differences: &mut Vec<Difference>) -> Table {
        let mut table = Table::default();
        let proxies =
            self.hosts.members.iter().filter_map(|member| Some((&member.name, member.seen.proxy.clone()?))).collect();
        if let Some(proxy) = agreed("proxy for packages", proxies, differences) {
            table.set("proxy", proxy);
        }
        if self.hosts.members.iter().any(|member| member.seen.repositories) {
            let what = "the hosts have package repositories of this program (xnat.sources), and the keys of those are files here: write their [[packages.repository]] again";
            differences.push(Difference::of_all(what));
        }
        table
    }
}

fn period(millis: u64) -> String {
    Period::millis(millis).to_string()
}

/// `16MB`, or bytes.
fn bytes(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| Size::parse(text).map(|size| size.0))
}

fn write_check(haproxy: &Haproxy, defaults: &inventory::Check, table: &mut Table) {
    let Some(Check { inter, fastinter, downinter, timeout, rise, fall }) =
        haproxy.primary().or(haproxy.replica()).map(|entrance| entrance.check())
    else {
        return;
    };
    let times = [
        ("inter", inter, defaults.inter_ms),
        ("fastinter", fastinter, defaults.fastinter_ms),
        ("downinter", downinter, defaults.downinter_ms),
        ("timeout", timeout, defaults.timeout_ms),
    ];
    for (key, value, default) in times {
        table.differing(key, Some(period(value)), period(default.into()));
    }
    for (key, value, default) in [("rise", rise, defaults.rise), ("fall", fall, defaults.fall)] {
        table.differing(key, i64::try_from(value).ok(), default.into());
    }
}

fn haproxy_differences(haproxy: &Haproxy) -> Vec<String> {
    let mut found = Vec::new();
    if !haproxy.running {
        found.push("its HAProxy does not run; what its files say was taken".to_owned());
    }
    match haproxy.replica() {
        None => found.push("its HAProxy has no port that leads to replicas; here it gets one".to_owned()),
        Some(entrance) if entrance.lag().and_then(bytes).is_none() => {
            found.push("its HAProxy sends readers to replicas however far behind they are; here there is a limit, replica_max_lag".to_owned());
        }
        Some(_) => {}
    }
    if haproxy.primary().is_none() {
        found.push("its HAProxy has no port that leads to the leader; here it gets one".to_owned());
    }
    if haproxy.statistics().is_none() {
        found.push("its HAProxy has no statistics page; here it gets one, with a password".to_owned());
    }
    let others = haproxy.other_ports();
    if !others.is_empty() {
        let ports: Vec<String> = others.iter().map(ToString::to_string).collect();
        found.push(format!("its HAProxy listens on other ports, too, which `apply` would close: {}", ports.join(", ")));
    }
    if let Some(unit) = haproxy.unit.as_deref().filter(|unit| *unit != "haproxy.service") {
        found.push(format!("its HAProxy runs as {unit}; here it is haproxy.service"));
    }
    found
}
