//! Why a role could not be expanded: always with the file, the line and the column to look at.

use std::ops::Range;
use std::sync::Arc;

use miette::{NamedSource, SourceSpan};

use crate::assets::Asset;
use crate::error::{Exit, Fails};

/// A place in a role or a template.
#[derive(Debug)]
pub(super) struct Place {
    pub name: String,
    pub text: Arc<NamedSource<String>>,
    pub at: SourceSpan,
}

impl Place {
    pub fn new(asset: &Asset<'_>, at: Range<usize>) -> Self {
        let name = asset.path.map_or_else(|| format!("{} (built in)", asset.name), |path| path.display().to_string());
        let before = asset.text.get(..at.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let text = Arc::new(NamedSource::new(name.clone(), crate::report::text::in_place(asset.text)));
        Self { name: format!("{name}:{line}:{column}"), text, at: at.into() }
    }
}

/// Why a role could not be expanded.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RoleError {
    #[error("there is no role `{role}`")]
    #[diagnostic(code(xnat::role::unknown))]
    Unknown {
        role: String,
        #[help]
        help: String,
    },
    #[error("{place}: {reason}")]
    #[diagnostic(code(xnat::role::mistake))]
    Mistake {
        /// File, line and column.
        place: String,
        reason: String,
        #[help]
        help: String,
        #[source_code]
        text: Arc<NamedSource<String>>,
        #[label("here")]
        at: SourceSpan,
    },
    #[error("PostgreSQL's version for {host} is not known: {codename} has no default")]
    #[diagnostic(code(xnat::role::version), help("set `version = 17` under [postgresql] in the inventory"))]
    NoVersion { host: String, codename: String },
    #[error("synchronous mode `quorum` needs Patroni 4.0, and {host} ({codename}) would get {has}")]
    #[diagnostic(
        code(xnat::role::quorum),
        help("set `synchronous = \"on\"` under [patroni], or add a package repository that has Patroni 4")
    )]
    Quorum { host: String, codename: String, has: String },
}

impl RoleError {
    pub(super) fn at(place: Place, reason: impl Into<String>, help: impl Into<String>) -> Self {
        let Place { name, text, at } = place;
        Self::Mistake { place: name, reason: reason.into(), help: help.into(), text, at }
    }
}

impl Fails for RoleError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}
