//! `certs status`: what the vault has, beside what the services show.

use jiff::Timestamp;
use serde::Serialize;

use super::super::opened::Opened;
use super::super::{Failure, Globals, out};
use super::StatusArgs;
use crate::cluster::Gather;
use crate::cluster::answer::Answer;
use crate::cluster::shown::{self, Certificate, Shown};
use crate::digest::sha256;
use crate::engine::{Dialer, Fleet};
use crate::error::Exit;
use crate::inventory::Inventory;
use crate::pki::{Pki, PkiError, RotationError, read};
use crate::report::Reporter;
use crate::transport::ssh::SshConnector;

/// One certificate.
#[derive(Debug, Serialize)]
struct Row {
    /// None is this program's own, or an authority's.
    host: Option<String>,
    purpose: String,
    subject: String,
    /// SHA-256 of the certificate.
    digest: String,
    names: Vec<String>,
    ends: Timestamp,
    days_left: i64,
    /// Where it is on the host.
    file: Option<&'static str>,
    #[serde(flatten)]
    served: Option<Served>,
}

/// What the service shows.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "served", rename_all = "snake_case")]
enum Served {
    /// The one in the vault.
    Same,
    Other {
        shown: Certificate,
    },
    Nothing {
        why: String,
    },
    Unknown {
        why: String,
    },
}

pub(super) async fn run(args: StatusArgs, globals: &Globals) -> Result<Exit, Failure> {
    let inventory = Inventory::load(&args.inventory, globals.assets.as_deref())?.inventory;
    if !inventory.tls.enabled {
        return Err(PkiError::from(RotationError::NoTls).into());
    }
    let Opened { inventory, secrets, terminal, .. } = Opened::with_supplied(inventory, globals)?;
    let pki = secrets.pki;
    if pki.is_empty() {
        return Err(PkiError::from(RotationError::NothingYet).into());
    }
    let shown = look(args.connect.connector(&terminal)?, &inventory).await;
    let rows = rows(&pki, shown)?;
    if globals.json {
        out::json(&rows)?;
    } else {
        out::text(&text(&rows, &pki))?;
    }
    Ok(exit(&rows))
}

async fn look(connector: SshConnector, inventory: &Inventory) -> Vec<Shown> {
    let reporter = Reporter::muted();
    let mut fleet = Fleet::default();
    let dialer = Dialer { connector: &connector, parallel: inventory.hosts.len(), reporter: &reporter };
    fleet.connect(inventory, dialer).await;
    let unreachable = fleet.reasons();
    let gather = Gather { inventory, connections: &fleet.connections, unreachable: &unreachable, secrets: None };
    let shown = shown::all(&gather).await;
    fleet.close(&reporter).await;
    shown
}

fn rows(pki: &Pki, shown: Vec<Shown>) -> Result<Vec<Row>, PkiError> {
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for one in shown {
        let Some(pair) = pki.pair(&one.host, one.purpose) else {
            return Err(RotationError::NotIssued { purpose: one.purpose, host: one.host }.into());
        };
        let read = read::certificate(&pair.certificate, "a certificate in the vault")?;
        let served = Some(served(one.answer, &Certificate::of(&read, now)));
        let file = Some(one.purpose.file());
        let host = Some(one.host.to_string());
        rows.push(Row { host, file, served, ..Row::of(&read, one.purpose.as_str(), now) });
    }
    if let Some(operator) = &pki.operator {
        let read = read::certificate(&operator.certificate, "this program's certificate")?;
        rows.push(Row::of(&read, "operator", now));
    }
    for authority in read::certificates(&pki.trusted(), "an authority")? {
        rows.push(Row::of(&authority, "authority", now));
    }
    Ok(rows)
}

impl Row {
    fn of(read: &read::Read, purpose: &str, now: Timestamp) -> Self {
        Self {
            host: None,
            purpose: purpose.to_owned(),
            subject: read.subject.clone(),
            digest: sha256(&read.der),
            names: read.names.clone(),
            ends: read.not_after,
            days_left: read.days_left(now),
            file: None,
            served: None,
        }
    }
}

fn served(answer: Answer<Certificate>, kept: &Certificate) -> Served {
    match answer {
        Answer::Known(shown) if shown.digest == kept.digest => Served::Same,
        Answer::Known(shown) => Served::Other { shown },
        Answer::Down(why) => Served::Nothing { why },
        Answer::Unknown(why) => Served::Unknown { why },
    }
}

fn exit(rows: &[Row]) -> Exit {
    let bad = |row: &Row| {
        let wrong = matches!(row.served, Some(Served::Other { .. } | Served::Nothing { .. }));
        wrong || row.days_left < 0
    };
    if rows.iter().any(bad) {
        return Exit::Unhealthy;
    }
    let unknown = |row: &Row| matches!(row.served, Some(Served::Unknown { .. }));
    if rows.iter().any(unknown) { Exit::Unreachable } else { Exit::Ok }
}

fn text(rows: &[Row], pki: &Pki) -> String {
    let cells: Vec<[String; 8]> = rows
        .iter()
        .map(|row| {
            let day = row.ends.strftime("%Y-%m-%d").to_string();
            [
                row.host.clone().unwrap_or_default(),
                row.purpose.clone(),
                day,
                row.days_left.to_string(),
                row.served.as_ref().map(told).unwrap_or_default(),
                row.file.unwrap_or_default().to_owned(),
                row.subject.clone(),
                row.names.join(" "),
            ]
        })
        .collect();
    let header = ["host", "for", "ends", "days left", "served", "file", "subject", "names"];
    let mut text = out::table(&header, &cells);
    if let Some(told) = pki.phase().told() {
        text.push_str(&format!("\n{told}\nhelp: {}\n", pki.phase().help()));
    }
    text
}

fn told(served: &Served) -> String {
    match served {
        Served::Same => "yes".to_owned(),
        Served::Other { shown } => {
            format!("NO: {}, ends {}", shown.subject, shown.ends.strftime("%Y-%m-%d"))
        }
        Served::Nothing { why } => format!("NO: {why}"),
        Served::Unknown { why } => format!("unknown: {why}"),
    }
}
