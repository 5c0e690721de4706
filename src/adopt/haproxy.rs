//! What a HAProxy leads to, of the lines of its configuration: which port to the leader, which to the replicas, and how it
//! checks them. Only what this program has a word for is kept.

use std::collections::BTreeMap;

use super::address;
use crate::facts::Answers;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Haproxy {
    pub unit: Option<String>,
    pub running: bool,
    sections: Vec<Section>,
}

/// `listen`, `frontend`, `backend`; what `defaults` says is in each that follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Section {
    kind: String,
    name: String,
    ports: Vec<u16>,
    backend: Option<String>,
    /// What a health check asks for.
    uri: Option<String>,
    /// Address and port of each server, in their order.
    servers: Vec<(String, u16)>,
    /// Of servers: `inter`, `rise`, …
    options: BTreeMap<String, String>,
    check_timeout: Option<String>,
    maxconn: Option<u32>,
    is_statistics: bool,
}

/// Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    pub inter: u64,
    pub fastinter: u64,
    pub downinter: u64,
    pub timeout: u64,
    pub rise: u64,
    pub fall: u64,
}

/// A way in.
#[derive(Clone, Copy)]
pub struct Entrance<'a> {
    pub port: u16,
    front: &'a Section,
    back: &'a Section,
}

impl Haproxy {
    /// None where there is no HAProxy.
    pub fn read(answers: &Answers<'_>) -> Option<Self> {
        let lines = answers.all("haproxy_line");
        let unit = answers.one("haproxy_unit").map(str::to_owned);
        let running = answers.one("haproxy_stopped").is_none();
        (unit.is_some() || !lines.is_empty()).then(|| Self { unit, running, sections: sections(lines) })
    }

    fn entrances(&self) -> impl Iterator<Item = Entrance<'_>> {
        let fronts = self.sections.iter().filter(|section| matches!(section.kind.as_str(), "listen" | "frontend"));
        fronts.filter_map(|front| {
            let named = |name: &String| self.sections.iter().find(|one| one.kind == "backend" && one.name == *name);
            let back = if front.kind == "listen" { Some(front) } else { front.backend.as_ref().and_then(named) };
            Some(Entrance { port: *front.ports.first()?, front, back: back? })
        })
    }

    /// To the leader. Patroni's `/` says the same as `/primary`.
    pub fn primary(&self) -> Option<Entrance<'_>> {
        self.entrances().find(|one| one.asks_for(&["/", "/primary", "/master", "/leader", "/read-write"]))
    }
    pub fn replica(&self) -> Option<Entrance<'_>> {
        self.entrances()
            .find(|one| one.asks_for(&["/replica", "/read-only", "/async", "/asynchronous", "/sync", "/synchronous"]))
    }
    pub fn statistics(&self) -> Option<u16> {
        self.sections.iter().find(|one| one.is_statistics).and_then(|one| one.ports.first().copied())
    }
    /// Other ports it listens on.
    pub fn other_ports(&self) -> Vec<u16> {
        let known = [self.primary().map(|it| it.port), self.replica().map(|it| it.port), self.statistics()];
        let all = self.sections.iter().flat_map(|section| section.ports.iter().copied());
        all.filter(|port| !known.contains(&Some(*port))).collect()
    }
}

impl Entrance<'_> {
    fn path(&self) -> Option<&str> {
        self.back.uri.as_deref().and_then(|uri| uri.split('?').next())
    }
    fn asks_for(&self, paths: &[&str]) -> bool {
        !self.back.servers.is_empty() && self.path().is_some_and(|path| paths.contains(&path))
    }
    /// Whom it leads to, in their order.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.back.servers.iter().map(|(host, _)| host.as_str())
    }
    /// `16MB` of `/replica?lag=16MB`.
    pub fn lag(&self) -> Option<&str> {
        let (_, query) = self.back.uri.as_deref()?.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix("lag="))
    }
    pub fn maxconn(&self) -> Option<u32> {
        self.front.maxconn
    }
    /// With HAProxy's own values where nothing is said.
    pub fn check(&self) -> Check {
        let period = |name: &str| self.back.options.get(name).and_then(|text| millis(text));
        let number = |name: &str| self.back.options.get(name).and_then(|text| text.parse().ok());
        let inter = period("inter").unwrap_or(2000);
        Check {
            inter,
            fastinter: period("fastinter").unwrap_or(inter),
            downinter: period("downinter").unwrap_or(inter),
            timeout: self.back.check_timeout.as_deref().and_then(millis).unwrap_or(inter),
            rise: number("rise").unwrap_or(2),
            fall: number("fall").unwrap_or(3),
        }
    }
}

fn sections(lines: &[&str]) -> Vec<Section> {
    let mut all: Vec<Section> = Vec::new();
    let mut defaults = Section::default();
    for line in lines {
        let line = line.split(" #").next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["defaults", ..] => all.push(Section { kind: "defaults".into(), ..Section::default() }),
            [kind @ ("listen" | "frontend" | "backend"), name, rest @ ..] => {
                if let Some(last) = all.iter().rev().find(|one| one.kind == "defaults") {
                    defaults = last.clone();
                }
                let mut section = Section { kind: (*kind).to_owned(), name: (*name).to_owned(), ..defaults.clone() };
                section.ports.extend(rest.first().and_then(|bind| address::port(bind)));
                all.push(section);
            }
            ["global" | "peers" | "resolvers" | "cache" | "userlist" | "program", ..] => {
                all.push(Section::default());
            }
            words => all.last_mut().into_iter().for_each(|section| section.take(words)),
        }
    }
    all.retain(|section| matches!(section.kind.as_str(), "listen" | "frontend" | "backend"));
    all
}

impl Section {
    fn take(&mut self, words: &[&str]) {
        match words {
            ["bind", place, ..] => {
                self.ports.extend(place.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()))
            }
            ["default_backend", name] => self.backend = Some((*name).to_owned()),
            ["maxconn", number] => self.maxconn = number.parse().ok(),
            ["timeout", "check", time] => self.check_timeout = Some((*time).to_owned()),
            ["stats", "enable" | "uri", ..] => self.is_statistics = true,
            // without more it asks for `/`, or for what `http-check send` says
            ["option", "httpchk", rest @ ..] => {
                let uri = rest.iter().find(|word| word.starts_with('/')).or_else(|| rest.get(1));
                self.uri = uri.map(|uri| (*uri).to_owned()).or(self.uri.take()).or(Some("/".to_owned()));
            }
            ["http-check", "send", rest @ ..] => {
                let uri = rest.iter().skip_while(|word| **word != "uri").nth(1);
                self.uri = uri.map(|uri| uri.trim_matches(['"', '\'']).to_owned()).or(self.uri.take());
            }
            ["default-server", options @ ..] => self.options(options),
            ["server", _, place, options @ ..] => {
                self.servers.extend(address::of(place));
                self.options(options);
            }
            _ => {}
        }
    }

    fn options(&mut self, words: &[&str]) {
        let known = ["inter", "fastinter", "downinter", "rise", "fall"];
        let pairs = words.windows(2).filter(|pair| known.contains(&pair[0]));
        self.options.extend(pairs.map(|pair| (pair[0].to_owned(), pair[1].to_owned())));
    }
}

/// `3s`, `500ms`, `1m`; without a unit milliseconds.
fn millis(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return None,
    };
    Some(digits.parse::<u64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Haproxy {
        let lines: String = text.lines().map(|line| format!("haproxy_line={line}\n")).collect();
        Haproxy::read(&Answers::of(&lines)).expect("a HAProxy")
    }

    /// As in Patroni's own documentation.
    #[test]
    fn one_section_for_each_way_in() {
        let haproxy = read(
            "global\n    maxconn 100\ndefaults\n    mode tcp\n    timeout check 5s\nlisten stats\n    mode http\n    bind *:7000\n\
             \x20   stats enable\n    stats uri /\nlisten primary\n    bind *:5000\n    option httpchk\n    http-check expect status 200\n\
             \x20   default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions\n\
             \x20   server pg1 10.0.0.1:5432 maxconn 100 check port 8008\n    server pg2 10.0.0.2:5432 maxconn 100 check port 8008\n\
             listen replicas\n    bind *:5001\n    option httpchk OPTIONS /replica?lag=1MB\n    server pg1 10.0.0.1:5432 check port 8008\n",
        );
        let (primary, replica) = (haproxy.primary().expect("primary"), haproxy.replica().expect("replica"));
        assert_eq!((primary.port, replica.port, haproxy.statistics()), (5000, 5001, Some(7000)));
        assert_eq!(primary.servers().collect::<Vec<_>>(), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!((primary.lag(), replica.lag()), (None, Some("1MB")));
        let check = Check { inter: 3000, fastinter: 3000, downinter: 3000, timeout: 5000, rise: 2, fall: 3 };
        assert_eq!(primary.check(), check);
        assert!(haproxy.other_ports().is_empty());
    }

    #[test]
    fn front_and_back_apart() {
        let haproxy = read(
            "defaults\n option httpchk\n default-server port 8008 inter 1000ms rise 1\nfrontend all\n bind :::5432\n maxconn 500\n\
             \x20default_backend leader\nfrontend web\n bind *:80\n default_backend web\nbackend leader\n\
             \x20http-check send meth OPTIONS uri '/primary'\n server a db1:6432 check\nbackend web\n option httpchk GET /health\n server w 10.0.0.9:80\n",
        );
        let primary = haproxy.primary().expect("primary");
        assert_eq!((primary.port, primary.maxconn(), primary.check().inter), (5432, Some(500), 1000));
        assert!(haproxy.replica().is_none());
        assert_eq!(haproxy.other_ports(), [80]);
    }

    #[test]
    fn times_have_units() {
        assert_eq!(
            (millis("3s"), millis("500"), millis("1m"), millis("2h")),
            (Some(3000), Some(500), Some(60_000), None)
        );
    }
}
