//! Asks everything a diagnosis rests on, all at once: the services as `status` does, the hosts from inside, their logs, and
//! which certificates are shown that the vault does not have. Reads only, and takes what it gets.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::logs::{self, Logs};
use crate::cluster::shown::{Certificate, Shown};
use crate::cluster::{ClusterView, Gather, gather};
use crate::doctor::{self, Case, Diagnosis, Foreign, Line, Seen};
use crate::engine::{Fleet, for_each_host};
use crate::error::one_line;
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::pki::{Pki, read};
use crate::transport::{Output, Script, TransportError};
use crate::vault::Secrets;

/// Whoever has a trouble repeats it every few seconds; what ended its service may be a while ago.
const BACK: SignedDuration = SignedDuration::from_mins(15);

pub async fn diagnose(fleet: &Fleet, inventory: &Inventory, secrets: &Secrets) -> (ClusterView, Diagnosis) {
    let unreachable = fleet.reasons();
    let asked =
        Gather { inventory, connections: &fleet.connections, unreachable: &unreachable, secrets: secrets.real() };
    let since = Timestamp::now() - BACK;
    let (view, answers, logs) =
        futures::join!(gather(&asked), look(fleet, inventory), logs::read(fleet, inventory, since));
    let (seen, silent) = sorted(answers, logs);
    let foreign = foreign(&secrets.pki, &view.certificates);
    let case = Case { inventory, view: &view, seen: &seen, silent: &silent, foreign: &foreign };
    let diagnosis = doctor::diagnose(&case);
    (view, diagnosis)
}

/// A host's answer, and this machine's clock when it was asked.
type Answered = (f64, Result<Output, TransportError>);

async fn look(fleet: &Fleet, inventory: &Inventory) -> BTreeMap<HostName, Answered> {
    let hosts: Vec<HostName> = inventory.hosts.iter().map(|host| host.name.clone()).collect();
    let hosts: Vec<HostName> = hosts.into_iter().filter(|host| fleet.connections.contains_key(host)).collect();
    let parallel = hosts.len();
    for_each_host(hosts, parallel, |name| async move {
        let host = inventory.host(&name).expect("the name comes from the inventory");
        let script = Script::as_root("look at the host", doctor::script(inventory, host));
        let asked = Timestamp::now().as_duration().as_secs_f64();
        (asked, fleet.connections[&name].run(script).await)
    })
    .await
}

fn sorted(answers: BTreeMap<HostName, Answered>, logs: Logs) -> (BTreeMap<HostName, Seen>, BTreeMap<HostName, String>) {
    let (mut seen, mut silent) = (BTreeMap::new(), logs.silent);
    let mut lines: BTreeMap<HostName, Vec<Line>> = BTreeMap::new();
    for entry in logs.entries {
        let line = Line { at: entry.at, service: entry.service, text: entry.text };
        lines.entry(entry.host).or_default().push(line);
    }
    for (host, (asked, answer)) in answers {
        let log = lines.remove(&host).unwrap_or_default();
        let parsed = match answer {
            Ok(output) => {
                Seen::parse(&output.stdout, log).map_err(|error| format!("{error}; {}", output.stderr.trim()))
            }
            Err(error) => Err(one_line(&error)),
        };
        match parsed {
            Ok(mut one) => {
                one.facts.asked = Some(asked);
                seen.insert(host, one);
            }
            Err(why) => _ = silent.insert(host, why),
        }
    }
    (seen, silent)
}

fn foreign(pki: &Pki, shown: &[Shown]) -> Vec<Foreign> {
    let other = |one: &Shown| {
        let certificate = one.answer.known()?;
        let pair = pki.pair(&one.host, one.purpose)?;
        let kept = read::certificate(&pair.certificate, "a certificate in the vault").ok()?;
        let same = Certificate::of(&kept, Timestamp::now()).digest == certificate.digest;
        (!same).then(|| Foreign { host: one.host.clone(), purpose: one.purpose, shown: certificate.clone() })
    };
    shown.iter().filter_map(other).collect()
}
