//! The certificates that services really show, whatever their files hold: a service may not have read them again. Only
//! looks: nothing is sent after the greeting, so nobody needs to be trusted for it. We show ours, and say goodbye, since
//! services write down whoever does not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::answer::Answer;
use super::tls::Tls;
use super::view::Gather;
use crate::digest::sha256;
use crate::error::one_line;
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::pki::{Authority, Pki, Purpose, Wanted, read, wanted};
use crate::transport::Stream;

/// Connecting and greeting, of our patience. Patroni without TLS waits for the end of a line that never comes.
const LOOKING: f64 = 0.6;
const GOODBYE: Duration = Duration::from_secs(3);
/// PostgreSQL is asked for TLS in its own protocol: length 8, code 80877103. It answers `S` or `N`.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// One service's certificate as it was shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    pub host: HostName,
    pub purpose: Purpose,
    pub answer: Answer<Certificate>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub subject: String,
    /// SHA-256 of the certificate.
    pub digest: String,
    pub ends: Timestamp,
    /// Whole days left when it was looked at.
    pub days_left: i64,
}

impl Certificate {
    pub fn of(read: &read::Read, now: Timestamp) -> Self {
        let (subject, digest) = (read.subject.clone(), sha256(&read.der));
        Self { subject, digest, ends: read.not_after, days_left: read.days_left(now) }
    }
}

/// Look at every service that has a certificate, all at once.
pub async fn all(gather: &Gather<'_>) -> Vec<Shown> {
    join_all(wanted(gather.inventory).into_iter().map(|wanted| one(gather, wanted))).await
}

/// The authorities behind them. One that only was trusted before may end as it likes.
pub fn authorities(pki: &Pki) -> Vec<Certificate> {
    let now = Timestamp::now();
    // What cannot be read is an error wherever TLS is to be spoken.
    let read = |one: &Authority| read::certificates(&one.certificate, "an authority").unwrap_or_default();
    let all = pki.authority.iter().chain(&pki.coming).flat_map(read);
    all.map(|read| Certificate::of(&read, now)).collect()
}

async fn one(gather: &Gather<'_>, wanted: Wanted) -> Shown {
    let answer = match gather.inventory.host(&wanted.host) {
        None => Answer::Unknown("it is not in the inventory".to_owned()),
        Some(host) => match gather.transport(&host.name) {
            Err(why) => Answer::Unknown(why),
            Ok(transport) => {
                let port = port(gather.inventory, wanted.purpose);
                let look = async {
                    let stream = transport.open(&host.address, port).await.map_err(|error| one_line(&error))?;
                    look(stream, &host.address, (wanted.purpose, gather.tls()?.as_ref())).await
                };
                match tokio::time::timeout(transport.patience().mul_f64(LOOKING), look).await {
                    Ok(Ok(certificate)) => Answer::Known(certificate),
                    Ok(Err(why)) => Answer::Down(why),
                    Err(_) => Answer::Down("it does not speak TLS".to_owned()),
                }
            }
        },
    };
    Shown { host: wanted.host, purpose: wanted.purpose, answer }
}

fn port(inventory: &Inventory, purpose: Purpose) -> u16 {
    match purpose {
        Purpose::Etcd => inventory.etcd.client_port,
        Purpose::Patroni => inventory.patroni.rest_port,
        Purpose::Postgres => inventory.postgresql.port,
        Purpose::Haproxy => inventory.haproxy.stats_port,
    }
}

async fn look(
    mut stream: Box<dyn Stream>,
    address: &str,
    (purpose, ours): (Purpose, Option<&Tls>),
) -> Result<Certificate, String> {
    if purpose == Purpose::Postgres {
        stream.write_all(&SSL_REQUEST).await.map_err(|error| one_line(&error))?;
        if stream.read_u8().await.map_err(|error| one_line(&error))? != b'S' {
            return Err("it does not speak TLS".to_owned());
        }
    }
    let seen = Arc::new(Looker::default());
    let name = ServerName::try_from(address.to_owned()).map_err(|error| one_line(&error))?;
    let config = seen.clone().config(ours).map_err(|error| one_line(&error))?;
    let greeted = match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => {
            tokio::spawn(say_goodbye(stream));
            Ok(())
        }
        Err(error) => Err(error),
    };
    // Whoever does not believe our certificate ends it there, after showing its own.
    let shown = seen.shown.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    match (shown, greeted) {
        (Some(der), _) => Ok(Certificate::of(&read::of_der(&der)?, Timestamp::now())),
        (None, Err(error)) => Err(format!("it does not speak TLS: {}", one_line(&error))),
        (None, Ok(())) => Err("it showed no certificate".to_owned()),
    }
}

/// Whoever hears no goodbye, or whose answer to it is not read, writes down that the connection was broken.
async fn say_goodbye(mut stream: TlsStream<Box<dyn Stream>>) {
    let goodbye = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // its certificate was seen, whatever it does now
    drop(tokio::time::timeout(GOODBYE, goodbye).await);
}

/// To speak with somebody else's PostgreSQL, whose authorities nobody has told us. Who only listens hears nothing; who stands
/// in between can say that he is it.
pub fn whoever_it_is() -> Result<MakeRustlsConnect, rustls::Error> {
    Ok(MakeRustlsConnect::new(Arc::new(Looker::default()).config(None)?))
}

/// Remembers what it is shown and accepts it.
#[derive(Debug)]
struct Looker {
    provider: Arc<CryptoProvider>,
    shown: Mutex<Option<Vec<u8>>>,
}

impl Default for Looker {
    fn default() -> Self {
        Self { provider: Arc::new(ring::default_provider()), shown: Mutex::default() }
    }
}

impl Looker {
    fn config(self: Arc<Self>, ours: Option<&Tls>) -> Result<ClientConfig, rustls::Error> {
        if let Some(ours) = ours {
            let mut config = ours.config();
            config.dangerous().set_certificate_verifier(self);
            return Ok(config);
        }
        let config =
            ClientConfig::builder_with_provider(self.provider.clone()).with_safe_default_protocol_versions()?;
        Ok(config.dangerous().with_custom_certificate_verifier(self).with_no_client_auth())
    }
}

impl ServerCertVerifier for Looker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.shown.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(end_entity.as_ref().to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tls::tests::{pki, serve};
    use super::*;

    async fn seen(purpose: Purpose, ours: tokio::io::DuplexStream) -> Result<Certificate, String> {
        look(Box::new(ours), "10.0.0.1", (purpose, None)).await
    }

    #[tokio::test]
    async fn whoever_lets_us_in_hears_a_goodbye() {
        let pki = pki();
        let (ours, theirs) = tokio::io::duplex(1 << 14);
        let server = tokio::spawn(serve(pki.clone(), theirs));
        let tls = Tls::of(&pki).expect("good certificates");
        look(Box::new(ours), "10.0.0.1", (Purpose::Etcd, tls.as_ref())).await.expect("it shows one");
        assert_eq!(server.await.expect("no panic").expect("nothing is broken off"), "");
    }

    #[tokio::test]
    async fn a_certificate_is_seen_though_nobody_is_let_in_without_one() {
        let pki = pki();
        let (ours, theirs) = tokio::io::duplex(1 << 14);
        let server = tokio::spawn(serve(pki.clone(), theirs));
        let certificate = seen(Purpose::Etcd, ours).await.expect("it shows one");
        let pair = pki.pair(&HostName::new("db1"), Purpose::Etcd).expect("issued");
        let kept = read::certificate(&pair.certificate, "it").expect("readable");
        assert_eq!(certificate, Certificate::of(&kept, Timestamp::now()));
        server.await.expect("no panic").expect_err("it wants to see one of ours");
    }

    #[tokio::test]
    async fn postgresql_is_asked_in_its_own_words() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 14);
        let server = tokio::spawn(async move {
            let mut asked = [0; 8];
            theirs.read_exact(&mut asked).await.expect("asked");
            assert_eq!(asked, SSL_REQUEST);
            theirs.write_all(b"S").await.expect("answered");
            serve(pki(), theirs).await.expect_err("it wants to see one of ours");
        });
        assert_eq!(seen(Purpose::Postgres, ours).await.expect("it shows one").subject, "CN=etcd of db1");
        server.await.expect("no panic");
        let (ours, mut theirs) = tokio::io::duplex(1 << 14);
        theirs.write_all(b"N").await.expect("answered");
        assert_eq!(seen(Purpose::Postgres, ours).await, Err("it does not speak TLS".to_owned()));
    }
}
