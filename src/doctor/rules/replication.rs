//! A replica that does not stream says why in its own log, every few seconds.

use std::collections::BTreeMap;

use super::super::Case;
use super::super::evidence::{Line, Seen};
use super::super::finding::Finding;
use super::{list, ours};
use crate::names::HostName;

/// What is said, and what it means.
struct Reason {
    /// Any of these; an ellipsis is whatever stands between.
    words: &'static [&'static str],
    id: &'static str,
    cause: &'static str,
    mend: Mend,
}

/// What helps.
#[derive(Clone, Copy)]
enum Mend {
    /// What it needs is gone: it has to be copied anew.
    CopyAnew,
    /// Its login or what it is let in by is not as we would have it.
    Apply,
    /// The leader's pg_hba.conf.
    Hba,
    /// Patroni makes the slot itself.
    Slot,
    Network,
    /// What stands in its data is of another cluster.
    Other,
}

const REASONS: &[Reason] = &[
    Reason {
        words: &[
            "has already been removed",
            "has been invalidated",
            "can no longer get changes",
            "can no longer access replication slot",
        ],
        id: "replication-wal-gone",
        cause: "it was away for longer than the leader keeps WAL: what it needs next is gone",
        mend: Mend::CopyAnew,
    },
    Reason {
        words: &["replication slot \"…\" does not exist"],
        id: "replication-slot-missing",
        cause: "its replication slot is not there on the leader",
        mend: Mend::Slot,
    },
    Reason {
        words: &["no pg_hba.conf entry", "pg_hba.conf rejects"],
        id: "replication-hba",
        cause: "the leader's pg_hba.conf does not let it in",
        mend: Mend::Hba,
    },
    Reason {
        words: &[
            "password authentication failed",
            "no password supplied",
            "role \"…\" does not exist",
            "is not permitted to log in",
            "must be superuser or replication role",
        ],
        id: "replication-login",
        cause: "the leader does not accept the role or the password it logs in with",
        mend: Mend::Apply,
    },
    Reason {
        words: &[
            "certificate verify failed",
            "does not match host name",
            "certificate has expired",
            "unknown ca",
            "SSL error",
            "root certificate file",
        ],
        id: "replication-tls",
        cause: "it does not believe the certificate that the leader's PostgreSQL shows, or the leader does not believe its",
        mend: Mend::Apply,
    },
    Reason {
        words: &[
            "is not in this server's history",
            "forked off current database system timeline",
            "is behind recovery timeline",
            "not a child of this server's history",
        ],
        id: "replication-timeline-fork",
        cause: "it has written what the leader never had: their timelines have parted, and Patroni has not rewound it",
        mend: Mend::CopyAnew,
    },
    Reason {
        words: &["database system identifier differs"],
        id: "replication-other-database",
        cause: "its data is of another database than the leader's",
        mend: Mend::Other,
    },
    Reason {
        words: &[
            "Connection refused",
            "Connection timed out",
            "No route to host",
            "timeout expired",
            "could not translate host name",
        ],
        id: "replication-unreachable",
        cause: "it does not reach the leader's PostgreSQL",
        mend: Mend::Network,
    },
];

/// Only with a leader who can tell: without one nobody can stream. Replicas that say the same have the same trouble.
pub fn broken(case: &Case<'_>) -> Vec<Finding> {
    let Some(leader) = case.view.leader().filter(|leader| leader.server.known().is_some()) else { return Vec::new() };
    let silent = case.view.members.iter().filter(|member| member.follows() && !case.view.streams(member));
    let mut by_reason: BTreeMap<&str, Vec<Broken<'_>>> = BTreeMap::new();
    for member in silent {
        if let Some((reason, line)) = case.seen.get(&member.host).and_then(said) {
            by_reason.entry(reason.id).or_default().push(Broken { host: &member.host, reason, line });
        }
    }
    by_reason.into_values().map(|alike| told(case, &leader.host, &alike)).collect()
}

struct Broken<'a> {
    host: &'a HostName,
    reason: &'static Reason,
    line: &'a Line,
}

fn told(case: &Case<'_>, leader: &HostName, alike: &[Broken<'_>]) -> Finding {
    let hosts: Vec<&HostName> = alike.iter().map(|one| one.host).collect();
    let reason = alike[0].reason;
    let what = match hosts.as_slice() {
        [host] => format!("replica {host} does not stream from {leader}"),
        _ => format!("the replicas {} do not stream from {leader}", list(hosts.iter().copied())),
    };
    let mut finding = Finding::warning(reason.id, what).on(hosts.iter().copied()).because(reason.cause);
    for one in alike {
        finding = finding.seen(one.host, &one.line.text);
    }
    mend(case, reason, finding, (leader, hosts.as_slice()))
}

/// The newest word counts: older ones may be of a trouble that is over.
fn said(seen: &Seen) -> Option<(&'static Reason, &Line)> {
    let complaint = |line: &&Line| {
        matches!(line.service.as_str(), "postgresql" | "patroni")
            && ["FATAL", "ERROR", "error", "DETAIL", "new timeline"].iter().any(|word| line.text.contains(word))
    };
    let meaning = |line| REASONS.iter().find(|reason| reason.means(line)).map(|reason| (reason, line));
    seen.log.iter().rev().filter(complaint).find_map(meaning)
}

impl Reason {
    fn means(&self, line: &Line) -> bool {
        self.words.iter().any(|words| holds(&line.text, words))
    }
}

/// These words, with anything where there is an ellipsis.
fn holds(text: &str, words: &str) -> bool {
    let mut rest = text;
    words.split('…').all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

fn mend(case: &Case<'_>, reason: &Reason, finding: Finding, (leader, hosts): (&HostName, &[&HostName])) -> Finding {
    let inventory = case.inventory;
    match reason.mend {
        Mend::CopyAnew => copied_anew(case, finding, hosts),
        Mend::Apply => finding.run(
            "make the roles, passwords and files as the inventory and the vault have them",
            ours("apply", inventory),
        ),
        Mend::Hba => finding
            .run_on(
                leader,
                "see which lines there are",
                &format!("grep -n replication /var/lib/postgresql/*/{}/pg_hba.conf", inventory.cluster),
            )
            .run("if Patroni's settings were changed, put them back", ours("apply", inventory))
            .run(
                "if only pg_hba.conf was edited by hand, Patroni writes it anew at a restart",
                ours(&format!("restart --limit {leader}"), inventory),
            ),
        Mend::Slot => finding
            .advise(format!(
                "Patroni makes it within {} s; if it does not, its log on {leader} says why",
                inventory.patroni.loop_wait
            ))
            .run_on(leader, "read that", "journalctl -u patroni -n 50"),
        Mend::Network => finding.run("see what lies between them", ours("check", inventory)).run_on(
            leader,
            "and what filters there are",
            "nft list ruleset",
        ),
        Mend::Other => copied_anew(case, finding.advise("see whose data it is before anything else"), hosts),
    }
}

fn copied_anew(case: &Case<'_>, finding: Finding, hosts: &[&HostName]) -> Finding {
    let reinit = |finding: Finding, host: &&HostName| {
        finding.run(
            format!("throw the data of {host} away and copy the leader's"),
            ours(&format!("reinit {host}"), case.inventory),
        )
    };
    hosts.iter().fold(finding, reinit)
}
