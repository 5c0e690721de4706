//! Reading certificates: whose, for which names and uses, until when, signed by whom.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{
    OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, Oid,
};
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
    /// It may sign others.
    pub is_authority: bool,
    pub uses: Uses,
    pub form: Form,
    /// Its public key as it stands in it.
    pub public_key: Vec<u8>,
    pub der: Vec<u8>,
}

/// Whom it may be shown to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uses {
    pub server: bool,
    pub client: bool,
}

/// What strict verifiers insist on (RFC 5280); Patroni is one from Python 3.13 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    pub key_usage: bool,
    pub subject_key_identifier: bool,
    pub authority_key_identifier: bool,
    pub critical_basic_constraints: bool,
}

impl Read {
    /// Whole days until it ends; negative when it has ended.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        self.not_after.duration_since(now).as_hours().div_euclid(24)
    }

    /// Whether it bears the other one's signature.
    pub fn is_signed_by(&self, authority: &Read) -> bool {
        let (Ok((_, child)), Ok((_, parent))) =
            (X509Certificate::from_der(&self.der), X509Certificate::from_der(&authority.der))
        else {
            return false;
        };
        child.issuer() == parent.subject() && child.verify_signature(Some(parent.public_key())).is_ok()
    }

    /// A root: it vouches for itself.
    pub fn is_self_signed(&self) -> bool {
        self.is_signed_by(self)
    }

    /// Whether a client that asks for this name takes it; `*.x` stands for one label before `x`.
    pub fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|own| {
            let wild = own
                .strip_prefix("*.")
                .is_some_and(|domain| name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)));
            wild || own.eq_ignore_ascii_case(name)
        })
    }
}

/// The first certificate of a PEM text; `what` is what it is called in an error.
pub fn certificate(pem: &str, what: &str) -> Result<Read, PkiError> {
    Ok(certificates(pem, what)?.swap_remove(0))
}

/// Every certificate of a PEM text: at least one.
pub fn certificates(pem: &str, what: &str) -> Result<Vec<Read>, PkiError> {
    let fail = |reason: String| PkiError::Certificate { what: what.to_owned(), reason };
    let mut all = Vec::new();
    for block in Pem::iter_from_buffer(pem.as_bytes()) {
        let block = block.map_err(|error| fail(error.to_string()))?;
        if block.label != "CERTIFICATE" {
            return Err(fail(format!("it holds a {}", block.label)));
        }
        all.push(of_der(&block.contents).map_err(fail)?);
    }
    if all.is_empty() { Err(fail("there is no PEM block".to_owned())) } else { Ok(all) }
}

/// In PEM form, and nothing around it.
pub fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

/// One certificate as it goes over the wire.
pub fn of_der(der: &[u8]) -> Result<Read, String> {
    let (_, x509) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let moment = |seconds: i64| Timestamp::from_second(seconds).map_err(|error| error.to_string());
    Ok(Read {
        subject: x509.subject().to_string(),
        issuer: x509.issuer().to_string(),
        serial: x509.raw_serial_as_string(),
        not_before: moment(x509.validity().not_before.timestamp())?,
        not_after: moment(x509.validity().not_after.timestamp())?,
        names: names(&x509),
        is_authority: is_authority(&x509),
        uses: uses(&x509),
        form: form(&x509),
        public_key: x509.public_key().raw.to_vec(),
        der: der.to_vec(),
    })
}

fn is_authority(x509: &X509Certificate<'_>) -> bool {
    let signs = x509.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
    x509.is_ca() && signs
}

fn form(x509: &X509Certificate<'_>) -> Form {
    let has = |oid: &Oid<'_>| matches!(x509.get_extension_unique(oid), Ok(Some(_)));
    Form {
        key_usage: has(&OID_X509_EXT_KEY_USAGE),
        subject_key_identifier: has(&OID_X509_EXT_SUBJECT_KEY_IDENTIFIER),
        authority_key_identifier: has(&OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER),
        critical_basic_constraints: matches!(x509.basic_constraints(), Ok(Some(basic)) if basic.critical),
    }
}

/// Without the extension it may be shown to anybody.
fn uses(x509: &X509Certificate<'_>) -> Uses {
    match x509.extended_key_usage() {
        Ok(Some(usage)) => Uses {
            server: usage.value.any || usage.value.server_auth,
            client: usage.value.any || usage.value.client_auth,
        },
        _ => Uses { server: true, client: true },
    }
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
