//! SHA-256 as text: of files on hosts, and of the built-in roles and templates.

use sha2::{Digest, Sha256};

/// Lower-case hexadecimal, as `sha256sum` prints it.
pub fn sha256(content: impl AsRef<[u8]>) -> String {
    Sha256::digest(content.as_ref()).iter().map(|byte| format!("{byte:02x}")).collect()
}
