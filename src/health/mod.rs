//! Is everything well, also what `status` does not look at? Checks with fixed names (`catalogue`), each made of what `status`
//! says of it and of what was measured (`Measured`), so that `health` never says less than `status`. Pure: a case goes in, a
//! report comes out, and `text`, `nagios` and `prometheus` write it down. What could not be looked at is unknown, never ok.

mod backup;
pub mod catalogue;
mod certificates;
mod disks;
mod etcd;
mod figures;
mod finding;
pub mod forecast;
mod haproxy;
pub mod host;
mod hosts;
mod measured;
mod nagios;
mod patroni;
mod postgres;
mod prometheus;
mod replication;
mod text;

use serde::Serialize;

pub use finding::{Finding, State};
pub use measured::{Drill, Measured};
pub use nagios::{nagios, nagios_unknown};
pub use prometheus::{MetricsError, prometheus};
pub use text::render;

use crate::cluster::assess::symptoms;
use crate::cluster::postgres::vitals::Vitals;
use crate::cluster::{Answer, ClusterView, Problem, assess};
use crate::inventory::{Component, Inventory};
use crate::names::HostName;
use crate::quote;
use figures::Figure;

/// Everything that is known when the question is asked.
pub struct Case<'a> {
    pub inventory: &'a Inventory,
    pub view: &'a ClusterView,
    pub measured: &'a Measured,
}

/// Something that is looked at under a name that stays.
pub struct Check {
    pub id: &'static str,
    pub title: &'static str,
    /// The rules of `status` that are about it.
    pub rules: &'static [&'static str],
    look: fn(&Case<'_>) -> Vec<Finding>,
}

/// What became of a check.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    pub id: &'static str,
    pub title: &'static str,
    pub state: State,
    /// The worst first.
    pub findings: Vec<Finding>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub cluster: String,
    pub state: State,
    /// One line.
    pub verdict: String,
    /// Nothing could be asked at all.
    pub blind: bool,
    pub checks: Vec<Checked>,
    pub figures: Vec<Figure>,
}

/// Make every check.
#[must_use]
pub fn judge(case: &Case<'_>) -> Report {
    let symptoms = symptoms(case.view, case.inventory);
    let checks: Vec<Checked> = catalogue::all().map(|check| check.made(case, &symptoms)).collect();
    let blind = case.view.is_blind();
    let worst = checks.iter().map(|check| check.state).min().unwrap_or(State::Unknown);
    let state = if blind { State::Unknown } else { worst };
    Report {
        cluster: case.view.cluster.clone(),
        state,
        verdict: verdict(case, state, &checks),
        blind,
        checks,
        figures: figures::all(case),
    }
}

/// Something that is not ok, and by which checks it was found.
struct Told<'a> {
    ids: Vec<&'static str>,
    finding: &'a Finding,
}

impl Report {
    /// The worst first. One that does not answer leaves many checks open, which are told together.
    fn told(&self) -> Vec<Told<'_>> {
        let mut told: Vec<Told<'_>> = Vec::new();
        for check in &self.checks {
            for finding in check.findings.iter().filter(|finding| finding.state != State::Ok) {
                let same = |other: &&mut Told<'_>| {
                    (finding.state, &finding.evidence) == (other.finding.state, &other.finding.evidence)
                };
                match told.iter_mut().find(same) {
                    Some(other) if other.ids.contains(&check.id) => {}
                    Some(other) => other.ids.push(check.id),
                    None => told.push(Told { ids: vec![check.id], finding }),
                }
            }
        }
        told.sort_by_key(|told| told.finding.state);
        told
    }
}

impl Check {
    fn made(&self, case: &Case<'_>, symptoms: &[(&'static str, Problem)]) -> Checked {
        let ours = symptoms.iter().filter(|(rule, _)| self.rules.contains(rule));
        let mut findings: Vec<Finding> = ours.map(|(_, problem)| told(case.inventory, problem)).collect();
        let complaints = !findings.is_empty();
        let own = (self.look)(case).into_iter();
        // that the whole is well is not to be said beside a complaint
        findings.extend(own.filter(|finding| !(complaints && finding.state == State::Ok && finding.host.is_none())));
        if findings.is_empty() {
            findings.push(Finding::ok("does not apply"));
        }
        findings.sort_by_key(|finding| finding.state);
        let state = findings[0].state;
        Checked { id: self.id, title: self.title, state, findings }
    }
}

/// What `status` says, in its own words; they name the host it is about, if it is one.
fn told(inventory: &Inventory, problem: &Problem) -> Finding {
    let words = problem.text.split(|c: char| !(c.is_alphanumeric() || "-.".contains(c)));
    let mut named: Vec<&HostName> =
        words.filter_map(|word| Some(&inventory.known(&HostName::new(word.trim_matches('.')))?.name)).collect();
    named.dedup();
    let finding = Finding::new(problem.severity.into(), problem.text.as_str()).fix(problem.help.as_str());
    if let [host] = named.as_slice() { finding.on(host) } else { finding }
}

fn verdict(case: &Case<'_>, state: State, checks: &[Checked]) -> String {
    let counted =
        [(State::Critical, ""), (State::Warning, "s"), (State::Unknown, ""), (State::Notice, "s"), (State::Ok, "")];
    let counted = counted.map(|(state, plural)| {
        let count = checks.iter().filter(|check| check.state == state).count();
        (count > 0).then(|| format!("{count} {}{}", state.word(), if count > 1 { plural } else { "" }))
    });
    let counted: Vec<String> = counted.into_iter().flatten().collect();
    let word = match state {
        _ if case.view.is_blind() => return "unknown: nothing could be asked".to_owned(),
        State::Ok | State::Notice => "healthy",
        State::Critical => "NOT HEALTHY",
        State::Warning => "degraded",
        State::Unknown => "unknown in part",
    };
    format!("{word} ({}): {}", counted.join(", "), assess::standing(case.view))
}

impl Case<'_> {
    /// A finding for each PostgreSQL host, unknown where it would not tell.
    fn each_member(&self, judge: impl Fn(&HostName, &Vitals) -> Vec<Finding>) -> Vec<Finding> {
        let hosts = self.inventory.with(Component::Postgres).map(|host| &host.name);
        let answered = hosts.map(|host| (host, self.measured.vitals.get(host)));
        answered.flat_map(|(host, answer)| answered_by(host, answer, |vitals| judge(host, vitals))).collect()
    }

    /// The same for every host.
    fn each_host(&self, judge: impl Fn(&HostName, &host::Look) -> Vec<Finding>) -> Vec<Finding> {
        let hosts = self.inventory.hosts.iter().map(|host| &host.name);
        let answered = hosts.map(|host| (host, self.measured.hosts.get(host)));
        answered.flat_map(|(host, answer)| answered_by(host, answer, |look| judge(host, look))).collect()
    }

    /// What the leader's PostgreSQL says; otherwise why nobody knows.
    fn leader(&self) -> Result<(&HostName, &Vitals), Finding> {
        let Some(leader) = self.view.leader() else { return Err(Finding::unknown("there is no leader to ask")) };
        match self.measured.vitals.get(&leader.host) {
            Some(Answer::Known(vitals)) => Ok((&leader.host, vitals)),
            Some(Answer::Down(why) | Answer::Unknown(why)) => Err(Finding::unknown(why).on(&leader.host)),
            None => Err(Finding::unknown(format!("{} was not asked", leader.host)).on(&leader.host)),
        }
    }

    /// `xnat-provision VERB xnat.toml`
    fn ours(&self, verb: &str) -> String {
        format!("`xnat-provision {verb} {}`", quote::path(&self.inventory.path))
    }
}

fn answered_by<T>(host: &HostName, answer: Option<&Answer<T>>, judge: impl FnOnce(&T) -> Vec<Finding>) -> Vec<Finding> {
    match answer {
        Some(Answer::Known(value)) => judge(value),
        Some(Answer::Down(why) | Answer::Unknown(why)) => vec![Finding::unknown(why).on(host)],
        None => vec![Finding::unknown(format!("{host} was not asked")).on(host)],
    }
}

/// A command on a host, to be copied.
fn on(host: &HostName, command: &str) -> String {
    format!("`{}`", quote::ssh(host, command))
}

/// What a member's PostgreSQL has logged of something, to be copied.
fn logged(case: &Case<'_>, host: &HostName, word: &str) -> String {
    on(host, &format!("grep -i {word} /var/log/postgresql/postgresql-{}.log", case.inventory.cluster))
}

/// A statement for the superuser on a host, to be copied there: within a further pair of quotes nobody could read it.
fn sql(host: &HostName, statement: &str) -> String {
    format!("on {host}: `sudo -u postgres psql -c {}`", quote::sh(statement))
}
