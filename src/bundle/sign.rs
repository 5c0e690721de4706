//! Signatures as minisign(1) makes and checks them: over the manifest, which has the SHA-256 of everything else.

use std::io::Cursor;
use std::path::Path;

use minisign::{KeyPair, PublicKey, PublicKeyBox, SecretKey, SecretKeyBox, SignatureBox};

use super::error::{BundleError, OnPath as _};

/// Whose signature is believed.
#[derive(Clone, Debug)]
pub struct Trusted(PublicKey);

/// What signs.
pub struct Signer {
    secret: SecretKey,
    public: PublicKey,
}

/// A new pair, as texts of the two files.
pub struct Pair {
    pub secret: String,
    pub public: String,
}

impl Trusted {
    /// A key file of minisign, or its second line alone.
    pub fn read(path: &Path) -> Result<Self, BundleError> {
        let text = crate::files::read_text(path).on("read", path)?;
        Self::parse(&text).map_err(|reason| BundleError::Key { path: path.to_owned(), reason })
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let key = match text.contains('\n') {
            true => PublicKeyBox::from_string(text).and_then(PublicKeyBox::into_public_key),
            false => PublicKey::from_base64(text),
        };
        key.map(Self).map_err(|_| "it holds no public key of minisign".to_owned())
    }

    /// As minisign shows it.
    pub fn id(&self) -> String {
        id(self.0.keynum())
    }

    /// Whether the text was signed with this key; why not otherwise.
    pub fn check(&self, text: &[u8], signature: &str) -> Result<(), String> {
        let unreadable = |_| "its signature cannot be read".to_owned();
        let signature = SignatureBox::from_string(signature).map_err(unreadable)?;
        let signed_by = id(signature.keynum());
        if signed_by != self.id() {
            return Err(format!("the key {signed_by} has signed it, and {} should have", self.id()));
        }
        let checked = minisign::verify(&self.0, &signature, Cursor::new(text), true, false, false);
        checked.map_err(|_| format!("the signature of {signed_by} is of another text"))
    }
}

/// The key that made a signature, whether it is a good one or not.
pub fn signer(signature: &str) -> Option<String> {
    SignatureBox::from_string(signature).ok().map(|signature| id(signature.keynum()))
}

/// The number of a key is written backwards, as minisign does.
fn id(number: &[u8]) -> String {
    number.iter().rev().map(|byte| format!("{byte:02X}")).collect()
}

impl Signer {
    pub fn read(path: &Path, password: impl FnOnce() -> Result<String, String>) -> Result<Self, BundleError> {
        let text = crate::files::read_text(path).on("read", path)?;
        let bad = |reason: String| BundleError::Key { path: path.to_owned(), reason };
        let unreadable = |_| bad("it holds no secret key of minisign".to_owned());
        let sealed = || SecretKeyBox::from_string(&text).map_err(unreadable);
        let secret = match sealed()?.into_unencrypted_secret_key() {
            Ok(secret) => secret,
            Err(_) => {
                let password = password().map_err(bad)?;
                sealed()?.into_secret_key(Some(password)).map_err(|_| bad("the password is wrong".to_owned()))?
            }
        };
        let public = PublicKey::from_secret_key(&secret).map_err(unreadable)?;
        Ok(Self { secret, public })
    }

    pub fn id(&self) -> String {
        id(self.public.keynum())
    }

    /// The comment is part of what is signed. There is chance in a signature (it protects the key), so two of the same
    /// text differ; they are the only thing in a bundle that does.
    pub fn sign(&self, text: &[u8], comment: &str) -> Result<String, String> {
        let about = format!("signature of the manifest by {}", self.id());
        let signed = minisign::sign(Some(&self.public), &self.secret, Cursor::new(text), Some(comment), Some(&about));
        signed.map(|signature| signature.to_string()).map_err(|error| error.to_string())
    }
}

impl Pair {
    /// `password` encrypts the secret half; an empty one leaves it open.
    pub fn generate(password: &str) -> Result<Self, String> {
        let text = |error: minisign::PError| error.to_string();
        let pair = match password {
            "" => KeyPair::generate_unencrypted_keypair(),
            _ => KeyPair::generate_encrypted_keypair(Some(password.to_owned())),
        }
        .map_err(text)?;
        let secret = pair.sk.to_box(Some("signs bundles of xnat-provision")).map_err(text)?;
        Ok(Self { secret: secret.to_string(), public: pair.pk.to_box().map_err(text)?.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer_of(pair: &Pair, directory: &Path, password: &str) -> Result<Signer, BundleError> {
        let path = directory.join("key");
        std::fs::write(&path, &pair.secret).expect("written");
        Signer::read(&path, || Ok(password.to_owned()))
    }

    #[test]
    fn what_was_signed_is_known_again_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let (ours, other) = (Pair::generate("").expect("made"), Pair::generate("").expect("made"));
        let signer = signer_of(&ours, directory.path(), "").expect("no password");
        let signature = signer.sign(b"text", "xnat").expect("signed");
        let trusted = Trusted::parse(&ours.public).expect("a key");
        trusted.check(b"text", &signature).expect("good");
        assert_eq!(super::signer(&signature), Some(trusted.id()));
        assert!(trusted.check(b"texT", &signature).expect_err("another text").ends_with("is of another text"));
        let told = Trusted::parse(&other.public).expect("a key").check(b"text", &signature).expect_err("another key");
        assert!(told.contains("should have"), "{told}");
        trusted.check(b"text", "nothing").expect_err("no signature");
        // the second line alone is a key too, and a secret one is none
        let line = ours.public.lines().nth(1).expect("two lines");
        assert_eq!(Trusted::parse(line).expect("a key").id(), trusted.id());
        Trusted::parse("RWQ").expect_err("cut off");
    }

    #[test]
    fn a_password_opens_the_secret_key_and_another_one_does_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let pair = Pair::generate("open").expect("made");
        signer_of(&pair, directory.path(), "open").expect("opened");
        let error = signer_of(&pair, directory.path(), "shut").err().expect("not opened");
        assert!(error.to_string().ends_with("the password is wrong"), "{error}");
    }
}
