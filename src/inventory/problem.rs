//! A mistake or a warning about an inventory, and how a set of them is told: one header, then each with its snippet.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use serde::Serialize;

use crate::error::{Exit, Fails};
use crate::files;
use crate::report::text;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is done before it is mended.
    Error,
    /// It works, at a price that is named.
    Warning,
}

/// One thing that is wrong, or that somebody should know, with the places in the file that show it.
#[derive(Clone, Debug)]
pub struct Problem {
    pub severity: Severity,
    pub code: &'static str,
    pub message: String,
    pub help: Option<String>,
    /// The first one gives file, line and column; none when the file as a whole is meant.
    pub labels: Vec<Label>,
    source: Option<Arc<NamedSource<String>>>,
}

/// A place in the text (bytes) and what is to be seen there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub span: Range<usize>,
    pub text: String,
}

impl Problem {
    pub(super) fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message.into())
    }
    pub(super) fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message.into())
    }
    fn new(severity: Severity, code: &'static str, message: String) -> Self {
        // Values are quoted as they were written, and somebody may have written an escape sequence.
        let message = text::printable(&message).into_owned();
        Self { severity, code, message, help: None, labels: Vec::new(), source: None }
    }
    #[must_use]
    pub(super) fn at(mut self, span: Option<Range<usize>>, text: impl Into<String>) -> Self {
        self.labels.extend(span.map(|span| Label { span, text: text.into() }));
        self
    }
    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(text::printable(&help.into()).into_owned());
        self
    }
    /// The text it is about; without one nothing can be shown of the places.
    pub(super) fn attach(&mut self, source: &Arc<NamedSource<String>>) {
        self.source = Some(Arc::clone(source));
    }
    /// Line and column (both from 1, columns in characters) of the first place.
    pub fn position(&self) -> Option<(usize, usize)> {
        let text = self.source.as_ref()?.inner();
        let before = text.get(..self.labels.first()?.span.start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }
    /// For a log: `inventory.toml:12:3: message`.
    pub fn one_line(&self) -> String {
        let file = self.source.as_ref().map_or("inventory", |source| source.name());
        match self.position() {
            Some((line, column)) => format!("{file}:{line}:{column}: {}", self.message),
            None => format!("{file}: {}", self.message),
        }
    }
    fn sort_key(&self) -> (Severity, usize) {
        (self.severity, self.labels.first().map_or(0, |label| label.span.start))
    }
}

/// Mistakes first, each kind in the order of the file.
pub(super) fn sort(problems: &mut [Problem]) {
    problems.sort_by_key(Problem::sort_key);
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source.as_ref() as &dyn SourceCode)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() {
            return None;
        }
        Some(Box::new(self.labels.iter().map(|label| {
            let text = Some(label.text.clone()).filter(|text| !text.is_empty());
            LabeledSpan::new_with_span(text, label.span.clone())
        })))
    }
}

/// Everything found in one inventory.
#[derive(Debug)]
pub struct Problems {
    pub path: PathBuf,
    pub all: Vec<Problem>,
}

impl Problems {
    pub fn count(&self, severity: Severity) -> usize {
        self.all.iter().filter(|problem| problem.severity == severity).count()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        write!(f, "{} has ", self.path.display())?;
        match (errors, warnings) {
            (0, _) => f.write_str(&plural(warnings, "warning")),
            (_, 0) => write!(f, "{}; nothing was touched", plural(errors, "mistake")),
            (..) => write!(f, "{} and {}; nothing was touched", plural(errors, "mistake"), plural(warnings, "warning")),
        }
    }
}

impl std::error::Error for Problems {}

impl Diagnostic for Problems {
    fn severity(&self) -> Option<miette::Severity> {
        (self.count(Severity::Error) == 0).then_some(miette::Severity::Warning)
    }
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.all.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

/// Why there is no inventory.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum InventoryErrors {
    #[error("cannot read the inventory {}", path.display())]
    #[diagnostic(code(xnat::inventory::unreadable), help("{}", unreadable_help(path)))]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(Problems),
}

impl InventoryErrors {
    /// The problems, when the file could be read.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Unreadable { .. } => &[],
            Self::Invalid(problems) => &problems.all,
        }
    }
}

impl Fails for InventoryErrors {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

fn unreadable_help(path: &Path) -> String {
    let place = files::directory(path);
    format!(
        "see what is there with `ls -l {}`; to start a new inventory, copy inventory/minimal.toml and edit it",
        place.display()
    )
}
