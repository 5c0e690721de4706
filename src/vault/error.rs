//! What can be wrong with the file of secrets. No message and no snippet shows what is in it.

use std::io;
use std::path::PathBuf;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use thiserror::Error;

use super::{SHORTEST, Secrets};
use crate::error::{Exit, Fails};

#[derive(Debug, Error, Diagnostic)]
pub enum VaultError {
    #[error("cannot read the secrets file {}", path.display())]
    #[diagnostic(code(xnat::vault::read), help("look at its owner and mode: ls -l '{}'", path.display()))]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write the secrets file {}", path.display())]
    #[diagnostic(
        code(xnat::vault::write),
        help("look at the directory's owner and free space: ls -ld '{0}'; df -h '{0}'", directory(path))
    )]
    Write { path: PathBuf, source: io::Error },
    #[error("the secrets file {} is there already, and is not written over", path.display())]
    #[diagnostic(code(xnat::vault::exists), help("see what it is: ls -l '{}'", path.display()))]
    Exists { path: PathBuf },
    #[error("the secrets file {} is not a file", path.display())]
    #[diagnostic(code(xnat::vault::not_a_file), help("see what it is: ls -ld '{}'", path.display()))]
    NotAFile { path: PathBuf },
    #[error("the secrets file {} is a symbolic link that leads nowhere", path.display())]
    #[diagnostic(
        code(xnat::vault::dangling),
        help("mount what it leads to, or remove the link to have new passwords made: readlink '{}'", path.display())
    )]
    Dangling { path: PathBuf },
    #[error("the secrets file {} may be read by others than its owner (mode {mode:04o})", path.display())]
    #[diagnostic(
        code(xnat::vault::mode),
        help("close it: chmod 600 '{0}' - and if others use this machine, take the passwords for known to them", path.display())
    )]
    Mode { path: PathBuf, mode: u32 },
    #[error("the secrets file {} is not text in UTF-8", path.display())]
    #[diagnostic(code(xnat::vault::not_text), help("restore it from a copy; see what it is: file '{}'", path.display()))]
    NotText { path: PathBuf },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Content(Box<BadContent>),
    #[error("the operating system gives no random numbers")]
    #[diagnostic(code(xnat::vault::random), help("see whether this prints anything: head -c 8 /dev/urandom | od -x"))]
    Random { source: rand::rngs::SysError },
}

impl Fails for VaultError {
    fn exit(&self) -> Exit {
        match self {
            Self::Random { .. } | Self::Write { .. } => Exit::Failed,
            _ => Exit::Usage,
        }
    }
}

/// Everything wrong with the content, at once. The text it points into is masked.
#[derive(Debug, Error)]
#[error("the secrets file {} cannot be used{}", path.display(), lacking(missing))]
pub struct BadContent {
    pub path: PathBuf,
    /// Passwords that are not there have no place to point at.
    pub missing: Vec<&'static str>,
    pub problems: Vec<Problem>,
    pub masked: NamedSource<String>,
}

/// One thing wrong, and where.
#[derive(Clone, Debug)]
pub struct Problem {
    pub what: String,
    pub span: std::ops::Range<usize>,
}

impl Diagnostic for BadContent {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new("xnat::vault::content"))
    }
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        let names = Secrets::names().collect::<Vec<_>>().join(", ");
        let path = self.path.display();
        Some(Box::new(format!(
            "edit it: each of {names} has a line `name = \"password\"`, with at least {SHORTEST} characters and no control \
             characters. To add a new one: printf 'NAME = \"%s\"\\n' \"$(openssl rand -hex 16)\" >> '{path}'"
        )))
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.masked)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = |p: &Problem| LabeledSpan::new_with_span(Some(p.what.clone()), p.span.clone());
        Some(Box::new(self.problems.iter().map(label)))
    }
}

fn lacking(missing: &[&str]) -> String {
    if missing.is_empty() { String::new() } else { format!(": it has no {}", missing.join(", no ")) }
}

fn directory(path: &std::path::Path) -> String {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(std::path::Path::new(".")).display().to_string()
}
