//! What people read: what speaks against a move, what a run is about to do, and what to do when it is done.

use super::super::Failure;
use super::super::session::Session;
use super::ends::{name, reached};
use super::kept::{Kept, Step};
use super::moving::Course;
use crate::inventory::Source;
use crate::migrate::check::{self, Finding, Severity};
use crate::migrate::record::Method;
use crate::names::HostName;
use crate::quote;
use crate::report::text::{count, duration, mebibytes};
use crate::workflow::migrate::Looked;

/// The verdict, all that was found, and how long it would take.
pub(super) fn checked(source: &Source, looked: &Looked, findings: &[Finding]) -> String {
    let number = |severity| findings.iter().filter(|it| it.severity == severity).count();
    let (stops, looks) = (number(Severity::Stops), number(Severity::Look));
    let verdict = match (stops, looks) {
        (0, 0) => "can be moved in".to_owned(),
        (0, _) => format!("can be moved in; {} to look at", count(looks, "thing")),
        (_, _) => format!("cannot be moved in as it is: {} in the way", count(stops, "thing")),
    };
    let found = &looked.source;
    let (low, high) = check::seconds(found);
    let mut text = format!(
        "{}: {verdict}\n{}, {} in {}\n\n{}\n",
        name(source),
        found.server.version.split(" on ").next().unwrap_or_default(),
        mebibytes(found.database.bytes),
        count(usize::try_from(found.tables.count).unwrap_or_default(), "table"),
        check::text(findings)
    );
    text.push_str(&format!(
        "Nobody could write for about {} to {}; `xnat-provision migrate rehearse` measures it.\n",
        duration(low * 1000),
        duration(high * 1000)
    ));
    for (method, recommended, why) in check::methods(found, &looked.target) {
        let word = if recommended { "recommended" } else { "not" };
        text.push_str(&format!("  {method:<8} {word}: {why}\n"));
    }
    text
}

/// What another run has left, and what becomes of it.
pub(super) fn begun(kept: &Kept) -> Result<String, Failure> {
    let state = kept.state()?;
    if let Some(ended) = state.as_ref().filter(|state| state.has_switched() && state.is_ended()) {
        return Ok(format!("It was moved in {}, which is to be forgotten: it is moved once more.\n", ended.since));
    }
    Ok(match state.map(|state| (state.step, state.since)) {
        Some((Step::Rehearsing, since)) => format!("A rehearsal of {since} was cut off; what it has left goes.\n"),
        Some((Step::Left, since)) => format!("A run of {since} came to nothing; what it has left goes.\n"),
        Some((Step::Following, since)) => {
            format!("A run was begun {since} and cut off; the source goes on. It begins anew.\n")
        }
        Some((_, since)) => {
            format!("A run was begun {since} and cut off; the source may be read-only. It begins anew.\n")
        }
        None => String::new(),
    })
}

impl Course<'_> {
    /// What will happen, for a person.
    pub(super) fn announced(
        &self,
        (looked, xnats): (&Looked, &[(HostName, String)]),
        session: &Session,
        kept: &Kept,
    ) -> Result<String, Failure> {
        let (source, database) = (name(self.source), &session.inventory.database.name);
        let leader = &self.ends.leader.name;
        if self.method == Method::Stream {
            return self.announced_by_stream((looked, xnats), session, kept);
        }
        let cut_off = begun(kept)?;
        let former = if looked.target.database_has_tables {
            format!("{database} of the cluster HAS TABLES: it is kept under another name")
        } else {
            format!("{database} of the cluster is empty: it is dropped")
        };
        let (low, high) = check::seconds(&looked.source);
        let (low, high) = (duration(low * 1000), duration(high * 1000));
        let xnat = &session.inventory.xnat;
        let mut steps = Vec::new();
        let stops: Vec<String> =
            xnats.iter().map(|(host, url)| format!("{host}: {} stops; it uses {url}", xnat.unit)).collect();
        let quiet = format!("{source}: read-only for everybody, and all sessions end. NOBODY CAN WRITE from here on");
        let made =
            format!("{}, then dump, restore and analyze beside {database}", count(looked.made.len(), "new role"));
        match self.method {
            Method::Dump | Method::Stream => {
                steps.extend(stops);
                steps.extend([quiet, format!("{leader}: {made}")]);
            }
            Method::Logical => {
                let published = "a publication and a replication slot; it keeps the WAL that the copy has not read";
                steps.extend([format!("{source}: {published}"), format!("{leader}: {made}")]);
                steps.push(format!("{leader}: the copy follows {source} until it has nearly all of it"));
                steps.extend(stops);
                let rest = "the last of it, tables without a key, large objects, sequences; publication and slot go";
                steps.extend([quiet, format!("{leader}: {rest}")]);
            }
        }
        steps.extend([
            "both: every row, sequence, large object, grant and role compared. Until here every failure, also a\n     \
             difference, opens the source again, and nothing else has changed"
                .to_owned(),
            format!("{leader}: {former}; the copy takes its name"),
            "replicas: wait until they have all of it".to_owned(),
        ]);
        let starts = |(host, _): &(HostName, String)| {
            format!("{host}: {} leads to the cluster; {} starts", xnat.properties, xnat.unit)
        };
        steps.extend(xnats.iter().map(starts));
        let steps: String = steps.iter().enumerate().map(|(at, step)| format!("{:>3}. {step}\n", at + 1)).collect();
        Ok(format!(
            "{cut_off}{source} ({size}) becomes {database} of the cluster {cluster}:\n{steps}\
             The source stays read-only and as it is; `migrate rollback` opens it again.\n\
             Expect {low} to {high}{beside}; `migrate rehearse` measures it.\n\n",
            size = mebibytes(looked.source.database.bytes),
            cluster = session.inventory.cluster,
            beside = if self.method == Method::Logical { ", the first half of it beside the application" } else { "" },
        ))
    }

    /// What to do now.
    pub(super) fn next(&self, session: &Session) -> String {
        let inventory = &session.inventory;
        let (_, lines) = reached(session);
        format!(
            "\n{} {} is read-only.\n{}\nTo go back: xnat-provision migrate rollback {}\n",
            if inventory.xnat.hosts.is_empty() {
                "Your application may be switched now;"
            } else {
                "Other applications may be switched now;"
            },
            name(self.source),
            lines.join("\n"),
            quote::path(&inventory.path)
        )
    }
}
