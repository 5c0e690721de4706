//! Reading certificates: whose, for which names, until when, signed by whom.

use std::net::IpAddr;

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

use super::PkiError;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub subject: String,
    pub issuer: String,
    /// In hexadecimal.
    pub serial: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// DNS names and addresses, sorted.
    pub names: Vec<String>,
}

impl Read {
    /// Whole days until it ends; negative when it has ended.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        self.not_after.duration_since(now).as_hours().div_euclid(24)
    }
}

/// The first certificate of a PEM text; `what` is what it is called in an error.
pub fn certificate(pem: &str, what: &str) -> Result<Read, PkiError> {
    let fail = |reason: String| PkiError::Certificate { what: what.to_owned(), reason };
    let block = Pem::iter_from_buffer(pem.as_bytes()).next().ok_or_else(|| fail("there is no PEM block".to_owned()))?;
    let block = block.map_err(|error| fail(error.to_string()))?;
    let x509 = block.parse_x509().map_err(|error| fail(error.to_string()))?;
    let moment = |seconds: i64| Timestamp::from_second(seconds).map_err(|error| fail(error.to_string()));
    Ok(Read {
        subject: x509.subject().to_string(),
        issuer: x509.issuer().to_string(),
        serial: x509.raw_serial_as_string(),
        not_before: moment(x509.validity().not_before.timestamp())?,
        not_after: moment(x509.validity().not_after.timestamp())?,
        names: names(&x509),
    })
}

fn names(x509: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = x509.subject_alternative_name() else { return Vec::new() };
    let mut names: Vec<String> = extension.value.general_names.iter().filter_map(name).collect();
    names.sort();
    names
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    }
}

/// Whether the first certificate of one text bears the signature of the first one of the other.
pub fn signed_by(certificate: &str, authority: &str) -> bool {
    let first = |pem: &str| Pem::iter_from_buffer(pem.as_bytes()).next().and_then(Result::ok);
    let (Some(child), Some(parent)) = (first(certificate), first(authority)) else { return false };
    let (Ok((_, child)), Ok((_, parent))) =
        (X509Certificate::from_der(&child.contents), X509Certificate::from_der(&parent.contents))
    else {
        return false;
    };
    child.verify_signature(Some(parent.public_key())).is_ok()
}
