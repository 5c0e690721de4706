//! What is kept of a migration, or of the rehearsal of one.

use jiff::Timestamp;

use super::super::session::Session;
use super::ends::name;
use super::moving::Course;
use crate::migrate::check::spoken;
use crate::migrate::record::{Method, Record, Sums};
use crate::version;
use crate::workflow::migrate::{Looked, Mode, Moved};

impl Course<'_> {
    pub(super) fn record(&self, started: Timestamp, (looked, moved): (&Looked, Moved), session: &Session) -> Record {
        let what = match self.mode {
            Mode::Rehearse => "rehearse",
            Mode::Run => "run",
            Mode::Verify => "verify",
        };
        let (from, to) = (spoken(looked.source.server.version_num), spoken(looked.target.version_num));
        let (database, leader) = (&session.inventory.database.name, &self.ends.leader.name);
        let source = format!("{}, PostgreSQL {from}", name(self.source));
        let target = format!("{database} on {leader}, PostgreSQL {to}");
        let bytes = match (&looked.source.physical, self.method) {
            (Some(physical), Method::Stream) => physical.bytes,
            _ => looked.source.database.bytes,
        };
        let record = evidence((what, started, self.jobs), (source, target, bytes), moved, session);
        Record { method: self.method, ..record }
    }
}

/// What is kept of one, with whose and how much it was.
pub(super) fn evidence(
    (what, started, jobs): (&str, Timestamp, usize),
    (source, target, bytes): (String, String, u64),
    moved: Moved,
    session: &Session,
) -> Record {
    let Moved { phases, compared, kept, .. } = moved;
    Record {
        passed: compared.differences.is_empty(),
        what: what.to_owned(),
        cluster: session.inventory.cluster.clone(),
        program: version::PROGRAM.to_owned(),
        who: session.claim().who,
        started,
        finished: Timestamp::now(),
        source,
        target,
        bytes,
        jobs,
        open: false,
        cut_off: false,
        phases,
        differences: compared.differences,
        left_out: compared.left_out,
        objects: compared.objects,
        roles: compared.roles,
        method: Method::Dump,
        indexes: compared.indexes,
        kept,
        sums: Sums { source: compared.source, target: compared.target },
    }
}
