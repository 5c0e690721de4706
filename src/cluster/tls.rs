//! TLS from this program to a service: whom it believes, what it shows of itself, and the handshake over a stream.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pki::Pki;
use crate::transport::Stream;

/// A service that speaks TLS greets at once, or within this part of our patience. Patroni without TLS waits for the end of a
/// line that never comes.
const GREETING: f64 = 0.4;

/// The authorities to trust and our own certificate.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ClientConfig>);

/// What a service made of our greeting.
pub enum Greeted {
    /// It is who it should be.
    Tls(Box<TlsStream<Box<dyn Stream>>>),
    /// It did not answer in TLS, or not at all: it may not know TLS yet.
    Plain,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the certificate shown is not signed by an authority of ours")]
    Stranger(#[source] io::Error),
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
}

impl Tls {
    /// None while there are no certificates.
    pub fn of(pki: &Pki) -> Result<Option<Self>, String> {
        let Some(operator) = &pki.operator else { return Ok(None) };
        let trusted = pki.trusted();
        let fail = |error: &dyn std::fmt::Display| format!("a certificate in the vault cannot be used: {error}");
        let parse = |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let mut roots = RootCertStore::empty();
        for authority in parse(&trusted).map_err(|error| fail(&error))? {
            roots.add(authority).map_err(|error| fail(&error))?;
        }
        let chain = parse(&operator.certificate).map_err(|error| fail(&error))?;
        let key = PrivateKeyDer::from_pem_slice(operator.key.expose().as_bytes()).map_err(|error| fail(&error))?;
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| fail(&error))?
            .with_webpki_verifier(verifier.map_err(|error| fail(&error))?)
            .with_client_auth_cert(chain, key)
            .map_err(|error| fail(&error))?;
        Ok(Some(Self(Arc::new(config))))
    }

    /// For a greeting of another kind.
    pub fn config(&self) -> ClientConfig {
        ClientConfig::clone(&self.0)
    }

    /// Greet whoever is at the other end, who must be `address`.
    pub async fn greet(&self, stream: Box<dyn Stream>, address: &str, patience: Duration) -> Result<Greeted, TlsError> {
        let name = ServerName::try_from(address.to_owned())
            .map_err(|error| TlsError::Handshake(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let greeting = TlsConnector::from(self.0.clone()).connect(name, stream);
        match tokio::time::timeout(patience.mul_f64(GREETING), greeting).await {
            Ok(Ok(stream)) => Ok(Greeted::Tls(Box::new(stream))),
            Err(_) => Ok(Greeted::Plain),
            Ok(Err(error)) => match reason(&error) {
                Some(rustls::Error::InvalidMessage(_)) => Ok(Greeted::Plain),
                Some(rustls::Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                )) => Err(TlsError::Stranger(error)),
                // Some close the connection on what they do not understand.
                None if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Greeted::Plain),
                _ => Err(TlsError::Handshake(error)),
            },
        }
    }

    /// For PostgreSQL, which is asked for TLS in its own protocol first.
    pub fn postgres(&self) -> tokio_postgres_rustls::MakeRustlsConnect {
        tokio_postgres_rustls::MakeRustlsConnect::new(self.config())
    }
}

fn reason(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
#[path = "tls_tests.rs"]
pub(super) mod tests;
