//! Reports of drills, beside the journals of the cluster: JSON for this program, HTML for people. One that came to nothing
//! leaves a line in their place.

use std::fs;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use crate::drill::{Attempt, Drill, Entry, html};
use crate::error::{Exit, Fails};
use crate::files;
use crate::report::ReportError;
use crate::report::journal::Store;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum KeptError {
    #[error("cannot {what} {}", path.display())]
    #[diagnostic(code(xnat::drill::report), help("is there space, and may you write there?"))]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot make the report")]
    #[diagnostic(code(xnat::drill::report))]
    Page(#[from] minijinja::Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] ReportError),
}

impl Fails for KeptError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

fn directory(cluster: &str) -> Result<PathBuf, KeptError> {
    Ok(Store::of_user()?.cluster(cluster).join("drills"))
}

/// Where the report is.
pub(super) fn keep(cluster: &str, drill: &Drill) -> Result<PathBuf, KeptError> {
    let page = write(cluster, &name(drill.finished, drill.drill.name(), "html"), html::page(drill)?.as_bytes())?;
    write_json(cluster, &name(drill.finished, drill.drill.name(), "json"), drill)?;
    Ok(page)
}

pub(super) fn keep_attempt(cluster: &str, attempt: &Attempt) -> Result<(), KeptError> {
    write_json(cluster, &name(attempt.finished, "attempt", "json"), attempt)
}

fn name(finished: Timestamp, drill: &str, extension: &str) -> String {
    format!("{}-{drill}.{extension}", finished.strftime("%Y%m%dT%H%M%SZ"))
}

fn write_json(cluster: &str, name: &str, value: &impl Serialize) -> Result<(), KeptError> {
    let failed = |error| KeptError::File { what: "write", path: PathBuf::from(name), source: io::Error::from(error) };
    write(cluster, name, &serde_json::to_vec(value).map_err(failed)?).map(drop)
}

fn write(cluster: &str, name: &str, content: &[u8]) -> Result<PathBuf, KeptError> {
    let path = directory(cluster)?.join(name);
    match files::keep(&path, content) {
        Ok(()) => Ok(path),
        Err(source) => Err(KeptError::File { what: "write", path, source }),
    }
}

/// All of them, oldest first. One that an older or newer version has written otherwise is left out.
pub(super) fn all(cluster: &str) -> Result<Vec<Entry>, KeptError> {
    let directory = directory(cluster)?;
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(KeptError::File { what: "read", path: directory, source }),
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let mut entries = Vec::new();
    for path in paths {
        let text = fs::read(&path).map_err(|source| KeptError::File { what: "read", path: path.clone(), source })?;
        entries.extend(serde_json::from_slice::<Entry>(&text));
    }
    Ok(entries)
}
