//! Private key files: read, unlocked once, kept for all hosts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{PrivateKey, PublicKey};
use tokio::sync::Mutex;

use super::prompt::{Asker, Question};

/// How often a mistyped passphrase may be typed again. Nobody is locked out by that: it is checked here.
const TRIES: usize = 3;

#[derive(Default)]
pub(super) struct KeyStore {
    unlocked: Mutex<BTreeMap<PathBuf, Arc<PrivateKey>>>,
}

/// A key file, perhaps still locked. The public half is readable either way.
#[derive(Clone, Debug)]
pub(super) enum KeyFile {
    Missing,
    Locked(Arc<PrivateKey>),
    Unlocked(Arc<PrivateKey>),
}

impl KeyStore {
    pub(super) async fn read(&self, path: &Path) -> Result<KeyFile, String> {
        if let Some(key) = self.unlocked.lock().await.get(path) {
            return Ok(KeyFile::Unlocked(key.clone()));
        }
        let text = match crate::files::read_text(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(KeyFile::Missing),
            Err(error) => return Err(error.to_string()),
        };
        let key = parse(&text)?;
        Ok(if key.is_encrypted() { KeyFile::Locked(Arc::new(key)) } else { KeyFile::Unlocked(Arc::new(key)) })
    }

    /// Ask for the passphrase, unless another host's connection has done so meanwhile.
    pub(super) async fn unlock(&self, path: &Path, key: &PrivateKey, asker: &Asker) -> Result<Arc<PrivateKey>, String> {
        let mut unlocked = self.unlocked.lock().await;
        if let Some(key) = unlocked.get(path) {
            return Ok(key.clone());
        }
        let question = Question::Passphrase(path.to_owned());
        let mut answer = asker.ask(question.clone()).await;
        for _ in 0..TRIES {
            let passphrase = answer.ok_or("it needs a passphrase, and there is no terminal to ask for it")?;
            let locked = key.clone();
            // bcrypt is slow on purpose
            let opened = tokio::task::spawn_blocking(move || locked.decrypt(passphrase.expose())).await;
            if let Ok(Ok(key)) = opened {
                let key = Arc::new(key);
                unlocked.insert(path.to_owned(), key.clone());
                return Ok(key);
            }
            answer = asker.ask_now(format!("Wrong. {question}")).await;
        }
        Err("wrong passphrase".to_owned())
    }

    /// The public half of a key that may be in an agent only: from the file, or from the `.pub` beside it.
    pub(super) async fn public(&self, path: &Path) -> Option<PublicKey> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".pub");
        if let Ok(key) = russh::keys::load_public_key(&beside) {
            return Some(key);
        }
        match self.read(path).await.ok()? {
            KeyFile::Missing => None,
            KeyFile::Locked(key) | KeyFile::Unlocked(key) => Some(key.public_key().clone()),
        }
    }
}

fn parse(text: &str) -> Result<PrivateKey, String> {
    if text.contains("BEGIN OPENSSH PRIVATE KEY") {
        return PrivateKey::from_openssh(text).map_err(|error| error.to_string());
    }
    russh::keys::decode_secret_key(text, None).map_err(|error| match error {
        russh::keys::Error::KeyIsEncrypted => {
            "it is locked in an old format; convert it with `ssh-keygen -p -f FILE`".to_owned()
        }
        error => error.to_string(),
    })
}
