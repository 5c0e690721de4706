//! Which program this is, for whoever asks it and for what it leaves behind: journals, reports, archives.

/// The version with the commit it was made from: `0.1.0 (acd4a3fe12ab 2026-11-30)`, followed by `modified` where files were
/// changed since; just the version where nobody knew the commit (`build.rs`). Where versions are compared it is cargo's own.
pub const PROGRAM: &str = env!("XNAT_PROVISION_VERSION");
