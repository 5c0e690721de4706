//! HAProxy: does it run, and why does it not find the leader?

use super::super::Case;
use super::super::finding::Finding;
use super::ours;
use crate::cluster::haproxy::{PRIMARY, Server};
use crate::cluster::http::authority;
use crate::cluster::{Answer, Member};
use crate::names::HostName;

pub fn down(case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for seen in &case.view.haproxy {
        let (host, Answer::Down(reason)) = (&seen.host, &seen.answer) else { continue };
        let finding = Finding::critical("haproxy-down", format!("HAProxy on {host} does not answer")).on([host]);
        let active = case.unit(host, "haproxy");
        let finding =
            finding.seen(host, active.map_or(reason.clone(), |active| format!("haproxy.service is {active}")));
        let said =
            case.seen.get(host).and_then(|seen| seen.said("haproxy", &["ALERT", "ERROR", "cannot bind", "error"]));
        found.push(match active {
            Some("inactive") => finding.because("it was stopped").run_on(host, "start it", "systemctl start haproxy"),
            _ => finding
                .because("it does not stay up; its log says why")
                .seen_if(host, said.map(|line| &line.text))
                .run_on(host, "is its file all right?", "haproxy -c -f /etc/haproxy")
                .run("put the inventory's in its place", ours("apply", case.inventory)),
        });
    }
    found
}

/// A leader that works, and a HAProxy that does not see it.
pub fn leader(case: &Case<'_>) -> Vec<Finding> {
    let Some(leader) = case.view.leader().filter(|leader| leader.patroni.known().is_some()) else { return Vec::new() };
    let mut found = Vec::new();
    for seen in &case.view.haproxy {
        let servers = seen.answer.known().map(Vec::as_slice).unwrap_or_default();
        let of_leader = |server: &&Server| server.section == PRIMARY && server.name == leader.host.as_str();
        if let Some(server) = servers.iter().find(of_leader).filter(|server| !server.up) {
            found.push(unseen(case, &seen.host, leader, server));
        }
    }
    found
}

fn unseen(case: &Case<'_>, at: &HostName, leader: &Member, server: &Server) -> Finding {
    let to = &leader.host;
    let code = server.code.map(|code| format!(", HTTP status {code}")).unwrap_or_default();
    let finding = Finding::critical("haproxy-no-leader", format!("HAProxy on {at} sends nobody to the leader {to}"))
        .on([at, to])
        .seen(at, format!("its check of {to}: {} ({}{code})", server.status, server.check));
    let address = case.host(to).map_or(to.as_str(), |host| &host.address);
    let place = authority(address, case.inventory.patroni.rest_port);
    let trust = if case.inventory.tls.enabled { " --cacert /etc/haproxy/tls/ca.pem" } else { "" };
    let finding = match server.check.as_str() {
        "L4TOUT" => finding.because(format!(
            "it gets no answer from Patroni's REST API ({place}): probably a packet filter between them"
        )),
        "L4CON" => {
            finding.because(format!("it cannot connect to Patroni's REST API ({place}), although Patroni runs there"))
        }
        "L6RSP" | "L6TOUT" => finding
            .because("it does not believe the certificate that Patroni shows, or Patroni does not speak TLS there"),
        "L7TOUT" => finding.because("Patroni takes the connection and does not answer in time"),
        "L7STS" => finding.because("Patroni answers that it is not the leader: probably it has just become it"),
        _ => finding,
    };
    finding.run_on(
        at,
        "try what HAProxy tries",
        &format!("curl -i{trust} {}://{place}/primary", case.inventory.scheme()),
    )
}
