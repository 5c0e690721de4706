//! Which cryptography we agree to: a short list, written out, because russh still implements things that must not be used
//! (SHA-1, 3DES, small groups, compression).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, client, compression, kex, mac};

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];
/// chacha20 comes last: without strict key exchange it is open to the Terrapin attack, see [`is_sound`].
const CIPHERS: &[cipher::Name] = &[cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::CHACHA20_POLY1305];
/// Never used with these ciphers, but some servers want a common one all the same.
const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM, mac::HMAC_SHA512, mac::HMAC_SHA256];

/// Every kind of host key we take, best first.
fn host_keys() -> Vec<Algorithm> {
    let ecdsa = |curve| Algorithm::Ecdsa { curve };
    vec![
        Algorithm::Ed25519,
        ecdsa(EcdsaCurve::NistP256),
        ecdsa(EcdsaCurve::NistP384),
        ecdsa(EcdsaCurve::NistP521),
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ]
}

/// RSA keys are one kind, whatever hash they sign with.
pub(super) fn same_kind(a: &Algorithm, b: &Algorithm) -> bool {
    a == b || matches!((a, b), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }))
}

/// Every kind of host key, those the host is known by first.
pub(super) fn host_keys_preferring(known: &[Algorithm]) -> Vec<Algorithm> {
    let (mut first, rest): (Vec<_>, Vec<_>) =
        host_keys().into_iter().partition(|algorithm| known.iter().any(|k| same_kind(k, algorithm)));
    first.extend(rest);
    first
}

/// Is what was agreed on safe? Strict key exchange closes the Terrapin hole (CVE-2023-48795); AES-GCM has none.
pub(super) fn is_sound(names: &russh::Names) -> bool {
    names.strict_kex() || names.cipher != cipher::CHACHA20_POLY1305
}

pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
pub(super) const KEEPALIVE_MAX: usize = 3;

pub(super) fn client_config(host_keys: &[Algorithm]) -> Arc<client::Config> {
    Arc::new(client::Config {
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            key: Cow::Owned(host_keys.to_vec()),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        keepalive_interval: Some(KEEPALIVE_INTERVAL),
        keepalive_max: KEEPALIVE_MAX,
        nodelay: true,
        ..client::Config::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_old() {
        let config = client_config(&host_keys());
        let preferred = &config.preferred;
        let names = preferred.kex.iter().map(|n| n.as_ref().to_owned());
        let names = names.chain(preferred.cipher.iter().map(|n| n.as_ref().to_owned()));
        let names = names.chain(preferred.mac.iter().map(|n| n.as_ref().to_owned()));
        let names: Vec<String> = names.chain(preferred.key.iter().map(ToString::to_string)).collect();
        for old in ["sha1", "ssh-rsa", "cbc", "group", "zlib", "3des"] {
            assert!(!names.iter().any(|name| name.contains(old)), "{old} in {names:?}");
        }
    }

    #[test]
    fn the_kind_we_know_comes_first() {
        let order = host_keys_preferring(&[Algorithm::Rsa { hash: None }]);
        assert_eq!(order[0], Algorithm::Rsa { hash: Some(HashAlg::Sha512) });
        assert_eq!(order.len(), host_keys().len());
    }
}
