//! A site: a directory with an inventory, and an authority that is not ours.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;
use xnat_provision::inventory::Inventory;

const HOSTS: &str = r#"
[cluster]
name = "xnat"

[[host]]
name = "db1"
address = "10.0.0.11"
roles = ["etcd", "postgres"]

[[host]]
name = "db2"
address = "10.0.0.12"
roles = ["etcd", "postgres"]

[[host]]
name = "db3"
address = "10.0.0.13"
roles = ["etcd", "postgres"]

[[host]]
name = "web1"
address = "10.0.0.21"
roles = ["haproxy"]
"#;

pub struct Site {
    directory: TempDir,
    text: String,
}

impl Site {
    pub fn new(more: &str) -> Self {
        Self { directory: TempDir::new().expect("a directory"), text: format!("{HOSTS}\n{more}") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn inventory(&self) -> Inventory {
        self.load(&self.text)
    }

    /// The same with something else in the place of a word.
    pub fn with(&self, from: &str, to: &str) -> Inventory {
        assert!(self.text.contains(from), "{from}");
        self.load(&self.text.replace(from, to))
    }

    fn load(&self, text: &str) -> Inventory {
        let path = self.path("xnat.toml");
        fs::write(&path, text).expect("written");
        Inventory::load(&path, None).expect("good").inventory
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(&path, text).expect("written");
        set_mode(&path, if name.contains("key") { 0o600 } else { 0o644 });
    }
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
}

/// Somebody who signs.
pub struct Signer {
    pub certificate: String,
    pub key: String,
}

fn params(subject: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, subject);
    params
}

fn authority_params(subject: &str) -> CertificateParams {
    let mut params = params(subject);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    params
}

impl Signer {
    pub fn root(subject: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = authority_params(subject).self_signed(&key).expect("signed").pem();
        Self { certificate, key: key.serialize_pem() }
    }

    /// Not an authority, though it signs itself.
    pub fn nobody(subject: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(subject).self_signed(&key).expect("signed").pem();
        Self { certificate, key: key.serialize_pem() }
    }

    /// An authority below this one; its certificate is that alone, without the way up.
    pub fn intermediate(&self, subject: &str) -> Self {
        self.sign(authority_params(subject))
    }

    fn sign(&self, params: CertificateParams) -> Self {
        let issuer = KeyPair::from_pem(&self.key).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, issuer).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &issuer).expect("signed").pem();
        Self { certificate, key: key.serialize_pem() }
    }

    pub fn leaf(&self, leaf: Leaf<'_>) -> Self {
        let names: Vec<String> = leaf.names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("good names");
        params.extended_key_usages = leaf.uses.to_vec();
        params.use_authority_key_identifier_extension = !leaf.careless;
        if let Some((year, month, day)) = leaf.until {
            params.not_after = rcgen::date_time_ymd(year, month, day);
        }
        self.sign(params)
    }
}

/// What somebody signs.
#[derive(Clone, Copy)]
pub struct Leaf<'a> {
    pub names: &'a [&'a str],
    pub uses: &'a [ExtendedKeyUsagePurpose],
    pub until: Option<(i32, u8, u8)>,
    /// Without what only strict verifiers look at.
    pub careless: bool,
}

impl<'a> Leaf<'a> {
    pub fn of(names: &'a [&'a str]) -> Self {
        Self { names, uses: &[], until: None, careless: false }
    }
}
