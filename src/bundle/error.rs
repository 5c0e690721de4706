//! What can be wrong with a bundle, and with the machine that makes one.

use std::io;
use std::path::{Path, PathBuf};

use super::manifest::Target;
use crate::error::{Exit, Fails};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BundleError {
    #[error("cannot {what} {}", path.display())]
    #[diagnostic(code(xnat::bundle::file), help("see whether it is there, who may use it, and whether there is space: `ls -l {0}; df {0}`", path.display()))]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not a bundle: {reason}", path.display())]
    #[diagnostic(
        code(xnat::bundle::not_one),
        help("a bundle is made by `xnat-provision bundle build`; was the file copied to its end?")
    )]
    NotOne { path: PathBuf, reason: String },
    #[error("{} was made by version {made_by}, in format {format}, which this version does not know", path.display())]
    #[diagnostic(
        code(xnat::bundle::format),
        help("use the program that is in it: `tar --zstd -xf {} bin/xnat-provision`", path.display())
    )]
    Newer { path: PathBuf, made_by: String, format: u32 },
    #[error("{} is damaged: {what}", path.display())]
    #[diagnostic(
        code(xnat::bundle::damaged),
        help("copy it again from where it was made, and compare `sha256sum` on both sides")
    )]
    Damaged { path: PathBuf, what: String },
    #[error("{} is not signed by the key it should be: {reason}", path.display())]
    #[diagnostic(
        code(xnat::bundle::signature),
        help("do not use it before you know who made it; the key is `bundle_key` under [packages], or --key")
    )]
    Signature { path: PathBuf, reason: String },
    #[error("cannot use the key in {}: {reason}", path.display())]
    #[diagnostic(code(xnat::bundle::key), help("make a pair with `xnat-provision bundle keygen`"))]
    Key { path: PathBuf, reason: String },
    #[error("{} are in {} and have other contents in {}", list.join(", "), first.display(), second.display())]
    #[diagnostic(
        code(xnat::bundle::conflict),
        help("name only the newer one of the two, or build it again with --since")
    )]
    Conflict { list: Vec<String>, first: PathBuf, second: PathBuf },
    #[error("{host} needs {} of the packages that {} leaves out: {}", list.len(), path.display(), shown(list))]
    #[diagnostic(
        code(xnat::bundle::base),
        help("name the bundle before it too (the SHA-256 of its manifest is {since}): --bundle EARLIER --bundle {}", path.display())
    )]
    NoBase { host: String, path: PathBuf, list: Vec<String>, since: String },
    #[error("{host} has {has}, and {} is for {made_for}", bundle.display())]
    #[diagnostic(
        code(xnat::bundle::target),
        help("build one for it: `xnat-provision bundle build --release {} --arch {}`, or with --facts", has.codename, has.arch)
    )]
    Target { host: String, bundle: PathBuf, made_for: Box<Target>, has: Box<Target> },
    #[error("cannot {what}: `{command}` ended with {status}{}", tail(output))]
    #[diagnostic(code(xnat::bundle::tool), help("{help}"))]
    Tool { what: String, command: String, status: String, output: String, help: String },
    #[error("apt is not on this machine")]
    #[diagnostic(
        code(xnat::bundle::no_apt),
        help("bundles are built on Debian or Ubuntu, of any release: apt knows what packages need")
    )]
    NoApt,
    #[error("this machine has no keys to check the archive of {os} with: {} is missing", path.display())]
    #[diagnostic(code(xnat::bundle::keyring), help("install {package}, or name a file with the keys: --keyring FILE"))]
    NoKeyring { os: String, path: PathBuf, package: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Mirror(#[from] crate::mirror::MirrorError),
    #[error("{message}")]
    #[diagnostic(code(xnat::bundle::unfit), help("{help}"))]
    Unfit { message: String, help: String },
    #[error("{message}")]
    #[diagnostic(code(xnat::bundle::request), help("{help}"))]
    Request { message: String, help: String },
}

fn shown(list: &[String]) -> String {
    let more = if list.len() > 5 { ", …" } else { "" };
    list.iter().take(5).cloned().collect::<Vec<_>>().join(", ") + more
}

fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(15)..].iter().map(|line| format!("\n  {line}")).collect()
}

impl Fails for BundleError {
    fn exit(&self) -> Exit {
        match self {
            Self::Io { .. } | Self::Tool { .. } | Self::NoApt | Self::NoKeyring { .. } | Self::Mirror(_) => {
                Exit::Failed
            }
            Self::Target { .. } | Self::Unfit { .. } | Self::NoBase { .. } => Exit::Failed,
            _ => Exit::Usage,
        }
    }
}

/// An error of the system, with the file it was about.
pub(super) trait OnPath<T> {
    fn on(self, what: &'static str, path: &Path) -> Result<T, BundleError>;
}

impl<T> OnPath<T> for io::Result<T> {
    fn on(self, what: &'static str, path: &Path) -> Result<T, BundleError> {
        self.map_err(|source| BundleError::Io { what, path: path.to_owned(), source })
    }
}
