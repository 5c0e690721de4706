//! Making authorities and certificates. ECDSA over P-256: every TLS library of the last ten years can verify it.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};

use super::{Pair, Pki, PkiError, Wanted, read};
use crate::secret::Secret;

/// An authority outlives many certificates, and is rotated by a person.
const AUTHORITY_DAYS: u32 = 3650;
/// One that ends sooner than this is made anew when the inventory is applied.
pub const RENEW_DAYS: i64 = 30;

/// What issuing needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Issuing<'a> {
    pub cluster: &'a str,
    /// How long a host's certificate is good.
    pub days: u32,
    pub now: Timestamp,
}

impl Issuing<'_> {
    /// Make what is missing, what no longer fits, and what will end soon. True when anything was made.
    pub fn complete(&self, pki: &mut Pki, wanted: &[Wanted]) -> Result<bool, PkiError> {
        if wanted.is_empty() {
            return Ok(false);
        }
        let mut made = false;
        let authority = match &pki.authority {
            Some(authority) => authority.clone(),
            None => {
                made = true;
                pki.authority.insert(self.authority()?).clone()
            }
        };
        if pki.operator.as_ref().is_none_or(|pair| !self.fits(pair, &authority, &[])) {
            pki.operator = Some(self.certificate(&authority, &format!("xnat-provision of {}", self.cluster), &[])?);
            made = true;
        }
        for one in wanted {
            let pairs = pki.hosts.entry(one.host.clone()).or_default();
            if pairs.get(&one.purpose).is_none_or(|pair| !self.fits(pair, &authority, &one.names)) {
                let subject = format!("{} of {}", one.purpose, one.host);
                pairs.insert(one.purpose, self.certificate(&authority, &subject, &one.names)?);
                made = true;
            }
        }
        Ok(made)
    }

    /// A new authority.
    pub fn authority(&self) -> Result<Pair, PkiError> {
        let subject = format!("xnat-provision CA of {}", self.cluster);
        let fail = |source| PkiError::Issue { subject: subject.clone(), source };
        let mut params = self.params(&subject, AUTHORITY_DAYS, &[]).map_err(fail)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(fail)?;
        let certificate = params.self_signed(&key).map_err(fail)?;
        Ok(Pair { certificate: certificate.pem(), key: Secret::new(key.serialize_pem()) })
    }

    /// A certificate for servers and clients alike: etcd and Patroni are both towards each other.
    pub fn certificate(&self, authority: &Pair, subject: &str, names: &[String]) -> Result<Pair, PkiError> {
        let fail = |source| PkiError::Issue { subject: subject.to_owned(), source };
        let signer = KeyPair::from_pem(authority.key.expose()).map_err(fail)?;
        let issuer = Issuer::from_ca_cert_pem(&authority.certificate, signer).map_err(fail)?;
        let mut params = self.params(subject, self.days, names).map_err(fail)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(fail)?;
        let certificate = params.signed_by(&key, &issuer).map_err(fail)?;
        Ok(Pair { certificate: certificate.pem(), key: Secret::new(key.serialize_pem()) })
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

    fn fits(&self, pair: &Pair, authority: &Pair, names: &[String]) -> bool {
        let Ok(read) = read::certificate(&pair.certificate, "a certificate") else { return false };
        let long_enough = read.days_left(self.now) >= RENEW_DAYS.min(i64::from(self.days) / 3);
        long_enough && read.names == names && read::signed_by(&pair.certificate, &authority.certificate)
    }
}
