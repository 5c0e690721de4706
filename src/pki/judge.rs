//! Whether certificates and keys that somebody else has made can be used. Pure; every fault names its file.

use std::path::Path;

use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData};

use super::error::Fault;
use super::read::{self, Read};
use super::{Pair, Wanted};
use crate::quote;
use crate::secret::Secret;

/// A file and what is in it.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    pub file: &'a Path,
    pub text: &'a str,
}

impl Text<'_> {
    pub fn fault(&self, what: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault { file: self.file.to_owned(), what: what.into(), help: help.into() }
    }

    fn look(&self) -> String {
        format!("look at it: `openssl x509 -noout -text -in {}`", quote::path(self.file))
    }

    /// Every certificate in it.
    pub fn certificates(&self) -> Result<Vec<Read>, Fault> {
        read::certificates(self.text, "it").map_err(|error| {
            let help = "it must be text that begins with -----BEGIN CERTIFICATE-----; from DER: `openssl x509 -inform der -in FILE -out FILE.pem`";
            self.fault(format!("holds no certificate in PEM form ({error})"), help)
        })
    }

    /// The private key in it, as its public half is written in certificates.
    fn public_half(&self) -> Result<Vec<u8>, Fault> {
        let convert =
            format!("`openssl pkcs8 -topk8 -nocrypt -in {0} -out {0}.new && mv {0}.new {0}`", quote::path(self.file));
        if self.text.contains("ENCRYPTED") {
            let help = format!("services cannot ask for its passphrase; take it off: {convert}");
            return Err(self.fault("is an encrypted private key", help));
        }
        if !self.text.contains("-----BEGIN PRIVATE KEY-----") {
            return Err(self.fault("holds no private key in PKCS #8 form", format!("convert it: {convert}")));
        }
        let key = KeyPair::from_pem(self.text).map_err(|error| {
            let help = "use ECDSA over P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits";
            self.fault(format!("holds a private key that cannot be used ({error})"), help)
        })?;
        Ok(key.subject_public_key_info())
    }

    /// This key is the one of that certificate.
    pub fn belongs_to(&self, certificate: Text<'_>, read: &Read) -> Option<Fault> {
        match self.public_half() {
            Err(fault) => Some(fault),
            Ok(public) if public == read.public_key => None,
            Ok(_) => Some(self.fault(
                format!("is not the key of the certificate in {}", certificate.file.display()),
                format!(
                    "these two must print the same: `openssl x509 -noout -pubkey -in {}` and `openssl pkey -pubout -in {}`",
                    quote::path(certificate.file),
                    quote::path(self.file)
                ),
            )),
        }
    }

    /// It is its time now.
    fn time(&self, read: &Read, now: Timestamp) -> Option<Fault> {
        let what = if read.not_after < now {
            format!("has ended: \"{}\" was good until {}", read.subject, day(read.not_after))
        } else if read.not_before > now {
            format!("is not good yet: \"{}\" begins on {}", read.subject, day(read.not_before))
        } else {
            return None;
        };
        Some(self.fault(what, "get a new one, or set this machine's clock right: `timedatectl`"))
    }

    fn authority(&self, read: &Read) -> Option<Fault> {
        (!read.is_authority).then(|| {
            let what = format!("is not an authority: \"{}\" may not sign certificates", read.subject);
            self.fault(what, format!("it needs CA:TRUE and, if it has a key usage, Certificate Sign; {}", self.look()))
        })
    }

    /// Patroni on Debian 13 verifies to the letter, and would refuse its peers where others are lenient.
    fn form(&self, read: &Read) -> Option<Fault> {
        let form = read.form;
        let needed = [
            ("a key usage", !read.is_authority || form.key_usage),
            ("critical basic constraints", !read.is_authority || form.critical_basic_constraints),
            ("a subject key identifier", !read.is_authority || form.subject_key_identifier),
            ("an authority key identifier", read.is_self_signed() || form.authority_key_identifier),
        ];
        let missing: Vec<&str> = needed.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
        (!missing.is_empty()).then(|| {
            let what = format!("is not as RFC 5280 has it: \"{}\" is without {}", read.subject, missing.join(", "));
            self.fault(
                what,
                format!(
                    "strict clients refuse it, Patroni on Debian 13 among them: have a new one made; {}",
                    self.look()
                ),
            )
        })
    }

    /// A chain that begins with the one that signs and ends in a root.
    pub fn chain_of_authorities(&self, chain: &[Read], now: Timestamp) -> Vec<Fault> {
        let mut faults = self.authorities(chain, now);
        for pair in chain.windows(2).filter(|pair| !pair[0].is_signed_by(&pair[1])) {
            let what =
                format!("is no chain: \"{}\" is not signed by the next, \"{}\"", pair[0].subject, pair[1].subject);
            faults
                .push(self.fault(what, "put the signing authority first, then the one that signed it, up to the root"));
        }
        if let Some(last) = chain.last().filter(|last| !last.is_self_signed()) {
            let what = format!("does not lead up to a root: its last certificate was signed by \"{}\"", last.issuer);
            faults.push(self.fault(what, "append that one's certificate, and so on up to the one that signed itself"));
        }
        faults
    }

    /// A set of authorities to trust.
    pub fn authorities(&self, all: &[Read], now: Timestamp) -> Vec<Fault> {
        let judge = |one| match self.authority(one) {
            None => [self.form(one), self.time(one, now)],
            nobody => [nobody, self.time(one, now)],
        };
        all.iter().flat_map(judge).flatten().collect()
    }
}

/// What a certificate must be good for.
pub struct Needs<'a> {
    pub names: Vec<&'a str>,
    pub uses: read::Uses,
}

impl<'a> Needs<'a> {
    pub fn of(wanted: &'a Wanted) -> Self {
        Self { names: wanted.public_names().collect(), uses: wanted.purpose.uses() }
    }

    /// This program only ever asks.
    pub fn of_operator() -> Self {
        Self { names: Vec::new(), uses: read::Uses { server: false, client: true } }
    }
}

/// One certificate with what follows it in its file, against what it is needed for and whom everybody trusts.
pub fn leaf(
    certificate: Text<'_>,
    needs: &Needs<'_>,
    trusted: &[Read],
    now: Timestamp,
) -> Result<Vec<Read>, Vec<Fault>> {
    let chain = certificate.certificates().map_err(|fault| vec![fault])?;
    let Some((own, above)) = chain.split_first() else { return Err(Vec::new()) };
    let mut faults: Vec<Fault> = chain.iter().filter_map(|one| certificate.time(one, now)).collect();
    faults.extend(above.iter().filter_map(|one| certificate.authority(one)));
    faults.extend(chain.iter().filter_map(|one| certificate.form(one)));
    for pair in chain.windows(2).filter(|pair| !pair[0].is_signed_by(&pair[1])) {
        let what = format!("is no chain: \"{}\" is not signed by the next, \"{}\"", pair[0].subject, pair[1].subject);
        faults.push(certificate.fault(what, "put the certificate first, then the authority that signed it, and so on"));
    }
    let top = above.last().unwrap_or(own);
    if !trusted.iter().any(|authority| top.is_signed_by(authority) || top.der == authority.der) {
        let what = format!(
            "is not signed by an authority in ca_certificate: \"{}\" was signed by \"{}\"",
            top.subject, top.issuer
        );
        faults.push(
            certificate.fault(what, "append the authorities in between to this file, or the root to ca_certificate"),
        );
    }
    let missing: Vec<&str> = needs.names.iter().copied().filter(|name| !own.covers(name)).collect();
    if !missing.is_empty() {
        let what = format!("is not for {}", missing.join(", "));
        faults.push(certificate.fault(
            what,
            "ask for one with these as subject alternative names: `xnat-provision certs wanted` lists them",
        ));
    }
    let uses =
        [("serverAuth", needs.uses.server && !own.uses.server), ("clientAuth", needs.uses.client && !own.uses.client)];
    for (name, _) in uses.iter().filter(|(_, missing)| *missing) {
        let what = format!("may not be used as {name}");
        faults.push(certificate.fault(what, format!("its extended key usage must hold {name}, or be left out")));
    }
    if faults.is_empty() { Ok(chain) } else { Err(faults) }
}

/// A certificate and its key, if both can be used.
pub fn pair(
    texts: (Text<'_>, Text<'_>),
    needs: &Needs<'_>,
    trusted: &[Read],
    now: Timestamp,
) -> Result<Pair, Vec<Fault>> {
    let (certificate, key) = texts;
    let chain = leaf(certificate, needs, trusted, now)?;
    let unfit = chain.first().and_then(|own| key.belongs_to(certificate, own));
    match unfit {
        Some(fault) => Err(vec![fault]),
        None => {
            Ok(Pair { certificate: chain.iter().map(|one| read::pem(&one.der)).collect(), key: Secret::new(key.text) })
        }
    }
}

fn day(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d").to_string()
}
