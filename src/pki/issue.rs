//! Making authorities and certificates; which are to be made is decided in `complete`. ECDSA over P-256: every TLS library of the last ten years can verify it.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};

use super::{Authority, AuthorityKey, Pair, PkiError, read};
use crate::secret::Secret;

/// An authority outlives many certificates, and is rotated by a person.
const AUTHORITY_DAYS: u32 = 3650;
/// What issuing needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Issuing<'a> {
    pub cluster: &'a str,
    /// How long a host's certificate is good.
    pub days: u32,
    pub now: Timestamp,
}

impl Issuing<'_> {
    /// A new authority.
    pub fn authority(&self) -> Result<Authority, PkiError> {
        let subject = format!("xnat-provision CA of {}", self.cluster);
        let fail = |source| PkiError::Issue { subject: subject.clone(), source };
        let mut params = self.params(&subject, AUTHORITY_DAYS, &[]).map_err(fail)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(fail)?;
        let certificate = params.self_signed(&key).map_err(fail)?;
        let key = AuthorityKey::Kept(Secret::new(key.serialize_pem()));
        Ok(Authority { certificate: certificate.pem(), key })
    }

    /// A certificate for servers and clients alike: etcd and Patroni are both towards each other.
    pub fn certificate(&self, authority: &Authority, subject: &str, names: &[String]) -> Result<Pair, PkiError> {
        let fail = |source| PkiError::Issue { subject: subject.to_owned(), source };
        let Some(key) = authority.key() else {
            let authority = read::certificate(&authority.certificate, "the authority")?.subject;
            return Err(PkiError::NoKey { subject: subject.to_owned(), authority });
        };
        let signer = KeyPair::from_pem(key.expose()).map_err(fail)?;
        let issuer = Issuer::from_ca_cert_pem(&authority.certificate, signer).map_err(fail)?;
        let mut params = self.params(subject, self.days, names).map_err(fail)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(fail)?;
        let certificate = params.signed_by(&key, &issuer).map_err(fail)?;
        let certificate = certificate.pem() + &authority.intermediates()?;
        Ok(Pair { certificate, key: Secret::new(key.serialize_pem()) })
    }

    fn params(&self, subject: &str, days: u32, names: &[String]) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::new(names.to_vec())?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, subject);
        params.distinguished_name = name;
        // To the day: the hosts' clocks may be behind ours.
        let day = |offset: i64| {
            let date = (self.now + SignedDuration::from_hours(24 * offset)).to_zoned_datetime(TimeZone::UTC).date();
            rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
        };
        params.not_before = day(-1);
        params.not_after = day(days.into());
        params.serial_number = Some(SerialNumber::from_slice(&rand::random::<[u8; 16]>()));
        Ok(params)
    }
}
