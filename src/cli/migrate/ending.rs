//! How a run ends: XNAT goes on with the cluster, or the source goes on, and keeps nothing for a copy that is no more.

use super::super::Failure;
use super::super::session::Session;
use super::ends::{Ends, also, reached};
use super::kept::{Kept, State, Step};
use super::moving::Course;
use crate::approval::Approved;
use crate::inventory::Component;
use crate::migrate::record::Method;
use crate::report::Kind;
use crate::workflow::migrate::{self, Address, Back, Looked};

const KEEPS_WAL: &str = "THE SOURCE MAY KEEP ITS WAL UNTIL ITS DISK IS FULL: `xnat-provision migrate abort` ends that";

impl Course<'_> {
    /// XNAT goes on with the cluster, or not: the database is there whatever comes of it, so that is told and no failure.
    pub(super) async fn switched(&self, kept_as: &str, approved: &Approved, session: &Session) -> bool {
        let inventory = &session.inventory;
        let (lines, _) = reached(session);
        let settings = [
            ("datasource.driver", "org.postgresql.Driver".to_owned()),
            ("datasource.url", lines.jdbc),
            ("datasource.username", inventory.database.owner.clone()),
            ("datasource.password", session.secrets.application.expose().to_owned()),
        ];
        let trusted = session.secrets.pki.trusted();
        let authorities = lines.authorities.as_deref().map(|path| (trusted.as_str(), path));
        let application = self.ends.application(session);
        let told = (approved, &session.reporter);
        let address = Address { settings: &settings, authorities, kept_as };
        let done: Result<(), Failure> = async {
            let changed = application.point(&address, told).await?;
            application.start(&changed, told).await?;
            Ok(application.answers((&session.reporter, &session.cancel)).await?)
        }
        .await;
        match done {
            Ok(()) => {
                let (resource, summary) = ("XNAT".to_owned(), "shows its page, with the cluster's database".to_owned());
                session.reporter.emit(Kind::ChangeApplied { resource, summary, millis: 0 }).await;
                true
            }
            Err(failure) => {
                let what = "the database is moved, but XNAT does not go on by itself (`migrate resume` tries again)";
                also(session, what, &failure).await;
                false
            }
        }
    }

    /// The run came to nothing, and the source goes on.
    pub(super) async fn opened_again(
        &self,
        (kept, state, looked): (&Kept, &State, &Looked),
        approved: &Approved,
        session: &Session,
    ) {
        // the copy may have been about to take its place
        let reached = kept.state().ok().flatten().map_or(Step::ReadOnly, |reached| reached.step);
        let reached = if reached == Step::Following { reached } else { Step::ReadOnly };
        let kept_so = kept.set(&State { step: reached, ..state.clone() }).map_err(Failure::from);
        let before = state.read_only_before.as_deref();
        let opened = migrate::undo(&self.ends.foreign, before).await.map_err(Failure::from);
        let started = match reached {
            // nobody has stopped it
            Step::Following => Ok(()),
            // it could only read
            _ if opened.is_err() => Ok(()),
            _ => {
                let back = Back { kept_as: &state.kept_as, cluster: None, anew: true };
                self.ends.application(session).as_before(&back, (approved, &session.reporter)).await
            }
        };
        let started = started.map_err(Failure::from);
        let alone = migrate::leave_alone(&self.ends.foreign, looked.system).await.map_err(Failure::from);
        let (open, left) = (opened.is_ok() && started.is_ok(), alone.is_ok());
        if open && left {
            let text = match reached {
                Step::Following => "the source goes on; the application's database is as it was",
                _ => "the source can be written to again; the application's database is as it was",
            };
            session.reporter.emit(Kind::Warned { message: text.to_owned(), help: None }).await;
            self.over((kept, state), session).await;
            return;
        }
        let what = match reached {
            Step::Following => KEEPS_WAL,
            _ if open && !left => KEEPS_WAL,
            _ => "THE SOURCE MAY STILL BE READ-ONLY, and XNAT stopped: `xnat-provision migrate abort` ends that",
        };
        for failure in [opened.err(), started.err(), alone.err(), kept_so.err()].into_iter().flatten() {
            also(session, what, &failure).await;
        }
    }

    /// The run came to nothing, and so does what is kept of it, unless members may have something of a copy: somebody has to
    /// know that.
    async fn over(&self, (kept, state): (&Kept, &State), session: &Session) {
        let Ends { ground, leader, .. } = self.ends;
        let found = migrate::left(&ground.gather(session), leader, &ground.fleet).await;
        let away = self.method == Method::Stream && ground.is_away(Component::Postgres, session);
        let nothing = !away && found.is_ok_and(|left| left.is_empty());
        let kept = match nothing {
            true => kept.over(),
            false => kept.set(&State { step: Step::Left, ..state.clone() }),
        };
        if let Err(error) = kept {
            also(session, "`status` will say that a migration was cut off", &error.into()).await;
        }
    }

    /// What the source keeps for a copy in a cluster that is gone has another name, and a dump wants none of it.
    pub(super) async fn forget(
        &self,
        former: Option<&State>,
        looked: &Looked,
        approved: &Approved,
    ) -> Result<(), Failure> {
        let of_others = |former: &&State| {
            !former.has_switched() && (former.system != looked.system || former.method != self.method)
        };
        match former.filter(of_others) {
            Some(former) => Ok(migrate::unfollow(&self.ends.foreign, former.system, approved).await?),
            None => Ok(()),
        }
    }

    /// A rehearsal is over. The source keeps nothing for the copy any more, whatever became of it; otherwise somebody has to
    /// know. What is kept of a run is not its business.
    pub(super) async fn left_alone(&self, (kept, state): (&Kept, &State), session: &Session) {
        if self.method != Method::Dump
            && let Err(error) = migrate::leave_alone(&self.ends.foreign, state.system).await
        {
            also(session, KEEPS_WAL, &error.into()).await;
        } else if kept.state().is_ok_and(|kept| kept.is_none_or(|kept| !kept.is_begun())) {
            self.over((kept, state), session).await;
        }
    }
}
