//! SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5802, RFC 7677): made here so that a clear password never
//! reaches a server's log, and compared here so that a password can be checked without logging in with it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::digest::Key;
use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// PostgreSQL's own numbers (`scram_iterations` and SCRAM_DEFAULT_SALT_LEN).
const ITERATIONS: u32 = 4096;
const SALT: usize = 16;

/// A new verifier of a password, with fresh salt.
pub fn verifier(password: &Secret) -> Secret {
    let mut salt = [0; SALT];
    rand::rng().fill_bytes(&mut salt);
    Secret::new(with_salt(password, &salt, ITERATIONS))
}

/// Is this what the server stored for this password? Anything but a SCRAM verifier (md5, nothing) is not.
pub fn matches(stored: Option<&str>, password: &Secret) -> bool {
    let Some(stored) = stored else { return false };
    parse(stored).is_some_and(|(iterations, salt)| with_salt(password, &salt, iterations) == stored)
}

/// Is this a SCRAM verifier at all?
pub fn is_verifier(stored: &str) -> bool {
    parse(stored).is_some()
}

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`
fn parse(stored: &str) -> Option<(u32, Vec<u8>)> {
    let (iterations, salt) = stored.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?.0.split_once(':')?;
    Some((iterations.parse().ok()?, STANDARD.decode(salt).ok()?))
}

fn with_salt(password: &Secret, salt: &[u8], iterations: u32) -> String {
    // As libpq does: normalise where SASLprep accepts the password, otherwise take its bytes.
    let prepared = stringprep::saslprep(password.expose()).unwrap_or_else(|_| password.expose().into());
    let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(prepared.as_bytes(), salt, iterations);
    let stored_key = Sha256::digest(mac(&salted, b"Client Key"));
    let server_key = mac(&salted, b"Server Key");
    let encode = |bytes: &[u8]| STANDARD.encode(bytes);
    format!("SCRAM-SHA-256${iterations}:{}${}:{}", encode(salt), encode(&stored_key), encode(&server_key))
}

fn mac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    // HMAC pads a key shorter than its block with zeros, so this is the same key and there is no error to handle.
    let mut block = Key::<Hmac<Sha256>>::default();
    block[..key.len()].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by PostgreSQL 15 for Patroni's `rewind` role.
    const STORED: &str = "SCRAM-SHA-256$4096:cU++WrTZQHKJaKtEZoAKrg==$m6nw+5b36mrctSxBtZrIMWKqCLyrNVAeP7BBgijtQaw=:\
                          IqT3ZXgZtlqyNoHTiMyGoUtJiZ0afHkLv1zHhMhObeQ=";

    #[test]
    fn agrees_with_postgresql() {
        assert!(matches(Some(STORED), &Secret::new("rewind-secret")));
        assert!(!matches(Some(STORED), &Secret::new("rewind-Secret")));
    }

    #[test]
    fn anything_else_is_no_match() {
        let password = Secret::new("x");
        for stored in [None, Some(""), Some("md5d7f4"), Some("SCRAM-SHA-256$"), Some("SCRAM-SHA-256$4096:%$a:b")] {
            assert!(!matches(stored, &password), "{stored:?}");
        }
    }

    #[test]
    fn a_new_verifier_matches_and_is_never_the_same_twice() {
        let password = Secret::new("It's a \\ passwörd");
        let (one, other) = (verifier(&password), verifier(&password));
        assert!(matches(Some(one.expose()), &password) && matches(Some(other.expose()), &password));
        assert_ne!(one, other);
    }
}
