//! Rules of pg_hba.conf: which of them this program would write itself, which let the application in from a network, and
//! which are somebody's own and have to be kept.

use ipnet::IpNet;

use super::hosts::Hosts;
use crate::inventory::{Component, DRILL_DATABASE};

/// What `[postgresql]` says of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub hba: Vec<String>,
    pub allow: Vec<String>,
}

/// The first of the lines that are generated.
const FIRST: &str = "local all postgres peer";

pub(super) struct Writer<'a> {
    pub hosts: &'a Hosts,
    /// Name and owner of the application's database.
    pub database: Option<(&'a str, &'a str)>,
    /// `hostssl`, or `host` without TLS.
    pub connection: &'a str,
}

impl Writer<'_> {
    pub fn rules(&self, lines: &[String]) -> Rules {
        let tidy: Vec<String> = lines.iter().map(|line| plain(line)).collect();
        let mut rules = Rules::default();
        // in a file of ours whatever stands before the generated lines was given verbatim
        let begin = tidy.iter().position(|line| line == FIRST).filter(|_| self.hosts.is_ours()).unwrap_or(0);
        rules.hba.extend(lines[..begin].iter().cloned());
        for (line, tidy) in lines.iter().zip(&tidy).skip(begin).filter(|(_, tidy)| !self.is_generated(tidy)) {
            match self.network(tidy) {
                Some(network) => rules.allow.push(network),
                None => rules.hba.push(line.clone()),
            }
        }
        rules
    }

    /// As `templates/patroni/30-settings.yml.j2` has them.
    fn is_generated(&self, line: &str) -> bool {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["local", "all", "postgres", "peer"] => true,
            ["local", database, owner, "scram-sha-256"] => self.is_application(database, owner),
            [connection, database, user, network, "scram-sha-256"] if *connection == self.connection => {
                let member = self.is_of(network, Component::Postgres);
                match (*database, *user) {
                    ("replication", "replicator" | "replicator_next") => member || is_loopback(network),
                    ("postgres", "rewind" | "rewind_next") => member,
                    (DRILL_DATABASE, user) if self.database.is_some_and(|(_, owner)| user == owner) => {
                        self.is_of(network, Component::Haproxy)
                    }
                    (database, user) if self.is_application(database, user) => {
                        is_loopback(network) || self.is_of(network, Component::Haproxy)
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }

    /// From where the application is let in as the inventory's `allow` would.
    fn network(&self, line: &str) -> Option<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let [connection, database, user, network, "scram-sha-256"] = words.as_slice() else { return None };
        let good = *connection == self.connection && self.is_application(database, user);
        (good && network.parse::<IpNet>().is_ok()).then(|| (*network).to_owned())
    }

    fn is_application(&self, database: &str, owner: &str) -> bool {
        self.database == Some((database, owner))
    }

    fn is_of(&self, network: &str, component: Component) -> bool {
        let address = network.trim_end_matches("/32");
        self.hosts.members.iter().any(|member| member.roles.contains(&component) && member.address == address)
    }
}

fn is_loopback(network: &str) -> bool {
    matches!(network, "127.0.0.1/32" | "::1/128")
}

/// With single blanks, and names without quotes.
pub(super) fn plain(line: &str) -> String {
    line.split_whitespace().map(|word| word.trim_matches('"')).collect::<Vec<_>>().join(" ")
}
