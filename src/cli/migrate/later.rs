//! A run that was cut off when the copy had taken its place is finished: the database is made what the inventory says, the
//! replicas have it, and XNAT goes on with it.

use super::super::Failure;
use super::super::confirm::Naming;
use super::super::session::{Done, Session};
use super::NotNow;
use super::back::newer_writes;
use super::kept::{Kept, State, Step};
use super::moving::{Course, declined, look};
use crate::approval::Approved;
use crate::error::Exit;
use crate::report::Kind;
use crate::workflow::migrate;

impl Course<'_> {
    pub(super) async fn go_on(
        &self,
        naming: &Naming,
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
        kept.set(&State { step: Step::Switched, ..state.clone() })?;
        if !in_use {
            application.stop((&approved, &session.reporter)).await?;
        }
        if state.unfinished {
            self.finish_later(state, &approved, session).await?;
        }
        // whoever writes there has been told of it
        let told = in_use || !application.is_there();
        let goes_on = told || self.switched(&state.kept_as, &approved, session).await;
        if goes_on {
            kept.finished()?;
        }
        session.settle().await;
        session.print(&self.next(session))?;
        Ok(Done { exit: if goes_on { Exit::Ok } else { Exit::Unhealthy }, changed: 1 })
    }

    async fn finish_later(&self, state: &State, approved: &Approved, session: &Session) -> Result<(), Failure> {
        let looked = look(self.ends, session).await?;
        let moving = self.moving((&looked, &|| Ok(()), &|_| Ok(())), approved, session);
        if let Some(former) = moving.finish_later(state.since).await? {
            let line = format!("The database that was there before is kept as {former}.");
            session.reporter.emit(Kind::OutputLine { line }).await;
        }
        Ok(())
    }
}
