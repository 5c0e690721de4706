//! The greeting, against a server of this process.

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::names::HostName;
use crate::pki::issue::Issuing;
use crate::pki::{Purpose, Wanted};
use crate::transport::PATIENCE;

pub(in crate::cluster) fn pki() -> Pki {
    let mut pki = Pki::default();
    let wanted = Wanted { host: HostName::new("db1"), purpose: Purpose::Etcd, names: vec!["10.0.0.1".to_owned()] };
    let issuing = Issuing { cluster: "xnat", days: 365, now: Timestamp::now() };
    assert_eq!(issuing.complete(&mut pki, &[wanted]).expect("issued").len(), 2);
    pki
}

/// A server as etcd is: it shows its certificate and wants to see one of the same authority.
pub(in crate::cluster) async fn serve(pki: Pki, stream: DuplexStream) -> io::Result<String> {
    let provider = Arc::new(ring::default_provider());
    let parse = |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).map(|der| der.expect("PEM")).collect();
    let mut roots = RootCertStore::empty();
    let authorities: Vec<_> = parse(&pki.trusted());
    authorities.into_iter().for_each(|authority| roots.add(authority).expect("an authority"));
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let pair = pki.pair(&HostName::new("db1"), Purpose::Etcd).expect("issued");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients.build().expect("a verifier"))
        .with_single_cert(
            parse(&pair.certificate),
            PrivateKeyDer::from_pem_slice(pair.key.expose().as_bytes()).expect("a key"),
        );
    let mut stream = TlsAcceptor::from(Arc::new(config.expect("a pair"))).accept(stream).await?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    Ok(said)
}

async fn greet(ours: &Pki, address: &str, stream: DuplexStream) -> Result<Greeted, TlsError> {
    let tls = Tls::of(ours).expect("good certificates").expect("there are some");
    tls.greet(Box::new(stream), address, PATIENCE).await
}

#[tokio::test]
async fn both_sides_verify_each_other() {
    let pki = pki();
    let (ours, theirs) = tokio::io::duplex(1 << 14);
    let server = tokio::spawn(serve(pki.clone(), theirs));
    let Ok(Greeted::Tls(mut stream)) = greet(&pki, "10.0.0.1", ours).await else { panic!("it speaks TLS") };
    stream.write_all(b"hello").await.expect("sent");
    stream.shutdown().await.expect("ended");
    assert_eq!(server.await.expect("no panic").expect("our certificate is good"), "hello");
}

#[tokio::test]
async fn another_authority_and_another_name_are_told_apart() {
    let (one, other) = (pki(), pki());
    for (address, ours, stranger) in [("10.0.0.1", &other, true), ("10.0.0.2", &one, false)] {
        let (near, far) = tokio::io::duplex(1 << 14);
        let server = tokio::spawn(serve(one.clone(), far));
        match greet(ours, address, near).await {
            Err(TlsError::Stranger(_)) => assert!(stranger, "{address}"),
            Err(TlsError::Handshake(_)) => assert!(!stranger, "{address}"),
            Ok(_) => panic!("{address} was believed"),
        }
        assert!(server.await.expect("no panic").is_err(), "nothing was said to it");
    }
}

/// As etcd, HAProxy and Patroni without TLS do: an answer in another protocol, an end, silence.
#[tokio::test]
async fn what_is_not_tls_is_plain() {
    for answer in [Some("HTTP/1.1 400 Bad Request\r\n\r\n"), Some(""), None] {
        let (near, mut far) = tokio::io::duplex(1 << 14);
        let server = tokio::spawn(async move {
            if let Some(answer) = answer {
                far.write_all(answer.as_bytes()).await.expect("sent");
                return None;
            }
            Some(far)
        });
        assert!(matches!(greet(&pki(), "10.0.0.1", near).await, Ok(Greeted::Plain)), "{answer:?}");
        drop(server.await.expect("no panic"));
    }
}

#[test]
fn without_certificates_there_is_no_tls() {
    assert!(Tls::of(&Pki::default()).expect("nothing is wrong").is_none());
}
