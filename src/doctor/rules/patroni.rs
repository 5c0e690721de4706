//! Patroni and the PostgreSQL it looks after.

use super::super::Case;
use super::super::finding::Finding;
use super::ours;
use crate::cluster::http::authority;
use crate::cluster::initialize::{self, Initialize};
use crate::cluster::{Answer, Member};
use crate::names::HostName;

/// What Patroni says of itself every round, while all is well.
const ROUND: [&str; 2] = ["no action. I am", "Lock owner:"];

/// Data of another cluster: Patroni refuses to start it, and says so in its log only.
pub fn other_database(case: &Case<'_>) -> Vec<Finding> {
    let Some(Initialize::Done { system }) = case.view.initialized.known() else { return Vec::new() };
    let controls = case.seen.iter().filter_map(|(host, seen)| Some((host, seen.control.as_ref()?)));
    let others = controls.filter(|(_, control)| !control.system.is_empty() && control.system != *system);
    others
        .map(|(host, control)| {
            let directory = format!("/var/lib/postgresql/*/{}", case.inventory.cluster);
            Finding::critical("other-database", format!("{host} has the data of another database"))
                .on([host])
                .because("its data was made by another initdb than the cluster's; Patroni does not start it")
                .seen(host, format!("system identifier {}; the cluster's (etcd) is {system}", control.system))
                .advise("see whose it is before anything else")
                .run_on(
                    host,
                    "if nobody needs it, put it aside",
                    &format!("systemctl stop patroni; for d in {directory}; do mv $d $d.other; done"),
                )
                .run("and have the cluster's copied", ours("apply", case.inventory))
        })
        .collect()
}

/// Claimed by a member that was cut off while it made the cluster: the others wait for it for ever.
pub fn stale_initialize(case: &Case<'_>) -> Vec<Finding> {
    let Some(revision) = initialize::stale(case.view) else { return Vec::new() };
    if case.seen.values().any(|seen| seen.control.is_some()) {
        return Vec::new();
    }
    vec![
        Finding::critical("stale-initialize", "every member waits for another one to create the cluster, and none does")
            .on(case.view.members.iter().map(|member| &member.host))
            .because("the member that had begun lost its power or was stopped; its claim on the key `initialize` is still in etcd")
            .seen(&case.view.members[0].host, format!("/service/{}/initialize is empty (revision {revision}); no host has data", case.inventory.cluster))
            .run("take the claim back and go on", ours("apply", case.inventory)),
    ]
}

pub fn down(case: &Case<'_>) -> Vec<Finding> {
    let down = case.view.members.iter().filter(|member| matches!(member.patroni, Answer::Down(_)));
    down.filter(|member| !case.is_frozen(&member.host, "patroni")).map(|member| silent(case, member)).collect()
}

fn silent(case: &Case<'_>, member: &Member) -> Finding {
    let host = &member.host;
    let what = format!("Patroni on {host} does not answer");
    let finding =
        if case.leads(host) { Finding::critical("patroni-down", what) } else { Finding::warning("patroni-down", what) };
    let finding = finding.on([host]);
    let Some(active) = case.unit(host, "patroni") else { return finding.seen_if(host, member.patroni.reason()) };
    let finding = finding.seen(host, format!("patroni.service is {active}"));
    match active {
        "inactive" => finding.because("it was stopped").run_on(host, "start it", "systemctl start patroni"),
        _ => finding
            .because("its service does not stay up or its REST API hangs; its log says why")
            .seen_if(
                host,
                case.seen
                    .get(host)
                    .and_then(|seen| seen.said("patroni", &["ERROR", "CRITICAL", "Exception", "Error"]))
                    .map(|line| &line.text),
            )
            .run_on(host, "read the rest", "journalctl -u patroni -n 50"),
    }
}

/// Patroni runs and its PostgreSQL does not.
pub fn postgresql(case: &Case<'_>) -> Vec<Finding> {
    let paused = case.view.paused.known() == Some(&true);
    let mut found = Vec::new();
    for member in &case.view.members {
        let (Some(about), Answer::Down(reason)) = (member.patroni.known(), &member.server) else { continue };
        let host = &member.host;
        if case.is_frozen(host, "postgres") {
            continue;
        }
        let runs = matches!(about.state.as_str(), "running" | "streaming" | "in archive recovery");
        let finding = if runs {
            Finding::critical(
                "postgresql-silent",
                format!("PostgreSQL on {host} does not answer, and Patroni takes it for running"),
            )
            .because("probably its disk hangs or the machine is overloaded: no process is stopped by a signal")
            .seen(host, reason)
            .run_on(host, "see what its processes wait for", "ps -o pid,stat,wchan:20,cmd -u postgres")
        } else {
            let finding = Finding::warning("postgresql-down", format!("PostgreSQL on {host} does not run"));
            let finding =
                finding.seen(host, format!("Patroni says: {}", about.state)).seen_if(host, last_words(case, host));
            match paused {
                true => finding
                    .because("in maintenance mode Patroni does not start it")
                    .run("when the work is done", ours("resume", case.inventory)),
                false if about.state == "starting" => finding
                    .because("it is starting: it reads the WAL since its last checkpoint")
                    .run("look again", ours("doctor", case.inventory)),
                false => finding.because("Patroni starts it and it does not stay up; its log says why").run_on(
                    host,
                    "read the rest",
                    &format!("tail -n 50 /var/log/postgresql/postgresql-{}.log", case.inventory.cluster),
                ),
            }
        };
        found.push(finding.on([host]));
    }
    found
}

fn last_words(case: &Case<'_>, host: &HostName) -> Option<String> {
    let log = case.seen.get(host)?.log.iter().rev();
    let mut last = log.filter(|line| line.service == "postgresql").filter(|line| {
        let severe = ["PANIC:", "FATAL:"].iter().any(|word| line.text.contains(word));
        // said to whoever knocks meanwhile
        severe
            && !["the database system is", "due to administrator command"].iter().any(|word| line.text.contains(word))
    });
    last.next().map(|line| line.text.clone())
}

/// What a member tells the others of where it is comes from its file, and may be of another machine.
pub fn addresses(case: &Case<'_>) -> Vec<Finding> {
    let wrong = case.view.members.iter().filter_map(|member| {
        let (host, listed) = (case.host(&member.host)?, member.listed.as_ref()?);
        let told = listed.api_url.as_deref()?.split("://").nth(1)?.split('/').next()?;
        let right = authority(&host.address, case.inventory.patroni.rest_port);
        (told != right).then(|| (&member.host, told.to_owned(), right))
    });
    wrong
        .map(|(host, told, right)| {
            Finding::warning("patroni-wrong-address", format!("Patroni on {host} tells the others to find it at {told}"))
                .on([host])
                .because(format!("its file says so, and the inventory has {right}: the others cannot ask it before one is promoted, and cannot have it rewound"))
                .seen(host, format!("api_url in etcd: {told}"))
                .run_on(host, "see where it stands", "grep -n connect_address /etc/patroni/xnat/20-member.yml")
                .run("put it right", ours("apply", case.inventory))
        })
        .collect()
}

/// Only where nothing below is the reason: `precedence` takes it away otherwise.
pub fn no_leader(case: &Case<'_>) -> Vec<Finding> {
    if !case.view.members_known()
        || case.view.leader().is_some()
        || case.view.initialized.known().is_some_and(|key| !key.is_done())
    {
        return Vec::new();
    }
    let hosts = case.view.members.iter().map(|member| &member.host);
    let finding = Finding::critical("no-leader", "there is no leader: nobody can write").on(hosts);
    let tags = |member: &&Member| {
        member.listed.as_ref().is_some_and(|listed| listed.tags.get("nofailover").is_some_and(|tag| tag == true))
    };
    let mut finding = if case.view.paused.known() == Some(&true) {
        finding
            .because("the cluster is in maintenance mode, so nobody takes over")
            .run("have a replica take over", format!("{} --to REPLICA", ours("failover", case.inventory)))
            .run("or end maintenance mode", ours("resume", case.inventory))
    } else if !case.view.members.is_empty()
        && case.view.members.iter().filter(|m| m.server.known().is_some()).all(|m| tags(&m))
    {
        finding.because("every member that runs has the tag nofailover, so none may take over")
    } else {
        finding
            .because(format!("probably one is just being chosen: that takes up to {} s", case.inventory.patroni.ttl))
            .run("look again", ours("doctor", case.inventory))
            .run(
                "if it stays so, and the lines above say that all are too far behind",
                format!("{} --to REPLICA", ours("failover", case.inventory)),
            )
    };
    for (host, seen) in case.seen {
        let line = seen
            .log
            .iter()
            .rev()
            .find(|line| line.service == "patroni" && !ROUND.iter().any(|word| line.text.contains(word)));
        finding = finding.seen_if(host, line.map(|line| &line.text));
    }
    vec![finding]
}
