//! Known hosts files: is this the key we know a host by? `ssh-key` reads the lines; the matching is here, because
//! russh's own check gives wrong line numbers after comments and knows no wildcards, revocations or second keys.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, PublicKey};
use sha1::Sha1;
use ssh2_config::HostClause;

/// What the files say about a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Known,
    /// No line is about this host.
    Unknown,
    /// The host is known, by another key. Another *kind* of key counts too: otherwise whoever stands in between
    /// would only have to offer a kind we have not seen yet.
    Changed {
        file: PathBuf,
        line: usize,
    },
    Revoked {
        file: PathBuf,
        line: usize,
    },
}

/// All lines about one host.
#[derive(Debug, Default)]
pub struct HostKeys(Vec<Line>);

#[derive(Debug)]
struct Line {
    file: PathBuf,
    number: usize,
    revoked: bool,
    key: PublicKey,
}

/// A file that exists and cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    pub path: PathBuf,
    pub source: std::io::Error,
}

/// How a host is called in the files: `name`, or `[name]:port` when the port is not 22.
pub fn lookup_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

impl HostKeys {
    /// Everything the files have about `name`. A file that is not there has nothing; lines that cannot be read (other
    /// key types, certificate authorities) are passed over, as OpenSSH does.
    pub fn load(name: &str, files: &[PathBuf]) -> Result<Self, Unreadable> {
        let mut lines = Vec::new();
        for file in files {
            let text = match crate::files::read_text(file) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(source) => return Err(Unreadable { path: file.clone(), source }),
            };
            for (index, text) in text.lines().enumerate() {
                if let Some((revoked, key)) = about(name, text) {
                    lines.push(Line { file: file.clone(), number: index + 1, revoked, key });
                }
            }
        }
        Ok(Self(lines))
    }

    pub fn judge(&self, key: &PublicKey) -> Verdict {
        let same = |line: &&Line| line.key.key_data() == key.key_data();
        if let Some(line) = self.0.iter().filter(|l| l.revoked).find(same) {
            return Verdict::Revoked { file: line.file.clone(), line: line.number };
        }
        let trusted: Vec<&Line> = self.0.iter().filter(|l| !l.revoked).collect();
        if trusted.iter().any(same) {
            return Verdict::Known;
        }
        // The line with the same kind of key is the one to look at.
        let other = trusted.iter().find(|l| l.key.algorithm() == key.algorithm()).or(trusted.first());
        match other {
            Some(line) => Verdict::Changed { file: line.file.clone(), line: line.number },
            None => Verdict::Unknown,
        }
    }

    /// The kinds of key the host is known by: to be asked for first, so that the server shows one we know.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        self.0.iter().filter(|l| !l.revoked).map(|l| l.key.algorithm()).collect()
    }
}

/// Is this line about `name`? If so: is it a revocation, and the key.
fn about(name: &str, line: &str) -> Option<(bool, PublicKey)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    // The parser wants single spaces between the fields.
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let entry: Entry = fields.join(" ").parse().ok()?;
    let revoked = match entry.marker() {
        None => false,
        Some(Marker::Revoked) => true,
        Some(Marker::CertAuthority) => return None,
    };
    matches(name, entry.host_patterns()).then(|| (revoked, entry.public_key().clone()))
}

fn matches(name: &str, patterns: &HostPatterns) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => {
            Hmac::<Sha1>::new_from_slice(salt).is_ok_and(|mac| mac.chain_update(name).verify_slice(hash).is_ok())
        }
        HostPatterns::Patterns(patterns) => {
            let hit = |pattern: &str| HostClause::new(pattern.to_ascii_lowercase(), false).intersects(name);
            let refused = patterns.iter().filter_map(|p| p.strip_prefix('!')).any(hit);
            !refused && patterns.iter().filter(|p| !p.starts_with('!')).any(|p| hit(p))
        }
    }
}

/// Add a key for a host nothing was known of. The caller has made sure of that and holds a lock.
pub fn learn(name: &str, key: &PublicKey, file: &Path) -> std::io::Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let old = match std::fs::read(file) {
        Ok(old) => old,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let gap = if old.is_empty() || old.ends_with(b"\n") { "" } else { "\n" };
    let key = PublicKey::from(key.key_data().clone()).to_openssh().map_err(std::io::Error::other)?;
    let mut file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    // One write, so that two runs at once do not mix their lines.
    file.write_all(format!("{gap}{name} {key}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";
    /// `example.com`, hashed.
    const HASHED: &str = "|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak= ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).expect("a key")
    }

    fn judge(name: &str, file: &str, shown: &str) -> Verdict {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("known_hosts");
        std::fs::write(&path, file).expect("written");
        match HostKeys::load(name, &[directory.path().join("missing"), path]).expect("readable").judge(&key(shown)) {
            Verdict::Changed { line, .. } => Verdict::Changed { file: PathBuf::new(), line },
            Verdict::Revoked { line, .. } => Verdict::Revoked { file: PathBuf::new(), line },
            verdict => verdict,
        }
    }

    fn changed(line: usize) -> Verdict {
        Verdict::Changed { file: PathBuf::new(), line }
    }

    #[test]
    fn names_ports_patterns_and_hashes() {
        assert_eq!(judge("db1", &format!("db1,10.0.0.1 {A}\n"), A), Verdict::Known);
        assert_eq!(judge("db2", &format!("db1,10.0.0.1 {A}\n"), A), Verdict::Unknown);
        assert_eq!(judge("[db1]:2222", &format!("db1 {B}\n[db1]:2222\t{A} a comment\n"), A), Verdict::Known);
        assert_eq!(judge("db1.example.org", &format!("*.example.org,!db2* {A}\n"), A), Verdict::Known);
        assert_eq!(judge("db2.example.org", &format!("*.example.org,!db2* {A}\n"), A), Verdict::Unknown);
        assert_eq!(judge("example.com", HASHED, &HASHED[HASHED.find("ssh-").expect("a key")..]), Verdict::Known);
        assert_eq!(lookup_name("DB1", 22), "db1");
        assert_eq!(lookup_name("db1", 2222), "[db1]:2222");
    }

    #[test]
    fn a_second_key_of_the_same_kind_is_known_too() {
        assert_eq!(judge("db1", &format!("db1 {A}\ndb1 {B}\n"), B), Verdict::Known);
    }

    #[test]
    fn a_change_names_the_right_line_after_comments() {
        assert_eq!(judge("db1", &format!("# comment\n\nnot a line\ndb1 {A}\n"), B), changed(4));
    }

    #[test]
    fn another_kind_of_key_is_a_change_and_not_news() {
        let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5KqiiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc=";
        assert_eq!(judge("db1", &format!("db1 {ecdsa}\n"), A), changed(1));
    }

    #[test]
    fn revoked_keys_and_authorities() {
        let revoked = Verdict::Revoked { file: PathBuf::new(), line: 2 };
        assert_eq!(judge("db1", &format!("db1 {A}\n@revoked * {A}\n"), A), revoked);
        assert_eq!(judge("db1", &format!("@cert-authority * {A}\n"), A), Verdict::Unknown);
    }

    #[test]
    fn what_is_learned_is_known_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join(".ssh/known_hosts");
        learn("db1", &key(A), &file).expect("learned");
        std::fs::write(&file, format!("db1 {A}")).expect("without a newline at its end");
        learn("[db2]:2222", &key(B), &file).expect("learned");
        let keys = HostKeys::load("[db2]:2222", std::slice::from_ref(&file)).expect("readable");
        assert_eq!(keys.judge(&key(B)), Verdict::Known);
        assert_eq!(keys.algorithms(), [Algorithm::Ed25519]);
        assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
