//! What is compared: rows and objects of both sides, their schemas, their roles.

use super::end::{INCOMING, SCRATCH, both, other_passwords};
use super::opened::Opened;
use super::place::Place;
use super::sums::{self, Sums};
use super::{Compared, MigrateError, Mode, Moving, server_of};
use crate::engine::dump::{Schemas, Way, Workshop};
use crate::error::one_line;
use crate::migrate::fingerprint::{Difference, Measure};
use crate::migrate::record::Method;
use crate::migrate::roles::{self, Stage};

impl Moving<'_> {
    /// Row by row, object by object. While a rehearsal goes on the source is written to: its rows are those of the
    /// snapshot, but sequences know no snapshots. What was set read-only is read as it is now, which also proves that nobody
    /// has written since.
    pub(super) async fn compare(
        &self,
        place: &Place<'_>,
        workshop: &Workshop<'_>,
        (seen_as, opened): (Option<&str>, Option<&Opened>),
    ) -> Result<Compared, MigrateError> {
        let sums = Sums { moving: self, measure: self.measure().await? };
        let server = server_of(self.foreign);
        let theirs = (&server, self.looked.database.as_str(), seen_as);
        let schemas = workshop.compare_schemas(theirs, (SCRATCH, self.copied()), Way::In);
        let copy = sums.of_the_copy(opened.map(Opened::snapshot));
        let (source, mut target, schemas) =
            futures::try_join!(sums.of_the_source(seen_as), copy, place.scratch(schemas))?;
        if let Some(opened) = opened {
            // the only thing that the snapshot does not hold as it was
            target.sequences.clone_from(&opened.sequences);
        }
        let stage = if self.is_finished() { Stage::Finished } else { Stage::Copied };
        let (number, of_roles) = self.roles(place, stage).await?;
        let mut compared = Compared { objects: schemas.objects, roles: number, ..Compared::default() };
        compared.differences = source.differences(&target);
        if self.mode == Mode::Rehearse {
            compared.differences.retain(|it| !it.what.starts_with("sequence "));
            compared.left_out.push("sequences: the source is in use, and they know no snapshots".to_owned());
        }
        if sums.are_rounded() {
            let text =
                "floats inside ranges, geometric and composite values: beyond 15 digits, which the source cannot write";
            compared.left_out.push(text.to_owned());
        }
        compared.differences.extend(told(&schemas));
        if self.is_finished() {
            compared.differences.retain(|it| !self.is_of_the_inventory(&it.what));
        }
        compared.differences.extend(of_roles);
        (compared.source, compared.target) = (source, target);
        Ok(compared)
    }

    /// How many roles the source has, and what of roles and settings is not the same.
    pub(super) async fn roles(
        &self,
        place: &Place<'_>,
        stage: Stage,
    ) -> Result<(usize, Vec<Difference>), MigrateError> {
        let made = &self.looked.made;
        let (theirs, ours) = both(self.source(), (place.end(), self.copied())).await?;
        let mut differences = roles::differences(&theirs, &ours, (made, stage));
        let others = other_passwords(self.source(), place.end(), made).await?;
        differences.extend(others.iter().map(|role| password(role)));
        Ok((theirs.roles.len(), differences))
    }

    pub(super) async fn measure(&self) -> Result<Measure, MigrateError> {
        let looked = self.looked;
        let (mine, theirs) = (looked.target.version_num, looked.source.server.version_num);
        if let Some(hashed) = self.hashed {
            return Ok(Measure { older: mine.min(theirs), hashed });
        }
        let here = self.cluster().session(self.copied()).await?;
        let there = self.foreign.connect(&looked.database).await?;
        let measured = sums::measure((&here, mine), (&there, theirs)).await;
        measured.map_err(|error| MigrateError::failed("see how rows are compared", one_line(&error)))
    }

    /// The application's own database is compared, as the inventory has it.
    pub(super) fn is_finished(&self) -> bool {
        self.mode == Mode::Verify || self.method == Method::Stream
    }

    /// The database that is compared.
    pub(super) fn copied(&self) -> &str {
        if self.is_finished() { &self.gather().inventory.database.name } else { INCOMING }
    }

    /// The inventory's extensions, and who may make tables in `public`, are made so after the copy.
    fn is_of_the_inventory(&self, what: &str) -> bool {
        let Some(object) = what.strip_prefix("object ") else { return false };
        let is = |name: &str| object.starts_with(&format!("{name}; Type: "));
        let extensions = &self.gather().inventory.database.extensions;
        object.starts_with("SCHEMA public; Type: ACL;")
            || extensions
                .iter()
                .any(|name| is(name) && object.contains("Type: EXTENSION") || is(&format!("EXTENSION {name}")))
    }
}

/// Differences of schemas, as the others are told.
pub(super) fn told(schemas: &Schemas) -> impl Iterator<Item = Difference> + '_ {
    schemas.differ.iter().map(|(how, name)| {
        let (source, target) = match how.as_str() {
            "missing" => ("there", "not there"),
            "more" => ("not there", "there"),
            _ => ("as it is", "other"),
        };
        Difference { what: format!("object {name}"), source: source.to_owned(), target: target.to_owned() }
    })
}

/// What it is is nobody's business.
pub(super) fn password(role: &str) -> Difference {
    let (source, target) = ("as it is".to_owned(), "other".to_owned());
    Difference { what: format!("password of the role {role}"), source, target }
}
