//! Which finding explains which other one, and which of the problems that `status` sees. The cause comes first, and what
//! follows from it is told with it rather than as a further cause.

use super::finding::Finding;
use super::{Case, Symptom};

/// Where a cause is felt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Felt {
    Everywhere,
    /// Everywhere, when it is on the leader's host, or when nobody leads.
    Led,
    /// By what is about the hosts of the finding.
    There,
}
use Felt::{Everywhere, Led, There};

/// Everything that needs a leader.
const LEADERLESS: &[&str] = &[
    "leader",
    "no-leader",
    "silent-patroni",
    "missing-members",
    "replicas",
    "replication-broken",
    "lag",
    "timelines",
    "synchronous",
    "haproxy",
    "haproxy-no-leader",
];
/// Everything that is said of a member of etcd.
const ETCD: &[&str] = &["etcd-members", "etcd-no-quorum", "etcd-quorum", "etcd-member-down", "unasked"];
/// Everything that is said of a PostgreSQL and its Patroni.
const MEMBER: &[&str] = &[
    "leader",
    "silent-patroni",
    "patroni-waits",
    "missing-members",
    "patroni-down",
    "postgresql-down",
    "postgresql-silent",
    "replicas",
    "replication-broken",
    "lag",
    "timelines",
    "haproxy",
    "haproxy-no-leader",
    "unasked",
];

/// What a drill does on purpose, for anybody who does not know that.
const INFLICTED: &[&str] =
    &["postgresql-frozen", "patroni-frozen", "ports-blocked", "rest-unreachable", "host-cut-off", "disk-full"];

/// A finding, where it is felt, and what it explains. What is below explains what is above it, never the reverse: only
/// findings of earlier rules explain those of later ones.
const EXPLAINS: &[(&str, Felt, &[&str])] = &[
    ("two-writers", Everywhere, &["several-leaders", "timelines", "replicas", "lag", "haproxy", "replication-broken"]),
    ("host-unreachable", There, &["unreachable", "etcd-members"]),
    ("host-unreachable", There, MEMBER),
    ("host-unreachable", Led, LEADERLESS),
    ("drill", There, ETCD),
    ("drill", There, MEMBER),
    ("drill", There, INFLICTED),
    ("drill", Led, LEADERLESS),
    ("etcd-frozen", There, ETCD),
    ("postgresql-frozen", There, MEMBER),
    ("postgresql-frozen", Led, LEADERLESS),
    ("patroni-frozen", There, MEMBER),
    ("patroni-frozen", Led, LEADERLESS),
    ("haproxy-frozen", There, &["haproxy", "haproxy-down"]),
    ("disk-full", There, ETCD),
    ("disk-full", There, MEMBER),
    ("disk-full", Led, LEADERLESS),
    ("host-cut-off", There, ETCD),
    ("host-cut-off", There, MEMBER),
    ("host-cut-off", Led, LEADERLESS),
    ("ports-blocked", There, ETCD),
    ("ports-blocked", There, MEMBER),
    ("rest-unreachable", There, &["haproxy", "haproxy-no-leader"]),
    ("certificate-foreign", There, ETCD),
    ("certificate-foreign", There, MEMBER),
    ("certificate-foreign", There, &["expiry"]),
    ("certificate-expired", There, ETCD),
    ("certificate-expired", There, MEMBER),
    ("certificate-expired", There, &["expiry"]),
    ("etcd-alarm", Everywhere, ETCD),
    ("etcd-alarm", Everywhere, LEADERLESS),
    ("etcd-wrong-address", There, ETCD),
    ("etcd-no-quorum", Everywhere, ETCD),
    ("etcd-no-quorum", Everywhere, LEADERLESS),
    ("etcd-no-quorum", Everywhere, MEMBER),
    ("etcd-member-down", There, ETCD),
    ("other-database", There, MEMBER),
    ("stale-initialize", Everywhere, LEADERLESS),
    ("stale-initialize", Everywhere, MEMBER),
    ("patroni-down", There, MEMBER),
    ("patroni-down", Led, LEADERLESS),
    ("postgresql-down", There, MEMBER),
    ("postgresql-down", Led, LEADERLESS),
    ("postgresql-silent", There, MEMBER),
    ("postgresql-silent", Led, LEADERLESS),
    ("no-leader", Everywhere, LEADERLESS),
    ("replication-broken", There, &["replicas", "lag", "timelines", "silent-patroni", "postgresql-down"]),
    ("replication-broken", Everywhere, &["synchronous", "haproxy"]),
    ("haproxy-down", There, &["haproxy"]),
    ("haproxy-no-leader", There, &["haproxy"]),
];

/// All kinds of broken replication are explained, and explain, alike.
fn kind(id: &str) -> &str {
    if id.starts_with("replication-") { "replication-broken" } else { id }
}

/// The causes, each with what follows from it; symptoms that nothing explains are findings without a cause.
pub fn order(case: &Case<'_>, mut findings: Vec<Finding>, symptoms: Vec<Symptom>) -> Vec<Finding> {
    let explained_by = |index: usize| {
        (0..index).find(|earlier| {
            let (cause, other) = (&findings[*earlier], &findings[index]);
            rows(case, cause, kind(other.id)).any(|felt| felt == Everywhere || shares_host(cause, other))
        })
    };
    let parents: Vec<Option<usize>> = (0..findings.len()).map(explained_by).collect();
    let mut consequences: Vec<Vec<String>> = vec![Vec::new(); findings.len()];
    let mut accounted = vec![false; findings.len()];
    let mut unexplained = Vec::new();
    for symptom in symptoms {
        match findings.iter().rposition(|finding| accounts_for(case, finding, &symptom)) {
            Some(index) => {
                let cause = root(&parents, index);
                accounted[index] = true;
                // It is as bad as what it leads to.
                findings[cause].severity = findings[cause].severity.min(symptom.problem.severity);
                consequences[cause].push(symptom.problem.text);
            }
            None => unexplained.push(bare(symptom)),
        }
    }
    // One that follows from another is told in the words of `status`, if it has some.
    for index in (0..findings.len()).filter(|index| parents[*index].is_some() && !accounted[*index]) {
        consequences[root(&parents, index)].push(findings[index].what.clone());
    }
    let whole =
        findings.into_iter().zip(consequences).map(|(finding, consequences)| Finding { consequences, ..finding });
    let causes = whole.zip(parents).filter(|(_, parent)| parent.is_none()).map(|(finding, _)| finding);
    causes.chain(unexplained).collect()
}

fn root(parents: &[Option<usize>], index: usize) -> usize {
    parents[index].map_or(index, |parent| root(parents, parent))
}

fn shares_host(cause: &Finding, other: &Finding) -> bool {
    cause.hosts.iter().any(|host| other.hosts.contains(host))
}

/// A problem names the hosts it is about in its text.
fn accounts_for(case: &Case<'_>, cause: &Finding, symptom: &Symptom) -> bool {
    let text = &symptom.problem.text;
    let mut words = text.split(|c: char| !(c.is_alphanumeric() || "-.".contains(c))).map(|word| word.trim_matches('.'));
    let named = words.any(|word| cause.hosts.iter().any(|host| host.as_str() == word));
    rows(case, cause, symptom.rule).any(|felt| felt == Everywhere || named)
}

/// Where a finding is felt of what it explains.
fn rows<'a>(case: &'a Case<'_>, cause: &'a Finding, what: &'a str) -> impl Iterator<Item = Felt> + 'a {
    let rows = EXPLAINS.iter().filter(move |(id, _, explained)| *id == kind(cause.id) && explained.contains(&what));
    rows.filter_map(|(_, felt, _)| match felt {
        Led if case.view.leader().is_none_or(|leader| cause.hosts.contains(&leader.host)) => Some(Everywhere),
        Led => None,
        other => Some(*other),
    })
}

/// What `status` says, when nothing more was found.
fn bare(symptom: Symptom) -> Finding {
    let problem = symptom.problem;
    Finding::new(symptom.rule, problem.severity, problem.text).advise(problem.help)
}
