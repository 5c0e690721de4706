use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use insta::assert_snapshot;
use miette::{GraphicalReportHandler, GraphicalTheme};
use tempfile::TempDir;

use super::secrets::{ALPHABET, LENGTH, generate};
use super::*;
use crate::pki::Pki;

/// Answers in the order they are asked for, and an environment.
#[derive(Default)]
struct Given {
    answers: Mutex<Vec<String>>,
    variables: BTreeMap<String, String>,
}

impl Means for Given {
    fn ask(&self, _: &str) -> Option<Secret> {
        let mut answers = self.answers.lock().expect("not poisoned");
        (!answers.is_empty()).then(|| Secret::new(answers.remove(0)))
    }
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

fn nobody() -> Arc<Given> {
    Arc::default()
}

fn typed(answers: &[&str]) -> Arc<Given> {
    let answers = answers.iter().map(|answer| (*answer).to_owned()).collect();
    Arc::new(Given { answers: Mutex::new(answers), ..Given::default() })
}

fn variables(given: &[(&str, &str)]) -> Arc<Given> {
    let variables = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Arc::new(Given { variables, ..Given::default() })
}

const PLAIN: &str = "[vault]\nencryption = \"none\"\n";
const IDENTITY: &str = "[vault]\nidentity = \"key.txt\"\n";

/// A directory with an inventory that says this besides what it has to.
struct Site {
    directory: TempDir,
}

impl Site {
    fn new(settings: &str) -> Self {
        let site = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        site.says(settings);
        site
    }
    /// With an identity of its own.
    fn with_identity(settings: &str) -> Self {
        let site = Self::new(settings);
        make_identity(&site.file("key.txt")).expect("made");
        site
    }
    /// With a file of secrets of this text and mode, and the inventory that allows it.
    fn planted(text: &str, mode: u32) -> Self {
        let site = Self::new(PLAIN);
        fs::write(site.plain(), text).expect("written");
        fs::set_permissions(site.plain(), Permissions::from_mode(mode)).expect("mode set");
        site
    }
    fn says(&self, settings: &str) {
        let minimal = include_str!("../../inventory/minimal.toml");
        fs::write(self.file("xnat.toml"), format!("{minimal}\n{settings}")).expect("written");
    }
    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
    fn plain(&self) -> PathBuf {
        self.file("xnat.secrets.toml")
    }
    fn sealed(&self) -> PathBuf {
        self.file("xnat.vault")
    }
    fn inventory(&self) -> Inventory {
        Inventory::load(&self.file("xnat.toml"), None).expect("a good inventory").inventory
    }
    fn open(&self, means: Arc<Given>) -> Result<(Vault, Secrets), VaultError> {
        let mut vault = Vault::of(&self.inventory(), means, &Redactor::default());
        let secrets = vault.open()?;
        Ok((vault, secrets))
    }
    fn load(&self) -> Result<(Vault, Secrets), VaultError> {
        self.open(nobody())
    }
    fn refused(&self) -> VaultError {
        match self.load() {
            Err(error) => error,
            Ok(_) => panic!("it was accepted"),
        }
    }
    /// Make new secrets and keep them.
    fn make(&self, means: Arc<Given>) -> Secrets {
        let (mut vault, mut secrets) = self.open(means).expect("nothing there");
        secrets.generate_missing().expect("random");
        vault.keep(&secrets).expect("kept");
        secrets
    }
    fn rekey(&self, means: Arc<Given>, former: &[PathBuf]) -> Result<Rekeyed, VaultError> {
        rekey(&self.inventory(), means, &Redactor::default(), former)
    }
    /// The error as a person sees it, without this test's directory.
    fn shown(&self, error: VaultError) -> String {
        let mut text = String::new();
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::none()).with_width(400);
        handler.render_report(&mut text, &error).expect("rendered");
        let directory = self.directory.path().display().to_string();
        text.replace(&directory, "DIR").lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o7777
}

fn same(one: &Secrets, other: &Secrets) -> bool {
    one.each().eq(other.each()) && one.pki == other.pki
}

fn good(replace: &str, with: &str) -> String {
    let secrets = Secrets::try_each(|name| Ok::<_, ()>(Secret::new(format!("own-{name}-0123")))).expect("ok");
    let content = Content { secrets, recipients: Vec::new() };
    parse::write(&content, "x", &BTreeSet::new()).expect("written").replace(replace, with)
}

#[test]
fn what_is_kept_is_loaded_again() {
    let site = Site::with_identity(IDENTITY);
    let (vault, secrets) = site.load().expect("no file is fine");
    assert!(!vault.exists() && secrets.is_placeholder());
    let made = site.make(nobody());
    assert_eq!(mode(&site.sealed()), 0o600);
    let (mut vault, mut loaded) = site.load().expect("loaded");
    assert!(vault.exists() && same(&made, &loaded) && !loaded.is_placeholder());
    let before = fs::read(site.sealed()).expect("read");
    assert!(!file::old(&site.sealed()).exists());
    loaded.application = Secret::new("another application");
    vault.keep(&loaded).expect("kept");
    assert_eq!(fs::read(file::old(&site.sealed())).expect("the version before"), before);
    assert_eq!(mode(&file::old(&site.sealed())), 0o600);
    vault.keep(&made).expect("kept again");
    assert!(same(&made, &site.load().expect("loaded").1));
    assert_eq!(fs::read_dir(site.directory.path()).expect("read").count(), 4, "nothing is left lying");
}

#[test]
fn no_secret_is_in_the_file() {
    let site = Site::with_identity(IDENTITY);
    let made = site.make(nobody());
    let text = fs::read_to_string(site.sealed()).expect("text");
    assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"), "{text}");
    assert!(made.each().all(|(_, secret)| !text.contains(secret.expose())));
}

#[test]
fn passwords_are_strong_and_safe_everywhere() {
    let many: Vec<_> = (0..500).map(|_| generate().expect("random")).collect();
    for password in many.iter().map(Secret::expose) {
        assert_eq!(password.len(), LENGTH);
        assert!(password.starts_with(|c: char| c.is_ascii_alphabetic()), "no format takes it for a number");
        assert!(password.chars().all(|c| c.is_ascii_alphanumeric()));
    }
    let all: String = many.iter().map(Secret::expose).collect();
    assert!(ALPHABET.iter().all(|&letter| all.contains(char::from(letter))), "every letter comes up");
    let distinct: BTreeSet<_> = many.iter().map(Secret::expose).collect();
    assert_eq!(distinct.len(), many.len());
}

#[test]
fn the_file_says_what_it_is() {
    assert_snapshot!(good("", ""), @r#"
    # The passwords and certificates of the PostgreSQL cluster "x", made by xnat-provision.
    # Who can read this is master of the database: keep it in your backup - without it nobody can change the cluster
    # any more - and out of every other place. Change it with `xnat-provision vault set` or `vault edit`.
    # A password has at least 12 characters.

    # PostgreSQL's superuser postgres
    superuser = "own-superuser-0123"

    # the role replicator: streaming replication
    replication = "own-replication-0123"

    # the role rewind: a former primary finds its way back
    rewind = "own-rewind-0123"

    # Patroni's REST API, user patroni
    rest_api = "own-rest_api-0123"

    # the owner of the application's database: this one goes into XNAT's configuration
    application = "own-application-0123"

    # HAProxy's statistics page, user stats
    statistics = "own-statistics-0123"
    "#);
}

#[test]
fn a_file_that_came_meanwhile_is_not_written_over() {
    let site = Site::with_identity(IDENTITY);
    let (mut vault, mut secrets) = site.load().expect("nothing there");
    secrets.generate_missing().expect("random");
    fs::write(site.sealed(), "anything").expect("written");
    assert!(matches!(vault.keep(&secrets).expect_err("refused"), VaultError::Exists { .. }));
    assert_eq!(fs::read_to_string(site.sealed()).expect("read"), "anything");
    fs::remove_file(site.sealed()).expect("removed");
    symlink("/nonexistent/elsewhere", site.sealed()).expect("linked");
    assert!(matches!(vault.keep(&secrets).expect_err("refused"), VaultError::Exists { .. }));
    assert!(matches!(site.refused(), VaultError::Dangling { .. }));
}

#[test]
fn what_somebody_else_wrote_meanwhile_is_not_lost() {
    let site = Site::with_identity(IDENTITY);
    site.make(nobody());
    let (mut one, mut secrets) = site.load().expect("loaded");
    let (mut other, theirs) = site.load().expect("loaded");
    other.keep(&theirs).expect("kept");
    secrets.application = Secret::new("another application");
    assert!(matches!(one.keep(&secrets).expect_err("refused"), VaultError::Changed { .. }));
    assert!(same(&theirs, &site.load().expect("loaded").1));
}

#[test]
fn plain_text_others_can_read_is_refused() {
    for mode in [0o640, 0o604, 0o660, 0o620] {
        let site = Site::planted(&good("", ""), mode);
        assert!(matches!(site.refused(), VaultError::Mode { .. }), "{mode:o}");
    }
    let site = Site::planted(&good("", ""), 0o644);
    assert_snapshot!(site.shown(site.refused()), @r#"
    xnat::vault::mode

      x DIR/xnat.secrets.toml may be read by others than its owner (mode 0644)
      help: close it: chmod 600 DIR/xnat.secrets.toml - and if others use this machine, take what is in it for known to them
    "#);
}

#[test]
fn a_link_counts_by_what_it_leads_to() {
    let site = Site::planted(&good("", ""), 0o600);
    let elsewhere = site.file("encrypted-disk");
    fs::rename(site.plain(), &elsewhere).expect("moved");
    symlink(&elsewhere, site.plain()).expect("linked");
    assert!(site.load().expect("followed").0.exists());
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o640)).expect("mode set");
    assert!(matches!(site.refused(), VaultError::Mode { .. }));
}

#[test]
fn a_directory_is_no_file() {
    let site = Site::new("");
    fs::create_dir(site.sealed()).expect("made");
    assert!(matches!(site.refused(), VaultError::NotAFile { .. }));
}

#[test]
fn own_passwords_are_taken_as_they_are() {
    let site = Site::planted(&good("\"own-application-0123\"", r#"'quote " and \ ä sign'"#), 0o400);
    assert_eq!(site.load().expect("loaded").1.application.expose(), r#"quote " and \ ä sign"#);
}

#[test]
fn every_printable_character_is_kept() {
    let all: String = (' '..='~').collect();
    let site = Site::with_identity(IDENTITY);
    site.make(nobody());
    let (mut vault, mut secrets) = site.load().expect("loaded");
    secrets.application = Secret::new(all.as_str());
    vault.keep(&secrets).expect("kept");
    assert_eq!(site.load().expect("loaded").1.application.expose(), all);
}

#[test]
fn every_mistake_is_told_and_no_password_shown() {
    let text = good("own-superuser-0123", "hunter2")
        .replace("\"own-rewind-0123\"", "12345678901234")
        .replace("own-statistics-0123", "(will be generated by apply)")
        .replace("application = ", "aplication = ")
        .replace("own-rest_api-0123", r"own-rest_api-\n-0123");
    let site = Site::planted(&text, 0o600);
    let shown = site.shown(site.refused());
    assert!(!shown.contains("hunter2") && !shown.contains("own-") && !shown.contains("1234567"));
    assert_snapshot!(shown, @r#"
    xnat::vault::content

      x the secrets in DIR/xnat.secrets.toml cannot be used: it has no application
        ,-[DIR/xnat.secrets.toml:7:13]
      6 | * ************ ********* ********
      7 | superuser = *********
        :             ^^^^|^^^^
        :                 `-- this has 7 characters; 12 is the least
      8 |
      9 | * *** **** *********** ********* ***********
     10 | replication = **********************
     11 |
     12 | * *** **** ******* * ****** ******* ***** *** *** ****
     13 | rewind = **************
        :          ^^^^^^^|^^^^^^
        :                 `-- this must be a text in quotes
     14 |
     15 | * ********* **** **** **** *******
     16 | rest_api = **********************
        :            ^^^^^^^^^^^|^^^^^^^^^^
        :                       `-- this has a control character in it, such as a line break
     17 |
     18 | * *** ***** ** *** ************* ********* **** *** **** **** ****** *************
     19 | ********** = **********************
        : ^^^^^|^^^^
        :      `-- this name is not known
     20 |
     21 | * ********* ********** ***** **** *****
     22 | statistics = ****** ** ********* ** *******
        :              ^^^^^^^^^^^^^^^|^^^^^^^^^^^^^^
        :                             `-- this is the text that stands for a password, not a password
        `----
      help: each of superuser, replication, rewind, rest_api, application, statistics has a line `name = "password"`, with at least 12 characters and no control characters; a new one is made by: openssl rand -hex 16
    "#);
}

#[test]
fn certificates_that_are_spoilt_are_told() {
    let site = Site::planted(&format!("{}\n[pki]\nauthority = 1\n", good("", "")), 0o600);
    assert!(site.shown(site.refused()).contains("the certificates in this table"));
}

#[test]
fn broken_toml_is_not_quoted() {
    for broken in ["superuser = hunter2secret\n", "superuser = \"hunter2secret\nreplication = \"x\"\n", "hunter2secret"]
    {
        let site = Site::planted(broken, 0o600);
        let error = site.refused();
        let debug = format!("{error:?}");
        assert!(!debug.contains("hunter2"), "{debug}");
        assert!(!site.shown(error).contains("hunter2"));
    }
    let site = Site::planted("superuser = hunter2secret\n", 0o600);
    assert_snapshot!(site.shown(site.refused()), @r#"
    xnat::vault::content

      x the secrets in DIR/xnat.secrets.toml cannot be used
       ,-[DIR/xnat.secrets.toml:1:13]
     1 | superuser = *************
       :             ^^^^^^|^^^^^^
       :                   `-- this is not TOML: is a quote missing?
       `----
      help: each of superuser, replication, rewind, rest_api, application, statistics has a line `name = "password"`, with at least 12 characters and no control characters; a new one is made by: openssl rand -hex 16
    "#);
}

#[test]
fn placeholders_are_told_from_passwords() {
    assert!(Secrets::placeholder().is_placeholder());
}

mod keys;
