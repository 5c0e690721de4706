use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use miette::{GraphicalReportHandler, GraphicalTheme};
use tempfile::TempDir;

use super::*;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let inventory = directory.path().join("xnat.toml");
    (directory, inventory)
}

/// A secrets file with this text and mode.
fn planted(text: &str, mode: u32) -> (TempDir, PathBuf) {
    let (directory, inventory) = place();
    fs::write(path(&inventory), text).expect("written");
    fs::set_permissions(path(&inventory), Permissions::from_mode(mode)).expect("mode set");
    (directory, inventory)
}

/// The error as a person sees it, without this test's directory.
fn shown(error: VaultError, inventory: &Path) -> String {
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::none()).with_width(400);
    handler.render_report(&mut text, &error).expect("rendered");
    let directory = inventory.parent().expect("in a directory").display().to_string();
    text.replace(&directory, "DIR").lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn good(replace: &str, with: &str) -> String {
    parse::write(&Secrets::try_each(|name| Ok::<_, ()>(Secret::new(format!("own-{name}-0123")))).expect("ok"), "x")
        .replace(replace, with)
}

#[test]
fn what_is_created_is_loaded_again() {
    let (_directory, inventory) = place();
    assert!(load(&inventory).expect("no file is fine").is_none());
    let made = create(&inventory, "xnat", Pki::default()).expect("created");
    let loaded = load(&inventory).expect("loaded").expect("there");
    assert!(made.each().eq(loaded.each()));
    assert!(!loaded.is_placeholder());
    let mode = fs::metadata(path(&inventory)).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(fs::read_dir(inventory.parent().expect("directory")).expect("read").count(), 1, "nothing is left lying");
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
    let distinct: std::collections::BTreeSet<_> = many.iter().map(Secret::expose).collect();
    assert_eq!(distinct.len(), many.len());
}

#[test]
fn the_file_says_what_it_is() {
    assert_snapshot!(good("", ""), @r#"
    # The passwords of the PostgreSQL cluster "x", made by xnat-provision.
    # Who can read this file is master of the database: keep it at mode 0600, out of version control, and in your
    # backup - without it nobody can change the cluster any more. xnat-provision never writes to it again.
    # A password of your own: put it between the quotes before the first apply; at least 12 characters.

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
fn a_file_that_is_there_is_never_written() {
    let (_directory, inventory) = planted("anything", 0o600);
    let error = create(&inventory, "xnat", Pki::default()).expect_err("refused");
    assert!(matches!(error, VaultError::Exists { .. }));
    assert_eq!(fs::read_to_string(path(&inventory)).expect("read"), "anything");
    let (_directory, inventory) = place();
    symlink("/nonexistent/elsewhere", path(&inventory)).expect("linked");
    assert!(matches!(create(&inventory, "xnat", Pki::default()).expect_err("refused"), VaultError::Exists { .. }));
    assert!(matches!(load(&inventory).expect_err("refused"), VaultError::Dangling { .. }));
}

#[test]
fn a_file_others_can_read_is_refused() {
    for mode in [0o640, 0o604, 0o660, 0o620] {
        let (_directory, inventory) = planted(&good("", ""), mode);
        assert!(matches!(load(&inventory).expect_err("refused"), VaultError::Mode { .. }), "{mode:o}");
    }
    let (_directory, inventory) = planted(&good("", ""), 0o644);
    assert_snapshot!(shown(load(&inventory).expect_err("refused"), &inventory), @r"
    xnat::vault::mode

      x the secrets file DIR/xnat.secrets.toml may be read by others than its owner (mode 0644)
      help: close it: chmod 600 'DIR/xnat.secrets.toml' - and if others use this machine, take the passwords for known to them
    ");
}

#[test]
fn a_link_counts_by_what_it_leads_to() {
    let (directory, inventory) = planted(&good("", ""), 0o600);
    let elsewhere = directory.path().join("encrypted-disk");
    fs::rename(path(&inventory), &elsewhere).expect("moved");
    symlink(&elsewhere, path(&inventory)).expect("linked");
    assert!(load(&inventory).expect("followed").is_some());
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o640)).expect("mode set");
    assert!(matches!(load(&inventory).expect_err("refused"), VaultError::Mode { .. }));
}

#[test]
fn a_directory_is_no_file() {
    let (_directory, inventory) = place();
    fs::create_dir(path(&inventory)).expect("made");
    assert!(matches!(load(&inventory).expect_err("refused"), VaultError::NotAFile { .. }));
}

#[test]
fn own_passwords_are_taken_as_they_are() {
    let (_directory, inventory) = planted(&good("\"own-application-0123\"", r#"'quote " and \ ä sign'"#), 0o400);
    let secrets = load(&inventory).expect("loaded").expect("there");
    assert_eq!(secrets.application.expose(), r#"quote " and \ ä sign"#);
}

#[test]
fn every_mistake_is_told_and_no_password_shown() {
    let text = good("own-superuser-0123", "hunter2")
        .replace("\"own-rewind-0123\"", "12345678901234")
        .replace("own-statistics-0123", "(will be generated by apply)")
        .replace("application = ", "aplication = ")
        .replace("own-rest_api-0123", r"own-rest_api-\n-0123");
    let (_directory, inventory) = planted(&text, 0o600);
    let shown = shown(load(&inventory).expect_err("refused"), &inventory);
    assert!(!shown.contains("hunter2") && !shown.contains("own-") && !shown.contains("1234567"));
    assert_snapshot!(shown, @r#"
    xnat::vault::content

      x the secrets file DIR/xnat.secrets.toml cannot be used: it has no application
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
      help: edit it: each of superuser, replication, rewind, rest_api, application, statistics has a line `name = "password"`, with at least 12 characters and no control characters. To add a new one: printf 'NAME = "%s"\n' "$(openssl rand -hex 16)" >> 'DIR/xnat.secrets.toml'
    "#);
}

#[test]
fn broken_toml_is_not_quoted() {
    for broken in ["superuser = hunter2secret\n", "superuser = \"hunter2secret\nreplication = \"x\"\n", "hunter2secret"]
    {
        let (_directory, inventory) = planted(broken, 0o600);
        let error = load(&inventory).expect_err("refused");
        let debug = format!("{error:?}");
        assert!(!debug.contains("hunter2"), "{debug}");
        assert!(!shown(error, &inventory).contains("hunter2"));
    }
    let (_directory, inventory) = planted("superuser = hunter2secret\n", 0o600);
    assert_snapshot!(shown(load(&inventory).expect_err("refused"), &inventory), @r#"
    xnat::vault::content

      x the secrets file DIR/xnat.secrets.toml cannot be used
       ,-[DIR/xnat.secrets.toml:1:13]
     1 | superuser = *************
       :             ^^^^^^|^^^^^^
       :                   `-- this is not TOML: is a quote missing?
       `----
      help: edit it: each of superuser, replication, rewind, rest_api, application, statistics has a line `name = "password"`, with at least 12 characters and no control characters. To add a new one: printf 'NAME = "%s"\n' "$(openssl rand -hex 16)" >> 'DIR/xnat.secrets.toml'
    "#);
}

#[test]
fn placeholders_are_told_from_passwords() {
    assert!(Secrets::placeholder().is_placeholder());
}
