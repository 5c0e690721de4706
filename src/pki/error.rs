//! What can be wrong with certificates: ours, and those somebody else has made.

use std::fmt;
use std::path::PathBuf;

use super::Purpose;
use crate::error::{Exit, Fails};
use crate::names::HostName;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PkiError {
    #[error("cannot issue a certificate for {subject}")]
    #[diagnostic(
        code(xnat::pki::issue),
        help("check the names and addresses of the hosts, and [tls] names, in the inventory")
    )]
    Issue { subject: String, source: rcgen::Error },
    #[error("{what} is not a certificate in PEM form: {reason}")]
    #[diagnostic(code(xnat::pki::certificate), help("look at it: `openssl x509 -noout -text -in FILE`"))]
    Certificate { what: String, reason: String },
    /// The authority is a site's own, and only a file holds its key.
    #[error("cannot issue a certificate for {subject}: the key of the authority \"{authority}\" is not at hand")]
    #[diagnostic(
        code(xnat::pki::no_key),
        help(
            "say in the inventory where it is, [tls] ca_certificate and ca_key; or change to another authority: `xnat-provision certs rotate --ca`"
        )
    )]
    NoKey { subject: String, authority: String },
    /// Taking the other one at once would cut the hosts off from each other.
    #[error("the cluster's certificates are of \"{present}\", and the inventory names the authority \"{named}\"")]
    #[diagnostic(
        code(xnat::pki::other_authority),
        help(
            "`xnat-provision certs rotate --ca` leads from one to the other without an interruption; with [tls] certificates, first apply with both in the file ca_certificate, and only then exchange the certificates"
        )
    )]
    OtherAuthority { present: String, named: String },
    #[error("the certificates that the inventory names cannot be used; nothing was touched")]
    #[diagnostic(code(xnat::pki::supplied))]
    Supplied {
        #[related]
        faults: Vec<Fault>,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Rotation(#[from] RotationError),
}

impl Fails for PkiError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Why a rotation cannot go on.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RotationError {
    #[error("the certificates are signed elsewhere ([tls] certificates); there is nothing to rotate here")]
    #[diagnostic(
        code(xnat::pki::signed_elsewhere),
        help("put the new files into that directory and run `xnat-provision apply`")
    )]
    SignedElsewhere,
    #[error("there are no certificates: the inventory says `enabled = false` under [tls]")]
    #[diagnostic(code(xnat::pki::no_tls), help("take that line away and run `xnat-provision apply` first"))]
    NoTls,
    #[error("there are no certificates yet")]
    #[diagnostic(code(xnat::pki::nothing_yet), help("`xnat-provision apply` makes them"))]
    NothingYet,
    #[error("the vault has no certificate for {purpose} on {host} yet")]
    #[diagnostic(code(xnat::pki::not_issued), help("`xnat-provision apply` makes it"))]
    NotIssued { purpose: Purpose, host: HostName },
    #[error(
        "a change of the authority is under way; certificates cannot be rotated by themselves until it is finished"
    )]
    #[diagnostic(code(xnat::pki::under_way), help("go on with `xnat-provision certs rotate --ca`"))]
    UnderWay,
    #[error("the inventory names the authority that signs already")]
    #[diagnostic(
        code(xnat::pki::same_authority),
        help("name the new one, [tls] ca_certificate and ca_key; or take both away for one made for this cluster")
    )]
    SameAuthority,
    #[error("the key of the authority that signs now is not at hand, and it is needed once more")]
    #[diagnostic(
        code(xnat::pki::present_key),
        help("say where it is: `xnat-provision certs rotate --ca --present-key FILE`")
    )]
    PresentKey,
    #[error("no change of the authority is under way")]
    #[diagnostic(code(xnat::pki::nothing_under_way), help("begin one with `xnat-provision certs rotate --ca`"))]
    NothingUnderWay,
    #[error("the former authority cannot be forgotten yet: {why}")]
    #[diagnostic(code(xnat::pki::too_early), help("`xnat-provision certs rotate --ca` first"))]
    TooEarly { why: &'static str },
}

/// What is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub file: PathBuf,
    /// A fragment that goes on after the file's name: `has ended on …`.
    pub what: String,
    pub help: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.file.display(), self.what)
    }
}

impl std::error::Error for Fault {}

impl miette::Diagnostic for Fault {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }
}
