//! A run that was cut off when the copy had taken its place is finished: the database is made what the inventory says, the
//! replicas have it, and XNAT goes on with it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use super::super::confirm::Naming;
use super::super::session::{Done, Session};
use super::super::{Failure, Globals, out};
use super::NotNow;
use super::back::newer_writes;
use super::kept::{Kept, State, Step};
use super::moving::{Course, declined, look};
use crate::approval::Approved;
use crate::error::Exit;
use crate::migrate::fingerprint::Difference;
use crate::migrate::record::{Method, Record};
use crate::report::Kind;
use crate::workflow::migrate::{self, Compared, Looked, Moved, Settled};

const MOVED: &str = "the database is moved, and nothing of the run is left to be done";

impl Course<'_> {
    pub(super) async fn go_on(
        &self,
        (naming, globals): (&Naming, &Globals),
        (kept, state): (&Kept, &State),
        session: &mut Session,
    ) -> Result<Done, Failure> {
        if !migrate::frozen(&self.ends.foreign).await? {
            let help =
                "the source can be written to: a `migrate rollback` was begun, which goes on when it is typed again";
            return Err(NotNow::Nothing { go_on: "go on with", help }.into());
        }
        let newer = newer_writes(self.ends, state, session).await?;
        if !newer.is_empty() && !state.unfinished {
            let tables: Vec<String> = newer.into_iter().map(|it| it.what).collect();
            return Err(NotNow::NewerWrites { tables: tables.join(", ") }.into());
        }
        session.settle().await;
        let application = self.ends.application(session);
        let in_use = !newer.is_empty();
        let warning = match (in_use, application.is_there()) {
            (true, _) => "The database is moved already, and in use. What is left of it is done.",
            (false, true) => {
                "The database is moved already. What is left of it is done, and XNAT started with the cluster."
            }
            (false, false) => {
                "The database is moved already. What is left of it is done; the application has to be stopped."
            }
        };
        let standing = (&session.cancel, &self.ends.ground.fleet.standing);
        let Some(approved) = naming.approve(warning, standing).await? else {
            return declined(session, "the name was not typed; nothing was changed").await;
        };
        // a going back that had not opened the source is over: later it has to compare again
        kept.set(&State { step: Step::Switched, unfinished: true, ..state.clone() })?;
        if !in_use {
            application.stop((&approved, &session.reporter)).await?;
        }
        let record = match (state.unfinished, self.method) {
            // it was compared when it had its place, or not at all
            (true, Method::Stream) => {
                self.tidied_later(state, &approved, session).await?;
                kept.record(state.since)
            }
            (true, _) => Some(self.finish_later((kept, state), &approved, session).await?),
            (false, _) => None,
        };
        let goes_on = match (application.is_there(), in_use) {
            (false, _) => true,
            (true, false) => self.switched(&state.kept_as, &approved, session).await,
            // whoever writes there may be it
            (true, true) => self.is_at_work(state, &approved, session).await?,
        };
        let report = record.as_ref().map(|record| kept.report(record)).transpose()?;
        if goes_on {
            kept.finished()?;
        }
        session.settle().await;
        let passed = record.as_ref().is_none_or(|record| record.passed);
        let next = self.next(session);
        match (record, report) {
            (Some(record), _) if globals.json => out::json(&record)?,
            (None, _) if globals.json => out::json(&json!({ "done": MOVED }))?,
            (Some(record), Some(report)) => {
                session.print(&format!("{}\nReport: {}\n{next}", record.text(), report.display()))?
            }
            _ => session.print(&next)?,
        };
        Ok(Done { exit: if goes_on && passed { Exit::Ok } else { Exit::Unhealthy }, changed: 1 })
    }

    /// XNAT's settings are left alone, and somebody has to know where they do not lead to the cluster; where they do it is at
    /// work.
    async fn is_at_work(&self, state: &State, approved: &Approved, session: &Session) -> Result<bool, Failure> {
        let application = self.ends.application(session);
        let others = application.elsewhere(&state.kept_as, &self.ends.address(session)).await?;
        if others.is_empty() {
            application.start(&BTreeSet::new(), (approved, &session.reporter)).await?;
            application.answers((&session.reporter, &session.cancel)).await?;
            return Ok(true);
        }
        let others: Vec<&str> = others.iter().map(|host| host.as_str()).collect();
        let message = format!("the cluster was written to, so XNAT was left as it is on {}", others.join(", "));
        let help = "see who writes there; where XNAT should use the cluster, change its settings (the lines are below), start it, and type `xnat-provision migrate resume` again";
        session.reporter.emit(Kind::Warned { message, help: Some(help.to_owned()) }).await;
        Ok(false)
    }

    /// The report that the run began, with what it had left to do.
    async fn finish_later(
        &self,
        (kept, state): (&Kept, &State),
        approved: &Approved,
        session: &Session,
    ) -> Result<Record, Failure> {
        let looked = Looked { made: state.made.clone(), ..look(self.ends, session).await? };
        let moving = self.moving((&looked, &|| Ok(()), &|_, _| Ok(())), approved, session);
        let settled = moving.finish_later(state.since).await?;
        let Settled { kept: former, differences, phases } = settled;
        let begun = kept.record(state.since).unwrap_or_else(|| self.unknown(state, &looked, session));
        if begun.open {
            return Ok(begun.gone_on_with((phases, differences, former), Timestamp::now()));
        }
        // the run had come to its end, and was reported as it was then
        for Difference { what, source, target } in differences {
            let message = format!("now {what} is {target:?}, and {source:?} at the source");
            session.reporter.emit(Kind::Warned { message, help: None }).await;
        }
        Ok(begun)
    }

    /// What it began to report is gone; but it was the same, or it would not be in its place.
    fn unknown(&self, state: &State, looked: &Looked, session: &Session) -> Record {
        let mut compared = Compared::default();
        compared.left_out.push("what was compared before is not known any more: see `migrate verify`".to_owned());
        let moved = Moved { phases: Vec::new(), compared, in_place: true, kept: None, opened: None };
        Record { open: true, ..self.record(state.since, (looked, moved), session) }
    }
}
