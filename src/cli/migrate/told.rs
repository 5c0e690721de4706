//! What people read: what speaks against a move, what a run is about to do, and what to do when it is done.

use super::super::Failure;
use super::super::handout;
use super::super::session::Session;
use super::ends::name;
use super::kept::Kept;
use super::moving::Course;
use crate::cluster::endpoints::{Files, Notation, endpoints};
use crate::inventory::Source;
use crate::migrate::check::{self, Finding, Severity};
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
        let cut_off = match kept.state()? {
            Some(state) => {
                format!("A run was cut off {}; the source may be read-only since. It begins anew.\n", state.since)
            }
            None => String::new(),
        };
        let former = if looked.target.database_has_tables {
            format!("{database} of the cluster HAS TABLES: it is kept under another name")
        } else {
            format!("{database} of the cluster is empty: it is dropped")
        };
        let (low, high) = check::seconds(&looked.source);
        let (low, high) = (duration(low * 1000), duration(high * 1000));
        let xnat = &session.inventory.xnat;
        let stops: String =
            xnats.iter().map(|(host, url)| format!("\x20 0. {host}: {} stops; it uses {url}\n", xnat.unit)).collect();
        let starts: String = xnats
            .iter()
            .map(|(host, _)| {
                format!("\x20 6. {host}: {} leads to the cluster; {} starts\n", xnat.properties, xnat.unit)
            })
            .collect();
        Ok(format!(
            "{cut_off}{source} ({size}) becomes {database} of the cluster {cluster}:\n{stops}\
             \x20 1. {source}: read-only for everybody, and all sessions end. NOBODY CAN WRITE from here on\n\
             \x20 2. {leader}: {roles}, then dump, restore and analyze beside {database}\n\
             \x20 3. both: every row, sequence, large object, grant and role compared. Until here every failure, also a\n\
             \x20    difference, opens the source again, and nothing else has changed\n\
             \x20 4. {leader}: {former}; the copy takes its name\n\
             \x20 5. replicas: wait until they have all of it\n{starts}\
             The source stays read-only and as it is; `migrate rollback` opens it again.\n\
             Expect {low} to {high}; `migrate rehearse` measures it.\n\n",
            size = mebibytes(looked.source.database.bytes),
            cluster = session.inventory.cluster,
            roles = count(looked.made.len(), "new role"),
        ))
    }

    /// What to do now.
    pub(super) fn next(&self, session: &Session) -> String {
        let inventory = &session.inventory;
        let files = Files { inventory: &inventory.path, authorities: &handout::path(&inventory.path) };
        let lines = endpoints(inventory, files, Notation::of(&session.secrets.application)).lines(files);
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
